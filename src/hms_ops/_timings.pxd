# Percentiles of timing series in the store: the ring into sketches, and sketches out.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from hms_ops._sample cimport KIND_DISTRIBUTION, KIND_TIMER
from hms_ops._sketch cimport hist_t
from hms_ops._store cimport KIND_PROVISIONAL, cell_t, store_t

# Records copied from shelves, to be read without the mutex.
ctypedef struct copy_t:
    uint8_t* data
    size_t n
    size_t room

# Sketches on their way to Python.
ctypedef struct taken_t:
    uint8_t* data
    size_t n
    size_t room
    uint32_t* slots
    int64_t* ends               # of each in data
    size_t count
    size_t count_room


cdef inline bint is_timing(uint8_t kind) noexcept nogil:
    return KIND_TIMER <= (kind & ~KIND_PROVISIONAL) <= KIND_DISTRIBUTION


cdef inline uint32_t undrained(const cell_t* c) noexcept nogil:
    """Samples of the ring that are in no sketch yet: fewer than it holds."""
    return <uint16_t>(c.head - c.drained)


cdef void timing_ring_full(store_t* st, uint32_t slot, cell_t* c) noexcept nogil
cdef void timing_drain(store_t* st, uint32_t slot, cell_t* c) noexcept nogil
cdef void timing_add(store_t* st, uint32_t slot, int64_t second, double value, double weight) noexcept nogil
cdef void timing_add_many(store_t* st, uint32_t slot, int64_t second, const double* values, size_t n) noexcept nogil
cdef void timing_free(store_t* st, uint32_t slot) noexcept nogil
cdef void store_roll_timings(store_t* st, int tier, int64_t step) noexcept nogil
cdef void store_late_timings(store_t* st, const uint32_t* slots, const int64_t* seconds, const double* values, const double* weights, uint32_t n) noexcept nogil
cdef void store_free_timings(store_t* st) noexcept nogil
cdef bint store_gather(store_t* st, uint32_t slot, int64_t start, int64_t end, hist_t* into, copy_t* copy) noexcept nogil
cdef bint store_take_timings(store_t* st, int tier, int64_t step, taken_t* taken) noexcept nogil
