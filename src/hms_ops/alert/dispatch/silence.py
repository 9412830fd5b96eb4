"""Silences: a time range in which matching alerts are not told to anybody, and who asked for it.

Made by `new_silence` (HTTP, CLI, Python), kept by the dispatcher in the table "silences", asked by it for each alert.
`Silences` indexes them by the alert's name they want, so that one alert costs one look-up and the few that name none.
Ended ones are remembered REMEMBERED_SECONDS. Bound: SILENCES_MAX, the ended ones among them, of which the oldest go
first; what is refused beyond is counted by the dispatcher, and `SilenceRefused` is for who asked for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hms_ops.alert.dispatch.matching import Matchers, matchers_of_record, matchers_record
from hms_ops.alert.notification import digest
from hms_ops.errors import HmsOpsError

SILENCES_MAX: Final = 1000
REMEMBERED_SECONDS: Final = 7 * 86_400.0
SILENCE_SECONDS_MAX: Final = 366 * 86_400.0
ID_CHARACTERS: Final = 12


class SilenceRefused(HmsOpsError):
    """As many silences last as can be remembered."""


@dataclass(frozen=True, slots=True)
class Silence:
    """starts, ends, created: Unix seconds; the end does not belong to it. ended_by: who ended it before its time.
    is_over: the dispatcher has noted its end, and told again what it had silenced."""

    id: str
    matchers: Matchers
    starts: float
    ends: float
    who: str
    comment: str = ""
    created: float = 0.0
    ended_by: str = ""
    is_over: bool = False

    def state(self, now: float) -> Literal["pending", "active", "ended"]:
        if now < self.starts:
            return "pending"
        return "active" if now < self.ends else "ended"


@dataclass(frozen=True, slots=True)
class AddSilence:
    """The command to begin one."""

    silence: Silence

    @property
    def who(self) -> str:
        return self.silence.who

    @property
    def comment(self) -> str:
        return self.silence.comment

    @property
    def at(self) -> float:
        return self.silence.created


@dataclass(frozen=True, slots=True)
class EndSilence:
    """The command to end one now."""

    id: str
    who: str
    comment: str = ""
    at: float = 0.0


def new_silence(
    matchers: Matchers, *, now: float, seconds: float, who: str, comment: str = "", starts: float | None = None
) -> Silence:
    """A silence from `starts` (now) for so many seconds; ValueError beyond SILENCE_SECONDS_MAX, or when it is as wide
    as everything: one matcher at least must want a tag to be there, as in Alertmanager."""
    if not 0 < seconds <= SILENCE_SECONDS_MAX:
        raise ValueError(f"a silence lasts up to {SILENCE_SECONDS_MAX / 86_400:.0f} days, not {seconds:g} s")
    if matchers.accept({}):
        raise ValueError("the silence would silence everything; name at least an alert or a tag that must be there")
    begin = now if starts is None else max(now, starts)
    key = digest([matchers_record(matchers), begin, seconds, who, comment, now])[:ID_CHARACTERS]
    return Silence(key, matchers, begin, begin + seconds, who, comment, now)


class Silences:
    """All that are known, by id. `Silences.active` is asked for every alert that would be told."""

    def __init__(self) -> None:
        self._all: dict[str, Silence] = {}
        self._by_name: dict[str, list[Silence]] = {}  # "" holds those that want no one name

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Silence]:
        return iter(self._all.values())

    def get(self, key: str) -> Silence | None:
        return self._all.get(key)

    def put(self, silence: Silence) -> None:
        self.drop(silence.id)
        self._all[silence.id] = silence
        self._by_name.setdefault(silence.matchers.alertname, []).append(silence)

    def drop(self, key: str) -> None:
        known = self._all.pop(key, None)
        if known is not None:
            named = self._by_name[known.matchers.alertname]
            named.remove(known)
            if not named:
                del self._by_name[known.matchers.alertname]

    def oldest_ended(self, now: float) -> Silence | None:
        ended = [silence for silence in self if silence.state(now) == "ended"]
        return min(ended, key=lambda silence: (silence.ends, silence.id), default=None)

    def active(self, labels: Mapping[str, str], now: float) -> Silence | None:
        """The one that silences an alert of these labels now, the first by its id."""
        if not self._all:
            return None
        found = [
            silence
            for name in {"", labels.get("alertname", "")}
            for silence in self._by_name.get(name, ())
            if silence.starts <= now < silence.ends and silence.matchers.accept(labels)
        ]
        return min(found, key=lambda silence: silence.id, default=None)


def ended(silence: Silence, now: float, who: str) -> Silence:
    """The same silence, over now; one that has not begun never will."""
    return replace(silence, starts=min(silence.starts, now), ends=now, ended_by=who)


def of_alert(silences: Iterable[Silence], name: str, tags: Mapping[str, str] | None, now: float) -> list[Silence]:
    """Those not yet over that name this alert; with tags only those that would silence an alert of just these."""
    labels = {**(tags or {}), "alertname": name}
    return [
        silence
        for silence in silences
        if silence.state(now) != "ended"
        and silence.matchers.alertname == name
        and (tags is None or silence.matchers.accept(labels))
    ]


def silence_record(silence: Silence) -> dict[str, Any]:
    return {
        "id": silence.id,
        "matchers": matchers_record(silence.matchers),
        "starts": silence.starts,
        "ends": silence.ends,
        "who": silence.who,
        "comment": silence.comment,
        "created": silence.created,
        "ended_by": silence.ended_by,
        "is_over": silence.is_over,
    }


def silence_of_record(record: Mapping[str, Any]) -> Silence:
    """ValueError, KeyError or TypeError for a map that is no silence's record."""
    return Silence(
        id=str(record["id"]),
        matchers=matchers_of_record(record["matchers"]),
        starts=float(record["starts"]),
        ends=float(record["ends"]),
        who=str(record["who"]),
        comment=str(record["comment"]),
        created=float(record["created"]),
        ended_by=str(record["ended_by"]),
        is_over=bool(record["is_over"]),
    )
