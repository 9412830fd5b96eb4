"""Names to numbers: the intern table, and how series and metrics are born and die.

The table maps the raw `name + tags` bytes, as the wire spelled them, to a series slot, so that a known spelling costs
one hash and one comparison. Only a miss makes the canonical form, checks the text and looks again; the raw spelling is
then kept as an alias (at most ALIASES_MAX a series, since permuted tags make endless ones).

    arena    key_t │ name │ tags            chained: canonical key of the series → alias → alias
    table    hash, key, value               open addressing, linear probing, deletion by shifting back

Keys that are given back join their free neighbours (boundary tags, Knuth 2.5, algorithm C), so that longer names find
room where shorter ones were.

Canonical tags are `\\0 key \\1 value` for each tag, sorted by key; control bytes are refused in names and tags, so the
form is unambiguous. Of two tags with one key the later one counts.

Limits: `series_max` series; beyond it a sample folds into the series of its metric tagged `__overflow__:true`, or, if
the metric is unknown, into the series `__overflow__` of its kind. Existing series are not touched.

Everything here runs under the store's mutex and without the GIL.
"""

from libc.string cimport strlen

from hms_ops._goal cimport judged_begin
from hms_ops._hll cimport set_free
from hms_ops._timings cimport is_timing, timing_free
from hms_ops.collector._emit cimport TAGS_BYTES_MAX, TAGS_MAX, check_text, key_hash, tag_t, text_is
from hms_ops.collector._json cimport json_tags
from hms_ops.collector._msgpack cimport msgpack_tags
from hms_ops.collector._statsd cimport statsd_tags

cdef enum:
    LINE_UNITS = 4              # of KEY_UNIT in a cache line
    CANONICAL_BYTES = 8192 + 256


# ---- the table ----

cdef inline uint32_t block_units(const key_t* k) noexcept nogil:
    """The size of a free block, from its first unit or from its last."""
    return k.name_len | (<uint32_t>k.tags_len << 16)


cdef inline void note_units(key_t* k, uint32_t units) noexcept nogil:
    k.name_len = <uint16_t>units
    k.tags_len = <uint16_t>(units >> 16)


cdef inline uint32_t list_of(uint32_t units) noexcept nogil:
    return units if units < KEY_UNITS_MAX else 0


cdef void block_link(intern_t* t, uint32_t key, uint32_t units) noexcept nogil:
    """Units that somebody may have: neither the last ones of the arena nor next to other free ones."""
    cdef key_t* k = key_at(t, key)
    cdef uint32_t* first = &t.free_keys[list_of(units)]
    k.state = KEY_FREE
    k.next = first[0]
    k.value = 0
    if k.next:
        key_at(t, k.next).value = key
    first[0] = key
    note_units(k, units)
    note_units(key_at(t, key + units - 1), units)
    key_at(t, key + units).state |= KEY_BEHIND_FREE
    t.free_units += units


cdef uint32_t block_unlink(intern_t* t, uint32_t key) noexcept nogil:
    """Take a free block out of its list; returns its units."""
    cdef key_t* k = key_at(t, key)
    cdef uint32_t units = block_units(k)
    if k.value:
        key_at(t, k.value).next = k.next
    else:
        t.free_keys[list_of(units)] = k.next
    if k.next:
        key_at(t, k.next).value = k.value
    key_at(t, key + units).state &= ~KEY_BEHIND_FREE
    t.free_units -= units
    return units


cdef uint32_t block_find(const intern_t* t, uint32_t units) noexcept nogil:
    """A free block of so many units, or of the next size there is; 0 without one."""
    cdef uint32_t i
    if t.free_units < units:
        return 0
    for i in range(units, <uint32_t>KEY_UNITS_MAX):
        if t.free_keys[i]:
            return t.free_keys[i]
    return t.free_keys[0]


cdef uint32_t arena_take(intern_t* t, uint32_t units) noexcept nogil:
    """Room for a key: the smallest free block that holds it, else new units; 0 when there is none. What is left of a
    block is a block again."""
    cdef uint32_t key = block_find(t, units), gap = 0, room
    cdef bint is_used = key != 0
    if is_used:
        room = block_unlink(t, key)
    else:
        key = t.arena_units
        room = t.arena_units_max - key
    if units <= LINE_UNITS and (key & (LINE_UNITS - 1)) + units > LINE_UNITS:
        gap = LINE_UNITS - (key & (LINE_UNITS - 1))     # a short key lies in one cache line: one miss, one prefetch
    if gap + units > room:
        gap = 0
    if units > room:
        return 0
    if not is_used:
        t.arena_units = key + gap + units
    if gap:
        block_link(t, key, gap)
    if is_used and room > gap + units:
        block_link(t, key + gap + units, room - gap - units)
    key_at(t, key + gap).state = KEY_BEHIND_FREE if gap else 0
    return key + gap


cdef void arena_give(intern_t* t, uint32_t key) noexcept nogil:
    """Give a key's room back, as one block with its free neighbours, or to the end of the arena."""
    cdef uint32_t units = key_at(t, key).units, before
    if key_at(t, key).state & KEY_BEHIND_FREE:
        before = block_units(key_at(t, key - 1))
        key -= before
        units += block_unlink(t, key)
    if key + units < t.arena_units and key_at(t, key + units).state & KEY_FREE:
        units += block_unlink(t, key + units)
    if key + units == t.arena_units:
        t.arena_units = key
    else:
        block_link(t, key, units)


cdef uint32_t intern_add(intern_t* t, uint64_t hash, const char* name, uint16_t name_n, const char* tags,
                         uint16_t tags_n, uint8_t spelling, uint32_t value) noexcept nogil:
    """The new key, or 0 when table or arena is full. The key must not be there yet."""
    cdef uint16_t units = <uint16_t>((sizeof(key_t) + name_n + tags_n + KEY_UNIT - 1) // KEY_UNIT)
    cdef uint64_t i = hash & t.mask
    cdef uint32_t key
    cdef key_t* k
    if t.used >= t.used_max or units >= KEY_UNITS_MAX:
        return 0
    key = arena_take(t, units)
    if key == 0:
        return 0
    k = key_at(t, key)
    k.next = 0
    k.name_len = name_n
    k.tags_len = tags_n
    k.spelling = spelling
    k.units = units
    k.value = value
    memcpy(<char*>k + sizeof(key_t), name, name_n)
    if tags_n:
        memcpy(<char*>k + sizeof(key_t) + name_n, tags, tags_n)
    while t.entries[i].key:
        i = (i + 1) & t.mask
    t.entries[i].hash = hash
    t.entries[i].key = key
    t.entries[i].value = value
    t.used += 1
    return key


cdef void intern_remove(intern_t* t, uint32_t key) noexcept nogil:
    """Take a key out and close the gap, so that no tombstones pile up (Knuth 6.4, algorithm R)."""
    cdef key_t* k = key_at(t, key)
    cdef uint64_t i = key_hash(key_text(k), k.name_len, key_text(k) + k.name_len, k.tags_len, k.spelling, t.seed) & t.mask
    cdef uint64_t j, home
    while t.entries[i].key != key:
        i = (i + 1) & t.mask
    j = i
    while True:
        j = (j + 1) & t.mask
        if t.entries[j].key == 0:
            break
        home = t.entries[j].hash & t.mask
        if ((j - home) & t.mask) >= ((j - i) & t.mask):
            t.entries[i] = t.entries[j]
            i = j
    t.entries[i].key = 0
    t.used -= 1
    arena_give(t, key)


# ---- canonical tags ----

cdef uint8_t check_tag(const tag_t* tag) noexcept nogil:
    cdef uint8_t bad
    if tag.key_n == 0:
        return BAD_TAG
    if tag.key_n >= 2 and tag.key[0] == c'_' and tag.key[1] == c'_':
        return BAD_TAG_RESERVED
    bad = check_text(tag.key, tag.key_n)
    return bad if bad else check_text(tag.value, tag.value_n)


cdef int compare_keys(const tag_t* a, const tag_t* b) noexcept nogil:
    cdef size_t i, n = a.key_n if a.key_n < b.key_n else b.key_n
    for i in range(n):
        if a.key[i] != b.key[i]:
            return -1 if <uint8_t>a.key[i] < <uint8_t>b.key[i] else 1
    return <int>a.key_n - <int>b.key_n


cdef size_t sort_tags(tag_t* tags, size_t n) noexcept nogil:
    """Insertion sort by key, stable; of equal keys the last stays. Returns how many are left."""
    cdef size_t i, j, kept = 0
    cdef tag_t tag
    for i in range(1, n):
        tag = tags[i]
        j = i
        while j and compare_keys(&tags[j - 1], &tag) > 0:
            tags[j] = tags[j - 1]
            j -= 1
        tags[j] = tag
    for i in range(n):
        if i + 1 < n and compare_keys(&tags[i], &tags[i + 1]) == 0:
            continue
        tags[kept] = tags[i]
        kept += 1
    return kept


cdef uint8_t read_tags(const sample_t* s, batch_t* b, tag_t* tags, size_t* n) noexcept nogil:
    if s.spelling == SPELLED_STATSD:
        return statsd_tags(s.tags, s.tags_len, tags, n)
    if s.spelling == SPELLED_JSON:
        return json_tags(s.tags, s.tags_len, b, tags, n)
    if s.spelling == SPELLED_MSGPACK:
        return msgpack_tags(s.tags, s.tags_len, b, tags, n)
    n[0] = 0
    return BAD_NONE


cdef uint8_t canonical(const sample_t* s, batch_t* b, char* out, uint16_t* out_n) noexcept nogil:
    """Write the canonical tags of a sample whose spelling is new, or say what is bad about its name or tags."""
    cdef tag_t tags[TAGS_MAX + 1]
    cdef size_t i, n = 0, at = 0
    cdef uint8_t bad = check_text(s.name, s.name_len)
    if not bad:
        bad = read_tags(s, b, tags, &n)
    if bad:
        return bad
    for i in range(n):
        bad = check_tag(&tags[i])
        if bad:
            return bad
    n = sort_tags(tags, n)
    for i in range(n):
        if at + tags[i].key_n + tags[i].value_n + 2 > TAGS_BYTES_MAX:
            return BAD_TAGS_LONG
        out[at] = 0
        memcpy(out + at + 1, tags[i].key, tags[i].key_n)
        at += 1 + tags[i].key_n
        out[at] = 1
        memcpy(out + at + 1, tags[i].value, tags[i].value_n)
        at += 1 + tags[i].value_n
    out_n[0] = <uint16_t>at
    return BAD_NONE


# ---- metrics ----

cdef uint32_t metric_find(const store_t* st, const char* name, uint16_t name_n) noexcept nogil:
    return intern_find(&st.keys, key_hash(name, name_n, NULL, 0, SPELLED_METRIC, st.keys.seed), name, name_n, NULL, 0,
                       SPELLED_METRIC)


cdef uint8_t infer_kind(const char* name, uint16_t name_n) noexcept nogil:
    if name_n > 3 and text_is(name + name_n - 3, 3, b"_ms", 3):
        return KIND_TIMER | KIND_PROVISIONAL
    return KIND_GAUGE | KIND_PROVISIONAL


cdef uint32_t metric_make(store_t* st, const char* name, uint16_t name_n, uint8_t kind) noexcept nogil:
    """A new metric, or NONE when there is no room; KIND_UNKNOWN is inferred from the name, provisionally."""
    cdef uint32_t metric
    cdef uint32_t key
    cdef metric_t* m
    if st.free_metrics_n == 0 and st.metrics_high == st.capacity:
        return NONE
    metric = st.free_metrics[st.free_metrics_n - 1] if st.free_metrics_n else st.metrics_high
    key = intern_add(&st.keys, key_hash(name, name_n, NULL, 0, SPELLED_METRIC, st.keys.seed), name, name_n, NULL, 0,
                     SPELLED_METRIC, metric)
    if key == 0:
        return NONE
    if st.free_metrics_n:
        st.free_metrics_n -= 1
    else:
        st.metrics_high += 1
    m = &st.metrics[metric]
    m.key = key
    m.first = NONE
    m.overflow = NONE
    m.series = 0
    m.kind = kind if kind else infer_kind(name, name_n)
    m.flags = 0
    m.goals = 0
    return metric


cdef void metric_release(store_t* st, uint32_t metric) noexcept nogil:
    """A metric without series is forgotten, its kind too, unless somebody subscribed to it or reserved it."""
    if st.metrics[metric].series or st.metrics[metric].flags:
        return
    intern_remove(&st.keys, st.metrics[metric].key)
    st.metrics[metric].key = 0
    st.free_metrics[st.free_metrics_n] = metric
    st.free_metrics_n += 1


cdef void metric_set_flag(store_t* st, uint32_t metric, uint8_t flag, bint on) noexcept nogil:
    """CELL_SUBSCRIBED, CELL_RESERVED or CELL_JUDGED, for the metric and all its series."""
    cdef metric_t* m = &st.metrics[metric]
    cdef uint32_t slot = m.first
    m.flags = (m.flags | flag) if on else (m.flags & ~flag)
    while slot != NONE:
        st.cells[slot].flags = (st.cells[slot].flags | flag) if on else (st.cells[slot].flags & ~flag)
        slot = st.meta[slot].next
    metric_release(st, metric)


cdef inline uint8_t set_flag(uint8_t kind) noexcept nogil:
    return CELL_SET if kind == KIND_SET else 0


cdef bint kind_settle(store_t* st, uint32_t slot, uint8_t kind) noexcept nogil:
    """An explicit kind that is not the cell's own: fine among timers, histograms and distributions; settles a
    provisional kind for the whole metric; otherwise a conflict (False)."""
    cdef uint8_t old = st.cells[slot].kind
    cdef uint32_t other
    if old & KIND_PROVISIONAL:
        st.metrics[st.meta[slot].metric].kind = kind
        other = st.metrics[st.meta[slot].metric].first
        while other != NONE:
            if not is_timing(st.cells[other].kind):
                st.cells[other].drained = <uint16_t>st.cells[other].head    # what came before is in no sketch
            st.cells[other].kind = kind
            st.cells[other].flags = (st.cells[other].flags & ~CELL_SET) | set_flag(kind)
            other = st.meta[other].next
        return True
    return old == kind or (is_timing(old) and is_timing(kind))


# ---- series ----

cdef void note_change(store_t* st, uint32_t slot, bint born) noexcept nogil:
    st.changes[st.changes_n & st.changes_mask] = (slot << 1) | born
    st.changes_n += 1


cdef uint32_t slot_take(store_t* st) noexcept nogil:
    if st.free_n:
        st.free_n -= 1
        return st.free_slots[st.free_n]
    if st.high == st.capacity:
        return NONE
    st.high += 1
    return st.high - 1


cdef void series_link(store_t* st, uint32_t slot, uint32_t metric) noexcept nogil:
    cdef metric_t* m = &st.metrics[metric]
    st.meta[slot].metric = metric
    st.meta[slot].previous = NONE
    st.meta[slot].next = m.first
    if m.first != NONE:
        st.meta[m.first].previous = slot
    m.first = slot
    m.series += 1


cdef void series_unlink(store_t* st, uint32_t slot) noexcept nogil:
    cdef meta_t* x = &st.meta[slot]
    cdef metric_t* m = &st.metrics[x.metric]
    if x.previous == NONE:
        m.first = x.next
    else:
        st.meta[x.previous].next = x.next
    if x.next != NONE:
        st.meta[x.next].previous = x.previous
    if m.overflow == slot:
        m.overflow = NONE
        st.overflow_live -= 1
    m.series -= 1


cdef uint32_t series_make(store_t* st, uint32_t metric, const char* name, uint16_t name_n, const char* tags,
                          uint16_t tags_n) noexcept nogil:
    """A new series under its canonical key, or NONE when there is no room."""
    cdef uint8_t spelling = SPELLED_CANONICAL if tags_n else SPELLED_BARE
    cdef uint64_t hash = key_hash(name, name_n, tags, tags_n, spelling, st.keys.seed)
    cdef uint32_t slot = slot_take(st)
    cdef uint32_t key
    cdef cell_t* c
    if slot == NONE:
        return NONE
    key = intern_add(&st.keys, hash, name, name_n, tags, tags_n, spelling, slot)
    if key == 0:
        st.free_slots[st.free_n] = slot
        st.free_n += 1
        return NONE
    c = &st.cells[slot]
    c.count = 0
    c.second = <uint32_t>(store_now_ns(st) // 1000000000)      # its idle time starts at its birth
    c.head = 0
    c.drained = 0
    c.kind = st.metrics[metric].kind
    c.flags = CELL_LIVE | st.metrics[metric].flags | set_flag(c.kind)
    if c.flags & CELL_JUDGED:
        judged_begin(st, slot, st.metrics[metric].goals)
    st.last_second[slot] = 0
    st.meta[slot].first_key = key
    st.meta[slot].aliases = 0
    st.meta[slot].pins = 0
    series_link(st, slot, metric)
    st.live += 1
    note_change(st, slot, True)
    return slot


cdef void clear_columns(store_t* st, uint32_t slot) noexcept nogil:
    """Only COUNT says whether a step holds anything."""
    cdef int tier, i
    for tier in range(TIERS):
        for i in range(SLOTS):
            column_row(st, tier, F_COUNT, i)[slot] = 0


cdef void series_release(store_t* st, uint32_t slot) noexcept nogil:
    """Give a slot back: its keys, its place in the metric, its columns. What is on disk stays."""
    cdef uint32_t key = st.meta[slot].first_key
    cdef uint32_t next_key, metric = st.meta[slot].metric
    while key:
        next_key = key_at(&st.keys, key).next
        intern_remove(&st.keys, key)
        key = next_key
    series_unlink(st, slot)
    metric_release(st, metric)
    set_free(&st.sets, slot)
    timing_free(st, slot)
    clear_columns(st, slot)
    st.cells[slot].flags = 0
    st.cells[slot].count = 0
    st.cells[slot].second = 0
    st.cells[slot].generation += 1
    st.free_slots[st.free_n] = slot
    st.free_n += 1
    st.live -= 1
    st.released += 1
    note_change(st, slot, False)


cdef bint alias_has_room(const store_t* st) noexcept nogil:
    """Aliases are a convenience: they leave two keys in the table for every series that may still come (its own and
    its metric's), and a quarter of the texts."""
    return (st.keys.used + 2 * (st.capacity - st.live) < st.keys.used_max
            and st.keys.arena_units - st.keys.free_units < st.keys.arena_units_max // 4 * 3)


cdef void add_alias(store_t* st, uint32_t slot, const sample_t* s) noexcept nogil:
    cdef meta_t* x = &st.meta[slot]
    cdef uint32_t key
    if x.aliases >= ALIASES_MAX or not alias_has_room(st):
        st.aliases_refused += 1
        return
    key = intern_add(&st.keys, s.hash, s.name, s.name_len, s.tags, s.tags_len, s.spelling, slot)
    if key == 0:
        st.aliases_refused += 1
        return
    key_at(&st.keys, key).next = key_at(&st.keys, x.first_key).next
    key_at(&st.keys, x.first_key).next = key
    x.aliases += 1


# ---- overflow ----

cdef const char* kind_word(uint8_t kind) noexcept nogil:
    if kind == KIND_COUNTER: return b"counter"
    if kind == KIND_GAUGE: return b"gauge"
    if kind == KIND_TIMER: return b"timer"
    if kind == KIND_HISTOGRAM: return b"histogram"
    if kind == KIND_DISTRIBUTION: return b"distribution"
    return b"set"


cdef uint32_t overflow_unknown(store_t* st, uint8_t kind, batch_t* b) noexcept nogil:
    """The series `__overflow__` of a kind; its kind is its own, not its metric's."""
    cdef char padded[128]
    cdef uint32_t metric, slot
    cdef uint8_t plain = kind & ~KIND_PROVISIONAL
    cdef const char* word
    if st.overflow_slots[plain] != NONE:
        return st.overflow_slots[plain]
    memset(padded, 0, sizeof(padded))
    memcpy(padded, b"__overflow__", 12)
    memcpy(padded + 64, b"\0kind\1", 6)
    word = kind_word(plain)
    memcpy(padded + 70, word, strlen(word))
    metric = metric_find(st, padded, 12)
    if metric == NONE:
        metric = metric_make(st, padded, 12, plain)
    if metric == NONE:
        return NONE
    slot = series_make(st, metric, padded, 12, padded + 64, <uint16_t>(6 + strlen(word)))
    if slot != NONE:
        st.cells[slot].kind = plain
        st.cells[slot].flags = (st.cells[slot].flags & ~CELL_SET) | set_flag(plain)
        st.overflow_slots[plain] = slot
        st.overflow_live += 1
        st.meta[slot].pins += 1
    return slot


cdef uint32_t overflow_known(store_t* st, uint32_t metric, const char* name, uint16_t name_n) noexcept nogil:
    """The metric's series tagged __overflow__:true, or NONE when even those have run out of slots: the last ones are
    kept for the overflow of unknown metrics."""
    cdef char tags[128]
    if st.metrics[metric].overflow == NONE and st.overflow_live < OVERFLOW_SLOTS - KIND_COUNT:
        memset(tags, 0, sizeof(tags))
        memcpy(tags, b"\0__overflow__\1true", 18)
        st.metrics[metric].overflow = series_make(st, metric, name, name_n, tags, 18)
        st.overflow_live += st.metrics[metric].overflow != NONE
    return st.metrics[metric].overflow


cdef uint32_t overflow(store_t* st, uint32_t metric, const sample_t* s, batch_t* b) noexcept nogil:
    cdef uint32_t slot = NONE
    cdef uint8_t kind = s.kind if s.kind else infer_kind(s.name, s.name_len)
    st.overflowed += 1
    if metric != NONE:
        slot = overflow_known(st, metric, s.name, s.name_len)
        kind = st.metrics[metric].kind
    return slot if slot != NONE else overflow_unknown(st, kind, b)


# ---- a spelling nobody has seen ----

cdef bint name_is_reserved(const sample_t* s) noexcept nogil:
    return s.name_len >= 12 and text_is(s.name, 12, b"__overflow__", 12)


cdef uint32_t series_find(const store_t* st, const sample_t* s, const char* tags, uint16_t tags_n) noexcept nogil:
    cdef uint8_t spelling = SPELLED_CANONICAL if tags_n else SPELLED_BARE
    return intern_find(&st.keys, key_hash(s.name, s.name_len, tags, tags_n, spelling, st.keys.seed), s.name, s.name_len,
                       tags, tags_n, spelling)


cdef uint32_t series_new(store_t* st, const sample_t* s, const char* tags, uint16_t tags_n, batch_t* b) noexcept nogil:
    cdef uint32_t metric = metric_find(st, s.name, s.name_len)
    cdef uint32_t slot
    if st.live - st.overflow_live >= st.series_max:
        return overflow(st, metric, s, b)
    if metric == NONE:
        metric = metric_make(st, s.name, s.name_len, s.kind)
    slot = series_make(st, metric, s.name, s.name_len, tags, tags_n) if metric != NONE else <uint32_t>NONE
    if slot == NONE:
        return overflow(st, metric, s, b)
    return slot


cdef uint32_t store_resolve(store_t* st, sample_t* s, batch_t* b) noexcept nogil:
    """The slot of a sample whose raw spelling is not in the table; NONE, with s.bad set, when the key is bad."""
    cdef char tags[CANONICAL_BYTES]
    cdef uint16_t tags_n = 0
    cdef uint32_t slot
    cdef uint64_t overflowed = st.overflowed
    cdef size_t text_n = b.text_n
    b.text_max += TEXT_SPARE
    s.bad = canonical(s, b, tags, &tags_n)
    b.text_max -= TEXT_SPARE
    b.text_n = text_n
    if not s.bad and name_is_reserved(s):
        s.bad = BAD_NAME_RESERVED
    if s.bad:
        return NONE
    slot = series_find(st, s, tags, tags_n)
    if slot == NONE:
        slot = series_new(st, s, tags, tags_n, b)
        if slot == NONE:
            s.bad = BAD_ROOM
        if st.overflowed != overflowed:
            return slot                         # folded: endless spellings get no aliases
    if s.spelling != SPELLED_BARE:
        add_alias(st, slot, s)
    return slot
