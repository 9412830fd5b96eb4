"""A whole engine on a manual clock with rules judged each 10 s, and a replay of what it wrote: the same transitions."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engines import NOW, manual
from tests.test_replay import events_of, rules

from hms_ops import Engine
from hms_ops.alert.language.explaining import sentence_of
from hms_ops.alert.rule import Rule
from hms_ops.alert.slo import BURNS
from hms_ops.bygone import STEP_SECONDS
from hms_ops.replaying import judged, replay

BEGIN = NOW - NOW % 3600 + 3600
WARM_SECONDS = 900
WATCHED = rules(
    "ALERT slow WHEN avg(api_ms, 1m) > 200 RECOVER < 150 FOR 30s KEEP 20s EVERY 10s",
    "ALERT host.slow WHEN max(api_ms, 30s) > 330 GROUP BY host FOR 20s EVERY 10s",
    "ALERT deep WHEN last(depth) > 75 EVERY 10s",
    "ALERT idle WHEN rate(orders, 1m) < 0.5 FOR 1m EVERY 10s",
    "ALERT unsteady WHEN stddev(api_ms, 10m) / avg(api_ms, 10m) > 0.45 EVERY 20s",
    "ALERT gone WHEN ABSENT(heartbeat[30s]) NODATA ok EVERY 10s",
)

SLO = """
rules:
  - {alert: a.long, if: "max(a_ms, 2h) > 200"}
slos:
  - {slo: a.slo, objective: 99, good: a_ms <= 200}
"""

Told = tuple[str, str, tuple[tuple[str, str], ...], int]


def traffic(engine: Engine, second: int, r: random.Random) -> None:
    level = 150 + 100 * math.sin(second / 200)
    for host in ("a", "b"):
        if host == "a" or (second // 300) % 4:
            engine.metric("api_ms", r.uniform(0.5, 1.5) * level, kind="timer", tags={"host": host})
    if second % 9 == 0:
        engine.metric("depth", 50 + 40 * math.sin(second / 500), kind="gauge")
    if r.random() < (0.9 if (second // 200) % 3 else 0.05):
        engine.metric("orders", 1, kind="counter")
    if (second // 500) % 2:
        engine.metric("heartbeat", 1, kind="counter")


def lived(engine: Engine, seconds: int, r: random.Random, log: list[Told]) -> None:
    """Let it run; `log` gets what its alerts told."""

    def note(event: dict[str, Any]) -> None:
        if event["kind"] == "alert":
            log.append((event["name"], event["state"], tuple(sorted(event["tags"].items())), event["episode"]))

    end = engine.watch(note)
    for _ in range(seconds):
        traffic(engine, engine.store.sealed_second, r)
        engine.advance(1)
    end()


def replayed(engine: Engine, watched: Sequence[Rule], seconds: int) -> list[Told]:
    log = events_of(watched, judged(watched, engine.past, BEGIN + WARM_SECONDS, BEGIN + WARM_SECONDS + seconds))
    return [(name, state, tags, episode) for _, name, state, tags, episode in log]  # type: ignore[misc]


def test_a_replay_of_an_engine_s_history_is_what_it_told(tmp_path: Path) -> None:
    r, log, warm = random.Random(3), list[Told](), list[Told]()
    with manual(BEGIN, data_dir=tmp_path) as engine:
        lived(engine, WARM_SECONDS, r, warm)
        for one in WATCHED:
            engine.alert(one.name, if_=sentence_of(one).partition(" WHEN ")[2])
        lived(engine, 2700, r, log)
        again = replayed(engine, WATCHED, 2700)
        found = replay(WATCHED, judged(WATCHED, engine.past, BEGIN + WARM_SECONDS, BEGIN + WARM_SECONDS + 2700))
    assert {name for name, state, _, _ in log if state == "firing"} == {one.name for one in WATCHED}
    for one in WATCHED:
        assert [told for told in again if told[0] == one.name] == [told for told in log if told[0] == one.name]
    assert len(found.episodes) == sum(state == "firing" for _, state, _, _ in log)
    assert found.problems == {}


def test_restarts_between_steps_leave_no_trace_in_either(tmp_path: Path) -> None:
    """The states are kept, the windows put back: a replay that knows of no restart tells the same."""
    r, log = random.Random(4), list[Told]()
    config = {"rules": [sentence_of(one) for one in WATCHED]}
    begin, begun = BEGIN, list[Told]()
    for number, seconds in enumerate((WARM_SECONDS, 700, 700, 700)):
        with manual(begin, data_dir=tmp_path, config=config) as engine:
            lived(engine, seconds, r, log if number else begun)
            begin += seconds
            if begin == BEGIN + WARM_SECONDS + 2100:
                again = replayed(engine, WATCHED, 2100)
    last = {(name, tags): state for name, state, tags, _ in begun}
    is_open = {name for (name, _), state in last.items() if state != "resolved"}  # a replay begins with nothing open
    compared = [one.name for one in WATCHED if one.name not in is_open]
    assert len(compared) >= 3
    for name in compared:
        told = [event for event in log if event[0] == name]
        assert [event for event in again if event[0] == name] == told
        assert told, name


def test_a_replay_of_an_slo_and_long_windows_sees_nothing_before_it_came(tmp_path: Path) -> None:
    """As the journal has it, to the grain of the replay; an outage begins in the middle of a minute and of an hour."""
    begin, outage = BEGIN + 3000, BEGIN + 4223
    events: list[dict[str, Any]] = []
    (tmp_path / "rules.yaml").write_text(SLO)
    with manual(begin, data_dir=tmp_path / "data", config={"rules": [str(tmp_path / "rules.yaml")]}) as engine:
        engine.watch(lambda event: events.append(event) if event["kind"] == "alert" else None)
        for second in range(begin, BEGIN + 4500):
            engine.metric("a_ms", 300 if outage <= second < outage + 220 else 90, kind="timer")
            engine.advance(1)
        objective = engine.duty.objectives.objective
        watched = [one for one in engine.rules() if one.name.startswith(("a.slo", "a.long"))]
        found = replay(watched, judged(watched, engine.past, begin, BEGIN + 4500, objective=objective))
    live = {one["name"]: one["time_ns"] // 10**9 for one in events if one["state"] == "firing"}
    assert live.keys() == {"a.long", *(f"a.slo.{burn.name}" for burn in BURNS)}
    assert min(live.values()) > outage
    assert {one.name for one in found.episodes} == live.keys()
    for one in found.episodes:
        assert 0 <= one.fired - live[one.name] <= STEP_SECONDS, one
