"""An anomaly that lasts, and how it outlives a restart: the episode, where its series stands in it, its record on disk.

    anomalies.py ─► Episode ──┐
    detector ─────► Standing ─┴─► Kept ─► record_of ─► table "anomalies" ─► kept_of_record ─► Kept ─► detector

Records are written when an episode starts, is held and ends, and at a stop; all else that time does to one follows from
the last second at which alerting was alive (marks, `alert/states/book.py`): the ten minutes for which a baseline stands
still do not run in seconds nobody judged. After a crash the memory of the last five seconds is that of the last record,
so that an episode is held, or ends, up to four judged seconds later than it would have.

A record (key: `Episode.key`):

    name, rule                        of the rule, and what it looked for: LOOKS by name
    metric, tags                      of the series
    value                             the one that started it
    judged, held, baseline, since     `Standing`

Pure values, no numba; the detector has them in arrays. Errors: `kept_of_record` raises ValueError, KeyError or
TypeError for what is no record of an episode.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hms_ops.alert.notification import digest
from hms_ops.alert.rule import AnomalyRule
from hms_ops.alert.states.restart import second_of, text_of, texts_of

LOOKS: Final = ("metric", "factor", "window_seconds", "on", "min_share", "min_samples", "min_difference")
"""What a rule looks for: one that is changed in anything else keeps its episodes."""

JUDGED_MAX: Final = 0b1_1111  # all of the last five judged seconds were anomalous
EVERY: Final = "*"  # the metric of a rule on all series


class Standing(NamedTuple):
    """Where a series stands in an episode. judged: bits of the last five judged seconds, bit 0 the newest, 1 anomalous;
    baseline: frozen since its first second; since: that second, moved on by those that nobody judged."""

    judged: int
    is_held: bool
    baseline: float
    since: int


@dataclass(frozen=True, slots=True)
class Episode:
    """An anomaly that lasts: the rule, the series' metric and tags, the value that started it, and what it was held to.

    tags: its alert's, with the metric where the rule is on every one. key: its record's."""

    rule: AnomalyRule
    metric: str
    series_tags: dict[str, str]
    value: float
    baseline: float
    tags: dict[str, str]
    key: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An episode that is not in the detector now, as its record has it."""

    episode: Episode
    standing: Standing


def episode_of(rule: AnomalyRule, metric: str, tags: Mapping[str, str], value: float, baseline: float) -> Episode:
    told = {"metric": metric, **tags} if rule.metric == EVERY else dict(tags)
    key = digest([rule.name, metric, sorted(tags.items())])
    return Episode(rule, metric, dict(tags), value, baseline, told, key)


def looks_for_same(one: AnomalyRule, other: AnomalyRule) -> bool:
    return all(getattr(one, field) == getattr(other, field) for field in LOOKS)


def record_of(episode: Episode, standing: Standing) -> dict[str, Any]:
    return {
        "name": episode.rule.name,
        "rule": {field: getattr(episode.rule, field) for field in LOOKS},
        "metric": episode.metric,
        "tags": episode.series_tags,
        "value": episode.value,
        "judged": standing.judged,
        "held": standing.is_held,
        "baseline": standing.baseline,
        "since": standing.since,
    }


def kept_of_record(key: str, record: Mapping[str, Any]) -> Kept:
    """ValueError, KeyError or TypeError for what is no record of the episode `key`."""
    rule = rule_of(record)
    standing = standing_of(record)
    metric, tags = text_of(record["metric"]), texts_of(record["tags"])
    episode = episode_of(rule, metric, tags, finite(record["value"]), standing.baseline)
    if episode.key != key:
        raise ValueError(f"the record of {rule.name!r} lies under another's key, {key!r}")
    return Kept(episode, standing)


def rule_of(record: Mapping[str, Any]) -> AnomalyRule:
    """The rule as far as it mattered to the detector."""
    looks = record["rule"]
    if not isinstance(looks, Mapping):
        raise TypeError(f"expected what the rule looked for, found {looks!r}")
    texts = {field: text_of(looks[field]) for field in ("metric", "on")}
    numbers = {field: finite(looks[field]) for field in LOOKS if field not in texts}
    return AnomalyRule(text_of(record["name"]), **texts, **numbers)  # type: ignore[arg-type]


def standing_of(record: Mapping[str, Any]) -> Standing:
    judged, is_held = record["judged"], record["held"]
    if not isinstance(judged, int) or not 0 < judged <= JUDGED_MAX:
        raise ValueError(f"an open episode has 1 to {JUDGED_MAX} for its last seconds, found {judged!r}")
    if not isinstance(is_held, bool):
        raise TypeError(f"expected whether it is held, found {is_held!r}")
    baseline, since = finite(record["baseline"]), second_of(record["since"])
    if baseline <= 0 or not since:
        raise ValueError(f"a baseline is above 0 and has a first second, found {baseline!r}, {since!r}")
    return Standing(judged, is_held, baseline, since)


def finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number, found {value!r}")
    return float(value)


def moved_by(standing: Standing, alive_second: int, now_second: int) -> Standing:
    """After a restart: the seconds in between that nobody judged do not count; a clock that was set back moves it too.
    The tick to come judges the second before `now_second`."""
    away = now_second - alive_second
    return shifted(standing, away if away < 0 else max(0, away - 1))


def shifted(standing: Standing, seconds: int) -> Standing:
    return standing._replace(since=max(1, standing.since + seconds))
