"""OpenSLO v1 files as SLOs of ours: what maps, how well, and what does not.

    kind: SLO        spec.indicator, or indicatorRef to a `kind: SLI` of the same files   → good | bad, total
                     spec.objectives[] op, value, target | targetPercent                  → objective, threshold
                     spec.timeWindow[] duration, isRolling                                → window
                     metadata.name, spec.service, metadata.labels, description            → slo, tags, annotations

A query is taken as the series whose events it counts: a selector of ours, or PromQL's around which `sum`, `rate` and
`increase` are taken off, for each event is counted when it comes. Everything has a grade, as rules have that are read
from Prometheus: exact; approximate, with the reasons; unsupported, with the reason.

Files may hold several documents, and lists of objects. Errors: ConfigError for broken YAML; what cannot be mapped is an
Imported without keys. Source: github.com/OpenSLO/OpenSLO, README.md, apiVersion openslo/v1. Not here: DataSource's
connections, Service, AlertPolicy and its parts: alerts of ours are made for every SLO (alert/slo.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.language.tree import Selector
from hms_ops.alert.language.wording import format as text_of
from hms_ops.alert.rule import describe
from hms_ops.alert.slo import named, slo_from_keys
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.yamlfile import TEXT_BYTES_MAX, Node, load_text

VERSION: Final = "openslo/v1"
OPERATORS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
LABEL_SOURCES: Final = ("Prometheus", "VictoriaMetrics", "Mimir", "Cortex", "Thanos", "hms-ops", "HMS-OPS")
NOT_IMPORTED: Final = ("DataSource", "Service", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")

_DAYS: Final = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
_DURATION: Final = re.compile(r"([0-9]{1,6})([mhdwMQY])")
_DOCUMENT: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_BY: Final = r"by\s*\((?P<labels>[^()]*)\)"
_CALLS: Final = tuple(
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        rf"(?P<name>sum)\s*\((?P<inner>.*)\)\s*{_BY}",
        rf"(?P<name>sum)\s*{_BY}\s*\((?P<inner>.*)\)",
        r"(?P<name>sum|rate|increase)(?P<labels>)\s*\((?P<inner>.*)\)",
    )
)


class Unmapped(ValueError):
    """Why an SLO has none of ours."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One objective of an SLO. keys: as a rule file has them, None when it is unsupported. source: `file:line`."""

    name: str
    grade: str  # "exact" | "approximate" | "unsupported"
    keys: Mapping[str, Any] | None
    reasons: tuple[str, ...]
    source: str


@dataclass(slots=True)
class Found:
    """What an SLO says so far, and in what it differs from what was meant."""

    keys: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


# ---- files


def import_files(paths: Iterable[Path]) -> list[Imported]:
    """The SLOs of all files, which may refer to each other's indicators. ConfigError for what cannot be read."""
    texts = []
    for path in paths:
        try:
            texts.append((path.read_text("utf-8-sig"), str(path)))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}:1: cannot read the file: {error}") from None
    return import_texts(texts)


def import_texts(texts: Iterable[tuple[str, str]]) -> list[Imported]:
    """The same of (text, name) pairs."""
    objects = [one for text, name in texts for one in objects_of(text, name)]
    indicators = {str(at(one, "metadata", "name")): one for one in objects if kind_of(one) == "SLI"}
    sources = {
        str(at(one, "metadata", "name")): at(one, "spec", "type") for one in objects if kind_of(one) == "DataSource"
    }
    found: list[Imported] = []
    for one in objects:
        if kind_of(one) == "SLO":
            found += imported(one, indicators, sources)
        elif kind_of(one) not in ("SLI", *NOT_IMPORTED):
            found.append(refused(one, f"kind {kind_of(one)!r} of {VERSION} is not known"))
    return found


def objects_of(text: str, name: str) -> Iterator[Node]:
    """The objects of a file: documents parted by `---`, and the elements of lists."""
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError(f"{name}:1: the text is longer than {TEXT_BYTES_MAX:,} bytes; split the file")
    begins = [0, *(found.start() for found in _DOCUMENT.finditer(text)), len(text)]
    for begin, end in pairwise(begins):
        root = load_text("\n" * text.count("\n", 0, begin) + _DOCUMENT.sub("", text[begin:end]), name)
        if isinstance(root.value, list):
            yield from root.elements()
        elif root.value is not None:
            yield root


def at(node: Any, *path: str) -> Any:
    """The value under keys, one in the other; None where there is none."""
    value = node.value if isinstance(node, Node) else node
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def kind_of(node: Node) -> str:
    return str(at(node, "kind"))


# ---- one SLO


def imported(node: Node, indicators: Mapping[str, Node], sources: Mapping[str, Any]) -> list[Imported]:
    """One Imported for each of its objectives."""
    objectives = at(node, "spec", "objectives")
    if not isinstance(objectives, list) or not objectives:
        return [refused(node, "it has no objectives")]
    made = []
    for number, objective in enumerate(objectives, 1):
        name = str(at(node, "metadata", "name")) + (f".{number}" if len(objectives) > 1 else "")
        try:
            found = mapped(node, name, objective, indicators, sources)
            slo, problems = slo_from_keys(found.keys, node.where)
            if slo is None:
                raise Unmapped("; ".join(describe(problem) for problem in problems))
        except Unmapped as error:
            made.append(refused(node, str(error), name))
        else:
            grade = "approximate" if found.reasons else "exact"
            made.append(Imported(name, grade, found.keys, tuple(found.reasons), node.where))
    return made


def refused(node: Node, why: str, name: str = "") -> Imported:
    return Imported(name or str(at(node, "metadata", "name")), "unsupported", None, (why,), node.where)


def mapped(node: Node, name: str, objective: Any, indicators: Mapping[str, Node], sources: Mapping[str, Any]) -> Found:
    """The keys of one objective; Unmapped when it has none."""
    if at(node, "apiVersion") != VERSION:
        raise Unmapped(f"apiVersion {at(node, 'apiVersion')!r} is not {VERSION}")
    method = at(node, "spec", "budgetingMethod")
    if method not in (None, "Occurrences"):
        raise Unmapped(f"budgetingMethod {method} judges slices of time; here each event counts")
    found = Found({"slo": name, "objective": percent_of(objective)})
    read_indicator(found, indicator_of(node, indicators), objective, sources)
    read_window(found, at(node, "spec", "timeWindow"))
    read_texts(found, node, objective)
    if at(node, "spec", "alertPolicies"):
        found.reasons.append(
            "alertPolicies are left out: every SLO has alerts on its burn rate; notify and policy say who"
        )
    return found


def percent_of(objective: Any) -> float:
    """The promise in percent, exactly as it is written."""
    share, percent = at(objective, "target"), at(objective, "targetPercent")
    given = percent if share is None else share
    if (share is None) == (percent is None) or isinstance(given, bool) or not isinstance(given, int | float):
        raise Unmapped("an objective has a target or a targetPercent, as a number")
    return float(Fraction(str(given)) * (100 if percent is None else 1))


def indicator_of(node: Node, indicators: Mapping[str, Node]) -> Mapping[str, Any]:
    """The SLI's spec, inline or by its name."""
    reference = at(node, "spec", "indicatorRef")
    if reference is not None and reference not in indicators:
        raise Unmapped(f"its indicator {reference!r} is in none of the files")
    spec = at(indicators[reference], "spec") if reference is not None else at(node, "spec", "indicator", "spec")
    if not isinstance(spec, dict):
        raise Unmapped("it has no indicator")
    return spec


def read_indicator(found: Found, spec: Mapping[str, Any], objective: Any, sources: Mapping[str, Any]) -> None:
    if spec.get("thresholdMetric") is not None:
        operator, limit = OPERATORS.get(str(at(objective, "op"))), at(objective, "value")
        if operator is None or isinstance(limit, bool) or not isinstance(limit, int | float):
            raise Unmapped("a threshold wants op (lt, lte, gt, gte) and value in its objective")
        series = series_of(found, spec["thresholdMetric"], sources, is_counted=False)
        found.keys["good"] = f"{text_of(series)} {operator} {limit!r}"
        return
    ratio = spec.get("ratioMetric")
    if not isinstance(ratio, dict):
        raise Unmapped("its indicator has neither a thresholdMetric nor a ratioMetric")
    if "raw" in ratio:
        raise Unmapped("ratioMetric.raw is a ratio already; the events behind it cannot be counted")
    if ratio.get("counter") is not True:
        raise Unmapped("ratioMetric without `counter: true`: gauges cannot be added up over a window")
    parts = [key for key in ("good", "bad") if ratio.get(key) is not None]
    if len(parts) != 1 or ratio.get("total") is None:
        raise Unmapped("a ratioMetric wants total and one of good and bad")
    for key in (*parts, "total"):
        found.keys[key] = text_of(series_of(found, ratio[key], sources, is_counted=True))


def series_of(found: Found, metric: Any, sources: Mapping[str, Any], *, is_counted: bool) -> Selector:
    """The series that a metricSource's query reads."""
    source = at(metric, "metricSource")
    kind = at(source, "type") or sources.get(str(at(source, "metricSourceRef")))
    query = at(source, "spec", "query")
    if not isinstance(query, str) or not query.strip():
        raise Unmapped("a metricSource without spec.query names no metric")
    if kind is not None and kind not in LABEL_SOURCES:
        raise Unmapped(f"the query of a metricSource of type {kind} cannot be read: {query.strip()[:100]}")
    inner = unwrapped(found, query.strip(), is_counted)
    try:
        series = parse_query(inner).expression
    except ExpressionError as error:
        raise Unmapped(f"the query cannot be read: {str(error).partition(chr(10))[0]}: {inner[:100]}") from None
    if not isinstance(series, Selector):
        raise Unmapped(f"the query is no series: {inner[:100]}")
    if series.offset_seconds is not None:
        raise Unmapped(f"events are counted as they come, without offset: {inner[:100]}")
    return Selector(series.metric, series.matchers)


def unwrapped(found: Found, query: str, is_counted: bool) -> str:
    """The series inside sum, rate and increase; `by` groups the SLO."""
    while (call := call_of(query)) is not None:
        function = call["name"].lower()
        labels = [label.strip() for label in call["labels"].split(",") if label.strip()]
        if not is_counted:
            raise Unmapped(
                f"{function} over a metric with a threshold: each sample is judged by itself here: {query[:100]}"
            )
        if labels:
            group_by = sorted({*found.keys.get("group_by", ()), *labels})
            note(found, f"grouped by {', '.join(map(named, group_by))}: each group has a budget of its own")
            found.keys["group_by"] = group_by
        if function != "sum":
            note(found, f"{function} and its window are left out: each event is counted when it comes")
        query = call["inner"].strip()
    return query


def call_of(query: str) -> re.Match[str] | None:
    """The one call that a query is."""
    matches = (pattern.fullmatch(query) for pattern in _CALLS)
    return next((found for found in matches if found is not None and is_balanced(found["inner"])), None)


def is_balanced(text: str) -> bool:
    """Whether every parenthesis that closes was opened in it: `a) / sum(b` is not inside one call."""
    depth = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0


def note(found: Found, reason: str) -> None:
    if reason not in found.reasons:
        found.reasons.append(reason)


def read_window(found: Found, windows: Any) -> None:
    if not windows:
        found.reasons.append("no timeWindow: 30d is taken")
        return
    window = windows[0] if isinstance(windows, list) else windows
    match = _DURATION.fullmatch(str(at(window, "duration")))
    if match is None:
        raise Unmapped(f"the timeWindow's duration {at(window, 'duration')!r} is none such as 30d, 4w or 1M")
    number, unit = int(match[1]), match[2]
    if unit in "MQY":
        found.reasons.append(f"{match[0]} is taken as {number * _DAYS[unit]} days")
    if at(window, "calendar") is not None or at(window, "isRolling") is False:
        found.reasons.append("a window aligned with the calendar becomes a rolling one of the same length")
    found.keys["window"] = f"{number * _DAYS[unit]}d" if unit in _DAYS else match[0]


def read_texts(found: Found, node: Node, objective: Any) -> None:
    """Names and descriptions for people, labels as tags."""
    texts = {
        "title": at(node, "metadata", "displayName"),
        "objective": at(objective, "displayName"),
        "description": at(node, "spec", "description"),
    }
    annotations = {key: str(text).strip() for key, text in texts.items() if text}
    tags = {"service": str(at(node, "spec", "service"))} if at(node, "spec", "service") else {}
    for label, value in (at(node, "metadata", "labels") or {}).items():
        if isinstance(value, list):
            found.reasons.append(f"label {label} has several values, which are joined")
            value = ",".join(map(str, value))
        tags[label] = str(value)
    found.keys |= {key: texts for key, texts in (("tags", tags), ("annotations", annotations)) if texts}


# ---- ours, written


def rule_file(made: Iterable[Imported]) -> str:
    """A rule file with these SLOs: reasons stand above each as comments, an unsupported one is nothing else."""
    parts = ["slos:\n"]
    for one in made:
        reasons = "".join(f"  # {one.grade}: {line}\n" for reason in one.reasons for line in reason.splitlines())
        if one.keys is None:
            parts.append(f"  # {one.name} ({one.source})\n{reasons}")
            continue
        text = yaml.safe_dump([dict(one.keys)], sort_keys=False, allow_unicode=True, width=110)
        parts.append(reasons + "".join(f"  {line}\n" for line in text.splitlines()))
    return "".join(parts) if len(parts) > 1 and any(one.keys for one in made) else "slos: []\n" + "".join(parts[1:])


def summary(made: Iterable[Imported]) -> str:
    counts = {grade: sum(one.grade == grade for one in made) for grade in ("exact", "approximate", "unsupported")}
    return ", ".join(f"{number} {grade}" for grade, number in counts.items())
