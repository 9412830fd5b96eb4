"""A store on a manual clock, and short ways to look into it."""

import math
from typing import Any

from hms_ops._ring import Store

SECOND_NS = 1_000_000_000
NOW = 1_700_000_000  # of every manual clock, Unix seconds; a multiple of 10, 20 s into a minute
COUNT, SUM, M2, MIN, MAX, LAST = range(6)
IN_PROCESS = 1


def make_store(series_max: int = 1000, now: float = NOW, **settings: Any) -> Store:
    return Store(series_max, now_ns=int(now * SECOND_NS), **settings)


def move_to(store: Store, now: float) -> None:
    """Move the clock and seal everything before that second, as a tick would."""
    store.set_now_ns(int(now * SECOND_NS))
    store.seal(int(now) - 1)


def row(store: Store, name: str = "in-process") -> dict[str, Any]:
    """One input's counters in the ledger."""
    counters: dict[str, Any] = store.ledger_rows()[name]
    return counters


def bad_of(data: bytes, store: Store | None = None) -> dict[str, int]:
    """What the ledger says is bad about one datagram."""
    store = store or make_store()
    before = row(store)["bad"]
    store.ingest(data)
    after: dict[str, int] = row(store)["bad"]
    return {reason: n - before.get(reason, 0) for reason, n in after.items() if n > before.get(reason, 0)}


def rejected_of(data: bytes) -> dict[str, int]:
    """Why the ledger says that one datagram is rejected whole."""
    store = make_store()
    assert store.ingest(data) == 0
    rejected: dict[str, int] = row(store)["rejected"]
    assert row(store)["values"] == 0
    assert store.series_live == 0
    return rejected


def value_of(store: Store, name: str, tags: dict[str, str] | None = None) -> float:
    """The newest raw value of a series, NaN when it has none."""
    slot = store.slot(name, tags)
    if slot < 0:
        return math.nan
    _, values = store.recent(slot)
    return float(values[-1]) if len(values) else math.nan


def cell(store: Store, name: str, second: int, tags: dict[str, str] | None = None, tier: int = 0) -> tuple[float, ...]:
    """(count, sum, m2, min, max, last) of a sealed step; all zero when nothing was seen."""
    step = second // (1, 10, 60)[tier]
    fields = store.cols[tier, :, step % 64, store.slot(name, tags)]
    return tuple(map(float, fields)) if fields[COUNT] else (0.0,) * 6


def books_are_balanced(counters: dict[str, Any]) -> bool:
    """The two identities of a ledger row that hold without a kernel."""
    return bool(
        counters["received"] == counters["accepted"] + sum(counters["rejected"].values())
        and counters["values"] == counters["samples"] + sum(counters["bad"].values())
    )
