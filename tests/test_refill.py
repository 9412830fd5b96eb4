"""The last hour put back into the store's columns after a restart: windows, what is known of them, and the disk."""

import math
from pathlib import Path

import numpy as np
import pytest
from tests.recording import FIRST, Recording, Sample, counted, expected_counts, random_samples

from hms_ops.alert.evaluate import RuleSet, query_now
from hms_ops.alert.language.grammar import parse_query, parse_statement
from hms_ops.alert.plan import compile_statement
from hms_ops.refill import reload_windows
from hms_ops.reloaded import NOTHING, Reloaded

RAN = 1500  # seconds of the first run
STEP = (1, 10, 60)


def run_once(data_dir: Path, seconds: int = RAN, seed: int = 3) -> list[Sample]:
    """A run that writes some history; every second has a sample, as an engine's own gauges are."""
    with Recording(data_dir) as recording:
        beats = [(FIRST + second, "beat", "", "c", 1.0, 1.0) for second in range(seconds)]
        recording.play(random_samples(np.random.default_rng(seed), seconds) + beats, FIRST + seconds)
        return recording.given


def begin_of(seconds: int, end: int, first: int) -> int:
    """Where a window begins: at a step of its tier, and before `first` at a step that is there."""
    begin = (end - seconds) // (1 if seconds <= 60 else 10 if seconds <= 600 else 60)
    begin *= 1 if seconds <= 60 else 10 if seconds <= 600 else 60
    return begin if begin >= first else begin // (step := 10 if begin >= end - end % 10 - 610 else 60) * step


def value_of(store: object, text: str, reloaded: Reloaded) -> float:
    [(_, value)] = query_now(parse_query(text), store, reloaded=reloaded)  # type: ignore[arg-type]
    return value


@pytest.mark.parametrize("away", [0, 4, 7, 60, 333])
def test_windows_over_a_restart_are_those_of_the_samples_of_both_runs(tmp_path: Path, away: int) -> None:
    before = run_once(tmp_path)
    first = FIRST + RAN + away
    with Recording(tmp_path, first=first) as recording:
        reloaded = reload_windows(recording.store, recording.past, first)
        assert reloaded.start == FIRST - FIRST % 60
        recording.given += [sample for sample in before if sample[0] < first - first % 10]
        for now, samples in ((first + 1, []), (first + 8, [1.0, 5.0]), (first + 47, [9.0]), (first + 700, [2.0, 3.0])):
            for value in samples:
                recording.add("api_ms", value, "ms", "zone:a")
                recording.add("hits", value, "c")
            recording.advance(now - recording.now)
            for seconds in (60, 240, 600, 1200):
                begin = begin_of(seconds, now, first)
                api = [s for s in recording.given if s[1] == "api_ms" and begin <= s[0] < now]
                hits = sum(s[4] * s[5] for s in recording.given if s[1] == "hits" and begin <= s[0] < now)
                count = sum(s[5] for s in api)
                got = {f: value_of(recording.store, f"{f}(api_ms, {seconds}s)", reloaded)
                       for f in ("count", "sum", "avg", "min", "max", "stddev")}  # fmt: skip
                want = [count, sum(s[4] * s[5] for s in api)] if api else [0.0, math.nan]
                assert [got["count"], got["sum"]] == pytest.approx(want, nan_ok=True), (now - first, seconds)
                assert value_of(recording.store, f"sum(hits, {seconds}s)", reloaded) == pytest.approx(hits)
                if api:
                    mean = want[1] / count
                    m2 = sum(s[5] * (s[4] - mean) ** 2 for s in api)
                    assert got["avg"] == pytest.approx(mean)
                    assert [got["min"], got["max"]] == [min(s[4] for s in api), max(s[4] for s in api)]
                    assert got["stddev"] == pytest.approx(math.sqrt(m2 / count), rel=0.03, abs=1e-6)
        given = recording.given + [sample for sample in before if sample[0] >= first - first % 10]
        begin = FIRST - FIRST % 60
        for metric in ("api_ms", "hits", "depth"):
            for step in (10, 60):
                expected = expected_counts(given, metric, begin, recording.now, step)
                assert counted(recording.past, metric, begin, recording.now, step) == pytest.approx(expected)


def test_a_gauge_has_its_last_value_and_its_change_across_a_restart(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for second in range(400):
            recording.add("depth", float(second))
            recording.advance(1)
    first = recording.now + 5
    with Recording(tmp_path, first=first) as recording:
        reloaded = reload_windows(recording.store, recording.past, first)
        recording.advance(1)
        assert value_of(recording.store, "depth", reloaded) == 399.0
        recording.add("depth", 1000.0)
        recording.advance(1)
        base = first + 2 - 120 - FIRST
        base -= (base + FIRST) % 10 + 1  # the last value before the step that the window begins in
        assert value_of(recording.store, "delta(depth, 2m)", reloaded) == 1000.0 - base


def test_rate_divides_by_the_seconds_that_are_known(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for _ in range(297):  # to the end of a step
            recording.add("hits", 3.0, "c")
            recording.advance(1)
    first = recording.now + 40
    with Recording(tmp_path, first=first) as recording:
        reloaded = reload_windows(recording.store, recording.past, first)
        assert reloaded.holes == ((first - 40, first),)
        for _ in range(10):
            recording.add("hits", 3.0, "c")
            recording.advance(1)
        assert value_of(recording.store, "rate(hits, 2m)", reloaded) == pytest.approx(3.0)


def rules_of(recording: Recording, *texts: str) -> RuleSet:
    rules = RuleSet(recording.store)
    rules.replace({text: compile_statement(parse_statement(text)) for text in texts})
    return rules


def whole_after(recording: Recording, rules: RuleSet, text: str) -> int:
    """How many seconds after its start a run knows all that the rule reads."""
    while not (found := rules.evaluate()).whole[list(found.keys).index((text, ()))]:
        recording.advance(1)
    return recording.now - recording.first


def test_a_rule_is_whole_when_its_longest_window_has_filled() -> None:
    texts = ("avg(x) > 1", "avg(x, 2m) > 1 OR avg(x, 10m) > 1", "x > 1", "p99(t, 5m) > 1", "1 > 2", "y > 1")
    recording = Recording()
    recording.add("t", 1.0, "ms")
    recording.add("x", 1.0)
    recording.advance(1)
    rules = rules_of(recording, *texts)
    found = rules.evaluate()
    assert dict(zip((name for name, _ in found.keys), found.whole.tolist(), strict=True)) == dict(
        zip(texts, [False, False, True, False, True, False], strict=True)
    )
    assert [whole_after(recording, rules, text) for text in (texts[0], texts[3], texts[1])] == [59, 295, 590]
    recording.advance(10)
    assert rules.evaluate().whole.all()


def test_groups_are_whole_together_and_a_new_rule_set_of_an_old_run_is_whole() -> None:
    recording = Recording()
    for zone in "ab":
        recording.add("x", 1.0, tags=f"zone:{zone}")
    recording.advance(30)
    rules = rules_of(recording, "max(x, 10s) > 0 GROUP BY zone", "max(x) > 0 GROUP BY zone")
    assert rules.evaluate().whole.tolist() == [True, True, False, False]


def test_what_was_put_back_makes_windows_whole_but_for_the_hole_in_them(tmp_path: Path) -> None:
    run_once(tmp_path)
    first = FIRST + RAN + 12
    with Recording(tmp_path, first=first) as recording:
        rules = rules_of(
            recording, "max(depth, 30m) > 1", "max(depth, 20m) > 1", "max(depth) > 1", "p50(api_ms, 2m) > 1"
        )
        rules.reloaded = reload_windows(recording.store, recording.past, first)
        recording.advance(1)
        assert rules.evaluate().whole.tolist() == [False, True, False, False]
        assert whole_after(recording, rules, "max(depth) > 1") == 59


def test_after_the_clock_was_set_nothing_of_before_is_known(tmp_path: Path) -> None:
    run_once(tmp_path, 300)
    with Recording(tmp_path, first=FIRST + 300) as recording:
        rules = rules_of(recording, "max(depth, 4m) > 1")
        rules.reloaded = reload_windows(recording.store, recording.past, FIRST + 300)
        recording.advance(2)
        assert rules.evaluate().whole.tolist() == [True]
        recording.store.reanchor(0)
        assert rules.evaluate(recording.store.sealed_second + 1).whole.tolist() == [False]


def test_late_samples_of_steps_that_were_put_back_count_once_in_memory_and_on_disk(tmp_path: Path) -> None:
    before = run_once(tmp_path, 300)
    first = FIRST + 303
    with Recording(tmp_path, first=first) as recording:
        reloaded = reload_windows(recording.store, recording.past, first)
        recording.given += before
        recording.advance(2)
        recording.add("hits", 1000.0, "c", ago=30)
        recording.advance(60)
        total = sum(s[4] * s[5] for s in recording.given if s[1] == "hits" and FIRST <= s[0] < first - first % 10)
        assert value_of(recording.store, "sum(hits, 10m)", reloaded) == pytest.approx(total)
        begin = FIRST - FIRST % 60
        for step in (10, 60):
            expected = expected_counts(recording.given, "hits", begin, recording.now, step)
            assert counted(recording.past, "hits", begin, recording.now, step) == pytest.approx(expected)


def test_kinds_come_back_as_they_were_settled(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for line in (b"odd_ms:1|g", b'{"metric":"plain","value":1}', b"hits:1|c"):
            recording.store.ingest(line)
        recording.advance(20)
    with Recording(tmp_path, first=FIRST + 30) as recording:
        reload_windows(recording.store, recording.past, FIRST + 30)
        assert [recording.store.metric_kind(name) for name in ("odd_ms", "plain", "hits")] == [2, 2, 1]
        assert recording.store.ingest(b"plain:1|c") == 1, "its kind was a guess, and is settled now"
        assert recording.store.ingest(b"odd_ms:1|ms") == 0


def test_series_beyond_the_cap_are_left_out_and_counted(tmp_path: Path) -> None:
    with Recording(tmp_path) as recording:
        for number in range(100):
            recording.add("x", 1.0, tags=f"n:{number}")
        recording.advance(20)
    with Recording(tmp_path, first=FIRST + 30) as recording:
        recording.add("y", 1.0)
        reloaded = reload_windows(recording.store, recording.past, FIRST + 30)
        assert (reloaded.series, reloaded.left_out) == (99, 1)
        assert recording.store.counters().get("folded", 0) == 0


def test_nothing_is_put_back_without_history_or_into_a_store_that_has_ticked(tmp_path: Path) -> None:
    empty = Recording()
    assert reload_windows(empty.store, empty.past, FIRST) is NOTHING
    run_once(tmp_path, 100)
    with Recording(tmp_path, first=FIRST + 100) as recording:
        recording.advance(30)
        before = recording.store.cols.copy()
        assert reload_windows(recording.store, recording.past, recording.now) is NOTHING
        np.testing.assert_array_equal(recording.store.cols, before)


def test_only_the_metrics_that_are_asked_for_are_put_back(tmp_path: Path) -> None:
    run_once(tmp_path, 100)
    with Recording(tmp_path, first=FIRST + 107) as recording:
        reloaded = reload_windows(recording.store, recording.past, FIRST + 107, {"beat", "hits"})
        assert set(recording.store.metrics()) == {"beat", "hits"}
        assert reloaded.holes == (), "a run that begins with a step, behind one that has rows of `beat`"


def test_a_day_later_nothing_is_known(tmp_path: Path) -> None:
    run_once(tmp_path, 100)
    with Recording(tmp_path, first=FIRST + 86_400) as recording:
        assert reload_windows(recording.store, recording.past, FIRST + 86_400) is NOTHING
        assert recording.store.series_live == 0


@pytest.mark.parametrize(
    ("begin", "end", "unknown"),
    [
        (0, 5, 5),
        (0, 100, 10 + 20 + 5),
        (10, 20, 0),
        (25, 35, 5),
        (30, 50, 20),
        (45, 96, 6),
        (100, 200, 0),
        (98, 120, 2),
    ],
)
def test_unknown_seconds_are_those_before_the_start_and_in_the_holes(begin: int, end: int, unknown: int) -> None:
    reloaded = Reloaded(100, 10, ((30, 50), (95, 100)))
    assert reloaded.unknown_seconds(begin, end, 100) == unknown
    assert NOTHING.unknown_seconds(begin, end, 100) == max(0, min(end, 100) - begin)
