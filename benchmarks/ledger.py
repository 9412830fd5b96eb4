"""Do the books close? A mix of formats, junk and bursts, sent while the daemon is stopped for a second, twice.

The difference is summed over the four equations of the ledger and over what the senders say they sent; it must be 0,
although datagrams are lost on purpose. The buffer is small, so that the stopped daemon does lose some.
"""

import random
import socket
import threading
from typing import Any

from benchmarks.figure import Figure, Pace
from hms_ops.bench import BenchError, Daemon, plan_for, settings_for
from hms_ops.load import Sender

FORMATS = ("statsd", "tags", "json", "msgpack")
BUFFER_BYTES = 4 << 20
STOP_SECONDS = 1.0
JUNK = 10_000
LONG = (b"x" * 65_507, b"[" * 60_000, b"a:" + b"9" * 400)
EDGES = (b"", b"a", b"\n", *LONG, b"\xdd\xff\xff\xff\xff\x80", b"a:1|c|@1e-9")


def send_junk(address: tuple[str, int], count: int, seed: int) -> None:
    """`count` random datagrams, every fourth of them one of the edges."""
    chance = random.Random(seed)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        for n in range(count):
            junk = chance.randbytes(chance.randrange(200))
            sock.send(EDGES[n // 4 % len(EDGES)] if n % 4 == 0 else junk)


def difference(row: dict[str, Any], sent: int) -> int:
    """By how much one input's equations are off, all together."""
    differences: tuple[int, ...] = (
        row["arrived"] - sent,
        row["arrived"] - row["received"] - row["kernel_drops"],
        row["received"] - row["accepted"] - sum(row["rejected"].values()),
        row["values"] - row["samples"] - sum(row["bad"].values()),
    )
    return sum(map(abs, differences))


def one_mix(seconds: float, junk: int, stop_seconds: float) -> tuple[int, dict[str, Any]]:
    """(difference, the row of the socket)."""
    with Daemon({**settings_for(10_000), "receive_buffer": BUFFER_BYTES}) as daemon:
        plans = [plan_for(daemon, seconds, series=5_000, line_format=name) for name in FORMATS]
        senders = [Sender(plan) for plan in plans]
        send_junk(daemon.udp_address, junk, 0)  # before the storm, so that most of it is looked at
        noise = threading.Thread(target=send_junk, args=[daemon.udp_address, junk, 1])
        noise.start()
        for sender in senders:
            sender.begin()
        for _ in range(2):
            daemon.stop_for(stop_seconds)
        sent = sum(sender.sent().datagrams for sender in senders) + 2 * junk
        noise.join()
        for sender in senders:
            sender.__exit__(None, None, None)
        row = daemon.settled(sent)
    if not (row["kernel_drops"] and row["rejected"] and row["bad"] and row["samples"]):
        raise BenchError(f"the mix was too tame to show anything: {row}")
    # A harness that cannot see one missing sample proves nothing.
    assert difference({**row, "samples": row["samples"] - 1}, sent) == difference(row, sent) + 1
    return difference(row, sent), row


def measure(pace: Pace) -> list[Figure]:
    found = [one_mix(pace.seconds + 2 * STOP_SECONDS, JUNK, STOP_SECONDS) for _ in range(pace.part(3))]
    last = found[-1][1]
    return [
        Figure(
            "ledger",
            "ledger difference after a mix of load, junk, bursts and a stopped receiver",
            "",
            [off for off, _ in found],
            at_most=0.0,
            note=f"{last['arrived']:,} datagrams, {last['kernel_drops']:,} of them dropped by the kernel, "
            f"{sum(last['rejected'].values()):,} rejected, {sum(last['bad'].values()):,} bad values",
        )
    ]
