"""The tick's half of the store: cells of closed seconds into columns, late samples into closed steps, idle slots back.

`_ring.Store` calls these for the tick, one thread, without the GIL. They take the mutex for SEAL_CHUNK series (or a few
sets, one series, one batch of late samples) at a time, so that a listener waits microseconds. Sealing writes the same as a
receiver that spills a cell it found in an older second (`_append.pyx`), so their order does not matter.

Tier 0 keeps KEPT_SECONDS sealed seconds readable, the higher tiers KEPT_STEPS closed steps; the rollup kernels write
those (kernels/rollup.py), except for sets, whose sketches are rolled here.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.string cimport memset

from hms_ops._cell cimport *
from hms_ops._goal cimport is_good
from hms_ops._hll cimport set_free, set_t, sketch_clear, sketch_merge, sketch_t
from hms_ops._intern cimport clear_columns, series_release
from hms_ops._store cimport *
from hms_ops._timings cimport is_timing, store_free_timings, timing_add, timing_free

cdef enum:
    SEAL_CHUNK = 2048
    SETS_CHUNK = 256            # sets sealed in one hold
    ROLL_CHUNK = 8              # sets rolled in one hold, each from ten sketches of up to 16 KiB
    KEPT_SECONDS = 60
    KEPT_STEPS = 61


cdef void seal_set(store_t* st, uint32_t slot, int64_t closed) noexcept nogil:
    cdef set_t* s = st.sets.by_slot[slot]
    if s.open.step and s.open.step <= closed:
        roll_set(st, slot, closed)


cdef void seal_sets(store_t* st, int64_t closed) noexcept nogil:
    """Sets born meanwhile are appended to the list, and only the tick's own thread takes any out of it."""
    cdef uint32_t i, start = 0
    while start < st.sets.n:
        pthread_mutex_lock(&st.mutex)
        for i in range(start, min(start + <uint32_t>SETS_CHUNK, st.sets.n)):
            seal_set(st, st.sets.slots[i], closed)
        pthread_mutex_unlock(&st.mutex)
        sched_yield()
        start += SETS_CHUNK


cdef void store_seal(store_t* st, int64_t closed) noexcept nogil:
    """Copy every cell of a second up to `closed` into its column; afterwards those seconds change no more."""
    cdef uint32_t slot, start = 0, end, high = st.high
    cdef cell_t* c
    while start < high:
        end = min(start + <uint32_t>SEAL_CHUNK, high)
        pthread_mutex_lock(&st.mutex)
        if closed > st.cleared_second:
            open_second(st, closed)
        for slot in range(start, end):
            c = &st.cells[slot]
            if c.count != 0 and st.sealed_second < c.second <= closed:
                write_column(st, slot, c)
                if c.flags & CELL_JUDGED and st.sealed_second < st.judged[slot].second <= closed:
                    write_goods(st, slot, &st.judged[slot])
        pthread_mutex_unlock(&st.mutex)
        start = end
    if st.sets.n:
        seal_sets(st, closed)
    pthread_mutex_lock(&st.mutex)
    if closed > st.cleared_second:
        open_second(st, closed)
    if closed - st.sealed_second > KEPT_SECONDS:
        st.seconds_lost += closed - st.sealed_second - KEPT_SECONDS
    st.sealed_second = closed
    pthread_mutex_unlock(&st.mutex)


cdef void begin_time(store_t* st, int64_t now) noexcept nogil:
    """Let time begin at second `now`: nothing before it is valid. Of the steps that hold it, the parts before are empty."""
    cdef int64_t step
    st.first_second = now
    st.sealed_second = now - 1
    for step in range(now // 10 * 10, now + 1):
        clear_counts(st, step)
    for step in range(now // 60 * 6, now // 10 + 1):
        memset(column_row(st, 1, F_COUNT, step), 0, st.high * sizeof(double))
    st.rolled_end[1] = now // 10 * 10
    st.rolled_end[2] = now // 60 * 60


cdef void store_reanchor(store_t* st, int64_t offset_ns) noexcept nogil:
    """The wall clock was set: begin anew at its time. Windows are empty until they fill, so nothing fires or resolves
    by the step; the raw rings stay, and what the open second held is lost (the caller has sealed what was closed)."""
    cdef uint32_t slot
    cdef int64_t now
    store_free_timings(st)                          # what comes meanwhile is freed below
    pthread_mutex_lock(&st.mutex)
    st.offset_ns = offset_ns
    now = second_of(store_now_ns(st))
    for slot in range(st.high):
        st.cells[slot].count = 0
        st.cells[slot].second = <uint32_t>now       # idle from now on
        st.last_second[slot] = 0
        timing_free(st, slot)
        st.cells[slot].drained = <uint16_t>st.cells[slot].head
        if st.judged != NULL:
            st.judged[slot].second = 0
    st.judged_second = now - 1
    st.judged_late_n = 0
    st.late_lost += st.late_n
    st.late_n = 0                                   # their stamps are of a time that never was
    begin_time(st, now)
    pthread_mutex_unlock(&st.mutex)


cdef void store_clear_ahead(store_t* st, int64_t second) noexcept nogil:
    """Clear the counts of the seconds up to `second`, and touch the pages of their other fields, before anybody needs
    them: the first touch of a page costs 2 µs, which is not for a listener to pay. No mutex: a row ahead has no
    reader, and its only writers come after the second has opened."""
    cdef int64_t ahead
    cdef size_t at
    cdef int field
    cdef double* row
    for ahead in range(st.cleared_second + 1, second + 1):
        memset(column_row(st, 0, F_COUNT, ahead), 0, st.high * sizeof(double))
        for field in range(1, FIELDS):
            row = column_row(st, 0, field, ahead)
            for at in range(0, st.high, 512):
                row[at] = 0
        pthread_mutex_lock(&st.mutex)
        if ahead > st.cleared_second:
            st.cleared_second = ahead
        pthread_mutex_unlock(&st.mutex)


cdef void roll_sets_of(store_t* st, set_t* s, int tier, int64_t step) noexcept nogil:
    """The sketches of a closed step of `tier` from those of the tier below; beyond the memory bound it stays empty."""
    cdef int64_t factor = step_seconds(tier) // step_seconds(tier - 1)
    cdef sketch_t* into = &s.sealed[tier][step & (SLOTS - 1)]
    cdef const sketch_t* k
    cdef int64_t fine
    sketch_clear(&st.sets, into)
    for fine in range(step * factor, (step + 1) * factor):
        k = &s.sealed[tier - 1][fine & (SLOTS - 1)]
        if k.step == fine and not sketch_merge(&st.sets, into, k):
            break
    into.step = step


cdef void store_roll_sets(store_t* st, int tier, int64_t step) noexcept nogil:
    cdef uint32_t i, start = 0
    while start < st.sets.n:
        pthread_mutex_lock(&st.mutex)
        for i in range(start, min(start + <uint32_t>ROLL_CHUNK, st.sets.n)):
            roll_sets_of(st, st.sets.by_slot[st.sets.slots[i]], tier, step)
        pthread_mutex_unlock(&st.mutex)
        sched_yield()
        start += ROLL_CHUNK


cdef void merge_value(store_t* st, int tier, uint32_t slot, int64_t second, double value, double weight) noexcept nogil:
    """One late sample into a closed step. `last` stays: what came in time came later, as far as anybody knows."""
    cdef size_t stride = <size_t>SLOTS * st.capacity
    cdef double* at = column_row(st, tier, F_COUNT, second // step_seconds(tier)) + slot
    cdef cell_t c
    c.count = at[0]
    c.sum = at[F_SUM * stride]
    c.m2 = at[F_M2 * stride]
    c.min = at[F_MIN * stride]
    c.max = at[F_MAX * stride]
    c.last = at[F_LAST * stride]
    if c.count == 0:
        at[F_LAST * stride] = value
    fold(&c, value, weight)
    at[0] = c.count
    at[F_SUM * stride] = c.sum
    at[F_M2 * stride] = c.m2
    at[F_MIN * stride] = c.min
    at[F_MAX * stride] = c.max


cdef void judge_late(store_t* st, const late_t* x) noexcept nogil:
    """A late sample of a judged series, before it is merged: into the goods of a second that nobody has taken yet, else
    onto the list."""
    cdef uint32_t i
    cdef judged_t* j = &st.judged[x.slot]
    cdef const goals_t* g = &st.goals[j.goals]
    cdef double* row
    if <int64_t>x.second <= max(st.judged_second, st.sealed_second - KEPT_SECONDS):
        if st.judged_late_n == st.late_max:
            st.judged_lost += 1
        else:
            st.judged_late[st.judged_late_n] = x[0]
            st.judged_late_n += 1
        return
    for i in range(g.n):
        row = goods_row(st, i, x.second)
        if column_row(st, 0, F_COUNT, x.second)[x.slot] == 0:
            row[x.slot] = 0
        row[x.slot] += x.weight * is_good(&g.goals[i], x.value)


cdef void merge_late(store_t* st, const late_t* x) noexcept nogil:
    """Into every tier that has closed the sample's step and still keeps it; open steps get it from the finer tier. The
    sketches of closed steps get theirs later, a few at a time (`store_late_timings`)."""
    cdef int64_t second = x.second, step
    cdef int tier
    # The first step began before we did: what is stamped there belongs to it, though no window reaches that far.
    if st.cells[x.slot].flags & CELL_JUDGED:
        judge_late(st, x)
    if second > st.sealed_second - KEPT_SECONDS and second >= st.first_second // 10 * 10:
        merge_value(st, 0, x.slot, second, x.value, x.weight)
    for tier in range(1, TIERS):
        step = step_seconds(tier)
        if second < st.rolled_end[tier] and second // step > st.rolled_end[tier] // step - KEPT_STEPS:
            merge_value(st, tier, x.slot, second, x.value, x.weight)
    if second >= st.rolled_end[1] and is_timing(st.cells[x.slot].kind):
        timing_add(st, x.slot, second, x.value, x.weight)
    if second > st.last_second[x.slot]:
        st.last_second[x.slot] = second
        st.last_value[x.slot] = x.value
    st.late_merged += 1


cdef uint32_t store_merge_late(store_t* st, uint32_t* slots, int64_t* seconds, double* values, double* weights) noexcept nogil:
    """Merge what is due; what belongs to a 10-s step that is closed already is listed as well (up to late_max rows),
    for it may be on disk. Samples from the future stay. Returns how many are listed."""
    cdef uint32_t i, kept = 0, listed = 0
    cdef late_t* x
    pthread_mutex_lock(&st.mutex)
    for i in range(st.late_n):
        x = &st.late[i]
        if x.second > st.sealed_second:
            st.late[kept] = x[0]
            kept += 1
        elif st.cells[x.slot].generation == x.generation:
            merge_late(st, x)
            if x.second < st.rolled_end[1]:
                slots[listed] = x.slot
                seconds[listed] = x.second
                values[listed] = x.value
                weights[listed] = x.weight
                listed += 1
        else:
            st.late_lost += 1
    st.late_n = kept
    pthread_mutex_unlock(&st.mutex)
    return listed


cdef void store_drop_late(store_t* st) noexcept nogil:
    pthread_mutex_lock(&st.mutex)
    st.late_lost += st.late_n
    st.late_n = 0
    pthread_mutex_unlock(&st.mutex)


cdef uint32_t store_release_idle(store_t* st, uint32_t first, uint32_t n, int64_t before_second) noexcept nogil:
    """Give back the slots in [first, first + n) that had no sample since `before_second`; returns how many."""
    cdef uint32_t slot, released = 0
    cdef cell_t* c
    for slot in range(first, min(first + n, st.high)):
        c = &st.cells[slot]
        if c.flags & CELL_LIVE and c.second < before_second and st.last_second[slot] < before_second:
            pthread_mutex_lock(&st.mutex)
            if c.second < before_second and st.meta[slot].pins == 0:
                series_release(st, slot)
                released += 1
            pthread_mutex_unlock(&st.mutex)
    return released


cdef void store_forget(store_t* st, uint32_t slot) noexcept nogil:
    """Under the mutex, by anybody: give a slot back whatever it holds; one that somebody holds on to (a handle, a rule,
    the overflow) is emptied instead and stays. A set that moves up in the list of sets may be sealed a second later."""
    cdef cell_t* c = &st.cells[slot]
    cdef bint is_held = st.meta[slot].pins != 0 or c.flags & CELL_RESERVED or st.metrics[st.meta[slot].metric].overflow == slot
    cdef int kind
    for kind in range(7):
        is_held = is_held or st.overflow_slots[kind] == slot
    if not is_held:
        series_release(st, slot)
        return
    set_free(&st.sets, slot)
    timing_free(st, slot)
    clear_columns(st, slot)
    c.count = 0
    c.head = 0
    c.drained = 0
    if c.flags & CELL_JUDGED:
        st.judged[slot].second = 0
    c.flags &= ~CELL_HAS_LAST
    c.generation += 1       # late samples that wait are its own no more
    st.last_second[slot] = 0
