"""Rules that follow a store as series are born and go, in place: always what rules made anew come to."""

import random
from typing import Any

import numpy as np
import pytest
from tests.reference.fleet import Fleet

from hms_ops.alert import windows
from hms_ops.alert.evaluate import RuleSet
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.plan import Plan, compile_statement
from hms_ops.alert.states.placing import found_again

FIRST = 1_700_000_000
CAPACITY = 60
KINDS = {"x": "gauge", "y": "counter", "z": "timer", "users": "set"}
PLANS: dict[str, Plan] = {
    f"rule{n}": compile_statement(parse_statement(text))
    for n, text in enumerate(
        [
            "x > 0",
            "x > 0 GROUP BY *",
            "avg(x, 1m) > 5 WHERE zone != b GROUP BY zone",
            "max(x{zone='a'}, 5m) - min(x{zone='a'}, 10s) > 1",
            "sum(y) > 3 GROUP BY zone",
            "rate(y, 30s) > 0 OR ABSENT(x[30s]) GROUP BY zone",
            "p95(z, 1m) > 4 GROUP BY zone",
            "avg(z, 5m) > 4 AND stddev(x, 5m) > 0",
            "count(users, 1m) > 1 GROUP BY zone",
            "avg(x, 1m) OFFSET 1m > 0 GROUP BY zone",
            "avg(x + y, 1m) > 3 GROUP BY *",
        ]
    )
}


# Of which a series that is born is seldom a new group.
IN_GROUPS = {name: plan for name, plan in PLANS.items() if plan.group_by != ("*",)}


def rules_of(fleet: Fleet, plans: dict[str, Plan], **limits: Any) -> RuleSet:
    rules = RuleSet(fleet, **limits)
    rules.replace(plans)
    return rules


def assert_as_made_anew(rules: RuleSet, fleet: Fleet, plans: dict[str, Plan], **limits: Any) -> None:
    found, fresh = rules.evaluate(), rules_of(fleet, plans, **limits).evaluate()
    assert found.problems == fresh.problems

    def numbers(evaluation: Any) -> dict[Any, Any]:
        columns = (evaluation.condition, evaluation.recover, evaluation.value, evaluation.whole)
        return dict(zip(evaluation.keys, zip(*(column.tolist() for column in columns), strict=True), strict=True))

    np.testing.assert_equal(numbers(found), numbers(fresh))


def change(fleet: Fleet, chance: random.Random, end: int) -> None:
    """One series is born, or goes, or its slot goes to another."""
    if fleet.samples and chance.random() < 0.3:
        gone = chance.choice(sorted(fleet.samples))
        fleet.remove(gone)
        if chance.random() < 0.5:
            return
    tags = {"zone": chance.choice("abc"), "host": str(chance.randrange(4))}
    samples = [(end - 1 - n, float(chance.randrange(9))) for n in range(chance.randrange(1, 90))]
    fleet.add(chance.choice(sorted(KINDS)), tags, sorted(samples))


@pytest.mark.parametrize(
    ("seed", "spare", "plans"), [(1, 1, PLANS), (2, 8, PLANS), (3, 1, IN_GROUPS), (4, 8, IN_GROUPS)]
)
def test_rules_that_grow_come_to_what_rules_made_anew_do(
    seed: int, spare: int, plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "_SPARE", spare)  # with 1 every slice outgrows its room, and the room all rooms
    monkeypatch.setattr(windows, "_UNION_SPARE", 4 * spare)
    chance = random.Random(seed)
    fleet = Fleet(FIRST, capacity=CAPACITY, kinds=dict.fromkeys(KINDS, "unknown"))
    rules = rules_of(fleet, plans)
    for n in range(16):
        end = FIRST + 200 + 7 * n
        for _ in range(chance.choice([1, 1, 2, 6])):
            change(fleet, chance, end)
        fleet.kinds |= {metric: kind for metric, kind in KINDS.items() if n > 5 or metric == "x"}
        fleet.seal(end)
        assert_as_made_anew(rules, fleet, plans)


def test_members_stay_apart_when_they_outgrow_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_SPARE", 4)
    monkeypatch.setattr(windows, "_UNION_SPARE", 3)
    texts = [
        f"sum({name}{{zone{sign}a}}, {span}) > 0" for name in "ab" for sign in ("=", "!=") for span in ("1m", "5m")
    ]
    plans = {text: compile_statement(parse_statement(text)) for text in texts}
    fleet = Fleet(FIRST, capacity=CAPACITY, kinds=dict.fromkeys("ab", "counter"))
    fleet.seal(FIRST + 1)
    rules = rules_of(fleet, plans)
    for n in range(24):
        fleet.add("aab"[n % 3], {"zone": "abb"[n // 3 % 3], "host": str(n)}, [(FIRST, 2.0**n)])
        fleet.seal(FIRST + 1)
        assert_as_made_anew(rules, fleet, plans)


def test_a_birth_lays_nothing_out_anew_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(FIRST, capacity=CAPACITY, kinds=KINDS)
    for n in range(40):
        fleet.add("x", {"zone": "abc"[n % 3], "host": str(n)}, [(FIRST, 1.0)])
    fleet.seal(FIRST + 1)
    rules = rules_of(fleet, PLANS)
    rules.evaluate()
    laid_out = []
    monkeypatch.setattr(windows.Windows, "_lay_out", lambda self: laid_out.append(self))
    for n in range(5):
        fleet.add("y", {"zone": "d", "host": str(n)}, [(FIRST, 1.0)])
        rules.evaluate()
    assert not laid_out


def test_limits_are_kept_as_series_are_born_and_go() -> None:
    fleet = Fleet(FIRST, capacity=CAPACITY, kinds=KINDS)
    limits = {"pairs_max": 20, "sketched_max": 2}
    rules = rules_of(fleet, PLANS, **limits)
    assert not rules.evaluate().problems
    slots = []
    for n in range(6):
        slots.append(fleet.add("xz"[n % 2], {"zone": "a", "host": str(n)}, [(FIRST, 1.0)]))
        fleet.seal(FIRST + n + 2)
        assert_as_made_anew(rules, fleet, PLANS, **limits)
    assert rules.problems
    for slot in slots:
        fleet.remove(slot)
        assert_as_made_anew(rules, fleet, PLANS, **limits)
    assert not rules.problems


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        ([], [3]),
        ([3], []),
        ([3, 1, 2], [3, 1, 2]),
        ([3, 1, 2], [3, 9, 1, 2]),
        ([3, 1, 2], [2, 3]),
        ([5], [6]),
    ],
)
def test_what_was_there_before_is_found_again(before: list[int], after: list[int]) -> None:
    found = found_again(np.array(before, np.int64), np.array(after, np.int64))
    assert found.tolist() == [before.index(one) if one in before else -1 for one in after]
