"""Functions of vectors and numbers that are neither of windows nor of each value by itself: a table, name → reader.

A reader gets the evaluation, which it asks for the values of its arguments (the parser's nodes), and returns its own.
The parser has counted the arguments and knows their sorts.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hms_ops.prometheus.query import pointwise
from hms_ops.prometheus.query.histogram import histogram_quantile
from hms_ops.prometheus.query.instant import Instant, Scalar, Value, renamed
from hms_ops.prometheus.selection import equal_labels

if TYPE_CHECKING:
    from hms_ops.prometheus.query.evaluation import Evaluation


def _clamp(of: "Evaluation", arguments: list[Any]) -> Value:
    """Nothing where the bounds are the wrong way round."""
    found, low, high = of.instant(arguments[0]), of.scalar(arguments[1]), of.scalar(arguments[2])
    return renamed(found, pointwise.clamped(found.values, low, high), found.there & ~np.greater(low, high))


def _clamp_min(of: "Evaluation", arguments: list[Any]) -> Value:
    found = of.instant(arguments[0])
    return renamed(found, np.maximum(of.scalar(arguments[1]), found.values))


def _clamp_max(of: "Evaluation", arguments: list[Any]) -> Value:
    found = of.instant(arguments[0])
    return renamed(found, np.minimum(of.scalar(arguments[1]), found.values))


def _round(of: "Evaluation", arguments: list[Any]) -> Value:
    found = of.instant(arguments[0])
    to = of.scalar(arguments[1]) if len(arguments) > 1 else np.ones(len(of.times))
    return renamed(found, pointwise.rounded(found.values, to))


def _vector(of: "Evaluation", arguments: list[Any]) -> Value:
    values = of.scalar(arguments[0])
    return Instant([{}], values[None], np.ones((1, len(values)), bool))


def _scalar(of: "Evaluation", arguments: list[Any]) -> Value:
    found = of.instant(arguments[0])
    if not found.labels:
        return Scalar(np.full(len(of.times), np.nan))
    first = np.take_along_axis(found.values, found.there.argmax(axis=0)[None], axis=0)[0]
    return Scalar(np.where(found.there.sum(axis=0) == 1, first, np.nan))


def _time(of: "Evaluation", arguments: list[Any]) -> Value:
    return Scalar(of.times / 1000)


def _absent(of: "Evaluation", arguments: list[Any]) -> Value:
    """1 where there is no element, with the labels that the selector fixes."""
    found, inner = of.instant(arguments[0]), arguments[0]
    there = ~np.any(found.there, axis=0, keepdims=True)
    labels = dict(equal_labels(inner)) if type(inner).__name__ == "VectorSelector" else {}
    return Instant([labels], np.ones(there.shape), there)


def _histogram_quantile(of: "Evaluation", arguments: list[Any]) -> Value:
    return histogram_quantile(of.scalar(arguments[0]), of.instant(arguments[1]))


def _sorted(found: Instant, sign: float) -> Instant:
    """By the value at the first time: an instant query's only one."""
    return found.rows(np.argsort(sign * found.values[:, 0], kind="stable").tolist())


FUNCTIONS: Final[Mapping[str, Callable[["Evaluation", list[Any]], Value]]] = {
    "absent": _absent,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "histogram_quantile": _histogram_quantile,
    "pi": lambda of, arguments: Scalar(np.full(len(of.times), np.pi)),
    "round": _round,
    "scalar": _scalar,
    "sort": lambda of, arguments: _sorted(of.instant(arguments[0]), 1.0),
    "sort_desc": lambda of, arguments: _sorted(of.instant(arguments[0]), -1.0),
    "time": _time,
    "vector": _vector,
}
