"""The last hour's steps, from disk back into the store's columns, so that windows are known again after a restart.

    history ──rows of 10 s, of a minute──► columns of tiers 1 and 2, last values        once, before the first tick

Only steps that ended before this run began are written, so nothing that the tick seals or rolls is touched, and the
recorder takes none of them: each sample stays on disk once. The minute in which the run begins is rolled in memory from
the steps that were put back and those of the run; its row on disk is the recorder's (it rolls that one from disk).
A late sample of such a step is merged into the column and goes to disk as the patch that it is.

What cannot be served stays unknown, and `Reloaded` says which seconds: single seconds (windows up to a minute are
rounded to steps of 10 s there), the step that was open when the engine stopped, the time it was down (a step in which
no series at all has a row; an engine's own gauges have one in each), percentiles and sets, whose sketches are not read.

A gauge's `+5` adds to what this run saw of it, not to what was put back.

Threads: the caller's, before the tick runs; listeners may receive already. Errors: StorageError of a disk that fails;
nothing is half known then, `Reloaded` is NOTHING of what was not written.
Cost: about 9 s for 100,000 series that were all busy.
Limits: series up to the store's cap; `left_out` counts the rest and names that no sample could have. All series are put
back, for an anomaly rule on every metric, where history has EVERY_SERIES_MAX at most; else the log says so.
"""

import logging
from collections.abc import Container, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from hms_ops import kinds
from hms_ops._ring import Series, Store
from hms_ops.alert.rule import AnomalyRule
from hms_ops.anomaly.episode import EVERY
from hms_ops.backlog import STEP_SECONDS
from hms_ops.past import Past
from hms_ops.reloaded import NOTHING, Reloaded
from hms_ops.roster import Known
from hms_ops.storage import merge
from hms_ops.storage.merge import Integers, Part
from hms_ops.tiers import KEPT_STEPS, SLOTS

log = logging.getLogger("hms_ops.history")

MINUTE_SECONDS: Final = 60
EVERY_SERIES_MAX: Final = 20_000  # a start takes about two seconds longer for them
SERIES_AT_ONCE: Final = 20_000  # read and put back together: about 250 MB while it lasts
_TENS, _MINUTES = 1, 2  # tiers of the store's columns


def metrics_wanted(read: set[str], anomalies: Iterable[AnomalyRule], series_count: int) -> set[str] | None:
    """The metrics to put back: those that rules read, or all of them (None) for an anomaly rule on every one. The
    count is that of the series in history."""
    if not any(rule.metric == EVERY for rule in anomalies):
        return read
    if series_count <= EVERY_SERIES_MAX:
        return None
    log.warning(
        "history has %d series, more than %d: the anomaly rules on every metric know nothing of before this start",
        series_count,
        EVERY_SERIES_MAX,
    )
    return read


def reload_windows(store: Store, past: Past, now: int, metrics: Container[str] | None = None) -> Reloaded:
    """Put back what the columns would hold of the hour before the store's time began. now: Unix seconds, not before
    that time began; nothing is put back into a store that has ticked (it holds an hour of its own sooner or later).
    metrics: only these; among them should be one with a sample in every step, or its silence is taken for a hole."""
    first = int(store.first_second)
    tens_end = first - first % STEP_SECONDS
    if now < first or store.rolled_end(1) > tens_end:
        return NOTHING
    names = [name for name in past.metrics() if metrics is None or name in metrics]
    series = [one for name in names for one in past.known(name) if one.info.kind != kinds.SET]
    found = [
        _reload_some(store, past, series[at : at + SERIES_AT_ONCE]) for at in range(0, len(series), SERIES_AT_ONCE)
    ]
    if not any(one.put or one.left_out for one in found):
        return NOTHING
    put, left_out = sum(one.put for one in found), sum(one.left_out for one in found)
    if left_out:
        log.warning("%d series of the last hour cannot be put back into memory; their windows begin anew", left_out)
    tens, minutes = (np.unique(np.concatenate(steps)) for steps in zip(*(one.steps for one in found), strict=True))
    start, holes = _known(tens, minutes, first)
    return Reloaded(first, start, holes, put, left_out)


class _Some(NamedTuple):
    """Of some series: how many were put back and how many not, and the steps of 10 s and minutes any has a row in."""

    put: int
    left_out: int
    steps: tuple[Integers, Integers]


def _reload_some(store: Store, past: Past, series: Sequence[Known]) -> _Some:
    first = int(store.first_second)
    tens_end, minutes_end = first - first % STEP_SECONDS, first - first % MINUTE_SECONDS
    tens = past.rows(series, tens_end - KEPT_STEPS * STEP_SECONDS, first, STEP_SECONDS)
    hour = past.rows(series, minutes_end - KEPT_STEPS * MINUTE_SECONDS, minutes_end, MINUTE_SECONDS)
    minutes = merge.fold(hour[0] - hour[0] % MINUTE_SECONDS, hour[1], hour[2])
    has_rows = np.zeros(len(series), np.bool_)
    has_rows[tens[1]] = has_rows[minutes[1]] = True
    handles = _born(store, series, np.flatnonzero(has_rows))
    slots = np.full(len(series), -1)
    slots[list(handles)] = [store.slot(series[place].info.name, series[place].info.tags) for place in handles]
    _write(store, _MINUTES, MINUTE_SECONDS, minutes, slots)
    _write(store, _TENS, STEP_SECONDS, tens, slots, tens_end)
    return _Some(len(handles), int(has_rows.sum()) - len(handles), (np.unique(tens[0]), np.unique(minutes[0])))


def _born(store: Store, series: Sequence[Known], places: Integers) -> dict[int, Series]:
    """Each of these series in the store, by its place: held on to, so that none gives its slot back meanwhile."""
    handles: dict[int, Series] = {}
    for place in places.tolist():
        info = series[place].info
        if store.series_live >= store.series_max and store.slot(info.name, info.tags) < 0:
            continue
        try:
            handles[place] = store.handle(info.name, tags=dict(info.tags))
        except ValueError:
            continue  # one of those that pool what is beyond the cap
        if store.metric_kind(info.name) != info.kind:  # not what its name says: somebody said it
            store.settle_kind(info.name, info.kind)
    return handles


def _write(store: Store, tier: int, seconds: int, rows: Part, slots: Integers, end: int | None = None) -> None:
    """Put the rows of a tier into its columns, and the newest of each series beside them as its last value. A step that
    begins at `end` is the run's own: of what an earlier one left in it, only the last values are taken."""
    steps, columns = rows[0], rows[2]
    into = slots[rows[1]]
    is_here = into >= 0
    steps, into, columns = steps[is_here], into[is_here], columns[:, is_here]
    is_closed = slice(None) if end is None else slice(0, int(np.searchsorted(steps, end)))
    numbers = steps[is_closed] // seconds % SLOTS
    for field in reversed(range(len(merge.FIELDS))):  # COUNT last: where it is 0, the others are of no meaning
        store.cols[tier, field, numbers, into[is_closed]] = columns[field, is_closed]
    newest = np.zeros(store.capacity, np.int64)
    # ascending: the last one stays; steps of 10 s come after minutes
    newest[into] = np.minimum(steps + STEP_SECONDS, store.first_second) - 1
    is_newer = (newest > 0) & (newest >= store.last_second)
    last = np.zeros(store.capacity)
    last[into] = columns[merge.LAST]
    store.last_value[is_newer] = last[is_newer]
    store.last_second[is_newer] = newest[is_newer]


def _known(tens: Integers, minutes: Integers, first: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Where what is known begins, and its holes, from the steps in which any series has a row."""
    tens_end = first - first % STEP_SECONDS
    border = tens_end - KEPT_STEPS * STEP_SECONDS
    border += -border % MINUTE_SECONDS  # from here on by steps of 10 s
    known = np.concatenate([minutes[minutes < border], tens[(tens >= border) & (tens < tens_end)]])
    if not len(known):
        return first, ()
    start = int(known[0])
    steps = np.concatenate([np.arange(start, border, MINUTE_SECONDS), np.arange(max(start, border), tens_end, 10)])
    lengths = np.where(steps < border, MINUTE_SECONDS, STEP_SECONDS)
    missing = ~np.isin(steps, known)
    holes: list[tuple[int, int]] = []
    gaps = [*zip(steps[missing].tolist(), lengths[missing].tolist(), strict=True), (tens_end, first - tens_end)]
    for at, length in gaps:
        if holes and holes[-1][1] == at:
            holes[-1] = holes[-1][0], at + length
        elif length:
            holes.append((at, at + length))
    return start, tuple(holes)
