"""What a benchmark sends: datagrams of the right shape and size, the same ones each time, counted as they are sent."""

import json
import socket

import msgpack
import pytest

from hms_ops._load import FORMATS, Load
from hms_ops._ring import Store
from hms_ops.load import Plan, Sender


@pytest.mark.parametrize("line_format", FORMATS)
@pytest.mark.parametrize("datagram_bytes", [200, 1432, 65_507])
def test_every_line_is_a_sample_of_its_own_series(line_format: str, datagram_bytes: int) -> None:
    load = Load(line_format, 1_000, datagram_bytes, 100, in_order=True)
    store = Store(1_000)
    assert sum(map(store.ingest, load)) == load.lines
    row = store.ledger_rows()["in-process"]
    assert (row["accepted"], row["samples"], row["bad"]) == (len(load), load.lines, {})
    assert store.series_live == min(1_000, load.lines)
    assert max(map(len, load)) <= datagram_bytes


@pytest.mark.parametrize("line_format", FORMATS)
def test_a_datagram_too_small_for_a_line_has_one(line_format: str) -> None:
    load = Load(line_format, 10, 1, 5)
    assert load.lines == len(load) == 5


def test_json_and_msgpack_hold_what_statsd_says() -> None:
    def read(datagram: bytes) -> list[tuple[str, float]]:
        lines = (line.split(b":") for line in datagram.split(b"\n"))
        return [(name.decode(), float(rest[:-2])) for name, rest in lines]

    statsd = read(Load("statsd", 50, 600, 1)[0])
    for line_format, loads in (("json", json.loads), ("msgpack", msgpack.unpackb)):
        elements = loads(Load(line_format, 50, 600, 1)[0])
        found = [(element["metric"], element["value"]) for element in elements]
        assert found == statsd[: len(found)]


def test_the_same_arguments_make_the_same_bytes_and_random_ids_differ_from_ordered_ones() -> None:
    assert list(Load("tags", 5_000, 1432, 20)) == list(Load("tags", 5_000, 1432, 20))
    assert list(Load("tags", 5_000, 1432, 20)) != list(Load("tags", 5_000, 1432, 20, in_order=True))


@pytest.mark.parametrize(
    ("line_format", "series", "datagram_bytes", "datagrams", "said"),
    [
        ("csv", 1, 100, 1, "statsd, tags, json, msgpack"),
        ("statsd", 0, 100, 1, "series is 0"),
        ("statsd", (1 << 24) + 1, 100, 1, "series is 16777217"),
        ("statsd", 1, 0, 1, "datagram_bytes is 0"),
        ("statsd", 1, 65_508, 1, "datagram_bytes is 65508"),
        ("statsd", 1, 100, 0, "datagrams is 0"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    line_format: str, series: int, datagram_bytes: int, datagrams: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Load(line_format, series, datagram_bytes, datagrams)


def test_a_datagram_beyond_the_last_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        _ = Load("statsd", 1, 100, 3)[3]


def test_a_sender_counts_what_arrives_and_keeps_its_pace() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        sock.bind(("127.0.0.1", 0))
        host, port = sock.getsockname()
        with Sender(Plan(host, port, seconds=0.2, series=100, lines_per_s=20_000)) as sender:
            sender.begin()
            sent = sender.sent()
        received = [sock.recv(65_535) for _ in range(sent.datagrams)]
    assert sum(datagram.count(b"\n") + 1 for datagram in received) == sent.lines
    assert sent.failed == 0
    # Beyond the pace by one batch at most.
    assert sent.lines <= 20_000 * sent.seconds + 32 * 50


def test_a_sender_that_cannot_send_says_so() -> None:
    with Sender(Plan("127.0.0.1", 70_000, seconds=0.1)) as sender:
        sender.begin()
        with pytest.raises(RuntimeError, match="before it was sent"):
            sender.sent()
