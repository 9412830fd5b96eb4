"""What pagekill.py kills: `python tests/pagevictim.py parts|engine DIR URLS [--fault F]`, a process of its own.

parts: the outbox over its tables, fed with transitions as fast as receivers take them, by a keeper of thirty lines:
number n is the firing (n even) or the end of alert `part.<n // 2>`, told to every receiver, in one transaction with the
notifications and the number. One firing in ACTED has an action; at each start the latest are offered again. "calm" on
standard input: no more transitions; it ends when nothing waits.

engine: `hms-ops-engine run` as it is; DIR has its engine.yaml.

Faults are planted under either by taking changes away from what is committed, or altering what is loaded: what a
program would do that forgets it. The harness must find each.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from hms_ops.alert.actions.action import ActionRunner
from hms_ops.alert.delivery.outbox import Outbox
from hms_ops.alert.notification import Alert, Notification, alert_record, notifications_of
from hms_ops.alert.rule import ActionRule
from hms_ops.change import Change
from hms_ops.clock import SECOND_NS, Clock, WallAnchor
from hms_ops.storage.alerting import AlertStore
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import STATE_DATABASES

MARK: Final = "pagekill"
WAITING_MAX: Final = 200
SPLIT_SECONDS: Final = 0.3  # an engine is between the two for a tenth of its time then
ORIGIN: Final = "pagekill"
ACTED: Final = 8
OFFERED_AGAIN: Final = 200

Commit = Callable[[AlertStore, Sequence[Change]], None]
Load = Callable[[AlertStore, str], dict[str, dict[str, Any]]]


# ---- parts


def transition(n: int) -> Alert:
    """The n-th thing that happens."""
    state = "resolved" if n % 2 else "firing"
    return Alert(f"part.{n // 2}", state, float(n), {}, 1_700_000_000.0 + n, episode=1)  # type: ignore[arg-type]


def notifications(n: int, urls: Mapping[str, str]) -> list[Notification]:
    """What follows from it: one to each receiver."""
    alert = transition(n)
    receivers = tuple(f"webhook:{url}" for kind, url in urls.items() if kind != "actions")
    return [replace(made, group=alert.name) for made in notifications_of(alert, receivers, ORIGIN)]


def rules_before(n: int) -> list[ActionRule]:
    """An action of its own for each alert that has one, of the latest before transition n and of the next."""
    acted = range(max(0, n - OFFERED_AGAIN), n + 10)
    return [
        ActionRule(transition(at).name, f"heal.{at:06}", verify_seconds=0.0) for at in acted if at % (2 * ACTED) == 0
    ]


def acting(store: AlertStore, clock: Clock, url: str, n: int) -> ActionRunner:
    """The runner as the engine starts it: alerts that fired before are offered once more."""
    actions = ActionRunner((), clock, lambda _: None, lambda *_: True, base_url=url, origin=ORIGIN)
    actions.open(store.commit)
    actions.replace_rules(rules_before(n))
    actions.restore(store.load("runs"))
    actions.start(start_thread)
    for at in range(max(0, n - OFFERED_AGAIN), n):
        actions.offer(transition(at))
    return actions


def run_parts(data_dir: Path, urls: Mapping[str, str]) -> None:
    store = AlertStore(Environment(data_dir / "state", databases=STATE_DATABASES))
    clock, is_calm = WallAnchor(), threading.Event()
    outbox = Outbox(clock, start_thread, store=store)
    outbox.restore()
    n = store.load("marks").get(MARK, {"n": 0})["n"]
    actions = acting(store, clock, urls["actions"], n)
    print(json.dumps({"event": "ready", "n": n}), flush=True)
    start_thread("calm", lambda: (sys.stdin.readline(), is_calm.set())[1])
    while not is_calm.is_set():
        if outbox.counters()["waiting"] > WAITING_MAX:
            is_calm.wait(0.005)
            continue
        made, alert = notifications(n, urls), transition(n)
        kept = [Change("instances", alert.key, alert_record(alert)), Change("marks", MARK, {"n": n + 1})]
        store.commit([*kept, *map(outbox.changes_for, made)])
        for one in made:
            outbox.put(one)
        if n % (2 * ACTED) == 0:
            actions.replace_rules(rules_before(n + 1))
            actions.offer(alert)
        n += 1
    outbox.drain(clock.now_ns() + 60 * SECOND_NS)
    actions.stop(clock.now_ns() + 15 * SECOND_NS)
    outbox.stop(clock.now_ns() + 15 * SECOND_NS)
    store.environment.close()


def start_thread(name: str, target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=or_die, args=(target,), name=name, daemon=True)
    thread.start()
    return thread


def or_die(target: Callable[[], object]) -> None:
    try:
        target()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


# ---- engine


def run_engine(directory: Path) -> int:
    from hms_ops.cli.main import call

    config, data = str(directory / "engine.yaml"), str(directory / "data")
    where = ["--udp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return call(["run", "-c", config, "--data-dir", data, *where, "--json"])


# ---- faults


def forgetful(commit: Commit) -> Commit:
    """Notifications are not on disk."""
    return lambda store, changes: commit(store, [one for one in changes if one.table != "outbox" or not one.record])


def unsettled(commit: Commit) -> Commit:
    """What was delivered stays on disk."""
    return lambda store, changes: commit(store, [one for one in changes if one.table != "outbox" or one.record])


def split(commit: Commit) -> Commit:
    """A transition and its notifications are two transactions."""

    def twice(store: AlertStore, changes: Sequence[Change]) -> None:
        first = [one for one in changes if one.table != "outbox"]
        if len(first) < len(changes) and first:
            commit(store, first)
            threading.Event().wait(SPLIT_SECONDS)
        commit(store, [one for one in changes if one.table == "outbox"] or changes)

    return twice


def intentless(commit: Commit) -> Commit:
    """Runs are not on disk."""
    return lambda store, changes: commit(store, [one for one in changes if one.table != "runs"])


def rekeyed(load: Load) -> Load:
    """After a restart notifications have other keys."""

    def loaded(store: AlertStore, table: str) -> dict[str, dict[str, Any]]:
        found = load(store, table)
        if table == "outbox":
            for record in found.values():
                record["notification"]["idempotency_key"] += f"-{os.getpid()}"
        return found

    return loaded


COMMIT_FAULTS: Final[dict[str, Callable[[Commit], Commit]]] = {
    "forgetful": forgetful,
    "unsettled": unsettled,
    "split": split,
    "intentless": intentless,
}


def plant(fault: str) -> None:
    if fault == "rekeyed":
        AlertStore.load = rekeyed(AlertStore.load)  # type: ignore[method-assign]
    elif fault:
        AlertStore.commit = COMMIT_FAULTS[fault](AlertStore.commit)  # type: ignore[method-assign]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("parts", "engine"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("urls", type=json.loads)
    parser.add_argument("--fault", default="", choices=("", "rekeyed", *COMMIT_FAULTS))
    arguments = parser.parse_args()
    plant(arguments.fault)
    if arguments.what == "engine":
        return run_engine(arguments.directory)
    run_parts(arguments.directory / "data", arguments.urls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
