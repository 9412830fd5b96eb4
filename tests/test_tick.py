"""One run of the pipeline: what it does when it is on time, late, or when a part of it fails; on a real store."""

import logging
from typing import Any

import pytest
from tests.engines import NOW, feed, manual

from hms_ops import Engine
from hms_ops.clock import ManualClock

SECOND_NS = 1_000_000_000


def skip(engine: Engine, seconds: int) -> None:
    """Let time pass without a tick."""
    clock = engine.clock
    assert isinstance(clock, ManualClock)
    engine.store.flush()
    engine.store.set_now_ns(clock.advance(seconds))


def tick_of(engine: Engine) -> dict[str, Any]:
    return engine.counters()["tick"]


def test_a_tick_within_the_same_second_does_nothing() -> None:
    with manual() as engine:
        engine.advance(1)
        assert engine.account.ticker is not None
        engine.account.ticker.tick.run(engine.clock.now_ns())
        engine.account.ticker.tick.run(engine.clock.now_ns() + SECOND_NS // 2)
        assert tick_of(engine)["count"] == 1


def test_every_part_says_what_it_costs() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 3)
        parts = {"seal_ms", "late_ms", "roll_ms", "judge_ms", "prepare_ms", "publish_ms"}
        assert parts <= set(tick_of(engine))
        assert all(tick_of(engine)[part] >= 0 for part in parts)


def test_a_tick_that_is_late_closes_all_steps_between() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 3)
        skip(engine, 45)
        engine.advance(1)
        assert tick_of(engine)["late"] == 1
        assert engine.store.sealed_second == NOW + 48
        assert engine.store.rolled_end(1) == NOW + 40
        assert engine.value("count(a, 1m)") == 3.0


def test_a_tick_that_is_minutes_late_loses_seconds_counts_them_and_keeps_no_stale_rows() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 30)
        skip(engine, 300)
        engine.advance(1)
        assert engine.counters()["store"]["seconds_lost"] > 0
        assert engine.value("count(a, 1m)") != 30.0
        feed(engine, "a", 2.0, 60)
        assert engine.mean("a", "1m") == 2.0
        assert engine.value("sum(a, 5m)") == 120.0


@pytest.mark.parametrize("late_seconds", [*range(55, 75), 130, 700, 3000, 5000])
def test_a_step_that_has_lost_a_second_to_a_stall_is_empty_and_no_step_is_wrong(late_seconds: int) -> None:
    with manual() as engine:
        sums: dict[int, float] = {}

        def emit(seconds: int, tick_each: bool) -> None:
            for _ in range(seconds):
                second = engine.clock.now_ns() // SECOND_NS
                value = float(second - NOW + 1)
                sums[second // 10 * 10] = sums.get(second // 10 * 10, 0.0) + value
                engine.metric("a", value)
                engine.advance(1) if tick_each else skip(engine, 1)

        emit(33, tick_each=True)
        emit(late_seconds, tick_each=False)
        emit(1, tick_each=True)
        end = engine.store.rolled_end(1)
        begun = min(sums)
        first = max(begun, end - 600)
        rows = engine.history("a", first, end)
        found = dict(zip((rows["time"] // SECOND_NS).tolist(), rows["sum"].tolist(), strict=True))
        assert found == {step: total for step, total in sums.items() if step in found}
        kept_from = engine.store.sealed_second - 59
        assert set(found) >= {step for step in sums if kept_from <= step < end}
        rolled_late = range(begun + 30, end, 10)
        assert tick_of(engine)["steps_lost"] == sum(step < kept_from for step in rolled_late)
        minutes_end = engine.store.rolled_end(2)
        in_tier = [step for step in range(begun, minutes_end, 10) if step // 60 * 60 >= end - 640]
        kept = sum(sums[step] for step in in_tier if step < begun + 30 or step >= kept_from)
        minute_sums = engine.store.cols[2, 1, :, 0][engine.store.cols[2, 0, :, 0] > 0]
        assert minute_sums.sum() == kept


def test_a_part_that_fails_is_counted_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with manual() as engine:
        assert engine.account.ticker is not None

        def fail() -> None:
            raise RuntimeError("planted")

        with caplog.at_level(logging.ERROR):
            engine.account.ticker.tick.part("planted", fail)
        feed(engine, "a", 1.0, 2)
        assert tick_of(engine)["errors"] == 1
        assert engine.mean("a", "10s") == 1.0
        assert "the tick's part 'planted' failed" in caplog.text


def test_series_that_are_idle_give_their_place_back_and_those_that_are_held_keep_it() -> None:
    with manual(config={"limits": {"series": 100}}) as engine:
        held = engine.series("held")
        for number in range(50):
            engine.metric(f"short.lived{number}", 1.0)
        held.add(1.0)
        engine.advance(1)
        assert engine.store.series_live == 51
        engine.advance(11 * 60)  # the engine's own cache of series is emptied now and then
        engine.advance(66 * 60)
        assert engine.store.series_live == 1
        held.add(5.0)
        engine.advance(1)
        assert engine.mean("held", "1s") == 5.0


def test_an_hour_of_ticks_keeps_every_window_exact() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 3500)
        feed(engine, "a", 2.0, 100)
        assert engine.mean("a", "1h") == pytest.approx((3500 + 200) / 3600)
        assert engine.mean("a", "100s") == pytest.approx(2.0)
        assert engine.value("count(a, 1h)") == 3600.0
