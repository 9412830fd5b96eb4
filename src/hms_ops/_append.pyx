"""Samples into rings and cells; cells into columns. The receiving half of the store, all without the GIL.

    sample ─► intern (slot) ─► open cell (one cache line) ─► ring of raw samples
                                  │ the second turns
                                  ▼
              sealed columns, time-major: columns[tier][field][slot of the step][series]

Threads: `store_append` is called by every listener and by in-process drains; it holds the store's mutex for one batch
and reads the clock under it, so the second it writes to is open by definition. A large body is appended in parts, with
the mutex let go in between (`store_append_parts`), and enters the ledger at its end. A cell found in an older, unsealed
second is spilled into its column right there, which writes what the tick would have written (`_seal.pyx`): both are
idempotent, and a late tick loses nothing for SLOTS − 3 seconds. What a cell is and how it turns: `_cell.pxd`.
"""

from libc.math cimport fabs
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from hms_ops._cell cimport cell_turn, fold, open_second, roll_set, second_of
from hms_ops._goal cimport is_good, judged_turn
from hms_ops._hll cimport set_of, set_t, sketch_add
from hms_ops._intern cimport intern_find, kind_settle, store_resolve
from hms_ops._sample cimport *
from hms_ops._store cimport *
from hms_ops._timings cimport is_timing, timing_add, timing_add_many, timing_drain, timing_ring_full
from hms_ops.collector._emit cimport MAGNITUDE_MAX, hms_hash_member, hms_likely, hms_spell_double, hms_unlikely, note_bad

cdef enum:
    LATE_SECONDS_MAX = 3600
    AHEAD_SECONDS_MAX = 600
    HOLD_SAMPLES = 512          # of a large body, appended in one hold of the mutex


cdef inline raw_t* ring_place(const store_t* st, uint32_t slot, const cell_t* c) noexcept nogil:
    return st.rings + ((<size_t>slot << st.ring_shift) | (c.head & st.ring_mask))


cdef inline void ring_put(store_t* st, uint32_t slot, cell_t* c, int64_t time_ns, double value) noexcept nogil:
    cdef raw_t* r = ring_place(st, slot, c)
    r.time_ns = time_ns
    r.value = value
    c.head += 1


cdef inline void ring_turn(store_t* st, uint32_t slot, cell_t* c) noexcept nogil:
    """Once a round, a timing series' samples leave the ring for its sketches."""
    if hms_unlikely((c.head & st.ring_mask) == 0) and is_timing(c.kind):
        timing_ring_full(st, slot, c)


cdef inline void ring_append(store_t* st, uint32_t slot, cell_t* c, int64_t time_ns, double value) noexcept nogil:
    ring_put(st, slot, c, time_ns, value)
    ring_turn(st, slot, c)


cdef inline void subscribed_push(store_t* st, uint32_t slot, double value) noexcept nogil:
    """For on_metric: the oldest value makes room."""
    cdef subscribed_t* x = &st.subscribed[st.subscribed_n & st.subscribed_mask]
    x.slot = slot
    x.value = value
    st.subscribed_n += 1
    if st.subscribed_n - st.subscribed_read > st.subscribed_mask + 1:
        st.subscribed_read += 1
        st.subscribed_dropped += 1


cdef inline void judge(store_t* st, uint32_t slot, uint32_t second, double value, double weight) noexcept nogil:
    """Count a sample that is folded into the cell of `second` against each goal of its metric."""
    cdef judged_t* j = &st.judged[slot]
    cdef const goals_t* g = &st.goals[j.goals]
    cdef uint32_t i
    if j.second != second:
        judged_turn(st, slot, j, second)
    for i in range(g.n):
        j.good[i] += weight * is_good(&g.goals[i], value)


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
    return hms_hash_member(digits, hms_spell_double(digits, x.value), st.keys.seed)


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


cdef inline void show(store_t* st, uint32_t slot, cell_t* c, int64_t time_ns, double value) noexcept nogil:
    """To those who want each value: the ring and on_metric. In the order of arrival, whatever the stamps say."""
    ring_put(st, slot, c, time_ns, value)
    if c.flags & CELL_SUBSCRIBED:
        subscribed_push(st, slot, value)


cdef uint8_t append_late(store_t* st, const sample_t* s, cell_t* c, double value, double weight, int64_t second, int64_t now) noexcept nogil:
    """A stamped sample outside the open second waits for the tick. `last` stays: deltas go on from what was measured
    in time."""
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
    x.generation = c.generation
    if is_timing(c.kind):
        timing_drain(st, s.slot, c)
    show(st, s.slot, c, s.time_ns, value)
    c.drained = <uint16_t>c.head                # the tick adds it where it belongs
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
    if s.flags & FLAG_STAMPED:
        second = second_of(s.time_ns)
    if s.flags & FLAG_DELTA and kind == KIND_GAUGE:
        if second != now:
            return BAD_TIME                     # nobody can say what the gauge was at that time
        if c.flags & CELL_HAS_LAST:
            value += c.last
    if kind == KIND_GAUGE:
        weight = 1.0
    if fabs(value) > MAGNITUDE_MAX or fabs(value) * weight > MAGNITUDE_MAX:
        return BAD_MAGNITUDE
    if second != now:
        return append_late(st, s, c, value, weight, second, now)
    if c.second != <uint32_t>now:
        cell_turn(st, s.slot, c, <uint32_t>now)
    fold(c, value, weight)
    if c.flags & CELL_JUDGED:
        judge(st, s.slot, <uint32_t>now, value, weight)
    c.flags |= CELL_HAS_LAST
    if weight != 1 and is_timing(kind):
        timing_drain(st, s.slot, c)
        timing_add(st, s.slot, now, value, weight)
        show(st, s.slot, c, s.time_ns if s.flags & FLAG_STAMPED else now_ns, value)
        c.drained = <uint16_t>c.head
    else:
        show(st, s.slot, c, s.time_ns if s.flags & FLAG_STAMPED else now_ns, value)
        ring_turn(st, s.slot, c)
    return BAD_NONE


cdef inline uint8_t append_one(store_t* st, const sample_t* s, uint32_t input, int64_t now_ns, uint32_t second) noexcept nogil:
    cdef cell_t* c = &st.cells[s.slot]
    # Everything rare is seen by three tests: another kind, a flag of the sample, a flag of the cell.
    if hms_unlikely((s.kind != c.kind and s.kind != KIND_UNKNOWN) or s.flags or c.flags != CELL_PLAIN):
        if c.flags != CELL_PLAIN_JUDGED or s.flags or (s.kind != c.kind and s.kind != KIND_UNKNOWN):
            return append_special(st, s, c, input, now_ns)
        judge(st, s.slot, second, s.value, 1.0)
    if c.second != second:
        cell_turn(st, s.slot, c, second)
    fold(c, s.value, 1.0)
    ring_append(st, s.slot, c, now_ns, s.value)
    return BAD_NONE


# ---- one batch ----

cdef void keep_rejects(store_t* st, const batch_t* b, int64_t now_ns) noexcept nogil:
    cdef uint32_t i, first = b.rejects_first
    cdef reject_t* r
    if b.rejects_n > first + BATCH_REJECTS:
        first = b.rejects_n - BATCH_REJECTS
    for i in range(first, b.rejects_n):
        r = &st.rejects[st.rejects_n % REJECTS_KEPT]
        r[0] = b.rejects[i % BATCH_REJECTS]
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
            if hms_unlikely(st.cells[s.slot].flags & CELL_JUDGED):
                hms_prefetch_write(&st.judged[s.slot])
    for i in range(n):
        s = &block[i]
        if hms_likely(s.slot != NONE):
            append_found(st, b, s, now_ns, second)
        else:
            sample_bad(b, s, s.bad)


cdef inline void append_samples(store_t* st, batch_t* b, size_t start, size_t end, int64_t now_ns) noexcept nogil:
    if hms_unlikely(second_of(now_ns) > st.cleared_second):
        open_second(st, second_of(now_ns))
    while start < end:
        append_block(st, b, &b.samples[start], min(<size_t>BLOCK, end - start), now_ns)
        start += BLOCK


cdef inline void enter_ledger(store_t* st, const batch_t* b, int64_t now_ns) noexcept nogil:
    if b.rejects_n:
        keep_rejects(st, b, now_ns)
    add_tally(&st.inputs[b.input], &b.tally)


cdef void store_append_locked(store_t* st, batch_t* b) noexcept nogil:
    cdef int64_t now_ns = store_now_ns(st)
    append_samples(st, b, 0, b.n, now_ns)
    enter_ledger(st, b, now_ns)


cdef void store_append(store_t* st, batch_t* b) noexcept nogil:
    """Append what the decoders made, and enter the batch into the ledger of its input: one hold of the mutex."""
    pthread_mutex_lock(&st.mutex)
    store_append_locked(st, b)
    pthread_mutex_unlock(&st.mutex)


cdef void store_append_part(void* store, void* batch) noexcept nogil:
    """Append what a large body has decoded so far, without its ledger, and let listeners in between."""
    cdef store_t* st = <store_t*>store
    cdef batch_t* b = <batch_t*>batch
    cdef size_t start = 0, end
    while start < b.n:
        end = min(start + <size_t>HOLD_SAMPLES, b.n)
        pthread_mutex_lock(&st.mutex)
        append_samples(st, b, start, end, store_now_ns(st))
        pthread_mutex_unlock(&st.mutex)
        sched_yield()
        start = end
    b.n = 0


cdef void store_append_parts(store_t* st, batch_t* b) noexcept nogil:
    """The rest of a large body, then its ledger, which is entered whole."""
    store_append_part(st, b)
    pthread_mutex_lock(&st.mutex)
    enter_ledger(st, b, store_now_ns(st))
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


cdef void store_append_pending(store_t* st, int64_t closing) noexcept nogil:
    """Drain the in-process buffer; each call was a datagram of its own. The caller holds GIL and mutex.

    closing: the second that the tick is about to seal, 0 for other drains. What waits then was called during that
    second, all but the last milliseconds, so it belongs there, unless a listener has turned the cell already.
    """
    cdef int64_t now_ns = store_now_ns(st)
    cdef int64_t closing_ns = closing * 1000000000 + 999999999
    cdef uint32_t i
    cdef pending_t* p
    if second_of(now_ns) > st.cleared_second:
        open_second(st, second_of(now_ns))
    for i in range(st.pending_n):
        p = &st.pending[i]
        st.inputs[p.input].received += 1
        st.inputs[p.input].accepted += 1
        if closing_ns < now_ns and closing > st.sealed_second and st.cells[p.slot].second <= closing:
            append_value(st, p.slot, p.kind, p.input, p.value, closing_ns)
        else:
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


cdef void append_ring_many(store_t* st, uint32_t slot, cell_t* c, int64_t now_ns, const double* values, size_t n) noexcept nogil:
    """The ring gets as many as it holds; of more than those, sketches get all at once."""
    cdef size_t room = st.ring_mask + 1, i
    if n <= room:
        for i in range(n):
            ring_append(st, slot, c, now_ns, values[i])
        return
    if is_timing(c.kind):
        timing_drain(st, slot, c)
        timing_add_many(st, slot, second_of(now_ns), values, n)
    for i in range(n - room, n):
        ring_put(st, slot, c, now_ns, values[i])
    c.drained = <uint16_t>c.head


cdef uint8_t store_append_many(store_t* st, uint32_t slot, uint8_t kind, uint32_t input, const double* values, size_t n) noexcept nogil:
    """add_many: one datagram of n values. The caller holds the mutex."""
    cdef int64_t now_ns = store_now_ns(st)
    cdef uint32_t second = <uint32_t>(second_of(now_ns))
    cdef cell_t* c = &st.cells[slot]
    cdef tally_t* t = &st.inputs[input]
    cdef size_t i
    if second_of(now_ns) > st.cleared_second:
        open_second(st, second_of(now_ns))
    t.received += 1
    t.accepted += 1
    if n == 0:
        return BAD_NONE
    if c.flags & ~CELL_JUDGED != CELL_PLAIN or (kind != KIND_UNKNOWN and c.kind != kind) or not all_plain(values, n):
        for i in range(n):
            append_value(st, slot, kind, input, values[i], now_ns)
        return BAD_NONE
    if c.second != second:
        cell_turn(st, slot, c, second)
    fold_many(c, values, n)
    if c.flags & CELL_JUDGED:
        for i in range(n):
            judge(st, slot, second, values[i], 1.0)
    append_ring_many(st, slot, c, now_ns, values, n)
    t.values += n
    t.samples += n
    return BAD_NONE
