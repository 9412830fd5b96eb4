"""A replay of history is what happened live; and what it makes of judgements, gaps, coarser rows and percentiles."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.recording import FIRST, Recording

from hms_ops.alert.evaluate import RuleSet
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.notification import Alert
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.rule import Rule, rule_of
from hms_ops.alert.states.book import Book
from hms_ops.bygone import Bygone
from hms_ops.longview import LongView
from hms_ops.replaying import Episode, Judgement, Replayed, judged, looks_down, replay, stretches_of, summaries

BEGIN = FIRST - FIRST % 3600 + 3600  # a full hour


def rules(*texts: str) -> list[Rule]:
    return [rule_of(parse_statement(text), "test") for text in texts]


# ---- live and replayed


class Live:
    """What the engine's tick does with rules, on a recording, each 10 s."""

    def __init__(self, recording: Recording, watched: Sequence[Rule]) -> None:
        self.recording = recording
        self.book = Book(watched)
        self.long = LongView(recording.past, recording.store)
        self.rule_set = RuleSet(recording.store, recall=self.long)
        self.rule_set.replace(
            {one.name: compile_rule(one.condition, one.recover, one.where, one.group_by) for one in watched}
        )
        self.log: list[tuple[int, str, str, tuple[tuple[str, str], ...], int]] = []

    def tick(self) -> None:
        now = self.recording.now
        self.long.refresh(now)
        made = self.rule_set.evaluate(now)
        events = self.book.advance(made.keys, made.condition, made.recover, made.value, now, made.problems.keys())
        self.log += [told(now, event) for event in events]


def told(now: int, event: Alert) -> tuple[int, str, str, tuple[tuple[str, str], ...], int]:
    return now, event.name, event.state, event.group, event.episode


def events_of(watched: Sequence[Rule], judgements: Iterable[Judgement]) -> list[object]:
    """The log of a replay, by the engine's book alone."""
    book, log = Book(watched), []
    for one in judgements:
        events = book.advance(one.keys, one.condition, one.recover, one.value, one.second, one.problems.keys())
        log += [told(one.second, event) for event in events]
    return log


def traffic(recording: Recording, r: random.Random) -> None:
    """A second of samples: a timer of two hosts that has quiet times, a gauge that wanders, a counter with bursts."""
    second = recording.now
    level = 150 + 100 * math.sin(second / 300)
    for host in ("a", "b"):
        if (second // 400) % 5 or host == "a":
            recording.add("api_ms", r.uniform(0.5, 1.5) * level, "ms", f"host:{host}")
    if second % 7 == 0:
        recording.add("depth", 50 + 40 * math.sin(second / 700) + r.uniform(-5, 5), "g", "host:a")
    if r.random() < (0.9 if (second // 200) % 3 else 0.05):
        recording.add("orders", r.randrange(1, 4), "c")
    if (second // 1000) % 2:
        recording.add("heartbeat", 1, "c")


WATCHED = rules(
    "ALERT slow WHEN avg(api_ms, 1m) > 200 RECOVER < 150 FOR 30s KEEP 20s EVERY 10s",
    "ALERT slow.host WHEN max(api_ms, 30s) > 320 GROUP BY host FOR 20s EVERY 10s",
    "ALERT deep WHEN last(depth) > 80 OR avg(depth, 5m) > 75 EVERY 10s",
    "ALERT few WHEN sum(orders, 2m) < 40 EVERY 10s",
    "ALERT idle WHEN rate(orders, 1m) < 0.5 FOR 1m EVERY 10s",
    "ALERT grows WHEN delta(depth, 5m) > 20 EVERY 10s",
    "ALERT unsteady WHEN stddev(api_ms, 10m) > 0.4 * avg(api_ms, 10m) EVERY 20s",
    "ALERT gone WHEN ABSENT(heartbeat[30s]) EVERY 10s",
    "ALERT silent WHEN avg(api_ms{host='b'}, 30s) IS NULL FOR 1m EVERY 10s",
    "ALERT before WHEN avg(api_ms, 5m) > 1.3 * avg(api_ms, 5m) OFFSET 10m EVERY 10s",
    "ALERT ratio WHEN max(api_ms / depth, 5m) > 9 EVERY 10s",
    "ALERT half.hour WHEN avg(api_ms, 30m) > 155 EVERY 1m",
    "ALERT two.hours WHEN sum(orders, 2h) > 6000 EVERY 10s",  # read from minutes that are not over yet
    "ALERT three.days WHEN sum(orders, 3d) > 7000 EVERY 10s",  # and from such hours
)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterable[tuple[Recording, list[object]]]:
    """Two hours with the rules on duty in the second one."""
    with Recording(tmp_path_factory.mktemp("lived"), first=BEGIN) as recording:
        live, r = Live(recording, WATCHED), random.Random(5)
        while recording.now < BEGIN + 7200:
            traffic(recording, r)
            recording.advance(1)
            if recording.now % 10 == 0 and recording.now > BEGIN + 3600:
                live.tick()
        yield recording, live.log


def test_a_replay_is_what_happened_live(lived: tuple[Recording, list[object]]) -> None:
    recording, log = lived
    fired = {event[1] for event in log if event[2] == "firing"}  # type: ignore[index]
    assert fired == {one.name for one in WATCHED}, "a rule that never fires proves nothing"
    for one in WATCHED:
        again = events_of([one], judged([one], recording.past, BEGIN + 3600, BEGIN + 7200))
        assert again == [event for event in log if event[1] == one.name]  # type: ignore[index]


def test_all_rules_together_are_as_each_alone(lived: tuple[Recording, list[object]]) -> None:
    recording, log = lived
    assert events_of(WATCHED, judged(WATCHED, recording.past, BEGIN + 3600, BEGIN + 7200)) == log


def test_episodes_are_the_events_in_pairs(lived: tuple[Recording, list[object]]) -> None:
    recording, log = lived
    found = replay(WATCHED, judged(WATCHED, recording.past, BEGIN + 3600, BEGIN + 7200))
    fired = sorted((now, name, group) for now, name, state, group, _ in log if state == "firing")  # type: ignore[misc]
    assert sorted((one.fired, one.name, one.tags) for one in found.episodes) == fired
    ended = sorted((now, name, group) for now, name, state, group, _ in log if state == "resolved")  # type: ignore[misc]
    assert sorted((one.ended, one.name, one.tags) for one in found.episodes if one.ended) == ended
    assert all(one.began <= one.fired for one in found.episodes)
    slow = next(one for one in found.episodes if one.name == "slow")
    assert slow.peak > 200
    assert found.problems == {}
    assert found.steps == {10: 360}


def test_a_percentile_is_read_off_the_minutes_on_disk(lived: tuple[Recording, list[object]]) -> None:
    recording, _ = lived
    watched = rules(
        "ALERT tail WHEN p90(api_ms, 5m) > 250 GROUP BY host", "ALERT share WHEN share_gt(api_ms, 250, 5m) > 10%"
    )
    made = list(judged(watched, recording.past, BEGIN + 3600, BEGIN + 7200, step=60))
    for name in ("tail", "share"):
        values = [one.value[place] for one in made for place, key in enumerate(one.keys) if key[0] == name]
        known = [value for value in values if not math.isnan(value)]
        assert len(known) >= 50
        assert all(0 <= value < (400 if name == "tail" else 1.01) for value in known)
    exact = RuleSet(recording.store)
    exact.replace({"tail": compile_rule(watched[0].condition, None, None, ("host",))})
    last = {key: value for key, value in zip(made[-1].keys, made[-1].value.tolist(), strict=True) if key[0] == "tail"}
    now = exact.evaluate()
    for key, value in zip(now.keys, now.value.tolist(), strict=True):
        assert last[key] == pytest.approx(value, rel=0.05)


# ---- coarser rows, gaps


def test_rows_of_a_minute_count_as_even_steps(lived: tuple[Recording, list[object]]) -> None:
    """Windows of whole minutes are the same whether they are made of tens or of minutes."""
    recording, _ = lived

    class ByMinute:
        def __init__(self) -> None:
            self.known, self.first_second = recording.past.known, recording.past.first_second
            self.rows, self.sketches = recording.past.rows, recording.past.sketches
            self.finest_step = lambda start: 60

    watched = rules(
        "ALERT a WHEN avg(api_ms, 5m) > 1",
        "ALERT b WHEN max(api_ms, 1m) > 1",
        "ALERT c WHEN rate(orders, 5m) > 0.1",
        "ALERT d WHEN count(api_ms, 1m) > 1",
        "ALERT e WHEN stddev(api_ms, 10m) > 1",
        "ALERT f WHEN rate(orders, 30s) > 0.1",
    )
    fine = list(judged(watched, recording.past, BEGIN + 3600, BEGIN + 7200, step=60))
    coarse = list(judged(watched, ByMinute(), BEGIN + 3600, BEGIN + 7200))  # type: ignore[arg-type]
    assert [one.second for one in fine] == [one.second for one in coarse] == [*range(BEGIN + 3660, BEGIN + 7201, 60)]
    for one, other in zip(fine, coarse, strict=True):
        assert one.keys == other.keys
        np.testing.assert_allclose(one.value[:-2], other.value[:-2], rtol=1e-9)
        assert one.value[-2] == pytest.approx(other.value[-2], rel=0.05)  # deviations of minutes are kept within 4.4 %
    means = [one.value[-1] for one in coarse], [one.value[-1] for one in fine]
    assert np.mean(means[0]) == pytest.approx(np.mean(means[1]), rel=0.1)  # a mean instead of a part


def test_what_only_coarser_tiers_have_is_replayed_in_their_steps() -> None:
    class Kept:
        """10 s since 50,000, minutes since 10,000."""

        @staticmethod
        def finest_step(start: int) -> int:
            return 10 if start >= 50_000 else 60 if start >= 10_000 else 3600

    found = list(stretches_of(Kept(), 0, 60_005))  # type: ignore[arg-type]
    assert [(stop - begin) % seconds for begin, stop, seconds in found] == [0, 0, 0]
    assert [one[2] for one in found] == [3600, 60, 10]
    assert found[0] == (0, 10_800, 3600)  # the first hour that minutes have all of
    assert found[1] == (10_800, 50_400, 60)
    assert found[2] == (50_400, 60_000, 10)


def test_while_the_engine_was_down_nothing_is_judged_and_clocks_stand_still(tmp_path: Path) -> None:
    watched = rules("ALERT high WHEN avg(x, 30s) > 5 FOR 3m EVERY 10s")
    for begin in (BEGIN, BEGIN + 1200):  # down for a quarter of an hour in between
        with Recording(tmp_path, first=begin) as recording:
            while recording.now < begin + (300 if begin == BEGIN else 600):
                is_high = recording.now >= BEGIN + 200
                recording.add("x", 9.0 if is_high else 1.0)
                if recording.now % 60 == 5:
                    recording.add("high", 0.0)  # the rule's own gauge
                recording.advance(1)
    with Recording(tmp_path, first=BEGIN + 4000) as recording:
        found = replay(watched, judged(watched, recording.past, BEGIN + 60, BEGIN + 1800))
    (episode,) = found.episodes
    assert episode.began == BEGIN + 220  # the mean of 30 s is over 5
    assert BEGIN + 1200 < episode.fired < BEGIN + 1400  # 80 s before it went down, the rest after
    up = (episode.fired - episode.began) - found.down_seconds
    assert 180 <= up <= 230  # the minute in which it went down had no data: the clock stood still there too
    assert 700 < found.down_seconds < 900


def test_a_group_is_there_from_its_first_row_until_it_is_forgotten(tmp_path: Path) -> None:
    with Recording(tmp_path, first=BEGIN) as recording:
        for second in range(5400):
            recording.add("x", 1.0, tags="host:a")
            if 300 <= second < 330:
                recording.add("x", 1.0, tags="host:b")
            recording.advance(1)
        bygone = Bygone(recording.past, ["x", "nowhere"], BEGIN)
        seen = {}
        for end in range(BEGIN + 10, BEGIN + 5401, 10):
            bygone.move_to(end)
            seen[end - BEGIN] = len(bygone.slots("x"))
        assert [seen[300], seen[310], seen[4200], seen[4260]] == [1, 2, 2, 1]
        assert bygone.slots("nowhere").tolist() == []
        _, changes = bygone.changes(0)
        assert changes == [(0, True), (1, True), (1, False)]
        with pytest.raises(KeyError):
            bygone.series(1)


# ---- the pure half


def judgement(second: int, condition: float, value: float = math.nan, down: bool = False) -> Judgement:
    keys = KEYS if not down else ()
    array = np.array([condition])
    return Judgement(second, 10, keys, array, 1.0 - array, np.array([value]), {}, down)


KEYS = [("r", (("host", "a"),))]


def play(text: str, *conditions: float | tuple[float, float]) -> tuple[list[Rule], Replayed]:
    watched = rules(f"ALERT r WHEN {text}")
    told = [one if isinstance(one, tuple) else (one, math.nan) for one in conditions]
    return watched, replay(watched, [judgement(10 * n, *one) for n, one in enumerate(told, 1)])


def test_an_episode_has_its_begin_its_end_and_its_peak() -> None:
    _, found = play("x > 5 GROUP BY host FOR 20s", (0, 1.0), (1, 6.0), (1, 9.0), (1, 7.0), (1, 8.0), (0, 2.0))
    tags = (("host", "a"),)
    assert found.episodes == [Episode("r", tags, "page", began=20, fired=40, ended=60, peak=9.0)]


def test_the_peak_of_a_rule_that_looks_down_is_the_least_value() -> None:
    _, found = play("x < 5", (1, 4.0), (1, 2.0), (1, math.nan), (1, 3.0))
    (episode,) = found.episodes
    assert (episode.peak, episode.ended) == (2.0, 0)
    assert [looks_down(one) for one in rules("NOT x <= 1", "x BETWEEN 1 AND 2", "ABSENT(x)")] == [True, False, False]


def test_what_was_pending_only_is_counted() -> None:
    watched, found = play("x > 5 FOR 30s", 1, 1, 0, 1, math.nan, 1, 0, 1, 1)
    assert found.episodes == []
    assert found.pending_only == {"r": 2}
    (summary,) = summaries(watched, found)
    assert (summary.fired, summary.pending_only, summary.firing_seconds) == (0, 2, 0)


def test_a_summary_says_how_often_and_how_long() -> None:
    watched, found = play("x > 5", 1, 1, 0, 1, 1, 1, 1, 0, 0, 1)
    (summary,) = summaries(watched, found)
    assert (summary.fired, summary.firing_seconds, summary.longest_seconds) == (3, 60, 40)
    assert summary.share == 0.6
    assert summary.per_day == pytest.approx(3 * 864)


def test_instances_that_fire_together_count_once_in_the_share() -> None:
    found = Replayed([Episode("r", (("h", h),), "page", 0, 10, 60, 1.0) for h in "ab"], first=0, last=100)
    (summary,) = summaries(rules("ALERT r WHEN x > 1"), found)
    assert (summary.firing_seconds, summary.share) == (100, 0.5)


def test_a_step_that_history_cannot_have_is_refused(lived: tuple[Recording, list[object]]) -> None:
    for step in (0, 5, 15):
        with pytest.raises(ValueError, match="multiple of 10"):
            next(judged(WATCHED, lived[0].past, BEGIN, BEGIN + 100, step=step))
