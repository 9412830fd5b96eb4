"""The daemon behind a socket: one sender over loopback as fast as it can, CPU of the whole process, kernel included.

Daemon and limit get the same load from the same sender in turn, each on the last core, the sender on the first. What is
lost is reported beside it; where a loss is a fault, it is a row of its own.
"""

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Pace
from benchmarks.native import Receiver
from hms_ops.bench import Daemon, Received, cores, plan_for, receive, settings_for
from hms_ops.load import Plan

NS_AT_MOST = {1_000: 58.0, 100_000: 90.0}
ONE_LINE_BYTES = 1  # a datagram has at least one line
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class InTurn:
    """What the daemon and the limit made of the same load, round by round; stall_ms: what its buffer covers."""

    ours: list[Received]
    limit: list[dict[str, Any]]
    stall_ms: float

    def median(self, value: Callable[[Received], float]) -> float:
        return statistics.median(map(value, self.ours))


def in_turn(pace: Pace, series: int, datagram_bytes: int, limit_name: str, *limit_arguments: int | None) -> InTurn:
    """Daemon, limit, daemon, limit, … with all series known before the first round."""
    sender_cpu, daemon_cpu = cores()
    with (
        tempfile.TemporaryDirectory(prefix="hms-ops-bench-") as data_dir,
        Daemon(settings_for(series), data_dir=Path(data_dir), cpu=daemon_cpu) as daemon,
        Receiver(limit_name, *limit_arguments, daemon_cpu) as limit,
    ):

        def plan(seconds: float) -> Plan:
            return plan_for(daemon, seconds, sender_cpu, series=series, datagram_bytes=datagram_bytes)

        receive(daemon, plan(WARM_UP_SECONDS))
        limit.run(plan(WARM_UP_SECONDS))
        rounds = [(receive(daemon, plan(pace.seconds)), limit.run(plan(pace.seconds))) for _ in range(pace.rounds)]
        return InTurn([ours for ours, _ in rounds], [theirs for _, theirs in rounds], daemon.stall_ms())


def measure(pace: Pace) -> list[Figure]:
    """1,432-byte datagrams, at 1,000 series and at 100,000."""
    figures = []
    for series, ns_at_most in NS_AT_MOST.items():
        found = in_turn(pace, series, 1432, "receive_limit", series)
        figures.append(
            Figure(
                f"receive.{series}",
                f"daemon over loopback UDP, {series:,} series, whole process",
                "ns of CPU a line",
                [run.cpu_ns_per_line for run in found.ours],
                at_most=ns_at_most,
                beside="recvmmsg + the same in C without checks",
                beside_rounds=[run["cpu_ns"] / run["lines"] for run in found.limit],
                note=f"{found.median(lambda run: run.lines_per_s) / 1e6:.1f} M lines/s received",
            )
        )
        figures.append(
            Figure(
                f"receive.{series}.loss",
                f"datagrams lost meanwhile, {series:,} series",
                "%",
                [100 * run.loss for run in found.ours],
                at_most=0.0 if series == 1_000 else None,
                beside="lost by the limit",
                beside_rounds=[100 * run["drops"] / (run["datagrams"] + run["drops"]) for run in found.limit],
                note=f"the buffer covers a stall of {found.stall_ms:.0f} ms",
            )
        )
    return figures


def measure_one_line(pace: Pace) -> list[Figure]:
    """Datagrams of one line, beside a loop that only receives."""
    found = in_turn(pace, 1_000, ONE_LINE_BYTES, "udp_limit")
    loss = found.median(lambda run: run.loss)
    return [
        Figure(
            "one-line",
            "datagrams of one line, whole process",
            "ns of CPU a datagram",
            [run.cpu_ns_per_line for run in found.ours],
            beside="a bare recvmmsg loop",
            beside_rounds=[run["cpu_ns"] / run["datagrams"] for run in found.limit],
            ratio_at_most=1.15,
            note=f"{loss:.1%} lost" if loss else "none lost",
        )
    ]
