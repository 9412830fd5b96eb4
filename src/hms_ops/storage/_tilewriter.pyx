"""The rows of a few series as bits, each series by itself. The format is tile.py's; functions: `_tilewriter.pyi`."""

from libc.stdlib cimport free, malloc

from hms_ops.storage._plan cimport *
from hms_ops.storage._series cimport *

cdef enum:
    SERIES_BYTES_MAX = 256  # head of a series at most
    ROW_BYTES_MAX = 72      # of a row at most: presence, and 82 bits for each field

cdef uint8_t* put_forms(const scratch_t* s, uint8_t* at) noexcept nogil:
    cdef int g
    for g in range(3):
        if g == 2 and s.scale[2] == s.scale[1] and s.shift[2] == s.shift[1]:
            at[0] = AS_VALUES
            return at + 1
        at[0] = s.scale[g] | (HAS_SHIFT if s.shift[g] else 0)
        at += 1
        if s.shift[g]:
            at[0] = s.shift[g]
            at += 1
    return at


cdef void run_sizes(const scratch_t* s, int* k_run, int* k_gap) noexcept nogil:
    """Rice's parameters for runs of rows and gaps between them."""
    cdef int j, runs = 1, gap
    for j in range(1, s.n):
        runs += s.at[j] != s.at[j - 1] + 1
    gap = s.at[s.n - 1] + 1 - s.n
    k_run[0] = codec_length(<uint64_t> (s.n // runs)) - 1
    k_gap[0] = codec_length(<uint64_t> (gap // runs))
    k_gap[0] -= k_gap[0] > 0


cdef void put_runs(bitwriter_t* w, const scratch_t* s, int k_run, int k_gap) noexcept nogil:
    cdef int j = 0, run, expected = 0
    while j < s.n:
        run = 1
        while j + run < s.n and s.at[j + run] == s.at[j] + run:
            run += 1
        put_rice(w, s.at[j] - expected, k_gap)
        put_rice(w, run - 1, k_run)
        expected = s.at[j] + run + 1
        j += run


cdef void put_field(bitwriter_t* w, const scratch_t* s, int f, int n) noexcept nogil:
    cdef int j, coder = s.plan[f].coder
    if coder == CONSTANT:
        return
    for j in range(n):
        if coder > FIXED:
            put_wide(w, s.u[f][j], coder - FIXED)
        elif s.is_raw[f][j]:
            put_raw(w, codec_bits_of(s.value[f][j]))
        else:
            put_rice(w, s.u[f][j], coder)


cdef uint8_t* put_series(const scratch_t* s, int steps, uint8_t* at) noexcept nogil:
    cdef int f, k_run = 0, k_gap = 0
    cdef bitwriter_t w
    at = put_varint(at, s.n)
    if s.n < steps:
        run_sizes(s, &k_run, &k_gap)
        at[0] = k_run
        at[1] = k_gap
        at += 2
    at = put_forms(s, at)
    for f in range(FIELDS):
        at[0] = s.plan[f].coder
        at[1] = s.plan[f].predictor
        at = put_varint(at + 2, zigzag(s.plan[f].base))
    w = bitwriter_t(at, 0, 0)
    if s.n < steps:
        put_runs(&w, s, k_run, k_gap)
    for f in range(FIELDS):
        put_field(&w, s, f, s.m if f == M2 else s.n)
    put_end(&w)
    return w.at


cdef scratch_t* make_scratch(int steps) noexcept nogil:
    """One piece of memory for all arrays; NULL when there is none."""
    cdef size_t words = steps
    cdef scratch_t* s = <scratch_t*> malloc(sizeof(scratch_t) + (8 * (3 * FIELDS + 2) + 4 + FIELDS) * words)
    cdef uint8_t* at = <uint8_t*> s + sizeof(scratch_t)
    cdef int f
    if s == NULL:
        return NULL
    for f in range(FIELDS):
        s.value[f] = <double*> at
        s.i[f] = <int64_t*> (at + 8 * words)
        s.u[f] = <uint64_t*> (at + 16 * words)
        at += 24 * words
    s.x = <int64_t*> at
    s.t = <int64_t*> (at + 8 * words)
    s.at = <int*> (at + 16 * words)
    at += 20 * words
    for f in range(FIELDS):
        s.is_raw[f] = at
        at += words
    return s


cdef void gather(scratch_t* s, const double[:, :, ::1] columns, Py_ssize_t series) noexcept nogil:
    cdef int j, f
    s.n = 0
    for j in range(<int> columns.shape[1]):
        if columns[0, j, series] > 0:
            s.at[s.n] = j
            for f in range(FIELDS):
                s.value[f][s.n] = columns[COLUMN[f], j, series]
            s.n += 1


cdef Py_ssize_t put_frame(
    scratch_t* s, const double[:, :, ::1] columns, Py_ssize_t first, uint8_t* out, Py_ssize_t* rows
) noexcept nogil:
    """The bytes written; rows[0] grows by the rows in them."""
    cdef uint8_t* at = out + ENDS_BYTES
    cdef Py_ssize_t i, end
    for i in range(FRAME_SERIES):
        gather(s, columns, first + i)
        if s.n:
            plan_series(s)
            at = put_series(s, <int> columns.shape[1], at)
            rows[0] += s.n
        end = at - out
        out[4 * i] = end & 0xFF
        out[4 * i + 1] = end >> 8 & 0xFF
        out[4 * i + 2] = end >> 16 & 0xFF
        out[4 * i + 3] = end >> 24 & 0xFF
    return at - out


def room(Py_ssize_t steps):
    return ENDS_BYTES + FRAME_SERIES * (SERIES_BYTES_MAX + ROW_BYTES_MAX * steps) + PUT_SLACK


def frame(const double[:, :, ::1] columns not None, Py_ssize_t first, uint8_t[::1] out not None):
    cdef Py_ssize_t used, rows = 0
    cdef scratch_t* s
    cdef bint fits = columns.shape[0] == FIELDS and 0 < columns.shape[1] <= STEPS_MAX
    if not fits or not 0 <= first <= columns.shape[2] - FRAME_SERIES:
        raise ValueError(f"no frame at {first} of float64[{columns.shape[0]}, {columns.shape[1]}, {columns.shape[2]}]")
    if out.shape[0] < room(columns.shape[1]):
        raise ValueError(f"out has {out.shape[0]} bytes of {room(columns.shape[1])}")
    s = make_scratch(<int> columns.shape[1])
    if s == NULL:
        raise MemoryError
    with nogil:
        used = put_frame(s, columns, first, &out[0], &rows)
        free(s)
    return used, rows
