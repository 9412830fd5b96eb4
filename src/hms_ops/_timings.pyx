"""Percentiles of timing series (timers, histograms, distributions): the ring into sketches, sketches by step.

    sample ─► ring (64)          nothing else is done for a sample that comes
                │ the ring has gone round, or the sample is special (weighted, stamped, one of very many)
                ▼
              pieces             histograms of the seconds that are not sealed, and of the open 10-s step before them
                │ the tick closes the 10-s step: its samples in the ring and its pieces become a sketch
                ▼
              shelves            sketches of 61 closed steps of 10 s; six of them make one of 61 minutes

A series that gets fewer than 64 samples in ten seconds never has a piece, and one that falls silent gives all it has
back within 61 minutes. `cell_t.drained` says which of the ring's samples are in pieces or sketches already. Seconds
stay apart until they are sealed, and one more, so a window never holds a second that its end leaves out, even when the
tick seals another one while somebody reads; a reader adds the ring's samples of the window's seconds by itself.

Pieces, shelves and what holds them count against `timings.budget`; a sample that finds no memory is counted as lost and
missing in percentiles alone. Sketches themselves: `_sketch`.

Threads: everything is called under the store's mutex without the GIL, but for the store_… functions, which take it for
a few series at a time. The tick closes steps, and so does `_seal` late samples; any thread reads.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove

from hms_ops._sketch cimport (BLOB_BYTES_MAX, TAKEN, budget_t, hist_add, hist_add_many, hist_clear, hist_count, hist_encode, hist_free,
                              hist_merge, hist_start, hist_t, hist_take)
from hms_ops._store cimport *

cdef enum:
    KEPT_STEPS = 61
    STEP_SECONDS = 10
    MINUTE_STEPS = 6
    RECORD_HEAD = 3
    SLACK_BYTES = 32
    CLOSE_CHUNK = 16            # series closed, rolled or patched in one hold of the mutex
    LOOK_CHUNK = 512            # series looked at in one hold
    TAKE_CHUNK = 64             # series taken from in one hold


# ---- pieces: open seconds and steps ----

cdef timing_t* timing_of(store_t* st, uint32_t slot) noexcept nogil:
    """What the series keeps, made when it is first asked for; NULL without memory."""
    cdef timing_t* t = st.timings.by_slot[slot]
    cdef budget_t* budget = &st.timings.budget
    if t != NULL or budget.bytes + sizeof(timing_t) > budget.bytes_max:
        return t
    t = <timing_t*>calloc(1, sizeof(timing_t))
    if t != NULL:
        budget.bytes += sizeof(timing_t)
        st.timings.by_slot[slot] = t
    return t


cdef void piece_free(store_t* st, piece_t* p) noexcept nogil:
    hist_free(&p.hist)
    st.timings.budget.bytes -= sizeof(piece_t)
    free(p)


cdef void piece_lose(store_t* st, piece_t* p) noexcept nogil:
    st.timings.lost += <uint64_t>hist_count(&p.hist)
    piece_free(st, p)


cdef piece_t* piece_find(timing_t* t, uint32_t begin, uint32_t seconds) noexcept nogil:
    cdef piece_t* p = t.pieces
    while p != NULL and (p.begin != begin or p.seconds != seconds):
        p = p.next
    return p


cdef piece_t* piece_for(store_t* st, timing_t* t, int64_t second) noexcept nogil:
    """Where a sample of this second goes: seconds sealed before the last one are together in their 10-s step. NULL
    without memory."""
    cdef bint is_apart = second >= st.sealed_second
    cdef uint32_t begin = <uint32_t>(second if is_apart else second // STEP_SECONDS * STEP_SECONDS)
    cdef uint32_t seconds = 1 if is_apart else STEP_SECONDS
    cdef budget_t* budget = &st.timings.budget
    cdef piece_t* p = piece_find(t, begin, seconds)
    if p != NULL or budget.bytes + sizeof(piece_t) > budget.bytes_max:
        return p
    p = <piece_t*>malloc(sizeof(piece_t))
    if p == NULL:
        return NULL
    budget.bytes += sizeof(piece_t)
    p.begin = begin
    p.seconds = seconds
    hist_start(&p.hist, budget)
    p.next = t.pieces
    t.pieces = p
    return p


cdef void piece_join(store_t* st, timing_t* t, piece_t* p) noexcept nogil:
    """An unlinked second into its step."""
    cdef uint32_t begin = p.begin // STEP_SECONDS * STEP_SECONDS
    cdef piece_t* into = piece_find(t, begin, STEP_SECONDS)
    if into == NULL:
        p.begin = begin
        p.seconds = STEP_SECONDS
        p.next = t.pieces
        t.pieces = p
        return
    if not hist_merge(&into.hist, &p.hist):
        st.timings.lost += <uint64_t>hist_count(&p.hist)
    piece_free(st, p)


cdef void pieces_settle(store_t* st, timing_t* t, int64_t now) noexcept nogil:
    """Join the seconds that were sealed by now. What no tick has closed for a minute is given up, as columns are."""
    cdef piece_t* p = t.pieces
    cdef piece_t* following
    t.pieces = NULL
    while p != NULL:
        following = p.next
        if p.begin + p.seconds <= st.rolled_end[1] or p.begin + SLOTS + STEP_SECONDS < now:
            piece_lose(st, p)
        elif p.seconds == 1 and p.begin < st.sealed_second:
            piece_join(st, t, p)
        else:
            p.next = t.pieces
            t.pieces = p
        p = following


# ---- samples in ----

cdef inline const raw_t* ring_at(const store_t* st, uint32_t slot, uint32_t i) noexcept nogil:
    return st.rings + ((<size_t>slot << st.ring_shift) | (i & st.ring_mask))


cdef void piece_add(store_t* st, piece_t* p, const double* values, size_t stride, size_t n) noexcept nogil:
    """A sample that finds no memory is counted, and those behind it have their try."""
    cdef size_t i = 0
    while i < n:
        if p != NULL:
            i += hist_add_many(&p.hist, values + i * stride, stride, n - i)
        if i < n:
            st.timings.lost += 1
            i += 1


cdef uint32_t same_second(const store_t* st, uint32_t slot, uint32_t first, uint32_t end) noexcept nogil:
    """Where the ring's samples of the first one's second end, or its places come round."""
    cdef int64_t begin_ns = ring_at(st, slot, first).time_ns // 1000000000 * 1000000000
    cdef uint32_t i = first + 1
    while i != end and i & st.ring_mask and 0 <= ring_at(st, slot, i).time_ns - begin_ns < 1000000000:
        i += 1
    return i


cdef void drain(store_t* st, uint32_t slot, cell_t* c, uint32_t n) noexcept nogil:
    """The ring's newest n samples into pieces."""
    cdef timing_t* t = timing_of(st, slot)
    cdef const raw_t* r
    cdef int64_t second
    cdef uint32_t i = c.head - n, end
    c.drained = <uint16_t>c.head
    if t != NULL:
        pieces_settle(st, t, c.second)
    while i != c.head:
        r = ring_at(st, slot, i)
        second = r.time_ns // 1000000000
        end = same_second(st, slot, i, c.head)
        if second >= st.rolled_end[1]:          # else its step has closed with it
            piece_add(st, piece_for(st, t, second) if t != NULL else NULL, &r.value, 2, end - i)
        i = end


cdef void timing_ring_full(store_t* st, uint32_t slot, cell_t* c) noexcept nogil:
    """The next sample overwrites the oldest one: all that are in no sketch go into pieces, up to the whole ring."""
    drain(st, slot, c, ((c.head - c.drained - 1) & st.ring_mask) + 1)


cdef void timing_drain(store_t* st, uint32_t slot, cell_t* c) noexcept nogil:
    """Before a sample that is no plain one, and is added by itself."""
    if undrained(c):
        drain(st, slot, c, undrained(c))


cdef void timing_add(store_t* st, uint32_t slot, int64_t second, double value, double weight) noexcept nogil:
    timing_add_some(st, slot, second, &value, 1, weight)


cdef void timing_add_many(store_t* st, uint32_t slot, int64_t second, const double* values, size_t n) noexcept nogil:
    timing_add_some(st, slot, second, values, n, 1.0)


cdef void timing_add_some(store_t* st, uint32_t slot, int64_t second, const double* values, size_t n, double weight) noexcept nogil:
    """Samples that are not in the ring, or not as they count, of a second whose step has not closed. Weighted ones come
    one by one."""
    cdef timing_t* t = timing_of(st, slot)
    cdef piece_t* p = NULL
    if t != NULL:
        pieces_settle(st, t, st.cells[slot].second)
        p = piece_for(st, t, second)
    if weight == 1:
        piece_add(st, p, values, 1, n)
    elif p == NULL or not hist_add(&p.hist, values[0], weight):
        st.timings.lost += 1


# ---- shelves: closed steps ----

cdef inline uint32_t record_size(const uint8_t* r) noexcept nogil:
    return RECORD_HEAD + (<uint32_t>r[1] | <uint32_t>r[2] << 8)


cdef inline uint32_t record_step(const shelf_t* s, const uint8_t* r) noexcept nogil:
    """The whole number: none is as much as 256 steps older than the newest."""
    return s.last - <uint8_t>(<uint8_t>s.last - r[0])


cdef uint32_t shelf_seek(const shelf_t* s, int64_t step) noexcept nogil:
    """Where the first record of this step or a later one begins, or the end."""
    cdef uint32_t at = s.start
    while at < s.end and record_step(s, s.records + at) < step:
        at += record_size(s.records + at)
    return at


cdef bint shelf_resize(budget_t* budget, shelf_t* s, uint32_t room) noexcept nogil:
    """Another room for records that begin at 0."""
    cdef void* moved
    if room > s.room and budget.bytes + room - s.room > budget.bytes_max:
        return False
    moved = realloc(s.records, room)
    if moved == NULL:
        return False
    budget.bytes = budget.bytes + room - s.room
    s.records = <uint8_t*>moved
    s.room = room
    return True


cdef void shelf_pack(shelf_t* s) noexcept nogil:
    if s.start:
        memmove(s.records, s.records + s.start, s.end - s.start)
        s.end -= s.start
        s.start = 0


cdef void shelf_free(budget_t* budget, shelf_t* s) noexcept nogil:
    budget.bytes -= s.room
    free(s.records)
    s.records = NULL
    s.start = 0
    s.end = 0
    s.room = 0


cdef void shelf_expire(budget_t* budget, shelf_t* s, int64_t first) noexcept nogil:
    """Forget what is older than step `first`."""
    cdef uint32_t used
    if s.records == NULL:
        return
    s.start = shelf_seek(s, first)
    used = s.end - s.start
    if used == 0:
        shelf_free(budget, s)
    elif s.room > 2 * used + 8 * SLACK_BYTES:
        shelf_pack(s)
        shelf_resize(budget, s, used + SLACK_BYTES)


cdef bint shelf_room(budget_t* budget, shelf_t* s, uint32_t more) noexcept nogil:
    """Room for `more` bytes at the end; records may move to the front."""
    cdef uint32_t needed = s.end - s.start + more
    if s.end + more <= s.room:
        return True
    shelf_pack(s)
    return needed <= s.room or shelf_resize(budget, s, needed + needed // 16 + SLACK_BYTES)


cdef bint shelf_put(budget_t* budget, shelf_t* s, int64_t step, const uint8_t* blob, size_t n) noexcept nogil:
    """The sketch of a step, in place of the one there may be. False without memory: then that one stays."""
    cdef uint32_t size = <uint32_t>n + RECORD_HEAD, at, old = 0
    if not shelf_room(budget, s, size):
        return False
    if s.start == s.end or step > s.last:
        s.last = <uint32_t>step
    at = shelf_seek(s, step)
    if at < s.end and record_step(s, s.records + at) == step:
        old = record_size(s.records + at)
    memmove(s.records + at + size, s.records + at + old, s.end - at - old)
    s.records[at] = <uint8_t>step
    s.records[at + 1] = <uint8_t>n
    s.records[at + 2] = <uint8_t>(n >> 8)
    memcpy(s.records + at + RECORD_HEAD, blob, n)
    s.end = s.end + size - old
    return True


cdef bint take_records(hist_t* into, const uint8_t* r, const uint8_t* end) noexcept nogil:
    """Merge the sketches of neighbouring records; False without memory."""
    while r < end:
        if hist_take(into, r + RECORD_HEAD, record_size(r) - RECORD_HEAD) != TAKEN:
            return False
        r += record_size(r)
    return True


cdef bint take_steps(hist_t* into, const shelf_t* s, int64_t first, int64_t stop) noexcept nogil:
    """Merge the sketches of the steps first to stop − 1; False without memory."""
    if s.records == NULL:
        return True
    return take_records(into, s.records + shelf_seek(s, first), s.records + shelf_seek(s, stop))


cdef void shelf_store(store_t* st, timing_t* t, int tier, int64_t step) noexcept nogil:
    """The scratch histogram as the sketch of a step of `tier` (1: 10 s, 2: 60 s); what is too old for it goes."""
    cdef uint8_t blob[BLOB_BYTES_MAX]
    cdef size_t n = hist_encode(&st.timings.scratch, blob)
    if n and (t == NULL or not shelf_put(&st.timings.budget, &t.shelves[tier - 1], step, blob, n)):
        st.timings.lost += <uint64_t>hist_count(&st.timings.scratch)


# ---- steps close ----

cdef void take_ring(store_t* st, uint32_t slot, cell_t* c, int64_t begin, int64_t end) noexcept nogil:
    """The ring's samples of a step that closes, the oldest it has, into the scratch histogram."""
    cdef const raw_t* r
    while undrained(c):
        r = ring_at(st, slot, c.head - undrained(c))
        if r.time_ns >= end * 1000000000:
            return
        c.drained += 1
        if r.time_ns < begin * 1000000000 or not hist_add(&st.timings.scratch, r.value, 1.0):
            st.timings.lost += 1


cdef void take_pieces(store_t* st, timing_t* t, int64_t begin, int64_t end) noexcept nogil:
    """The pieces of a step that closes into the scratch histogram."""
    cdef piece_t* p = t.pieces
    cdef piece_t* following
    t.pieces = NULL
    while p != NULL:
        following = p.next
        if p.begin >= end:
            p.next = t.pieces
            t.pieces = p
        elif p.begin >= begin and hist_merge(&st.timings.scratch, &p.hist):
            piece_free(st, p)
        else:
            piece_lose(st, p)
        p = following


cdef void timing_close(store_t* st, uint32_t slot, int64_t step) noexcept nogil:
    cdef cell_t* c = &st.cells[slot]
    cdef timing_t* t = st.timings.by_slot[slot]
    hist_clear(&st.timings.scratch)
    if is_timing(c.kind):
        take_ring(st, slot, c, step * STEP_SECONDS, (step + 1) * STEP_SECONDS)
    if t != NULL:
        take_pieces(st, t, step * STEP_SECONDS, (step + 1) * STEP_SECONDS)
        shelf_expire(&st.timings.budget, &t.shelves[0], step + 1 - KEPT_STEPS)
    elif st.timings.scratch.buckets:
        t = timing_of(st, slot)
    shelf_store(st, t, 1, step)
    timing_free_idle(st, slot)


cdef void timing_roll(store_t* st, uint32_t slot, int64_t minute) noexcept nogil:
    cdef timing_t* t = st.timings.by_slot[slot]
    hist_clear(&st.timings.scratch)
    if not take_steps(&st.timings.scratch, &t.shelves[0], minute * MINUTE_STEPS, (minute + 1) * MINUTE_STEPS):
        st.timings.lost += 1
    shelf_expire(&st.timings.budget, &t.shelves[1], minute + 1 - KEPT_STEPS)
    shelf_store(st, t, 2, minute)
    timing_free_idle(st, slot)


cdef inline bint is_due(const store_t* st, uint32_t slot, int tier, int64_t step) noexcept nogil:
    """Whether closing the step does anything for the series. A look without the mutex may see it a moment late: what
    comes then is of another step."""
    cdef const cell_t* c = &st.cells[slot]
    if st.timings.by_slot[slot] != NULL:
        return True
    return tier == 1 and is_timing(c.kind) and c.second >= step * STEP_SECONDS and undrained(c) > 0


cdef uint32_t roll_some(store_t* st, uint32_t slot, int tier, int64_t step) noexcept nogil:
    """From `slot` on, under the mutex; where to go on."""
    cdef uint32_t end = min(slot + <uint32_t>LOOK_CHUNK, st.high), rolled = 0
    while slot < end and rolled < CLOSE_CHUNK:
        if is_due(st, slot, tier, step):
            rolled += 1
            if tier == 1:
                timing_close(st, slot, step)
            else:
                timing_roll(st, slot, step)
        slot += 1
    return slot


cdef void store_roll_timings(store_t* st, int tier, int64_t step) noexcept nogil:
    """A step of `tier` (1: 10 s, 2: 60 s) has closed: its sketches. Called before `rolled_end` says so."""
    cdef uint32_t slot = 0
    while slot < st.high:
        if not is_due(st, slot, tier, step):
            slot += 1
            continue
        pthread_mutex_lock(&st.mutex)
        slot = roll_some(st, slot, tier, step)
        pthread_mutex_unlock(&st.mutex)
        sched_yield()


# ---- late samples of closed steps ----

cdef void patch_step(store_t* st, uint32_t slot, int tier, int64_t step, const double* values, const double* weights, uint32_t n) noexcept nogil:
    cdef timing_t* t = timing_of(st, slot)
    cdef hist_t* scratch = &st.timings.scratch
    cdef uint32_t i
    hist_clear(scratch)
    if t != NULL and not take_steps(scratch, &t.shelves[tier - 1], step, step + 1):
        return
    for i in range(n):
        if not hist_add(scratch, values[i], weights[i]):
            st.timings.lost += 1
    shelf_store(st, t, tier, step)


cdef void patch_timing(store_t* st, uint32_t slot, int64_t step, const double* values, const double* weights, uint32_t n) noexcept nogil:
    """n samples of a closed 10-s step, where it and its minute are kept; an open minute gets them from the step."""
    cdef int64_t minute = step // MINUTE_STEPS
    if not st.cells[slot].flags & CELL_LIVE or not is_timing(st.cells[slot].kind):
        return
    if step > st.rolled_end[1] // STEP_SECONDS - KEPT_STEPS:
        patch_step(st, slot, 1, step, values, weights, n)
    if st.rolled_end[2] // 60 - KEPT_STEPS < minute < st.rolled_end[2] // 60:
        patch_step(st, slot, 2, minute, values, weights, n)


cdef void store_late_timings(store_t* st, const uint32_t* slots, const int64_t* seconds, const double* values, const double* weights, uint32_t n) noexcept nogil:
    """Late samples whose 10-s step had closed; neighbours of one series and step are merged at once."""
    cdef uint32_t i = 0, first, patched
    while i < n:
        patched = 0
        pthread_mutex_lock(&st.mutex)
        while i < n and patched < CLOSE_CHUNK:
            first = i
            while i < n and slots[i] == slots[first] and seconds[i] // STEP_SECONDS == seconds[first] // STEP_SECONDS:
                i += 1
            patch_timing(st, slots[first], seconds[first] // STEP_SECONDS, values + first, weights + first, i - first)
            patched += 1
        pthread_mutex_unlock(&st.mutex)
        sched_yield()


# ---- memory back ----

cdef void timing_free(store_t* st, uint32_t slot) noexcept nogil:
    cdef timing_t* t = st.timings.by_slot[slot]
    cdef piece_t* p
    if t == NULL:
        return
    while t.pieces != NULL:
        p = t.pieces
        t.pieces = p.next
        piece_free(st, p)
    shelf_free(&st.timings.budget, &t.shelves[0])
    shelf_free(&st.timings.budget, &t.shelves[1])
    free(t)
    st.timings.budget.bytes -= sizeof(timing_t)
    st.timings.by_slot[slot] = NULL


cdef void timing_free_idle(store_t* st, uint32_t slot) noexcept nogil:
    cdef timing_t* t = st.timings.by_slot[slot]
    if t != NULL and t.pieces == NULL and t.shelves[0].records == NULL and t.shelves[1].records == NULL:
        timing_free(st, slot)


cdef void store_free_timings(store_t* st) noexcept nogil:
    """All of them: the clock was set."""
    cdef uint32_t slot, start = 0
    while start < st.high:
        pthread_mutex_lock(&st.mutex)
        for slot in range(start, min(start + <uint32_t>LOOK_CHUNK, st.high)):
            timing_free(st, slot)
        pthread_mutex_unlock(&st.mutex)
        sched_yield()
        start += LOOK_CHUNK


# ---- sketches out ----

cdef bint copy_records(const shelf_t* s, int64_t first, int64_t stop, copy_t* copy) noexcept nogil:
    """The records of the steps first to stop − 1; False without memory."""
    cdef uint32_t begin, end
    cdef void* grown
    if s.records == NULL or first >= stop:
        return True
    begin = shelf_seek(s, first)
    end = shelf_seek(s, stop)
    if begin == end:
        return True
    if copy.n + end - begin > copy.room:
        grown = realloc(copy.data, 2 * copy.room + (end - begin))
        if grown == NULL:
            return False
        copy.data = <uint8_t*>grown
        copy.room = 2 * copy.room + (end - begin)
    memcpy(copy.data + copy.n, s.records + begin, end - begin)
    copy.n += end - begin
    return True


cdef bint copy_window(const store_t* st, const timing_t* t, int64_t start, int64_t end, copy_t* copy) noexcept nogil:
    """The sketches of [start, end): whole closed minutes as such, steps of 10 s before and after them."""
    cdef int64_t minute = (start + 59) // 60
    cdef int64_t minutes_end = max(minute, min(end, st.rolled_end[2]) // 60)
    cdef int64_t stop = (end + STEP_SECONDS - 1) // STEP_SECONDS
    cdef int64_t before = min(minute * MINUTE_STEPS, stop)
    return (copy_records(&t.shelves[0], start // STEP_SECONDS, before, copy)
            and copy_records(&t.shelves[1], minute, minutes_end, copy)
            and copy_records(&t.shelves[0], max(before, minutes_end * MINUTE_STEPS), stop, copy))


cdef bint add_open(const store_t* st, uint32_t slot, int64_t start, int64_t end, hist_t* into) noexcept nogil:
    """What has not closed: pieces, and samples that only the ring has."""
    cdef const cell_t* c = &st.cells[slot]
    cdef const timing_t* t = st.timings.by_slot[slot]
    cdef const piece_t* p = t.pieces if t != NULL else NULL
    cdef const raw_t* r
    cdef uint32_t i
    cdef int64_t first = max(start, st.rolled_end[1])
    while p != NULL:
        if start <= p.begin < end and not hist_merge(into, &p.hist):
            return False
        p = p.next
    if not is_timing(c.kind):
        return True
    for i in range(c.head - undrained(c), c.head):
        r = ring_at(st, slot, i)
        if first * 1000000000 <= r.time_ns < end * 1000000000 and not hist_add(into, r.value, 1.0):
            return False
    return True


cdef bint store_gather(store_t* st, uint32_t slot, int64_t start, int64_t end, hist_t* into, copy_t* copy) noexcept nogil:
    """Add a series' samples of [start, end) to `into`; `start` is a whole step of 10 s. False without memory. Sketches
    are copied under the mutex and merged without it."""
    cdef const timing_t* t
    cdef bint is_done = True
    copy.n = 0
    pthread_mutex_lock(&st.mutex)
    if slot < st.high and st.cells[slot].flags & CELL_LIVE:
        t = st.timings.by_slot[slot]
        is_done = (t == NULL or copy_window(st, t, start, end, copy)) and add_open(st, slot, start, end, into)
    pthread_mutex_unlock(&st.mutex)
    return is_done and (copy.n == 0 or take_records(into, copy.data, copy.data + copy.n))


cdef bint taken_grow(taken_t* taken) noexcept nogil:
    """Room for another TAKE_CHUNK sketches."""
    cdef void* grown
    if taken.room - taken.n < TAKE_CHUNK * BLOB_BYTES_MAX:
        grown = realloc(taken.data, taken.room * 2 + TAKE_CHUNK * BLOB_BYTES_MAX)
        if grown == NULL:
            return False
        taken.data = <uint8_t*>grown
        taken.room = taken.room * 2 + TAKE_CHUNK * BLOB_BYTES_MAX
    if taken.count_room - taken.count < TAKE_CHUNK:
        grown = realloc(taken.slots, (taken.count_room * 2 + TAKE_CHUNK) * sizeof(uint32_t))
        if grown == NULL:
            return False
        taken.slots = <uint32_t*>grown
        grown = realloc(taken.ends, (taken.count_room * 2 + TAKE_CHUNK) * sizeof(int64_t))
        if grown == NULL:
            return False
        taken.ends = <int64_t*>grown
        taken.count_room = taken.count_room * 2 + TAKE_CHUNK
    return True


cdef void take_one(const shelf_t* s, uint32_t slot, int64_t step, taken_t* taken) noexcept nogil:
    cdef uint32_t at = shelf_seek(s, step), n
    if at >= s.end or record_step(s, s.records + at) != step:
        return
    n = record_size(s.records + at) - RECORD_HEAD
    memcpy(taken.data + taken.n, s.records + at + RECORD_HEAD, n)
    taken.n += n
    taken.slots[taken.count] = slot
    taken.ends[taken.count] = <int64_t>taken.n
    taken.count += 1


cdef bint store_take_timings(store_t* st, int tier, int64_t step, taken_t* taken) noexcept nogil:
    """Copy every series' sketch of a closed step; False without memory."""
    cdef uint32_t slot = 0, end
    while slot < st.high:
        if st.timings.by_slot[slot] == NULL:
            slot += 1
            continue
        if not taken_grow(taken):
            return False
        end = min(slot + <uint32_t>TAKE_CHUNK, st.high)
        pthread_mutex_lock(&st.mutex)
        while slot < end:
            if st.timings.by_slot[slot] != NULL:
                take_one(&st.timings.by_slot[slot].shelves[tier - 1], slot, step, taken)
            slot += 1
        pthread_mutex_unlock(&st.mutex)
        sched_yield()
    return True
