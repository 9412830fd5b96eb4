# Goals: which of a metric's samples are good, counted as they arrive (SLOs). Inline, under the store's mutex, no GIL.
#
# A metric has up to GOALS_MAX goals, each an interval of values. Its series carry CELL_JUDGED, and a judged_t beside
# their cell adds up the weight of what each goal takes in the open second; the second turns and is sealed as the
# cell's does, into `goods`, rows beside the columns of tier 0. All that came is the column COUNT of the same second.

from libc.stdint cimport uint32_t
from libc.string cimport memset

from hms_ops._cell cimport write_goods
from hms_ops._store cimport *


cdef inline double is_good(const goal_t* g, double value) noexcept nogil:
    """1 or 0, to multiply a weight with: a branch at a threshold amid the values costs 8 ns at every other one."""
    return <double>(((value >= g.low) & (value <= g.high)) ^ g.is_outside)


cdef inline void judged_begin(store_t* st, uint32_t slot, uint32_t goals) noexcept nogil:
    st.judged[slot].goals = goals
    st.judged[slot].second = 0


cdef inline void judged_turn(store_t* st, uint32_t slot, judged_t* j, uint32_t second) noexcept nogil:
    """Give it to another second. What the tick has not sealed yet is spilled."""
    if j.second > st.sealed_second:
        write_goods(st, slot, j)
    memset(j.good, 0, sizeof(j.good))
    j.second = second
