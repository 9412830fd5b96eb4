# Distinct members of set series: HyperLogLog, sparse first.
#
# A sketch_t is either a sorted list of up to SPARSE_MAX exact 64-bit hashes, or 2^14 registers of one byte (relative
# error 1.04 / sqrt(2^14) = 0.81 %). A series has one open sketch and SLOTS sealed ones per tier; each is allocated when
# it first holds a member. The bytes of all sketches together are bounded (sets_t.bytes_max), beyond it a member is bad.
# Source: Flajolet et al. 2007; the estimator is Ertl's (arXiv:1702.01284), in numpy, in hms_ops/distinct.py.
#
# Written under the store's mutex.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

cdef enum:
    PRECISION = 14
    REGISTERS = 16384
    SPARSE_MAX = 512
    SET_SLOTS = 64

ctypedef struct sketch_t:
    uint32_t n              # hashes, or DENSE
    uint32_t room           # of hashes
    int64_t step            # the step it belongs to
    uint64_t* hashes
    uint8_t* registers

ctypedef struct set_t:
    sketch_t open
    sketch_t sealed[3][64]
    uint32_t slot

ctypedef struct sets_t:
    set_t** by_slot         # capacity pointers, NULL for series that are no sets
    uint32_t* slots         # the slots of all sets
    uint32_t n
    uint64_t bytes
    uint64_t bytes_max


cdef inline void sketch_clear(sets_t* sets, sketch_t* k) noexcept nogil:
    sets.bytes -= k.room * 8 + (REGISTERS if k.registers else 0)
    free(k.hashes)
    free(k.registers)
    memset(k, 0, sizeof(sketch_t))


cdef inline void register_add(uint8_t* registers, uint64_t h) noexcept nogil:
    cdef uint32_t index = <uint32_t>(h >> (64 - PRECISION))
    cdef uint64_t rest = (h << PRECISION) | (1ULL << (PRECISION - 1))
    cdef uint8_t rank = 1
    while not rest >> 63:
        rank += 1
        rest <<= 1
    if registers[index] < rank:
        registers[index] = rank


cdef inline bint sketch_densify(sets_t* sets, sketch_t* k) noexcept nogil:
    cdef uint32_t i
    if sets.bytes + REGISTERS > sets.bytes_max:
        return False
    k.registers = <uint8_t*>calloc(REGISTERS, 1)
    if k.registers == NULL:
        return False
    for i in range(k.n):
        register_add(k.registers, k.hashes[i])
    sets.bytes += REGISTERS
    sets.bytes -= k.room * 8
    free(k.hashes)
    k.hashes = NULL
    k.room = 0
    k.n = 0
    return True


cdef inline bint sketch_room(sets_t* sets, sketch_t* k) noexcept nogil:
    cdef uint32_t room = k.room * 2 if k.room else 4
    cdef void* grown
    if sets.bytes + (room - k.room) * 8 > sets.bytes_max:
        return False
    grown = realloc(k.hashes, room * 8)
    if grown == NULL:
        return False
    sets.bytes += (room - k.room) * 8
    k.hashes = <uint64_t*>grown
    k.room = room
    return True


cdef inline bint sketch_add(sets_t* sets, sketch_t* k, uint64_t h) noexcept nogil:
    """False when the bound on memory is reached."""
    cdef uint32_t low = 0, high = k.n, middle
    if k.registers != NULL:
        register_add(k.registers, h)
        return True
    while low < high:
        middle = (low + high) // 2
        if k.hashes[middle] < h:
            low = middle + 1
        else:
            high = middle
    if low < k.n and k.hashes[low] == h:
        return True
    if k.n == SPARSE_MAX:
        if not sketch_densify(sets, k):
            return False
        register_add(k.registers, h)
        return True
    if k.n == k.room and not sketch_room(sets, k):
        return False
    memmove(k.hashes + low + 1, k.hashes + low, (k.n - low) * 8)
    k.hashes[low] = h
    k.n += 1
    return True


cdef inline bint sketch_merge(sets_t* sets, sketch_t* into, const sketch_t* k) noexcept nogil:
    cdef uint32_t i
    if k.registers == NULL:
        for i in range(k.n):
            if not sketch_add(sets, into, k.hashes[i]):
                return False
        return True
    if into.registers == NULL and not sketch_densify(sets, into):
        return False
    for i in range(<uint32_t>REGISTERS):
        if into.registers[i] < k.registers[i]:
            into.registers[i] = k.registers[i]
    return True


cdef inline set_t* set_of(sets_t* sets, uint32_t slot) noexcept nogil:
    """The set of a series, allocated when it is first asked for; NULL beyond the bound."""
    cdef set_t* s = sets.by_slot[slot]
    if s != NULL or sets.bytes + sizeof(set_t) > sets.bytes_max:
        return s
    s = <set_t*>calloc(1, sizeof(set_t))
    if s == NULL:
        return NULL
    s.slot = slot
    sets.bytes += sizeof(set_t)
    sets.by_slot[slot] = s
    sets.slots[sets.n] = slot
    sets.n += 1
    return s


cdef inline void set_free(sets_t* sets, uint32_t slot) noexcept nogil:
    cdef set_t* s = sets.by_slot[slot]
    cdef uint32_t i
    cdef int tier
    if s == NULL:
        return
    sketch_clear(sets, &s.open)
    for tier in range(3):
        for i in range(<uint32_t>SET_SLOTS):
            sketch_clear(sets, &s.sealed[tier][i])
    for i in range(sets.n):
        if sets.slots[i] == slot:
            sets.n -= 1
            sets.slots[i] = sets.slots[sets.n]
            break
    free(s)
    sets.bytes -= sizeof(set_t)
    sets.by_slot[slot] = NULL
