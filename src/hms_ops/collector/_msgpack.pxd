from libc.stdint cimport uint8_t

from hms_ops._sample cimport batch_t
from hms_ops.collector._emit cimport tag_t

cdef int decode_msgpack(const char* data, size_t n, batch_t* b) noexcept nogil
cdef uint8_t msgpack_tags(const char* p, size_t n, batch_t* b, tag_t* tags, size_t* tags_n) noexcept nogil
