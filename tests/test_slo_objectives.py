"""SLOs at work: what is published against a plain count of the samples, across late ones, restarts and reloads."""

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.counting import Counting, slo, slo_of
from tests.recording import FIRST, SECOND_NS, Recording

from hms_ops import objectives
from hms_ops._ring import Store
from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.slo import Goal, Slo
from hms_ops.alert.source import GroupKey
from hms_ops.errors import ConfigError, StorageError
from hms_ops.goals import Goals, placed
from hms_ops.objectives import Objectives
from hms_ops.spending import spent as read


def value(counting: Counting, expression: str) -> float:
    found = query_now(parse_query(expression), counting.store)
    assert len(found) == 1, found
    return found[0][1]


def played(counting: Counting, seconds: int, *, seed: int = 1, late: bool = True) -> Counting:
    """Samples of a timer under some hosts: plain, weighted and late."""
    rng = np.random.default_rng(seed)
    for _ in range(seconds):
        counting.advance(1)
        for _ in range(int(rng.integers(0, 4))):
            host = f"host:{'abc'[int(rng.integers(3))]}"
            weight = float(rng.choice([1.0, 1.0, 2.0]))
            counting.add("api_ms", float(rng.integers(1, 400)), "ms", host, weight)
        if late and rng.random() < 0.2:
            ago = int(rng.choice([1, 5, 30, 100, 2000]))
            if counting.now - ago > counting.first:
                counting.add("api_ms", float(rng.integers(1, 400)), "ms", "host:a", ago=ago)
    counting.advance(2)
    return counting


def is_good(number: float) -> bool:
    return number <= 200


def assert_exact(counting: Counting, name: str = "latency", steps: tuple[int, ...] = (10, 60, 3600)) -> None:
    for step in steps:
        assert counting.sums(f"{name}.good", step) == counting.expected("api_ms", is_good, step), f"good by {step}"
        assert counting.sums(f"{name}.total", step) == counting.expected("api_ms", lambda _: True, step), f"by {step}"


# ---- what is published


def test_good_and_total_of_every_step_are_what_was_sent(tmp_path: Path) -> None:
    counting = played(Counting(tmp_path), 400)
    assert_exact(counting)
    assert counting.objectives.counters() == {
        "slos": 1,
        "groups": 1,
        "groups_refused": 0,
        "seconds_lost": 0,
        "unpublished": 0,
    }
    counting.close()


def test_without_a_disk_too() -> None:
    assert_exact(played(Counting(), 200, late=False), steps=(10,))


@pytest.mark.parametrize("seed", range(5))
def test_across_restarts_each_sample_counts_once(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counting = Counting(tmp_path)
    for life in range(3):
        played(counting, 90, seed=10 * seed + life)
        counting.advance(1)
        counting.close()
        begin = counting.now + int(rng.choice([0, 1, 15, 700]))
        counting = Counting(tmp_path, first=begin, given=counting.given)
    counting.first = FIRST
    assert_exact(counting)
    good, total = counting.objectives._followed[0].budget.sums()
    assert good.tolist() == [sum(counting.expected("api_ms", is_good).values())]
    assert total.tolist() == [sum(counting.expected("api_ms", lambda _: True).values())]
    counting.close()


def test_a_sample_late_for_a_time_before_the_restart_is_counted_there(tmp_path: Path) -> None:
    counting = played(Counting(tmp_path), 60)
    counting.close()
    begun = counting.now + 5
    counting = Counting(tmp_path, first=begun, given=counting.given)
    counting.advance(1)
    for ago in (10, 40):
        counting.add("api_ms", 1.0, "ms", ago=ago)
    counting.advance(25)
    counting.first = FIRST
    assert_exact(counting)
    counting.close()


def test_a_second_is_merged_into_the_windows_that_end_with_it() -> None:
    counting = Counting()
    counting.advance(1)
    for number in range(30):
        counting.add("api_ms", 300.0 if number % 3 == 0 else 100.0, "ms")
        counting.advance(1)
        for window in ("1s", "10s", "1m"):
            assert value(counting, f"increase(latency.total, {window})") == value(counting, f"count(api_ms, {window})")
        assert value(counting, "increase(latency.good, 1s)") == (number % 3 != 0)
    assert value(counting, "increase(latency.good, 1m)") == 20


def test_what_is_published_is_nobody_elses_to_write() -> None:
    counting = Counting()
    counting.store.ingest(b"latency.good:5|c\nlatency.budget:5|g")
    assert counting.store.ledger_rows()["in-process"]["bad"] == {"name_reserved": 2}
    counting.objectives.replace([])
    counting.store.ingest(b"latency.good:5|c")
    assert counting.store.ledger_rows()["in-process"]["samples"] == 1


def test_groups_and_matchers_choose_and_part_the_series() -> None:
    by_host = slo("by.host", group_by=["host"])
    of_b = slo("of.b", good='api_ms{host="b"} <= 200')
    not_c = slo("not.c", good="api_ms <= 200 WHERE host != c", group_by="*")
    counting = played(Counting(slos=[by_host, of_b, not_c]), 100, late=False)
    for host in "abc":
        wanted = [sample for sample in counting.given if sample[2] == f"host:{host}"]
        total = sum(sample[5] for sample in wanted)
        good = sum(sample[5] for sample in wanted if sample[4] <= 200)
        tags = {"host": host}
        assert sum(counting.sums("by.host.total", tags=tags).values()) == total
        assert sum(counting.sums("by.host.good", tags=tags).values()) == good
        assert sum(counting.sums("not.c.total", tags=tags).values()) == (total if host != "c" else 0)
        if host == "b":
            assert sum(counting.sums("of.b.good", tags={}).values()) == good
            assert sum(counting.sums("of.b.total", tags={}).values()) == total
    assert counting.objectives.counters()["groups"] == 6


@pytest.mark.parametrize("key", ["good", "bad"])
def test_two_counters_are_taken_second_by_second(key: str) -> None:
    counting = Counting(slos=[slo_of_counters(key)])
    counting.advance(1)
    for number in range(120):
        counting.add("web.part", 2.0, "c", "host:a")
        counting.add("web.all", 3.0, "c", "host:a", weight=2.0)
        if number == 50:
            counting.add("web.all", 100.0, "c", "host:b", ago=20)
        counting.advance(1)
    part, total = 2.0 * 120, 6.0 * 120 + 100
    assert sum(counting.sums("web.total").values()) == total
    assert sum(counting.sums("web.good").values()) == (part if key == "good" else total - part)
    assert counting.objectives.problems() == []


def slo_of_counters(key: str) -> Slo:
    return slo_of({"slo": "web", "objective": 99, key: "web.part", "total": "web.all"}, "rules.yaml:1")


def test_samples_beyond_the_cap_on_series_are_counted_under_no_tags() -> None:
    counting = Counting(slos=[slo(group_by="*")])
    counting.advance(1)
    for number in range(300):
        counting.store.ingest(b"api_ms:1:500|ms|#host:%d" % number)
    counting.advance(1)
    by_group = {
        tuple(one.items()): n
        for one, n in query_now(parse_query("increase(latency.total, 10s) GROUP BY *"), counting.store)
    }
    assert sum(by_group.values()) == 600
    assert counting.store.counters()["overflow_samples"] > 0
    assert counting.store.ledger_rows()["self"]["bad"] == {}


def test_silence_is_no_sample() -> None:
    counting = Counting()
    counting.advance(30)
    assert len(counting.store.slots("latency.total")) == 0
    counting.add("api_ms", 1.0, "ms")
    counting.advance(30)
    assert counting.sums("latency.total")
    assert value(counting, "increase(latency.total, 10s)") == 0.0


def test_a_tick_that_was_late_publishes_each_second_as_it_was() -> None:
    counting = Counting()
    counting.advance(3)
    for _ in range(45):
        counting.now += 1
        counting.store.set_now_ns(counting.now * SECOND_NS)
        counting.add("api_ms", float(counting.now % 400), "ms")
    counting.advance(1)
    assert_exact(counting, steps=(10,))
    assert counting.objectives.seconds_lost == 0


def test_what_a_stall_has_cost_is_counted() -> None:
    counting = Counting()
    counting.advance(3)
    counting.now += 300
    counting.advance(1)
    assert counting.objectives.seconds_lost == 300 - 59


def test_a_clock_that_was_set_is_followed() -> None:
    counting = Counting()
    counting.advance(5)
    counting.add("api_ms", 1.0, "ms")
    counting.advance(1)
    counting.now -= 4000
    counting.store.set_now_ns(counting.now * SECOND_NS)
    counting.store.reanchor(0)
    counting.store.ingest(b"api_ms:1:500:500|ms")
    counting.advance(1)
    assert value(counting, "increase(latency.total, 10s)") == 3.0
    assert value(counting, "increase(latency.good, 10s)") == 1.0


# ---- the budget


def by_group(counting: Counting) -> dict[GroupKey, list[float]]:
    """Good and total of the first SLO's groups."""
    budget = counting.objectives._followed[0].budget
    return dict(zip(budget.keys, budget.sums().T.tolist(), strict=True))


def test_the_budget_is_a_series_like_any_other() -> None:
    counting = Counting(slos=[slo(objective=90)])
    counting.advance(7)
    for _ in range(20):
        for number in (1.0, 1.0, 1.0, 500.0):
            counting.add("api_ms", number, "ms")
        counting.advance(1)
    assert value(counting, "latency.budget") == pytest.approx(1 - 0.25 / 0.1)
    good, total = counting.objectives._followed[0].budget.sums()
    assert (good[0], total[0]) == (60, 80)


def test_an_old_failure_leaves_the_window_again() -> None:
    counting = Counting(slos=[slo(window="1h")])
    counting.advance(1)
    counting.add("api_ms", 500.0, "ms")
    for _ in range(3500):
        counting.add("api_ms", 1.0, "ms")
        counting.advance(1)
    assert value(counting, "latency.budget") == pytest.approx(1 - 1 / 3501 / 0.01, abs=1e-3)
    for _ in range(200):
        counting.add("api_ms", 1.0, "ms")
        counting.advance(1)
    assert value(counting, "latency.budget") == 1.0


def test_a_restart_finds_the_budget_in_history(tmp_path: Path) -> None:
    counting = played(Counting(tmp_path, slos=[slo(group_by=["host"])]), 150)
    before = by_group(counting)
    counting.close()
    again = Counting(tmp_path, slos=[slo(group_by=["host"])], first=counting.now + 100_000)
    assert by_group(again) == before
    again.advance(10)
    assert len(again.store.slots("latency.budget")) == 3
    again.close()


def test_history_that_cannot_be_read_is_a_problem_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise StorageError("the disk is gone")

    counting = Counting()
    monkeypatch.setattr(objectives, "spent", refuse)
    counting.objectives.open(counting.past)
    assert counting.objectives.problems() == ["SLO latency: its history cannot be read: the disk is gone"]
    monkeypatch.undo()
    counting.objectives.open(counting.past)
    assert counting.objectives.problems() == []


# ---- reloads


def test_a_budget_goes_on_where_an_slo_stays_and_is_read_where_it_is_new(tmp_path: Path) -> None:
    counting = played(Counting(tmp_path), 100)
    budget = counting.objectives._followed[0].budget
    sums = budget.sums().tolist()
    counting.objectives.replace([slo(objective=95, good="api_ms <= 300"), slo("other")])
    assert counting.objectives._followed[0].budget is budget
    counting.objectives.replace([slo("other")])
    counting.objectives.replace([slo("other"), slo()])
    assert counting.objectives._followed[1].budget.sums().tolist() == sums
    counting.close()


@pytest.mark.parametrize("window", ["6h", "30d"])
def test_the_tick_goes_on_while_the_history_of_a_new_slo_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: str
) -> None:
    one, other = slo(window=window), slo("other", window=window)
    counting = played(Counting(tmp_path, slos=[one, other], first=FIRST - FIRST % 3600 + 3500), 200, late=False)
    counting.objectives.replace([other])
    counting.objectives.replace([one, other], is_filled=False)
    ticked: list[bool] = []

    def spent(*given: Any) -> Any:
        if not ticked:
            tick = threading.Thread(target=lambda: played(counting, 130, seed=2, late=False), daemon=True)
            tick.start()
            tick.join(20)
            ticked.append(not tick.is_alive())
        return read(*given)

    monkeypatch.setattr(objectives, "spent", spent)
    counting.objectives.fill_waiting()
    counting.objectives.fill_waiting()
    assert ticked == [True]
    found = [followed.budget.sums().tolist() for followed in counting.objectives._followed]
    assert found[0] == found[1] != [[0.0], [0.0]]
    played(counting, 70, seed=3, late=False)
    assert (
        counting.objectives._followed[0].budget.sums().tolist()
        == counting.objectives._followed[1].budget.sums().tolist()
    )
    counting.close()


def test_history_that_cannot_be_read_beside_the_tick_is_a_problem_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise StorageError("the disk is gone")

    counting = Counting()
    counting.objectives.replace([slo(), slo("other")], is_filled=False)
    monkeypatch.setattr(objectives, "spent", refuse)
    counting.objectives.fill_waiting()
    assert counting.objectives.problems() == ["SLO other: its history cannot be read: the disk is gone"]


def test_goals_that_stay_are_counted_through_a_reload() -> None:
    counting = played(Counting(slos=[slo(), slo("slow", good="api_ms <= 300")]), 50, late=False)
    counting.add("api_ms", 250.0, "ms", "host:a")
    counting.objectives.replace([slo(), slo("fast", good="api_ms <= 100")])
    counting.add("api_ms", 1.0, "ms", "host:a")
    played(counting, 50, seed=2, late=False)
    assert_exact(counting, steps=(10,))
    since = counting.first + 53  # the second after the reload's
    fresh = [sample for sample in counting.given if sample[0] >= since]
    assert sum(counting.sums("fast.total").values()) == sum(weight for *_, weight in fresh)
    assert sum(counting.sums("fast.good").values()) == sum(w for *_, number, w in fresh if number <= 100)


def test_what_cannot_be_taken_is_named_and_nothing_changes() -> None:
    counting = Counting()
    counting.add("taken.good", 1.0, "c")
    seven = [slo(f"s{number}", good=f"api_ms <= {number}") for number in range(7)]
    for slos, said in (
        ([slo("taken")], "a metric taken.good is being written"),
        (seven, "7 different goals, 6 are allowed"),
        ([slo(f"s{number}", good=f"m{number} <= 1") for number in range(1001)], "more than 1,000 SLOs"),
    ):
        with pytest.raises(ConfigError, match=said):
            counting.objectives.replace(slos)
    assert [one.name for one in counting.objectives.slos] == ["latency"]
    assert counting.objectives.names == {"latency.good", "latency.total", "latency.budget"}
    assert counting.objectives.objective("latency") == 0.99
    assert counting.objectives.objective("taken") is None
    counting.objectives.replace([])
    counting.objectives.replace([slo()])


def test_a_described_unit_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rules.yaml:3: latency: a time is compared with a size"):
        Objectives(Recording().store, unit=lambda metric: "bytes").replace([slo(good="x <= 200ms")])


def test_a_store_without_room_refuses_slos_as_they_were() -> None:
    store = Store(1, now_ns=FIRST * SECOND_NS)
    found = Objectives(store)
    found.replace([slo()])
    with pytest.raises(ConfigError, match=r"the SLOs cannot"):
        found.replace([slo(f"s{number}", good=f"m{number} <= 1") for number in range(600)])
    assert [one.name for one in found.slos] == ["latency"]
    store.set_now_ns((FIRST + 1) * SECOND_NS)
    store.ingest(b"api_ms:1:500|ms")
    store.set_now_ns((FIRST + 2) * SECOND_NS)
    store.seal(FIRST + 1)
    found.publish(FIRST + 1)
    assert found._followed[0].budget.sums().tolist() == [[1.0], [2.0]]


def test_groups_beyond_the_limit_are_refused_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "GROUPS_MAX", 2)
    counting = Counting(slos=[slo(group_by=["host"])])
    counting.advance(1)
    for host in "abcd":
        counting.add("api_ms", 1.0, "ms", f"host:{host}")
    counting.advance(2)
    assert counting.objectives.counters()["groups"] == 2
    assert counting.objectives.groups_refused == 2
    assert len(counting.store.slots("latency.total")) == 2
    assert "more than 2 groups" in counting.objectives.problems()[0]


def test_kinds_that_cannot_be_counted_as_written_are_problems() -> None:
    counting = Counting(slos=[slo(), slo_of_counters("good")])
    counting.store.ingest(b"api_ms:a|s\nweb.part:1|g\nweb.all:1|c")
    assert counting.objectives.problems() == [
        "SLO latency: api_ms is a set, which has no values to judge",
        "SLO web: web.part is a gauge; a counter is wanted",
    ]
    counting.advance(2)


def test_a_goal_keeps_its_place_and_gaps_are_filled_first() -> None:
    a, b, c, d = (Goal(-math.inf, float(n), False) for n in range(4))
    assert placed([], [b, a]) == [a, b]
    assert placed([a, b, c], [c]) == [Goal(math.inf, -math.inf, False)] * 2 + [c]
    assert placed(placed([a, b, c], [c]), [c, d]) == [d, Goal(math.inf, -math.inf, False), c]
    assert placed([a, b], []) == []
    goals = Goals(Recording().store)
    goals.replace({"x": [a, b]})
    goals.replace({"x": [b]})
    goals.replace({"x": [b, c]})
    assert (goals.column("x", c), goals.column("x", b)) == (8, 9)


# ---- status


def test_the_status_says_what_was_kept_and_what_is_left() -> None:
    counting = Counting(slos=[slo(objective=90)])
    counting.advance(1)
    assert counting.objectives.status()[0]["groups"][0]["state"] == "no data"
    for _ in range(700):
        for number in (1.0,) * 19 + (500.0,):
            counting.add("api_ms", number, "ms")
        counting.advance(1)
    status = counting.objectives.status()[0]
    assert {key: status[key] for key in ("slo", "objective", "good", "window_seconds", "source")} == {
        "slo": "latency",
        "objective": 90.0,
        "good": "api_ms <= 200",
        "window_seconds": 30 * 86400,
        "source": "rules.yaml:3",
    }
    [group] = status["groups"]
    assert (group["good"], group["total"], group["state"]) == (700 * 19, 700 * 20, "ok")
    assert group["compliance"] == 0.95
    assert group["budget"] == pytest.approx(0.5)
    assert list(group["burn"]) == ["300", "1800", "3600", "7200", "21600", "86400", "259200"]
    assert list(group["burn"].values()) == pytest.approx([0.5] * 7)


def test_the_state_tells_burning_from_exhausted() -> None:
    counting = Counting(slos=[slo(group_by=["host"])])
    counting.advance(1)
    counting.add("api_ms", 500.0, "ms", "host:a")
    counting.add("api_ms", 1.0, "ms", "host:b")
    counting.advance(2)
    firing = Alert("latency.burn_fast", "firing", 20.0, {"host": "b"}, 0.0)
    pending = Alert("latency.burn_slow", "pending", 20.0, {"host": "a"}, 0.0)
    [status] = counting.objectives.status([firing, pending])
    assert {group["tags"]["host"]: (group["state"], group["firing"]) for group in status["groups"]} == {
        "a": ("exhausted", []),
        "b": ("burning", ["latency.burn_fast"]),
    }


# ---- the burn alerts, by the rules' own evaluation


class Burning:
    """The fast burn's rule over a counting, second by second."""

    def __init__(self, **keys: Any) -> None:
        found = slo(**keys)
        self.counting = Counting(slos=[found])
        rule = found.rules()[0]
        self.rules = RuleSet(self.counting.store)
        plan = compile_rule(
            rule.condition, group_by=rule.group_by, text=rule.text, objective=self.counting.objectives.objective
        )
        self.rules.replace({rule.name: plan})
        self.counting.advance(1)

    def run(self, seconds: int, *numbers: float) -> list[float]:
        """Those samples in each second; the condition after each."""
        found = []
        for _ in range(seconds):
            for number in numbers:
                self.counting.add("api_ms", number, "ms")
            self.counting.advance(1)
            found.append(float(self.rules.evaluate().condition[0]))
        return found


def test_an_outage_burns_fast_and_the_short_window_ends_it() -> None:
    burning = Burning(objective=99.0)
    assert set(burning.run(1200, 1.0, 1.0)) == {0.0}
    outage = burning.run(400, 500.0, 500.0)
    # 14.4 % of what came within the hour, which is all that came: 1,200 s and the outage
    assert outage.index(1.0) == pytest.approx(1200 * 0.144 / (1 - 0.144), abs=2)
    assert outage[-1] == 1.0
    recovery = burning.run(400, 1.0, 1.0)
    assert recovery[0] == 1.0
    assert recovery[-1] == 0.0


def test_one_failure_at_night_pages_nobody_and_two_in_a_row_may() -> None:
    burning = Burning(objective=99.9)
    assert set(burning.run(300)) <= {0.0} or np.isnan(burning.run(1)[0])
    assert 1.0 not in burning.run(1, 500.0)
    assert 1.0 not in burning.run(290)
    assert 1.0 not in burning.run(60, 1.0)
    assert 1.0 in burning.run(12, 500.0)
