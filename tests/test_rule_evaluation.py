"""Rules evaluated on real columns, against the twin that walks the tree over raw samples; how rules follow series."""

import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import expression as twin
from tests.reference.fleet import Fleet

from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.grammar import parse_query, parse_statement
from hms_ops.alert.plan import compile_query, compile_statement
from hms_ops.alert.watch import CHANGES_MAX
from hms_ops.errors import ExpressionError, UnknownMetricError

FIRST = 1_700_000_000
END = FIRST + 2_000
NULL = math.nan


@functools.cache
def shared_fleet(end: int = END, seed: int = 1) -> Fleet:
    """A fleet that a test only reads."""
    return make_fleet(end, seed)


def make_fleet(end: int = END, seed: int = 1) -> Fleet:
    """Three metrics of different kinds under two tags, some series silent, one never seen."""
    rng = np.random.default_rng(seed)
    fleet = Fleet(FIRST, capacity=24, kinds={"hits": "counter", "depth": "gauge", "api_ms": "timer"})
    for metric in fleet.kinds:
        for tags in ({"agency": "irs", "zone": "a"}, {"agency": "irs", "zone": "b"}, {"agency": "ssa"}, {}):
            gap = rng.choice([0.3, 2, 20, 200, 5000])
            second = np.sort(rng.integers(FIRST, end, max(1, int((end - FIRST) / gap))))
            fleet.add(metric, tags, [(s, rng.normal(5, 3), rng.choice([1.0, 4.0])) for s in second])
    fleet.add("api_ms", {"agency": "new"})
    fleet.kinds["users"] = "set"
    for agency in ("irs", "ssa", "new"):
        second = np.sort(rng.integers(FIRST, end - (agency == "ssa") * 25, 200 * (agency != "new")))
        fleet.add("users", {"agency": agency}, [(s, float(rng.integers(100))) for s in second])
    fleet.seal(end)
    return fleet


def world_of(fleet: Fleet, where: Any = None, group_by: tuple[str, ...] = ()) -> twin.World:
    series = [(fleet.series(slot).name, fleet.series(slot).tags) for slot in sorted(fleet.samples)]
    return twin.World(series, fleet.samples, fleet.kinds, FIRST, fleet.sealed_second + 1, where, group_by)


def number(result: float | bool | None) -> float:
    return NULL if result is None else float(result)


def assert_as_twin(fleet: Fleet, text: str) -> None:
    """A query's values equal the twin's, group by group."""
    query = parse_query(text)
    expected = twin.evaluate(world_of(fleet, query.where, query.group_by), query.expression)
    got = {tuple(sorted(tags.items())): value for tags, value in query_now(query, fleet)}
    assert got.keys() == expected.keys()
    for key, result in expected.items():
        assert got[key] == pytest.approx(number(result), rel=1e-9, abs=1e-7, nan_ok=True), (text, key)


def value_of(fleet: Fleet, text: str, **units: str) -> float:
    [(_, value)] = query_now(parse_query(text), fleet, units.get)
    return value


QUERIES = [
    *(f"{function}({reading}" for function in ("avg", "sum", "count", "min", "max", "stddev", "last", "rate")
      for reading in ("hits, 1m) GROUP BY agency", "depth, 5m) GROUP BY zone", "api_ms, 9s) GROUP BY *", "api_ms)")),
    "increase(hits, 3m)",
    "count(users, 20s) GROUP BY agency",
    "count(users, 4m)",
    "count(users, 37m) + count(users, 6m) GROUP BY *",
    "ABSENT(users[1m]) OR count(users{agency=~'i.*'}, 1m) > 5",
    "delta(depth, 10m) GROUP BY *",
    "moving_mean(api_ms, 10m)",
    "sum(hits) / count(api_ms) GROUP BY agency",
    "rate(hits, 5m) * 60 + last(depth) % 3 - -1",
    "coalesce(avg(api_ms, 1s), avg(api_ms, 1h), 0) GROUP BY *",
    "clamp(last(depth), 0, 4) GROUP BY agency",
    "abs(ln(sqrt(avg(api_ms, 1h)))) GROUP BY zone",
    'avg(api_ms{agency="irs"}, 1h)',
    'avg(api_ms{agency=~"i.*", zone!="a"}, 1h) GROUP BY zone',
    "count(api_ms, 1h) WHERE agency IN (irs, ssa) AND NOT zone = b GROUP BY agency",
    "avg(api_ms, 1h) > 4 OR ABSENT(depth[10s]) GROUP BY agency",
    "avg(api_ms, 1s) > 4 AND avg(hits, 1h) > 0 GROUP BY *",
    "avg(api_ms, 1h) > 4 UNLESS avg(api_ms, 1s) > 0 GROUP BY *",
    "NOT avg(api_ms, 1h) BETWEEN 4 AND 6 GROUP BY agency",
    "avg(api_ms, 1s) IS NULL GROUP BY *",
    "avg(api_ms, 1h) IS NOT NULL GROUP BY *",
    "last(depth) / 0 = 1 GROUP BY *",
    "1 + 1",
    "depth{agency='irs'} > 3 GROUP BY zone",
]  # fmt: skip


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("end", [END, END + 7, FIRST + 31])
def test_a_query_equals_the_twin(text: str, end: int) -> None:
    assert_as_twin(shared_fleet(end), text)


METRICS = st.sampled_from(["hits", "depth", "api_ms", "api_ms{agency='irs'}", "depth{zone=''}"])
WINDOWS = st.sampled_from(["1s", "10s", "1m", "5m", "30m", "1h"])
CALLS = st.tuples(
    st.sampled_from(["avg", "sum", "count", "min", "max", "stddev", "last", "rate"]), METRICS, WINDOWS
).map(lambda c: f"{c[0]}({c[1]}, {c[2]})")
ARITH = st.recursive(
    st.one_of(CALLS, st.integers(-9, 9).map(lambda n: f"({n})")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["abs", "ln", "sqrt", "-"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"coalesce({p[0]}, {p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"clamp({p[0]}, {p[1]}, {p[2]})"),
    ),
    max_leaves=5,
)
PREDICATES = st.one_of(
    st.tuples(ARITH, st.sampled_from([">", ">=", "<", "<=", "=", "!="]), ARITH).map(" ".join),
    st.tuples(ARITH, ARITH, ARITH).map(lambda p: f"{p[0]} BETWEEN {p[1]} AND {p[2]}"),
    ARITH.map(lambda x: f"{x} IS NULL"),
    st.tuples(METRICS, WINDOWS).map(lambda p: f"ABSENT({p[0]}[{p[1]}])"),
)
CONDITIONS = st.recursive(
    PREDICATES,
    lambda inner: st.one_of(
        inner.map(lambda c: f"NOT ({c})"),
        st.tuples(inner, st.sampled_from(["AND", "OR", "UNLESS"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
    ),
    max_leaves=4,
)
CLAUSES = st.sampled_from(["", " GROUP BY agency", " GROUP BY *", " WHERE agency != ssa GROUP BY zone, agency"])
FLEETS = st.sampled_from([(end, seed) for seed in (1, 2, 3) for end in (END, FIRST + 401)])


@settings(max_examples=150, deadline=None)
@given(st.one_of(CONDITIONS, ARITH), CLAUSES, FLEETS)
def test_any_expression_equals_the_twin(expression: str, clauses: str, fleet: tuple[int, int]) -> None:
    assert_as_twin(shared_fleet(*fleet), expression + clauses)


# ---- rules


def rules_of(fleet: Fleet, *texts: str, **limits: int) -> RuleSet:
    rules = RuleSet(fleet, **limits)
    rules.replace({f"rule{n}": compile_statement(parse_statement(text)) for n, text in enumerate(texts)})
    return rules


def test_rules_together_come_to_what_each_comes_to_alone() -> None:
    fleet = make_fleet()
    texts = [text for text in QUERIES if any(sign in text for sign in (">", "ABSENT", "NULL"))]
    together = rules_of(fleet, *texts).evaluate()
    alone = [rules_of(fleet, text).evaluate() for text in texts]
    assert [key for _, key in together.keys] == [key for one in alone for _, key in one.keys]
    for name in ("condition", "recover", "value"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(one, name) for one in alone]))


def test_a_rule_answers_condition_recovery_and_the_value_a_page_shows() -> None:
    fleet = Fleet(FIRST, kinds={"x_ms": "timer"})
    fleet.add("x_ms", {}, [(FIRST, 180.0)])
    fleet.seal(FIRST + 1)
    found = rules_of(fleet, "avg(x_ms) > 200ms RECOVER < 150ms", "avg(x_ms) > 100", "ABSENT(x_ms)").evaluate()
    assert found.keys == [("rule0", ()), ("rule1", ()), ("rule2", ())]
    assert found.condition.tolist() == [0, 1, 0]
    assert found.recover.tolist() == [0, 0, 1], "without RECOVER, recovered is what is not TRUE"
    assert found.value.tolist() == [180, 180, 0]


def test_a_rule_without_group_by_has_one_instance_even_before_its_metric_is_seen() -> None:
    rules = rules_of(Fleet(FIRST), "avg(x) > 1", "ABSENT(x)", "avg(x) > 1 GROUP BY a")
    found = rules.evaluate()
    assert found.keys == [("rule0", ()), ("rule1", ())]
    np.testing.assert_array_equal(found.condition, [NULL, NULL], "nothing was watched yet")
    found = rules.evaluate(FIRST + 60)
    np.testing.assert_array_equal(found.condition, [NULL, 1])
    np.testing.assert_array_equal(found.recover, [NULL, 0])


def test_selectors_of_one_condition_join_on_the_group_tags() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge", "y": "gauge"})
    for name, zones in (("x", "ab"), ("y", "bc")):
        for zone in zones:
            fleet.add(name, {"zone": zone, "host": name}, [(FIRST, 1.0)])
    fleet.seal(FIRST + 1)
    found = rules_of(fleet, "x = 1 AND y = 1 GROUP BY zone", "x = 1 OR y = 1 GROUP BY zone").evaluate()
    assert [found.tags(place)["zone"] for place in range(6)] == ["a", "b", "c"] * 2
    np.testing.assert_array_equal(found.condition, [NULL, 1, NULL, 1, 1, 1])


def test_a_series_without_the_group_tag_is_a_group_of_its_own() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge"})
    fleet.add("x", {"zone": "a"}, [(FIRST, 1.0)])
    fleet.add("x", {"host": "h"}, [(FIRST, 2.0)])
    fleet.seal(FIRST + 1)
    assert query_now(parse_query("x GROUP BY zone"), fleet) == [({"zone": "a"}, 1.0), ({}, 2.0)]


# ---- following the store


def test_rules_follow_series_that_come_go_and_change_hands() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge", "y": "gauge"})
    rules = rules_of(fleet, "x > 0 GROUP BY zone", "sum(x{zone=~'[ab]'}) > 0", "count(x) > 0", "y > 0 GROUP BY *")

    def seen(end: int) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
        fleet.seal(end)
        found = rules.evaluate()
        fresh = rules_of(
            fleet, "x > 0 GROUP BY zone", "sum(x{zone=~'[ab]'}) > 0", "count(x) > 0", "y > 0 GROUP BY *"
        ).evaluate()

        def as_set(e: Any) -> set[tuple[Any, ...]]:
            return {
                (*key, number(None) if math.isnan(v) else v) for key, v in zip(e.keys, e.value.tolist(), strict=True)
            }

        assert set(map(str, as_set(found))) == set(map(str, as_set(fresh)))
        return sorted((name, key, value) for (name, key), value in zip(found.keys, found.value.tolist(), strict=True))

    assert len(seen(FIRST + 1)) == 2
    a = fleet.add("x", {"zone": "a"}, [(FIRST, 1.0)])
    fleet.add("x", {"zone": "c"}, [(FIRST, 4.0)])
    assert ("rule1", (), 1.0) in seen(FIRST + 2)
    assert ("rule0", (("zone", "c"),), 4.0) in seen(FIRST + 2)
    fleet.remove(a)
    b = fleet.add("x", {"zone": "b"}, [(FIRST + 1, 2.0)], slot=a)
    found = seen(FIRST + 3)
    assert ("rule1", (), 2.0) in found
    assert ("rule2", (), 2.0) in found
    assert not any(key == (("zone", "a"),) for _, key, _ in found)
    fleet.remove(b)
    fleet.add("y", {"zone": "b"}, [(FIRST + 2, 3.0)], slot=b)
    assert ("rule3", (("zone", "b"),), 3.0) in seen(FIRST + 4)
    fleet.remove(b)
    assert len(seen(FIRST + 5)) == 3


def test_a_quiet_tick_reads_no_tags_and_keeps_its_keys() -> None:
    fleet = make_fleet()
    rules = rules_of(fleet, "avg(api_ms) > 1 GROUP BY *", "avg(depth) > 1")
    first = rules.evaluate()
    fleet.tags_read = 0
    assert rules.evaluate().keys is first.keys
    assert fleet.tags_read == 0
    fleet.add("hits", {"agency": "other"})
    assert rules.evaluate().keys is first.keys, "a metric no rule watches"
    assert fleet.tags_read == 1
    fleet.add("depth", {"agency": "other"})
    assert rules.evaluate().keys is first.keys, "no new instance"
    fleet.add("api_ms", {"agency": "other"})
    assert rules.evaluate().keys is not first.keys


def test_a_plain_selector_reads_no_tags_at_all() -> None:
    fleet = make_fleet()
    fleet.tags_read = 0
    query_now(parse_query("avg(api_ms) + sum(hits)"), fleet)
    assert fleet.tags_read == 0


def test_a_crowd_of_new_series_is_taken_at_once() -> None:
    fleet = Fleet(FIRST, capacity=CHANGES_MAX + 200, kinds={"x": "gauge"})
    rules = rules_of(fleet, "count(x) > 0 GROUP BY zone")
    rules.evaluate()
    for n in range(CHANGES_MAX + 100):
        fleet.add("x" if n % 2 else "y", {"zone": str(n % 5)})
    assert len(rules.evaluate().keys) == 5


def test_rules_find_out_what_went_while_the_store_forgot_its_changes() -> None:
    fleet = Fleet(FIRST, changes_max=3, kinds={"x": "gauge"})
    slots = [fleet.add("x", {"zone": str(n)}) for n in range(4)]
    rules = rules_of(fleet, "x > 0 GROUP BY zone")
    assert len(rules.evaluate().keys) == 4
    for slot in slots[1:]:
        fleet.remove(slot)
    fleet.add("x", {"zone": "new"}, slot=3)
    assert [key for _, key in rules.evaluate().keys] == [(("zone", "0"),), (("zone", "new"),)]


def test_replaced_rules_keep_what_they_share_with_the_old() -> None:
    fleet = make_fleet()
    old, new = (compile_statement(parse_statement(f"avg(api_ms) > {n} GROUP BY *")) for n in (1, 100))
    rules = RuleSet(fleet)
    rules.replace({"a": old, "b": old})
    before = rules.evaluate()
    fleet.tags_read = 0
    rules.put("c", new)
    after = rules.evaluate()
    assert fleet.tags_read == 0, "the same source"
    assert len(after.keys) == len(before.keys) * 3 // 2
    rules.replace({"c": new})
    assert {name for name, _ in rules.evaluate().keys} == {"c"}
    rules.replace({})
    assert len(rules.evaluate().condition) == 0


# ---- kinds, limits, errors


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("avg(x) > 1", "set", "x is a set, of which there is no avg"),
        ("rate(x) > 1", "set", "no rate"),
        ("x > 1", "set", "no last"),
        ("increase(x) > 1", "gauge", "no increase"),
        ("increase(x) > 1", "timer", "no increase"),
        ("delta(x) > 1", "counter", "no delta"),
    ],
)
def test_what_a_kind_has_not_is_the_rules_problem_once_the_kind_is_known(text: str, kind: str, words: str) -> None:
    fleet = Fleet(FIRST)
    rules = rules_of(fleet, text, "x IS NULL")
    assert not rules.evaluate().problems
    fleet.kinds["x"] = kind
    fleet.add("x", {}, [(FIRST, 1.0)])
    found = rules.evaluate()
    assert words in found.problems["rule0"]
    assert "rule0" not in dict(found.keys)
    with pytest.raises(ExpressionError, match=words):
        query_now(parse_query(text), fleet)


def test_a_kind_that_is_settled_later_is_noticed_without_a_new_series() -> None:
    fleet = Fleet(FIRST, kinds={"x": "gauge"})
    fleet.add("x", {}, [(FIRST, 5.0), (FIRST + 1, 7.0)])
    fleet.seal(FIRST + 2)
    rules = rules_of(fleet, "rate(x) > 0")
    assert rules.evaluate().value.tolist() == [1.0], "a change of 2 in 2 s"
    fleet.kinds["x"] = "counter"
    assert rules.evaluate().value.tolist() == [6.0], "12 in 2 s"


def test_rules_past_the_limit_of_instances_are_refused_with_the_figure() -> None:
    fleet = make_fleet()
    rules = rules_of(fleet, "avg(api_ms) > 1", "avg(api_ms) > 1 GROUP BY *", "avg(hits) > 1", instances_max=3)
    found = rules.evaluate()
    assert [name for name, _ in found.keys] == ["rule0", "rule2"]
    assert found.problems == {"rule1": "its 5 instances would make 6; 3 are allowed"}
    assert rules.refused_instances == 5


def test_rules_past_the_limit_of_pairs_are_refused_with_the_figure() -> None:
    rules = rules_of(make_fleet(), "avg(hits) > 1", "avg(api_ms) > 1", pairs_max=5)
    assert rules.evaluate().problems == {"rule1": "its 5 series would make 9; 5 are allowed"}


def test_a_metric_nobody_has_sent_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownMetricError, match="did you mean api_ms") as refused:
        query_now(parse_query("avg(api_sm) > 1"), make_fleet())
    assert refused.value.nearest == ["api_ms"]
    assert value_of(make_fleet(), "ABSENT(api_sm)") == 1.0


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("1 < quantile(x, 1.5)", 17, "from 0 to 1, 1.5 is not"),
        ("quantile(-0.1, x) < 1", 10, "from 0 to 1, -0.1 is not"),
        ("quantile(x, 101%) < 1", 13, "from 0 to 1, 1.01 is not"),
        ("avg(p99(a) / p50(a), 5m) > 1", 5, r"p99 does not stand inside avg\(…\)"),
        ("increase(a / b, 5m) > 1", 1, "increase reads one metric, not a calculation"),
        ("avg(a[1m] / b, 5m) > 1", 5, "every aggregate covers one step; write no window there"),
        ("avg(a / avg(b OFFSET 1m), 5m) > 1", 13, r"OFFSET does not stand inside avg\(…\)"),
        ("avg(first(a) / b, 5m) > 1", 5, r"first does not stand inside avg\(…\)"),
        ("max(avg(a / b, 5m) * 2, 1h) > 1", 5, r"avg does not stand inside max\(…\)"),
        ("share_gt(x_ms, 5MiB) > 1%", 16, "a size is compared with a time"),
        ("burn_rate(x) > 1", 1, "there is no objective 'x'; name one of `slos:`"),
        ("ANOMALY(x, factr=2)", 1, "ANOMALY has no option `factr`; there are factor and window"),
        ("ANOMALY(x, factor='a')", 1, "takes a number"),
        ("ANOMALY(x, factor=0)", 1, "more than 0"),
        ("ewma(x, 10m, life=1m) > 1", 1, "ewma has one option, half_life"),
        ("first(x, q=1) > 1", 1, "no option `q`"),
        ("avg(x, q=1) > 1", 1, "no option `q`"),
        ("avg(x, 401d) > 1", 5, "a window of 401d is none of whole seconds from 1s to 400d"),
        ("avg(x, 500ms) > 1", 5, "1s to 400d"),
        ("avg(x) OFFSET 1500ms > 1", 5, "whole seconds"),
        ("avg(x, 1500ms) > 1", 5, "whole seconds"),
        ("avg(x_ms) > 1MiB", 13, "a size is compared with a time"),
        ("avg(x_bytes) > 5ms", 16, "a time is compared with a size"),
    ],
)
def test_what_parses_but_cannot_be_evaluated_is_refused_at_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError, match=words) as refused:
        compile_query(parse_query(text))
    assert refused.value.column == column


@pytest.mark.parametrize(
    ("text", "units", "constant"),
    [
        ("x > 200ms", {"x": "ms"}, 200),
        ("x > 200ms", {"x": "s"}, 0.2),
        ("x > 0.2s", {"x": "ms"}, 200),
        ("x > 200ms", {}, 200),
        ("x_ms > 200ms", {}, 200),
        ("x_ms > 0.2s", {}, 200),
        ("x_seconds > 200ms", {}, 0.2),
        ("x_us > 200ms", {}, 200_000),
        ("x_ns > 3us", {}, 3000),
        ("x_ms > 200ms", {"x_ms": "s"}, 0.2),
        ("200ms < x", {"x": "s"}, 0.2),
        ("avg(x, 5m) * 2 > 3s", {"x": "ms"}, 3000),
        ("abs(max(x) - min(x)) > 3s", {"x": "ms"}, 3000),
        ("rate(x_ms) > 5k", {}, 5000),
        ("count(x_ms) > 5M", {}, 5_000_000),
        ("x > 5%", {}, 0.05),
        ("x_percent > 5%", {}, 5),
        ("x_ms > 5%", {}, 0.05),
        ("sum(x_ms) / sum(y_ms) > 5%", {}, 0.05),
        ("x > 5MiB", {}, 5 * 2**20),
        ("x_bytes > 5KiB", {}, 5 * 2**10),
        ("x > 512KiB", {"x": "MiB"}, 0.5),
        ("x_ms IS NULL OR y_s > 5ms", {}, 0.005),
        ("p99(x_ms) > 0.2s", {}, 200),
        ("quantile(x, 0.5) > 200ms", {"x": "s"}, 0.2),
        ("share_le(x_ms, 0.2s) < 99%", {}, 0.99),
    ],
)
def test_a_number_with_a_unit_counts_in_the_unit_of_what_it_stands_against(
    text: str, units: dict[str, str], constant: float
) -> None:
    plan = compile_query(parse_query(text), units.get)
    assert plan.constant.max() == constant or plan.constant[plan.constant != 2].max() == constant
