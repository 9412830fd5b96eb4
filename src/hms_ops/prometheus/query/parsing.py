"""A query's text as promql-parser's tree, and what is asked of the samples in it.

Errors: Refused(BAD_DATA) with what the parser says; Refused(LIMIT) over the bounds of prometheus/parse.py;
Refused(MISSING) where promql-parser is not installed.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.prometheus.parse import TooMuch, dotted, parts, tree
from hms_ops.prometheus.query.reader import Span
from hms_ops.prometheus.query.refused import BAD_DATA, LIMIT, MISSING, Refused, bad_parameter, unsupported
from hms_ops.prometheus.selection import ALERTS, name_of
from hms_ops.remote.labels import outer_metric

LOOKBACK_MS: Final = 300_000


def parsed(text: str, name: str = "query") -> Any:
    """The tree of an expression."""
    try:
        return tree(text)
    except ImportError:
        raise Refused(
            MISSING, "PromQL needs the package promql-parser: pip install 'hms-ops[server]', and start the engine again"
        ) from None
    except TooMuch as error:
        raise Refused(LIMIT, f"the query {error}") from None
    except ValueError as error:
        raise bad_parameter(name, f"parse error: {error}{dots_of(text)}") from None


def dots_of(text: str) -> str:
    """What to write for a name of the engine's own, where the parser stumbled over its dots."""
    name = dotted(text)
    if not name:
        return ""
    outer = outer_metric(name, keeps_dots=False)
    return f'; PromQL has no dots in names: for {name} write {outer} (a metric may be quoted: {{"{name}"}})'


def selector_of(text: str) -> Any:
    """The VectorSelector of a `match[]`."""
    node = parsed(text, "match[]")
    if type(node).__name__ != "VectorSelector":
        raise Refused(BAD_DATA, f'invalid parameter "match[]": {text[:100]!r} is no series selector')
    return node


def reads(node: Any) -> Iterator[tuple[Any, int]]:
    """(selector, how long its window is in ms, 0 for none) of every selector, from left to right."""
    kind = type(node).__name__
    if kind == "VectorSelector":
        yield node, 0
    elif kind == "MatrixSelector":
        yield node.vector_selector, milliseconds(node.range)
    for part in parts(node):
        yield from reads(part)


def span_of(selector: Any, window_ms: int, times: NDArray[np.int64]) -> Span:
    """What a selector reads for these times; without a window, the newest sample of five minutes and a row's length."""
    begin = int(times[0]) - offset_ms(selector) - (window_ms or LOOKBACK_MS)
    return Span(selector, begin, int(times[-1]) - offset_ms(selector))


def offset_ms(selector: Any) -> int:
    return 0 if selector.offset is None else milliseconds(selector.offset)


def milliseconds(delta: Any) -> int:
    seconds: float = delta.total_seconds()
    return round(seconds * 1000)


def check_selector(text: str, selector: Any) -> None:
    """What PromQL can say of a selector and is not answered here."""
    if selector.at is not None:
        raise unsupported(text, "@", "a fixed time for a part of a query; ask for that time with `time`")
    if name_of(selector) in ALERTS:
        raise unsupported(
            text, name_of(selector), "alerts are no series here: a rule has a gauge of its own name, 1 while it fires"
        )
    if selector.matchers.or_matchers:
        raise unsupported(text, "or", "matchers joined by `or`; write two selectors joined by the operator `or`")
