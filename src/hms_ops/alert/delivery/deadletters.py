"""Dead letters: notifications that will not arrive, kept with the reason so that a person can look and send them again.

The outbox adds those that are dead or were dropped, lists them for `alerts dead-letters`, and takes one out to resend
it. On disk they are the table `dead`, by the notification's id: {notification, reason, died (Unix seconds), attempts};
what cannot be read as a notification any more is a dead letter too, and cannot be sent.

Threads: any. Limits: DEAD_LETTERS_MAX, the oldest expire and are counted. Methods that change something return the
changes to be committed; nothing is written here.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.notification import Notification, notification_of_record, notification_record, summary
from hms_ops.change import Change

DEAD_LETTERS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """notification: None when its record could not be read, and `record` is that. died: Unix seconds."""

    notification: Notification | None
    reason: str
    died: float
    attempts: int = 0
    record: Mapping[str, Any] | None = None

    def change(self, key: str) -> Change:
        sent = self.record if self.notification is None else notification_record(self.notification)
        facts = {"notification": sent, "reason": self.reason, "died": self.died, "attempts": self.attempts}
        return Change("dead", key, facts)

    def shown(self, key: str) -> dict[str, Any]:
        """As people see it, without what may be secret in the receiver's address."""
        facts: dict[str, Any] = {"id": key, "reason": self.reason, "died": self.died, "attempts": self.attempts}
        if self.notification is None:
            return {
                **facts,
                "name": "?",
                "receiver": "?",
                "summary": "a record that cannot be read",
                "can_resend": False,
            }
        alert = self.notification.alert
        return {
            **facts,
            "name": alert.name,
            "receiver": shown_receiver(self.notification.receiver),
            "state": self.notification.state,
            "tags": dict(alert.tags),
            "severity": alert.severity,
            "episode": alert.episode,
            "why": self.notification.why,
            "created": self.notification.created,
            "alerts": len(self.notification.alerts) + self.notification.left_out,
            "summary": summary(self.notification),
            "can_resend": True,
        }


class DeadLetters:
    """All of them, the oldest first."""

    def __init__(self) -> None:
        self.expired = 0
        self._lock = threading.Lock()
        self._letters: dict[str, DeadLetter] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._letters)

    def load(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in the table; those in memory already stay."""
        read = {key: letter_of(record) for key, record in records.items()}
        with self._lock:
            newer = self._letters
            self._letters = dict(sorted(read.items(), key=lambda item: item[1].died)) | newer

    def add(self, key: str, letter: DeadLetter) -> list[Change]:
        """One more; the changes put it into the table and let the oldest go."""
        with self._lock:
            self._letters.pop(key, None)
            self._letters[key] = letter
            gone = list(self._letters)[: max(0, len(self._letters) - DEAD_LETTERS_MAX)]
            for old in gone:
                del self._letters[old]
            self.expired += len(gone)
        return [letter.change(key), *(Change("dead", old, None) for old in gone)]

    def take(self, key: str) -> DeadLetter | None:
        """One that can be sent again, out of the list; None when there is none of this key."""
        with self._lock:
            letter = self._letters.get(key)
            if letter is None or letter.notification is None:
                return None
            return self._letters.pop(key)

    def listed(self) -> list[dict[str, Any]]:
        """As people see them, oldest first."""
        with self._lock:
            letters = list(self._letters.items())
        return [letter.shown(key) for key, letter in letters]


def letter_of(record: Mapping[str, Any]) -> DeadLetter:
    """A dead letter from its record, or from what is left of one."""
    sent = record.get("notification")
    reason, died, attempts = (record.get(name) for name in ("reason", "died", "attempts"))
    return DeadLetter(
        notification=notification_or_none(sent),
        reason=reason if isinstance(reason, str) else "",
        died=float(died) if isinstance(died, int | float) else 0.0,
        attempts=attempts if isinstance(attempts, int) else 0,
        record=sent if isinstance(sent, dict) else {},
    )


def notification_or_none(record: object) -> Notification | None:
    """None for what is no notification's record, of an older or a later release for instance."""
    if not isinstance(record, Mapping):
        return None
    try:
        return notification_of_record(record)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
