"""What is not judged while nobody knows all of a window: after a start, and after a time the engine was down."""

from pathlib import Path
from typing import Any

import pytest
from tests.engines import NOW, manual
from tests.recording import FIRST, Recording

from hms_ops.alert.evaluate import RuleSet
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.plan import Plan, compile_statement
from hms_ops.engine import Engine
from hms_ops.kernels import opcodes as op
from hms_ops.refill import reload_windows

Events = list[tuple[int, str, str]]  # second since NOW, rule, state


def doubted(plan: Plan) -> str:
    """The metrics, with the seconds of their windows, that must be known all through."""
    readings = [
        plan.readings[operand] for code, operand in zip(plan.code, plan.operand, strict=True) if code == op.KNOWN
    ]
    spans = [one.window_seconds or (one.view.window_seconds if one.view else 0) for one in readings]
    return " ".join(sorted({f"{one.source.metric}{span}" for one, span in zip(readings, spans, strict=True)}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count(x, 1m) < 400", "x60"),
        ("count(x, 1m) > 400", ""),
        ("400 > sum(x)", "x60"),
        ("-count(x) > -5", "x60"),
        ("NOT increase(x) > 5", "x60"),
        ("NOT increase(x) < 5", ""),
        ("count(x) != 0", ""),
        ("count(x) != 5", "x60"),
        ("count(x) = 5", "x60"),
        ("count(x) BETWEEN 1 AND 5", "x60"),
        ("stddev(x, 10m) < 0.1", "x600"),
        ("changes(x, 10m) < 1", "x600"),
        ("ABSENT(x[10s])", "x10"),
        ("NOT ABSENT(x)", ""),
        ("x IS NULL", "x60"),
        ("avg(x, 5m) IS NOT NULL", ""),
        ("avg(x, 10m) > 200", ""),
        ("max(x) < 5 AND min(x) > 1 AND p99(y) < 3 AND y < 8", ""),
        ("ANOMALY(x)", ""),
        ("rate(x) < 5", "x60"),
        ("rate(x) > 5", ""),
        ("rate(x) < avg(y)", "x60"),
        ("rate(x, 1m) > 2 * rate(x, 1h)", ""),
        ("rate(x, 1m) / rate(x, 1h) < 0.5", ""),
        ("delta(x, 1h) < 10", "x3600"),
        ("delta(x, 1h) < -50", ""),
        ("abs(delta(x, 1h)) < 10", "x3600"),
        ("abs(delta(x, 1h)) > 10", ""),
        ("coalesce(avg(x), 0) < 5", "x60"),
        ("coalesce(avg(x), 0) > 5", ""),
        ("coalesce(avg(x_ms), 300) > 0.5s", ""),
        ("coalesce(avg(x_ms), 300) > 0.2s", "x_ms60"),
        ("increase(e, 1h) / increase(t, 1h) > 0.05", ""),
        ("increase(good, 1h) < 0.9 * increase(t, 1h)", ""),
        ("increase(t) - increase(good) > 5", ""),
        ("increase(t) - increase(good) < 5", "t60"),
        ("count(x, 5m) > 3 * count(y, 1h)", "y3600"),
        ("count(x, 5m) > 3 * count(x, 5m) OFFSET 1h", "x300"),
        ("min(count(x), 5m) < 5", "x300"),
        ("avg(x) > 5 UNLESS count(y) > 5", "y60"),
        ("avg(x) > 5 UNLESS count(y) < 5", ""),
        ("NOT (avg(x) > 5 UNLESS count(y) < 5)", "y60"),
        ("count(x) > 500 RECOVER count(x) < 300", "x60"),
        ("burn_rate(slo, 1h) > 14.4", ""),
        ("burn_rate(slo, 1h) IS NULL", "slo.total3600"),
    ],
)
def test_a_condition_is_in_doubt_where_what_is_missing_could_turn_it_over(text: str, expected: str) -> None:
    assert doubted(compile_statement(parse_statement(text), objective={"slo": 0.99}.get)) == expected


@pytest.mark.parametrize("y", [5.0, 500.0])
def test_each_side_of_a_condition_has_its_own_doubts(y: float) -> None:
    recording = Recording()
    rules = RuleSet(recording.store)
    texts = ("count(x) < 5 OR max(y) > 100", "max(y) NOT BETWEEN 1 AND 100", "count(y) NOT BETWEEN 2 AND 3")
    rules.replace({text: compile_statement(parse_statement(text)) for text in texts})
    recording.add("y", y)
    recording.advance(1)
    found = [{1.0: True, 0.0: False}.get(one) for one in rules.evaluate().condition.tolist()]
    assert found == [True if y > 100 else None, y > 100, None]


# ---- engines that start

LOW = {
    "low.increase": "increase(q.req, 1m) < 400",
    "low.sum": "sum(q.req, 1m) < 400",
    "low.count": "count(q.ms, 1m) < 40",
    "low.rate": "rate(q.req, 1m) < 7",
    "low.changes": "changes(q.level, 1m) < 30",
    "low.stddev": "stddev(q.level, 1m) < 0.4",
    "low.none": "coalesce(count(q.ms, 1m), 0) < 40",
    "low.not": "NOT count(q.ms, 1m) >= 40",
    "low.ratio": "increase(q.req, 1m) / 60 < 7",
    "low.view": "increase(q.req, 1m) OFFSET 10s < 400",
    "gone": "ABSENT(q.ms[10s])",
    "gone.null": "avg(q.ms, 10s) IS NULL",
}


def busy(engine: Engine, second: int) -> None:
    engine.metric("q.req", 10.0, kind="counter")
    engine.metric("q.ms", 40.0, kind="timer")
    engine.metric("q.level", second % 2, kind="gauge")


def heard(engine: Engine) -> Events:
    found: Events = []

    def note(event: dict[str, Any]) -> None:
        if event["kind"] == "alert":
            found.append((event["time_ns"] // 1_000_000_000 - NOW, event["name"], event["state"]))

    engine.watch(note)
    return found


def test_steady_traffic_over_a_first_start_and_a_restart_pages_nobody_and_its_fall_does(tmp_path: Path) -> None:
    rules = [{"alert": name, "if": text} for name, text in LOW.items()]
    second = NOW
    for away, seconds in ((0, 75), (20, 90)):
        second += away
        with manual(now=second, data_dir=tmp_path, config={"rules": rules}) as engine:
            events = heard(engine)
            for _ in range(seconds):
                busy(engine, second)
                engine.advance(1)
                second += 1
            assert events == []
            if away:
                engine.advance(75)
                assert sorted(name for _, name, state in events if state == "firing") == sorted(LOW)


@pytest.mark.parametrize(
    ("condition", "begin", "end"),
    [
        ("ABSENT(beat[10s])", 10, 12),
        ("avg(beat, 10s) IS NULL", 10, 12),
        ("count(beat, 10s) < 1 NODATA alert", 10, 12),
        ("avg(beat, 10s) > 200 NODATA alert", 10, 12),
        ("last(beat[10s]) > 200 NODATA alert", 10, 12),
        ("avg(x, 10m) > 200", 0, 2),
        ("count(x, 10m) > 0", 0, 2),
        ("ABSENT(beat[10m]) OR avg(x, 10m) > 200", 0, 2),
        ("avg(x, 10m) > 200 UNLESS ABSENT(x[10m])", 0, 2),
        ("avg(x, 10m) > 200 UNLESS count(x, 10s) > 20", 10, 12),
    ],
)
def test_a_first_start_tells_at_once_what_is_seen_and_later_what_is_not(condition: str, begin: int, end: int) -> None:
    with manual() as engine:
        statement = parse_statement(condition)
        engine.alert("seen", if_=condition.partition(" NODATA")[0], nodata=statement.nodata or "keep")
        events = heard(engine)
        for _ in range(15):
            engine.metric("x", 300.0)
            engine.advance(1)
    assert [(begin <= second <= end, state) for second, _, state in events] == [(True, "firing")], events


def test_a_window_that_was_put_back_whole_is_judged_at_once(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for _ in range(607):
            recording.add("x", 1.0)
            recording.advance(1)
    with Recording(tmp_path, first=FIRST + 607) as recording:
        rules = RuleSet(recording.store)
        text = "count(x, 5m) < 310"
        rules.replace({text: compile_statement(parse_statement(text))})
        rules.reloaded = reload_windows(recording.store, recording.past, FIRST + 607)
        recording.add("x", 1.0)
        recording.advance(1)
        assert rules.evaluate().condition.tolist() == [1.0]
