from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from hms_ops._sample cimport *
from hms_ops._store cimport *

cdef extern from "_native.h" nogil:
    bint hms_equal(const char* a, const char* b, size_t n)

cdef inline key_t* key_at(const intern_t* t, uint32_t key) noexcept nogil:
    return <key_t*>(t.arena + <size_t>key * KEY_UNIT)


cdef inline const char* key_text(const key_t* k) noexcept nogil:
    return <const char*>k + sizeof(key_t)


cdef inline bint key_is(const key_t* k, const char* name, uint16_t name_n, const char* tags, uint16_t tags_n,
                        uint8_t spelling) noexcept nogil:
    if k.name_len != name_n or k.tags_len != tags_n or k.spelling != spelling:
        return False
    return hms_equal(name, key_text(k), name_n) and (tags_n == 0 or hms_equal(tags, key_text(k) + name_n, tags_n))


cdef inline uint32_t intern_find(const intern_t* t, uint64_t hash, const char* name, uint16_t name_n, const char* tags,
                                 uint16_t tags_n, uint8_t spelling) noexcept nogil:
    """The value of a key, or NONE. The texts have HMS_PAD readable bytes behind them."""
    cdef uint64_t i = hash & t.mask
    cdef entry_t* e
    while True:
        e = &t.entries[i]
        if e.key == 0:
            return NONE
        if e.hash == hash and key_is(key_at(t, e.key), name, name_n, tags, tags_n, spelling):
            return e.value
        i = (i + 1) & t.mask


cdef uint32_t store_resolve(store_t* st, sample_t* s, batch_t* b) noexcept nogil
cdef uint32_t metric_find(const store_t* st, const char* name, uint16_t name_n) noexcept nogil
cdef uint32_t metric_make(store_t* st, const char* name, uint16_t name_n, uint8_t kind) noexcept nogil
cdef void metric_set_flag(store_t* st, uint32_t metric, uint8_t flag, bint on) noexcept nogil
cdef bint kind_settle(store_t* st, uint32_t slot, uint8_t kind) noexcept nogil
cdef void clear_columns(store_t* st, uint32_t slot) noexcept nogil
cdef void series_release(store_t* st, uint32_t slot) noexcept nogil
