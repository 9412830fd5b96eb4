"""Restarts while alerts live: an hour of evaluations is recorded from an engine, then judged with and without restarts.

    record_hour() ─► [Evaluation] × 3,600 ─► judged(…, restart_every=0)   the log of a run without restarts
                                         └─► judged(…, restart_every=1)   everything closed and read back at every tick

A restart here is a real one for what is kept: the state environment is closed and opened, book and dispatcher are made
anew and restored. The logs (transitions, and notifications with their keys) must be equal.

    python tests/restarting.py --every 1
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.engines import NOW, manual

from hms_ops.alert.dispatch.dispatcher import Dispatcher
from hms_ops.alert.evaluate import Evaluation
from hms_ops.alert.notification import Alert
from hms_ops.alert.rulefile import RuleFile, read_roots
from hms_ops.alert.states.book import Book
from hms_ops.change import Change
from hms_ops.setting import node_of
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

DATA: Final = Path(__file__).parent.parent.parent / "shared" / "data" / "nab" / "realAWSCloudwatch"
SERIES: Final = {"one": "ec2_cpu_utilization_ac20cd.csv", "two": "ec2_cpu_utilization_53ea38.csv"}
HOUR: Final = 3_600
WARM_SECONDS: Final = 120
SECONDS_A_ROW: Final = 4  # the recordings have a value in five minutes; played faster

RULES: Final[dict[str, Any]] = {
    "rules": [
        {"alert": "cpu.high", "if": "avg(cpu, 10s) > 40", "for": "20s", "group_by": "host", "notify": "log:"},
        {"alert": "cpu.page", "if": "last(cpu) > 45", "recover": "last(cpu) < 38", "keep": "15s", "group_by": "host"},
        {"alert": "cpu.flaps", "if": "last(cpu) > 2.1", "group_by": "host", "severity": "ticket", "notify": "log:"},
        {"alert": "cpu.gone", "if": "count(cpu, 5s) < 1", "for": "10s", "nodata": "alert", "keep": "5s"},
        {"alert": "cpu.slow", "if": "max(cpu, 1m) > 30", "for": "1m", "every": "10s", "severity": "ticket"},
    ],
    "policies": [
        {
            "policy": "night",
            "match": {"severity": "page"},
            "levels": [{"after": "2m", "notify": ["log:second"]}, {"after": "5m", "notify": ["log:third"]}],
        }
    ],
}


def rules_of(given: dict[str, Any]) -> RuleFile:
    return read_roots([node_of(given, "rules")], [])


@dataclass
class Log:
    """What happened: transitions as the book tells them, notifications as the dispatcher makes them."""

    transitions: list[tuple[Any, ...]] = field(default_factory=list)
    notifications: list[tuple[Any, ...]] = field(default_factory=list)
    restarts: int = 0


def record_hour(seconds: int = HOUR, rules: dict[str, Any] = RULES) -> list[Evaluation]:
    """What the rules came to at each tick of an hour of real values, with gaps of half a minute in them."""
    values = {host: read_values(file) for host, file in SERIES.items()}
    found: list[Evaluation] = []
    with manual(config=rules) as engine:
        for second in range(WARM_SECONDS + seconds):
            for host, column in values.items():
                if second % 700 >= 30 or host == "two":
                    engine.metric("cpu", column[second // SECONDS_A_ROW % len(column)], tags={"host": host})
            engine.advance(1)
            rule_set = engine.duty.judging.rule_set
            assert rule_set is not None
            found.append(rule_set.evaluate(NOW + second + 1))
    return found[WARM_SECONDS:]  # windows are whole by then, as they are after a restart that reads them back


def read_values(file: str) -> list[float]:
    with (DATA / file).open() as rows:
        return [float(row["value"]) for row in csv.DictReader(rows)]


class Judge:
    """Book and dispatcher over a state environment, as the engine has them."""

    def __init__(self, directory: Path, file: RuleFile, log: Log, second: int) -> None:
        self.environment = Environment(directory, databases=STATE_DATABASES)
        self.store = AlertStore(self.environment)
        self.log = log
        self.book = Book(file.rules)
        self.dispatcher = Dispatcher(file.routing, origin="restarting")
        alive = int(self.store.load("marks").get("alive", {}).get("second", 0))
        events = self.book.restore(self.store.load("instances"), alive, second)
        tables = {name: self.store.load(name) for name in ("groups", "members", "silences")}
        self.dispatcher.restore(tables, float(second))
        self.carry_on(events, second, [])

    def tick(self, found: Evaluation) -> None:
        events = self.book.advance(
            found.keys, found.condition, found.recover, found.value, found.end, found.problems, whole=found.whole
        )
        self.carry_on(events, found.end, [Change("marks", "alive", {"second": found.end})])

    def carry_on(self, events: list[Alert], second: int, more: list[Change]) -> None:
        dispatch = self.dispatcher.step(float(second), events)
        self.store.commit([*self.book.changes(second), *dispatch.changes, *more])
        self.log.transitions += [(second, e.name, e.group, e.state, e.episode, e.since) for e in events]
        self.log.notifications += [
            (second, n.receiver, n.why, n.idempotency_key, n.level) for n in dispatch.notifications
        ]

    def close(self) -> None:
        self.environment.close()


def judged(hour: list[Evaluation], directory: Path, restart_every: int, rules: dict[str, Any] = RULES) -> Log:
    """The log of an hour, with a restart after every so many ticks; 0 for none."""
    file, log = rules_of(rules), Log()
    judge = Judge(directory, file, log, hour[0].end - 1)
    for number, found in enumerate(hour, 1):
        judge.tick(found)
        if restart_every and number % restart_every == 0:
            judge.close()
            judge = Judge(directory, file, log, found.end)
            log.restarts += 1
    judge.close()
    return log


def differences(one: Log, other: Log) -> Iterator[str]:
    for what in ("transitions", "notifications"):
        left, right = getattr(one, what), getattr(other, what)
        for number in range(max(len(left), len(right))):
            pair = [part[number] if number < len(part) else None for part in (left, right)]
            if pair[0] != pair[1]:
                yield f"{what} {number}: {pair[0]} without restarts, {pair[1]} with"
                break


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="ticks between two restarts")
    parser.add_argument("--seconds", type=int, default=HOUR)
    options = parser.parse_args()
    hour = record_hour(options.seconds)
    with tempfile.TemporaryDirectory() as directory:
        plain = judged(hour, Path(directory) / "plain", 0)
        restarted = judged(hour, Path(directory) / "restarted", options.every)
    found = list(differences(plain, restarted))
    print(
        f"{restarted.restarts} restarts in {len(hour)} ticks: {len(plain.transitions)} transitions, "
        f"{len(plain.notifications)} notifications, {len(found)} differences"
    )
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found) or not plain.transitions or not np.isfinite(len(plain.notifications)))


if __name__ == "__main__":
    sys.exit(main())
