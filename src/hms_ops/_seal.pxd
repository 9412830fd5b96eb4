from libc.stdint cimport int64_t, uint32_t

from hms_ops._store cimport store_t

cdef void store_seal(store_t* st, int64_t closed) noexcept nogil
cdef void store_reanchor(store_t* st, int64_t offset_ns) noexcept nogil
cdef void store_clear_ahead(store_t* st, int64_t second) noexcept nogil
cdef void store_roll_sets(store_t* st, int tier, int64_t step) noexcept nogil
cdef uint32_t store_merge_late(store_t* st, uint32_t* slots, int64_t* seconds, double* values, double* weights) noexcept nogil
cdef void store_drop_late(store_t* st) noexcept nogil
cdef uint32_t store_release_idle(store_t* st, uint32_t first, uint32_t n, int64_t before_second) noexcept nogil
cdef void store_forget(store_t* st, uint32_t slot) noexcept nogil
