"""`kill -9` at any moment between a transition and its page: nothing is lost, nothing is told twice without a kill.

    python tests/pagekill.py --kills 200 [--what parts|engine] [--seconds S] [--seed N] [--dir DIR] [--plant]

A child (pagevictim.py) makes transitions and pages seven real receivers, which answer 200, 500, 429, hang, reset, drip
or refuse for good (pagers.py). The parent kills it at random moments, from its start on, lets the receivers finish with
the dead process, and looks at its tables while they lie still:

- every transition that is on disk has, for each of its receivers, been accepted, or waits in the outbox, or is a dead
  letter; in the end, when all receivers behave, each is accepted or was refused for good, and the outbox is empty;
- of each receiver at most one notification is both accepted and in the outbox: the one that was on its way, which the
  next start sends again. Any other that is accepted twice was told twice for no reason;
- a transition has one idempotency key for each receiver, whatever happens; an end is not accepted before its page;
- an action that has a run for an alert's episode has one.

parts: outbox and tables under a small keeper, and actions, some hundred transitions a second. engine: `hms-ops-engine
run` with rules over real datagrams, and actions; one episode a receiver every nine seconds and of a rule every 180,
so that the dispatcher holds nothing back: neither the limit of thirty notifications a minute nor flapping is measured.

`--plant` plants faults in the child that must be found: exit code 0 when they were. Otherwise 1 means that something
was lost or doubled, printed with the seed, and the directory is kept.
"""

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.pagers import KINDS, Accepted, Fact, Pagers, paging
from tests.pagevictim import MARK, notifications, transition

from hms_ops.change import TABLES
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

VICTIM: Final = Path(__file__).with_name("pagevictim.py")
READY_SECONDS: Final = 60.0
END_SECONDS: Final = 90.0
RULE: Final = "pagekill.r"  # and a number
FAULTS: Final = {
    "parts": ("forgetful", "split", "unsettled", "rekeyed", "intentless"),
    "engine": ("forgetful", "split", "unsettled", "rekeyed", "intentless"),
}
KILLS_FOR_A_FAULT: Final = {"parts": 12, "engine": 25}

Told = tuple[str, Fact]  # a receiver's kind, and what it is to be told
Tables = dict[str, dict[str, dict[str, Any]]]


class Lost(Exception):
    """A page, or an action, is not what it should be."""


# ---- what lies on disk


def tables_of(data_dir: Path) -> Tables:
    """The tables of a dead process; empty ones when it died before they were there."""
    if not (data_dir / "state" / "FORMAT").exists():
        return {table: {} for table in TABLES}
    environment = Environment(data_dir / "state", databases=STATE_DATABASES)
    try:
        store = AlertStore(environment)
        found = {table: store.load(table) for table in TABLES}
        if damaged := store.counters()["damaged"]:
            raise Lost(f"{damaged} records are damaged")
        return found
    finally:
        environment.close()


def in_table(records: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str]) -> Iterator[tuple[Told, str]]:
    """(what it tells to whom, its key) of each notification in the outbox or among the dead letters."""
    for record in records.values():
        sent = record["notification"]
        kind = kinds.get(sent["receiver"])
        for alert in sent["alerts"] if kind is not None else ():
            yield (kind, (alert["name"], alert["state"], alert["episode"])), sent["idempotency_key"]


# ---- the invariants


@dataclass
class Book:
    """What the parent knows: what must be told, what was, and who has been told twice."""

    pagers: Pagers
    kinds: dict[str, str]
    due: set[Told] = field(default_factory=set)
    dead: set[Told] = field(default_factory=set)
    keys: dict[Told, set[str]] = field(default_factory=lambda: defaultdict(set))
    limbo: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Kind and key → how many kills found it accepted and still in the outbox."""

    seen: int = 0
    taken: set[Told] = field(default_factory=set)
    first: dict[Told, int] = field(default_factory=dict)
    """At which place in all that was accepted, for the first time."""

    limbo_max: int = 0

    def hear(self) -> None:
        """Take in what the receivers have accepted since."""
        with self.pagers.lock:
            new, self.seen = self.pagers.accepted[self.seen :], len(self.pagers.accepted)
        for one in new:
            for fact in one.facts:
                self.first[one.kind, fact] = min(one.place, self.first.get((one.kind, fact), one.place))
                self.taken.add((one.kind, fact))
                self.keys[one.kind, fact].add(one.key)

    def look(self, tables: Tables, expected: set[Told]) -> None:
        """Behind a kill. Lost: an invariant does not hold."""
        self.hear()
        self.due |= expected
        waiting = dict(in_table(tables["outbox"], self.kinds))
        for told, key in (*waiting.items(), *in_table(tables["dead"], self.kinds)):
            self.keys[told].add(key)
        self.dead |= {told for told, _ in in_table(tables["dead"], self.kinds)}
        lost = [told for told in self.due if not (told in self.taken or told in waiting or told in self.dead)]
        if lost:
            raise Lost(f"{len(lost)} are on disk as having happened and nobody is told: {sorted(lost)[:5]}")
        in_limbo = {(told[0], key) for told, key in waiting.items() if told in self.taken}
        for kind, count in Counter(kind for kind, _ in in_limbo).items():
            self.limbo_max = max(self.limbo_max, count)
            if count > 1:
                raise Lost(f"one kill repeats {count} notifications to {kind}: {sorted(in_limbo)[:5]}")
        self.limbo.update(in_limbo)
        self.check_keys()
        self.check_repeats()
        self.check_order()
        self.check_runs()

    def check_keys(self) -> None:
        for told, keys in self.keys.items():
            if len(keys) > 1:
                raise Lost(f"{told} was sent under {len(keys)} keys: {sorted(keys)}")

    def check_repeats(self) -> None:
        """Each time beyond the first has a kill that found it on its way."""
        for (kind, key), count in Counter((one.kind, one.key) for one in self.pagers.accepted[: self.seen]).items():
            if count > 1 + self.limbo[kind, key]:
                raise Lost(f"{kind} was told {count} times of {key}, by {self.limbo[kind, key]} kills")

    def check_order(self) -> None:
        for (kind, (name, state, episode)), place in self.first.items():
            if state == "resolved" and place < self.first.get((kind, (name, "firing", episode)), -1):
                raise Lost(f"{kind} was told of the end of {name} before it was paged")

    def check_runs(self) -> None:
        with self.pagers.lock:
            twice = {run: count for run, count in self.pagers.runs.items() if count > 1}
        if twice:
            raise Lost(f"actions ran more than once for an episode: {twice}")

    def untold(self) -> list[Told]:
        """What is due and neither accepted nor refused for good."""
        self.hear()
        with self.pagers.lock:
            refused = set(self.pagers.refused)
        return [told for told in self.due if told not in self.taken and not self.is_refused(told, refused)]

    def is_refused(self, told: Told, refused: set[tuple[str, str]]) -> bool:
        return told in self.dead or any((told[0], key) in refused for key in self.keys.get(told, ()))

    def duplicates(self) -> int:
        counts = Counter((one.kind, one.key) for one in self.pagers.accepted)
        return sum(count - 1 for count in counts.values())


# ---- who is killed


class Victims(Protocol):
    """How a child is made, driven while it lives, and what its tables say has happened."""

    what: str
    life_seconds: float

    def command(self) -> list[str]: ...
    def drive(self, ready: dict[str, Any]) -> None: ...
    def expected(self, tables: Tables) -> set[Told]: ...
    def finish(self, child: subprocess.Popen[str], book: Book) -> None: ...


class Parts:
    """pagevictim.py parts."""

    what = "parts"
    life_seconds = 1.0

    def __init__(self, root: Path, pagers: Pagers, fault: str) -> None:
        self.root = root
        self.urls = pagers.urls
        self.fault = fault
        self.happened = 0

    def command(self) -> list[str]:
        return [sys.executable, str(VICTIM), "parts", str(self.root), json.dumps(self.urls), "--fault", self.fault]

    def drive(self, ready: dict[str, Any]) -> None:
        time.sleep(0.005)

    def expected(self, tables: Tables) -> set[Told]:
        before, self.happened = self.happened, tables["marks"].get(MARK, {"n": 0})["n"]
        if self.happened < before:
            raise Lost(f"{before} transitions had happened, now {self.happened}")
        return {told for n in range(before, self.happened) for told in self.told(n)}

    def told(self, n: int) -> Iterator[Told]:
        alert = transition(n)
        for one in notifications(n, self.urls):
            kind = next(kind for kind, url in self.urls.items() if one.receiver == f"webhook:{url}")
            yield kind, (alert.name, alert.state, alert.episode)

    def finish(self, child: subprocess.Popen[str], book: Book) -> None:
        """No more transitions; it ends by itself when nothing waits."""
        assert child.stdin is not None
        child.stdin.write("calm\n")
        child.stdin.flush()
        if code := child.wait(END_SECONDS):
            raise Lost(f"the child ended with {code}")


class Engines:
    """hms-ops-engine run. Rule n pages the receiver n % 7, when the metric of its own is high."""

    what = "engine"
    life_seconds = 5.0

    RULES_EACH = 20
    EVERY_SECONDS = 9.0
    """Between two episodes of one receiver: each is a page and its end, and for `fine`, whose actions fail, as much
    again about the action: 27 notifications a minute, 30 are allowed."""

    HIGH_SECONDS = 2.2
    SEND_SECONDS = 0.2

    def __init__(self, root: Path, pagers: Pagers, fault: str) -> None:
        self.root = root
        self.pagers = pagers
        self.fault = fault
        self.high_until: dict[int, float] = {}  # by rule
        self.begun: Counter[str] = Counter()
        self.next_at: dict[str, float] = {}
        self.sent_at = 0.0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        write_configuration(root, pagers.urls, self.RULES_EACH * len(KINDS))

    def command(self) -> list[str]:
        urls = json.dumps(self.pagers.urls)
        return [sys.executable, str(VICTIM), "engine", str(self.root), urls, "--fault", self.fault]

    def drive(self, ready: dict[str, Any], is_calm: bool = False) -> None:
        """Begin an episode of each receiver when it is time, and send what is high and what is not."""
        now = time.monotonic()
        for kind in () if is_calm else KINDS:
            if now >= self.next_at.get(kind, 0.0):
                self.next_at[kind] = now + self.EVERY_SECONDS
                self.high_until[self.next_rule(kind)] = now + self.HIGH_SECONDS
        if now - self.sent_at >= self.SEND_SECONDS:
            self.sent_at = now
            host, _, port = ready["udp"].rpartition(":")
            for rule, until in self.high_until.items():
                line = f"pagekill.load{rule}:{100 if now < until and not is_calm else 1}|g"
                self.socket.sendto(line.encode(), (host, int(port)))
        time.sleep(0.01)

    def next_rule(self, kind: str) -> int:
        """The rules of a receiver, one after the other."""
        self.begun[kind] += 1
        return self.begun[kind] % self.RULES_EACH * len(KINDS) + KINDS.index(kind)

    def expected(self, tables: Tables) -> set[Told]:
        return {told for record in tables["instances"].values() for told in self.told(record)}

    def told(self, record: Mapping[str, Any]) -> Iterator[Told]:
        """What a rule's record says has happened: it fired, it ended. None is missed between two kills: a rule has an
        episode every three minutes, and is remembered for longer."""
        name, episode = record["name"], record["episode"]
        if not is_rule(name):
            return
        kind = KINDS[int(name.removeprefix(RULE)) % len(KINDS)]
        if episode:
            yield kind, (name, "firing", episode)
            if record["phase"] == "inactive":
                yield kind, (name, "resolved", episode)

    def finish(self, child: subprocess.Popen[str], book: Book) -> None:
        """All values fall; when all that is known of is told, it is stopped as systemd does."""
        ready = ready_of(child)
        end = time.monotonic() + END_SECONDS
        while book.untold() or self.unended(book):
            if time.monotonic() > end:
                break
            self.drive(ready, is_calm=True)
        child.send_signal(signal.SIGTERM)
        if code := child.wait(30):
            raise Lost(f"the engine ended with {code}")

    def unended(self, book: Book) -> list[Told]:
        """Pages that were accepted, and their ends neither accepted nor refused."""
        pages = [told for told in book.taken if told[1][1] == "firing" and is_rule(told[1][0])]
        ends = [(kind, (name, "resolved", episode)) for kind, (name, _, episode) in pages]
        return [end for end in ends if end not in book.taken and end[0] != "gone"]


def is_rule(name: str) -> bool:
    """Whether an alert is of one of our rules, and not about an action that failed, for instance."""
    return name.startswith(RULE) and name.removeprefix(RULE).isdecimal()


def write_configuration(root: Path, urls: Mapping[str, str], rules: int) -> None:
    """engine.yaml and rules.yaml: rule n watches a metric of its own and pages one receiver; of `fine` it acts too."""
    lines, actions = ["rules:"], ["actions:"]
    for n in range(rules):
        kind = KINDS[n % len(KINDS)]
        lines += [
            f"  - alert: {RULE}{n}",
            f"    if: last(pagekill.load{n}) > 10",
            "    for: 0s",
            f"    notify: ['webhook:{urls[kind]}']",
        ]
        if kind == "fine":
            actions += [
                f"  - on: {RULE}{n}",
                f"    act: {{template: heal.{n:04}}}",
                "    cooldown: 1s",
                "    limit_per_hour: 1000",
            ]
    (root / "rules.yaml").write_text("\n".join([*lines, *actions, ""]))
    (root / "engine.yaml").write_text(
        "\n".join(
            [
                "rules: [rules.yaml]",
                "host_metrics: false",
                "self_metrics: false",
                f"actions: {{url: '{urls['actions']}'}}",
                "history: {disk_free: 0, bytes: 1GiB}",
                "log: {level: warning}",
                "",
            ]
        )
    )


# ---- the parent


def begun(victims: Victims, root: Path) -> subprocess.Popen[str]:
    with (root / "said").open("a") as said:
        return subprocess.Popen(
            victims.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, cwd=root
        )


def ready_of(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Its line on standard output. Lost: it ended instead."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise Lost(f"the child ended by itself with {child.wait(30)}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def one_kill(victims: Victims, root: Path, r: random.Random) -> str:
    """One life; returns where it was when it was killed. One in six dies while it starts."""
    child = begun(victims, root)
    try:
        if r.random() < 1 / 6:
            time.sleep(r.uniform(0.0, 0.8))
            return killed(child, "starting")
        ready = ready_of(child)
        end = time.monotonic() + r.uniform(0.0, victims.life_seconds)
        while time.monotonic() < end:
            victims.drive(ready)
        return killed(child, "paging")
    finally:
        child.kill()
        child.communicate()


def killed(child: subprocess.Popen[str], where: str) -> str:
    child.kill()
    code = child.wait()
    if code != -signal.SIGKILL:
        raise Lost(f"the child ended by itself with {code}")
    return where


def run(victims: Victims, book: Book, root: Path, kills: int, seconds: float, seed: int) -> Counter[str]:
    """Kill, look, and in the end let all be told. Lost."""
    died: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for number in range(kills):
        if time.monotonic() > end:
            break
        try:
            died[one_kill(victims, root, random.Random(f"{seed}/{number}"))] += 1
            book.pagers.settle()
            tables = tables_of(root / "data")
            book.look(tables, victims.expected(tables))
        except Lost as lost:
            raise Lost(f"seed {seed}, kill {number}: {lost}") from None
        book.pagers.generation += 1
        if sys.stderr.isatty():
            print(f"\r{number + 1} kills, {len(book.due):,} to be told ", end="", file=sys.stderr)
    try:
        finished(victims, book, root)
    except Lost as lost:
        raise Lost(f"seed {seed}, at the end: {lost}") from None
    return died


def finished(victims: Victims, book: Book, root: Path) -> None:
    """Receivers behave, the child lives until all is told; then nothing may be left."""
    book.pagers.is_calm.set()
    child = begun(victims, root)
    try:
        victims.finish(child, book)
    except subprocess.TimeoutExpired:
        raise Lost(f"it does not come to an end; untold: {sorted(book.untold())[:5]}") from None
    finally:
        child.kill()
        child.communicate()
    book.pagers.settle()
    tables = tables_of(root / "data")
    book.look(tables, victims.expected(tables))
    if untold := book.untold():
        raise Lost(f"{len(untold)} of {len(book.due)} were never told: {sorted(untold)[:5]}")
    if tables["outbox"]:
        raise Lost(f"{len(tables['outbox'])} are in the outbox although all was told: {list(tables['outbox'])[:5]}")


def attempt(what: str, root: Path, kills: int, seconds: float, seed: int, fault: str = "") -> tuple[Book, Counter[str]]:
    """A whole run in a directory of its own. Lost."""
    root.mkdir(parents=True)
    with paging() as pagers:
        kinds = {f"webhook:{url}": kind for kind, url in pagers.urls.items()}
        make: Callable[[Path, Pagers, str], Victims] = {"parts": Parts, "engine": Engines}[what]  # type: ignore[assignment]
        book = Book(pagers, kinds)
        return book, run(make(root, pagers, fault), book, root, kills, seconds, seed)


def missed(what: str, root: Path, seed: int) -> list[str]:
    """The planted faults that were not found."""
    found: list[str] = []
    for fault in FAULTS[what]:
        try:
            attempt(what, root / fault, KILLS_FOR_A_FAULT[what], 600.0, seed, fault)
        except Lost as lost:
            print(f"{fault}: found: {lost}")
            found.append(fault)
    return [fault for fault in FAULTS[what] if fault not in found]


def summary(book: Book, died: Counter[str], seed: int) -> str:
    doing = ", ".join(f"{number} {name}" for name, number in died.most_common())
    accepted = book.pagers.accepted
    per_kill = max(Counter(one.generation for _, one in repeats(accepted)).values(), default=0)
    return (
        f"{died.total()} kills ({doing}), seed {seed}: {len(book.due):,} to be told, {len(accepted):,} accepted, "
        f"{len(book.dead):,} dead letters, {len(book.pagers.runs):,} actions; none lost, no action twice, "
        f"{book.duplicates()} repeated with their keys, at most {per_kill} behind one kill, {book.limbo_max} a receiver"
    )


def repeats(accepted: list[Accepted]) -> Iterator[tuple[Accepted, Accepted]]:
    """Each acceptance beyond the first of its key, with the one before."""
    by_key: dict[tuple[str, str], list[Accepted]] = defaultdict(list)
    for one in accepted:
        by_key[one.kind, one.key].append(one)
    for row in by_key.values():
        yield from pairwise(row)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--what", choices=tuple(FAULTS), default="parts")
    parser.add_argument("--seconds", type=float, default=3600.0, help="no kill begins later")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time, printed")
    parser.add_argument("--dir", type=Path, default=None, help="where tables are written; default: a temporary one")
    parser.add_argument("--plant", action="store_true", help="plant faults that must be found")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    root = Path(tempfile.mkdtemp(prefix="pagekill-", dir=arguments.dir))
    try:
        book, died = attempt(arguments.what, root / "run", arguments.kills, arguments.seconds, seed)
        print(summary(book, died, seed))
        not_found = missed(arguments.what, root, seed) if arguments.plant else []
    except Lost as lost:
        print(f"{lost}\n{root} is kept")
        return 1
    if not_found:
        print(f"seed {seed}: planted and not found: {', '.join(not_found)}; {root} is kept")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
