"""The error budget over a sliding window against a plain sum of everything in it."""

import random

import numpy as np
import pytest

from hms_ops.alert.source import GroupKey
from hms_ops.budget import Budget, burn_rate, left

START = 1_700_000_000 - 1_700_000_000 % 3600
Event = tuple[int, int, float, float]  # group, second, good, total


def key(group: int) -> GroupKey:
    return (("host", str(group)),)


def add(budget: Budget, *events: Event) -> None:
    for group, second, good, total in events:
        budget.add(budget.place(key(group)), second, good, total)


def sums(budget: Budget) -> dict[GroupKey, tuple[float, float]]:
    return dict(zip(budget.keys, map(tuple, budget.sums().T.tolist()), strict=True))


@pytest.mark.parametrize(
    ("window", "step", "steps"), [(3600, 60, 61), (86_400, 60, 1441), (90_000, 3600, 26), (30 * 86_400, 3600, 721)]
)
def test_a_window_is_kept_in_steps_of_a_minute_or_an_hour(window: int, step: int, steps: int) -> None:
    budget = Budget(window)
    assert (budget.step_seconds, budget.steps) == (step, steps)
    budget.move_on(START + 59)
    assert START + 59 - window - step < budget.start() <= START + 59 - window


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("window", [3600, 7200, 90_000])
def test_it_equals_the_plain_sum_whatever_comes_when(window: int, seed: int) -> None:
    rng = random.Random(seed)
    budget = Budget(window)
    events: list[Event] = []
    now = START
    for _ in range(150):
        now += rng.choice((1, 1, 7, 60, 600, window // 3))
        budget.move_on(now)
        new: list[Event] = []
        for _ in range(rng.randint(0, 3)):
            total = float(rng.randint(0, 9))
            second = now - rng.choice((0, 0, 30, 3000, window // 2, 2 * window))
            new.append((rng.randint(0, 6), second, float(rng.randint(0, int(total))), total))
        if new:
            add(budget, *new)
        events += new
        expected: dict[GroupKey, tuple[float, float]] = {}
        for group, second, good, total in events:
            before = expected.get(key(group), (0.0, 0.0))
            if second >= budget.start():
                expected[key(group)] = before[0] + good, before[1] + total
        assert {name: pair for name, pair in sums(budget).items() if pair[1]} == {
            name: pair for name, pair in expected.items() if pair[1]
        }


def test_what_is_filled_from_history_equals_what_was_added() -> None:
    rng = np.random.default_rng(5)
    added, filled = Budget(7200), Budget(7200)
    groups, seconds = rng.integers(0, 9, 500), START + rng.integers(-9000, 100, 500)
    good, total = rng.random(500), rng.random(500) + 1.0
    for budget in (added, filled):
        budget.move_on(START)
    for row in zip(groups.tolist(), seconds.tolist(), good.tolist(), total.tolist(), strict=True):
        add(added, row)
    places = np.array([filled.place(key(group)) for group in groups.tolist()], np.int64)
    filled.fill(False, places, seconds, good)
    filled.fill(True, places, seconds, total)
    assert sums(filled) == {name: pytest.approx(pair) for name, pair in sums(added).items()}


def test_groups_without_events_in_the_window_are_let_go_and_come_back() -> None:
    budget = Budget(3600)
    budget.move_on(START)
    add(budget, *((group, START, 1.0, 2.0) for group in range(9)))
    budget.move_on(START + 1800)
    add(budget, (3, START + 1800, 5.0, 5.0))
    budget.move_on(START + 3600 + 120)
    assert sums(budget) == {key(3): (5.0, 5.0)}
    assert not budget.knows(key(4))
    add(budget, (4, START + 3700, 1.0, 1.0))
    assert sums(budget) == {key(3): (5.0, 5.0), key(4): (1.0, 1.0)}


def test_what_lies_ahead_of_time_or_before_the_window_is_left_out() -> None:
    budget = Budget(3600)
    budget.move_on(START)
    add(budget, (0, START + 60, 1.0, 1.0), (0, START - 3660, 1.0, 1.0), (0, START - 3600, 1.0, 2.0))
    assert sums(budget) == {key(0): (1.0, 2.0)}


def test_time_that_goes_back_takes_what_had_not_come_yet_with_it() -> None:
    budget = Budget(3600)
    budget.move_on(START)
    add(budget, (0, START, 1.0, 1.0))
    budget.move_on(START + 600)
    add(budget, (0, START + 600, 2.0, 2.0))
    budget.begin_anew(START + 300)
    assert sums(budget) == {key(0): (1.0, 1.0)}
    add(budget, (0, START + 300, 4.0, 4.0))
    budget.move_on(START + 600)
    assert sums(budget) == {key(0): (5.0, 5.0)}
    budget.begin_anew(START - 90_000)
    assert sums(budget) == {key(0): (0.0, 0.0)}


def test_many_sums_of_fractions_do_not_drift() -> None:
    budget = Budget(3600)
    for second in range(START, START + 20_000, 7):
        budget.move_on(second)
        add(budget, (0, second, 0.1, 1e9))
    inside = [second for second in range(START, START + 20_000, 7) if second >= budget.start()]
    assert budget.sums()[0, 0] == pytest.approx(0.1 * len(inside), rel=1e-12)


@pytest.mark.parametrize(
    ("good", "total", "share"), [(100, 100, 1.0), (99, 100, 0.0), (99.5, 100, 0.5), (98, 100, -1.0), (0, 0, 1.0)]
)
def test_what_is_left_is_a_share_of_what_may_fail(good: float, total: float, share: float) -> None:
    assert left(np.array([[good], [total]]), 0.01)[0] == pytest.approx(share)


@pytest.mark.parametrize(("good", "total", "rate"), [(99, 100, 1.0), (100, 100, 0.0), (90, 100, 10.0), (0, 0, None)])
def test_a_burn_rate_of_one_spends_the_budget_just_in_time(good: float, total: float, rate: float | None) -> None:
    found = burn_rate(good, total, 0.01)
    assert found == (rate if rate is None else pytest.approx(rate))
