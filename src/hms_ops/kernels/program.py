"""The rule program: every condition of every rule, over all their instances, in one call without the GIL.

A rule is compiled (`alert/plan.py`) to instructions in reverse Polish order (`kernels/opcodes.py`) that work on a stack
of float64. NULL is NaN, TRUE 1.0, FALSE 0.0; conditions combine as SQL does; a number that is none (x / 0, ln(-1), an
overflow) is NULL.

    avg(x) > 200 OR ABSENT(y)      LOAD_AVG x · PUSH 200 · GREATER · LOAD_ABSENT y · OR · STORE_CONDITION

Fed by `alert/evaluate.py`, which allocates everything; reads the `stats` that kernels.window made a moment before.
A LOAD turns a group's statistics into the number the language promises for the metric's kind (DESIGN, table "Kinds"):
what a silent counter, gauge or timer is worth is decided here and nowhere else. The COUNT of a group of sets is the
distinct members, which the rule set puts there in between. A percentile or share is no statistic of columns: it has a
group of its own, and the rule set puts it there as LAST.

Threads: any; no state, no GIL. The kernel trusts its caller: the stack is deep enough, offsets are inside.
The explicit signature compiles (or loads) the kernel at import, so importing is warming.
"""

import math
from typing import Final

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from hms_ops.kernels import opcodes as op

_COUNT: Final = 0  # of `stats`, as kernels.window has them
_SUM: Final = 1
_M2: Final = 2
_MIN: Final = 3
_MAX: Final = 4
_LAST: Final = 5
_DELTA: Final = 6
_SEEN: Final = 7

_COUNTER: Final = 1  # numbers of hms_ops.kinds, which a kernel does not import
_GAUGE: Final = 2


# ---- loads ----------------------------------------------------------------------------------------------------------


@njit(nogil=True, error_model="numpy")
def _load(code, stats, kind, covered_seconds):  # type: ignore[no-untyped-def]
    """One aggregate of one group, by the table of kinds; stats: float64[8]."""
    if code == op.LOAD_ABSENT:
        return 0.0 if stats[_COUNT] > 0 else 1.0
    if code == op.LOAD_FIGURE:
        return stats[_LAST]
    if stats[_SEEN] == 0:
        return np.nan
    if code == op.LOAD_LAST:
        return stats[_LAST]
    if stats[_COUNT] == 0:
        return _silent(code, kind)
    if code == op.LOAD_AVG:
        return stats[_SUM] / stats[_COUNT]
    if code in (op.LOAD_SUM, op.LOAD_INCREASE):
        return stats[_SUM]
    if code == op.LOAD_COUNT:
        return stats[_COUNT]
    if code == op.LOAD_MIN:
        return stats[_MIN]
    if code == op.LOAD_MAX:
        return stats[_MAX]
    if code == op.LOAD_STDDEV:
        return math.sqrt(max(stats[_M2], 0.0) / stats[_COUNT])
    if code == op.LOAD_DELTA:
        return stats[_DELTA]
    return _rate(stats, kind, covered_seconds)


@njit(nogil=True, error_model="numpy")
def _silent(code, kind):  # type: ignore[no-untyped-def]
    """Seen before, but not in this window: all but gauges have rate and count 0, counters a sum of 0 too."""
    if kind == _GAUGE or kind == 0:
        return np.nan
    if code in (op.LOAD_RATE, op.LOAD_COUNT):
        return 0.0
    if kind == _COUNTER and code in (op.LOAD_SUM, op.LOAD_INCREASE):
        return 0.0
    return np.nan


@njit(nogil=True, error_model="numpy")
def _rate(stats, kind, covered_seconds):  # type: ignore[no-untyped-def]
    if covered_seconds <= 0:
        return np.nan
    if kind == _COUNTER:
        return stats[_SUM] / covered_seconds
    if kind == _GAUGE or kind == 0:
        return stats[_DELTA] / covered_seconds
    return stats[_COUNT] / covered_seconds


# ---- numbers and truth ----------------------------------------------------------------------------------------------


@njit(nogil=True, error_model="numpy")
def _finite(x):  # type: ignore[no-untyped-def]
    return x if math.isfinite(x) else np.nan


@njit(nogil=True, error_model="numpy")
def _unary(code, x):  # type: ignore[no-untyped-def]
    if code == op.NEGATE:
        return -x
    if code == op.NOT:
        return 1.0 - x  # NaN stays NaN
    if code == op.IS_NULL:
        return 1.0 if math.isnan(x) else 0.0
    if code == op.ABS:
        return abs(x)
    if code == op.LN:
        return math.log(x) if x > 0 else np.nan
    return math.sqrt(x) if x >= 0 else np.nan


@njit(nogil=True, error_model="numpy")
def _calculate(code, x, y):  # type: ignore[no-untyped-def]
    if code == op.COALESCE:
        return y if math.isnan(x) else x
    if code == op.ADD:
        return _finite(x + y)
    if code == op.SUBTRACT:
        return _finite(x - y)
    if code == op.MULTIPLY:
        return _finite(x * y)
    if y == 0:
        return np.nan
    if code == op.DIVIDE:
        return _finite(x / y)
    return np.fmod(x, y)


@njit(nogil=True, error_model="numpy")
def _compare(code, x, y):  # type: ignore[no-untyped-def]
    if math.isnan(x) or math.isnan(y):
        return np.nan
    if code == op.GREATER:
        holds = x > y
    elif code == op.GREATER_EQUAL:
        holds = x >= y
    elif code == op.LESS:
        holds = x < y
    elif code == op.LESS_EQUAL:
        holds = x <= y
    elif code == op.EQUAL:
        holds = x == y
    else:
        holds = x != y
    return 1.0 if holds else 0.0


@njit(nogil=True, error_model="numpy")
def _and(x, y):  # type: ignore[no-untyped-def]
    if x == 0.0 or y == 0.0:
        return 0.0
    return x * y  # 1, or NaN if either is NULL


@njit(nogil=True, error_model="numpy")
def _binary(code, x, y):  # type: ignore[no-untyped-def]
    if code <= op.COALESCE:
        return _calculate(code, x, y)
    if code <= op.NOT_EQUAL:
        return _compare(code, x, y)
    if code == op.AND:
        return _and(x, y)
    if code == op.OR:
        return 1.0 - _and(1.0 - x, 1.0 - y)
    return _and(x, 0.0 if y == 1.0 else 1.0)  # UNLESS: only TRUE holds back


@njit(nogil=True, error_model="numpy")
def _ternary(code, x, low, high):  # type: ignore[no-untyped-def]
    if code == op.BETWEEN:
        return _and(_compare(op.GREATER_EQUAL, x, low), _compare(op.LESS_EQUAL, x, high))
    if math.isnan(x) or not low <= high:
        return np.nan
    return min(max(x, low), high)


# ---- the kernel: last, because its signature compiles it here --------------------------------------------------------

_I1 = types.Array(types.int8, 1, "C", readonly=True)
_I4 = types.Array(types.int32, 1, "C", readonly=True)
_I8 = types.Array(types.int64, 1, "C", readonly=True)
_F8 = types.Array(types.float64, 1, "C", readonly=True)
_OUT = types.float64[::1]
_STATS = types.Array(types.float64, 2, "C", readonly=True)
_SIGNATURE = types.void(_STATS, _I8, _I8, _I1, _F8, _I4, _I1, _I4, _F8, _I4, _I4, _OUT, _OUT, _OUT, _OUT)


@njit(_SIGNATURE, cache=True, nogil=True, error_model="numpy")
def run_programs(
    stats: NDArray[np.float64],
    covered: NDArray[np.int64],
    group_window: NDArray[np.int64],
    group_kind: NDArray[np.int8],
    known: NDArray[np.float64],
    reference: NDArray[np.int32],
    code: NDArray[np.int8],
    operand: NDArray[np.int32],
    constant: NDArray[np.float64],
    program_offset: NDArray[np.int32],
    instance_offset: NDArray[np.int32],
    stack: NDArray[np.float64],
    value: NDArray[np.float64],
    condition: NDArray[np.float64],
    recover: NDArray[np.float64],
) -> None:
    """Run P programs over their instances; N instances in all, G groups.

    stats            float64[G, 8], from kernels.window
    covered          int64[W], seconds covered by each window, which `rate` divides by
    group_window, group_kind   int64[G], int8[G]
    known            float64[readings of all programs], 1.0 or NaN, what KNOWN pushes
    reference        int32[R]: the group of each reading of each instance, -1 where it has none (then all is NULL and
                     ABSENT is TRUE)
    code             int8[C], instructions of all programs
    operand          int32[C]: for a LOAD, where the reading's groups begin in `reference`; the k-th instance of the
                     program reads reference[operand + k]; for a KNOWN, the number of the reading
    constant         float64[C], what PUSH pushes
    program_offset   int32[P + 1]: program p is code[program_offset[p]:program_offset[p + 1]]
    instance_offset  int32[P + 1]: its instances are instance_offset[p]:instance_offset[p + 1]
    stack            float64[STACK_MAX], contents do not matter
    value, condition, recover   float64[N], out, written by the STORE instructions, else left as they are

    NaN is NULL. Cost: about 3 ns an instruction and instance, and a cache miss for each LOAD.
    """
    for p in range(len(program_offset) - 1):
        base = instance_offset[p]
        for i in range(base, instance_offset[p + 1]):
            top = -1
            for c in range(program_offset[p], program_offset[p + 1]):
                o = code[c]
                if o == op.PUSH:
                    top += 1
                    stack[top] = constant[c]
                elif o <= op.LOAD_FIGURE:
                    top += 1
                    g = reference[operand[c] + i - base]
                    if g >= 0:
                        stack[top] = _load(o, stats[g], group_kind[g], covered[group_window[g]])
                    else:
                        stack[top] = 1.0 if o == op.LOAD_ABSENT else np.nan
                elif o <= op.IS_NULL:
                    stack[top] = _unary(o, stack[top])
                elif o <= op.UNLESS:
                    top -= 1
                    stack[top] = _binary(o, stack[top], stack[top + 1])
                elif o <= op.BETWEEN:
                    top -= 2
                    stack[top] = _ternary(o, stack[top], stack[top + 1], stack[top + 2])
                elif o <= op.STORE_RECOVER:
                    if o == op.STORE_VALUE:
                        value[i] = stack[top]
                    elif o == op.STORE_CONDITION:
                        condition[i] = stack[top]
                    else:
                        recover[i] = stack[top]
                    top -= 1
                else:
                    top += 1
                    stack[top] = known[operand[c]]
