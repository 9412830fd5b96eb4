"""`timed`: whatever it wraps, one sample in milliseconds comes of it, and nothing of the work changes."""

import asyncio
import inspect
import math
import threading

import pytest
from tests.client_listener import Listener

from hms_ops.client import Client
from hms_ops.client.timed import Timed


class Records:
    """Takes the place of `Client.metric`, the function that Timed is handed."""

    def __init__(self) -> None:
        self.all: list[tuple[str, float, str | None, object]] = []

    def __call__(self, name, value, kind, tags, /):
        self.all.append((name, value, kind, tags))

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.all]

    @property
    def ms(self) -> list[float]:
        return [value for _, value, *_ in self.all]


@pytest.fixture
def records():
    return Records()


@pytest.fixture
def timed(records):
    return Timed(records, "finance.api_ms", {"agency": "irs"})


def _busy_until(moment: threading.Event | None = None, turns: int = 20_000) -> int:
    return sum(range(turns))


def test_a_function_keeps_its_name_arguments_and_result(timed, records):
    @timed
    def pay(claim: int, *, amount: int = 1) -> tuple[int, int]:
        """Pay a claim."""
        return claim, amount

    assert pay(7, amount=3) == (7, 3)
    assert (pay.__name__, pay.__doc__) == ("pay", "Pay a claim.")
    assert str(inspect.signature(pay)).startswith("(claim: int, *, amount: int = 1)")
    [(name, ms, kind, tags)] = records.all
    assert (name, kind, tags) == ("finance.api_ms", "timer", {"agency": "irs"})
    assert 0 <= ms < 1_000


def test_milliseconds_are_milliseconds(timed, records):
    never = threading.Event()
    with timed:
        never.wait(0.05)
    assert 50 <= records.ms[0] < 5_000


def test_an_exception_passes_and_is_timed(timed, records):
    @timed
    def fail() -> None:
        raise KeyError("claim")

    with pytest.raises(KeyError, match="claim"):
        fail()
    with pytest.raises(ZeroDivisionError), timed:
        _ = 1 / 0
    assert records.names == ["finance.api_ms"] * 2


def test_a_method_is_timed(timed, records):
    class Service:
        @timed
        def pay(self, amount: int) -> int:
            return amount

    assert Service().pay(5) == 5
    assert len(records.all) == 1


def test_a_recursive_function_is_timed_at_each_depth(timed, records):
    @timed
    def down(depth: int) -> int:
        return depth and down(depth - 1)

    down(4)
    assert len(records.all) == 5
    assert records.ms == sorted(records.ms)


def test_one_object_may_be_entered_again(timed, records):
    with timed:
        with timed:
            _busy_until()
        _busy_until()
    inner, outer = records.ms
    assert inner < outer


def test_threads_share_one_object(timed, records):
    barrier = threading.Barrier(8)

    def work() -> None:
        for _ in range(200):
            with timed:
                pass
        barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records.all) == 1_600
    assert not any(math.isnan(ms) for ms in records.ms)


def test_a_coroutine_function_stays_one_and_is_timed_to_its_end(timed, records):
    @timed
    async def pay(claim: int) -> int:
        await asyncio.sleep(0.02)
        return claim

    assert inspect.iscoroutinefunction(pay)
    assert asyncio.run(pay(3)) == 3
    assert records.ms[0] >= 19


def test_a_cancelled_coroutine_is_timed(timed, records):
    @timed
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(wait_for_ever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert len(records.all) == 1


def test_tasks_that_interleave_keep_their_own_times(timed, records):
    async def hold(entered: asyncio.Event, leave: asyncio.Event) -> None:
        async with timed:
            entered.set()
            await leave.wait()

    async def interleave() -> None:
        events = [asyncio.Event() for _ in range(4)]
        first = asyncio.create_task(hold(events[0], events[1]))
        await events[0].wait()
        await asyncio.sleep(0.03)
        second = asyncio.create_task(hold(events[2], events[3]))
        await events[2].wait()
        events[1].set()  # the first to enter leaves first
        await first
        events[3].set()
        await second

    asyncio.run(interleave())
    first_ms, second_ms = records.ms
    assert first_ms >= 29
    assert second_ms < first_ms


def test_a_generator_is_timed_until_it_ends(timed, records):
    @timed
    def count(limit: int):
        got = yield 0
        yield got
        return limit

    running = count(3)
    assert (next(running), running.send("sent")) == (0, "sent")
    assert records.all == []
    with pytest.raises(StopIteration, match="3"):
        next(running)
    assert len(records.all) == 1


def test_an_asynchronous_generator_comes_back_as_it_was_and_is_counted(timed, records):
    async def stream():
        yield 1

    assert timed(stream) is stream
    assert math.isnan(records.ms[0])


def test_generators_that_take_turns_with_different_objects_keep_their_own_times(records):
    def hold(name: str):
        with Timed(records, name, None):
            yield

    first, second = hold("first"), hold("second")
    next(first)
    next(second)
    next(first, None)
    next(second, None)
    assert records.names == ["first", "second"]
    assert not any(math.isnan(ms) for ms in records.ms)


def test_leaving_what_was_never_entered_raises_nothing(timed, records):
    timed.__exit__(None, None, None)
    assert math.isnan(records.ms[0])


def test_a_client_sends_what_was_timed():
    with Listener() as listener, Client(listener.url) as client:
        with client.timed("finance.api", tags={"agency": "irs"}):
            pass
        client.flush()
        [line] = listener.receive(1)
        assert line.startswith("finance.api:")
        assert line.endswith("|ms|#agency:irs")


@pytest.mark.parametrize(("name", "tags"), [("", None), (None, None), ("x", ["a"]), ("x", {"a": object()})])
def test_a_bad_name_or_tag_never_reaches_the_work(name, tags):
    with Client("udp://127.0.0.1:9") as client:
        work = client.timed(name, tags=tags)(lambda: 7)
        assert work() == 7
        with client.timed(name, tags=tags):
            pass
        assert client.counters()["dropped_invalid"] == 2
