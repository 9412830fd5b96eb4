from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from hms_ops._sample cimport batch_t
from hms_ops._store cimport goals_t, store_t

cdef class Store:
    cdef store_t st
    cdef batch_t batch                  # of in-process ingest; the GIL guards it
    cdef char scratch[65536 + 64]       # padded copy of what ingest decodes, and of names looked up
    cdef object __weakref__
    cdef readonly object cols, last_value, last_second
    cdef readonly dict blocks
    cdef tuple held                     # the same blocks, for as long as the store lives
    cdef list input_names
    cdef readonly bint signs_are_deltas
    cdef object forward
    cdef uint64_t dropped_after_fork

    cdef void* _map(self, name, size_t size, bint dense) except NULL
    cdef _map_names(self)
    cdef _map_values(self)
    cdef _start_clock(self)
    cdef uint64_t _ingest_small(self, const char* data, size_t n, uint32_t input)
    cdef int _ingest_alone(self, const char* data, size_t n, uint32_t input, batch_t* batch) except -1
    cdef void _drain(self, int64_t closing=*) noexcept
    cdef void _push(self, uint32_t slot, uint8_t kind, uint8_t input, double value) noexcept
    cdef void _drain_full(self) noexcept
    cdef uint32_t _resolve(self, bytes name, int kind, dict tags, int input, uint8_t* bad, bint pin)
    cdef void _count_bad(self, uint32_t input, uint8_t bad) noexcept
    cdef int64_t _find_series(self, str name, dict tags, bint is_forgotten) except -2
    cdef uint32_t _find_metric(self, const char* name, size_t n) noexcept
    cdef void _add_sketches(self, uint32_t slot, long long[::1] tiers, long long[::1] steps, uint8_t* registers,
                            uint64_t* hashes, size_t* n, bint* dense) noexcept
    cdef _flag(self, str name, uint8_t flag, bint on, int kind)
    cdef _map_goals(self, size_t goals)
    cdef uint32_t _goals_of(self, uint32_t metric) noexcept
    cdef bint _set_goals(self, size_t name_n, const goals_t* wanted, int kind) noexcept
    cdef void _drop_goals(self, size_t name_n) noexcept
    cdef _forward(self, name, double value, int kind, tags)
