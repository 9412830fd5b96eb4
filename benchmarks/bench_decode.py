"""Decode a 1,432-byte datagram into the store, beside what others take only to read it.

    python -m pytest benchmarks/bench_decode.py

Ours reads, interns and appends; the outsiders stop when they have Python objects: the standard library's json,
msgpack's C extension, and the shortest StatsD parser one would write. `ns_per_sample` is the median. Many series, and
the limits in C, are in `python -m benchmarks --only decode`.
"""

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest

from benchmarks.decode import Case, datagrams_of, store_of

SERIES = 1_000
TEXT_BYTES = 4 << 20
ROUNDS = 15

Read = Callable[[bytes], Sequence[Any]]


def statsd_split(datagram: bytes) -> Sequence[Any]:
    """What a service would write in a minute: no tags, no rates, no checks."""
    found = []
    for line in datagram.split(b"\n"):
        name, _, rest = line.partition(b":")
        value, _, kind = rest.partition(b"|")
        found.append((name.decode(), float(value), kind))
    return found


OUTSIDERS: dict[str, tuple[str, Read]] = {
    "statsd": ("split in Python", statsd_split),
    "json": ("json.loads", json.loads),
    "msgpack": ("msgpack.unpackb", msgpack.unpackb),
}


def tell(benchmark: Any, samples: int) -> None:
    ns = statistics.median(benchmark.stats.stats.data) / samples * 1e9
    benchmark.extra_info.update(
        ns_per_sample=round(ns, 1),
        samples_per_second=round(1e9 / ns),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    print(f"\n{benchmark.name}: {ns:.1f} ns a sample, {1e3 / ns:.1f} M samples/s")


@pytest.mark.benchmark(group="decode a 1,432-byte datagram")
@pytest.mark.parametrize("line_format", OUTSIDERS)
def test_ours(benchmark: Any, line_format: str) -> None:
    datagrams, lines = datagrams_of(Case(line_format, SERIES, 0), TEXT_BYTES)
    store = store_of(SERIES)

    def ingest() -> None:
        for datagram in datagrams:
            store.ingest(datagram)

    benchmark.pedantic(ingest, rounds=ROUNDS, warmup_rounds=1)
    row = store.ledger_rows()["in-process"]
    assert row["samples"] == (ROUNDS + 1) * lines
    assert store.series_live == SERIES
    tell(benchmark, lines)


@pytest.mark.benchmark(group="decode a 1,432-byte datagram")
@pytest.mark.parametrize(("line_format", "outsider"), [(name, text) for name, (text, _) in OUTSIDERS.items()])
def test_outsiders(benchmark: Any, line_format: str, outsider: str) -> None:
    datagrams, lines = datagrams_of(Case(line_format, SERIES, 0), TEXT_BYTES)
    read = OUTSIDERS[line_format][1]
    assert sum(len(read(datagram)) for datagram in datagrams) == lines

    def read_all() -> None:
        for datagram in datagrams:
            read(datagram)

    benchmark.pedantic(read_all, rounds=3, warmup_rounds=1)
    tell(benchmark, lines)
