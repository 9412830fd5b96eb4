"""Real sockets: what arrives is taken, stopping drains, and every problem of opening is one line."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.receiving import Sender, listening, start, stop
from tests.stores import books_are_balanced, make_store, row, value_of

from hms_ops._ring import Store
from hms_ops.collector._udp import Loop
from hms_ops.collector.listener import ListenerConfig, open_listeners, source_text
from hms_ops.errors import StartError
from hms_ops.quantity import Address

WaitUntil = Callable[..., None]


def test_datagrams_of_all_formats_arrive(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store) as [listener]:
        sender = Sender(listener)
        sender.send(b"a:1|g\nb:2|c", b'{"metric":"c","value":3}', b"\x82\xa6metric\xa1d\xa5value\x04", b"")
        wait_until(lambda: row(store, listener.name)["received"] == 4)
        sender.close()
    counters = row(store, listener.name)
    assert (counters["accepted"], counters["rejected"], counters["samples"]) == (3, {"empty": 1}, 4)
    assert [value_of(store, name) for name in "abcd"] == [1.0, 2.0, 3.0, 4.0]


def test_a_datagram_of_65507_bytes_arrives_whole(wait_until: WaitUntil) -> None:
    store = make_store()
    data = b"pp:" + b"1:" * 32_750 + b"11|c"
    with listening(store) as [listener]:
        sender = Sender(listener)
        sender.send(data, data, b"a:1|g")
        wait_until(lambda: row(store, listener.name)["received"] == 3)
        sender.close()
    assert len(data) == 65_507
    assert row(store, listener.name)["samples"] == 2 * data.count(b":") + 1


def test_a_longer_datagram_than_allowed_is_rejected_as_truncated(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store, datagram_bytes=512) as [listener]:
        sender = Sender(listener)
        sender.send(b"a:1|g\n" * 85 + b"\n\n", b"a:1|g\n" * 85 + b"\n\n\n", b"b:1|g")
        wait_until(lambda: row(store, listener.name)["received"] == 3)
        sender.close()
    counters = row(store, listener.name)
    assert (counters["rejected"], counters["samples"]) == ({"truncated": 1}, 86)
    assert store.rejects()[0]["reason"] == "truncated"


def test_a_datagram_after_a_longer_one_shows_nothing_of_it(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store) as [listener]:
        sender = Sender(listener)
        for i in range(300):
            sender.send(b"long:1|g|#some:tags,that:are,rather:long\n" * 20, b"s:%d|g" % i, b"x")
        wait_until(lambda: row(store, listener.name)["received"] == 900)
        sender.close()
    counters = row(store, listener.name)
    assert counters["samples"] == 300 * 21
    assert counters["bad"] == {"syntax": 300}


def test_escaped_names_in_many_datagrams_of_one_batch_are_all_read(wait_until: WaitUntil) -> None:
    """More unescaped text than the arena holds waits in the socket before the loop begins."""
    store = make_store()
    element = b'{"metric":"' + b"\\u0061" * 190 + b'","value":1,"pad":"' + b"\\n" * 900 + b'"}'
    with listening(store, is_started=False) as listeners:
        sender = Sender(listeners[0])
        sender.send(*[b"[" + element + b"," + element + b"]"] * 60)
        start(listeners)
        wait_until(lambda: row(store, listeners[0].name)["received"] == 60)
        sender.close()
    assert row(store, listeners[0].name)["samples"] == 120


def test_stopping_takes_what_is_queued() -> None:
    store = make_store()
    with listening(store, is_started=False) as listeners:
        sender = Sender(listeners[0])
        sender.send(*[b"a:1|c"] * 500)
        listeners[0].stop()
        start(listeners)
    sender.close()
    assert row(store, listeners[0].name)["received"] == 500 - listeners[0].kernel_drops()


def test_stopping_a_silent_listener_is_quick_and_counts_no_phantom() -> None:
    store = make_store()
    for _ in range(20):
        with listening(store) as [listener]:
            begin = time.monotonic()
        assert time.monotonic() - begin < 2.0
        assert row(store, listener.name)["received"] == 0
        assert listener.problem() == ""
        assert listener.address is None


def test_an_inherited_socket_outlives_its_listener_and_keeps_what_comes_between(wait_until: WaitUntil) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as original, contextlib.ExitStack() as opened:
        original.bind(("127.0.0.1", 0))
        for text in (b"first:1|g", b"between:1|g"):
            store = make_store()
            with listening(store, handed_over=(original,), udp=0) as [listener]:
                sender = Sender(listener)
                opened.callback(sender.close)
                if text == b"first:1|g":
                    sender.send(text)
                wait_until(lambda text=text, store=store: value_of(store, str(text[:-4], "ascii")) == 1.0)
            sender.send(b"between:1|g")
        assert original.recv(100) == b"between:1|g"


def test_a_socket_that_is_no_datagram_socket_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        pytest.raises(StartError, match="no datagram socket"),
    ):
        open_listeners(make_store(), ListenerConfig(), [stream])


@pytest.mark.parametrize("sockets_each", [1, 2])
def test_a_port_in_use_is_one_line_that_says_what_to_do(sockets_each: int) -> None:
    for shared in (False, True):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            if shared:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            config = ListenerConfig(udp=(Address("127.0.0.1", port),), sockets_each=sockets_each)
            with pytest.raises(StartError) as caught:
                open_listeners(make_store(), config)
        text = str(caught.value)
        assert text.startswith(f"udp 127.0.0.1:{port}: ")
        assert "another program receives there" in text
        assert "\n" not in text


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (Address("192.0.2.1", 0), "no address of this host"),
        (Address("no.such.host.invalid", 1), "name an address of this host"),
    ],
)
def test_an_address_that_is_not_ours_is_refused(address: Address, words: str) -> None:
    with pytest.raises(StartError, match=words):
        open_listeners(make_store(), ListenerConfig(udp=(address,)))


def test_several_listeners_share_a_port_and_no_datagram_is_lost(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store, udp=4) as listeners:
        assert len({listener.address for listener in listeners}) == 1
        assert len({listener.name for listener in listeners}) == 4
        senders = [Sender(listeners[0]) for _ in range(40)]
        for sender in senders:
            sender.send(*[b"a:1|c\nb:1|g"] * 25)
            sender.close()
        wait_until(lambda: sum(row(store, listener.name)["received"] for listener in listeners) == 1000)
        assert sum(row(store, listener.name)["received"] > 0 for listener in listeners) > 1
    assert sum(row(store, listener.name)["samples"] for listener in listeners) == 2000


def test_a_unix_datagram_socket_works_like_udp(tmp_path: Path, wait_until: WaitUntil) -> None:
    store, path = make_store(), tmp_path / "hms.sock"
    with listening(store, udp=0, unix=path) as [listener]:
        assert listener.name == f"unix:{path}"
        assert listener.address is None
        sender = Sender(listener)
        sender.send(b"a:5|g", b"", b"junk")
        wait_until(lambda: row(store, listener.name)["received"] == 3)
        sender.close()
    counters = row(store, listener.name)
    assert (counters["samples"], counters["rejected"], counters["bad"]) == (1, {"empty": 1}, {"syntax": 1})
    assert {source_text(reject["source"]) for reject in store.rejects()} == {""}
    assert not path.exists()


def test_a_dead_unix_socket_is_replaced_and_a_live_one_or_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "hms.sock"
    config = ListenerConfig(unix=path)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(path))
    dead.close()
    with listening(make_store(), udp=0, unix=path), pytest.raises(StartError, match="another program receives there"):
        open_listeners(make_store(), config)
    path.write_text("precious")
    with pytest.raises(StartError, match="a file that is no socket"):
        open_listeners(make_store(), config)
    assert path.read_text() == "precious"


def test_ipv6_is_received_and_named(wait_until: WaitUntil) -> None:
    store = make_store()
    try:
        listeners = open_listeners(store, ListenerConfig(udp=(Address("::1", 0),)))
    except StartError as error:
        pytest.skip(f"no IPv6 here: {error}")
    start(listeners)
    sender = Sender(listeners[0])
    sender.send(b"junk")
    wait_until(lambda: store.rejects())
    port = sender.sock.getsockname()[1]
    sender.close()
    stop(listeners)
    assert source_text(store.rejects()[0]["source"]) == f"[::1]:{port}"
    assert listeners[0].name.startswith("udp:[::1]:")


def test_the_last_100_rejects_are_kept_with_reason_source_and_text(wait_until: WaitUntil) -> None:
    store = make_store()
    with listening(store) as [listener]:
        first, second = Sender(listener), Sender(listener)
        for i in range(80):
            first.send(b"junk%d" % i)
            wait_until(lambda i=i: row(store, listener.name)["received"] == 2 * i + 1)
            second.send(b"good:1|g\nn%d:x|g\n{not json" % i)
            wait_until(lambda i=i: row(store, listener.name)["received"] == 2 * i + 2)
        rejects = store.rejects()
        sources = [f"127.0.0.1:{sender.sock.getsockname()[1]}" for sender in (first, second)]
        first.close()
        second.close()
    assert len(rejects) == 100
    assert [(source_text(r["source"]), r["reason"], r["text"]) for r in rejects[:3]] == [
        (sources[1], "syntax", b"{not json"),
        (sources[1], "number", b"n79:x|g"),
        (sources[0], "syntax", b"junk79"),
    ]
    assert {reject["input"] for reject in rejects} == {listener.name}


def test_each_reject_of_a_batch_names_its_own_sender(wait_until: WaitUntil) -> None:
    """Also those that only the store refuses, and when a batch has more rejects than are kept of it."""
    store = make_store()
    store.ingest(b"known:1|c")
    with listening(store, is_started=False) as listeners:
        senders = [Sender(listeners[0]) for _ in range(6)]
        for i, sender in enumerate(senders):
            sender.send(b"known:%d|g" % i if i % 2 else b"junk%d" % i)
        ports = {sender.sock.getsockname()[1]: i for i, sender in enumerate(senders)}
        senders[0].send(*[b"known:9|g"] * 20)
        start(listeners)
        wait_until(lambda: row(store, listeners[0].name)["received"] == 26)
        for sender in senders:
            sender.close()
    found = {ports[int(source_text(r["source"]).rpartition(":")[2])] for r in store.rejects() if r["text"] != b"known"}
    assert found == {0, 2, 4}
    conflicts = [
        ports[int(source_text(r["source"]).rpartition(":")[2])] for r in store.rejects() if r["text"] == b"known"
    ]
    assert set(conflicts) <= {0, 1, 3, 5}
    assert row(store, listeners[0].name)["bad"] == {"syntax": 3, "kind_conflict": 23}


def test_the_granted_buffer_is_read_back_and_told_as_a_stall(wait_until: WaitUntil) -> None:
    with listening(make_store(), buffer_bytes=1 << 20) as [listener]:
        granted = listener.buffer_bytes()
        assert granted >= 200_000
        assert listener.stall_ms() == pytest.approx(granted / 2304 / 350)
    assert listener.buffer_bytes() == 0


def test_a_closed_descriptor_ends_the_loop_with_a_problem() -> None:
    store = make_store()
    loop = Loop(store, 1 << 20, store.add_input("broken"))
    loop.run()
    assert loop.error != 0
    assert loop.busy.dtype == np.uint64
    assert loop.busy.shape == (40,)


@pytest.mark.parametrize("datagram_bytes", [0, 65_508])
def test_a_datagram_limit_out_of_range_is_named(datagram_bytes: int) -> None:
    store = make_store()
    with pytest.raises(ValueError, match=f"datagram_bytes is {datagram_bytes}"):
        Loop(store, 0, store.add_input("x"), datagram_bytes)


def test_more_inputs_than_the_ledger_has_rows_are_refused() -> None:
    store = make_store()
    for i in range(62):
        store.add_input(f"input{i}")
    with pytest.raises(ValueError, match="one too many"):
        store.add_input("last")
    with pytest.raises(StartError, match="listen on fewer sockets"):
        open_listeners(store, ListenerConfig(udp=(Address("127.0.0.1", 0),)))


def test_listeners_calls_bodies_and_ticks_at_once_lose_nothing(wait_until: WaitUntil) -> None:
    store = make_store()
    store = Store(1000)
    with listening(store, udp=2) as listeners:

        def send(number: int) -> None:
            sender = Sender(listeners[0])
            for i in range(400):
                sender.send(b"wire:1|c\njunk\nwire%d:1|c|#i:%d" % (number, i % 5))
                store.ingest(b"body:1|c")
                if i % 50 == 0:
                    received = sum(row(store, one.name)["received"] for one in listeners)
                    with contextlib.suppress(AssertionError):
                        wait_until(
                            lambda r=received: sum(row(store, one.name)["received"] for one in listeners) > r, 0.05
                        )
            sender.close()

        threads = [threading.Thread(target=send, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            store.seal(store.now_ns() // 1_000_000_000 - 1)
            store.merge_late()
            assert all(books_are_balanced(counters) for counters in store.ledger_rows().values())
        drops = sum(listener.kernel_drops() for listener in listeners)
        wait_until(lambda: sum(row(store, one.name)["received"] for one in listeners) == 1200 - drops)
    assert row(store)["samples"] == 1200
