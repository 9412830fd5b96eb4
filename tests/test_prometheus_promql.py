"""PromQL expressions as the language's: what each node becomes, how well, and what cannot be said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.alert.language.grammar import parse_condition
from hms_ops.alert.language.wording import format
from hms_ops.alert.plan import compile_rule
from hms_ops.prometheus.promql import parsed, translate
from hms_ops.prometheus.rulesfile import PrometheusRule, import_groups
from hms_ops.prometheus.vector import Recorded, Scope, Unsupported

EACH = ("*",)

EXACT = [
    ("up == 0", "up = 0", EACH),
    ("up{job='web', code=~'5..', zone!='a', path!~'/x.*'} > 1",
     'up{job="web", code=~"5..", zone!="a", path!~"/x.*"} > 1', EACH),
    ("0 < up", "up > 0", EACH),
    ("2 >= up", "up <= 2", EACH),
    ("-temp < -3", "-temp < -3", EACH),
    ("depth offset 10m > 3", "depth OFFSET 10m > 3", EACH),
    ("avg_over_time(depth[5m]) > 3", "avg(depth[5m]) > 3", EACH),
    ("max_over_time(depth[5m] offset 30m) > 3", "max(depth[5m] OFFSET 30m) > 3", EACH),
    ("min_over_time(a[5m]) < 1 and max_over_time(b[5m]) > 1", "min(a[5m]) < 1 AND max(b[5m]) > 1", EACH),
    ("stddev_over_time(a[5m]) > 1", "stddev(a[5m]) > 1", EACH),
    ("count_over_time(a[10m]) < 5 unless b > 0", "count(a[10m]) < 5 UNLESS b > 0", EACH),
    ("sum(sum_over_time(a[5m])) > 9", "sum(a[5m]) > 9", ()),
    ("max by (job) (max_over_time(a[5m])) > 9", "max(a[5m]) > 9", ("job",)),
    ("max by (job) (max by (job, zone) (max_over_time(a[5m]))) > 9", "max(a[5m]) > 9", ("job",)),
    ("a / 1024 > 5 and b % 7 == 3", "a / 1024 > 5 AND b % 7 = 3", EACH),
    ("a / (b > 0) > 0.5", "a / b > 0.5 AND b > 0", EACH),
    ("a / (b != 0) > 0.5", "a / b > 0.5 AND b != 0", EACH),
    ("a / on(instance) (b > 3) > 0.5", "a / b > 0.5 AND b > 3", ("instance",)),
    ("abs(a - b) > 2", "abs(a - b) > 2", EACH),
    ("clamp_min(a, 3) > clamp_max(b, 7)", "clamp(a, 3, 1e+150) > clamp(b, -1e+150, 7)", EACH),
    ("ln(a) > 2 and sqrt(b) > 3", "ln(a) > 2 AND sqrt(b) > 3", EACH),
    ("absent(up{job='web'})", 'ABSENT(up{job="web"}[5m])', ()),
    ("absent_over_time(up[15m])", "ABSENT(up[15m])", ()),
    ("present_over_time(up[15m])", "count(up[15m]) > 0", EACH),
    ("absent(sum(sum_over_time(a[5m])))", "sum(a[5m]) IS NULL", ()),
    ("absent(sum(sum_over_time(a[5m])) > 3)", "1 = 1 UNLESS sum(a[5m]) > 3", ()),
    ("vector(1)", "1 = 1", ()),
    ("sort_desc(a) > 1", "a > 1", EACH),
    ("a or b", "coalesce(a, b) IS NOT NULL", EACH),
    ("{__name__='up'} == 0", "up = 0", EACH),
    ("last_over_time(a[5m]) > 1", "last(a[5m]) > 1", EACH),
    ("1", "1 = 1", None),
]  # fmt: skip

APPROXIMATE = [
    ("rate(hits_total[5m]) > 5", "rate(hits_total[5m]) > 5", EACH, "extrapolates"),
    ("sum by (job) (rate(e[5m])) / sum by (job) (rate(r[5m])) > 0.05", "rate(e[5m]) / rate(r[5m]) > 0.05", ("job",),
     "by zero"),
    ("sum by (a) (sum by (a, b) (increase(e[5m])))  * 60 > 1", "increase(e[5m]) * 60 > 1", ("a",), "extrapolates"),
    ("sum(rate(e[5m]) * 60) > 1", "rate(e[5m]) * 60 > 1", (), "extrapolates"),
    ("irate(e[5m]) > 1", "rate(e[1m]) > 1", EACH, "last 60 s"),
    ("increase(e[6h]) > 1", "increase(e[6h]) > 1", EACH, "rows of history"),
    ("max_over_time(a[5m] offset 1d) > 1", "max(a[5m] OFFSET 1d) > 1", EACH, "rows of history"),
    ("delta(a[10m]) < -5", "delta(a[10m]) < -5", EACH, "extrapolates"),
    ("deriv(a[10m]) < -5", "delta(a[10m]) / 600 < -5", EACH, "regression"),
    ("predict_linear(a[1h], 600) < 0", "last(a[1h]) + delta(a[1h]) / 3600 * 600 < 0", EACH, "regression"),
    ("sum by (job) (up) < 2", "sum(up[1m]) < 2", ("job",), "last 60 s"),
    ("count(up) < 2", "count(up[1m]) < 2", (), "last 60 s"),
    ("avg by (job) (avg_over_time(a[5m])) > 2", "avg(a[5m]) > 2", ("job",), "weighs more"),
    ("group by (job) (up)", "count(up[1m]) > 0", ("job",), "last 60 s"),
    ("absent(up{job='k'} == 1)", 'ABSENT(up{job="k"}[5m]) OR max(up{job="k"}[1m]) < 1', (), "told by the max"),
    ("absent(lag < 5)", "ABSENT(lag[5m]) OR min(lag[1m]) >= 5", (), "told by the min"),
    ("a > 1 or b > 2", "a > 1 OR b > 2", EACH, "the value shown"),
    ("a / b > 1", "a / b > 1", EACH, "by zero"),
    ("histogram_quantile(0.99, sum by (le, job) (rate(h_bucket[5m]))) > 1", "quantile(h[5m], 0.99) > 1", ("job",),
     "own histogram"),
    ("jobs_total > 3", "jobs_total > 3", EACH, "read by its value"),
    ("sum by (job) (sum_over_time(a[1m])) > 1 and on (job) b == 1", "sum(a[1m]) > 1 AND b = 1", ("job",),
     "one series for each job"),
]  # fmt: skip

UNSUPPORTED = [
    ("time() - a > 5", "time()", "no clock"),
    ("hour() > 5", "hour()", "no clock"),
    ("sum without (a) (b) > 1", "sum without (a) (b)", "`without`"),
    ("count(up == 0) > 1", "count(up == 0)", "calculations of each series"),
    ("max(rate(e[5m])) > 1", "max(rate(e[5m]))", "max over the rate of each series"),
    ("topk(3, a) > 1", "topk(3, a)", "no topk"),
    ("a * on (x) group_left (y) b > 1", "a * on (x) group_left (y) b", "group_left"),
    ("a / ignoring (mode) b > 1", "a / ignoring (mode) b", "`ignoring`"),
    ("sum by (x) (a) / sum(a) > 1", "sum by (x) (a) / sum(a)", "one GROUP BY"),
    ("a > 1 and on () sum(b) > 2", "a > 1 and on () sum(b) > 2", "one GROUP BY"),
    ("(a > bool 1) == 1", "a > bool 1", "`bool`"),
    ("max_over_time(rate(e[5m])[1h:1m]) > 1", "max_over_time(rate(e[5m])[1h:1m])", "subquery"),
    ("label_replace(a, 'x', '$1', 'y', '(.*)') > 1", "label_replace", "rewrite labels"),
    ("a @ 5 > 1", "a @ 5.000", "`@`"),
    ("a offset -5m > 1", "a offset -5m", "future"),
    ("{__name__=~'a.*'} > 1", '{__name__=~"a.*"}', "by a pattern"),
    ("a ^ 2 > 4", "a ^ 2", "no operator ^"),
    ("b > scalar(a)", "scalar(a)", "one GROUP BY"),
    ("quantile_over_time(0.9, a[5m]) > 1", "quantile_over_time", "percentiles are of timers"),
    ("rate(e[5m]) > 1 and e > 5", "e", "a counter elsewhere"),
    ("absent(a == 5)", "absent(a == 5)", "any series"),
    ("ALERTS{alertstate='firing'} == 1", "ALERTS", "no series with labels"),
    ("a > Inf", "Inf", "no finite number"),
    ("a > (", "", "no PromQL"),
    ("a - time() > 1 and hour() > 2", "hour()", "no clock"),
]  # fmt: skip


def scope_for(text: str) -> Scope:
    return Scope(counters=frozenset({"e"} if "rate(e" in text else ()))


@pytest.mark.parametrize(("text", "ours", "group_by"), EXACT)
def test_an_expression_is_said_exactly(text: str, ours: str, group_by: tuple[str, ...] | None) -> None:
    vector, notes = translate(parsed(text), Scope())
    assert (format(vector.condition()), vector.group_by, notes) == (ours, group_by, ())


@pytest.mark.parametrize(("text", "ours", "group_by", "reason"), APPROXIMATE)
def test_an_expression_is_said_nearly_and_says_in_what_it_differs(
    text: str, ours: str, group_by: tuple[str, ...], reason: str
) -> None:
    vector, notes = translate(parsed(text), Scope())
    assert (format(vector.condition()), vector.group_by) == (ours, group_by)
    assert {note.grade for note in notes} == {"approximate"}
    assert any(reason in note.reason for note in notes), notes


@pytest.mark.parametrize(("text", "node", "reason"), UNSUPPORTED)
def test_what_cannot_be_said_is_named_with_its_node_and_reason(text: str, node: str, reason: str) -> None:
    with pytest.raises(Unsupported) as caught:
        translate(parsed(text), scope_for(text))
    assert any(node in note.node and reason in note.reason for note in caught.value.notes), caught.value.notes
    assert {note.grade for note in caught.value.notes} == {"unsupported"}


@pytest.mark.parametrize("text", [text for text, *_ in (*EXACT, *APPROXIMATE) if "quantile" not in text])
def test_what_is_said_parses_as_the_same_tree_and_compiles(text: str) -> None:
    vector, _ = translate(parsed(text), Scope())
    ours = format(vector.condition())
    assert format(parse_condition(ours)) == ours
    compile_rule(parse_condition(ours), None, None, vector.group_by or (), text=ours)


def test_the_labels_that_a_selector_fixes_are_those_of_its_absence() -> None:
    vector, _ = translate(parsed("absent(up{job='web', zone!='a', x='1', x=~'.'})"), Scope())
    assert vector.labels == (("job", "web"),)


def test_metrics_may_have_dots_here() -> None:
    vector, _ = translate(parsed("http_latency_ms > 3"), Scope(has_dots=True))
    assert format(vector.condition()) == "http.latency.ms > 3"


def test_a_bare_aggregation_reads_the_samples_of_one_interval() -> None:
    vector, notes = translate(parsed("sum(up) < 2"), Scope(interval_seconds=15))
    assert format(vector.condition()) == "sum(up[15s]) < 2"
    assert "last 15 s" in notes[0].reason


@pytest.mark.parametrize(
    ("text", "group_by"),
    [
        ("sum without (instance) (sum_over_time(a[1m])) > 1", ("job",)),
        ("max without (pod) (sum without (instance) (sum_over_time(a[1m]))) > 1", ("job",)),
        ("max_over_time(a[1m]) / ignoring (mode) max_over_time(b[1m]) > 1", ("instance", "job")),
    ],
)
def test_without_and_ignoring_need_the_labels_that_series_have(text: str, group_by: tuple[str, ...]) -> None:
    with pytest.raises(Unsupported):
        translate(parsed(text), Scope())
    labels = {"a": frozenset({"instance", "job"}), "b": frozenset({"instance", "job", "mode"})}
    vector, notes = translate(parsed(text), Scope(labels=labels.__getitem__))
    assert vector.group_by == group_by
    assert any("known now" in note.reason for note in notes)


# ---- recording rules


def scope_with(**recorded: str) -> Scope:
    return Scope(recorded={name: Recorded(parsed(expr), {}) for name, expr in recorded.items()})


@pytest.mark.parametrize(
    ("text", "ours", "group_by"),
    [
        ("rec > 3", "max(a[5m]) > 3", ("job",)),
        ("rec{job='web'} > 3", 'max(a{job="web"}[5m]) > 3', ("job",)),
        ("max(rec) > 3", "max(a[5m]) > 3", ()),
        ("twice{zone='b'} > 3", 'b{x="1", zone="b"} * 2 > 3', EACH),
        ("absent(gone)", "ABSENT(c[5m])", ()),
    ],
)
def test_a_recorded_series_is_read_by_its_expression(text: str, ours: str, group_by: tuple[str, ...]) -> None:
    scope = scope_with(rec="max by (job) (max_over_time(a[5m]))", twice="b{x='1'} * 2", gone="(c)")
    vector, _ = translate(parsed(text), scope)
    assert (format(vector.condition()), vector.group_by) == (ours, group_by)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rec{pod='x'} > 3", "no label pod"),
        ("avg_over_time(rec[5m]) > 3", "whose past is not kept"),
        ("rec offset 5m > 3", "another time"),
        ("itself > 3", "recorded of itself"),
    ],
)
def test_what_a_recorded_series_cannot_do(text: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        translate(parsed(text), scope_with(rec="sum by (job) (a)", itself="itself + 1"))


# ---- bounds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-" * 900 + "a", "nested deeper"),
        (" + ".join(["a"] * 900), "nested deeper"),
        ("-" * 8190 + "a", "8,190 operators and parentheses, 1,000 are allowed"),
        ("#\r" + "-" * 8180 + "a", "8,180 operators"),
        (" AND ".join(["a"] * 1100), "1,099 operators"),
        ("(" * 500 + "a" + ")" * 500, "nested deeper"),
        ("abs(" * 500 + "a" + ")" * 500, "nested deeper"),
        ("a" * 9000, "9,000 characters, 8,192 are allowed"),
    ],
)
def test_an_expression_has_bounds(text: str, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        translate(parsed(text), Scope())


def test_recording_rules_that_multiply_one_another_have_a_bound() -> None:
    recorded = {f"r{n}": f"r{n - 1} + r{n - 1}" for n in range(1, 40)}
    with pytest.raises(Unsupported, match="more than 2,000 parts"):
        translate(parsed("r39 > 1"), scope_with(r0="a", **recorded))


# ---- any text


NAMES = st.sampled_from(["a", "b", "rec", "up{job='x'}", "{__name__=~'z'}", "sum by (job) (a)", "time()", "1", "-2"])
CALLS = [
    "rate",
    "avg_over_time",
    "absent",
    "abs",
    "vector",
    "topk",
    "histogram_quantile",
    "clamp_min",
    "scalar",
    "sort",
]
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "/", ">", "== bool", "and", "or", "unless on (job)", "^"]), inner).map(
            lambda p: f"({p[0]} {p[1]} {p[2]})"
        ),
        st.tuples(st.sampled_from(CALLS), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["rate", "avg_over_time", "delta"]), st.sampled_from(["a[5m]", "rec[1h]"])).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
        st.tuples(st.sampled_from(["sum", "max", "count", "avg without (x)"]), inner).map(lambda p: f"{p[0]} ({p[1]})"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS | st.text(max_size=40))
def test_any_text_is_a_condition_that_the_engine_takes_or_unsupported(text: str) -> None:
    [one] = import_groups([PrometheusRule("group", text, "file:1", alert="any")])
    assert (one.rule is None) == (one.grade == "unsupported")
    assert one.rule is not None or one.notes
