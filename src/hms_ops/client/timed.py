"""`ops.timed(name)`: how long something took, in milliseconds, as a timer.

    @ops.timed("finance.api_ms")            functions, coroutine functions, generators
    with ops.timed("finance.api_ms"): …     and `async with`

One object may be entered again before it was left, by many threads and by many tasks. Open entries are a linked list in
a context variable: each thread and each task sees its own, and a task inherits its parent's without disturbing them.
The time is recorded whether the work returned or raised; an exception passes unchanged.

Not here: asynchronous generators. A wrapper cannot pass on what is sent or thrown into one, so they come back unwrapped
and are counted as invalid; use `with` inside.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter_ns
from typing import Any, Protocol, TypeVar

from hms_ops.client.wire import Tags

Function = TypeVar("Function", bound=Callable[..., Any])

_NS_PER_MS = 1e6
_NEVER_ENTERED = float("nan")  # as a duration, counted as invalid


class Record(Protocol):
    """The part of Client.metric that is needed here."""

    def __call__(self, name: str, value: float, kind: str | None, tags: Tags | None, /) -> None: ...


# (whose, start in ns, the entry below or None): a plain tuple, because a NamedTuple takes three times as long to make.
_Entry = tuple["Timed", int, Any]

_entries: ContextVar[_Entry | None] = ContextVar("hms_ops_timed", default=None)


class Timed:
    """A decorator and a context manager, synchronous and asynchronous."""

    __slots__ = ("_name", "_record", "_tags")

    def __init__(self, record: Record, name: str, tags: Tags | None) -> None:
        self._record = record
        self._name = name
        self._tags = tags

    def __enter__(self) -> None:
        _entries.set((self, perf_counter_ns(), _entries.get()))

    def __exit__(self, *error: object) -> None:
        end_ns = perf_counter_ns()
        entry = _entries.get()
        if entry is not None and entry[0] is self:
            _entries.set(entry[2])
        else:
            entry = _take_out(self, entry)
        self._record(self._name, (end_ns - entry[1]) / _NS_PER_MS if entry else _NEVER_ENTERED, "timer", self._tags)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__()

    def __call__(self, function: Function) -> Function:
        """The function, timed, with its own name, signature and kind."""
        import inspect  # heavy, and only decorated code pays for it

        if inspect.isasyncgenfunction(function):
            self._record(self._name, _NEVER_ENTERED, "timer", self._tags)
            return function
        if inspect.iscoroutinefunction(function):
            wrapper = self._coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapper = self._generator(function)
        else:
            wrapper = self._function(function)
        return functools.wraps(function)(wrapper)  # type: ignore[return-value]

    def _function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start_ns = perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                self._since(start_ns)

        return timed

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(*args: Any, **kwargs: Any) -> Any:
            start_ns = perf_counter_ns()
            try:
                return await function(*args, **kwargs)
            finally:
                self._since(start_ns)

        return timed

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start_ns = perf_counter_ns()
            try:
                return (yield from function(*args, **kwargs))
            finally:
                self._since(start_ns)

        return timed

    def _since(self, start_ns: int) -> None:
        self._record(self._name, (perf_counter_ns() - start_ns) / _NS_PER_MS, "timer", self._tags)


def _take_out(whose: Timed, entry: _Entry | None) -> _Entry | None:
    """Remove the newest entry of `whose` from below others, as generators that take turns leave it."""
    above: list[_Entry] = []
    while entry is not None and entry[0] is not whose:
        above.append(entry)
        entry = entry[2]
    if entry is not None:
        rest = entry[2]
        for other, start_ns, _ in reversed(above):
            rest = (other, start_ns, rest)
        _entries.set(rest)
    return entry
