"""Samples into rings and cells; cells into columns. The receiving half of the store, all without the GIL.

    sample ─► intern (slot) ─► open cell (one cache line) ─► ring of raw samples
                                  │ the second turns
                                  ▼
              sealed columns, time-major: columns[tier][field][slot of the step][series]

Threads: `store_append` is called by every listener and by in-process drains; it holds the store's mutex for one batch
and reads the clock under it, so the second it writes to is open by definition. `store_seal`, `store_merge_late` and
`store_release_idle` belong to the tick; they take the mutex for SEAL_CHUNK series at a time, so that a listener waits
microseconds. A cell that a receiver finds in an older, unsealed second is spilled into its column right there, which
writes what the tick would have written: both are idempotent, and a late tick loses nothing for SLOTS − 3 seconds.

Where COUNT is 0 the other fields of a step are undefined: clearing a row clears COUNT only.

Variance: Σ weight × (value − mean)² by West's weighted update (1979), with one division a sample.
"""

from libc.math cimport fabs
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset

from hms_ops._hll cimport set_of, set_t, sketch_add, sketch_clear, sketch_merge, sketch_t
from hms_ops._intern cimport intern_find, kind_settle, series_release, store_resolve
from hms_ops._sample cimport *
from hms_ops._store cimport *
from hms_ops.collector._emit cimport MAGNITUDE_MAX, hms_hash_member, hms_likely, hms_unlikely, note_bad

cdef enum:
    SEAL_CHUNK = 2048
    LATE_SECONDS_MAX = 3600
    AHEAD_SECONDS_MAX = 600
    KEPT_SECONDS = 60           # sealed seconds that stay readable
    KEPT_STEPS = 61             # closed steps of the higher tiers that stay readable


cdef inline int64_t second_of(int64_t ns) noexcept nogil:
    return ns // 1000000000


cdef inline int64_t step_seconds(int tier) noexcept nogil:
    return 1 if tier == 0 else 10 if tier == 1 else 60


# ---- cells ----

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


cdef void write_column(store_t* st, uint32_t slot, const cell_t* c) noexcept nogil:
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


cdef void roll_set(store_t* st, uint32_t slot, int64_t second) noexcept nogil:
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


cdef inline raw_t* ring_place(const store_t* st, uint32_t slot, const cell_t* c) noexcept nogil:
    return st.rings + ((<size_t>slot << st.ring_shift) | (c.head & st.ring_mask))


cdef inline void ring_append(store_t* st, uint32_t slot, cell_t* c, int64_t time_ns, double value) noexcept nogil:
    cdef raw_t* r = ring_place(st, slot, c)
    r.time_ns = time_ns
    r.value = value
    c.head += 1


cdef inline void subscribed_push(store_t* st, uint32_t slot, double value) noexcept nogil:
    """For on_metric: the oldest value makes room."""
    cdef subscribed_t* x = &st.subscribed[st.subscribed_n & st.subscribed_mask]
    x.slot = slot
    x.value = value
    st.subscribed_n += 1
    if st.subscribed_n - st.subscribed_read > st.subscribed_mask + 1:
        st.subscribed_read += 1
        st.subscribed_dropped += 1


# ---- one sample ----

cdef inline uint8_t stamp_bad(int64_t second, int64_t now) noexcept nogil:
    if second < now - LATE_SECONDS_MAX:
        return BAD_TIME_OLD
    return BAD_TIME_AHEAD if second > now + AHEAD_SECONDS_MAX else BAD_NONE


cdef uint64_t member_of(const store_t* st, const sample_t* x) noexcept nogil:
    """The hash of a set's member; a number that came without a kind is spelled in decimal first."""
    cdef char digits[96]
    cdef uint64_t member
    if x.flags & FLAG_MEMBER:
        memcpy(&member, &x.value, 8)
        return member
    return hms_hash_member(digits, <size_t>snprintf(digits, 32, b"%.17g", x.value), st.keys.seed)


cdef uint8_t append_member(store_t* st, const sample_t* x, cell_t* c, uint32_t second) noexcept nogil:
    """A member counts where it arrives: a stamp is only judged, for a sketch cannot be patched later."""
    cdef uint32_t slot = x.slot
    cdef set_t* s = set_of(&st.sets, slot)
    cdef uint8_t bad = stamp_bad(second_of(x.time_ns), second) if x.flags & FLAG_STAMPED else <uint8_t>BAD_NONE
    if bad:
        return bad
    if s == NULL:
        return BAD_SET_MEMORY
    if s.open.step != second:
        roll_set(st, slot, second)
        s.open.step = second
    if not sketch_add(&st.sets, &s.open, member_of(st, x)):
        return BAD_SET_MEMORY
    if c.second != second:
        cell_turn(st, slot, c, second)
    st.last_second[slot] = second
    return BAD_NONE


cdef uint8_t append_late(store_t* st, const sample_t* s, double value, double weight, int64_t second, int64_t now) noexcept nogil:
    """A stamped sample outside the open second waits for the tick."""
    cdef late_t* x
    cdef uint8_t bad = stamp_bad(second, now)
    if bad:
        return bad
    if st.late_n == st.late_max:
        return BAD_LATE_FULL
    x = &st.late[st.late_n]
    st.late_n += 1
    x.value = value
    x.weight = weight
    x.second = <uint32_t>second
    x.slot = s.slot
    x.generation = st.cells[s.slot].generation
    return BAD_NONE


cdef uint8_t append_special(store_t* st, const sample_t* s, cell_t* c, uint32_t input, int64_t now_ns) noexcept nogil:
    """The rare cases: a kind to settle, sets, deltas, weights, stamps, reserved names. BAD_NONE when it was taken."""
    cdef int64_t now = second_of(now_ns), second = now
    cdef double value = s.value, weight = s.weight if s.flags & FLAG_WEIGHTED else 1.0
    cdef uint8_t kind
    if c.flags & CELL_RESERVED and input != INPUT_SELF:
        return BAD_NAME_RESERVED
    if s.kind != KIND_UNKNOWN and s.kind != c.kind and not kind_settle(st, s.slot, s.kind):
        return BAD_KIND_CONFLICT
    kind = c.kind & ~KIND_PROVISIONAL
    if kind == KIND_SET:
        return append_member(st, s, c, <uint32_t>now)
    if s.flags & FLAG_MEMBER:
        return BAD_KIND_CONFLICT
    if s.flags & FLAG_DELTA and kind == KIND_GAUGE and c.flags & CELL_HAS_LAST:
        value += c.last
    if kind == KIND_GAUGE:
        weight = 1.0
    if fabs(value) > MAGNITUDE_MAX or fabs(value) * weight > MAGNITUDE_MAX:
        return BAD_MAGNITUDE
    if s.flags & FLAG_STAMPED:
        second = second_of(s.time_ns)
        if second != now:
            return append_late(st, s, value, weight, second, now)
    if c.second != <uint32_t>now:
        cell_turn(st, s.slot, c, <uint32_t>now)
    fold(c, value, weight)
    c.flags |= CELL_HAS_LAST
    ring_append(st, s.slot, c, s.time_ns if s.flags & FLAG_STAMPED else now_ns, value)
    if c.flags & CELL_SUBSCRIBED:
        subscribed_push(st, s.slot, value)
    return BAD_NONE


cdef inline uint8_t append_one(store_t* st, const sample_t* s, uint32_t input, int64_t now_ns, uint32_t second) noexcept nogil:
    cdef cell_t* c = &st.cells[s.slot]
    # Everything rare is seen by three tests: another kind, a flag of the sample, a flag of the cell.
    if hms_unlikely((s.kind != c.kind and s.kind != KIND_UNKNOWN) or s.flags or c.flags != CELL_PLAIN):
        return append_special(st, s, c, input, now_ns)
    if c.second != second:
        cell_turn(st, s.slot, c, second)
    fold(c, s.value, 1.0)
    ring_append(st, s.slot, c, now_ns, s.value)
    return BAD_NONE


# ---- one batch ----

cdef void keep_rejects(store_t* st, const batch_t* b, int64_t now_ns) noexcept nogil:
    cdef uint32_t i
    cdef reject_t* r
    for i in range(b.rejects_n):
        r = &st.rejects[st.rejects_n % REJECTS_KEPT]
        r[0] = b.rejects[i]
        if b.sources == NULL:
            memset(r.source, 0, SOURCE_BYTES)
        else:
            memcpy(r.source, b.sources + r.input * SOURCE_BYTES, SOURCE_BYTES)
        r.time_ns = now_ns
        r.input = b.input
        st.rejects_n += 1


cdef void add_tally(tally_t* into, const tally_t* t) noexcept nogil:
    cdef uint64_t* a = <uint64_t*>into
    cdef const uint64_t* x = <const uint64_t*>t
    cdef size_t i
    for i in range(sizeof(tally_t) // 8):
        a[i] += x[i]


cdef void sample_bad(batch_t* b, const sample_t* s, uint8_t reason) noexcept nogil:
    """A sample that decoded well and was refused here: it is a value already, so only the reason is counted."""
    b.datagram = s.datagram
    note_bad(b, reason, s.name, s.name_len)
    b.tally.values -= 1


cdef inline bint find_slot(store_t* st, sample_t* s, batch_t* b) noexcept nogil:
    """Fill in the sample's slot; False, with s.bad set, when it can have none."""
    s.slot = intern_find(&st.keys, s.hash, s.name, s.name_len, s.tags, s.tags_len, s.spelling)
    if hms_unlikely(s.slot == NONE):
        s.slot = store_resolve(st, s, b)
        return s.slot != NONE
    return True


cdef inline void append_found(store_t* st, batch_t* b, sample_t* s, int64_t now_ns, uint32_t second) noexcept nogil:
    cdef uint8_t bad = append_one(st, s, b.input, now_ns, second)
    if hms_unlikely(bad):
        sample_bad(b, s, bad)
    else:
        b.tally.samples += 1


cdef void append_block(store_t* st, batch_t* b, sample_t* block, size_t n, int64_t now_ns) noexcept nogil:
    """Up to BLOCK samples in passes, so that their cache misses overlap instead of following each other."""
    cdef intern_t* t = &st.keys
    cdef uint32_t second = <uint32_t>second_of(now_ns)
    cdef sample_t* s
    cdef size_t i
    for i in range(n):
        hms_prefetch(&t.entries[block[i].hash & t.mask])
    for i in range(n):
        hms_prefetch(t.arena + <size_t>t.entries[block[i].hash & t.mask].key * KEY_UNIT)
    for i in range(n):
        if find_slot(st, &block[i], b):
            hms_prefetch_write(&st.cells[block[i].slot])
    for i in range(n):
        s = &block[i]
        if hms_likely(s.slot != NONE):
            hms_prefetch_write(ring_place(st, s.slot, &st.cells[s.slot]))
    for i in range(n):
        s = &block[i]
        if hms_likely(s.slot != NONE):
            append_found(st, b, s, now_ns, second)
        else:
            sample_bad(b, s, s.bad)


cdef void clear_counts(store_t* st, int64_t second) noexcept nogil:
    memset(column_row(st, 0, F_COUNT, second), 0, st.high * sizeof(double))
    st.cleared_second = second


cdef void open_second(store_t* st, int64_t second) noexcept nogil:
    """Rows that nobody cleared ahead, after a tick that is late by seconds."""
    if second - st.cleared_second > SLOTS:
        st.cleared_second = second - SLOTS
    while st.cleared_second < second:
        clear_counts(st, st.cleared_second + 1)


cdef void store_append_locked(store_t* st, batch_t* b) noexcept nogil:
    cdef int64_t now_ns = store_now_ns(st)
    cdef size_t start = 0
    if hms_unlikely(second_of(now_ns) > st.cleared_second):
        open_second(st, second_of(now_ns))
    while start < b.n:
        append_block(st, b, &b.samples[start], min(<size_t>BLOCK, b.n - start), now_ns)
        start += BLOCK
    if b.rejects_n:
        keep_rejects(st, b, now_ns)
    add_tally(&st.inputs[b.input], &b.tally)


cdef void store_append(store_t* st, batch_t* b) noexcept nogil:
    """Append what the decoders made, and enter the batch into the ledger of its input: one hold of the mutex."""
    pthread_mutex_lock(&st.mutex)
    store_append_locked(st, b)
    pthread_mutex_unlock(&st.mutex)


# ---- in-process ----

cdef void append_value(store_t* st, uint32_t slot, uint8_t kind, uint32_t input, double value, int64_t now_ns) noexcept nogil:
    cdef sample_t s
    cdef tally_t* t = &st.inputs[input]
    cdef uint8_t bad
    s.slot = slot
    s.kind = kind
    s.flags = 0
    s.value = value
    t.values += 1
    if value != value:
        bad = BAD_NAN
    elif value - value != 0:
        bad = BAD_INFINITE
    elif fabs(value) > MAGNITUDE_MAX:
        bad = BAD_MAGNITUDE
    else:
        bad = append_one(st, &s, input, now_ns, <uint32_t>(second_of(now_ns)))
    if bad:
        t.bad[bad] += 1
    else:
        t.samples += 1


cdef void store_append_pending(store_t* st) noexcept nogil:
    """Drain the in-process buffer; each call was a datagram of its own. The caller holds GIL and mutex."""
    cdef int64_t now_ns = store_now_ns(st)
    cdef uint32_t i
    cdef pending_t* p
    if second_of(now_ns) > st.cleared_second:
        open_second(st, second_of(now_ns))
    for i in range(st.pending_n):
        p = &st.pending[i]
        st.inputs[p.input].received += 1
        st.inputs[p.input].accepted += 1
        append_value(st, p.slot, p.kind, p.input, p.value, now_ns)
    st.pending_n = 0


cdef bint all_plain(const double* values, size_t n) noexcept nogil:
    """No NaN, no infinity, nothing over MAGNITUDE_MAX."""
    cdef size_t i
    cdef int odd = 0
    for i in range(n):
        odd |= not (fabs(values[i]) <= MAGNITUDE_MAX)
    return odd == 0


cdef void fold_many(cell_t* c, const double* values, size_t n) noexcept nogil:
    """Fold n plain values as one cell of their own, then merge the two (Chan, Golub, LeVeque 1979)."""
    cdef double total = 0, m2 = 0, low = values[0], high = values[0], mean, away, x
    cdef size_t i
    for i in range(n):
        x = values[i]
        total += x
        if x < low: low = x
        if x > high: high = x
    mean = total / <double>n
    for i in range(n):
        away = values[i] - mean
        m2 += away * away
    if c.count == 0:
        c.count = <double>n
        c.sum = total
        c.m2 = m2
        c.min = low
        c.max = high
    else:
        away = mean - c.sum / c.count
        c.m2 += m2 + away * away * (c.count * <double>n / (c.count + <double>n))
        c.count += <double>n
        c.sum += total
        if low < c.min: c.min = low
        if high > c.max: c.max = high
    c.last = values[n - 1]


cdef uint8_t store_append_many(store_t* st, uint32_t slot, uint8_t kind, uint32_t input, const double* values, size_t n) noexcept nogil:
    """add_many: one datagram of n values. The caller holds the mutex."""
    cdef int64_t now_ns = store_now_ns(st)
    cdef uint32_t second = <uint32_t>(second_of(now_ns))
    cdef cell_t* c = &st.cells[slot]
    cdef tally_t* t = &st.inputs[input]
    cdef size_t i, first
    if second_of(now_ns) > st.cleared_second:
        open_second(st, second_of(now_ns))
    t.received += 1
    t.accepted += 1
    if n == 0:
        return BAD_NONE
    if c.flags != CELL_PLAIN or (kind != KIND_UNKNOWN and c.kind != kind) or not all_plain(values, n):
        for i in range(n):
            append_value(st, slot, kind, input, values[i], now_ns)
        return BAD_NONE
    if c.second != second:
        cell_turn(st, slot, c, second)
    fold_many(c, values, n)
    first = n - (st.ring_mask + 1) if n > st.ring_mask + 1 else 0
    for i in range(first, n):
        ring_append(st, slot, c, now_ns, values[i])
    t.values += n
    t.samples += n
    return BAD_NONE


# ---- the tick's half ----

cdef void seal_set(store_t* st, uint32_t slot, int64_t closed) noexcept nogil:
    cdef set_t* s = st.sets.by_slot[slot]
    if s.open.step and s.open.step <= closed:
        roll_set(st, slot, closed)


cdef void seal_sets(store_t* st, int64_t closed) noexcept nogil:
    cdef uint32_t i
    pthread_mutex_lock(&st.mutex)
    for i in range(st.sets.n):
        seal_set(st, st.sets.slots[i], closed)
    pthread_mutex_unlock(&st.mutex)


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
    pthread_mutex_lock(&st.mutex)
    st.offset_ns = offset_ns
    now = second_of(store_now_ns(st))
    for slot in range(st.high):
        st.cells[slot].count = 0
        st.cells[slot].second = <uint32_t>now       # idle from now on
        st.last_second[slot] = 0
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
    cdef uint32_t i
    pthread_mutex_lock(&st.mutex)
    for i in range(st.sets.n):
        roll_sets_of(st, st.sets.by_slot[st.sets.slots[i]], tier, step)
    pthread_mutex_unlock(&st.mutex)


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


cdef void merge_late(store_t* st, const late_t* x) noexcept nogil:
    """Into every tier that has closed the sample's step and still keeps it; open steps get it from the finer tier."""
    cdef int64_t second = x.second, step
    cdef int tier
    # The first step began before we did: what is stamped there belongs to it, though no window reaches that far.
    if second > st.sealed_second - KEPT_SECONDS and second >= st.first_second // 10 * 10:
        merge_value(st, 0, x.slot, second, x.value, x.weight)
    for tier in range(1, TIERS):
        step = step_seconds(tier)
        if second < st.rolled_end[tier] and second // step > st.rolled_end[tier] // step - KEPT_STEPS:
            merge_value(st, tier, x.slot, second, x.value, x.weight)
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
    st.late_n = kept
    pthread_mutex_unlock(&st.mutex)
    return listed


cdef uint32_t store_release_idle(store_t* st, uint32_t first, uint32_t n, int64_t before_second) noexcept nogil:
    """Give back the slots in [first, first + n) that had no sample since `before_second`; returns how many."""
    cdef uint32_t slot, released = 0
    cdef cell_t* c
    for slot in range(first, min(first + n, st.high)):
        c = &st.cells[slot]
        if c.flags & CELL_LIVE and c.second < before_second and st.last_second[slot] < before_second:
            pthread_mutex_lock(&st.mutex)
            if c.second < before_second and st.meta[slot].pins == 0 and not c.flags & CELL_RESERVED:
                series_release(st, slot)
                released += 1
            pthread_mutex_unlock(&st.mutex)
    return released
