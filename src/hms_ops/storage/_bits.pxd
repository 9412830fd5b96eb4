# Bits in a row, lowest first, and the Rice code with an escape; what slabs and tiles are written in.
#
#   bit i of a stream is bit i % 8 of byte i // 8; numbers go lowest bit first.
#   rice(u, k):   u >> k zeros, a one, the k lowest bits of u           when u >> k < QUOTIENT
#                 QUOTIENT zeros, n in 6 bits, the n bits of u          n = 1 to 63, the length of u
#                 QUOTIENT zeros, 0 in 6 bits, 64 bits                  raw: the bits of a double, not of u
#
# A reader may be driven by hostile bytes: beyond its end it reads zeros, and the caller looks at `pos` afterwards.
# A writer trusts its caller to leave PUT_SLACK bytes behind the last bit.

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "storage/_codec.h" nogil:
    uint64_t codec_load64(const uint8_t* p)
    void codec_store64(uint8_t* p, uint64_t x)
    int codec_zeros(uint64_t x)
    int codec_length(uint64_t x)

cdef enum:
    QUOTIENT = 12
    RICE_K_MAX = 60
    PUT_SLACK = 8

ctypedef struct bitwriter_t:
    uint8_t* at             # the byte that the lowest pending bit goes to
    uint64_t pending        # fewer than 8 bits between calls
    int n

ctypedef struct bitreader_t:
    const uint8_t* data
    uint64_t bytes
    uint64_t pos            # in bits


cdef inline void put(bitwriter_t* w, uint64_t bits, int n) noexcept nogil:
    """n <= 56; bits < 2**n."""
    w.pending |= bits << w.n
    w.n += n
    codec_store64(w.at, w.pending)
    w.at += w.n >> 3
    w.pending >>= w.n & ~7
    w.n &= 7


cdef inline void put_wide(bitwriter_t* w, uint64_t bits, int n) noexcept nogil:
    """n <= 64."""
    if n > 32:
        put(w, bits & 0xFFFFFFFFULL, 32)
        bits >>= 32
        n -= 32
    put(w, bits, n)


cdef inline void put_end(bitwriter_t* w) noexcept nogil:
    """Fill up the last byte with zeros."""
    if w.n:
        w.at[0] = <uint8_t> w.pending
        w.at += 1
    w.pending = 0
    w.n = 0


cdef inline void put_rice(bitwriter_t* w, uint64_t u, int k) noexcept nogil:
    cdef uint64_t quotient = u >> k
    cdef int n
    if quotient < QUOTIENT:
        if k <= 40:
            put(w, (((u & ((1ULL << k) - 1)) << 1) | 1) << quotient, <int> quotient + 1 + k)
        else:
            put(w, 1ULL << quotient, <int> quotient + 1)
            put_wide(w, u & ((1ULL << k) - 1), k)
        return
    n = codec_length(u)
    put(w, (<uint64_t> n) << QUOTIENT, QUOTIENT + 6)
    put_wide(w, u, n)


cdef inline void put_raw(bitwriter_t* w, uint64_t bits) noexcept nogil:
    put(w, 0, QUOTIENT + 6)
    put_wide(w, bits, 64)


cdef inline uint64_t peek_slowly(bitreader_t* r, uint64_t byte) noexcept nogil:
    cdef uint64_t word = 0
    cdef int i
    for i in range(8):
        if byte + i < r.bytes:
            word |= (<uint64_t> r.data[byte + i]) << (8 * i)
    return word


cdef inline uint64_t peek(bitreader_t* r) noexcept nogil:
    """The next 57 bits or more; zeros beyond the end."""
    cdef uint64_t byte = r.pos >> 3
    if byte + 8 <= r.bytes:
        return codec_load64(r.data + byte) >> (r.pos & 7)
    return peek_slowly(r, byte) >> (r.pos & 7)


cdef inline uint64_t take_bits(bitreader_t* r, int n) noexcept nogil:
    """n <= 56."""
    cdef uint64_t bits = peek(r) & ((1ULL << n) - 1)
    r.pos += n
    return bits


cdef inline uint64_t take_wide(bitreader_t* r, int n) noexcept nogil:
    """n <= 64."""
    cdef uint64_t low
    if n <= 32:
        return take_bits(r, n)
    low = take_bits(r, 32)
    return low | (take_bits(r, n - 32) << 32)


cdef inline uint64_t take_escaped(bitreader_t* r, bint* is_raw) noexcept nogil:
    cdef int n
    r.pos += QUOTIENT
    n = <int> take_bits(r, 6)
    if n == 0:
        is_raw[0] = True
        return take_wide(r, 64)
    return take_wide(r, n)


cdef inline uint64_t take_rice(bitreader_t* r, int k, bint* is_raw) noexcept nogil:
    """k <= RICE_K_MAX. u, or the bits of a double and is_raw set (it is not cleared)."""
    cdef uint64_t word = peek(r)
    cdef int quotient
    if word & ((1 << QUOTIENT) - 1):
        quotient = codec_zeros(word)
        r.pos += quotient + 1
        if k <= 40:
            r.pos += k
            return ((<uint64_t> quotient) << k) | ((word >> (quotient + 1)) & ((1ULL << k) - 1))
        return ((<uint64_t> quotient) << k) | take_wide(r, k)
    return take_escaped(r, is_raw)


cdef inline uint64_t zigzag(int64_t i) noexcept nogil:
    """0, -1, 1, -2 … as 0, 1, 2, 3 …"""
    return ((<uint64_t> i) << 1) ^ (<uint64_t> (i >> 63))


cdef inline int64_t unzigzag(uint64_t u) noexcept nogil:
    return <int64_t> ((u >> 1) ^ (0 - (u & 1)))


cdef inline uint8_t* put_varint(uint8_t* at, uint64_t u) noexcept nogil:
    """LEB128: 7 bits a byte, lowest first, the top bit set but in the last; up to 10 bytes."""
    while u >= 0x80:
        at[0] = <uint8_t> (u | 0x80)
        at += 1
        u >>= 7
    at[0] = <uint8_t> u
    return at + 1


cdef inline const uint8_t* take_varint(const uint8_t* at, const uint8_t* end, uint64_t* u) noexcept nogil:
    """Behind the number; NULL when it does not end before `end` or in 10 bytes."""
    cdef int shift = 0
    u[0] = 0
    while at < end and shift < 70:
        u[0] |= (<uint64_t> (at[0] & 0x7F)) << shift
        if not at[0] & 0x80:
            return at + 1
        at += 1
        shift += 7
    return NULL
