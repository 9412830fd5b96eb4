"""What a rule sees now, for `GET /v1/alerts/{name}/explain`: its words, and each part of its condition with numbers.

    {"words": ["Fires when …", "Ends when …"],
     "parts": [{"expression", "query", "role", "depth", "is_condition", "unit", "values": [{"tags", "value"}], "count",
                "problem"?}],
     "drawn": {"query", "operator", "threshold", "unit"} | null}        what to draw: the first comparison's left side,
                                                                        as the rule sees it, at every point

As `rules explain --url` prints it. Read by the dashboard's page of an alert. A worker's call: each part is a query of
now. Bounds: PARTS_MAX parts are asked, VALUES_MAX values of each are told, the greatest first; `count` is of all.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

from hms_ops.alert.language.explaining import Part, parts_of, seen_query, words_of
from hms_ops.alert.language.tree import CONDITIONS, Arith, Compare, Condition, Number, children, selectors
from hms_ops.alert.language.units import number_value, unit_name, unit_of
from hms_ops.alert.rule import Rule
from hms_ops.errors import HmsOpsError

if TYPE_CHECKING:
    from hms_ops.engine import Engine

PARTS_MAX: Final = 24
VALUES_MAX: Final = 20


class PartValue(TypedDict):
    """What a part of a condition is now, for one set of tags."""

    tags: dict[str, str]
    value: float | None


class PartDocument(TypedDict):
    """A part of a rule's condition: how deep it stands, its unit, its greatest values and how many there are. problem:
    why there are none."""

    expression: str
    query: str
    role: str
    depth: int
    is_condition: bool
    unit: str
    values: list[PartValue]
    count: int
    problem: NotRequired[str]


class Drawn(TypedDict):
    """What of a rule can be drawn: the left side of its first comparison, and the threshold in its unit."""

    query: str
    operator: str
    threshold: float | None
    unit: str


def why_document(engine: "Engine", name: str, tags: Mapping[str, str] | None) -> dict[str, Any]:
    """Of the rule of that name, about the instances that have these tags; empty for an alert without a rule."""
    rule = next((one for one in engine.rules() if one.name == name), None)
    if rule is None:
        return {"words": [], "parts": [], "drawn": None}
    parts = parts_of(rule)
    return {
        "words": words_of(rule),
        "parts": [part_document(engine, part, tags or {}) for part in parts[:PARTS_MAX]],
        "drawn": drawn(engine, rule),
    }


def part_document(engine: "Engine", part: Part, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "expression": part.text,
        "query": part.query,
        "role": part.role,
        "depth": part.depth,
        "is_condition": isinstance(part.node, CONDITIONS),
        "unit": unit_text(engine, part.node),
        **numbers_of(engine, part.query, tags),
    }


def numbers_of(engine: "Engine", query: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Its values now, or why there are none."""
    try:
        series = engine.query(query)["series"]
    except (HmsOpsError, ValueError) as error:
        return {"values": [], "count": 0, "problem": str(error)}
    wanted = tags.items()
    found = [{"tags": one["tags"], "value": one["points"][-1][1]} for one in series if wanted <= one["tags"].items()]
    found.sort(key=lambda one: (one["value"] is None, -(one["value"] or 0.0)))
    return {"values": found[:VALUES_MAX], "count": len(found)}


def drawn(engine: "Engine", rule: Rule) -> dict[str, Any] | None:
    """The left side of the first comparison, which is the value of its alerts, with the windows that the rule looks at;
    None where nothing is compared, or at another time, which a query over a range does not see."""
    compare = next(comparisons(rule.condition), None)
    if compare is None or next(selectors(compare.left), None) is None or looks_back(compare.left):
        return None
    unit, threshold = unit_of(compare.left, engine.described_unit), None
    if isinstance(compare.right, Number):
        threshold = number_value(compare.right.value, compare.right.unit, unit)
    return {
        "query": seen_query(rule, compare.left),
        "operator": compare.op,
        "threshold": threshold,
        "unit": unit_name(unit),
    }


def value_unit(engine: "Engine", rule: Rule) -> str:
    """The unit of its alerts' values; "" where there is none, or nobody knows."""
    compare = next(comparisons(rule.condition), None)
    return "" if compare is None else unit_text(engine, compare.left)


def comparisons(node: Condition | Arith) -> Iterator[Compare]:
    if isinstance(node, Compare):
        yield node
    for child in children(node):
        yield from comparisons(child)


def looks_back(node: Condition | Arith) -> bool:
    """Whether there is an OFFSET in it."""
    return getattr(node, "offset_seconds", None) is not None or any(map(looks_back, children(node)))


def unit_text(engine: "Engine", node: Condition | Arith) -> str:
    """None of a condition, and "" too where nobody knows."""
    return "" if isinstance(node, CONDITIONS) else unit_name(unit_of(node, engine.described_unit))
