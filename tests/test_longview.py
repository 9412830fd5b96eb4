"""Windows of history against the samples themselves: what is read, when, and what a rule set makes of old answers."""

import math
import threading
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from tests.recording import FIRST, Recording, Sample

from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.grammar import parse_query, parse_statement
from hms_ops.alert.plan import compile_query, compile_statement
from hms_ops.alert.view import View
from hms_ops.errors import ExpressionError, StorageError
from hms_ops.longview import VIEWS_MAX, LongView, Recent, grid_of, read_view
from hms_ops.past import row_seconds_of

HOURS = 3
END = FIRST + HOURS * 3600 + 137
OBJECTIVES = {"api": 0.99}.get


def samples_of(seed: int = 1) -> list[Sample]:
    """Three hours of a counter that is good or not, a gauge that goes up and down, and a timer, under two zones."""
    rng = np.random.default_rng(seed)
    samples: list[Sample] = []
    for second in range(FIRST, END, 7):
        zone = "zone:a" if rng.random() < 0.7 else "zone:b"
        good = float(rng.random() < 0.9)
        samples.append((second, "api.total", zone, "c", 1.0, 1.0))
        samples.append((second, "api.good", zone, "c", good, 1.0))
        samples.append((second, "depth", zone, "g", float(rng.integers(0, 4)), 1.0))
        samples.append((second, "api_ms", "", "ms", float(rng.integers(1, 200)), float(rng.choice([1.0, 4.0]))))
    return samples


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with Recording(tmp_path_factory.mktemp("long")) as recording:
        recording.play(samples_of(), END)
        yield recording


def view_of(text: str) -> View:
    views = [one.view for one in compile_query(parse_query(text), objective=OBJECTIVES).readings if one.view]
    return views[0]


def answers_of(recording: Recording, text: str, end: int = END) -> dict[str, float]:
    answer = read_view(view_of(text), recording.past, end)
    return {dict(key).get("zone", ""): value for key, value in zip(answer.keys, answer.values.tolist(), strict=True)}


def chosen(recording: Recording, metric: str, begin: int, end: int, zone: str = "") -> list[Sample]:
    return [
        s for s in recording.given if s[1] == metric and begin <= s[0] < end and (not zone or s[2] == f"zone:{zone}")
    ]


LONG = ["2h", "100m", "3h"]


@pytest.mark.parametrize("window", LONG)
@pytest.mark.parametrize("offset", ["", " OFFSET 10m", " OFFSET 40m"])
@pytest.mark.parametrize("metric", ["api_ms", "depth", "api.total"])
def test_aggregates_over_hours_are_those_of_the_samples(
    recording: Recording, window: str, offset: str, metric: str
) -> None:
    names = ("sum", "count", "avg", "min", "max")
    grid = grid_of(view_of(f"sum({metric}, {window}){offset}"), recording.past, END)
    seconds = {"2h": 7200, "100m": 6000, "3h": 10_800}[window]
    last = END - {"": 0, " OFFSET 10m": 600, " OFFSET 40m": 2400}[offset]
    assert last - seconds - 119 <= grid.start <= last - seconds, "its start is rounded down, to a minute or two"
    stop = END if not offset else last - last % 60
    samples = chosen(recording, metric, grid.start, stop)
    count = sum(s[5] for s in samples)
    total = sum(s[4] * s[5] for s in samples)
    expected = [total, count, total / count, min(s[4] for s in samples), max(s[4] for s in samples)]
    got = [answers_of(recording, f"{name}({metric}, {window}){offset}")[""] for name in names]
    assert got == pytest.approx(expected)


def test_rates_and_burn_rates_over_hours(recording: Recording) -> None:
    good, total = (sum(s[4] for s in chosen(recording, f"api.{what}", END - 7257, END)) for what in ("good", "total"))
    grid = grid_of(view_of("rate(api.total, 2h)"), recording.past, END)
    seconds = END - grid.start
    samples = chosen(recording, "api.total", grid.start, END)
    assert answers_of(recording, "rate(api.total, 2h)")[""] == pytest.approx(len(samples) / seconds)
    [(_, burn)] = query_now(
        parse_query("burn_rate(api, 2h)"),
        recording.store,
        recall=Recent(recording.past, END),
        objective=OBJECTIVES,
    )
    assert burn == pytest.approx((1 - good / total) / 0.01, rel=0.05)


def test_groups_are_those_of_history_whoever_lives_now(recording: Recording) -> None:
    begin = grid_of(view_of("count(depth, 2h)"), recording.past, END).start
    counts = {zone: float(len(chosen(recording, "depth", begin, END, zone))) for zone in "ab"}
    assert answers_of(recording, "count(depth, 2h) GROUP BY zone") == counts
    assert answers_of(recording, "count(depth{zone='a'}, 2h) GROUP BY zone") == {"a": counts["a"]}


def test_percentiles_over_hours_and_of_an_earlier_time(recording: Recording) -> None:
    for text, begin, stop in (
        ("p90(api_ms, 2h)", END - 7200, END),
        ("p90(api_ms, 10m) OFFSET 1h", END - 4200, END - 3600),
    ):
        samples = chosen(recording, "api_ms", begin - begin % 60, stop - stop % 60)
        values = np.repeat([s[4] for s in samples], [int(s[5]) for s in samples])
        assert answers_of(recording, text)[""] == pytest.approx(np.quantile(values, 0.9), rel=0.05)


def test_folds_over_hours_are_folds_of_minutes(recording: Recording) -> None:
    grid = grid_of(view_of("max(avg(api_ms) - avg(depth), 2h)"), recording.past, END)
    assert (grid.step, grid.start % 60) == (60, 0)
    minutes = []
    for at in range(grid.start, grid.end, 60):
        ms, depth = (chosen(recording, name, at, min(at + 60, END)) for name in ("api_ms", "depth"))
        if ms and depth:
            mean = sum(s[4] * s[5] for s in ms) / sum(s[5] for s in ms)
            minutes.append(mean - sum(s[4] for s in depth) / len(depth))
    assert answers_of(recording, "max(avg(api_ms) - avg(depth), 2h)")[""] == pytest.approx(max(minutes))
    assert answers_of(recording, "first(avg(api_ms) - avg(depth), 2h)")[""] == pytest.approx(minutes[0])
    rest = np.array(minutes[:-1])
    score = (minutes[-1] - rest.mean()) / rest.std()
    assert answers_of(recording, "zscore(avg(api_ms) - avg(depth), 2h)")[""] == pytest.approx(score)


def test_changes_over_hours_are_those_of_each_series(recording: Recording) -> None:
    view = view_of("changes(depth, 2h)")
    grid = grid_of(view, recording.past, END)
    total = 0
    for zone in "ab":
        last = {s[0] // 60: s[4] for s in chosen(recording, "depth", grid.start, END, zone)}
        values = [last[minute] for minute in sorted(last)]
        total += sum(a != b for a, b in pairwise(values))
    assert answers_of(recording, "changes(depth, 2h)") == {"": float(total)}


def test_absent_over_hours(recording: Recording) -> None:
    assert answers_of(recording, "ABSENT(depth[2h])") == {"": 0.0}
    assert answers_of(recording, "ABSENT(nobody[2h])") == {"": 1.0}


@pytest.mark.parametrize(
    ("text", "row"), [("avg(x, 2h)", 60), ("avg(x, 59h)", 60), ("avg(x, 60h)", 3600), ("avg(x, 30d)", 3600)]
)
def test_rows_are_a_sixtieth_of_the_window_at_most(recording: Recording, text: str, row: int) -> None:
    grid = grid_of(view_of(text), recording.past, END)
    assert row_seconds_of(grid.step) == row
    assert grid.start % row == 0
    assert grid.end >= END


@pytest.mark.parametrize(("text", "period"), [("avg(x, 61m)", 10), ("avg(x, 6h)", 60), ("avg(x, 30d)", 7200)])
def test_a_view_is_read_once_in_its_period(text: str, period: int) -> None:
    assert view_of(text).period_seconds() == period


# ---- the reader and the rules


def rules_of(recording: Recording, long_view: LongView, *texts: str) -> RuleSet:
    rules = RuleSet(recording.store, recall=long_view)
    rules.replace({text: compile_statement(parse_statement(text), objective=OBJECTIVES) for text in texts})
    return rules


def test_a_rule_takes_the_latest_answer_and_an_old_one_is_null(recording: Recording) -> None:
    long_view = LongView(recording.past, recording.store)
    rules = rules_of(recording, long_view, "avg(depth, 2h) > 0", "avg(depth, 6h) > 0 AND depth >= 0", "depth >= 0")
    found = rules.evaluate(END)
    assert [math.isnan(x) for x in found.condition.tolist()] == [True, True, False]
    assert found.whole.tolist() == [False, False, True], "nothing was read yet"
    assert long_view.refresh(END) == 2
    assert rules.evaluate(END).condition.tolist() == [1.0, 1.0, 1.0]
    assert rules.evaluate(END).whole.tolist() == [True, False, True], "history is three hours long"
    assert long_view.refresh(END + 19) == 0, "2 h: every 20 s"
    assert long_view.refresh(END + 20) == 1
    assert [math.isnan(x) for x in rules.evaluate(END + 61).condition.tolist()] == [True, False, False]
    assert long_view.refresh(END + 61) == 2
    assert rules.evaluate(END + 61).condition.tolist() == [1.0, 1.0, 1.0]
    assert long_view.counters() == {"views": 2, "refused": 0, "read": 5, "failed": 0}
    rules.replace({})
    assert long_view.counters()["views"] == 0


def test_instances_come_with_the_answers(recording: Recording) -> None:
    long_view = LongView(recording.past, recording.store)
    rules = rules_of(recording, long_view, "count(depth, 2h) > 0 GROUP BY zone")
    assert rules.evaluate(END).keys == []
    long_view.refresh(END)
    found = rules.evaluate(END)
    assert [dict(key) for _, key in found.keys] == [{"zone": "a"}, {"zone": "b"}]
    assert found.condition.tolist() == [1.0, 1.0]
    assert rules.evaluate(END).keys is found.keys


def test_what_history_refuses_is_the_rules_problem(recording: Recording) -> None:
    long_view = LongView(recording.past, recording.store)
    text = "increase(depth, 2h) > 0"
    rules = rules_of(recording, long_view, text, "depth >= 0")
    long_view.refresh(END)
    found = rules.evaluate(END)
    assert found.problems[text] == "depth is a gauge, of which there is no increase"
    assert long_view.problems() == list(found.problems.values())
    assert found.condition.tolist() == [1.0]
    assert long_view.counters()["failed"] == 1


def test_a_disk_that_fails_is_a_problem_and_the_reader_goes_on(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_view = LongView(recording.past, recording.store)
    rules_of(recording, long_view, "avg(depth, 2h) > 0")

    def fail(*args: object) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(recording.past, "chunks", fail)
    long_view.refresh(END)
    assert long_view.problems() == ["history cannot be read: the disk is gone"]
    monkeypatch.undo()
    long_view.refresh(END + 20)
    assert long_view.problems() == []


def test_more_views_than_are_allowed_are_refused_with_the_figure(recording: Recording) -> None:
    long_view = LongView(recording.past, recording.store)
    texts = [f"avg(depth, {7200 + n}s) > 0" for n in range(VIEWS_MAX + 1)]
    rules = rules_of(recording, long_view, *texts)
    problems = rules.evaluate(END).problems
    assert set(problems.values()) == {f"{VIEWS_MAX + 1} windows are read from history; {VIEWS_MAX} are allowed"}
    assert len(problems) == long_view.counters()["refused"] == 1


def test_taking_more_views_costs_as_much_as_there_are(recording: Recording) -> None:
    hashed: list[int] = []

    class Counted(int):
        def __hash__(self) -> int:
            hashed.append(1)
            return int(self)

    def views(count: int) -> set[View]:
        return {Counted(number) for number in range(count)}  # type: ignore[misc]

    long_view = LongView(recording.past, recording.store)
    long_view.want(views(500))
    wanted = views(1000)
    hashed.clear()
    long_view.want(wanted)
    assert len(hashed) < 10 * len(wanted)


def test_the_thread_reads_what_is_wanted_and_ends(recording: Recording) -> None:
    long_view = LongView(recording.past, recording.store)
    thread = threading.Thread(target=long_view.run, daemon=True)
    thread.start()
    rules = rules_of(recording, long_view, "avg(depth, 2h) > 0")
    deadline = threading.Event()
    for _ in range(500):
        if rules.evaluate(END).condition.tolist() == [1.0]:
            break
        deadline.wait(0.01)
    assert rules.evaluate(END).condition.tolist() == [1.0]
    long_view.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_the_value_now_reads_history_at_once(recording: Recording) -> None:
    recall = Recent(recording.past, END)
    [(_, value)] = query_now(parse_query("avg(depth, 2h)"), recording.store, recall=recall)
    assert value == answers_of(recording, "avg(depth, 2h)")[""]
    with pytest.raises(ExpressionError, match="no increase"):
        query_now(parse_query("increase(depth, 2h)"), recording.store, recall=recall)


def test_without_a_disk_what_memory_has_is_read_and_is_not_whole() -> None:
    memory = Recording()
    for second in range(100):
        memory.add("depth", float(second))
        memory.advance(1)
    answer = read_view(view_of("max(depth, 2h)"), memory.past, memory.now)
    assert (answer.values.tolist(), answer.is_whole) == ([99.0], False)


def test_a_short_window_of_long_ago_is_made_of_steps_of_ten_seconds(recording: Recording) -> None:
    grid = grid_of(view_of("sum(api.total, 10m) OFFSET 2h"), recording.past, END)
    assert grid.end == END - 7200 - (END - 7200) % 10
    expected = len(chosen(recording, "api.total", grid.start, grid.end))
    assert answers_of(recording, "sum(api.total, 10m) OFFSET 2h")[""] == expected
