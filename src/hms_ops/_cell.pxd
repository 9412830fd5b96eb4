# Cells and the rows they close into: what the receiving half (`_append`) and the tick's half (`_seal`) both do.
# Inline, under the store's mutex, without the GIL.
#
# Where COUNT is 0 the other fields of a step are undefined: clearing a row clears COUNT only.
# Variance: Σ weight × (value − mean)² by West's weighted update (1979), with one division a sample.

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from hms_ops._hll cimport set_t, sketch_clear, sketch_t
from hms_ops._store cimport *


cdef inline int64_t second_of(int64_t ns) noexcept nogil:
    return ns // 1000000000


cdef inline int64_t step_seconds(int tier) noexcept nogil:
    return 1 if tier == 0 else 10 if tier == 1 else 60


cdef inline void fold(cell_t* c, double value, double weight) noexcept nogil:
    cdef double total, shared, away
    if c.count == 0:
        c.count = weight
        c.sum = value * weight
        c.m2 = 0
        c.min = value
        c.max = value
    else:
        total = c.count + weight
        shared = 1.0 / (c.count * total)
        away = value - c.sum * (total * shared)
        c.m2 += away * away * (weight * c.count * c.count * shared)
        c.sum += value * weight
        c.count = total
        if value < c.min:
            c.min = value
        if value > c.max:
            c.max = value
    c.last = value


cdef inline void write_column(store_t* st, uint32_t slot, const cell_t* c) noexcept nogil:
    """A closed cell into its row of tier 0, unless that row belongs to a younger second already. Writing it twice
    writes the same."""
    cdef size_t stride = <size_t>SLOTS * st.capacity
    cdef double* at = column_row(st, 0, F_COUNT, c.second) + slot
    if <int64_t>c.second > st.cleared_second - SLOTS:
        at[0] = c.count
        at[F_SUM * stride] = c.sum
        at[F_M2 * stride] = c.m2
        at[F_MIN * stride] = c.min
        at[F_MAX * stride] = c.max
        at[F_LAST * stride] = c.last
    st.last_value[slot] = c.last
    st.last_second[slot] = c.second


cdef inline void write_goods(store_t* st, uint32_t slot, const judged_t* j) noexcept nogil:
    """As write_column, of what was good in the same second."""
    cdef uint32_t i
    if <int64_t>j.second > st.cleared_second - SLOTS:
        for i in range(st.goals[j.goals].n):
            goods_row(st, i, j.second)[slot] = j.good[i]


cdef inline void roll_set(store_t* st, uint32_t slot, int64_t second) noexcept nogil:
    """The open sketch of a set becomes the sealed one of its second."""
    cdef set_t* s = st.sets.by_slot[slot]
    cdef sketch_t* into
    if s == NULL or s.open.step == 0:
        return
    into = &s.sealed[0][s.open.step & (SLOTS - 1)]
    sketch_clear(&st.sets, into)
    into[0] = s.open
    memset(&s.open, 0, sizeof(sketch_t))


cdef inline void cell_turn(store_t* st, uint32_t slot, cell_t* c, uint32_t second) noexcept nogil:
    """Give the cell to another second. What the tick has not sealed yet is spilled."""
    if c.count != 0 and c.second > st.sealed_second:
        write_column(st, slot, c)
    c.count = 0
    c.second = second


cdef inline void clear_counts(store_t* st, int64_t second) noexcept nogil:
    memset(column_row(st, 0, F_COUNT, second), 0, st.high * sizeof(double))
    st.cleared_second = second


cdef inline void open_second(store_t* st, int64_t second) noexcept nogil:
    """Rows that nobody cleared ahead, after a tick that is late by seconds."""
    if second - st.cleared_second > SLOTS:
        st.cleared_second = second - SLOTS
    while st.cleared_second < second:
        clear_counts(st, st.cleared_second + 1)
