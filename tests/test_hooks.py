"""Handlers in Python: each on its own, bounded, counted, and within a tenth of a core together."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engines import engine_threads, manual

from hms_ops import Alert, hooks
from hms_ops.hooks import HANDLERS_MAX, QUEUE_MAX, Crew, Worker

WaitUntil = Callable[..., None]


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(name=name, target=target, daemon=True)
    thread.start()
    return thread


def test_each_value_of_a_metric_reaches_its_handler_whatever_the_tags(wait_until: WaitUntil) -> None:
    with manual() as engine:
        seen: list[float] = []
        assert engine.on_metric("a")(seen.append) == seen.append
        for value in (1.0, 2.0, 3.0):
            engine.metric("a", value, tags={"n": str(value)})
        engine.metric("b", 9.0)
        engine.ingest(b"a:4|g\na:5:6|g")
        wait_until(lambda: len(seen) == 6)
        assert sorted(seen) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert engine.counters()["on_metric"] == {"delivered": 6, "dropped": 0, "errors": 0, "overdue": 0}


def test_a_batch_handler_takes_arrays_in_order(wait_until: WaitUntil) -> None:
    with manual() as engine:
        batches: list[NDArray[np.float64]] = []
        engine.on_metric("a", batch=True)(batches.append)
        engine.series("a").add_many(np.arange(1000.0))
        wait_until(lambda: sum(map(len, batches)) == 1000)
        assert {(str(batch.dtype), batch.ndim) for batch in batches} == {("float64", 1)}
        assert np.concatenate(batches).tolist() == np.arange(1000.0).tolist()


def test_a_handler_may_be_added_before_the_metric_and_before_the_start(wait_until: WaitUntil) -> None:
    engine = manual()
    seen: list[float] = []
    engine.on_metric("never.seen")(seen.append)
    with engine:
        engine.metric("never.seen", 5.0)
        wait_until(lambda: seen == [5.0])


def test_what_is_queued_at_a_stop_is_still_handed_out() -> None:
    seen: list[float] = []
    with manual() as engine:
        engine.on_metric("a")(seen.append)
        for _ in range(100):
            engine.metric("a", 1.0)
    assert len(seen) == 100


def test_a_handler_that_raises_is_counted_and_called_again(wait_until: WaitUntil, caplog: Any) -> None:
    with manual() as engine:
        seen: list[float] = []

        def fail(value: float) -> None:
            raise RuntimeError("the handler's own mistake")

        engine.on_metric("a")(fail)
        engine.on_metric("a")(seen.append)
        for value in range(50):
            engine.metric("a", float(value))
        wait_until(
            lambda: engine.counters()["on_metric"] == {"delivered": 100, "dropped": 0, "errors": 50, "overdue": 0}
        )
        assert len(seen) == 50
        assert len([record for record in caplog.records if "the handler" in record.message]) == hooks.ERRORS_LOGGED


def test_a_handler_that_hangs_holds_up_no_other_no_tick_and_no_stop(wait_until: WaitUntil) -> None:
    released = threading.Event()
    engine = manual().start()
    try:
        seen: list[float] = []
        engine.on_metric("a")(lambda value: released.wait(30))
        engine.on_metric("a")(seen.append)
        engine.metric("a", 1.0)
        wait_until(lambda: seen == [1.0])
        engine.metric("a", 2.0)
        engine.advance(3)
        wait_until(lambda: seen == [1.0, 2.0])
        begun = time.monotonic()
        engine.stop()
        assert time.monotonic() - begun < 15  # the handler hangs for 30
    finally:
        released.set()
    wait_until(lambda: engine_threads() == [])


def test_a_hanging_alert_handler_holds_up_no_other(wait_until: WaitUntil) -> None:
    released = threading.Event()
    engine = manual().start()
    try:
        seen: list[str] = []
        engine.on_alert()(lambda alert: released.wait(30))
        engine.on_alert()(lambda alert: seen.append(alert.name))
        engine.alert_now("x", 1.0)
        engine.alert_now("y", 1.0)
        wait_until(lambda: seen == ["x", "y"])
    finally:
        released.set()
        engine.stop()


def test_a_handler_that_does_not_come_back_is_named(wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "SLOW_SECONDS", 0.01)
    released = threading.Event()

    def forgetful(value: float) -> None:
        released.wait(30)

    engine = manual().start()
    try:
        engine.on_metric("a")(forgetful)
        engine.metric("a", 1.0)
        wait_until(lambda: any("forgetful" in problem for problem in engine.health()))
    finally:
        released.set()
        engine.stop()
    assert engine.health() == []


def test_a_slow_worker_drops_its_oldest_values_and_counts_them() -> None:
    taken: list[float] = []
    worker = Worker(taken.append, hooks.no_rest)
    for batch in range(QUEUE_MAX // 1000 + 10):
        worker.put([float(batch)] * 1000, 1000)
    crew_of_one = worker
    crew_of_one.start(start_thread, "test-worker")
    worker.stop()
    worker.cut(10)
    assert worker.delivered + worker.dropped == 1000 * (QUEUE_MAX // 1000 + 10)
    assert worker.dropped == 10_000
    assert taken[0] == 10.0


def test_handlers_of_values_take_no_more_than_a_tenth_of_a_core() -> None:
    def burn(value: float) -> None:
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass

    with manual() as engine:
        for _ in range(2):
            engine.on_metric("a")(burn)
        begun, cpu_begun = time.monotonic(), time.process_time()
        while time.monotonic() - begun < 1.5:
            engine.metric("a", 1.0)
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        share = (time.process_time() - cpu_begun) / seconds
        delivered = engine.counters()["on_metric"]["delivered"]
    # A tenth, and for each handler the round it may just have had.
    assert 0 < delivered * 0.002 / seconds < 0.15
    assert share < 0.35  # the loop above and the engine's own threads are in it


def test_too_many_handlers_are_refused() -> None:
    crew = Crew("test")
    for _ in range(HANDLERS_MAX):
        crew.hire(print, hooks.no_rest)
    with pytest.raises(ValueError, match=f"{HANDLERS_MAX} test handlers are there"):
        crew.hire(print, hooks.no_rest)


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_no_metric_can_have_is_refused(name: str) -> None:
    with manual() as engine, pytest.raises(ValueError, match="name"):
        engine.on_metric(name)(print)


def test_a_handler_of_alerts_that_has_had_its_time_is_left_behind_without_another_alert(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr("hms_ops.hooks.ALERT_SECONDS_MAX", 0.5)  # within which a busy machine calls a handler
    monkeypatch.setattr("hms_ops.hooks.RELIEF_SECONDS", 0.01)
    released, heard = threading.Event(), []
    with manual() as engine:

        @engine.on_alert()
        def hang_once(alert: Alert) -> None:
            if alert.name == "first":
                released.wait(30)
            heard.append(alert.name)

        engine.alert_now("first", 1.0)
        engine.alert_now("second", 1.0)
        wait_until(lambda: heard == ["second"])
        assert engine.counters()["on_alert"]["overdue"] == 1
        released.set()
        wait_until(lambda: heard == ["second", "first"])
    wait_until(lambda: engine_threads() == [])  # who was left behind ends by itself


def test_nobody_looks_after_handlers_where_there_are_none() -> None:
    with manual():
        assert [name for name in engine_threads() if "on-alert" in name] == []
