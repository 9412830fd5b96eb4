"""How the services stand: what page, badge, widget and /status.json all say. Pure; http/status.py reads for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.statuspage.settings import Service, StatusPage
from hms_ops.statuspage.uptime import Day, Incident, uptime_of

WORKING: Final = "working"
DEGRADED: Final = "degraded"
OUT: Final = "out"
UNKNOWN: Final = "unknown"
WORDS: Final = {
    OUT: "Not working",
    UNKNOWN: "Not known",
    DEGRADED: "Slow or partly working",
    WORKING: "Working",
}
"""The worst first; what is not known is worse than what is slow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One service as it stands, with its last days."""

    service: Service
    state: str
    days: Sequence[Day]

    @property
    def label(self) -> str:
        return self.service.label or self.service.name

    @property
    def uptime(self) -> float | None:
        return uptime_of(self.days)


@dataclass(frozen=True, slots=True)
class Status:
    """The whole page. updated: Unix seconds."""

    page: StatusPage
    standings: Sequence[Standing]
    incidents: Sequence[Incident]
    updated: float

    @property
    def state(self) -> str:
        """The worst of all services."""
        states = {standing.state for standing in self.standings}
        return next((state for state in WORDS if state in states), UNKNOWN)

    def sentence(self) -> str:
        """What a citizen wants to know first."""
        affected = [standing.label for standing in self.standings if standing.state == self.state]
        if self.state == WORKING:
            return "All services are working."
        if self.state == UNKNOWN:
            return "We cannot tell at the moment how all services are."
        return f"{WORDS[self.state]}: {', '.join(affected)}."


def state_of(service: Service, known: Collection[str], firing: Collection[str], is_ready: bool) -> str:
    """known: the names of the rules there are; firing: of those that fire."""
    if not is_ready or not all(rule in known for rule in service.rules):
        return UNKNOWN
    if any(rule in firing for rule in service.outage):
        return OUT
    return DEGRADED if any(rule in firing for rule in service.degraded) else WORKING


def watching(services: Sequence[Service]) -> Mapping[str, list[tuple[str, str]]]:
    """Rule → (service's name, state) of those it speaks for."""
    found: dict[str, list[tuple[str, str]]] = {}
    for service in services:
        for state, rules in ((OUT, service.outage), (DEGRADED, service.degraded)):
            for rule in rules:
                found.setdefault(rule, []).append((service.name, state))
    return found


def document(status: Status) -> dict[str, Any]:
    """/status.json."""
    return {
        "title": status.page.title,
        "message": status.page.message,
        "state": status.state,
        "words": WORDS[status.state],
        "sentence": status.sentence(),
        "updated": status.updated,
        "services": [service_document(standing) for standing in status.standings],
        "incidents": [
            {"service": incident.service, "state": incident.state, "start": incident.start, "end": incident.end}
            for incident in status.incidents
        ],
    }


def service_document(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.service.name,
        "label": standing.label,
        "state": standing.state,
        "words": WORDS[standing.state],
        "uptime": standing.uptime,
        "days": [{"date": day.date.isoformat(), "share": day.share} for day in standing.days],
    }
