"""Alert instances across a restart: their records on disk, and where each stands when the engine is back.

The book writes a record on each transition and whenever a clock stops or goes on; all else that time does to a state
follows from one fact, the last second at which alerting was alive. So a record is read twice over: `as_of` brings it to
that second, `resume` to now. Pure values; who writes them is `instances.py` and `unruled.py`, where they lie
`storage/alerting.py`.

    away below 10 s     nothing but a restart: everything goes on as it was; clocks stood still in seconds nobody judged
    away up to an hour  the clocks of `for` and `keep` did not run; pending has at least min(10 min, for) left
    longer              pending is dropped; what fired is stale, until the condition is FALSE for the first time
    a clock set back    clocks show what they showed

A record (table "instances", key `Alert.key`):

    name, tags, phase, since, clock_start, stepped, episode, value    of any instance, `AlertState`'s fields
    severity, rule_text, notify, policy, rule_tags    to tell of its end when its rule is gone
    looks, for                                        what its rule looked for, and for how long
    expires, ttl, reason, annotations                 of an `alert_now`, which has no rule
    still                                             where the clock stands still since `stepped`
    stale                                             why it is, where it is
    ended                                             the second, where it is only remembered for its episode's number

Errors: `kept_of_record` raises ValueError, KeyError or TypeError for what is no record of an instance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.alert.states.instance import Facts, Key, id_of
from hms_ops.alert.states.state import PHASES, AlertState, Timing

BLINK_SECONDS: Final = 10  # away less than this is nothing but a restart
AWAY_SECONDS_MAX: Final = 3600
LEFT_SECONDS_MIN: Final = 600  # of `for`, after the engine was away


@dataclass(frozen=True, slots=True)
class Kept:
    """An instance as its record has it."""

    key: Key
    state: AlertState
    value: float
    facts: Facts
    is_still: bool = False
    stale: str = ""
    ended: int = 0
    looks: str = ""
    for_seconds: float = 0.0
    expires: int = 0
    ttl_seconds: int = 0
    reason: str = ""


def record_of(key: Key, state: AlertState, value: float, facts: Facts, more: Mapping[str, Any]) -> dict[str, Any]:
    """A record; `more` are the fields that only some have. Lists and maps of the facts are those of all instances of
    the rule, to be read only."""
    return {
        "name": key[0],
        "tags": dict(key[1]),
        "phase": state.phase,
        "since": state.since,
        "clock_start": state.clock_start,
        "stepped": state.stepped,
        "episode": state.episode,
        "value": value,
        "severity": facts.severity,
        "rule_text": facts.rule_text,
        "notify": facts.notify,
        "policy": facts.policy,
        "rule_tags": facts.rule_tags,
        **more,
    }


def kept_of_record(key: str, record: Mapping[str, Any]) -> Kept:
    """ValueError, KeyError or TypeError for what is no record of the instance `key`."""
    tags = texts_of(record["tags"])
    name = text_of(record["name"])
    instance = (name, tuple(sorted(tags.items())))
    if id_of(instance) != key:
        raise ValueError(f"the record of {name!r} lies under another's key, {key!r}")
    return Kept(
        key=instance,
        state=state_of(record),
        value=float(record["value"]),
        facts=facts_of_record(record),
        is_still=bool(record.get("still", False)),
        stale=text_of(record.get("stale", "")),
        ended=second_of(record.get("ended", 0)),
        looks=text_of(record.get("looks", "")),
        for_seconds=float(record.get("for", 0.0)),
        expires=second_of(record.get("expires", 0)),
        ttl_seconds=second_of(record.get("ttl", 0)),
        reason=text_of(record.get("reason", "")),
    )


def state_of(record: Mapping[str, Any]) -> AlertState:
    if record["phase"] not in PHASES:
        raise ValueError(f"phase is one of {', '.join(PHASES)}, found {record['phase']!r}")
    numbers = [second_of(record[name]) for name in ("since", "clock_start", "stepped", "episode")]
    return AlertState(record["phase"], *numbers)


def facts_of_record(record: Mapping[str, Any]) -> Facts:
    return Facts(
        text_of(record["severity"]),
        text_of(record["rule_text"]),
        tuple(text_of(receiver) for receiver in record["notify"]),
        text_of(record["policy"]),
        texts_of(record["rule_tags"]),
        texts_of(record.get("annotations", {})),
    )


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def texts_of(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected texts by name, found {value!r}")
    return {text_of(name): text_of(text) for name, text in value.items()}


def second_of(value: Any) -> int:
    """A whole number of seconds that fits the arrays."""
    if not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError(f"expected a second, found {value!r}")
    return value


# ---- back again


def as_of(kept: Kept, timing: Timing, alive_second: int) -> AlertState:
    """The state at the last second at which alerting was alive; the record may be much older."""
    state = kept.state
    judged = max(state.stepped, alive_second // timing.every_seconds * timing.every_seconds)
    if state.phase not in ("pending", "recovering"):
        return state
    stood = judged - state.stepped if kept.is_still else 0
    return state._replace(clock_start=state.clock_start + stood, stepped=judged)


def resume(kept: Kept, timing: Timing, alive_second: int, now_second: int) -> tuple[AlertState | None, str]:
    """Where a live instance goes on, None when it is dropped; and why it is stale, or ""."""
    state, away = as_of(kept, timing, alive_second), now_second - alive_second
    if away < 0:
        moved = state._replace(clock_start=max(0, state.clock_start + away), stepped=max(0, state.stepped + away))
        return moved, kept.stale
    if away < BLINK_SECONDS:
        return missed(state, max(0, away - 1)), kept.stale  # the tick to come judges now_second
    if away <= AWAY_SECONDS_MAX:
        return stopped(state, timing, alive_second, now_second), kept.stale
    if state.phase == "pending":
        return None, ""
    stale = kept.stale or f"stale: nobody watched for {away_text(away)}, and it has not been seen to end since"
    return state._replace(phase="firing", stepped=now_second), stale


def missed(state: AlertState, seconds: int) -> AlertState:
    """The state after so few seconds that nobody judged: its clock stood still, and that is all."""
    if state.phase not in ("pending", "recovering"):
        return state
    return state._replace(clock_start=state.clock_start + seconds, stepped=state.stepped + seconds)


def stopped(state: AlertState, timing: Timing, alive_second: int, now_second: int) -> AlertState:
    """The state after a time in which its clock did not run."""
    ran = max(0, alive_second - state.clock_start)
    if state.phase == "pending":
        left = max(timing.for_seconds - ran, min(LEFT_SECONDS_MIN, timing.for_seconds))
        ran = max(0, int(timing.for_seconds - left))
    if state.phase == "firing":
        return state
    return state._replace(clock_start=now_second - ran, stepped=now_second)


def away_text(seconds: int) -> str:
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {minutes} min"
