"""kernels.program by itself: what each LOAD makes of a group's statistics by kind, truth with NULL, who reads what."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.kernels import opcodes as op
from hms_ops.kernels.opcodes import STACK_MAX
from hms_ops.kernels.program import run_programs

NULL = math.nan
TRUE, FALSE = 1.0, 0.0
COVERED_SECONDS = 50

#        COUNT  SUM   M2    MIN  MAX  LAST DELTA SEEN
BUSY = (10.0, 40.0, 90.0, 1.0, 9.0, 5.0, 25.0, 2.0)
SILENT = (0.0, 0.0, 0.0, NULL, NULL, NULL, NULL, 2.0)
SILENT_GAUGE = (0.0, 0.0, 0.0, NULL, NULL, 5.0, 0.0, 2.0)  # its last value is younger than five minutes
UNSEEN = (0.0, 0.0, 0.0, NULL, NULL, NULL, NULL, 0.0)

LOADS = {
    "avg": op.LOAD_AVG,
    "sum": op.LOAD_SUM,
    "count": op.LOAD_COUNT,
    "min": op.LOAD_MIN,
    "max": op.LOAD_MAX,
    "stddev": op.LOAD_STDDEV,
    "last": op.LOAD_LAST,
    "rate": op.LOAD_RATE,
    "increase": op.LOAD_INCREASE,
    "delta": op.LOAD_DELTA,
    "absent": op.LOAD_ABSENT,
    "figure": op.LOAD_FIGURE,
}


def run(
    code: list[tuple[int, float]],
    stats: list[tuple[float, ...]],
    kind: int = kinds.TIMER,
    reference: list[int] | None = None,
    known: Sequence[float] = (),
) -> NDArray[np.float64]:
    """float64[3, instances]: value, condition, recover. A LOAD's number is its operand, a PUSH's its constant."""
    instances = len(stats) if reference is None else len(reference)
    out = np.full((3, instances), 1e300)
    run_programs(
        np.array(stats, np.float64).reshape(-1, 8),
        np.array([COVERED_SECONDS]),
        np.zeros(len(stats), np.int64),
        np.full(len(stats), kind, np.int8),
        np.array(known),
        np.arange(instances, dtype=np.int32) if reference is None else np.array(reference, np.int32),
        np.array([opcode for opcode, _ in code], np.int8),
        np.array([number if opcode in (*op.LOADS, op.KNOWN) else 0 for opcode, number in code], np.int32),
        np.array([number for _, number in code], np.float64),
        np.array([0, len(code)], np.int32),
        np.array([0, instances], np.int32),
        np.empty(STACK_MAX),
        *out,
    )
    return out


def calculate(*code: int | float) -> float:
    """What a program of opcodes and constants (floats) comes to."""
    steps = [(op.PUSH, step) if isinstance(step, float) else (step, 0) for step in code]
    return float(run([*steps, (op.STORE_VALUE, 0)], [UNSEEN])[0, 0])


def same(x: float, y: float) -> bool:
    return x == y or (math.isnan(x) and math.isnan(y))


@pytest.mark.parametrize(
    ("kind", "stats", "expected"),
    [
        (kinds.COUNTER, BUSY, {"rate": 0.8, "sum": 40, "count": 10, "avg": 4, "stddev": 3, "last": 5, "increase": 40}),
        (
            kinds.COUNTER,
            SILENT,
            {"rate": 0, "sum": 0, "count": 0, "avg": NULL, "min": NULL, "stddev": NULL, "increase": 0},
        ),
        (
            kinds.COUNTER,
            UNSEEN,
            {"rate": NULL, "sum": NULL, "count": NULL, "avg": NULL, "last": NULL, "increase": NULL},
        ),
        (
            kinds.GAUGE,
            BUSY,
            {"rate": 0.5, "sum": 40, "count": 10, "avg": 4, "min": 1, "max": 9, "last": 5, "delta": 25},
        ),
        (kinds.GAUGE, SILENT_GAUGE, {"rate": NULL, "count": NULL, "avg": NULL, "sum": NULL, "last": 5, "delta": NULL}),
        (kinds.GAUGE, UNSEEN, {"rate": NULL, "count": NULL, "avg": NULL, "last": NULL, "delta": NULL}),
        (
            kinds.TIMER,
            BUSY,
            {"rate": 0.2, "sum": 40, "count": 10, "avg": 4, "min": 1, "max": 9, "stddev": 3, "last": 5},
        ),
        (kinds.TIMER, SILENT, {"rate": 0, "count": 0, "sum": NULL, "avg": NULL, "max": NULL, "last": NULL}),
        (kinds.HISTOGRAM, SILENT, {"rate": 0, "count": 0, "sum": NULL}),
        (kinds.DISTRIBUTION, BUSY, {"rate": 0.2, "count": 10}),
        (kinds.UNKNOWN, UNSEEN, {"rate": NULL, "count": NULL, "sum": NULL, "last": NULL}),
        (kinds.TIMER, BUSY, {"figure": 5}),
        (kinds.TIMER, UNSEEN, {"figure": NULL}),
        (kinds.TIMER, BUSY, {"absent": FALSE}),
        (kinds.TIMER, SILENT, {"absent": TRUE}),
        (kinds.TIMER, UNSEEN, {"absent": TRUE}),
    ],
)
def test_a_load_follows_the_table_of_kinds(kind: int, stats: tuple[float, ...], expected: dict[str, float]) -> None:
    for name, number in expected.items():
        got = run([(LOADS[name], 0), (op.STORE_VALUE, 0)], [stats], kind)[0, 0]
        assert same(got, number), f"{name}: {got}, not {number}"


def test_a_rate_over_no_covered_second_is_null() -> None:
    out = np.empty((3, 1))
    one = np.zeros(1, np.int32)
    code = np.array([op.LOAD_RATE, op.STORE_VALUE], np.int8)
    run_programs(
        np.array([BUSY]), np.array([0]), np.zeros(1, np.int64), np.array([kinds.COUNTER], np.int8), np.empty(0), one,
        code, np.zeros(2, np.int32), np.zeros(2), np.array([0, 2], np.int32), np.array([0, 1], np.int32), np.empty(8),
        *out,
    )  # fmt: skip
    assert math.isnan(out[0, 0])


@pytest.mark.parametrize(("x", "y"), list(product((TRUE, FALSE, NULL), repeat=2)))
def test_truth_combines_as_in_sql(x: float, y: float) -> None:
    conjunction = FALSE if FALSE in (x, y) else NULL if math.isnan(x + y) else TRUE
    disjunction = TRUE if TRUE in (x, y) else NULL if math.isnan(x + y) else FALSE
    assert same(calculate(x, y, op.AND), conjunction)
    assert same(calculate(x, y, op.OR), disjunction)
    assert same(calculate(x, y, op.UNLESS), FALSE if y == TRUE else x)
    assert same(calculate(x, op.NOT), 1 - x)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ((1.0, 2.0, op.ADD), 3.0),
        ((1.0, 2.0, op.SUBTRACT), -1.0),
        ((3.0, 2.0, op.MULTIPLY), 6.0),
        ((3.0, 2.0, op.DIVIDE), 1.5),
        ((-7.0, 3.0, op.MODULO), -1.0),
        ((1.0, 0.0, op.DIVIDE), NULL),
        ((0.0, 0.0, op.DIVIDE), NULL),
        ((1.0, 0.0, op.MODULO), NULL),
        ((1e200, 1e200, op.MULTIPLY), NULL),
        ((1e308, 1e308, op.ADD), NULL),
        ((-1e308, 1e308, op.SUBTRACT), NULL),
        ((NULL, 1.0, op.ADD), NULL),
        ((2.0, op.NEGATE), -2.0),
        ((-2.0, op.ABS), 2.0),
        ((math.e, op.LN), 1.0),
        ((0.0, op.LN), NULL),
        ((-1.0, op.LN), NULL),
        ((4.0, op.SQRT), 2.0),
        ((-1.0, op.SQRT), NULL),
        ((NULL, op.SQRT), NULL),
        ((NULL, 5.0, op.COALESCE), 5.0),
        ((0.0, 5.0, op.COALESCE), 0.0),
        ((7.0, 0.0, 5.0, op.CLAMP), 5.0),
        ((-7.0, 0.0, 5.0, op.CLAMP), 0.0),
        ((7.0, 5.0, 0.0, op.CLAMP), NULL),
        ((7.0, NULL, 5.0, op.CLAMP), NULL),
        ((NULL, 0.0, 5.0, op.CLAMP), NULL),
        ((1.0, 1.0, 2.0, op.BETWEEN), TRUE),
        ((2.0, 1.0, 2.0, op.BETWEEN), TRUE),
        ((3.0, 1.0, 2.0, op.BETWEEN), FALSE),
        ((3.0, NULL, 2.0, op.BETWEEN), FALSE),
        ((1.5, NULL, 2.0, op.BETWEEN), NULL),
        ((NULL, 1.0, 2.0, op.BETWEEN), NULL),
        ((NULL, op.IS_NULL), TRUE),
        ((0.0, op.IS_NULL), FALSE),
        ((2.0, 1.0, op.GREATER), TRUE),
        ((1.0, 1.0, op.GREATER), FALSE),
        ((1.0, 1.0, op.GREATER_EQUAL), TRUE),
        ((1.0, 2.0, op.LESS), TRUE),
        ((2.0, 2.0, op.LESS_EQUAL), TRUE),
        ((2.0, 2.0, op.EQUAL), TRUE),
        ((2.0, 2.0, op.NOT_EQUAL), FALSE),
        ((NULL, NULL, op.EQUAL), NULL),
        ((NULL, 1.0, op.NOT_EQUAL), NULL),
    ],
)
def test_an_instruction_calculates(code: tuple[int | float, ...], result: float) -> None:
    assert same(calculate(*code), pytest.approx(result) if math.isfinite(result) else result)


def test_each_instance_reads_its_own_group() -> None:
    stats = [(1.0, float(n), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0) for n in range(4)]
    value, condition, recover = run(
        [
            (op.LOAD_SUM, 0),
            (op.STORE_VALUE, 0),
            (op.LOAD_SUM, 0),
            (op.PUSH, 2),
            (op.GREATER, 0),
            (op.STORE_CONDITION, 0),
        ],
        stats,
        reference=[3, 0, 2, 1],
    )
    assert value.tolist() == [3, 0, 2, 1]
    assert condition.tolist() == [1, 0, 0, 0]
    assert recover.tolist() == [1e300] * 4, "what no instruction stores stays as it was"


def test_what_rests_on_a_window_with_a_hole_is_null_where_it_is_in_doubt() -> None:
    def seen(truth: float, known: float, *code: tuple[int, float]) -> float:
        program = [(op.PUSH, truth), (op.KNOWN, 1), *code, (op.STORE_CONDITION, 0)]
        return float(run(program, [BUSY], known=(NULL, known))[1, 0])

    for truth in (1.0, 0.0, NULL):
        assert same(seen(truth, 1.0, (op.AND, 0)), truth)
        assert same(seen(truth, 1.0, (op.NOT, 0), (op.OR, 0)), truth)
    assert [seen(0.0, NULL, (op.AND, 0)), seen(1.0, NULL, (op.NOT, 0), (op.OR, 0))] == [0.0, 1.0]
    assert math.isnan(seen(1.0, NULL, (op.AND, 0)))
    assert math.isnan(seen(0.0, NULL, (op.NOT, 0), (op.OR, 0)))


def test_a_missing_side_is_null_and_absent() -> None:
    assert math.isnan(run([(op.LOAD_SUM, 0), (op.STORE_VALUE, 0)], [BUSY], reference=[-1])[0, 0])
    assert run([(op.LOAD_ABSENT, 0), (op.STORE_VALUE, 0)], [BUSY], reference=[-1])[0, 0] == TRUE
