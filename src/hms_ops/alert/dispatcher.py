"""Skeleton: the signatures that the keeper calls; the body follows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from hms_ops.alert.acknowledgement import Ack, Unack
from hms_ops.alert.notification import Alert, Notification
from hms_ops.alert.routing import Routing
from hms_ops.alert.silence import AddSilence, EndSilence, Silence
from hms_ops.change import Change

Command: TypeAlias = Ack | Unack | AddSilence | EndSilence


class Dispatch(NamedTuple):
    """What one step came to."""

    notifications: list[Notification]
    changes: list[Change]
    decisions: list[dict[str, Any]]
    cancelled: list[str]


class Dispatcher:
    def __init__(self, routing: Routing, *, origin: str) -> None:
        raise NotImplementedError

    def replace(self, routing: Routing) -> None:
        raise NotImplementedError

    def step(self, now: float, events: Sequence[Alert], commands: Sequence[Command] = ()) -> Dispatch:
        raise NotImplementedError

    def next_due(self) -> float:
        raise NotImplementedError

    def restore(self, tables: Mapping[str, Mapping[str, Mapping[str, Any]]], now: float) -> None:
        raise NotImplementedError

    def move_clocks(self, seconds: float) -> None:
        raise NotImplementedError

    def firing_count(self, name: str, tags: Mapping[str, str] | None = None) -> int:
        raise NotImplementedError

    def standings(self, now: float) -> dict[str, dict[str, Any]]:
        raise NotImplementedError

    def explain(self, name: str, tags: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        raise NotImplementedError

    def silences(self, now: float) -> list[Silence]:
        raise NotImplementedError

    def acks(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def counters(self) -> dict[str, int]:
        raise NotImplementedError
