"""What SLOs cost: a sample that is judged, a tick that publishes, the sums of a second.

`append`: values through `Store.ingest`, 40 lines a datagram of one metric under many hosts, half of them good at
random, with and without a goal on the metric, in turns, in one process: what is left is the difference. That samples
without a goal cost no more than before there were goals is in the rows `decode.*`.
`publish`: `Objectives.publish` on a manual clock, every SLO with samples in every second; the counts are checked.
"""

import gc
import random
import time
from collections import deque
from typing import Any

from tests.counting import slo

from benchmarks.apart import apart
from benchmarks.figure import Figure, Pace
from hms_ops._ring import Store
from hms_ops.objectives import Objectives

METRIC = "finance.api_ms"
FIRST_SECOND = 1_700_000_000
SECOND_NS = 1_000_000_000
LINES = 400_000
LINES_PER_DATAGRAM = 40
GOAL = (float("-inf"), 50.0, False)

SERIES = (1_000, 100_000)
NS_AT_MOST = {1_000: 5.0}
SLOS = (100, 1_000)
MS_AT_MOST = {100: 5.0, 1_000: 50.0}
TICKS = 30


def datagrams_of(series: int, lines: int) -> list[bytes]:
    rng = random.Random(series)
    made = [f"{METRIC}:{rng.randrange(100)}|ms|#host:h{rng.randrange(series):06}".encode() for _ in range(lines)]
    return [b"\n".join(made[at : at + LINES_PER_DATAGRAM]) for at in range(0, lines, LINES_PER_DATAGRAM)]


class Fed:
    """A store that gets the same second again and again."""

    def __init__(self, series: int, is_judged: bool) -> None:
        self.store = Store(series, now_ns=FIRST_SECOND * SECOND_NS)
        self.second = FIRST_SECOND
        if is_judged:
            self.store.judge(METRIC, [GOAL])

    def round(self, datagrams: list[bytes], lines: int) -> float:
        """ns of CPU a line; then the second is sealed."""
        begun = time.thread_time_ns()
        deque(map(self.store.ingest, datagrams), maxlen=0)
        cost = (time.thread_time_ns() - begun) / lines
        self.second += 1
        self.store.set_now_ns(self.second * SECOND_NS)
        self.store.seal(self.second - 1)
        self.store.clear_ahead(self.second + 2)
        return cost

    def counted(self) -> tuple[float, float]:
        """(good, total) of the last second."""
        slots = self.store.slots(METRIC)
        good, total = (
            self.store.sums_of_second(column, self.second - 1, slots, [0, len(slots)])[0] for column in (8, 0)
        )
        return float(good), float(total)


def append_costs(series: int, lines: int, rounds: int) -> dict[str, Any]:
    """ns a line with and without a goal, a round each in turns."""
    datagrams = datagrams_of(series, lines)
    plain, judged = Fed(series, False), Fed(series, True)
    good = sum(int(line.split(b":")[1].split(b"|")[0]) <= 50 for one in datagrams for line in one.split(b"\n"))
    found: dict[str, list[float]] = {"plain": [], "judged": []}
    gc.disable()
    for _ in range(rounds + 2):
        found["plain"].append(plain.round(datagrams, lines))
        found["judged"].append(judged.round(datagrams, lines))
    gc.enable()
    assert judged.counted() == (good, lines), (judged.counted(), good, lines)
    return {name: costs[2:] for name, costs in found.items()}  # the first ones meet the series and touch the pages


def publish_costs(slos: int, ticks: int) -> list[float]:
    """ms of each publish: one metric, goal and group an SLO, with three samples a second."""
    store = Store(10 * slos + 100, now_ns=FIRST_SECOND * SECOND_NS)
    objectives = Objectives(store)
    objectives.replace([slo(f"s{n}", good=f"api{n}_ms <= 200") for n in range(slos)])
    datagram = b"\n".join(b"api%d_ms:100:150:300|ms" % n for n in range(slos))
    found = []
    for tick in range(1, ticks + 4):
        store.set_now_ns((FIRST_SECOND + tick) * SECOND_NS)
        store.seal(FIRST_SECOND + tick - 1)
        begun = time.perf_counter()
        objectives.publish(FIRST_SECOND + tick - 1)
        found.append((time.perf_counter() - begun) * 1e3)
        store.merge_late()
        store.ingest(datagram)
    counts = objectives.counters()
    assert counts == {"slos": slos, "groups": slos, "groups_refused": 0, "seconds_lost": 0, "unpublished": 0}, counts
    assert store.ledger_rows()["self"]["samples"] >= 2 * slos * (ticks + 1)
    return found[3:]


def measure(pace: Pace) -> list[Figure]:
    """A judged sample at 1,000 and 100,000 series; a tick's publishing of 100 and 1,000 SLOs."""
    figures = []
    for series in SERIES:
        costs = apart(append_costs, series=series, lines=pace.part(LINES, 40_000), rounds=pace.rounds + 2)
        more = [judged - plain for judged, plain in zip(costs["judged"], costs["plain"], strict=True)]
        figures.append(
            Figure(
                f"slo.append.{series}",
                f"a sample that is counted against a goal, {series:,} series: more than one that is not",
                "ns a sample",
                more,
                at_most=NS_AT_MOST.get(series),
                note=f"{sorted(costs['judged'])[len(more) // 2]:.1f} instead of "
                f"{sorted(costs['plain'])[len(more) // 2]:.1f} ns",
            )
        )
    for slos in SLOS:
        figures.append(
            Figure(
                f"slo.publish.{slos}",
                f"a tick counts and publishes {slos:,} SLOs, each with samples",
                "ms",
                apart(publish_costs, slos=slos, ticks=pace.part(TICKS, 5)),
                at_most=MS_AT_MOST[slos],
            )
        )
    return figures
