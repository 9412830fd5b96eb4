"""The state machine of alerts for all instances of a tick in one call; `alert/states/state.py` says what it means.

    for each place: condition, recover ─► NODATA ─► breach, calm ─► step of its phase ─► phase, clocks, event

Data, all allocated by `alert/states/instances.py`, written here only, a place for each instance: `phase` uint8, `marks`
uint8 and `clocks` int64[5, places] (see `kernels/phases.py`). Places beyond `condition` are instances that nothing
evaluates; they see NULL, and the inactive ones among them rest. `told` int64[3, places] takes the events in the order
of their places: place, event, and the second its condition became true.
Threads: the tick's; no GIL. Trusts its caller. The explicit signature compiles the kernel at import.
Cost: 3 ns a place that is quiet, pending or firing and stays so, 26 ns another; nothing is allocated. The
helpers are inlined before compilation: as calls they count references to each array, which costs as much again.
The reference twin is `alert.state.step`, one instance at a time; tests/test_state_kernel.py holds the two together.
"""

import math

from numba import njit, types

from hms_ops.kernels.phases import (
    CHANGED,
    CLOCK_START,
    ENDED,
    EPISODE,
    FIRING,
    FOR,
    HAS_RECOVER,
    INACTIVE,
    KEEP,
    NO_EVENT,
    NODATA,
    NODATA_ALERT,
    NODATA_KEEP,
    NODATA_OK,
    PENDING,
    RECOVERING,
    RESTORED,
    SINCE,
    STALE,
    STEPPED,
    STILL,
    TOLD_EVENT,
    TOLD_FIRING,
    TOLD_PENDING,
    TOLD_PLACE,
    TOLD_RESOLVED,
    TOLD_SINCE,
)


@njit(nogil=True, error_model="numpy", inline="always")
def _verdict(condition, recover, nodata, has_recover):  # type: ignore[no-untyped-def]
    """(breach, calm) of one place, as `state.verdict`."""
    if nodata == NODATA_ALERT and math.isnan(condition):
        condition = 1.0
    if condition == 1.0:
        return 1.0, 0.0
    calm = recover if has_recover else 1.0 - condition
    if nodata == NODATA_OK:
        return 0.0, 1.0 if math.isnan(calm) else calm
    return condition, calm


@njit(nogil=True, error_model="numpy", inline="always")
def _begin(place, since, now, phase, clocks):  # type: ignore[no-untyped-def]
    """A new episode; its number is higher than that of the one before, whatever the clock says."""
    phase[place] = FIRING
    clocks[SINCE, place] = since
    clocks[CLOCK_START, place] = now
    clocks[STEPPED, place] = now
    clocks[EPISODE, place] = max(now, clocks[EPISODE, place] + 1)
    return TOLD_FIRING


@njit(nogil=True, error_model="numpy", inline="always")
def _end(place, now, phase, clocks):  # type: ignore[no-untyped-def]
    """Inactive again; the episode's number stays, so that none is given twice."""
    phase[place] = INACTIVE
    clocks[SINCE, place] = 0
    clocks[CLOCK_START, place] = 0
    clocks[STEPPED, place] = 0
    clocks[ENDED, place] = now


@njit(nogil=True, error_model="numpy", inline="always")
def _stand_still(place, now, marks, clocks):  # type: ignore[no-untyped-def]
    clocks[CLOCK_START, place] += max(0, now - clocks[STEPPED, place])
    clocks[STEPPED, place] = now
    if not marks[place] & STILL:
        marks[place] |= STILL | CHANGED


@njit(nogil=True, error_model="numpy", inline="always")
def _go_on(place, now, marks, clocks):  # type: ignore[no-untyped-def]
    clocks[STEPPED, place] = now
    if marks[place] & STILL:
        marks[place] = marks[place] & ~STILL | CHANGED


@njit(nogil=True, error_model="numpy", inline="always")
def _from_inactive(place, breach, for_seconds, now, phase, clocks):  # type: ignore[no-untyped-def]
    if breach != 1.0:
        return NO_EVENT
    if for_seconds <= 0:
        return _begin(place, now, now, phase, clocks)
    phase[place] = PENDING
    for row in (SINCE, CLOCK_START, STEPPED):
        clocks[row, place] = now
    return TOLD_PENDING


@njit(nogil=True, error_model="numpy", inline="always")
def _from_pending(place, breach, for_seconds, now, phase, marks, clocks):  # type: ignore[no-untyped-def]
    if breach == 0.0:
        _end(place, now, phase, clocks)
    elif math.isnan(breach):
        _stand_still(place, now, marks, clocks)
    elif now - clocks[CLOCK_START, place] >= for_seconds:
        return _begin(place, clocks[SINCE, place], now, phase, clocks)
    else:
        _go_on(place, now, marks, clocks)
    return NO_EVENT


@njit(nogil=True, error_model="numpy", inline="always")
def _from_firing(place, calm, keep_seconds, now, phase, clocks):  # type: ignore[no-untyped-def]
    if calm != 1.0:
        return NO_EVENT
    if keep_seconds <= 0:
        _end(place, now, phase, clocks)
        return TOLD_RESOLVED
    phase[place] = RECOVERING
    clocks[CLOCK_START, place] = now
    clocks[STEPPED, place] = now
    return NO_EVENT


@njit(nogil=True, error_model="numpy", inline="always")
def _from_recovering(place, calm, keep_seconds, now, phase, marks, clocks):  # type: ignore[no-untyped-def]
    if math.isnan(calm):
        _stand_still(place, now, marks, clocks)
    elif calm != 1.0:
        phase[place] = FIRING
    elif now - clocks[CLOCK_START, place] >= keep_seconds:
        _end(place, now, phase, clocks)
        return TOLD_RESOLVED
    else:
        _go_on(place, now, marks, clocks)
    return NO_EVENT


@njit(nogil=True, error_model="numpy", inline="always")
def _step(place, breach, calm, for_seconds, keep_seconds, now, phase, marks, clocks):  # type: ignore[no-untyped-def]
    """One place whose state may change; its event."""
    was = phase[place]
    if was == INACTIVE:
        event = _from_inactive(place, breach, for_seconds, now, phase, clocks)
    elif was == PENDING:
        event = _from_pending(place, breach, for_seconds, now, phase, marks, clocks)
    elif was == FIRING:
        event = _from_firing(place, calm, keep_seconds, now, phase, clocks)
    else:
        event = _from_recovering(place, calm, keep_seconds, now, phase, marks, clocks)
    if phase[place] == INACTIVE:
        marks[place] = CHANGED
    elif phase[place] != was:
        marks[place] = marks[place] & ~STILL | CHANGED
    return event


_BOOLS = types.Array(types.boolean, 1, "C", readonly=True)
_FLOATS = types.Array(types.float64, 1, "C", readonly=True)
_TIMINGS = types.Array(types.float64, 2, "C", readonly=True)
_RULES = types.Array(types.int32, 1, "C", readonly=True)
_SEEN = (_FLOATS, _FLOATS, _BOOLS, _RULES, _TIMINGS, _BOOLS)
_STATES = (types.uint8[::1], types.uint8[::1], types.int64[:, ::1])
_SIGNATURE = types.void(
    *_SEEN, types.boolean, types.int64, types.int64, *_STATES, types.int64[:, ::1], types.int64[::1]
)


@njit(_SIGNATURE, cache=True, nogil=True, error_model="numpy")
def step_states(  # type: ignore[no-untyped-def]
    condition, recover, whole, rule, timings, is_judged, waits_unplaced, room, now, phase, marks, clocks, told, counts
):
    """Step all places to the second `now`.

    condition, recover: float64[placed], 1.0, 0.0 or NaN. whole: bool[placed], or of length 0 where all windows are
    known; a RESTORED instance stands still while its own is not, and of any other NODATA does not judge a NULL then:
    nobody knows whether there was data. rule: int32[places], its rule's row, -1 for none.
    timings: float64[rules, 4]. is_judged: bool[rules], False leaves the instances of a rule as they are.
    waits_unplaced: whether RESTORED instances beyond `condition` stand still whatever NODATA says. room: how many may
    live at once. counts: int64[3], takes how many events there are, how many instances live now, and for how many there
    was no room.
    """
    placed, is_partly = len(condition), len(whole) > 0
    events, refused = 0, 0
    live = 0
    for place in range(len(phase)):
        if phase[place] != INACTIVE:
            live += 1
    for place in range(len(phase)):
        row, was = rule[place], phase[place]
        if row < 0 or not is_judged[row] or (place >= placed and was == INACTIVE):
            continue
        seen = condition[place] if place < placed else math.nan
        waits = was == PENDING and seen == 1.0 and marks[place] & ~CHANGED == 0
        if waits and now - clocks[CLOCK_START, place] < timings[row, FOR]:  # nearly all that is not quiet: a tenth
            clocks[STEPPED, place] = now
            continue
        recovered = recover[place] if place < placed else math.nan
        nodata = timings[row, NODATA]
        if is_partly and place < placed and not whole[place]:
            nodata = float(NODATA_KEEP)
        breach, calm = _verdict(seen, recovered, nodata, timings[row, HAS_RECOVER] != 0.0)
        if marks[place] & RESTORED and was != INACTIVE:
            if (is_partly and not whole[place]) if place < placed else waits_unplaced:
                seen = breach = calm = math.nan
            else:
                marks[place] = marks[place] & ~RESTORED
        if was == INACTIVE:
            if breach != 1.0:
                continue
            if live >= room:
                refused += 1
                continue
        if marks[place] & STALE and seen == 0.0:
            marks[place] = marks[place] & ~STALE | CHANGED
        if was == FIRING and calm != 1.0:
            continue
        since = clocks[SINCE, place]
        event = _step(place, breach, calm, timings[row, FOR], timings[row, KEEP], now, phase, marks, clocks)
        live += (phase[place] != INACTIVE) - (was != INACTIVE)
        if event != NO_EVENT:
            told[TOLD_PLACE, events] = place
            told[TOLD_EVENT, events] = event
            told[TOLD_SINCE, events] = since if event == TOLD_RESOLVED else clocks[SINCE, place]
            events += 1
    counts[0], counts[1], counts[2] = events, live, refused
