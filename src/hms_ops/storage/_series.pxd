# How one series of a tile is laid out; shared by writer and reader. The format is tile.py's.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *
from hms_ops.storage._row cimport COLUMN, COUNT, FIELDS, GROUP, LAST, LEAST, M2, MOST, SUM, VALUES, wrap_add, wrap_sub

cdef enum:
    FRAME_SERIES = 8
    STEPS_MAX = 4096
    ENDS_BYTES = 32         # a frame begins with the ends of its series, uint32 each
    AS_VALUES = 14          # scale of sums: form of the values
    HAS_SHIFT = 16          # in the byte of a scale
    CONSTANT = 64           # coders; below it Rice's parameter
    FIXED = 128             # and the width, to 192
    PLAIN = 0               # predictors
    DELTA = 1
    DELTA2 = 2
    CROSS = 4               # and others

ctypedef struct plan_t:
    uint8_t coder
    uint8_t predictor
    int64_t base


cdef inline int64_t told(int kind, int64_t before, int64_t before2) noexcept nogil:
    """What the predictor says of a value after `before`, which came after `before2`; for PLAIN both are the base."""
    if kind == DELTA2:
        return <int64_t> (2 * <uint64_t> before - <uint64_t> before2)
    return before
