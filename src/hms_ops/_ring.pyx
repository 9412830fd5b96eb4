"""The store: names, rings, cells and columns of all series, and the ledger, behind one mutex.

Fed by listeners (`_udp`, without the GIL), HTTP bodies (`ingest`) and in-process calls (`Series`, `InProcess`). Read by
the kernels, in place, through `cols`, and by the tick. What the memory looks like is in `_store.pxd`, how a sample gets
in and a second gets sealed in `_append.pyx`, how a name becomes a slot in `_intern.pyx`.

    cols         float64[3, 6, 64, capacity]   [tier 1 s, 10 s, 60 s][COUNT SUM M2 MIN MAX LAST][step % 64][series]
    last_value   float64[capacity]             the last sealed value of each series
    last_second  int64[capacity]               its Unix second, 0 = never

Memory is reserved for `series_max` series at start and costs nothing until touched; `bytes_reserved` is its bound.
Nothing is ever reallocated, so arrays handed out stay valid as long as the store lives.

Threads: every method may be called from any thread that holds the GIL. The mutex is never held by anybody who wants the
GIL, so waiting for it with the GIL held cannot deadlock; the wait is one batch (well under a millisecond).
Fork: in the child the store is dead: its mutex is made anew, in-process calls are forwarded or counted as dropped.
"""

import mmap
import numbers
import os
import secrets
import weakref

import msgpack
import numpy as np

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from hms_ops import kinds
from hms_ops.distinct import estimate
from hms_ops._sketch import checked_quantiles
from hms_ops.series import SeriesInfo
from hms_ops.sketches import Sketches, no_sketches

from hms_ops._append cimport *
from hms_ops._hll cimport REGISTERS, register_add, set_free, set_t, sketch_t
from hms_ops._goal cimport judged_begin
from hms_ops._intern cimport (intern_find, key_at, key_text, kind_settle, metric_find, metric_make, metric_set_flag,
                              store_resolve)
from hms_ops._sample cimport *
from hms_ops._seal cimport *
from hms_ops._sketch cimport BLOB_BYTES_MAX, hist_clear, hist_encode, hist_free, hist_quantiles, hist_start, hist_t
from hms_ops._store cimport *
from hms_ops._timings cimport *
from hms_ops.collector._decode cimport batch_clear, batch_free, batch_start, decode_datagram
from hms_ops.collector._emit cimport HMS_PAD, NAME_BYTES_MAX, TAGS_BYTES_MAX, key_hash

cdef enum:
    DECODE_SAMPLES = 4096
    SCRATCH_BYTES = 65536
    ELEMENT_BYTES_MIN = 15      # the shortest element that makes a sample: 82 a4 name a1 x a5 value 01
    PENDING_ROOM = 65536
    CACHED_MAX = 100000
    KEY_TEXT_MAX = 4608         # NAME_BYTES_MAX and TAGS_BYTES_MAX, and some
    DISTINCT_MAX = 65536
    COLUMN_GOODS = 8            # of sums_of_second: the goods of a metric's first goal

MAP_NORESERVE = 0x4000      # Linux; not in Python's mmap module

REJECTED = ("empty", "truncated", "json_syntax", "duplicate_key", "json_trailing", "msgpack_syntax", "msgpack_length",
            "msgpack_trailing", "nesting", "utf8", "too_large")
BAD = ("none", "syntax", "number", "nan", "infinite", "magnitude", "kind", "kind_conflict", "name_empty", "name_too_long",
       "control_byte", "utf8", "too_many_tags", "tags_too_long", "tag_reserved", "tag", "rate", "time", "time_too_old",
       "time_too_far_ahead", "late_queue_full", "set_member", "name_missing", "value_missing", "element",
       "set_memory_full", "name_reserved", "no_room")
IGNORED = ("section", "member", "event", "check")
assert len(REJECTED) == REJECT_COUNT and len(BAD) == BAD_COUNT and len(IGNORED) == IGNORED_COUNT


# ---- tables to Python ----

cdef dict counts(const uint64_t* row, tuple names, int first):
    """Only the reasons that happened."""
    cdef int i
    return {names[i]: row[i] for i in range(first, len(names)) if row[i]}


cdef dict tally_dict(const tally_t* t):
    return {
        "received": t.received, "accepted": t.accepted, "rejected": counts(t.rejected, REJECTED, 0),
        "values": t.values, "samples": t.samples, "bad": counts(t.bad, BAD, 1),
        "ignored": counts(t.ignored, IGNORED, 0),
    }


cdef object text_of(const char* p, size_t n):
    return p[:n].decode("utf-8", "backslashreplace")


cdef dict tags_of(const char* p, size_t n):
    """Canonical tags back to a dict."""
    cdef bytes raw = p[:n]
    tags = {}
    for tag in raw.split(b"\0")[1:]:
        key, _, value = tag.partition(b"\1")
        tags[key.decode()] = value.decode()
    return tags


cdef bytes canonical_of(dict tags):
    """What `_intern` makes of tags: NUL, key, SOH, value for each, sorted by the key's bytes."""
    pairs = sorted((key.encode(), value.encode()) for key, value in tags.items())
    return b"".join(b"\0" + key + b"\1" + value for key, value in pairs)


cdef str tag_text(x):
    """A tag's key or value as the formats and the client spell it; TypeError for what is no text, number or boolean."""
    if isinstance(x, str):
        return str.__str__(x)                   # of a str Enum the value, where str() gives the member's name
    if isinstance(x, bool):
        return "true" if x else "false"
    if isinstance(x, numbers.Number):
        return str(x)
    raise TypeError(f"a tag is a string, a number or a boolean, not {type(x).__name__}")


cdef bint tags_are_texts(tags):
    if type(tags) is not dict:
        return False
    for key, value in (<dict>tags).items():
        if type(key) is not str or type(value) is not str:
            return False
    return True


cdef checked_groups(group_offset, Py_ssize_t members):
    """int64[g + 1] from 0 or more, ascending, to `members` or less."""
    found = np.ascontiguousarray(group_offset, np.int64).reshape(-1)
    if len(found) == 0 or found.min() < 0 or found.max() > members or (np.diff(found) < 0).any():
        raise ValueError(f"group_offset does not ascend from 0 to {members}")
    return found


cdef long long sketch_start(const store_t* st, long long start, long long end) except -1:
    """Where a window of sketches begins: on a step of 10 s, of 60 s when it is longer than ten minutes. Nothing comes
    before the first minute; what the clock said before it was set may have."""
    cdef int step = 1 if end == start else 10 if end - start <= 600 else 60
    if not 0 <= end - start <= 3600:
        raise ValueError(f"a window of {end - start} s is outside 0 to 3600 s")
    return max(start - start % step, st.first_second - st.first_second % 60)


cdef bint gather(store_t* st, const int[::1] members, long long first, long long stop, long long start, long long end,
                 hist_t* h, copy_t* copy) noexcept nogil:
    """The samples of a group of series in [start, end) into h, emptied before; False without memory."""
    cdef long long i
    hist_clear(h)
    if start >= end:
        return True
    for i in range(first, stop):
        if not store_gather(st, <uint32_t>members[i], start, end, h, copy):
            return False
    return True


cdef copy_out(into, const void* data, size_t n):
    cdef char[::1] view
    if n:
        view = into.view(np.int8)
        memcpy(&view[0], data, n)


# ---- fork ----

cdef object live_stores = weakref.WeakSet()


def _after_fork_in_child():
    """The child has no listener thread and may have inherited a held mutex: every store is dead here."""
    cdef Store store
    for store in list(live_stores):
        pthread_mutex_init(&store.st.mutex, NULL)
        store.st.dead = True
        store.st.pending_n = 0


os.register_at_fork(after_in_child=_after_fork_in_child)


# Without it a garbage collection, the interpreter's last one at the latest, takes the blocks away before __dealloc__
# frees the sets whose pointers stand in them. A collection may empty the dict all the same, but never a tuple.
@cython.no_gc_clear
cdef class Store:
    """The memory of up to `series_max` series.

    series_max: the cap, 1 to 16,777,216; beyond it samples fold into `__overflow__` series.
    ring_samples: latest raw samples kept of each series, a power of two from 2 to 65,536.
    late_max, pending_max, subscribed_max: bounds of the queues of stamped samples, of in-process calls (at most
    65,536) and of values for on_metric (a power of two).
    set_bytes_max, sketch_bytes_max: bounds on the memory of all set series together, and of all sketches, in bytes.
    now_ns: a fixed clock for tests, moved with `set_now_ns`; None: monotonic time + `offset_ns`.
    Raises ValueError quoting a setting out of range, OSError when the address space is refused.
    """

    def __init__(self, unsigned int series_max=100_000, *, unsigned int ring_samples=64, unsigned int late_max=65_536,
                 unsigned int pending_max=1024, unsigned int subscribed_max=65_536,
                 unsigned long long set_bytes_max=256 << 20, unsigned long long sketch_bytes_max=512 << 20,
                 long long offset_ns=0, now_ns=None,
                 bint signs_are_deltas=True):
        cdef store_t* st = &self.st
        cdef int i
        if self.blocks is not None:
            raise RuntimeError("a store is initialised once")
        for name, value, low, high in (("series_max", series_max, 1, 1 << 24), ("ring_samples", ring_samples, 2, 1 << 16),
                                       ("late_max", late_max, 1, 1 << 24), ("pending_max", pending_max, 1, 1 << 16),
                                       ("subscribed_max", subscribed_max, 1, 1 << 24)):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, allowed are {low} to {high}")
        for name, value in (("ring_samples", ring_samples), ("subscribed_max", subscribed_max)):
            if value & (value - 1):
                raise ValueError(f"{name} is {value}, it must be a power of two")
        self.blocks = {}
        self.input_names = []
        self.signs_are_deltas = signs_are_deltas
        st.series_max = series_max
        st.capacity = series_max + OVERFLOW_SLOTS
        st.ring_mask = ring_samples - 1
        st.ring_shift = (ring_samples - 1).bit_length()
        st.late_max = late_max
        st.pending_max = pending_max
        st.subscribed_mask = subscribed_max - 1
        st.sets.bytes_max = set_bytes_max
        st.timings.budget.bytes_max = sketch_bytes_max
        hist_start(&st.timings.scratch, NULL)
        st.offset_ns = offset_ns
        st.manual_ns = now_ns or 0
        for i in range(7):
            st.overflow_slots[i] = NONE
        pthread_mutex_init(&st.mutex, NULL)
        self._map_names()
        self._map_values()
        self.held = tuple(self.blocks.values())
        self._start_clock()
        self.add_input("self")
        self.add_input("in-process")
        if not batch_start(&self.batch, DECODE_SAMPLES, 1 << 24, TEXT_BYTES, st.keys.seed, signs_are_deltas):
            raise MemoryError("no memory for the decoder")
        live_stores.add(self)

    cdef void* _map(self, name, size_t size, bint dense) except NULL:
        """Zeroed pages that cost nothing until touched. Huge pages only for what is dense from its first byte on: in
        time-major columns one series would cost 2 MiB a row."""
        cdef char[::1] view
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        block.madvise(mmap.MADV_HUGEPAGE if dense else mmap.MADV_NOHUGEPAGE)
        self.blocks[name] = block
        view = block
        return &view[0]

    cdef _map_names(self):
        cdef store_t* st = &self.st
        cdef size_t n = st.capacity, entries = 1
        while entries < 4 * n:
            entries *= 2
        st.keys.mask = entries - 1
        st.keys.used_max = entries // 4 * 3
        st.keys.seed = secrets.randbits(64)
        st.keys.arena_units = 4         # 0 is no key, and keys begin on a cache line
        st.keys.arena_units_max = <uint32_t>min(<size_t>0xFFFFFF00, 32 * n + 65536)
        st.changes_mask = <uint32_t>(entries // 2 - 1)
        st.keys.entries = <entry_t*>self._map("name table", entries * sizeof(entry_t), True)
        st.keys.arena = <char*>self._map("name texts", <size_t>st.keys.arena_units_max * KEY_UNIT + 4096, True)
        st.meta = <meta_t*>self._map("series", n * sizeof(meta_t), False)
        st.metrics = <metric_t*>self._map("metrics", n * sizeof(metric_t), False)
        st.free_slots = <uint32_t*>self._map("free slots", n * 4, False)
        st.free_metrics = <uint32_t*>self._map("free metrics", n * 4, False)
        st.changes = <uint32_t*>self._map("changes", (<size_t>st.changes_mask + 1) * 4, False)

    cdef _map_values(self):
        cdef store_t* st = &self.st
        cdef size_t n = st.capacity
        st.cells = <cell_t*>self._map("cells", n * sizeof(cell_t), True)
        st.rings = <raw_t*>self._map("rings", n * (st.ring_mask + 1) * sizeof(raw_t), True)
        st.columns = <double*>self._map("columns", <size_t>TIERS * FIELDS * SLOTS * n * 8, False)
        st.last_value = <double*>self._map("last values", n * 8, False)
        st.last_second = <int64_t*>self._map("last seconds", n * 8, False)
        st.late = <late_t*>self._map("late samples", st.late_max * sizeof(late_t), False)
        st.pending = <pending_t*>self._map("in-process calls", PENDING_ROOM * sizeof(pending_t), False)
        st.subscribed = <subscribed_t*>self._map("subscribed values", (<size_t>st.subscribed_mask + 1) * sizeof(subscribed_t), False)
        st.sets.by_slot = <set_t**>self._map("sets", n * sizeof(set_t*), False)
        st.sets.slots = <uint32_t*>self._map("set slots", n * 4, False)
        st.timings.by_slot = <timing_t**>self._map("sketches", n * sizeof(timing_t*), False)
        # The arrays keep their blocks, so they outlive the store if somebody holds on to them.
        self.cols = np.frombuffer(self.blocks["columns"], np.float64).reshape(TIERS, FIELDS, SLOTS, n)
        self.last_value = np.frombuffer(self.blocks["last values"], np.float64)
        self.last_second = np.frombuffer(self.blocks["last seconds"], np.int64)

    cdef _start_clock(self):
        cdef store_t* st = &self.st
        st.first_second = store_now_ns(st) // 1_000_000_000
        st.sealed_second = st.first_second - 1
        st.cleared_second = st.first_second
        st.rolled_end[1] = st.first_second // 10 * 10
        st.rolled_end[2] = st.first_second // 60 * 60

    def __dealloc__(self):
        cdef store_t* st = &self.st
        batch_free(&self.batch)
        while st.sets.n:
            set_free(&st.sets, st.sets.slots[0])
        if not st.dead:                     # a forked child may have got them in the midst of a change
            store_free_timings(st)
            hist_free(&st.timings.scratch)

    # ---- what it is ----

    @property
    def series_max(self): return self.st.series_max
    @property
    def capacity(self): return self.st.capacity
    @property
    def series_count(self): return self.st.high
    @property
    def series_live(self): return self.st.live
    @property
    def ring_samples(self): return self.st.ring_mask + 1
    @property
    def first_second(self): return self.st.first_second
    @property
    def sealed_second(self): return self.st.sealed_second
    @property
    def dead(self): return self.st.dead
    @property
    def changes_count(self): return self.st.changes_n

    @property
    def bytes_reserved(self):
        """The bound on the store's memory: what it takes when every series has been alive for an hour."""
        return sum(len(block) for block in self.blocks.values()) + self.st.sets.bytes_max + self.st.timings.budget.bytes_max

    def counters(self):
        """What the bounds turned away, and what happened to stamped samples."""
        cdef store_t* st = &self.st
        return {
            "series": st.live, "series_max": st.series_max, "overflow_samples": st.overflowed,
            "aliases_refused": st.aliases_refused, "series_released": st.released, "late_merged": st.late_merged,
            "late_waiting": st.late_n, "late_lost": st.late_lost, "seconds_lost": st.seconds_lost, "subscribed_dropped": st.subscribed_dropped,
            "set_bytes": st.sets.bytes, "sketch_bytes": st.timings.budget.bytes,
            "sketch_samples_lost": st.timings.lost, "dropped_after_fork": self.dropped_after_fork,
            "judged_lost": st.judged_lost,
            "name_bytes": <size_t>(st.keys.arena_units - st.keys.free_units) * KEY_UNIT,
        }

    # ---- time ----

    def now_ns(self):
        """The store's clock: int64 Unix ns."""
        return store_now_ns(&self.st)

    def set_now_ns(self, long long now_ns):
        """Move a test's clock."""
        self.st.manual_ns = now_ns

    def reanchor(self, long long offset_ns):
        """The wall clock was set: take its time (offset to the monotonic clock) and begin all windows anew."""
        self._drain()
        with nogil:
            store_reanchor(&self.st, offset_ns)

    # ---- in ----

    def add_input(self, name):
        """A row of the ledger for one source of datagrams; returns its index. Beyond INPUTS_MAX: ValueError."""
        if self.st.inputs_n == INPUTS_MAX:
            raise ValueError(f"input {name!r} is one too many, {INPUTS_MAX} are allowed")
        self.input_names.append(name)
        self.st.inputs_n += 1
        return self.st.inputs_n - 1

    def ingest(self, data, int input=INPUT_IN_PROCESS):
        """One datagram (bytes-like, any of the three formats) through the decoder of the sockets.

        Returns the number of samples stored. Bad data is counted, never raised; TypeError for what is no buffer.
        Above 64 KiB the GIL is released while decoding.
        """
        cdef Py_buffer view
        cdef batch_t batch
        cdef size_t n
        if input < 0 or <uint32_t>input >= self.st.inputs_n:
            raise ValueError(f"input {input} is none of 0 to {self.st.inputs_n - 1}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            n = view.len
            if self.st.dead:
                self.dropped_after_fork += 1
                return 0
            if n <= SCRATCH_BYTES:
                return self._ingest_small(<const char*>view.buf, n, input)
            self._ingest_alone(<const char*>view.buf, n, input, &batch)
            return batch.tally.samples
        finally:
            PyBuffer_Release(&view)

    def ingest_tally(self, data, int input):
        """As `ingest`, on a batch of its own and without the GIL; returns the counters of just this datagram."""
        cdef Py_buffer view
        cdef batch_t batch
        if input < 0 or <uint32_t>input >= self.st.inputs_n:
            raise ValueError(f"input {input} is none of 0 to {self.st.inputs_n - 1}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self._ingest_alone(<const char*>view.buf, view.len, input, &batch)
        finally:
            PyBuffer_Release(&view)
        tally = tally_dict(&batch.tally)
        del tally["ignored"]
        return tally

    cdef uint64_t _ingest_small(self, const char* data, size_t n, uint32_t input):
        """With the GIL, which guards batch and scratch: releasing it costs more than a line does."""
        memcpy(self.scratch, data, n)
        batch_clear(&self.batch)
        self.batch.input = input
        decode_datagram(self.scratch, n, &self.batch)
        store_append(&self.st, &self.batch)
        return self.batch.tally.samples

    cdef int _ingest_alone(self, const char* data, size_t n, uint32_t input, batch_t* batch) except -1:
        """On a batch of its own, without the GIL; afterwards only the batch's tally is of use.

        Memory: the text, and the samples of a document (64 bytes each, which takes ELEMENT_BYTES_MIN of text at least);
        lines are appended whenever DECODE_SAMPLES of them are there.
        """
        cdef char* copy = <char*>malloc(n + HMS_PAD)
        if copy == NULL or not batch_start(batch, DECODE_SAMPLES, n // ELEMENT_BYTES_MIN + DECODE_SAMPLES, n + HMS_PAD,
                                           self.st.keys.seed, self.signs_are_deltas):
            free(copy)
            raise MemoryError(f"no memory to decode {n} bytes")
        with nogil:
            memcpy(copy, data, n)
            memset(copy + n, 0, HMS_PAD)
            batch.input = input
            batch.flush = store_append_part
            batch.store = &self.st
            decode_datagram(copy, n, batch)
            store_append_parts(&self.st, batch)
            batch_free(batch)
            free(copy)
        return 0

    def flush(self):
        """Append the in-process calls that wait in the buffer; every reader does this first."""
        self._drain()

    cdef void _drain(self, int64_t closing=0) noexcept:
        if self.st.pending_n and not self.st.dead:
            pthread_mutex_lock(&self.st.mutex)
            store_append_pending(&self.st, closing)
            pthread_mutex_unlock(&self.st.mutex)

    cdef inline void _push(self, uint32_t slot, uint8_t kind, uint8_t input, double value) noexcept:
        """Buffer one in-process value; a thread of a service never waits for a listener's batch unless the buffer is
        full to its last place."""
        cdef store_t* st = &self.st
        cdef pending_t* p = &st.pending[st.pending_n]
        p.value = value
        p.slot = slot
        p.kind = kind
        p.input = input
        st.pending_n += 1
        if st.pending_n >= st.pending_max:
            self._drain_full()

    cdef void _drain_full(self) noexcept:
        cdef store_t* st = &self.st
        if st.pending_n == PENDING_ROOM:
            pthread_mutex_lock(&st.mutex)
        elif pthread_mutex_trylock(&st.mutex):
            return
        store_append_pending(st, 0)
        pthread_mutex_unlock(&st.mutex)

    def handle(self, str name, int kind=KIND_UNKNOWN, dict tags=None, int input=INPUT_IN_PROCESS):
        """A Series to add values to. ValueError for a name or tags that no sample could have.

        In a forked child the handle only forwards: the table is a copy, perhaps of the midst of a change.
        """
        cdef Series series = Series.__new__(Series)
        cdef uint8_t bad = BAD_NONE
        cdef uint32_t slot = NONE
        if not self.st.dead:
            slot = self._resolve(name.encode("utf-8", "surrogatepass"), kind, tags, input, &bad, True)
        if slot == NONE and not self.st.dead:
            raise ValueError(f"series {name!r} with tags {tags!r}: {BAD[bad] if bad else 'no room'}")
        series.store = self
        series.slot = slot
        series.kind_asked = <uint8_t>kind
        series.input = <uint8_t>input
        series.asked_name = name
        series.asked_tags = dict(tags) if tags else None
        return series

    cdef uint32_t _resolve(self, bytes name, int kind, dict tags, int input, uint8_t* bad, bint pin):
        """The slot of a name and tags, made if it is new, and pinned if asked to before anybody could release it; NONE
        and the reason when they are bad."""
        cdef sample_t s
        cdef bytes packed = msgpack.packb(tags, unicode_errors="surrogatepass") if tags else b""
        cdef size_t name_n = len(name), tags_n = len(packed)
        if name_n == 0 or name_n > NAME_BYTES_MAX or tags_n > TAGS_BYTES_MAX:
            bad[0] = BAD_NAME_EMPTY if name_n == 0 else BAD_NAME_LONG if name_n > NAME_BYTES_MAX else BAD_TAGS_LONG
            return NONE
        self._drain()
        batch_clear(&self.batch)
        self.batch.input = input
        memcpy(self.scratch, <const char*>name, name_n)
        memset(self.scratch + name_n, 0, HMS_PAD)
        memcpy(self.scratch + 1024, <const char*>packed, tags_n)
        memset(self.scratch + 1024 + tags_n, 0, HMS_PAD)
        s.name = self.scratch
        s.name_len = <uint16_t>name_n
        s.tags = self.scratch + 1024
        s.tags_len = <uint16_t>tags_n
        s.spelling = SPELLED_MSGPACK if tags_n else SPELLED_BARE
        s.hash = key_hash(s.name, name_n, s.tags, tags_n, s.spelling, self.st.keys.seed)
        s.kind = <uint8_t>kind
        s.bad = BAD_NONE
        pthread_mutex_lock(&self.st.mutex)
        s.slot = intern_find(&self.st.keys, s.hash, s.name, s.name_len, s.tags, s.tags_len, s.spelling)
        if s.slot == NONE:
            s.slot = store_resolve(&self.st, &s, &self.batch)
        if pin and s.slot != NONE:
            self.st.meta[s.slot].pins += 1
        pthread_mutex_unlock(&self.st.mutex)
        bad[0] = s.bad
        return s.slot

    cdef void _count_bad(self, uint32_t input, uint8_t bad) noexcept:
        """An in-process call whose name is bad: a datagram with one bad value."""
        cdef tally_t* t = &self.st.inputs[input]
        pthread_mutex_lock(&self.st.mutex)
        t.received += 1
        t.accepted += 1
        t.values += 1
        t.bad[bad] += 1
        pthread_mutex_unlock(&self.st.mutex)

    # ---- the tick ----

    def seal(self, long long closed):
        """Copy the cells of all seconds up to `closed` into tier 0; they change no more, but for late samples."""
        self._drain(closed)
        with nogil:
            store_seal(&self.st, closed)

    def clear_ahead(self, long long second):
        """Prepare the rows up to `second`, before a listener needs them."""
        with nogil:
            store_clear_ahead(&self.st, second)

    def rolled_end(self, int tier):
        """The second at which the last closed step of `tier` (1 or 2) ends."""
        return self.st.rolled_end[tier]

    def set_rolled(self, int tier, long long step):
        """The tick has rolled `step` (in units of the tier's step); sketches of sets are rolled here, and those of
        timers, histograms and distributions made."""
        with nogil:
            if self.st.sets.n:
                store_roll_sets(&self.st, tier, step)
            store_roll_timings(&self.st, tier, step)
        self.st.rolled_end[tier] = (step + 1) * (10 if tier == 1 else 60)

    def merge_late(self):
        """Merge the stamped samples whose second is sealed.

        Returns (slot uint32[n], second int64[n], value float64[n], weight float64[n]) of those whose 10-s step had
        closed already, for what is on disk of it needs a patch.
        """
        cdef uint32_t n
        if self.st.late_n == 0:
            return None
        slots = np.empty(self.st.late_max, np.uint32)
        seconds = np.empty(self.st.late_max, np.int64)
        values = np.empty(self.st.late_max, np.float64)
        weights = np.empty(self.st.late_max, np.float64)
        cdef uint32_t[::1] slots_view = slots
        cdef long long[::1] seconds_view = seconds
        cdef double[::1] values_view = values, weights_view = weights
        with nogil:
            n = store_merge_late(&self.st, &slots_view[0], <int64_t*>&seconds_view[0], &values_view[0], &weights_view[0])
            store_late_timings(&self.st, &slots_view[0], <int64_t*>&seconds_view[0], &values_view[0], &weights_view[0], n)
        return slots[:n], seconds[:n], values[:n], weights[:n]

    def drop_late(self):
        """The engine stops: what still waits for a second to come is lost, and counted as `late_lost`."""
        with nogil:
            store_drop_late(&self.st)

    def release_idle(self, unsigned int first, unsigned int n, long long before_second):
        """Look at `n` slots from `first` on; give back those silent since `before_second`. Returns how many."""
        cdef uint32_t released
        self._drain()
        with nogil:
            released = store_release_idle(&self.st, first, n, before_second)
        return released

    def forget(self, str name, dict tags=None):
        """Drop all that one series holds, at once; its slot is given back unless somebody holds on to it (a handle, a
        rule, the overflow). Returns the slot it had, -1 when it is not there."""
        self._drain()
        return self._find_series(name, tags, True)

    # ---- names ----

    def series(self, unsigned int slot):
        """SeriesInfo of a live slot; KeyError otherwise."""
        cdef char text[KEY_TEXT_MAX]
        cdef uint16_t name_n = 0, tags_n = 0
        cdef uint8_t kind = 0
        cdef bint is_live
        cdef key_t* k
        pthread_mutex_lock(&self.st.mutex)
        is_live = slot < self.st.high and self.st.cells[slot].flags & CELL_LIVE
        if is_live:
            k = key_at(&self.st.keys, self.st.meta[slot].first_key)
            name_n, tags_n, kind = k.name_len, k.tags_len, self.st.cells[slot].kind
            memcpy(text, key_text(k), name_n + tags_n)
        pthread_mutex_unlock(&self.st.mutex)
        if not is_live:
            raise KeyError(slot)
        return SeriesInfo(text_of(text, name_n), tags_of(text + name_n, tags_n), kind & ~KIND_PROVISIONAL)

    cdef uint32_t _find_metric(self, const char* name, size_t n) noexcept:
        """The index of a metric, or NONE. Under the mutex."""
        cdef char padded[NAME_BYTES_MAX + HMS_PAD]
        if n == 0 or n > NAME_BYTES_MAX:
            return NONE
        memset(padded, 0, sizeof(padded))
        memcpy(padded, name, n)
        return metric_find(&self.st, padded, <uint16_t>n)

    def slots(self, str name):
        """int32[k]: the live series of a metric, ascending; empty for an unknown one."""
        cdef bytes raw = name.encode("utf-8", "replace")
        cdef const char* text = raw
        cdef size_t text_n = len(raw)
        cdef uint32_t metric, slot
        cdef Py_ssize_t room, n = 0
        pthread_mutex_lock(&self.st.mutex)
        metric = self._find_metric(text, text_n)
        room = 0 if metric == NONE else self.st.metrics[metric].series
        pthread_mutex_unlock(&self.st.mutex)
        found = np.empty(room, np.int32)
        cdef int[::1] view = found
        # No Python object may be made under the mutex: a garbage collection could hand the GIL to a thread that waits
        # for the mutex. What was born between the two looks is seen by the next call.
        pthread_mutex_lock(&self.st.mutex)
        metric = self._find_metric(text, text_n)
        slot = <uint32_t>NONE if metric == NONE else self.st.metrics[metric].first
        while slot != NONE and n < room:
            view[n] = slot
            n += 1
            slot = self.st.meta[slot].next
        pthread_mutex_unlock(&self.st.mutex)
        found = found[:n]
        found.sort()
        return found

    def all_slots(self):
        """int32[k]: every live series that has values (sets have none), but for the __overflow__ ones, ascending."""
        cdef uint32_t slot
        found = np.empty(self.st.high, np.int32)
        cdef int[::1] view = found
        cdef Py_ssize_t n = 0
        for slot in range(self.st.high):
            if (self.st.cells[slot].flags & CELL_LIVE and self.st.cells[slot].kind != KIND_SET
                    and self.st.metrics[self.st.meta[slot].metric].overflow != slot):
                view[n] = slot
                n += 1
        return found[:n]

    def slot(self, str name, dict tags=None):
        """The slot of exactly this series, or -1."""
        return self._find_series(name, tags, False)

    cdef int64_t _find_series(self, str name, dict tags, bint is_forgotten) except -2:
        """As `slot`; it is forgotten in the same hold of the mutex, before anybody else can have its slot."""
        cdef bytes raw = name.encode("utf-8", "replace")
        cdef bytes canonical = canonical_of(tags) if tags else b""
        cdef size_t name_n = len(raw), tags_n = len(canonical)
        cdef uint8_t spelling = SPELLED_CANONICAL if tags_n else SPELLED_BARE
        cdef uint32_t slot
        if name_n == 0 or name_n > NAME_BYTES_MAX or tags_n > TAGS_BYTES_MAX:
            return -1
        memcpy(self.scratch, <const char*>raw, name_n)
        memcpy(self.scratch + 1024, <const char*>canonical, tags_n)
        pthread_mutex_lock(&self.st.mutex)
        slot = intern_find(&self.st.keys, key_hash(self.scratch, name_n, self.scratch + 1024, tags_n, spelling, self.st.keys.seed),
                           self.scratch, <uint16_t>name_n, self.scratch + 1024, <uint16_t>tags_n, spelling)
        if is_forgotten and slot != NONE:
            store_forget(&self.st, slot)
        pthread_mutex_unlock(&self.st.mutex)
        if slot == NONE:
            return -1
        return slot

    def metric_kind(self, str name):
        """The kind's number (kinds.py), 0 for an unknown metric."""
        cdef bytes raw = name.encode("utf-8", "replace")
        cdef const char* text = raw
        cdef size_t text_n = len(raw)
        cdef uint32_t metric
        cdef int kind
        pthread_mutex_lock(&self.st.mutex)
        metric = self._find_metric(text, text_n)
        kind = 0 if metric == NONE else self.st.metrics[metric].kind & ~KIND_PROVISIONAL
        pthread_mutex_unlock(&self.st.mutex)
        return kind

    def metrics(self):
        """The names of all metrics that have series, sorted."""
        cdef char text[NAME_BYTES_MAX]
        cdef uint32_t i
        cdef size_t n
        cdef key_t* k
        names = []
        for i in range(self.st.metrics_high):
            n = 0
            pthread_mutex_lock(&self.st.mutex)
            if self.st.metrics[i].key and self.st.metrics[i].series:
                k = key_at(&self.st.keys, self.st.metrics[i].key)
                n = k.name_len
                memcpy(text, key_text(k), n)
            pthread_mutex_unlock(&self.st.mutex)
            if n:
                names.append(text_of(text, n))
        return sorted(names)

    def changes(self, unsigned long long cursor):
        """(new cursor, [(slot, True born | False gone), …]) since the cursor; start with 0.

        A reader that slept through more changes than are kept gets every live series as born again.
        """
        cdef uint64_t i, n = self.st.changes_n
        cdef uint64_t kept = <uint64_t>self.st.changes_mask + 1
        if n == cursor:
            return n, []
        if n - cursor > kept:
            return n, [(slot, True) for slot in range(self.st.high) if self.st.cells[slot].flags & CELL_LIVE]
        found = np.empty(n - cursor, np.uint32)
        cdef uint32_t[::1] view = found
        pthread_mutex_lock(&self.st.mutex)
        for i in range(cursor, n):
            view[i - cursor] = self.st.changes[i & self.st.changes_mask]
        pthread_mutex_unlock(&self.st.mutex)
        return n, list(zip((found >> 1).tolist(), (found & 1).astype(bool).tolist()))

    def settle_kind(self, str name, int kind):
        """Give a metric its kind, as an explicit sample would; False when it has another one already."""
        cdef bytes raw = name.encode("utf-8", "replace")
        cdef const char* text = raw
        cdef size_t text_n = len(raw)
        cdef uint32_t metric
        cdef bint settled = False
        pthread_mutex_lock(&self.st.mutex)
        metric = self._find_metric(text, text_n)
        if metric != NONE and self.st.metrics[metric].first != NONE:
            settled = kind_settle(&self.st, self.st.metrics[metric].first, <uint8_t>kind)
        pthread_mutex_unlock(&self.st.mutex)
        return settled

    cdef _flag(self, str name, uint8_t flag, bint on, int kind):
        cdef bytes raw = name.encode()
        cdef uint32_t metric
        cdef size_t n = len(raw)
        if n == 0 or n > NAME_BYTES_MAX:
            raise ValueError(f"metric name {name!r} has {n} bytes, allowed are 1 to {NAME_BYTES_MAX}")
        memcpy(self.scratch, <const char*>raw, n)
        pthread_mutex_lock(&self.st.mutex)
        metric = metric_find(&self.st, self.scratch, <uint16_t>n)
        if metric == NONE and on:
            metric = metric_make(&self.st, self.scratch, <uint16_t>n, <uint8_t>kind)
        if metric != NONE:
            metric_set_flag(&self.st, metric, flag, on)
        pthread_mutex_unlock(&self.st.mutex)
        if metric == NONE and on:
            raise ValueError(f"no room for metric {name!r}: raise limits.series ({self.st.series_max})")

    def subscribe(self, str name, bint on=True):
        """Queue each value of the metric for `take_subscribed`."""
        self._flag(name, CELL_SUBSCRIBED, on, KIND_UNKNOWN)

    def reserve(self, str name, bint on=True, int kind=KIND_GAUGE):
        """Only the engine itself (input 0) may write this metric, of this kind if it is new: a rule publishes under its
        name."""
        self._flag(name, CELL_RESERVED, on, kind)

    # ---- goals

    cdef _map_goals(self, size_t goals):
        """Memory for the first goal of all, and for each further goal of one metric. Mapped when it is first wanted and
        never given back, so pointers stay valid."""
        cdef store_t* st = &self.st
        cdef size_t n = st.capacity, i
        if st.goals == NULL:
            st.goals = <goals_t*>self._map("goals", JUDGED_METRICS_MAX * sizeof(goals_t), False)
            st.judged_late = <late_t*>self._map("late judged samples", st.late_max * sizeof(late_t), False)
            st.judged = <judged_t*>self._map("judged series", n * sizeof(judged_t), True)
        for i in range(goals):
            if st.goods[i] == NULL:
                st.goods[i] = <double*>self._map(f"goods {i + 1}", SLOTS * n * sizeof(double), False)
        self.held = tuple(self.blocks.values())

    cdef uint32_t _goals_of(self, uint32_t metric) noexcept:
        """The place of a metric's goals, taken if it has none; 0 when all are taken. Under the mutex."""
        cdef uint32_t i
        if self.st.metrics[metric].goals:
            return self.st.metrics[metric].goals
        for i in range(1, <uint32_t>JUDGED_METRICS_MAX):
            if not self.st.goals[i].is_taken:
                self.st.goals[i].is_taken = True
                return i
        return 0

    cdef bint _set_goals(self, size_t name_n, const goals_t* wanted, int kind) noexcept:
        """Judge the metric named in scratch from now on. False without room. Under the mutex."""
        cdef store_t* st = &self.st
        cdef uint32_t goals, slot, metric = metric_find(st, self.scratch, <uint16_t>name_n)
        if metric == NONE:
            metric = metric_make(st, self.scratch, <uint16_t>name_n, <uint8_t>kind)
        goals = self._goals_of(metric) if metric != NONE else 0
        if goals == 0:
            return False
        memcpy(st.goals[goals].goals, wanted.goals, sizeof(wanted.goals))
        st.goals[goals].n = wanted.n
        if st.metrics[metric].goals == 0:
            st.metrics[metric].goals = <uint16_t>goals
            slot = st.metrics[metric].first
            while slot != NONE:
                judged_begin(st, slot, goals)
                slot = st.meta[slot].next
            metric_set_flag(st, metric, CELL_JUDGED, True)
        return True

    cdef void _drop_goals(self, size_t name_n) noexcept:
        """Under the mutex."""
        cdef store_t* st = &self.st
        cdef uint32_t metric = metric_find(st, self.scratch, <uint16_t>name_n)
        if metric == NONE or st.metrics[metric].goals == 0:
            return
        memset(&st.goals[st.metrics[metric].goals], 0, sizeof(goals_t))
        st.metrics[metric].goals = 0
        metric_set_flag(st, metric, CELL_JUDGED, False)

    def judge(self, str name, goals, int kind=KIND_UNKNOWN):
        """Count the metric's samples against these goals as they come, `(low, high, is_outside)` each; None ends it.

        Returns the first Unix second that is counted wholly, for goals that were not there, at their place, before.
        """
        cdef bytes raw = name.encode()
        cdef size_t n = len(raw)
        cdef goals_t wanted
        cdef bint is_set = True, is_judged = goals is not None
        cdef long long since
        if n == 0 or n > NAME_BYTES_MAX:
            raise ValueError(f"metric name {name!r} has {n} bytes, allowed are 1 to {NAME_BYTES_MAX}")
        memset(&wanted, 0, sizeof(goals_t))
        if is_judged:
            if len(goals) > GOALS_MAX:
                raise ValueError(f"{len(goals)} goals of metric {name!r}, allowed are {GOALS_MAX}")
            wanted.n = len(goals)
            for i, (low, high, is_outside) in enumerate(goals):
                wanted.goals[i].low, wanted.goals[i].high, wanted.goals[i].is_outside = low, high, is_outside
            self._map_goals(wanted.n)
        self._drain()
        memcpy(self.scratch, <const char*>raw, n)
        memset(self.scratch + n, 0, HMS_PAD)
        pthread_mutex_lock(&self.st.mutex)
        if is_judged:
            is_set = self._set_goals(n, &wanted, kind)
        elif self.st.goals != NULL:
            self._drop_goals(n)
        since = store_now_ns(&self.st) // 1_000_000_000 + 1
        pthread_mutex_unlock(&self.st.mutex)
        if not is_set:
            raise ValueError(f"no room for the goals of metric {name!r}: {JUDGED_METRICS_MAX - 1} metrics may have some")
        return since

    def sums_of_second(self, int column, long long second, slots, group_offset):
        """float64[g]: the sum over each group's series of one column of a sealed second."""
        cdef store_t* st = &self.st
        cdef const int[::1] members = np.ascontiguousarray(slots, np.int32)
        cdef const long long[::1] groups = checked_groups(group_offset, members.shape[0])
        cdef const double* counts = column_row(st, 0, F_COUNT, second)
        cdef const double* row
        cdef Py_ssize_t g, i
        found = np.zeros(groups.shape[0] - 1)
        cdef double[::1] out = found
        if not (0 <= column < FIELDS or (COLUMN_GOODS <= column < COLUMN_GOODS + GOALS_MAX and st.goods[column - COLUMN_GOODS] != NULL)):
            raise ValueError(f"column {column} is none of 0 to {FIELDS - 1}, nor a goal's")
        if not st.sealed_second - SLOTS + 3 < second <= st.sealed_second:
            raise ValueError(f"second {second} is none of the sealed ones that are kept, the last of which is {st.sealed_second}")
        row = column_row(st, 0, column, second) if column < FIELDS else goods_row(st, column - COLUMN_GOODS, second)
        with nogil:
            for g in range(groups.shape[0] - 1):
                for i in range(groups[g], groups[g + 1]):
                    if <uint32_t>members[i] < st.high and counts[members[i]] != 0:
                        out[g] += row[members[i]]
        return found

    def take_judged(self, long long second):
        """Goods up to `second` are read: what comes late for these seconds is listed from now on.

        Returns (slot uint32[n], second int64[n], value float64[n], weight float64[n]) of what is listed already.
        """
        cdef store_t* st = &self.st
        cdef uint32_t i, n = st.judged_late_n, kept = 0
        cdef late_t* x
        slots = np.empty(n, np.uint32)
        seconds = np.empty(n, np.int64)
        values = np.empty(n, np.float64)
        weights = np.empty(n, np.float64)
        cdef uint32_t[::1] slots_view = slots
        cdef long long[::1] seconds_view = seconds
        cdef double[::1] values_view = values, weights_view = weights
        pthread_mutex_lock(&st.mutex)
        for i in range(n):
            x = &st.judged_late[i]
            if st.cells[x.slot].generation == x.generation:
                slots_view[kept] = x.slot
                seconds_view[kept] = x.second
                values_view[kept] = x.value
                weights_view[kept] = x.weight
                kept += 1
        st.judged_late_n = 0
        if second > st.judged_second:
            st.judged_second = second
        pthread_mutex_unlock(&st.mutex)
        return slots[:kept], seconds[:kept], values[:kept], weights[:kept]

    # ---- out ----

    def take_subscribed(self):
        """(slot uint32[n], value float64[n]) of subscribed metrics, oldest first; the queue is empty afterwards."""
        cdef store_t* st = &self.st
        cdef uint64_t i, n, first
        self._drain()
        n = st.subscribed_n - st.subscribed_read
        slots = np.empty(st.subscribed_mask + 1 if n else 0, np.uint32)
        values = np.empty(len(slots), np.float64)
        cdef uint32_t[::1] slots_view = slots
        cdef double[::1] values_view = values
        if n == 0:
            return slots, values
        with nogil:
            pthread_mutex_lock(&st.mutex)
            first = st.subscribed_read
            n = st.subscribed_n - first
            for i in range(n):
                slots_view[i] = st.subscribed[(first + i) & st.subscribed_mask].slot
                values_view[i] = st.subscribed[(first + i) & st.subscribed_mask].value
            st.subscribed_read = st.subscribed_n
            pthread_mutex_unlock(&st.mutex)
        return slots[:n], values[:n]

    def recent(self, unsigned int slot):
        """(time_ns int64[n], value float64[n]): the ring of a series, copied, in the order of arrival, n up to ring_samples.

        Stamped samples stand where they arrived, with the time of their stamp."""
        cdef uint32_t i, n, head
        cdef raw_t* r
        self._drain()
        times = np.empty(self.st.ring_mask + 1, np.int64)
        values = np.empty(self.st.ring_mask + 1, np.float64)
        cdef long long[::1] times_view = times
        cdef double[::1] values_view = values
        if slot >= self.st.high:
            raise KeyError(slot)
        pthread_mutex_lock(&self.st.mutex)
        head = self.st.cells[slot].head
        n = min(head, self.st.ring_mask + 1)
        for i in range(n):
            r = &self.st.rings[<size_t>slot * (self.st.ring_mask + 1) + ((head - n + i) & self.st.ring_mask)]
            times_view[i] = r.time_ns
            values_view[i] = r.value
        pthread_mutex_unlock(&self.st.mutex)
        return times[:n], values[:n]

    def distinct(self, slots, long long[::1] tiers, long long[::1] steps):
        """Distinct members of set series, as a float, over the given steps (tier and step number of each).

        Exact while all sketches read are sparse and hold up to DISTINCT_MAX hashes together, repeats included; beyond
        that within about 1 % (HyperLogLog, 2^14 registers).
        """
        cdef int[::1] wanted = np.ascontiguousarray(slots, np.int32)
        registers = np.zeros(REGISTERS, np.uint8)
        hashes = np.empty(DISTINCT_MAX, np.uint64)
        cdef uint8_t[::1] registers_view = registers
        cdef uint64_t[::1] hashes_view = hashes
        cdef size_t n = 0
        cdef bint dense = False
        cdef Py_ssize_t i
        # One hold of the mutex a series: a listener waits for a MiB of registers at the most.
        for i in range(wanted.shape[0]):
            pthread_mutex_lock(&self.st.mutex)
            if <uint32_t>wanted[i] < self.st.high:
                self._add_sketches(wanted[i], tiers, steps, &registers_view[0], &hashes_view[0], &n, &dense)
            pthread_mutex_unlock(&self.st.mutex)
        return estimate(registers) if dense else float(len(np.unique(hashes[:n])))

    cdef void _add_sketches(self, uint32_t slot, long long[::1] tiers, long long[::1] steps, uint8_t* registers,
                            uint64_t* hashes, size_t* n, bint* dense) noexcept:
        cdef set_t* s = self.st.sets.by_slot[slot]
        cdef sketch_t* k
        cdef Py_ssize_t i
        cdef uint32_t j
        if s == NULL:
            return
        for i in range(tiers.shape[0]):
            k = &s.sealed[tiers[i]][steps[i] & (SLOTS - 1)]
            if k.step != steps[i]:
                continue
            for j in range(k.n):
                register_add(registers, k.hashes[j])
                if n[0] < DISTINCT_MAX:
                    hashes[n[0]] = k.hashes[j]
                    n[0] += 1
                else:
                    dense[0] = True
            if k.registers != NULL:
                dense[0] = True
                for j in range(<uint32_t>REGISTERS):
                    registers[j] = max(registers[j], k.registers[j])

    def sketch_quantiles(self, slots, group_offset, long long start, long long end, quantiles):
        """(float64[g, q], start second): the quantiles of each group's samples in the window, NaN when it has none."""
        wanted = checked_quantiles(quantiles)
        cdef const double[::1] q = wanted
        cdef const int[::1] members = np.ascontiguousarray(slots, np.int32)
        cdef const long long[::1] groups = checked_groups(group_offset, members.shape[0])
        cdef long long begin = sketch_start(&self.st, start, end)
        cdef hist_t h
        cdef copy_t copy
        cdef Py_ssize_t g
        cdef bint is_done = True
        found = np.full((groups.shape[0] - 1, q.shape[0]), np.nan)
        cdef double[:, ::1] out = found
        if found.size == 0 or self.st.dead:
            return found, begin
        self._drain()
        hist_start(&h, NULL)
        memset(&copy, 0, sizeof(copy))
        with nogil:
            for g in range(groups.shape[0] - 1):
                is_done = is_done and gather(&self.st, members, groups[g], groups[g + 1], begin, end, &h, &copy)
                hist_quantiles(&h, &q[0], q.shape[0], &out[g, 0])
            hist_free(&h)
            free(copy.data)
        if not is_done:
            raise MemoryError("no memory for a sketch")
        return found, begin

    def sketch_groups(self, slots, group_offset, long long start, long long end):
        """list[bytes]: the sketch of each group's samples in the window, b"" when it has none."""
        cdef const int[::1] members = np.ascontiguousarray(slots, np.int32)
        cdef const long long[::1] groups = checked_groups(group_offset, members.shape[0])
        cdef long long begin = sketch_start(&self.st, start, end)
        cdef uint8_t blob[BLOB_BYTES_MAX]
        cdef hist_t h
        cdef copy_t copy
        cdef Py_ssize_t g
        cdef size_t n
        cdef bint is_done = True
        if self.st.dead:
            return [b""] * (groups.shape[0] - 1)
        self._drain()
        found = []
        hist_start(&h, NULL)
        memset(&copy, 0, sizeof(copy))
        for g in range(groups.shape[0] - 1):
            with nogil:
                is_done = is_done and gather(&self.st, members, groups[g], groups[g + 1], begin, end, &h, &copy)
                n = hist_encode(&h, blob)
            found.append((<char*>blob)[:n])
        hist_free(&h)
        free(copy.data)
        if not is_done:
            raise MemoryError("no memory for a sketch")
        return found

    def take_sketches(self, int tier, long long step):
        """Sketches of a closed step of `tier` (1: 10 s, 2: 60 s; `step` in units of it), by slot, for the disk."""
        cdef taken_t taken
        cdef bint is_done
        if tier not in (1, 2):
            raise ValueError(f"tier {tier} is neither 1 (steps of 10 s) nor 2 (of 60 s)")
        if self.st.dead:
            return no_sketches()
        memset(&taken, 0, sizeof(taken))
        with nogil:
            is_done = store_take_timings(&self.st, tier, step, &taken)
        try:
            if not is_done:
                raise MemoryError(f"no memory for the sketches of {taken.count} series")
            slots = np.empty(taken.count, np.uint32)
            offsets = np.zeros(taken.count + 1, np.int64)
            copy_out(slots, taken.slots, taken.count * sizeof(uint32_t))
            copy_out(offsets[1:], taken.ends, taken.count * sizeof(int64_t))
            starts = np.full(taken.count, step * (10 if tier == 1 else 60), np.int64)
            return Sketches(slots, starts, offsets, (<char*>taken.data)[:taken.n] if taken.n else b"")
        finally:
            free(taken.data)
            free(taken.slots)
            free(taken.ends)

    def ledger_rows(self):
        """{input name: its counters}, of one moment: every batch enters the ledger whole."""
        cdef tally_t rows[INPUTS_MAX]
        cdef uint32_t i, n
        self._drain()
        pthread_mutex_lock(&self.st.mutex)
        n = self.st.inputs_n
        memcpy(rows, self.st.inputs, n * sizeof(tally_t))
        pthread_mutex_unlock(&self.st.mutex)
        return {self.input_names[i]: tally_dict(&rows[i]) for i in range(n)}

    def rejects(self):
        """The last 100 rejects, newest first: dicts of time_ns, input, reason, source (raw sockaddr) and text (bytes)."""
        cdef reject_t r
        cdef uint64_t i, n
        found = []
        n = min(self.st.rejects_n, <uint64_t>REJECTS_KEPT)
        for i in range(n):
            pthread_mutex_lock(&self.st.mutex)
            r = self.st.rejects[(self.st.rejects_n - 1 - i) % REJECTS_KEPT]
            pthread_mutex_unlock(&self.st.mutex)
            reason = REJECTED[r.reason - 256] if r.reason >= 256 else BAD[r.reason]
            found.append({"time_ns": r.time_ns, "input": self.input_names[r.input], "reason": reason,
                          "source": (<char*>r.source)[:28], "text": r.text[:r.text_len]})
        return found

    def set_forward(self, forward):
        """What a forked child does with `metric` and `add`: a callable (name, value, kind, tags), or None to drop."""
        self.forward = forward

    cdef _forward(self, name, double value, int kind, tags):
        if self.forward is None:
            self.dropped_after_fork += 1
        else:
            self.forward(name, value, kinds.NAMES[kind] if kind else None, tags)


@cython.no_gc_clear     # __dealloc__ needs the store
cdef class Series:
    """One series of an engine, to add values to: `engine.series(name)`. As long as it lives the series keeps its slot."""

    cdef Store store
    cdef uint32_t slot
    cdef uint8_t kind_asked, input
    cdef str asked_name
    cdef dict asked_tags

    def __init__(self):
        raise TypeError("get a Series from engine.series(name)")

    def __dealloc__(self):
        if self.store is not None and self.slot != NONE:
            self.store.st.meta[self.slot].pins -= 1

    @property
    def name(self):
        return self.asked_name

    @property
    def tags(self):
        return dict(self.asked_tags or {})

    def add(self, double value, /):
        """Add one value, at the time of the call. Never waits; a value that is no finite number is counted as bad."""
        if self.store.st.dead:
            self.store._forward(self.asked_name, value, self.kind_asked, self.asked_tags)
        else:
            self.store._push(self.slot, self.kind_asked, self.input, value)

    def add_many(self, values, /):
        """Add float64[n] in one go: one datagram of n values in the ledger. Lists and other dtypes are converted."""
        cdef const double[::1] view = np.ascontiguousarray(values, np.float64).reshape(-1)
        cdef size_t n = view.shape[0]
        cdef store_t* st = &self.store.st
        if st.dead:
            for value in view:
                self.store._forward(self.asked_name, value, self.kind_asked, self.asked_tags)
            return
        self.store._drain()
        pthread_mutex_lock(&st.mutex)
        store_append_many(st, self.slot, self.kind_asked, self.input, &view[0] if n else NULL, n)
        pthread_mutex_unlock(&st.mutex)


cdef class InProcess:
    """`engine.metric`: names to series through a bounded cache, then as `Series.add`.

    The cache is by kind and name (and tags): a hit is one or two dict look-ups.
    """

    cdef Store store
    cdef dict untagged          # kind or None → {name: Series}
    cdef dict tagged            # (kind, name, *tags) → Series
    cdef size_t cached
    cdef int input

    def __init__(self, Store store not None, int input=INPUT_IN_PROCESS):
        self.store = store
        self.input = input
        self.untagged = {kind: {} for kind in (None, *kinds.NUMBERS)}
        self.tagged = {}

    def metric(self, str name not None, value, kind=None, tags=None):
        """Add one value. Never waits and never raises for data: a bad name, tag or value is counted.

        value: a number; with kind "set" a text too, its member.
        kind: counter, gauge, timer, histogram, distribution, set or None (inferred); ValueError otherwise.
        tags: {str: str} or None; numbers and booleans are spelled out, a tag that is anything else makes a bad value.
        """
        cdef PyObject* found = PyDict_GetItem(self.untagged, kind)
        cdef Series series
        cdef double number
        if found == NULL:
            raise ValueError(f"kind {kind!r} is none of {', '.join(kinds.NUMBERS)}")
        if type(value) is float:
            number = PyFloat_AS_DOUBLE(value)
        elif kind == "set" and type(value) is str:
            self._member(name, value, tags)
            return
        else:
            try:
                number = value
            except OverflowError:
                self._bad(BAD_MAGNITUDE)
                return
            except Exception:                   # a stranger's __float__ may raise anything
                self._bad(BAD_NUMBER)
                return
        if tags:
            self._tagged(name, number, kind, tags)
            return
        found = PyDict_GetItem(<dict>found, name)
        if found == NULL:
            self._first(name, number, kind, None, self.untagged[kind], name)
            return
        series = <Series>found
        if self.store.st.dead:
            self.store._forward(name, number, series.kind_asked, None)
        else:
            self.store._push(series.slot, series.kind_asked, series.input, number)

    cdef _member(self, str name, str member, tags):
        """A set's member that is a text: as a datagram of its own."""
        try:
            datagram = msgpack.packb({"name": name, "value": member, "kind": "set", "tags": dict(tags) if tags else {}})
        except Exception:                       # surrogates, tags that msgpack cannot say
            self._bad(BAD_TAG)
            return
        self.store.ingest(datagram, self.input)

    cdef _tagged(self, str name, double value, kind, tags):
        cdef tuple key
        if not tags_are_texts(tags):            # 1, 1.0 and True would be one key of the cache
            try:
                tags = {tag_text(k): tag_text(v) for k, v in tags.items()}
            except Exception:                   # a number's own __str__ may raise anything
                self._bad(BAD_TAG)
                return
        key = (kind, name, *(<dict>tags).items())
        series = self.tagged.get(key)
        if series is None:
            self._first(name, value, kind, dict(tags), self.tagged, key)
        else:
            (<Series>series).add(value)

    cdef _first(self, str name, double value, kind, dict tags, dict cache, key):
        cdef int number = kinds.kind_number(kind) if kind is not None else 0
        cdef uint8_t bad = BAD_NONE
        cdef Series series
        if self.store.st.dead:
            self.store._forward(name, value, number, tags)
            return
        if self.store._resolve(name.encode("utf-8", "surrogatepass"), number, tags, self.input, &bad, False) == NONE:
            self._bad(bad)
            return
        series = self.store.handle(name, number, tags, self.input)
        if self.store.st.live < self.store.st.series_max:       # an overflow's place is not remembered
            if self.cached >= CACHED_MAX:
                self.forget()
            cache[key] = series
            self.cached += 1
        series.add(value)

    cdef _bad(self, uint8_t bad):
        if self.store.st.dead:
            self.store.dropped_after_fork += 1
        else:
            self.store._count_bad(self.input, bad)

    def forget(self):
        """Empty the cache, so that idle series can give their slots back; the engine does this now and then."""
        for names in self.untagged.values():
            names.clear()
        self.tagged.clear()
        self.cached = 0
