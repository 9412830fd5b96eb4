"""The instructions of the rule program (`kernels/program.py`), shared with the compiler (`alert/plan.py`).

Apart from the kernel so that parsing a rule imports no numba. Numbers, since they are compared in a native loop. They
are frozen into the kernel's cached machine code, which does not see edits here: a number keeps its meaning, a new
instruction gets a new number.
"""

from typing import Final

STACK_MAX: Final = 128  # numbers on the stack at once; the compiler refuses what needs more

HALT: Final = 0
PUSH: Final = 1  # the constant beside the instruction

# one aggregate of the instance's group; the operand is where the groups of its reading begin in `reference`
LOAD_AVG: Final = 10
LOAD_SUM: Final = 11
LOAD_COUNT: Final = 12
LOAD_MIN: Final = 13
LOAD_MAX: Final = 14
LOAD_STDDEV: Final = 15
LOAD_LAST: Final = 16
LOAD_RATE: Final = 17
LOAD_INCREASE: Final = 18
LOAD_DELTA: Final = 19
LOAD_ABSENT: Final = 20
LOAD_FIGURE: Final = 21  # a percentile or share, which stands in LAST of a group of its own
LOADS: Final = range(LOAD_AVG, LOAD_FIGURE + 1)

NEGATE: Final = 30
ABS: Final = 31
LN: Final = 32
SQRT: Final = 33
NOT: Final = 34
IS_NULL: Final = 35

ADD: Final = 40
SUBTRACT: Final = 41
MULTIPLY: Final = 42
DIVIDE: Final = 43
MODULO: Final = 44
COALESCE: Final = 45
GREATER: Final = 46
GREATER_EQUAL: Final = 47
LESS: Final = 48
LESS_EQUAL: Final = 49
EQUAL: Final = 50
NOT_EQUAL: Final = 51
AND: Final = 52
OR: Final = 53
UNLESS: Final = 54

CLAMP: Final = 60
BETWEEN: Final = 61

STORE_VALUE: Final = 70
STORE_CONDITION: Final = 71
STORE_RECOVER: Final = 72

KNOWN: Final = 80  # 1.0 where all of the window of the operand's reading is known, else NULL


def stack_effect(opcode: int) -> int:
    """How many more numbers are on the stack after an instruction than before."""
    if opcode in (PUSH, KNOWN) or opcode in LOADS:
        return 1
    if NEGATE <= opcode <= IS_NULL or opcode == HALT:
        return 0
    return -2 if opcode in (CLAMP, BETWEEN) else -1
