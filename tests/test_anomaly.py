"""The moving-mean detector against its twin, and the stories it must tell right."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import windows
from tests.reference.anomaly import Watch

from hms_ops.anomaly import moving_mean
from hms_ops.anomaly.episode import Standing
from hms_ops.anomaly.moving_mean import AnomalyEvent, Detector, MovingMeanRule
from hms_ops.kernels.rollup import rollup_step

FIRST = 1_700_000_000


class Columns:
    """A store's columns that are fed a second at a time; rows hold garbage where nothing was seen."""

    def __init__(self, capacity: int) -> None:
        self.cols = np.resize(np.array(windows.GARBAGE), (3, 6, 64, capacity))
        self.cols[:, 0] = 0.0
        self.end = FIRST

    def seal(self, samples: dict[int, list[float]]) -> int:
        """Seal one second with these values of each slot, roll up, and return the new end."""
        row = self.cols[0, :, self.end % 64]
        row[0] = 0.0
        row[1:] = np.nan
        for slot, values in samples.items():
            if values:
                raw = np.array([(self.end, value, 1.0) for value in values])
                row[:, slot] = windows.aggregate(raw)
        self.end += 1
        for tier in (1, 2):
            if self.end % windows.STEPS[tier] == 0:
                rollup_step(self.cols, tier, self.end // windows.STEPS[tier] - 1, self.cols.shape[3])
        return self.end


def tell(rule: MovingMeanRule, story: list[list[float]]) -> list[tuple[int, str]]:
    """The events of one series whose seconds have these values: (position in the story, state)."""
    columns, detector = Columns(1), Detector(rule)
    detector.bind(np.array([0], np.int32))
    events = [event for values in story for event in detector.judge(columns.cols, columns.seal({0: values}), FIRST)]
    return [(event.second - FIRST, event.state) for event in events]


def make_rule(**changes: Any) -> MovingMeanRule:
    return MovingMeanRule("finance.anomaly", "finance.api_ms", **changes)


CALM = [[100.0]] * 60


def test_one_event_tells_of_an_episode_however_long_it_lasts() -> None:
    story = CALM + [[250.0]] * 100 + [[100.0]] * 20
    assert tell(make_rule(), story) == [(60, "started"), (62, "held"), (164, "ended")]


def test_an_event_carries_the_value_and_the_baseline_that_was_frozen() -> None:
    columns, detector = Columns(3), Detector(make_rule())
    detector.bind(np.array([2], np.int32))
    for _ in range(60):
        detector.judge(columns.cols, columns.seal({2: [90.0, 110.0]}), FIRST)
    for _ in range(2):
        detector.judge(columns.cols, columns.seal({2: [300.0]}), FIRST)
    (held,) = detector.judge(columns.cols, columns.seal({2: [400.0]}), FIRST)
    assert held == AnomalyEvent("finance.anomaly", 2, "held", 400.0, 100.0, FIRST + 62)


def test_a_single_anomalous_second_starts_and_ends_without_being_held() -> None:
    assert tell(make_rule(), [*CALM, [250.0], *[[100.0]] * 10]) == [(60, "started"), (65, "ended")]


def test_three_of_five_seconds_hold_an_episode_even_with_normal_ones_between() -> None:
    story = [*CALM, [250.0], [100.0], [250.0], [100.0], [250.0], *[[100.0]] * 5]
    assert tell(make_rule(), story) == [(60, "started"), (64, "held"), (69, "ended")]


def test_silent_seconds_neither_end_nor_hold_an_episode() -> None:
    story = [*CALM, [250.0], *[[]] * 30, [250.0], [], [], [250.0], *[[], [100.0]] * 5]
    events = tell(make_rule(), story)
    assert events == [(60, "started"), (94, "held"), (104, "ended")]


def test_the_judged_second_is_not_part_of_its_own_baseline() -> None:
    assert tell(make_rule(min_samples=10), [[100.0]] * 10 + [[201.0]]) == [(10, "started")]


@pytest.mark.parametrize(
    ("rule", "calm", "value"),
    [
        (make_rule(), [[100.0]] * 9, 250.0),  # nine samples
        (make_rule(min_samples=61), CALM, 250.0),
        (make_rule(), CALM, 200.0),  # not above the factor
        (make_rule(min_difference=150.1), CALM, 250.0),
        (make_rule(), [[0.0]] * 60, 250.0),  # no positive baseline
        (make_rule(), [[-100.0]] * 60, 250.0),
        (make_rule(factor=3.0), CALM, 250.0),
        (make_rule(), [[]] * 60, 250.0),
    ],
)
def test_a_guard_keeps_a_second_from_being_anomalous(rule: MovingMeanRule, calm: list, value: float) -> None:
    assert tell(rule, [*calm, [value]]) == []


@pytest.mark.parametrize(
    ("rule", "calm", "value"),
    [
        (make_rule(), [[100.0]] * 10, 250.0),
        (make_rule(min_samples=60), CALM, 250.0),
        (make_rule(), CALM, 200.1),
        (make_rule(min_difference=150), CALM, 250.0),
        (make_rule(), [[0.01]] * 60, 0.03),
        (make_rule(window_seconds=60), CALM, 250.0),
        (make_rule(factor=2.4), CALM, 250.0),
        (make_rule(window_seconds=3600), CALM, 1e300),
    ],
)
def test_a_second_past_all_guards_is_anomalous(rule: MovingMeanRule, calm: list, value: float) -> None:
    assert tell(rule, [*calm, [value]])[0] == (len(calm), "started")


def test_the_mean_shrugs_at_an_outlier_that_max_reports() -> None:
    story = [*[[100.0] * 20] * 60, [100.0] * 19 + [900.0], *[[100.0] * 20] * 6]
    assert tell(make_rule(), story) == []
    assert tell(make_rule(on="max"), story) == [(60, "started"), (65, "ended")]


def test_min_share_makes_max_wait_for_that_share_of_the_last_five_seconds() -> None:
    outlier = [100.0] * 19 + [900.0]
    story = [*[[100.0] * 20] * 60, outlier, [100.0] * 20, outlier, [100.0] * 20, outlier, outlier]
    assert tell(make_rule(on="max", min_share=0.6), story) == [(64, "started"), (64, "held")]
    assert tell(make_rule(on="max", min_share=0.4), story)[0] == (62, "started")
    assert tell(make_rule(on="max", min_share=1.0), story) == []


def test_the_baseline_stands_still_for_ten_minutes_and_is_then_released() -> None:
    story = CALM + [[250.0]] * 700
    assert tell(make_rule(), story) == [(60, "started"), (62, "held"), (664, "ended")]


def test_a_slow_disaster_does_not_become_the_new_normal_within_ten_minutes() -> None:
    story = [*[[100.0]] * 600, *[[100.0 + 0.5 * i] for i in range(201, 800)]]
    events = tell(make_rule(window_seconds=120), story)
    assert [state for _, state in events] == ["started", "held"]


@pytest.mark.parametrize("on", ["mean", "max"])
@pytest.mark.parametrize("window_seconds", [7, 59, 60, 61, 600, 900])
def test_detector_and_twin_agree_on_random_series(on: str, window_seconds: int) -> None:
    rng = np.random.default_rng(window_seconds)
    series, seconds = 12, window_seconds + 500
    rule = make_rule(on=on, window_seconds=window_seconds, min_samples=5, min_difference=5.0, min_share=0.4)
    watches = [
        Watch(2.0, window_seconds, on, 2 if on == "max" else 1, min_samples=5, min_difference=5.0)
        for _ in range(series)
    ]
    raw = [np.empty((0, 3))] * series
    columns, detector = Columns(series), Detector(rule)
    detector.bind(np.arange(series, dtype=np.int32))
    told = 0
    for second in range(FIRST, FIRST + seconds):
        values = {s: _draw(rng, s, second - FIRST) for s in range(series)}
        got = detector.judge(columns.cols, columns.seal(values), FIRST)
        start = windows.window_start(61 if window_seconds == 60 else window_seconds, second, FIRST)
        want = []
        for s in range(series):
            raw[s] = np.concatenate([raw[s], [(second, value, 1.0) for value in values[s]]]) if values[s] else raw[s]
            want += [(s, state) for state in watches[s].judge(raw[s], second, start)]
        assert [(event.slot, event.state) for event in got] == want
        told += len(want)
    assert told > series


def _draw(rng: np.random.Generator, slot: int, at: int) -> list[float]:
    """Series differ in rate; each has bursts of threefold values and silences."""
    if rng.random() < 0.2 * (slot % 4):
        return []
    level = 30.0 if (at // 37 + slot) % 9 == 0 else 10.0
    return (level * rng.lognormal(0, 0.25, rng.integers(1, 4))).tolist()


def test_several_rules_are_judged_in_one_call_each_with_its_own_members() -> None:
    strict, loose = make_rule(factor=5.0), MovingMeanRule("loose", "db.write_ms", factor=1.5)
    columns, detector = Columns(6), Detector(strict, loose)
    detector.bind(np.array([0, 3], np.int32), np.array([1, 3, 5], np.int32))
    for _ in range(20):
        detector.judge(columns.cols, columns.seal({slot: [100.0] for slot in range(6)}), FIRST)
    end = columns.seal({0: [200.0], 1: [160.0], 2: [900.0], 3: [600.0], 4: [900.0], 5: [100.0]})
    events = detector.judge(columns.cols, end, FIRST)
    assert [(event.rule, event.slot) for event in events] == [("finance.anomaly", 3), ("loose", 1), ("loose", 3)]


@pytest.mark.parametrize("step", [1, 3])
def test_a_lone_anomaly_is_found_in_any_block_of_many_series(step: int) -> None:
    watched = np.arange(5, 7000, step, dtype=np.int32)
    columns, detector = Columns(7000), Detector(make_rule(window_seconds=10))
    detector.bind(watched)
    columns.cols[0, 0] = 3.0
    columns.cols[0, 1] = 300.0
    columns.end += 30
    strange = watched[[0, 1, 682, 683, 2047 // step, 2048 // step, -1]]
    columns.cols[0, 1, (columns.end - 1) % 64, strange] = 900.0
    events = detector.judge(columns.cols, columns.end, FIRST)
    assert sorted({event.slot for event in events}) == sorted(set(strange.tolist()))


def test_binding_anew_keeps_the_state_of_the_members_that_stay() -> None:
    columns, detector = Columns(4), Detector(make_rule())
    detector.bind(np.array([0, 2], np.int32))
    for _ in range(20):
        detector.judge(columns.cols, columns.seal({slot: [100.0] for slot in range(4)}), FIRST)
    high = {slot: [300.0] for slot in range(4)}
    first = detector.judge(columns.cols, columns.seal(high), FIRST)
    detector.bind(np.array([1, 2, 3], np.int32))
    second = detector.judge(columns.cols, columns.seal(high), FIRST)
    third = detector.judge(columns.cols, columns.seal(high), FIRST)
    assert [(event.slot, event.state) for event in first] == [(0, "started"), (2, "started")]
    assert [(event.slot, event.state) for event in second] == [(1, "started"), (3, "started")]
    assert [(event.slot, event.state) for event in third] == [(2, "held")]


def test_a_detector_that_takes_over_goes_on_where_the_one_before_stood() -> None:
    rng = np.random.default_rng(9)
    rule, series = make_rule(min_difference=5.0), list(range(6))
    columns, alone, old = Columns(len(series)), Detector(rule), Detector(rule)
    members = np.array(series, np.int32)
    alone.bind(members)
    old.bind(members)
    is_open: set[int] = set()
    told = 0
    for second in range(400):
        end = columns.seal({slot: _draw(rng, slot, second) for slot in series})
        want, got = alone.judge(columns.cols, end, FIRST), old.judge(columns.cols, end, FIRST)
        assert got == want
        told += len(want)
        for event in got:
            (is_open.discard if event.state == "ended" else is_open.add)(event.slot)
        if second % 7 == 0:
            new = Detector(rule)
            new.bind(members)
            assert all(new.resume(rule.name, slot, old.standing(rule.name, slot)) for slot in is_open)
            old = new
    assert told > 10


def test_only_a_member_has_a_standing_and_can_go_on() -> None:
    strict, loose = make_rule(), MovingMeanRule("loose", "db.write_ms")
    detector = Detector(strict, loose)
    detector.bind(np.array([0, 3], np.int32), np.array([1, 3, 5], np.int32))
    standing = Standing(0b00111, True, 100.0, FIRST)
    assert [detector.resume("loose", slot, standing) for slot in range(7)] == [
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert detector.standing("loose", 3) == standing
    with pytest.raises(KeyError, match=r"series 1 is no member of the anomaly rule 'finance\.anomaly'"):
        detector.standing(strict.name, 1)


def test_what_was_put_back_of_the_time_before_is_in_the_baseline() -> None:
    columns, detector = Columns(1), Detector(make_rule(window_seconds=300))
    detector.bind(np.array([0], np.int32))
    for _ in range(240):
        columns.seal({0: [50.0]})
    first = columns.end - columns.end % 10
    columns.cols[0, 0] = 0.0  # of the run before there are no single seconds
    for _ in range(30):
        assert detector.judge(columns.cols, columns.seal({0: [90.0]}), first, first) == []
    end = columns.seal({0: [150.0]})
    assert detector.judge(columns.cols, end, first, first) == []
    (event,) = detector.judge(columns.cols, end, first, FIRST)
    assert (event.state, event.value) == ("started", 150.0)
    assert event.baseline == pytest.approx((240 * 50 + 30 * 90) / 270)


def test_more_events_than_are_listed_come_a_second_later_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_mean, "EVENTS_MAX", 3)
    columns, detector = Columns(10), Detector(make_rule())
    detector.bind(np.arange(10, dtype=np.int32))
    for _ in range(20):
        detector.judge(columns.cols, columns.seal({slot: [100.0] for slot in range(10)}), FIRST)
    listed = []
    for _ in range(12):
        end = columns.seal({slot: [300.0] for slot in range(10)})
        events = detector.judge(columns.cols, end, FIRST)
        assert len({event.slot for event in events}) <= 3
        listed += [(event.slot, event.state) for event in events]
    assert sorted(listed) == sorted((slot, state) for slot in range(10) for state in ("started", "held"))
    assert detector.deferred > 0


def test_judging_leaves_the_columns_unchanged_and_ignores_series_that_are_not_members() -> None:
    columns, detector = Columns(3), Detector(make_rule())
    detector.bind(np.array([1], np.int32))
    for _ in range(30):
        end = columns.seal({1: [100.0]})
        columns.cols[..., [0, 2]] = 1e300
        before: NDArray = columns.cols.copy()
        assert detector.judge(columns.cols, end, FIRST) == []
        np.testing.assert_array_equal(columns.cols, before)


def test_without_rules_or_members_there_is_nothing_to_tell() -> None:
    columns = Columns(1)
    end = columns.seal({0: [1.0]})
    assert Detector().judge(columns.cols, end, FIRST) == []
    assert Detector(make_rule()).judge(columns.cols, end, FIRST) == []


def test_binding_takes_one_array_of_members_for_each_rule() -> None:
    with pytest.raises(ValueError, match="2 arrays of members for 1 rules"):
        Detector(make_rule()).bind(np.zeros(1, np.int32), np.zeros(1, np.int32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"factor": 0.0}, "factor 0.0 is not above 0"),
        ({"factor": float("nan")}, "factor nan"),
        ({"window_seconds": 0}, "window_seconds 0 is not 1 to 3600"),
        ({"window_seconds": 3601}, "window_seconds 3601"),
        ({"on": "median"}, "on 'median' is not mean or max"),
        ({"min_share": 0.0}, "min_share 0.0"),
        ({"min_share": 1.2}, "min_share 1.2"),
        ({"min_samples": 0}, "min_samples 0 is not 1 or more"),
        ({"min_difference": -1.0}, "min_difference -1.0"),
    ],
)
def test_a_rule_out_of_range_is_refused_with_its_value(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make_rule(**change)
