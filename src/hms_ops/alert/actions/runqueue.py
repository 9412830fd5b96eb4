"""Runs of actions that wait: in the order in which they came for each action, and no action twice at once.

    put(run) ─► one queue for each action ─► take(kind) ─► a worker ─► done(run)

So a service that hangs holds back its own action only. Commands and services are two kinds, with workers of their own.
Not thread-safe: the runner's lock is held. Limits: QUEUE_MAX runs in all.
"""

from collections import deque
from typing import Final, Literal

from hms_ops.alert.actions.run import Run

QUEUE_MAX: Final = 1_000

Kind = Literal["service", "command"]


def kind_of(run: Run) -> Kind:
    return "command" if run.rule.command else "service"


class RunQueue:
    """All of them."""

    def __init__(self) -> None:
        self.count = 0
        self._queues: dict[str, deque[Run]] = {}
        self._running: set[str] = set()

    @property
    def is_full(self) -> bool:
        return self.count >= QUEUE_MAX

    def put(self, run: Run) -> None:
        self._queues.setdefault(run.rule.name, deque()).append(run)
        self.count += 1

    def take(self, kind: Kind | None = None) -> Run | None:
        """The next run of an action that is not running, of this kind or of any; the caller says when it is `done`."""
        for name, queue in self._queues.items():
            if name not in self._running and kind in (None, kind_of(queue[0])):
                break
        else:
            return None
        run = queue.popleft()
        del self._queues[name]
        if queue:
            self._queues[name] = queue  # behind the others: it is their turn
        self._running.add(name)
        self.count -= 1
        return run

    def done(self, run: Run) -> None:
        self._running.discard(run.rule.name)

    @property
    def running_count(self) -> int:
        return len(self._running)

    def clear(self) -> list[Run]:
        """Take all out, in the order of their actions."""
        left = [run for queue in self._queues.values() for run in queue]
        self._queues, self.count = {}, 0
        return left
