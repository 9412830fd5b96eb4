from hms_ops._sample cimport batch_t

cdef bint batch_start(batch_t* b, size_t capacity, size_t samples_max, size_t text_max, unsigned long long seed, bint signs_are_deltas) noexcept nogil
cdef void batch_free(batch_t* b) noexcept nogil
cdef void batch_clear(batch_t* b) noexcept nogil
cdef void decode_datagram(const char* data, size_t n, batch_t* b) noexcept nogil
