"""What a slab's writer keeps of each id, and rows as bits. The format is slab.py's; functions: `_slabwriter.pyi`."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *
from hms_ops.storage._row cimport *

cdef extern from "storage/_crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t crc, const unsigned char* data, size_t length) noexcept nogil
    crc32c_function crc32c_prepare()

cdef crc32c_function crc32c = crc32c_prepare()

cdef enum:
    ROW_BYTES_MAX = 64      # 2 bits, and 82 for each field
    PARAM_BYTES = 512 * 75
    KEYS_FORGOTTEN = 400    # an id without a row for so many keys gives its parameters up
    SCALE_LIKELY = 6        # an id kept as bits becomes decimal again when a whole row has no more decimals
    SIZE_ONE = 64           # learn_t.size of one bit

# What the writer learns of an id between keys.
ctypedef struct learn_t:
    int64_t before[6]       # the integers of its latest row
    int64_t seen[3]         # all integers since the key, or-ed, before the shift: their common zeros
    uint16_t size[6]        # mean length of residuals, in 64ths of a bit
    uint16_t own[6]         # of differences from the row before, foretold by itself
    uint16_t crossed[6]     # or from other fields
    uint16_t idle           # keys without a row
    uint8_t need[3]         # the highest scale that was needed since the key
    uint8_t odd[3]          # values without a decimal scale since the key, up to 255
    uint8_t is_fine[3]      # whether the last decimal was needed
    uint8_t present         # mean of rows there are, of 255
    uint8_t same            # mean of rows that are all as the key says, of 255
    uint8_t rows            # since the key, up to 255

# One row, as integers.
ctypedef struct row_t:
    double value[6]
    int64_t i[6]
    uint64_t u[6]
    uint8_t is_raw[6]
    bint has_m2


cdef void row_residuals(const param_t* p, row_t* row) noexcept nogil:
    """row.value to row.i, row.u and row.is_raw."""
    cdef int f, g
    cdef int64_t told
    cdef bint fits
    for f in range(VALUES):
        g = GROUP[f]
        told = foretold(p, f, row.i)
        if f == SUM:
            fits = sum_to_integer(row.value[f], p.scale[g], p.shift[g], &row.i[f])
        else:
            fits = to_integer(row.value[f], p.scale[g], p.shift[g], &row.i[f])
        row.u[f] = zigzag(wrap_sub(row.i[f], told))
        row.is_raw[f] = not fits or row.u[f] >> 63
        if row.is_raw[f]:
            row.i[f] = told
            row.u[f] = 1ULL << 63
    row.has_m2 = row.value[LEAST] != row.value[MOST]
    row.i[M2] = row.u[M2] = 0
    if row.has_m2:
        row.i[M2] = m2_code(row.value[M2]) - m2_guess(row.value[COUNT], row.value[LEAST], row.value[MOST])
        row.u[M2] = zigzag(row.i[M2] - p.base[M2])


cdef inline bint is_same(const row_t* row) noexcept nogil:
    return not (row.u[0] | row.u[1] | row.u[2] | row.u[3] | row.u[4] | row.u[5])


cdef inline void put_said(bitwriter_t* w, int expect, int said) noexcept nogil:
    """One bit when an id does what is expected of it, else two."""
    if expect == NEVER:
        expect = ABSENT
    if said == expect:
        put(w, 0, 1)
    elif said == CODED or (said == ABSENT and expect == CODED):
        put(w, 1, 2)
    else:
        put(w, 3, 2)


cdef void put_row(bitwriter_t* w, const param_t* p, const row_t* row) noexcept nogil:
    cdef int f
    for f in range(VALUES):
        if row.is_raw[f]:
            put_raw(w, codec_bits_of(row.value[f]))
        else:
            put_rice(w, row.u[f], p.k[f])
    if row.has_m2:
        put_rice(w, row.u[M2], p.k[M2])


# ---- what the writer learns ------------------------------------------------------------------------------------------

cdef inline void learn_size(uint16_t* size, uint64_t u) noexcept nogil:
    size[0] = <uint16_t> (size[0] + ((SIZE_ONE * codec_length(u) - size[0]) >> 3))


cdef inline void learn_mean(uint8_t* mean, bint is_so) noexcept nogil:
    """Towards 255 or 0 by a sixteenth, at least one."""
    if is_so:
        mean[0] += (255 - mean[0] + 15) >> 4
    else:
        mean[0] -= (mean[0] + 15) >> 4


cdef void learn_form(const param_t* p, learn_t* l, row_t* row, int f) noexcept nogil:
    cdef int g = GROUP[f], scale
    cdef int64_t whole
    if not row.is_raw[f]:
        l.seen[g] |= row.i[f]
        if not l.is_fine[g] and p.scale[g] and p.scale[g] != BITS:
            whole = row.i[f] << p.shift[g]
            l.is_fine[g] = whole % 10 != 0
        return
    l.is_fine[g] = True
    l.seen[g] |= 1
    if p.scale[g] == BITS:
        return
    scale = scale_of(row.value[f], p.scale[g])
    if scale == BITS:
        l.odd[g] += l.odd[g] < 255
    elif scale > l.need[g]:
        l.need[g] = scale


cdef void learn_row(const param_t* p, learn_t* l, row_t* row) noexcept nogil:
    cdef int f
    cdef int64_t change, crossed
    for f in range(VALUES):
        learn_form(p, l, row, f)
        if not row.is_raw[f]:
            learn_size(&l.size[f], row.u[f])
        if f >= LEAST:
            change = wrap_sub(row.i[f], l.before[f])
            crossed = wrap_sub(crossing(f, row.i), crossing(f, l.before))
            learn_size(&l.own[f], zigzag(change))
            learn_size(&l.crossed[f], zigzag(wrap_sub(change, crossed)))
    if row.has_m2:
        learn_size(&l.size[M2], row.u[M2])
        l.before[M2] = row.i[M2]
    for f in range(VALUES):
        l.before[f] = row.i[f]
    l.rows += l.rows < 255
    l.idle = 0


# ---- the parameters of a key -----------------------------------------------------------------------------------------

cdef inline int k_of(int size) noexcept nogil:
    """The Rice parameter for residuals of a mean length: measured best a quarter bit below it, for Gauss and Laplace."""
    cdef int k = (size + SIZE_ONE / 4) / SIZE_ONE
    return k if k < RICE_K_MAX else RICE_K_MAX


cdef int scale_of_values(const double* value) noexcept nogil:
    """The smallest scale for last, min and max."""
    return scale_of(value[MOST], scale_of(value[LEAST], scale_of(value[LAST], 0)))


cdef int scale_of_sum(double total, int scale) noexcept nogil:
    cdef int64_t i
    if scale != BITS and sum_to_integer(total, scale, 0, &i):
        return scale
    return scale_of(total, 0)


cdef void begin_param(param_t* p, learn_t* l, const double* value) noexcept nogil:
    """The first parameters of an id, from its first row."""
    cdef int f, spread
    cdef int64_t least = 0, most = 0
    memset(p, 0, sizeof(param_t))
    memset(l, 0, sizeof(learn_t))
    p.scale[0] = scale_of(value[COUNT], 0)
    p.scale[1] = scale_of_values(value)
    p.scale[2] = scale_of_sum(value[SUM], p.scale[1])
    p.cross = 1 << LEAST | 1 << MOST | (p.scale[1] == p.scale[2]) << SUM
    to_integer(value[LEAST], p.scale[1], 0, &least)
    to_integer(value[MOST], p.scale[1], 0, &most)
    spread = codec_length(<uint64_t> wrap_sub(most, least))
    for f in range(LAST, M2):
        l.size[f] = l.own[f] = l.crossed[f] = SIZE_ONE * (spread if spread else 3)
    l.size[SUM] += SIZE_ONE
    l.size[M2] = 4 * SIZE_ONE
    l.present = 255
    l.same = 128
    p.expect = CODED


cdef inline int zeros_of(int64_t seen) noexcept nogil:
    return codec_zeros(<uint64_t> seen) if seen else 0


cdef void renew_form(param_t* p, learn_t* l, int g, int size) noexcept nogil:
    cdef int before = p.scale[g], shift_before = p.shift[g], zeros
    if before != BITS:
        if l.odd[g] * 4 > l.rows:
            p.scale[g] = BITS
        elif l.need[g] > before:
            p.scale[g] = l.need[g]
        elif before and not l.is_fine[g] and l.rows >= 4:
            p.scale[g] = before - 1
    p.shift[g] = 0
    if p.scale[g] == before and l.rows >= 4 and size >= 8 * SIZE_ONE:
        zeros = zeros_of(l.seen[g]) + shift_before
        # A shift that is seldom wrong: of many rows, or of many bits.
        p.shift[g] = zeros if 3 <= zeros < 60 else 0
    l.seen[g] = 0
    l.need[g] = l.odd[g] = l.is_fine[g] = 0


cdef void renew_expect(param_t* p, const learn_t* l) noexcept nogil:
    p.expect = CODED if l.present >= 128 else ABSENT
    if l.present >= 128 and l.same >= 154:
        p.expect = SAME


cdef void renew_param(param_t* p, learn_t* l, const double* value) noexcept nogil:
    """New parameters of an id from its row and what was learnt."""
    cdef int f
    if p.scale[1] == BITS and scale_of_values(value) <= SCALE_LIKELY:
        begin_param(p, l, value)
        return
    renew_form(p, l, 0, l.size[COUNT])
    renew_form(p, l, 1, l.size[LAST])
    renew_form(p, l, 2, l.size[SUM])
    if p.scale[1] != p.scale[2] and p.scale[1] != BITS:
        p.scale[2] = scale_of_sum(value[SUM], p.scale[1])
        p.shift[2] = 0
    for f in range(LEAST, M2):
        p.cross &= ~(1 << f)
        p.cross |= (l.crossed[f] < l.own[f]) << f
    if p.scale[1] != p.scale[2] or p.shift[1] != p.shift[2]:
        p.cross &= ~(1 << SUM)
    renew_expect(p, l)
    l.rows = 0


cdef void set_bases(param_t* p, learn_t* l, const double* value) noexcept nogil:
    """The row itself becomes what is foretold; k from what was learnt."""
    cdef row_t row
    cdef int f
    for f in range(FIELDS):
        row.value[f] = value[f]
        p.k[f] = k_of(l.size[f])
        p.base[f] = 0
    row_residuals(p, &row)
    for f in range(FIELDS):
        p.base[f] = row.i[f] if not p.cross >> f & 1 else wrap_sub(row.i[f], crossing(f, row.i))
        l.before[f] = row.i[f]


cdef inline void gather(const double[:, ::1] columns, Py_ssize_t j, double* value) noexcept nogil:
    cdef int f
    for f in range(FIELDS):
        value[f] = columns[COLUMN[f], j]


cdef void renew_all(param_t* params, learn_t* learnt, const double[:, ::1] columns) noexcept nogil:
    cdef Py_ssize_t j
    cdef param_t* p
    cdef learn_t* l
    cdef double value[6]
    cdef bint is_there
    for j in range(columns.shape[1]):
        p = &params[j]
        l = &learnt[j]
        is_there = columns[0, j] > 0
        if not is_there:
            if p.expect == NEVER:
                continue
            l.idle += 1
            if l.idle > KEYS_FORGOTTEN:
                p.expect = NEVER
            else:
                renew_expect(p, l)
            continue
        gather(columns, j, value)
        if p.expect == NEVER:
            begin_param(p, l, value)
        else:
            renew_param(p, l, value)
        set_bases(p, l, value)


# ---- parameters as bytes ----

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

cdef void say_row(bitwriter_t* w, const param_t* p, learn_t* l, row_t* row) noexcept nogil:
    cdef bint same
    row_residuals(p, row)
    same = is_same(row) and p.expect != NEVER
    put_said(w, p.expect, SAME if same else CODED)
    if not same:
        put_row(w, p, row)
    if p.expect != NEVER:
        learn_row(p, l, row)
        learn_mean(&l.present, True)
        learn_mean(&l.same, same)


cdef int put_group(
    bitwriter_t* w, const param_t* params, learn_t* learnt, const double[:, ::1] columns, Py_ssize_t first
) noexcept nogil:
    """The rows of up to 64 ids; nothing is written when there are none."""
    cdef Py_ssize_t j, end = first + GROUP_IDS, n = columns.shape[1]
    cdef int rows = 0
    cdef row_t row
    for j in range(first, end if end < n else n):
        rows += columns[0, j] > 0
    for j in range(first, end):
        if j < n and columns[0, j] > 0:
            gather(columns, j, row.value)
            say_row(w, &params[j - first], &learnt[j - first], &row)
            continue
        if rows:
            put_said(w, params[j - first].expect, ABSENT)
        if params[j - first].expect != NEVER:
            learn_mean(&learnt[j - first].present, False)
    put_end(w)
    return rows


cdef int put_frame(
    uint8_t** at, const param_t* params, learn_t* learnt, const double[:, ::1] columns, Py_ssize_t first
) noexcept nogil:
    """The rows of 512 ids from `first` on; `at` is moved behind them."""
    cdef uint8_t* begin = at[0]
    cdef bitwriter_t w = bitwriter_t(begin + 2 * GROUPS, 0, 0)
    cdef int group, rows = 0
    cdef Py_ssize_t bytes_used
    for group in range(GROUPS):
        rows += put_group(
            &w, params + group * GROUP_IDS, learnt + group * GROUP_IDS, columns, first + group * GROUP_IDS
        )
        bytes_used = w.at - begin
        begin[2 * group] = bytes_used & 0xFF
        begin[2 * group + 1] = <uint8_t> (bytes_used >> 8)
    if rows:
        at[0] = w.at
    return rows


cdef class Writer:
    cdef param_t* params
    cdef learn_t* learnt
    cdef Py_ssize_t room

    def __dealloc__(self):
        free(self.params)
        free(self.learnt)

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
        for frame in range(self.room, room, FRAME_IDS):
            begin_frame(params + frame)
        self.room = room
        return 0

    def renew(self, const double[:, ::1] columns not None):
        self.make_room(columns.shape[1])
        with nogil:
            renew_all(self.params, self.learnt, columns)

    def strangers(self, const double[:, ::1] columns not None):
        cdef Py_ssize_t j, n = columns.shape[1], found = 0
        self.make_room(n)
        with nogil:
            for j in range(n):
                found += columns[0, j] > 0 and self.params[j].expect == NEVER
        return found

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
        self.make_room(n)
        if out.shape[0] < room_for(n) or entries.shape[0] < self.room // FRAME_IDS or entries.shape[1] != 4:
            raise ValueError("out or entries are too small")
        with nogil:
            for frame in range((n + FRAME_IDS - 1) // FRAME_IDS):
                begin = at
                first = frame * FRAME_IDS
                rows = put_frame(&at, self.params + first, self.learnt + first, columns, first)
                if rows:
                    entries[frames, 0] = <uint32_t> frame
                    entries[frames, 1] = <uint32_t> (begin - &out[0])
                    entries[frames, 2] = <uint32_t> ((at - begin) | rows << 16)
                    entries[frames, 3] = crc32c(0, begin, at - begin)
                    frames += 1
        return frames, at - &out[0]


cdef inline Py_ssize_t room_for(Py_ssize_t n) noexcept nogil:
    return (n + FRAME_IDS) // FRAME_IDS * (FRAME_IDS * ROW_BYTES_MAX + 2 * GROUPS) + PUT_SLACK


def room(Py_ssize_t n):
    return room_for(n)


PACKED_PARAM_BYTES = PARAM_BYTES
