"""The books: every datagram and every value accounted for, compared with what the sender itself counted."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.receiving import Sender, listening, start
from tests.reference.cells import StoreTwin
from tests.stores import NOW, SECOND_NS, make_store

from hms_ops import kinds
from hms_ops._ring import InProcess, Store
from hms_ops.books import ledger_of, rejects_of
from hms_ops.collector.listener import Listener

WaitUntil = Callable[..., None]

GOOD = [b"a:1|c", b"b:1:2|ms", b"a:1|c\nb:2|h|@0.5", b'{"metric":"j","value":1}', b"\x82\xa6metric\xa1p\xa5value\x04"]
JUNK = [
    b"",
    b"x",
    b"a:x|c\na:1|c",
    b"{",
    b"[{}]",
    b"\xdd\xff\xff\xff\xff\x00",
    b"_sc|x|1",
    b"a:1|g",
    b"\x91\x01",
    b"\n\n",
]
KEYS = {"arrived", "received", "kernel_drops", "accepted", "rejected", "values", "samples", "bad"}


def assert_balanced(ledger: dict[str, Any]) -> None:
    for one in (ledger, *ledger["inputs"].values()):
        assert one["arrived"] == one["received"] + one["kernel_drops"]
        assert one["received"] == one["accepted"] + sum(one["rejected"].values())
        assert one["values"] == one["samples"] + sum(one["bad"].values())


def settled(store: Store, listeners: list[Listener], sent: int) -> Callable[[], bool]:
    return lambda: bool(ledger_of(store, listeners)["arrived"] == sent)


def test_the_ledger_has_exactly_the_contracts_keys() -> None:
    ledger = ledger_of(make_store(), [])
    assert set(ledger) == KEYS | {"inputs"}
    assert all(set(one) == KEYS for one in ledger["inputs"].values())
    assert set(ledger["inputs"]) == {"self", "in-process"}


def test_totals_are_the_sums_of_all_inputs() -> None:
    store = make_store()
    other = store.add_input("http")
    store.ingest(b"a:1|c\nb:x|c\n:1|g")
    store.ingest(b"a:2|c\nb:x|c", other)
    store.ingest(b"", other)
    ledger = ledger_of(store, [])
    assert_balanced(ledger)
    assert ledger["inputs"]["http"] == {
        **{"arrived": 2, "received": 2, "kernel_drops": 0, "accepted": 1, "rejected": {"empty": 1}},
        **{"values": 2, "samples": 1, "bad": {"number": 1}},
    }
    assert (ledger["values"], ledger["bad"]) == (5, {"name_empty": 1, "number": 2})


def test_after_any_mix_the_books_equal_the_twins() -> None:
    source = random.Random(4)
    store, twin = make_store(), StoreTwin()
    for _ in range(3000):
        data = source.choice(GOOD + JUNK)
        store.ingest(data)
        twin.feed(data, NOW * SECOND_NS)
    ledger = ledger_of(store, [])
    assert_balanced(ledger)
    assert (ledger["received"], ledger["accepted"], ledger["samples"]) == (
        3000,
        twin.tally.accepted,
        twin.tally.samples,
    )
    assert ledger["bad"] == dict(twin.tally.bad)


def test_what_a_call_of_ingest_tally_says_is_the_ledgers_difference() -> None:
    store = make_store()
    http = store.add_input("http")
    for data in GOOD + JUNK:
        before = store.ledger_rows()["http"]
        tally = store.ingest_tally(data, http)
        after = store.ledger_rows()["http"]
        for key in ("received", "accepted", "values", "samples"):
            assert tally[key] == after[key] - before[key]


def test_calls_and_bodies_and_datagrams_are_kept_apart(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store) as listeners:
        sender = Sender(listeners[0])
        sender.send(*GOOD, *JUNK)
        InProcess(store).metric("call", 1.0)
        InProcess(store).metric("", 1.0)
        InProcess(store, 0).metric("own", 1.0)
        store.handle("many", kinds.TIMER).add_many(np.array([1.0, np.nan]))
        wait_until(settled(store, listeners, sender.sent + 4))
        ledger = ledger_of(store, listeners)
        sender.close()
    assert_balanced(ledger)
    assert ledger["inputs"][listeners[0].name]["received"] == sender.sent
    assert ledger["inputs"]["in-process"]["received"] == 3
    assert ledger["inputs"]["in-process"]["bad"] == {"name_empty": 1, "nan": 1}
    assert ledger["inputs"]["self"]["samples"] == 1


def test_a_stopped_receiver_loses_datagrams_and_says_exactly_how_many(wait_until: WaitUntil) -> None:
    store = make_store()
    source = random.Random(5)
    with listening(store, is_started=False, buffer_bytes=20_000) as listeners:
        sender = Sender(listeners[0])
        sender.send(*(source.choice(GOOD + JUNK) for _ in range(3000)))
        assert listeners[0].kernel_drops() > 0
        start(listeners)
        wait_until(settled(store, listeners, sender.sent))
        ledger = ledger_of(store, listeners)
        assert ledger["kernel_drops"] + ledger["received"] == 3000
        assert_balanced(ledger)
        for burst in (500, 1, 2000):
            sender.send(*[b"a:1|c\n" * 200] * burst)
            wait_until(settled(store, listeners, sender.sent))
            assert_balanced(ledger_of(store, listeners))
        sender.close()
    ledger = ledger_of(store, listeners)
    assert ledger["arrived"] == sender.sent, "after the socket has closed as well"


def test_several_listeners_and_senders_close_their_books_together(wait_until: WaitUntil, tmp_path: Path) -> None:
    store = make_store()
    with listening(store, udp=3, unix=tmp_path / "s", is_started=False, buffer_bytes=10_000) as listeners:
        senders = [Sender(listeners[0]) for _ in range(30)]
        for sender in senders:
            sender.send(*(GOOD + JUNK) * 10)
        start(listeners)
        local = Sender(listeners[3])
        local.send(*(GOOD + JUNK) * 10)
        senders.append(local)
        wait_until(settled(store, listeners, sum(sender.sent for sender in senders)))
        for sender in senders:
            sender.close()
    ledger = ledger_of(store, listeners)
    assert_balanced(ledger)
    assert ledger["arrived"] == 31 * 150
    assert ledger["inputs"][listeners[3].name]["kernel_drops"] == 0
    assert sum(ledger["inputs"][listener.name]["kernel_drops"] > 0 for listener in listeners) > 0


@pytest.mark.parametrize("series_max", [3, 1000])
def test_overflow_does_not_unbalance_the_books(series_max: int) -> None:
    store = make_store(series_max, late_max=5, set_bytes_max=20_000)
    source = random.Random(6)
    kinds_ = ["c", "g", "ms", "h", "d", "s"]
    for _ in range(2000):
        stamp = source.choice(["", f"|T{NOW - source.randrange(7200)}", "|@0.5"])
        store.ingest(
            f"m{source.randrange(30)}:{source.randrange(9)}|{source.choice(kinds_)}{stamp}|#t:{source.randrange(50)}".encode()
        )
    ledger = ledger_of(store, [])
    assert_balanced(ledger)
    assert ledger["values"] == 2000
    assert (
        {"kind_conflict", "time_too_old", "late_queue_full", "set_memory_full"}
        >= set(ledger["bad"])
        > {"kind_conflict"}
    )


def test_rejects_are_told_as_text() -> None:
    store = make_store()
    store.ingest(b"\x1b[2Jjunk\xff")
    [reject] = rejects_of(store)
    assert (reject["input"], reject["reason"], reject["source"]) == ("in-process", "syntax", "")
    assert reject["text"] == "\x1b[2Jjunk\\xff"
    assert reject["time_ns"] == NOW * SECOND_NS


def test_the_last_hundred_rejects_are_the_newest_even_of_one_batch() -> None:
    store = make_store()
    store.ingest(b"\n".join(b"bad%d" % i for i in range(250)))
    assert [reject["text"] for reject in store.rejects()] == [b"bad%d" % i for i in range(249, 149, -1)]
    store.ingest_tally(b"\n".join(b"new%d:1" % i for i in range(30)) + b"\n" + b"a:1|c\n" * 20_000, 1)
    expected = [b"new%d:1" % i for i in range(29, -1, -1)] + [b"bad%d" % i for i in range(249, 179, -1)]
    assert [reject["text"] for reject in store.rejects()] == expected


@pytest.mark.parametrize("bad", [3, 90, 99, 100, 101, 250])
def test_a_rejected_document_leaves_one_reject_and_no_values(bad: int, wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store, is_started=False) as listeners:
        sender = Sender(listeners[0])
        sender.send(b"\n".join(b"old%d" % i for i in range(20)), b"[" + b"{}," * bad + b"x]", b"after")
        start(listeners)
        wait_until(settled(store, listeners, 3))
        sender.close()
    texts = [reject["text"] for reject in store.rejects()]
    assert texts[0] == b"after"
    assert texts[1].startswith(b"[{},")
    kept = min(20, max(0, 120 - 20 - bad))
    assert texts[2:] == [b"old%d" % i for i in range(19, 19 - kept, -1)]
