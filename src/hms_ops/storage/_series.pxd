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
    PLAIN = 0               # predictors from the terms before: the base,
    DELTA = 1               # the term before,
    DELTA2 = 2              # the line through the two before,
    MEAN2 = 3               # a mean that moves by half,
    MEAN4 = 4               # a quarter
    MEAN8 = 5               # or an eighth of the distance, kept in 16ths
    KINDS = 6
    CROSS = 8               # and besides, from other fields: last; count * (min + max) / 2
    CROSS_BEFORE = 16       # or those and `last` of the row before: the nearer of the two; count * (last + last) / 2
    CROSSES = 24
    FRACTION = 4            # bits of a moving mean behind the point

ctypedef struct plan_t:
    uint8_t coder
    uint8_t predictor
    int64_t base


# What terms are foretold from.
ctypedef struct past_t:
    int kind
    int64_t before          # PLAIN: the base
    int64_t before2
    int64_t mean            # in 16ths


cdef inline past_t begin_past(const plan_t* plan) noexcept nogil:
    return past_t(plan.predictor & ~CROSSES, plan.base, plan.base, <int64_t> (<uint64_t> plan.base << FRACTION))


cdef inline int64_t told(const past_t* past) noexcept nogil:
    if past.kind < DELTA2:
        return past.before
    if past.kind == DELTA2:
        return <int64_t> (2 * <uint64_t> past.before - <uint64_t> past.before2)
    return wrap_add(past.mean, 1 << FRACTION - 1) >> FRACTION


cdef inline void remember(past_t* past, int64_t term) noexcept nogil:
    cdef int64_t away
    if past.kind == PLAIN:
        return
    if past.kind >= MEAN2:
        away = wrap_sub(<int64_t> (<uint64_t> term << FRACTION), past.mean)
        past.mean = wrap_add(past.mean, away >> (past.kind - DELTA2))
        return
    past.before2 = past.before
    past.before = term


cdef inline int64_t crossing(
    int f, int crosses, const int64_t* count, const int64_t* last, const int64_t* least, const int64_t* most, int j
) noexcept nogil:
    """What other fields say of field f in row j; the first row has none before it but itself."""
    cdef int64_t before
    if f == SUM:
        if crosses == CROSS:
            return <int64_t> (<uint64_t> count[j] * (<uint64_t> least[j] + <uint64_t> most[j])) >> 1
        return <int64_t> (<uint64_t> count[j] * (<uint64_t> last[j] + <uint64_t> last[j - (j > 0)])) >> 1
    if crosses == CROSS or j == 0:
        return last[j]
    before = last[j - 1]
    if f == LEAST:
        return before if before < last[j] else last[j]
    return before if before > last[j] else last[j]
