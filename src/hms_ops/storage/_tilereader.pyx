"""Bits of a tile as rows, series by series. The format is tile.py's; functions: `_tilereader.pyi`."""

from libc.stdlib cimport free, malloc

from hms_ops.storage._series cimport *

cdef extern from "storage/_codec.h" nogil:
    uint32_t codec_load32(const uint8_t* p)

# One series, unpacked so far.
ctypedef struct series_t:
    int steps
    int n
    plan_t plan[6]
    uint8_t scale[3]
    uint8_t shift[3]
    int k_run
    int k_gap
    int* at
    int64_t* i[5]
    double* value[6]
    bitreader_t bits


cdef const uint8_t* take_forms(series_t* s, const uint8_t* at, const uint8_t* end) noexcept nogil:
    cdef int g, byte
    for g in range(3):
        if at >= end:
            return NULL
        byte = at[0]
        at += 1
        if g == 2 and byte == AS_VALUES:
            s.scale[2] = s.scale[1]
            s.shift[2] = s.shift[1]
            return at
        s.scale[g] = byte & 15
        s.shift[g] = 0
        if byte & HAS_SHIFT:
            if at >= end:
                return NULL
            s.shift[g] = at[0]
            at += 1
        if byte > 31 or not is_scale(s.scale[g]) or s.shift[g] > SHIFT_MAX:
            return NULL
    return at


cdef bint is_valid(const plan_t* plan, int f) noexcept nogil:
    cdef int kind = plan.predictor & ~CROSSES
    if kind >= KINDS or (f < LEAST and plan.predictor & CROSSES) or plan.predictor & CROSSES == CROSSES:
        return False
    if plan.coder > FIXED:
        return plan.coder <= FIXED + 64 and kind == PLAIN
    return plan.coder <= RICE_K_MAX or plan.coder == CONSTANT


cdef bint take_head(series_t* s, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """All before the bits; False when it cannot be a series."""
    cdef uint64_t u
    cdef int f
    at = take_varint(at, end, &u)
    if at == NULL or u == 0 or u > <uint64_t> s.steps:
        return False
    s.n = <int> u
    if s.n < s.steps:
        if end - at < 2 or at[0] > RICE_K_MAX or at[1] > RICE_K_MAX:
            return False
        s.k_run = at[0]
        s.k_gap = at[1]
        at += 2
    at = take_forms(s, at, end)
    for f in range(FIELDS):
        if at == NULL or end - at < 2:
            return False
        s.plan[f].coder = at[0]
        s.plan[f].predictor = at[1]
        at = take_varint(at + 2, end, &u)
        s.plan[f].base = unzigzag(u)
        if not is_valid(&s.plan[f], f):
            return False
    if at == NULL:
        return False
    s.bits = bitreader_t(at, end - at, 0)
    return True


cdef bint take_runs(series_t* s) noexcept nogil:
    """The step of each row."""
    cdef int n = 0
    cdef uint64_t at = 0, gap, run
    cdef bint is_raw = False
    if s.n == s.steps:
        for n in range(s.n):
            s.at[n] = n
        return True
    while n < s.n:
        gap = take_rice(&s.bits, s.k_gap, &is_raw)
        run = take_rice(&s.bits, s.k_run, &is_raw)
        if is_raw or gap >= STEPS_MAX or run >= STEPS_MAX or s.bits.pos > 8 * s.bits.bytes:
            return False
        at += gap
        run += 1
        if at + run > <uint64_t> s.steps or n + run > <uint64_t> s.n:
            return False
        while run:
            s.at[n] = <int> at
            n += 1
            at += 1
            run -= 1
        at += 1  # a gap has one step more than it says, but for the first
    return True


cdef inline int64_t take_term(series_t* s, const plan_t* plan, past_t* past, bint* is_raw, uint64_t* u) noexcept nogil:
    """The next term; of a raw one what is foretold, and its bits in u."""
    cdef int64_t term = told(past)
    if plan.coder > FIXED:
        term = wrap_add(term, <int64_t> take_wide(&s.bits, plan.coder - FIXED))
    elif plan.coder != CONSTANT:
        u[0] = take_rice(&s.bits, plan.coder, is_raw)
        if not is_raw[0]:
            term = wrap_add(term, unzigzag(u[0]))
    remember(past, term)
    return term


cdef void take_field(series_t* s, int f) noexcept nogil:
    """s.i[f] and s.value[f] of a field but m2."""
    cdef plan_t plan = s.plan[f]
    cdef past_t past = begin_past(&plan)
    cdef int j, scale = s.scale[GROUP[f]], shift = s.shift[GROUP[f]], crosses = plan.predictor & CROSSES
    cdef bint is_raw
    cdef int64_t term
    cdef uint64_t u = 0
    for j in range(s.n):
        is_raw = False
        term = take_term(s, &plan, &past, &is_raw, &u)
        if crosses:
            term = wrap_add(term, crossing(f, crosses, s.i[COUNT], s.i[LAST], s.i[LEAST], s.i[MOST], j))
        s.i[f][j] = term
        s.value[f][j] = codec_of_bits(u) if is_raw else to_double(term, scale, shift)


cdef void take_m2(series_t* s) noexcept nogil:
    cdef plan_t plan = s.plan[M2]
    cdef past_t past = begin_past(&plan)
    cdef int j
    cdef bint is_crossed = plan.predictor & CROSSES, is_raw = False
    cdef int64_t term
    cdef uint64_t u = 0
    for j in range(s.n):
        if s.value[LEAST][j] == s.value[MOST][j]:
            s.value[M2][j] = 0
            continue
        term = take_term(s, &plan, &past, &is_raw, &u)
        if is_crossed:
            term = wrap_add(term, m2_guess(s.value[COUNT][j], s.value[SUM][j], s.value[LEAST][j], s.value[MOST][j]))
        s.value[M2][j] = m2_of(term)


cdef bint take_series(series_t* s, const uint8_t* at, const uint8_t* end) noexcept nogil:
    cdef int f
    if not take_head(s, at, end) or not take_runs(s):
        return False
    for f in range(VALUES):
        take_field(s, f)
        if s.bits.pos > 8 * s.bits.bytes:
            return False
    take_m2(s)
    return (s.bits.pos + 7) >> 3 == s.bits.bytes


cdef series_t* make_series(int steps) noexcept nogil:
    cdef size_t words = steps
    cdef series_t* s = <series_t*> malloc(sizeof(series_t) + (8 * (FIELDS + VALUES) + 4) * words)
    cdef uint8_t* at = <uint8_t*> s + sizeof(series_t)
    cdef int f
    if s == NULL:
        return NULL
    s.steps = steps
    for f in range(FIELDS):
        s.value[f] = <double*> at
        at += 8 * words
    for f in range(VALUES):
        s.i[f] = <int64_t*> at
        at += 8 * words
    s.at = <int*> at
    return s


# What of a tile is wanted, and where it goes.
ctypedef struct wanted_t:
    int first               # steps, the last one excluded
    int last
    int64_t block_start
    int64_t step_seconds
    uint32_t first_id       # of the frame


cdef Py_ssize_t keep(
    const series_t* s, const wanted_t* wanted, uint32_t series_id,
    int64_t[::1] steps, uint32_t[::1] ids, double[:, ::1] columns, Py_ssize_t at,
) noexcept nogil:
    """The new end; -1 when there is no room."""
    cdef int low = 0, high = s.n, j, f
    cdef double* column
    while low < s.n and s.at[low] < wanted.first:
        low += 1
    while high > low and s.at[high - 1] >= wanted.last:
        high -= 1
    if high - low > steps.shape[0] - at:
        return -1
    for j in range(low, high):
        steps[at + j - low] = wanted.block_start + wanted.step_seconds * s.at[j]
        ids[at + j - low] = series_id
    for f in range(FIELDS):
        for j in range(low, high):
            columns[COLUMN[f], at + j - low] = s.value[f][j]
    return at + high - low


cdef Py_ssize_t keep_frame(
    series_t* s, const uint8_t[::1] raw, int mask, const wanted_t* wanted,
    int64_t[::1] steps, uint32_t[::1] ids, double[:, ::1] columns, Py_ssize_t at,
) noexcept nogil:
    cdef Py_ssize_t begin = ENDS_BYTES, end
    cdef int i
    for i in range(FRAME_SERIES):
        end = codec_load32(&raw[4 * i])
        if end < begin or end > raw.shape[0]:
            return -1
        if mask >> i & 1 and end > begin:
            if not take_series(s, &raw[0] + begin, &raw[0] + end):
                return -1
            at = keep(s, wanted, wanted.first_id + i, steps, ids, columns, at)
            if at < 0:
                return -1
        begin = end
    return at if begin == raw.shape[0] else -1


def frame(
    const uint8_t[::1] raw not None, int mask, int all_steps, tuple span not None, int64_t block_start,
    int64_t step_seconds, uint32_t first_id, int64_t[::1] steps not None, uint32_t[::1] ids not None,
    double[:, ::1] columns not None, Py_ssize_t at,
):
    cdef wanted_t wanted = wanted_t(span[0], span[1], block_start, step_seconds, first_id)
    cdef series_t* s
    if steps.shape[0] != ids.shape[0] or columns.shape[0] != FIELDS or columns.shape[1] != ids.shape[0]:
        raise ValueError("steps, ids and columns are not of one length")
    if not 0 < all_steps <= STEPS_MAX or not 0 <= at <= steps.shape[0]:
        raise ValueError(f"{all_steps} steps, rows from {at} on")
    if raw.shape[0] < ENDS_BYTES:
        return -1
    s = make_series(all_steps)
    if s == NULL:
        raise MemoryError
    with nogil:
        at = keep_frame(s, raw, mask, &wanted, steps, ids, columns, at)
        free(s)
    return at
