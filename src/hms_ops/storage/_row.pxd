# What a key slab says of an id, and how the fields of a row foretell each other; shared by writer and reader.
#
# The format is slab.py's.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *

# Fields in the order they are coded: later ones are foretold from earlier ones.
cdef enum:
    COUNT = 0
    LAST = 1
    LEAST = 2
    MOST = 3
    SUM = 4
    M2 = 5
    FIELDS = 6
    ALL_FIELDS = 63
    VALUES = 5              # fields with a form
    FRAME_IDS = 512
    GROUP_IDS = 64
    GROUPS = 8
    SMALL_AT = 48           # param_t: k to steady lie behind the bases, without gaps
    SMALL = 14
    NEVER = 0               # what an id is expected to do
    ABSENT = 1
    SAME = 2
    CODED = 3
    FULL = 4                # what it can do besides: as CODED, steady fields too


cdef extern from "storage/_codec.h" nogil:
    const int COLUMN "codec_column"[6]      # of float64[6, n]
    const int GROUP "codec_group"[5]        # of forms: count; last, min and max; sum

# What a key says of an id.
ctypedef struct param_t:
    int64_t base[6]
    uint8_t k[6]
    uint8_t scale[3]
    uint8_t shift[3]
    uint8_t cross           # bit f: field f is foretold from those before it, and base is added to that
    uint8_t steady          # bit f: field f is as foretold unless the row is FULL
    uint8_t expect

cdef inline int64_t wrap_add(int64_t a, int64_t b) noexcept nogil:
    return <int64_t> (<uint64_t> a + <uint64_t> b)


cdef inline int64_t wrap_sub(int64_t a, int64_t b) noexcept nogil:
    return <int64_t> (<uint64_t> a - <uint64_t> b)


cdef inline int64_t crossing(int f, const int64_t* i) noexcept nogil:
    """What the fields before f say of it."""
    if f == LEAST or f == MOST:
        return i[LAST]
    if f == SUM:
        return <int64_t> (<uint64_t> i[COUNT] * (<uint64_t> i[LEAST] + <uint64_t> i[MOST])) >> 1
    return 0


cdef inline int64_t foretold(const param_t* p, int f, const int64_t* i) noexcept nogil:
    if p.cross >> f & 1:
        return wrap_add(p.base[f], crossing(f, i))
    return p.base[f]


cdef inline void begin_frame(param_t* params) noexcept nogil:
    """What is foretold of an id that the key does not know: one sample of up to two decimals."""
    cdef int j
    memset(params, 0, FRAME_IDS * sizeof(param_t))
    for j in range(FRAME_IDS):
        params[j].scale[1] = params[j].scale[2] = 2
        params[j].cross = 1 << LEAST | 1 << MOST | 1 << SUM
        params[j].k[COUNT] = params[j].k[LEAST] = params[j].k[MOST] = params[j].k[SUM] = 2
        params[j].k[LAST] = 12
        params[j].k[M2] = 4
