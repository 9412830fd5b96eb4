"""The functions of the alert language: which there are, and what they take.

One table, read by the grammar (names, shapes) and by the compiler (`plan.py`, the opcodes).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from hms_ops.kernels import opcodes

_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,6})?)")


@dataclass(frozen=True, slots=True)
class Function:
    """`is_aggregate`: takes the series of a metric, else numbers. `arguments`: how many numbers (least, most); for
    aggregates those beside the metric. `is_fold`: of the steps of a window, each of which is what `opcode` loads.
    `example`: how to write one that was written without its numbers."""

    is_aggregate: bool
    opcode: int = opcodes.HALT
    arguments: tuple[int, int] = (0, 0)
    is_fold: bool = False
    keeps_unit: bool = True
    example: str = ""


def _aggregate(opcode: int, keeps_unit: bool = True) -> Function:
    return Function(True, opcode, keeps_unit=keeps_unit)


def _figure(example: str, keeps_unit: bool = True) -> Function:
    """A number that is read off sketches, and takes one beside the metric."""
    return Function(True, opcodes.LOAD_FIGURE, (1, 1), keeps_unit=keeps_unit, example=example)


def _fold(opcode: int, keeps_unit: bool = True) -> Function:
    return Function(True, opcode, is_fold=True, keeps_unit=keeps_unit)


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
    "first": _fold(opcodes.LOAD_LAST),
    "ewma": _fold(opcodes.LOAD_AVG),
    "zscore": _fold(opcodes.LOAD_AVG, keeps_unit=False),
    "changes": _fold(opcodes.LOAD_LAST, keeps_unit=False),
    "quantile": _figure("quantile(x, 0.99)"),
    "share_gt": _figure("share_gt(x, 200)", keeps_unit=False),
    "share_le": _figure("share_le(x, 200)", keeps_unit=False),
    "burn_rate": Function(True, keeps_unit=False),  # written out (desugar.py)
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
