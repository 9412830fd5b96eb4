"""Functions of each value by itself, and the operators between two numbers: tables of numpy's own.

NaN and infinities go through as in PromQL (IEEE 754); numpy's warnings about them are switched off by the evaluation.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from hms_ops.prometheus.query.slots import Floats

One = Callable[[Any], Any]

EACH: Final[Mapping[str, One]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": np.sign,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "sin": np.sin,
    "sinh": np.sinh,
    "tan": np.tan,
    "tanh": np.tanh,
    "deg": np.degrees,
    "rad": np.radians,
}


def rounded(values: Floats, to: Floats) -> Floats:
    """To the nearest multiple of `to`, halves upwards; the inverse is what is multiplied by, as in Prometheus."""
    inverse = 1.0 / to
    found: Floats = np.floor(values * inverse + 0.5) / inverse
    return found


def clamped(values: Floats, low: Floats, high: Floats) -> Floats:
    found: Floats = np.maximum(low, np.minimum(high, values))
    return found


CALCULATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
