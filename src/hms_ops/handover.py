"""From a transition to the keeper: in the order in which they were, with the records of the states they leave behind.

    rules, alerts by hand ─► Book ──┐ under `lock`
    anomalies ─► fire, end ─► Book ─┴─► put ─► Keeper (disk, dispatcher, outbox)

Whoever moves the book holds `lock` from the transition until it is put, so that none overtakes another. Threads: any.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from hms_ops.alert.dispatch.routing import LOG
from hms_ops.alert.notification import Alert
from hms_ops.alert.states.book import Book
from hms_ops.anomaly.episode import Episode
from hms_ops.change import NO_CHANGES, Change
from hms_ops.keeper import Keeper

log = logging.getLogger("hms_ops.alert")


class Handover:
    """quiet: the names whose end is no news. now: Unix seconds."""

    def __init__(
        self, book: Book, keeper: Keeper, quiet: Callable[[], Collection[str]], now: Callable[[], int]
    ) -> None:
        self.lock = threading.Lock()
        self._book = book
        self._keeper = keeper
        self._quiet = quiet
        self._now = now
        self._gathered: list[Alert] = []  # of anomalies, while the lock is held

    def put(self, events: Sequence[Alert], more: Iterable[Change] = ()) -> None:
        """To the keeper; the lock is held."""
        try:
            states = self._book.take_changes(self._now())
        except Exception:  # a mistake of ours in a record must not cost a page
            log.exception("the states of alerts cannot be kept")
            states = NO_CHANGES
        changes = list(more)
        if events or changes or states.count:
            self._keeper.put(self._hushed(events), changes, states)

    def keep(self, *changes: Change) -> None:
        """Records that are no alert's."""
        with self.lock:
            self.put([], changes)

    def fire(self, name: str, value: float, second: int, **options: Any) -> None:
        """Only the first of a row of repeats is an event; the records of repeats go with the next tick's."""
        with self.lock:
            alert = self._book.alert_now(name, value, second, **options)
            if alert is not None:
                self.put([alert])

    # ---- anomalies: there may be ten thousand in a tick, so they are gathered; the lock is held

    def fire_anomaly(self, episode: Episode, end: int, reason: str) -> None:
        rule = episode.rule
        alert = self._book.alert_now(
            rule.name,
            episode.value,
            end,
            tags=episode.tags,
            severity=rule.severity,
            ttl_seconds=rule.ttl_seconds,
            reason=reason,
            notify=rule.notify,
        )
        if alert is not None:
            self._gathered.append(alert)

    def end_anomaly(self, episode: Episode, reason: str) -> None:
        ended = self._book.end_now(episode.rule.name, episode.tags, self._now(), reason)
        self._gathered += [replace(event, notify=(LOG,)) for event in ended]  # its rule may be gone already

    def put_gathered(self, more: Iterable[Change] = ()) -> None:
        events, self._gathered = self._gathered, []
        self.put(events, more)

    def _hushed(self, events: Sequence[Alert]) -> list[Alert]:
        """An anomaly's end is no news: there is no "cleared" page, only a line in the log."""
        quiet = self._quiet()
        return [
            replace(event, notify=(LOG,)) if event.state == "resolved" and event.name in quiet else event
            for event in events
        ]
