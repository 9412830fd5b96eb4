"""A dashboard of one's own: a title and panels, read from YAML text with the line of every mistake.

    title: Refund rush
    columns: 3
    panels:
      - {title: Write latency, metric: db.write_ms, unit: ms, range: 15m, width: 2}
      - {title: Slow pages, kind: number, expr: p95(portal.page_ms, 5m), unit: ms, good_below: 300}
      - {title: Database, kind: light, alert: db.write_slow}
      - {kind: text, text: What to do when the queue grows is in the runbook.}

`metric` shows one metric live from the stream, `expr` or `exprs` any expressions of the alert language. What `kind` is
left out stands for is derived: a light where there is an `alert`, text where there is a `text`, else a chart.
Pure: text in, `Board` out. Errors: one ConfigError with all problems, `name:line: …` each. Files are folder.py's.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hms_ops.alert.keys import read_duration, read_name, read_text
from hms_ops.alert.language.grammar import parse_query
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.yamlfile import Node, load_text, unknown_keys

KINDS: Final = ("chart", "number", "light", "table", "alerts", "text")
PANELS_MAX: Final = 60
EXPRS_MAX: Final = 8
COLUMNS_MAX: Final = 4
TEXT_CHARS_MAX: Final = 4_000
TITLE_CHARS_MAX: Final = 200
RANGE_SECONDS: Final = 900.0
RANGE_SECONDS_MIN: Final = 60.0
RANGE_SECONDS_MAX: Final = 400 * 86_400.0
DOCUMENT_KEYS: Final = ("title", "columns", "panels")


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. range: seconds. width: columns it takes. good_below, good_above: what a number or light is good at."""

    kind: str
    title: str = ""
    exprs: tuple[str, ...] = ()
    metric: str | None = None
    unit: str = ""
    range: float = RANGE_SECONDS
    width: int = 1
    good_below: float | None = None
    good_above: float | None = None
    alert: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    title: str
    columns: int
    panels: tuple[Panel, ...]

    def document(self) -> dict[str, Any]:
        return asdict(self)


def read_board(text: str, name: str) -> Board:
    """The dashboard that the text describes; `name` stands for its file in messages."""
    root = load_text(text, name)
    problems = unknown_keys(root, DOCUMENT_KEYS)
    values = read_values(root, {"title": read_title, "columns": read_columns}, problems)
    panels = read_panels(root, problems)
    if problems:
        raise ConfigError(*problems)
    return Board(values.get("title", name), values.get("columns", 2), tuple(panel for panel in panels if panel))


def read_panels(root: Node, problems: list[str]) -> list[Panel | None]:
    listed = root.get("panels")
    nodes = list(listed.elements()) if listed is not None else []
    if not nodes:
        problems.append(root.problem("a dashboard needs panels: - {title: …, metric: …}"))
    if len(nodes) > PANELS_MAX:
        problems.append(nodes[PANELS_MAX].problem(f"more than {PANELS_MAX} panels; make a second dashboard"))
    return [read_panel(node, problems) for node in nodes[:PANELS_MAX]]


def read_panel(node: Node, problems: list[str]) -> Panel | None:
    """The panel, or None with its problems noted."""
    if not isinstance(node.value, dict):
        problems.append(node.expected("a panel, as in {title: …, metric: …}"))
        return None
    found = len(problems)
    problems += unknown_keys(node, [*READERS, "expr"])
    values = read_values(node, READERS, problems)
    if (one := node.get("expr")) is not None:
        values["exprs"] = read_value(one, "expr", lambda value: read_exprs([value]), problems)
    values.setdefault("kind", derived_kind(values))
    if problem := missing(values, "expr" in node.value and "exprs" in node.value):
        problems.append(node.problem(problem))
    return Panel(**values) if len(problems) == found else None


def derived_kind(values: Mapping[str, Any]) -> str:
    if "alert" in values:
        return "light"
    return "text" if "text" in values else "chart"


def missing(values: Mapping[str, Any], is_twice: bool) -> str:
    """What a panel of its kind lacks, or has too much of; "" when it is whole."""
    kind, has_figure = values["kind"], bool(values.get("exprs") or values.get("metric"))
    has_limit = values.get("good_below") is not None or values.get("good_above") is not None
    if is_twice:
        return "give either expr or exprs"
    if kind in ("chart", "number", "table") and not has_figure:
        return f"a {kind} needs a metric, an expr or exprs"
    if kind == "light" and not values.get("alert") and not (has_figure and has_limit):
        return "a light needs an alert, or an expr or a metric with good_below or good_above"
    return "a text panel needs its text" if kind == "text" and not values.get("text") else ""


Reader = Callable[[Any], Any]


def read_values(node: Node, readers: Mapping[str, Reader], problems: list[str]) -> dict[str, Any]:
    """What the keys that stand in the node mean; a key without a value counts as not given."""
    given = ((key, child) for key, child in node.items() if key in readers and child.value is not None)
    return {key: read_value(child, key, readers[key], problems) for key, child in given}


def read_value(node: Node, key: str, read: Reader, problems: list[str]) -> Any:
    try:
        return read(node.value)
    except ExpressionError as error:
        problems.append(node.problem(f"{key}: column {error.column}: {error.message}"))
    except ValueError as error:
        problems.append(node.problem(f"{key}: {error}"))
    return None


def read_title(value: Any) -> str:
    title = read_text(value)
    if len(title) > TITLE_CHARS_MAX:
        raise ValueError(f"{len(title)} characters are more than {TITLE_CHARS_MAX}")
    return title


def read_kind(value: Any) -> str:
    if value not in KINDS:
        raise ValueError(f"{value!r} is none of {', '.join(KINDS)}")
    return str(value)


def whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, found {value!r}")
        return value

    return read


read_columns: Final = whole(1, COLUMNS_MAX)


def read_number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"expected a number, found {value!r}")
    return float(value)


def read_exprs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= EXPRS_MAX:
        raise ValueError(f"expected a list of 1 to {EXPRS_MAX} expressions, found {value!r:.80}")
    exprs = tuple(map(read_text, value))
    for expr in exprs:
        parse_query(expr)
    return exprs


def read_range(value: Any) -> float:
    seconds = read_duration(value)
    if not RANGE_SECONDS_MIN <= seconds <= RANGE_SECONDS_MAX:
        raise ValueError(f"expected a duration from 1m to 400d, found {value!r}")
    return seconds


def read_prose(value: Any) -> str:
    text = read_text(value)
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"{len(text):,} characters are more than {TEXT_CHARS_MAX:,}")
    return text


READERS: Final[dict[str, Reader]] = {
    "kind": read_kind,
    "title": read_title,
    "exprs": read_exprs,
    "metric": read_name,
    "unit": read_text,
    "range": read_range,
    "width": whole(1, COLUMNS_MAX),
    "good_below": read_number,
    "good_above": read_number,
    "alert": read_name,
    "text": read_prose,
}
