# Sketches: base-2 exponential histograms, as they are while samples are added (hist_t), and the bytes they become.
# What a bucket is, and the bytes: _sketch.pyx.
#
# A hist_t keeps its buckets in pages of PAGE neighbours (at schema 4 an octave is a page), sorted by number, so that a
# sample costs an increment and memory goes only where values are. Buckets go by keys that ascend with the value:
#
#     key = KEY_BIAS + index         of a positive bucket
#     key = 0                        zeros
#     key = −KEY_BIAS − index − 1    of a negative bucket
#
# Halving (schema − 1) makes pairs of neighbours one bucket, index → index >> 1; BIAS is a multiple of PAGE, so halving
# never takes more pages than there were.
#
# A hist_t belongs to whoever made it (the store's under the store's mutex); zeroed memory is an empty one but for the
# schema, which hist_start sets. Its memory counts against its budget, when it has one.

from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SCHEMA_MAX = 4              # base 2^(1/16): estimates within 2.17 %
    SCHEMA_MIN = -4             # all finite doubles fit in BUCKETS_MAX
    BUCKETS_MAX = 320           # in use, of both signs and zero together
    PAGE = 16
    KEY_BIAS = 17408            # above the least index, −17,185 at 2^−1074
    BLOB_BYTES_MAX = 4608       # BUCKETS_MAX × (1 + 3 + 8), and the head

    TAKEN = 0
    MALFORMED = 1
    NO_MEMORY = 2

ctypedef struct budget_t:
    uint64_t bytes
    uint64_t bytes_max

ctypedef struct page_t:
    int32_t number              # key >> 4
    uint32_t reserved0
    double counts[16]

ctypedef struct hist_t:
    page_t* pages               # ascending by number
    budget_t* budget            # NULL: none
    uint32_t n
    uint32_t room
    uint16_t buckets            # not empty
    int8_t schema

# The buckets in use, ascending by key.
ctypedef struct flat_t:
    int32_t n
    int32_t schema
    int32_t keys[321]
    double counts[321]


cdef inline void hist_start(hist_t* h, budget_t* budget) noexcept nogil:
    h.pages = NULL
    h.budget = budget
    h.n = 0
    h.room = 0
    h.buckets = 0
    h.schema = SCHEMA_MAX


cdef inline void hist_clear(hist_t* h) noexcept nogil:
    """Empty, with its memory for the next samples."""
    h.n = 0
    h.buckets = 0
    h.schema = SCHEMA_MAX


cdef void hist_free(hist_t* h) noexcept nogil
cdef bint hist_add(hist_t* h, double value, double count) noexcept nogil
cdef size_t hist_add_many(hist_t* h, const double* values, size_t stride, size_t n) noexcept nogil
cdef bint hist_merge(hist_t* into, const hist_t* h) noexcept nogil
cdef int hist_take(hist_t* h, const uint8_t* blob, size_t n) noexcept nogil
cdef double hist_count(const hist_t* h) noexcept nogil
cdef size_t hist_encode(const hist_t* h, uint8_t* out) noexcept nogil
cdef void hist_quantiles(const hist_t* h, const double* quantiles, size_t n, double* out) noexcept nogil
