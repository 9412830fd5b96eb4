"""The kernel that steps all alerts against its twin `alert.state.step`, on random ticks of random rules at once."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops.alert.states.instance import Facts
from hms_ops.alert.states.instances import row_of
from hms_ops.alert.states.places import Places
from hms_ops.alert.states.restart import Kept, as_of
from hms_ops.alert.states.state import INACTIVE, NODATA_POLICIES, PHASES, AlertState, Timing, is_judged, step
from hms_ops.kernels import phases
from hms_ops.kernels.states import step_states

EVENTS = {phases.TOLD_PENDING: "pending", phases.TOLD_FIRING: "firing", phases.TOLD_RESOLVED: "resolved"}

timings = st.builds(
    Timing,
    for_seconds=st.sampled_from([0, 0.5, 1, 2, 3, 7]),
    keep_seconds=st.sampled_from([0, 0.5, 1, 2, 5]),
    nodata=st.sampled_from(NODATA_POLICIES),
    has_recover=st.booleans(),
    every_seconds=st.sampled_from([1, 1, 2, 5]),
)
truths = st.sampled_from([1.0, 1.0, 0.0, math.nan])
Tick = tuple[int, list[float], list[float], list[bool]]


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Timing], list[Tick]]:
    """Timings of some instances, and ticks: the seconds since the one before, conditions, recoveries, and which windows
    are known all through."""
    rules = draw(st.lists(timings, min_size=1, max_size=6))
    column = st.lists(truths, min_size=len(rules), max_size=len(rules))
    steps = st.sampled_from([1, 1, 1, 2, 9, -3])
    whole = st.lists(st.sampled_from([True, True, False]), min_size=len(rules), max_size=len(rules))
    return rules, draw(st.lists(st.tuples(steps, column, column, whole), max_size=40))


class Kernel:
    """The kernel over one place for each timing, all with a rule of their own."""

    def __init__(self, rules: list[Timing], placed: int | None = None) -> None:
        self.rules = rules
        self.places = Places(len(rules))
        self.places.rule[:] = np.arange(len(rules))
        self.placed = len(rules) if placed is None else placed
        self.timings = np.array([row_of(timing) for timing in rules])
        self.counts = np.zeros(3, np.int64)
        self.last = 0

    def step(
        self,
        now: int,
        condition: list[float],
        recover: list[float],
        *,
        room: int = 1000,
        whole: list[bool] | None = None,
        waits: bool = False,
    ) -> list[tuple[int, str, int]]:
        places = self.places
        judged = [is_judged(timing, now, self.last) for timing in self.rules]
        self.last = now
        step_states(
            np.array(condition[: self.placed]),
            np.array(recover[: self.placed]),
            np.array(whole if whole is not None else [], np.bool_),
            places.rule,
            self.timings,
            np.array(judged),
            waits,
            room,
            now,
            places.phase,
            places.marks,
            places.clocks,
            places.told,
            self.counts,
        )
        told = places.told[:, : self.counts[0]].T.tolist()
        return [(place, EVENTS[event], since) for place, event, since in told]

    def states(self) -> list[AlertState]:
        return [self.places.state(place) for place in range(len(self.places))]


@settings(max_examples=300, deadline=None)
@given(runs())
def test_the_kernel_steps_as_its_twin_does(run: tuple[list[Timing], list[Tick]]) -> None:
    rules, ticks = run
    kernel, states, now = Kernel(rules), [INACTIVE] * len(rules), 1000
    kernel.last = last = now - 1
    for seconds, condition, recover, whole in ticks:
        now += seconds
        expected = []
        for place, (timing, state) in enumerate(zip(rules, states, strict=True)):
            if not is_judged(timing, now, last):
                continue
            states[place], event = step(state, condition[place], recover[place], timing, now, is_whole=whole[place])
            if event:
                told = state if event == "resolved" else states[place]
                expected.append((place, event, told.since))
        last = now
        assert kernel.step(now, condition, recover, whole=whole) == expected
        assert kernel.states() == states
        assert kernel.counts[1] == sum(state.phase != "inactive" for state in states)


@settings(max_examples=100, deadline=None)
@given(runs())
def test_neighbours_do_not_matter(run: tuple[list[Timing], list[Tick]]) -> None:
    rules, ticks = run
    together, alone = Kernel(rules), Kernel(rules[:1])
    now = 1000
    for seconds, condition, recover, _ in ticks:
        now += seconds
        told = [event for event in together.step(now, condition, recover) if event[0] == 0]
        assert alone.step(now, condition[:1], recover[:1]) == told


@settings(max_examples=100, deadline=None)
@given(runs())
def test_a_mark_is_set_whenever_time_alone_does_not_explain_the_state(run: tuple[list[Timing], list[Tick]]) -> None:
    """What a record says, moved on by time, is what the arrays say: the ground on which restarts are exact."""
    rules, ticks = [run[0][0]], run[1]
    kernel, now = Kernel(rules), 1000
    kernel.last = now - 1
    kept = (INACTIVE, False)
    for seconds, condition, recover, _ in ticks:
        now += max(1, seconds) if rules[0].every_seconds == 1 else 1  # a missed EVERY is judged late
        kernel.step(now, condition[:1], recover[:1])
        if kernel.places.marks[0] & phases.CHANGED:
            kernel.places.marks[0] &= ~np.uint8(phases.CHANGED)
            kept = (kernel.states()[0], bool(kernel.places.marks[0] & phases.STILL))
        read = Kept(("x", ()), kept[0], 0.0, Facts(), kept[1])
        assert as_of(read, rules[0], now) == kernel.states()[0]


def test_the_numbers_are_those_of_the_words() -> None:
    assert [PHASES[n] for n in (phases.INACTIVE, phases.PENDING, phases.FIRING, phases.RECOVERING)] == [*PHASES]
    policies = (phases.NODATA_KEEP, phases.NODATA_OK, phases.NODATA_ALERT)
    assert [NODATA_POLICIES[n] for n in policies] == [*NODATA_POLICIES]
    row = row_of(Timing(1, 2, "alert", True))
    assert [row[n] for n in (phases.FOR, phases.KEEP, phases.NODATA, phases.HAS_RECOVER)] == [1, 2, 2, 1]


def test_there_is_room_for_so_many_in_the_order_of_their_places() -> None:
    kernel = Kernel([Timing()] * 4)
    assert kernel.step(1, [1.0] * 4, [0.0] * 4, room=2) == [(0, "firing", 1), (1, "firing", 1)]
    assert kernel.counts.tolist() == [2, 2, 2]
    told = kernel.step(2, [0.0, 1.0, 1.0, 1.0], [1.0] * 4, room=2)
    assert told == [(0, "resolved", 1), (2, "firing", 2)]
    assert kernel.counts.tolist() == [2, 2, 1]


@pytest.mark.parametrize("nodata", NODATA_POLICIES)
def test_a_restored_instance_stands_still_until_its_windows_are_known(nodata: str) -> None:
    kernel = Kernel([Timing(for_seconds=3, nodata=nodata)])  # type: ignore[arg-type]
    kernel.places.put(0, AlertState("pending", 100, 100, 101, 0), phases.RESTORED)
    for now, seen in ((102, 1.0), (103, 0.0), (104, math.nan)):
        assert kernel.step(now, [seen], [1.0 - seen], whole=[False]) == []
    assert kernel.states() == [AlertState("pending", 100, 103, 104, 0)]
    assert kernel.step(105, [1.0], [0.0], whole=[True]) == []
    assert kernel.step(106, [1.0], [0.0], whole=[False]) == [(0, "firing", 100)]  # known once is known


def test_what_is_new_is_stepped_whether_its_windows_are_known_or_not() -> None:
    assert Kernel([Timing()]).step(1, [1.0], [0.0], whole=[False]) == [(0, "firing", 1)]


def test_no_data_is_none_only_once_the_window_was_watched() -> None:
    kernel = Kernel([Timing(nodata="alert"), Timing(nodata="ok")])
    kernel.places.put(1, AlertState("firing", 1, 1, 1, 1), 0)
    assert kernel.step(2, [math.nan] * 2, [math.nan] * 2, whole=[False] * 2) == []
    assert kernel.step(3, [math.nan] * 2, [math.nan] * 2, whole=[True] * 2) == [(0, "firing", 3), (1, "resolved", 1)]


@pytest.mark.parametrize(("waits", "told"), [(True, []), (False, [(0, "resolved", 7)])])
def test_a_restored_instance_whose_series_is_not_back_waits(waits: bool, told: list[tuple[int, str, int]]) -> None:
    kernel = Kernel([Timing(nodata="ok")], placed=0)
    kernel.places.put(0, AlertState("firing", 7, 7, 7, 7), phases.RESTORED)
    assert kernel.step(10, [], [], waits=waits) == told


def test_what_is_evaluated_no_longer_does_not_fire() -> None:
    assert Kernel([Timing(nodata="alert")], placed=0).step(1, [], []) == []


def test_places_without_a_rule_rest() -> None:
    kernel = Kernel([Timing()])
    kernel.places.rule[0] = -1
    assert kernel.step(1, [1.0], [0.0]) == []
