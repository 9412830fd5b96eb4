from libc.stdint cimport int64_t, uint8_t, uint32_t

from hms_ops._sample cimport batch_t
from hms_ops._store cimport store_t

cdef void store_append(store_t* st, batch_t* b) noexcept nogil
cdef void store_append_part(void* store, void* batch) noexcept nogil
cdef void store_append_parts(store_t* st, batch_t* b) noexcept nogil
cdef void store_append_locked(store_t* st, batch_t* b) noexcept nogil
cdef void store_append_pending(store_t* st, int64_t closing) noexcept nogil
cdef uint8_t store_append_many(store_t* st, uint32_t slot, uint8_t kind, uint32_t input, const double* values, size_t n) noexcept nogil
