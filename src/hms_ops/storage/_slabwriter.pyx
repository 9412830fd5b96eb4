"""Rows of a step as bits. The format is slab.py's; functions are documented in `_slabwriter.pyi`."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *
from hms_ops.storage._row cimport *
from hms_ops.storage._learn cimport *

cdef extern from "storage/_crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t crc, const unsigned char* data, size_t length) noexcept nogil
    crc32c_function crc32c_prepare()

cdef crc32c_function crc32c = crc32c_prepare()

cdef enum:
    ROW_BYTES_MAX = 64      # 3 bits, and 82 for each field
    PARAM_BYTES = 512 * 75  # 15, and up to 10 for each field's base
    ALL_LESSONS = 9         # slabs of a writer's life that all teach; later a frame learns from every third,
    LESSON_EVERY = 3        # which takes half the time: what is learnt is larger than what is written


cdef inline void put_said(bitwriter_t* w, int expect, int said) noexcept nogil:
    """The reader's take_said backwards."""
    if expect == NEVER:
        expect = ABSENT
    if said == expect:
        put(w, 0, 1)
    elif said == (FULL if expect == CODED else CODED):
        put(w, 1, 2)
    elif said == (ABSENT if expect == CODED else FULL):
        put(w, 3, 3)
    else:
        put(w, 7, 3)


cdef inline int say(const param_t* p, const row_t* row) noexcept nogil:
    """How a row is written."""
    cdef int f, moved = 0
    for f in range(FIELDS):
        moved |= (row.u[f] != 0) << f
    if not moved and p.expect != NEVER:
        return SAME
    return FULL if moved & p.steady else CODED


cdef void put_row(bitwriter_t* w, const param_t* p, const row_t* row, int said) noexcept nogil:
    cdef int f, left_out = 0 if said == FULL else p.steady
    for f in range(VALUES):
        if left_out >> f & 1:
            continue
        if row.is_raw[f]:
            put_raw(w, codec_bits_of(row.value[f]))
        else:
            put_rice(w, row.u[f], p.k[f])
    if row.has_m2 and not left_out >> M2 & 1:
        put_rice(w, row.u[M2], p.k[M2])


# ---- parameters as bytes ---------------------------------------------------------------------------------------------

cdef Py_ssize_t pack_params(const param_t* params, int ids, uint8_t* out) noexcept nogil:
    """The bytes written, 0 when no id has parameters. Room: 512 * 75."""
    cdef int j, f, g, known = 0
    cdef uint8_t* at = out
    for j in range(FRAME_IDS):
        at[j] = params[j].expect if j < ids else 0
        known += at[j] != NEVER
    if not known:
        return 0
    at += FRAME_IDS
    for f in range(SMALL):
        for j in range(ids):
            if params[j].expect != NEVER:
                at[0] = (<const uint8_t*> &params[j])[SMALL_AT + f]
                at += 1
    for f in range(FIELDS):
        for j in range(ids):
            if params[j].expect != NEVER:
                at = put_varint(at, zigzag(params[j].base[f]))
    return at - out


# ---- frames ----------------------------------------------------------------------------------------------------------

cdef void say_row(bitwriter_t* w, const param_t* p, learn_t* l, row_t* row, bint is_lesson) noexcept nogil:
    cdef int said, f
    row_residuals(p, row)
    said = say(p, row)
    put_said(w, p.expect, said)
    if said != SAME:
        put_row(w, p, row, said)
    if p.expect == NEVER:
        return
    if is_lesson:
        learn_row(p, l, row)
        learn_mean(&l.present, True)
        learn_mean(&l.same, said == SAME)
        return
    for f in range(VALUES):
        if row.is_raw[f]:
            learn_form(p, l, row, f)


cdef bint are_zero(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end:
        if at[0]:
            return False
        at += 1
    return True


cdef int put_group(
    bitwriter_t* w, const param_t* params, learn_t* learnt, const double[:, ::1] columns, Py_ssize_t first,
    strangers_t* strangers, bint is_lesson,
) noexcept nogil:
    """The rows of up to 64 ids; nothing is written when each does what is expected."""
    cdef Py_ssize_t j, n = columns.shape[1]
    cdef uint8_t* begin = w.at
    cdef int rows = 0
    cdef row_t row
    for j in range(first, first + GROUP_IDS):
        if j < n and columns[0, j] > 0:
            gather(columns, j, row.value)
            say_row(w, &params[j - first], &learnt[j - first], &row, is_lesson)
            rows += 1
            if params[j - first].expect == NEVER:
                keep_stranger(strangers, j, row.value)
            continue
        put_said(w, params[j - first].expect, ABSENT)
        if is_lesson and params[j - first].expect != NEVER:
            learn_mean(&learnt[j - first].present, False)
    put_end(w)
    if are_zero(begin, w.at):
        w.at = begin
    return rows


cdef int put_frame(
    uint8_t** at, const param_t* params, learn_t* learnt, const double[:, ::1] columns, Py_ssize_t first,
    strangers_t* strangers, bint is_lesson,
) noexcept nogil:
    """The rows of 512 ids from `first` on; `at` is moved behind them."""
    cdef uint8_t* begin = at[0]
    cdef bitwriter_t w = bitwriter_t(begin + 2 * GROUPS, 0, 0)
    cdef int group, rows = 0
    cdef Py_ssize_t bytes_used
    for group in range(GROUPS):
        rows += put_group(
            &w, params + group * GROUP_IDS, learnt + group * GROUP_IDS, columns, first + group * GROUP_IDS, strangers,
            is_lesson,
        )
        bytes_used = w.at - begin
        begin[2 * group] = bytes_used & 0xFF
        begin[2 * group + 1] = <uint8_t> (bytes_used >> 8)
    if rows and w.at > begin + 2 * GROUPS:
        at[0] = w.at
    return rows


cdef class Writer:
    cdef param_t* params
    cdef learn_t* learnt
    cdef strangers_t met
    cdef Py_ssize_t room
    cdef Py_ssize_t slabs

    def __dealloc__(self):
        free(self.params)
        free(self.learnt)
        free(self.met.ids)
        free(self.met.values)

    @property
    def frames(self):
        return self.room // FRAME_IDS

    cdef int make_room(self, Py_ssize_t n) except -1:
        cdef Py_ssize_t room = (n + FRAME_IDS - 1) // FRAME_IDS * FRAME_IDS, frame
        if room <= self.room:
            return 0
        cdef param_t* params = <param_t*> realloc(self.params, room * sizeof(param_t))
        if params == NULL:
            raise MemoryError
        self.params = params
        cdef learn_t* learnt = <learn_t*> realloc(self.learnt, room * sizeof(learn_t))
        if learnt == NULL:
            raise MemoryError
        self.learnt = learnt
        memset(learnt + self.room, 0, (room - self.room) * sizeof(learn_t))
        self.make_room_for_strangers(strangers_room(room))
        for frame in range(self.room, room, FRAME_IDS):
            begin_frame(params + frame)
        self.room = room
        return 0

    cdef int make_room_for_strangers(self, Py_ssize_t room) except -1:
        cdef uint32_t* ids = <uint32_t*> realloc(self.met.ids, room * sizeof(uint32_t))
        if ids == NULL:
            raise MemoryError
        self.met.ids = ids
        cdef double* values = <double*> realloc(self.met.values, room * FIELDS * sizeof(double))
        if values == NULL:
            raise MemoryError
        self.met.values = values
        self.met.room = room
        return 0

    def renew(self, const double[:, ::1] columns not None):
        self.make_room(columns.shape[1])
        with nogil:
            meet_strangers(self.params, self.learnt, &self.met)
            renew_all(self.params, self.learnt, columns)

    def is_strange(self, const double[:, ::1] columns not None):
        cdef Py_ssize_t j, n = columns.shape[1], found = 0
        self.make_room(n)
        with nogil:
            for j in range(n):
                found += columns[0, j] > 0 and self.params[j].expect == NEVER
        return found + self.met.n > self.met.room

    def params_of(self, Py_ssize_t frame, uint8_t[::1] out not None):
        if not 0 <= frame < self.room // FRAME_IDS or out.shape[0] < PARAM_BYTES:
            raise ValueError(f"frame {frame} of {self.room // FRAME_IDS}, {out.shape[0]} bytes of {PARAM_BYTES}")
        return pack_params(self.params + frame * FRAME_IDS, FRAME_IDS, &out[0])

    def rows(self, const double[:, ::1] columns not None, uint8_t[::1] out not None, uint32_t[:, ::1] entries not None):
        """(frames, bytes)."""
        cdef Py_ssize_t first, n = columns.shape[1], frame, frames = 0, left
        cdef uint8_t* at = &out[0]
        cdef uint8_t* begin
        cdef int rows
        cdef bint is_lesson
        self.make_room(n)
        if out.shape[0] < room_for(n) or entries.shape[0] < (n + FRAME_IDS - 1) // FRAME_IDS or entries.shape[1] != 4:
            raise ValueError("out or entries are too small")
        with nogil:
            for frame in range((n + FRAME_IDS - 1) // FRAME_IDS):
                begin = at
                first = frame * FRAME_IDS
                is_lesson = self.slabs < ALL_LESSONS or (frame + self.slabs) % LESSON_EVERY == 0
                rows = put_frame(&at, self.params + first, self.learnt + first, columns, first, &self.met, is_lesson)
                if rows:
                    entries[frames, 0] = <uint32_t> frame
                    entries[frames, 1] = <uint32_t> (begin - &out[0])
                    entries[frames, 2] = <uint32_t> ((at - begin) | rows << 16)
                    entries[frames, 3] = crc32c(0, begin, at - begin)
                    frames += 1
        self.slabs += 1
        return frames, at - &out[0]


cdef inline Py_ssize_t strangers_room(Py_ssize_t n) noexcept nogil:
    """How many rows of strangers make a key worth it."""
    return n // 32 + 256


cdef inline Py_ssize_t room_for(Py_ssize_t n) noexcept nogil:
    return (n + FRAME_IDS) // FRAME_IDS * (FRAME_IDS * ROW_BYTES_MAX + 2 * GROUPS) + PUT_SLACK


def room(Py_ssize_t n):
    return room_for(n)


PACKED_PARAM_BYTES = PARAM_BYTES
