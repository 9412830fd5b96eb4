"""Decode + intern + append from memory, one thread: 1,432-byte datagrams through `Store.ingest`, one after the other.

64 MiB of datagrams, so that they come from memory and not from a cache. The first pass, which meets the series, is not
counted. Between passes the second is sealed, as the tick does it beside the listener; a pass falls into one second. ns
are of the thread's CPU, kernel included, for us and for the limit.
"""

import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figure import Figure, Pace
from benchmarks.native import decode_limit
from hms_ops._load import Load
from hms_ops._ring import Store

DATAGRAM_BYTES = 1432
TEXT_BYTES = 64 << 20
FIRST_SECOND = 1_700_000_000
SECOND_NS = 1_000_000_000
IN_ORDER_SERIES_MAX = 4096


@dataclass(frozen=True)
class Case:
    """A format and a number of series, with the most it may cost in ns a line (a sample)."""

    line_format: str
    series: int
    ns_at_most: float


CASES = (
    Case("statsd", 1_000, 28),
    Case("statsd", 100_000, 65),
    Case("statsd", 1_000_000, 75),
    Case("json", 1_000, 55),
    Case("msgpack", 1_000, 35),
)


def datagrams_of(case: Case, text_bytes: int = TEXT_BYTES) -> tuple[Sequence[bytes], int]:
    """(datagrams, lines in them): few series in order, many at random."""
    in_order = case.series <= IN_ORDER_SERIES_MAX
    load = Load(case.line_format, case.series, DATAGRAM_BYTES, text_bytes // DATAGRAM_BYTES, in_order)
    return list(load), load.lines


def store_of(series: int) -> Store:
    return Store(series, now_ns=FIRST_SECOND * SECOND_NS)


def seal(store: Store) -> None:
    """The second is over: what the tick does with it."""
    second = store.now_ns() // SECOND_NS
    store.set_now_ns((second + 1) * SECOND_NS)
    store.seal(second)
    store.clear_ahead(second + 3)


def ns_per_line(case: Case, rounds: int, text_bytes: int = TEXT_BYTES) -> list[float]:
    """One value a round; AssertionError when the ledger has not exactly what was given."""
    datagrams, lines = datagrams_of(case, text_bytes)
    store = store_of(case.series)
    found = []
    gc.disable()
    for _ in range(1 + rounds):
        begun = time.thread_time_ns()
        deque(map(store.ingest, datagrams), maxlen=0)
        found.append((time.thread_time_ns() - begun) / lines)
        seal(store)
    gc.enable()
    row = store.ledger_rows()["in-process"]
    assert row["samples"] == lines * (1 + rounds), row
    assert not row["bad"], row
    assert not store.counters()["overflow_samples"]
    return found[1:]


def measure(pace: Pace) -> list[Figure]:
    figures = []
    for case in CASES:
        rounds = pace.rounds + 2
        limit = decode_limit(case.series, rounds)
        what = f"decode + intern + append, {case.line_format}, {case.series:,} series"
        order = "" if case.series <= IN_ORDER_SERIES_MAX else " in random order"
        figures.append(
            Figure(
                f"decode.{case.line_format}.{case.series}",
                what + order,
                "ns a line" if case.line_format == "statsd" else "ns a sample",
                ns_per_line(case, rounds, pace.part(TEXT_BYTES)),
                at_most=case.ns_at_most,
                beside="the same in C without checks" + (", StatsD" if case.line_format != "statsd" else ""),
                beside_rounds=limit,
            )
        )
    return figures
