"""One change to what alerting keeps on disk: a record put under its key in a table, or taken away.

Made by the parts of alerting (book, dispatcher, outbox, actions), gathered by the keeper and committed together by
`storage.alerting`, so that a transition and the notifications that follow from it are on disk as one or not at all.
Records are plain: maps of text, numbers, truth, lists and maps, as msgpack has them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

KEY_BYTES_MAX: Final = 200

TABLES: Final = (
    "instances",  # live instances of rules and of alert_now (book)
    "anomalies",  # episodes that last (anomalies)
    "groups",  # groups of alerts, by route (dispatcher)
    "members",  # the alerts in them: what was told of each, acknowledgements, flapping (dispatcher)
    "silences",  # (dispatcher)
    "outbox",  # notifications on their way (outbox)
    "dead",  # notifications that will not arrive (outbox)
    "rules",  # rules posted over HTTP (duty)
    "runs",  # actions: intents and outcomes (action)
    "marks",  # single facts by name: the last second alerting was alive, the stop switch
)


class Change(NamedTuple):
    """key: at most KEY_BYTES_MAX bytes of UTF-8. record: None takes the key away."""

    table: str
    key: str
    record: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Unmade:
    """So many changes whose records are still to be made, by whoever commits them, of values that nobody changes any
    more. Made once, on any thread."""

    count: int
    make: Callable[[], list[Change]]


NO_CHANGES: Final = Unmade(0, list)
