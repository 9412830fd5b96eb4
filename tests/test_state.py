"""The state machine of an alert instance, as sequences of ticks and as properties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.alert.states.state import INACTIVE, AlertState, Event, Timing, step

VALUES = {"T": 1.0, "F": 0.0, "N": math.nan}


def run(ticks: str, timing: Timing, start: int = 100) -> tuple[str, list[tuple[int, Event]]]:
    """Phases as initials, one a tick, and the events with their tick. A tick is T, F or N (NULL).

    With RECOVER, `b` is the band between the two conditions: condition FALSE, recover FALSE.
    """
    state, phases, events = INACTIVE, "", []
    for tick, sign in enumerate(ticks):
        condition = VALUES[sign] if sign != "b" else 0.0
        recover = {"T": 0.0, "F": 1.0, "N": math.nan, "b": 0.0}[sign]
        state, event = step(state, condition, recover, timing, start + tick)
        phases += state.phase[0]
        if event:
            events.append((tick, event))
    return phases, events


FOR_3 = Timing(for_seconds=3)
KEEP_3 = Timing(keep_seconds=3)
AT_ONCE = Timing()
BAND = Timing(has_recover=True)
BAND_KEEP_2 = Timing(has_recover=True, keep_seconds=2)
ALERT = Timing(for_seconds=2, nodata="alert")
OK = Timing(nodata="ok")
OK_KEEP_2 = Timing(nodata="ok", keep_seconds=2)

SEQUENCES = [
    # fires at once, resolves at once
    ("FTTF", AT_ONCE, "iffi", [(1, "firing"), (3, "resolved")]),
    ("TFT", AT_ONCE, "fif", [(0, "firing"), (1, "resolved"), (2, "firing")]),
    # fires on the tick at which it has been true for `for`
    ("TTTT", FOR_3, "pppf", [(0, "pending"), (3, "firing")]),
    ("TTTF", FOR_3, "pppi", [(0, "pending")]),
    ("TTFTTTT", FOR_3, "ppipppf", [(0, "pending"), (3, "pending"), (6, "firing")]),
    # pending → no data → firing: the gap does not count
    ("TNNNNTTT", FOR_3, "pppppppf", [(0, "pending"), (7, "firing")]),
    ("TTNTT", FOR_3, "ppppf", [(0, "pending"), (4, "firing")]),
    ("TNF", FOR_3, "ppi", [(0, "pending")]),
    ("NNN", AT_ONCE, "iii", []),
    # firing → no data: nothing resolves
    ("TNNNNNNNNT", AT_ONCE, "ffffffffff", [(0, "firing")]),
    ("TNNF", AT_ONCE, "fffi", [(0, "firing"), (3, "resolved")]),
    # firing → keep → firing: the same episode, nobody is told
    ("TFFTFFFF", KEEP_3, "frrfrrri", [(0, "firing"), (7, "resolved")]),
    ("TFFFF", KEEP_3, "frrri", [(0, "firing"), (4, "resolved")]),
    # recovering → no data: the clock of `keep` stands still
    ("TFNNNNFFF", KEEP_3, "frrrrrrri", [(0, "firing"), (8, "resolved")]),
    # hysteresis: the band neither fires nor resolves
    ("bTbbbF", BAND, "iffffi", [(1, "firing"), (5, "resolved")]),
    ("bbb", BAND, "iii", []),
    ("TbTbTbF", BAND, "ffffffi", [(0, "firing"), (6, "resolved")]),
    ("TNbN", BAND, "ffff", [(0, "firing")]),
    # a value back in the band while recovering has not kept calm
    ("TFbFFF", BAND_KEEP_2, "frfrri", [(0, "firing"), (5, "resolved")]),
    # NODATA alert: NULL is a breach everywhere
    ("NNN", ALERT, "ppf", [(0, "pending"), (2, "firing")]),
    ("TNTNF", ALERT, "ppffi", [(0, "pending"), (2, "firing"), (4, "resolved")]),
    # NODATA ok: NULL is calm everywhere
    ("TN", OK, "fi", [(0, "firing"), (1, "resolved")]),
    ("TNNN", OK_KEEP_2, "frri", [(0, "firing"), (3, "resolved")]),
    ("TTN", Timing(for_seconds=3, nodata="ok"), "ppi", [(0, "pending")]),
]


@pytest.mark.parametrize(("ticks", "timing", "phases", "events"), SEQUENCES)
def test_a_sequence_of_ticks_gives_its_phases_and_events(
    ticks: str, timing: Timing, phases: str, events: list[tuple[int, Event]]
) -> None:
    assert run(ticks, timing) == (phases, events)


def test_for_three_minutes_fires_after_three_minutes() -> None:
    _, events = run("T" * 200, Timing(for_seconds=180))
    assert events == [(0, "pending"), (180, "firing")]


def test_a_half_second_of_for_fires_on_the_next_tick() -> None:
    assert run("TT", Timing(for_seconds=0.5))[0] == "pf"


def test_late_ticks_count_the_time_that_passed() -> None:
    state, _ = step(INACTIVE, 1.0, math.nan, FOR_3, 100)
    state, event = step(state, 1.0, math.nan, FOR_3, 110)
    assert (state.phase, event) == ("firing", "firing")


def test_since_is_when_the_condition_became_true_whatever_gaps_came() -> None:
    state = INACTIVE
    for tick, value in enumerate([1.0, math.nan, math.nan, 1.0, 1.0, 1.0]):
        state, _ = step(state, value, math.nan, FOR_3, 100 + tick)
    assert state == AlertState("firing", since=100, clock_start=105, stepped=105, episode=105)


def test_an_episode_is_numbered_by_the_second_it_fired_in_and_never_twice() -> None:
    state, _ = step(AlertState(episode=500), 1.0, math.nan, AT_ONCE, 100)
    assert state.episode == 501


def test_the_same_second_twice_moves_no_clock() -> None:
    state, _ = step(INACTIVE, 1.0, math.nan, FOR_3, 100)
    again, event = step(state, math.nan, math.nan, FOR_3, 90)
    assert (again.clock_start, event) == (100, None)


timings = st.builds(
    Timing,
    for_seconds=st.integers(0, 5),
    keep_seconds=st.integers(0, 5),
    nodata=st.sampled_from(["keep", "ok", "alert"]),
    has_recover=st.booleans(),
)


@given(st.text("TFNb", max_size=60), timings)
def test_firing_and_resolved_alternate(ticks: str, timing: Timing) -> None:
    told = [event for _, event in run(ticks, timing)[1] if event != "pending"]
    assert told == (["firing", "resolved"] * len(told))[: len(told)]


@given(st.text("TFNb", max_size=60), timings)
def test_every_firing_has_an_episode_of_its_own(ticks: str, timing: Timing) -> None:
    state, episodes = INACTIVE, []
    for tick, sign in enumerate(ticks):
        condition = VALUES.get(sign, 0.0)
        state, event = step(state, condition, 1.0 if sign == "F" else 0.0, timing, 100 + tick)
        if event == "firing":
            episodes.append(state.episode)
    assert episodes == sorted(set(episodes))


@given(st.text("TFb", max_size=30), st.integers(1, 60), timings.filter(lambda timing: timing.nodata == "keep"))
def test_null_changes_no_phase_and_tells_nobody_when_data_is_kept(ticks: str, gap: int, timing: Timing) -> None:
    before_phases, before_events = run(ticks, timing)
    phases, events = run(ticks + "N" * gap, timing)
    assert phases == before_phases + (before_phases[-1:] or "i") * gap
    assert events == before_events


@given(st.text("TFb", min_size=1, max_size=30), st.integers(0, 30), st.integers(1, 20))
def test_a_gap_only_delays_what_comes_after_it(ticks: str, at: int, gap: int) -> None:
    at = min(at, len(ticks))
    timing = Timing(for_seconds=3, keep_seconds=2, has_recover=True)
    smooth = run(ticks, timing)[1]
    gapped = run(ticks[:at] + "N" * gap + ticks[at:], timing)[1]
    # Inactive and firing have no clock that runs; pending and recovering count one tick less across the gap's edge.
    assert [event for _, event in gapped[:1]] == [event for _, event in smooth[:1]]
    assert all(tick < at or tick >= at + gap for tick, _ in gapped)


@given(st.lists(st.floats(150.1, 199.9), max_size=100))
def test_noise_inside_the_hysteresis_band_makes_no_chatter(values: list[float]) -> None:
    state, told = INACTIVE, 0
    for tick, value in enumerate([210.0, *values]):
        state, event = step(state, float(value > 200), float(value < 150), BAND, 100 + tick)
        told += event is not None
    assert (state.phase, told) == ("firing", 1)
