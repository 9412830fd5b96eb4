"""Events that others report: security findings of HMS-ESQ, deployments, whatever should stand beside alerts.

    {"event": "esq.violation", "count": 1, "severity": "high", "tags": {"agency": "irs"}, "text": "…"}
        ──► the counter esq.violation_count{agency=irs}, which rules read like any metric
        ──► the journal, kind "event", where the screens and `GET /v1/events` find it

An event is counted as it arrives, whatever time it gives: the counter tells when the engine learned of it, the journal
also `at`, when it happened. The journal keeps the newest 100,000 events of all kinds.
Data: plain maps in, plain maps out. Errors: ValueError that names the member. Threads: any.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.keys import cut, read_keys, read_mapping, read_name, read_tags
from hms_ops.reader import Reader, takes

EVENTS_MAX: Final = 1_000  # in one request
COUNT_MAX: Final = 1e9
TEXT_CHARS_MAX: Final = 2_000
SUFFIX: Final = "_count"


@dataclass(frozen=True, slots=True)
class Reported:
    """One event, checked. at: Unix seconds, 0 when it did not say."""

    name: str
    count: float
    tags: Mapping[str, str]
    severity: str
    text: str
    at: float

    @property
    def metric(self) -> str:
        """The counter that it moves."""
        return self.name if self.name.endswith(SUFFIX) else self.name + SUFFIX


@takes(type="number", exclusiveMinimum=0, maximum=COUNT_MAX)
def read_count(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= COUNT_MAX:
        raise ValueError(f"expected a number above 0, at most {COUNT_MAX:g}, found {value!r}")
    return float(value)


@takes(title="Unix seconds", type="number", minimum=0, exclusiveMaximum=1e11)
def read_time(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e11 or math.isnan(value):
        raise ValueError(f"expected Unix seconds, found {value!r}")
    return float(value)


EVENT_READERS: Final[dict[str, Reader[Any]]] = {
    "event": read_name.about("What happened; the counter event_count is moved by it.", example="esq.violation"),
    "count": read_count.about("How often.", example=1),
    "tags": read_tags.about("Tags of the counter's series.", example={"agency": "irs"}),
    "severity": read_name.about("A word for people.", example="high"),
    "text": cut(TEXT_CHARS_MAX).about("What people should know of it."),
    "time": read_time.about("When it happened, Unix seconds; it is counted as it arrives."),
}


def read_event(given: Any) -> Reported:
    """ValueError with all that is wrong."""
    values, problems = read_keys(read_mapping(given), EVENT_READERS, required=("event",))
    if problems:
        raise ValueError("; ".join(f"{key}: {why}" if key else why for key, why in problems))
    return Reported(
        name=values["event"],
        count=values.get("count", 1.0),
        tags=values.get("tags", {}),
        severity=values.get("severity", ""),
        text=values.get("text", ""),
        at=values.get("time", 0.0),
    )


def read_events(document: Any) -> tuple[list[Reported], list[str]]:
    """An event or a list of them: those that can be read, and what is wrong with the others."""
    given = document if isinstance(document, list) else [document]
    if len(given) > EVENTS_MAX:
        raise ValueError(f"{len(given):,} events are more than {EVENTS_MAX:,}; send several requests")
    found: list[Reported] = []
    problems: list[str] = []
    for number, one in enumerate(given):
        try:
            found.append(read_event(one))
        except ValueError as error:
            problems.append(f"event {number}: {error}")
    return found, problems


def journal_event(event: Reported, source: str) -> dict[str, Any]:
    """What the journal and the live stream get."""
    return {
        "kind": "event",
        "name": event.name,
        "count": event.count,
        "tags": dict(event.tags),
        "severity": event.severity,
        "text": event.text,
        "at": event.at,
        "source": source,
    }


def shown(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Journal records as the API shows them: `time` in Unix seconds instead of `time_ns`; of actions not the request,
    which older engines wrote, input and its credentials included."""
    return [
        {"time": event["time_ns"] / 1e9, **{k: v for k, v in event.items() if is_shown(event, k)}} for event in events
    ]


def is_shown(event: Mapping[str, Any], key: str) -> bool:
    return key != "time_ns" and not (key == "request" and event["kind"] == "action")
