"""The functions of the alert language: which there are, what they take, and which of them this version evaluates.

One table, read by the grammar (names, shapes) and by the compiler (`plan.py`, the opcodes). A function that has a
`missing` parses, so that rules can be written and linted, and is refused when it is compiled.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from hms_ops.kernels import opcodes

_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,6})?)")
_HISTORY: Final = "needs a longer memory than windows have, which this version does not keep"


@dataclass(frozen=True, slots=True)
class Function:
    """`is_aggregate`: takes the series of a metric, else numbers. `arguments`: how many numbers (least, most); for
    aggregates those beside the metric. `example`: how to write one that was written without its numbers."""

    is_aggregate: bool
    opcode: int = opcodes.HALT
    arguments: tuple[int, int] = (0, 0)
    missing: str = ""
    keeps_unit: bool = True
    example: str = ""


def _aggregate(opcode: int, keeps_unit: bool = True) -> Function:
    return Function(True, opcode, keeps_unit=keeps_unit)


def _figure(example: str, keeps_unit: bool = True) -> Function:
    """A number that is read off sketches, and takes one beside the metric."""
    return Function(True, opcodes.LOAD_FIGURE, (1, 1), keeps_unit=keeps_unit, example=example)


def _unready(missing: str) -> Function:
    return Function(True, missing=missing)


def _scalar(opcode: int, least: int, most: int, keeps_unit: bool = True) -> Function:
    return Function(False, opcode, (least, most), keeps_unit=keeps_unit)


FUNCTIONS: Final[dict[str, Function]] = {
    "avg": _aggregate(opcodes.LOAD_AVG),
    "min": _aggregate(opcodes.LOAD_MIN),
    "max": _aggregate(opcodes.LOAD_MAX),
    "sum": _aggregate(opcodes.LOAD_SUM),
    "count": _aggregate(opcodes.LOAD_COUNT, keeps_unit=False),
    "rate": _aggregate(opcodes.LOAD_RATE, keeps_unit=False),
    "increase": _aggregate(opcodes.LOAD_INCREASE),
    "delta": _aggregate(opcodes.LOAD_DELTA),
    "stddev": _aggregate(opcodes.LOAD_STDDEV),
    "last": _aggregate(opcodes.LOAD_LAST),
    "moving_mean": _aggregate(opcodes.LOAD_AVG),
    "first": _unready("needs the first sample of a window, which this version does not keep"),
    "ewma": _unready(_HISTORY),
    "zscore": _unready(_HISTORY),
    "changes": _unready(_HISTORY),
    "quantile": _figure("quantile(x, 0.99)"),
    "share_gt": _figure("share_gt(x, 200)", keeps_unit=False),
    "share_le": _figure("share_le(x, 200)", keeps_unit=False),
    "burn_rate": _unready("needs an objective, which this version does not have"),
    "abs": _scalar(opcodes.ABS, 1, 1),
    "ln": _scalar(opcodes.LN, 1, 1, keeps_unit=False),
    "sqrt": _scalar(opcodes.SQRT, 1, 1, keeps_unit=False),
    "clamp": _scalar(opcodes.CLAMP, 3, 3),
    "coalesce": _scalar(opcodes.COALESCE, 2, 16),
}
_PERCENTILES: Final = _aggregate(opcodes.LOAD_FIGURE)
NAMES: Final = (*FUNCTIONS, "p50", "p95", "p99", "p99.9")


def function_named(name: str) -> Function | None:
    """The function of a name in lower case, percentiles included."""
    return FUNCTIONS.get(name) or (_PERCENTILES if _PERCENTILE.fullmatch(name) else None)


def percentile_rank(name: str) -> float | None:
    """0.999 of "p99.9"; None for what is no percentile's name."""
    found = _PERCENTILE.fullmatch(name)
    return float(Fraction(found[1]) / 100) if found else None
