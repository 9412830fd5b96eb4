"""Random datagrams through the decoder and through a real socket, checked against the slow twins.

    python tests/fuzz.py --datagrams 1000000 [--seed S] [--plant]

Three sources in turn: datagrams built from the grammar of each format, those with bytes changed, cut, repeated or
mixed, and plain noise. Each goes through `Store.ingest` and the twins; one round in UDP_SHARE also through a listener
whose socket may drop. After every round the books must close, kinds, cells, rings, sketches and members must equal the
twin's, and nothing may have crashed: run it with the sanitizers (`make fuzz`).

`--plant` changes one datagram on its way into the store and must be found: exit code 0 when it was. Otherwise 1 means a
difference, printed with the seed and the datagram that shows it.
"""

import argparse
import json
import math
import random
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgpack
import numpy as np
from tests.reference.cells import TIMINGS, Series, StoreTwin

from hms_ops._ring import Store
from hms_ops._sketch import count, from_values
from hms_ops.books import ledger_of
from hms_ops.collector.listener import ListenerConfig, open_listeners
from hms_ops.quantity import Address

NOW = 1_700_000_000
SECOND_NS = 1_000_000_000
ROUND = 2000  # datagrams between two comparisons
SECONDS_PER_ROUND = 4
RING = 64
UDP_SHARE = 8  # one round in so many also goes through a socket

NAMES = ["a", "b_ms", "c.d", "users", "größe", "x" * 200, "x" * 201, "", "__overflow__", "tab\t", "\x85", "n m"]
TAG_KEYS = ["a", "b", "agency", "__x", "", "ü", "k\x01"]
TAG_VALUES = ["", "1", "irs", "ü", "v" * 60, "http://x:1/", "\n", "1.0"]
KINDS = ["c", "g", "ms", "h", "d", "s", "q", ""]
LONG_KINDS = ["counter", "gauge", "timer", "histogram", "distribution", "set", "ms", "c", "nonsense", ""]
NUMBERS = ["0", "1", "-1", "+5", "240.5", "1e3", "nan", "inf", "1e151", "0x10", "", "1e-320", "9" * 30, ".5", "5."]
NUMBERS += [
    "1_0",
    "-0",
    "9007199254740993",
    "0.1",
    "1e22",
    "1e23",
    "123456789012345678901234567890e-20",
    "1e999999",
    " 1",
]
SECTIONS = ["@0.5", "@1", "@0", "@2", "@1e-9", "@x", "c:ab", "e:x", "zz", "", "Tx"]
SECTIONS += [f"T{NOW + offset}" for offset in (0, -3, -70, -5000, 5000)]

Source = random.Random
Make = Callable[[Source], bytes]


# ---- datagrams ----


def statsd_line(r: Source) -> bytes:
    values = ":".join(
        r.choice(NUMBERS) if r.random() < 0.5 else repr(r.uniform(-1e4, 1e4)) for _ in range(r.choice([1, 1, 1, 2, 5]))
    )
    line = f"{r.choice(NAMES)}{r.randrange(20)}:{values}|{r.choice(KINDS)}"
    if r.random() < 0.5:
        tags = ",".join(f"{r.choice(TAG_KEYS)}:{r.choice(TAG_VALUES)}" for _ in range(r.choice([0, 1, 2, 3, 33])))
        line += "|#" + tags
    for _ in range(r.choice([0, 0, 0, 1, 2])):
        line += "|" + r.choice(SECTIONS)
    return line.encode() + r.choice([b"", b"", b"", b"\r"])


def statsd(r: Source) -> bytes:
    lines = [statsd_line(r) for _ in range(r.choice([1, 1, 3, 10]))]
    return b"\n".join(r.choice([line] * 9 + [b"_e{1,1}:a|b", b"_sc|a|1", b"", b"junk"]) for line in lines)


def a_number(r: Source) -> object:
    return r.choice(
        [0, 1, -1, 240.5, 2**53 + 1, 1e150, 1.1e150, -0.0, 5e-324, r.uniform(-1e3, 1e3), r.randrange(-(2**63), 2**63)]
    )


def a_value(r: Source, depth: int = 0) -> object:
    plain = [None, True, "text", 'ü\n\\"/', "", a_number(r)]
    if depth > 3 or r.random() < 0.7:
        return r.choice(plain)
    if r.random() < 0.5:
        return [a_value(r, depth + 1) for _ in range(r.randrange(4))]
    return {r.choice(["a", "b", "c"]): a_value(r, depth + 1) for _ in range(r.randrange(3))}


def tags(r: Source) -> object:
    if r.random() < 0.1:
        return a_value(r)
    n = r.choice([0, 1, 2, 3, 3, 33])
    return {r.choice(TAG_KEYS) + (str(i) if n > 3 else ""): r.choice([*TAG_VALUES, 1, 1.5, True]) for i in range(n)}


def element(r: Source) -> object:
    if r.random() < 0.03:
        return a_value(r)
    makers: dict[str, Callable[[Source], object]] = {
        "metric": lambda r: f"{r.choice(NAMES)}{r.randrange(20)}",
        "value": a_number,
        "kind": lambda r: r.choice(LONG_KINDS),
        "tags": tags,
        "time": lambda r: NOW + r.choice([0, 0.5, 1, -2, -70, -5000, 700, -NOW]),
        "rate": lambda r: r.choice([1, 0.5, 0, 2, 1e-9, "1"]),
        "other": a_value,
    }
    chosen = ["metric", "value"] * (r.random() < 0.95) + [key for key in makers if r.random() < 0.35]
    r.shuffle(chosen)
    return {key: makers[key](r) if r.random() < 0.96 else a_value(r) for key in chosen}


def document(r: Source) -> object:
    return element(r) if r.random() < 0.5 else [element(r) for _ in range(r.choice([0, 1, 2, 8]))]


def json_document(r: Source) -> bytes:
    return json.dumps(document(r), ensure_ascii=r.random() < 0.5, indent=r.choice([None, None, 1])).encode()


def msgpack_document(r: Source) -> bytes:
    found = document(r)
    try:
        return bytes(msgpack.packb(found, use_single_float=r.random() < 0.2))
    except OverflowError:  # no single float is as large
        return bytes(msgpack.packb(found))


def noise(r: Source) -> bytes:
    return r.choice([b"", b"{", b"[", b"\x82", b"\xdd"]) + r.randbytes(r.choice([0, 1, 5, 60]))


def deep(r: Source) -> bytes:
    return r.choice([b"[", b'{"a":', b"\x91", b"\x81\xa1a"]) * r.randrange(20)


TOKENS = [
    b":",
    b"|",
    b"\n",
    b"#",
    b",",
    b"@",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"\\ud800",
    b"\x00",
    b"\xff",
    b"\xc2",
]
TOKENS += [b"\xc1", b"\xd9", b"\xdf\xff\xff\xff\xff", b"1e", b"-", b"nan", b"true", b"\xc0"]


def mutated(r: Source) -> bytes:
    data = bytearray(r.choice([statsd, json_document, msgpack_document])(r))
    for _ in range(r.choice([1, 1, 2, 5])):
        at = r.randrange(len(data) + 1)
        way = r.randrange(5)
        if way == 0:
            data[at : at + 1] = bytes([r.randrange(256)])
        elif way == 1:
            del data[at : at + r.choice([1, 2, 10])]
        elif way == 2:
            data[at:at] = r.choice(TOKENS)
        elif way == 3:
            data[at:at] = data[r.randrange(len(data) + 1) :][: r.randrange(20)]
        else:
            del data[at:]
    return bytes(data)


def large(r: Source) -> bytes:
    make = r.choice([statsd, json_document, mutated])
    parts = [make(r) for _ in range(r.randrange(1, 60))]
    return b"\n".join(parts)[:65_507]


MAKERS: list[tuple[Make, int]] = [
    (statsd, 25), (json_document, 20), (msgpack_document, 20), (mutated, 30), (noise, 4), (deep, 1), (large, 1),
]  # fmt: skip


def datagram(r: Source) -> bytes:
    return r.choices([make for make, _ in MAKERS], [weight for _, weight in MAKERS])[0](r)


# ---- checks ----


class Difference(Exception):
    """The store and its twin disagree."""


def want(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Difference(f"{what}: got {got!r}, expected {expected!r}")


def check_tally(counters: dict, twin: StoreTwin) -> None:  # type: ignore[type-arg]
    tally = twin.tally
    want("received", counters["received"], tally.received)
    want("rejected", sum(counters["rejected"].values()), tally.rejected)
    want("accepted", counters["accepted"], tally.accepted)
    want("samples", counters["samples"], tally.samples)
    want("bad", counters["bad"], dict(tally.bad))
    want("ignored", counters["ignored"], dict(tally.ignored))
    want(
        "received = accepted + rejected",
        counters["received"],
        counters["accepted"] + sum(counters["rejected"].values()),
    )
    want("values = samples + bad", counters["values"], counters["samples"] + sum(counters["bad"].values()))


def check_series(store: Store, slot: int, series: Series, seconds: range) -> None:
    _, values = store.recent(slot)
    want(
        "ring",
        values.tobytes(),
        struct.pack(f"{len(series.ring[-RING:])}d", *(value for _, value in series.ring[-RING:])),
    )
    for second in seconds:
        got = [float(x) for x in store.cols[0, :, second % 64, slot]]
        cell = series.cells.get(second)
        want(f"second {second} has samples", got[0] != 0, cell is not None)
        if cell is not None:
            want(f"cell of {second}", (*got[:2], *got[3:]), (cell.count, cell.sum, cell.min, cell.max, cell.last))
            if not math.isclose(got[2], cell.m2, rel_tol=1e-6, abs_tol=1e-9 * (cell.max**2 + cell.min**2) * cell.count):
                raise Difference(f"m2 of {second}: got {got[2]!r}, expected {cell.m2!r} of {cell.samples!r}")


def check_sketch(store: Store, slot: int, series: Series, seconds: range) -> None:
    """Weights that are no integers are summed in another order, and rounded differently."""
    if store.series(slot).kind not in TIMINGS:
        return
    [blob] = store.sketch_groups([slot], [0, 1], seconds[0], seconds[-1] + 1)
    values, weights = [value for value, _ in series.timed], [weight for _, weight in series.timed]
    if all(weight == int(weight) < 2**40 for weight in weights):
        want("sketch", blob, from_values(values, weights))
    elif not math.isclose(count(blob), min(math.fsum(weights), 1e300), rel_tol=1e-9):
        raise Difference(f"samples in the sketch: got {count(blob)!r}, expected {math.fsum(weights)!r}")


def check_members(store: Store, slot: int, series: Series, seconds: range) -> None:
    for second in seconds:
        expected = len(series.members.get(second, ()))
        if expected <= 512:
            found = store.distinct(np.array([slot], np.int32), np.zeros(1, np.int64), np.array([second], np.int64))
            want(f"members in {second}", found, float(expected))


def check_store(store: Store, twin: StoreTwin, seconds: range) -> None:
    want("series", store.series_live, len(twin.series))
    for (name, tags), series in twin.series.items():
        slot = store.slot(name.decode(), {key.decode(): value.decode() for key, value in tags})
        if slot < 0:
            raise Difference(f"series {name!r} {tags!r} is not there")
        want(f"kind of {name!r}", store.series(slot).kind, twin.kinds[name][0])
        try:
            check_series(store, slot, series, seconds)
            check_sketch(store, slot, series, seconds)
            check_members(store, slot, series, seconds)
        except Difference as difference:
            raise Difference(f"series {name!r} {tags!r}: {difference}") from None


# ---- rounds ----


def play(datagrams: list[bytes], planted: bool = False) -> None:
    """One round on a fresh store: a few seconds of datagrams, sealed, merged and compared."""
    store, twin = Store(20_000, now_ns=NOW * SECOND_NS), StoreTwin()
    per_second = -(-len(datagrams) // SECONDS_PER_ROUND)
    for i, data in enumerate(datagrams):
        now_ns = (NOW + i // per_second) * SECOND_NS + i
        store.set_now_ns(now_ns)
        twin.feed(data, now_ns)
        store.ingest(damaged(data) if planted and i == len(datagrams) // 2 else data)
    check_tally(store.ledger_rows()["in-process"], twin)
    store.set_now_ns((NOW + SECONDS_PER_ROUND) * SECOND_NS)
    store.seal(NOW + SECONDS_PER_ROUND - 1)
    check_store(store, twin, range(NOW, NOW + SECONDS_PER_ROUND))
    late = sum(second < NOW + SECONDS_PER_ROUND for series in twin.series.values() for second, _, _ in series.late)
    store.merge_late()
    want("late samples merged", store.counters()["late_merged"], late)


def damaged(data: bytes) -> bytes:
    """The planted fault: a value more than was sent."""
    return data + b"\nplanted:1|c" if data[:1].isalpha() else b"planted:1|c"


def play_over_udp(datagrams: list[bytes]) -> None:
    """The same datagrams over loopback: nothing may be lost but what the kernel says it dropped."""
    store = Store(20_000, now_ns=NOW * SECOND_NS)
    config = ListenerConfig(udp=(Address("127.0.0.1", 0),), buffer_bytes=1 << 16)
    [listener] = open_listeners(store, config)
    thread = threading.Thread(target=listener.loop.run)
    thread.start()
    with listener.sock.__class__(listener.sock.family, listener.sock.type) as sender:
        for data in datagrams:
            sender.sendto(data, listener.address or ("", 0))
    end = time.monotonic() + 20
    while ledger_of(store, [listener])["arrived"] < len(datagrams) and time.monotonic() < end:
        time.sleep(0.001)
    listener.stop()
    thread.join()
    ledger = ledger_of(store, [listener])
    listener.close(10.0)
    want("arrived over UDP", ledger["arrived"], len(datagrams))
    want("received = accepted + rejected", ledger["received"], ledger["accepted"] + sum(ledger["rejected"].values()))
    want("values = samples + bad", ledger["values"], ledger["samples"] + sum(ledger["bad"].values()))
    if ledger["kernel_drops"] == 0:
        twin = StoreTwin()
        for data in datagrams:
            twin.feed(data, NOW * SECOND_NS)
        check_tally(store.ledger_rows()[listener.name], twin)


def narrowed(datagrams: list[bytes]) -> list[bytes]:
    """The fewest datagrams, by halving, that still show the difference alone."""
    for half in (datagrams[: len(datagrams) // 2], datagrams[len(datagrams) // 2 :]):
        if half and half != datagrams and differs(half):
            return narrowed(half)
    return datagrams


def differs(datagrams: list[bytes]) -> bool:
    try:
        play(datagrams)
    except Difference:
        return True
    return False


def run(datagrams: int, seed: int, planted: bool) -> str:
    """ "" when all rounds agreed, else what differed."""
    done = number = 0
    begin = time.monotonic()
    while done < datagrams:
        r = random.Random(f"{seed}/{number}")
        stream = [datagram(r) for _ in range(min(ROUND, datagrams - done))]
        try:
            play(stream, planted and done + len(stream) >= datagrams)
            if number % UDP_SHARE == 0:
                play_over_udp(stream)
        except Difference as difference:
            shown = "" if planted else "".join(f"\n  {data!r}" for data in narrowed(stream)[:20])
            return f"seed {seed}, round {number}: {difference}{shown}"
        done += len(stream)
        number += 1
        if sys.stderr.isatty():
            print(f"\r{done:,} datagrams, {done / (time.monotonic() - begin):,.0f} a second ", end="", file=sys.stderr)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datagrams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time, printed")
    parser.add_argument("--plant", action="store_true", help="plant a fault that must be found")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    found = run(arguments.datagrams, seed, arguments.plant)
    if found:
        print(found)
    if arguments.plant:
        print("the planted fault was found" if found else "the planted fault was NOT found")
        return 0 if found else 1
    if not found:
        print(f"{arguments.datagrams:,} datagrams, seed {seed}: store and twin agree, the books close")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
