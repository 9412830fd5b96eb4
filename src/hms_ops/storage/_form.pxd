# Forms: how a double becomes a small integer and comes back bit for bit; and the code of m2.
#
# A form is (scale, shift). The integer of a double v is, before its `shift` lowest bits, all zero, are left out:
#   scale 0 … 12    v * 10**scale, when that is an integer i of up to 2**53 and i / 10**scale is v again, bit for bit
#   scale 15, BITS  v's magnitude, its 63 lower bits; negated when its sign is set; -2**63 for -0.0: integers in the
#                   order of the doubles, whose high bits follow each other and whose low bits are noise
# A sum may be rounded to its scale, where that changes it by less than 1e-12 of itself.
#
# m2 (the sum of squared distances from the mean) is kept as the code of its bucket, eight to each power of two, as is
# the middle of the bucket: 4.5 % off at most, 2.2 % in a standard deviation. The middle falls into its own bucket.
#   code 0                          0, what is negative, and below 2**-1022
#   1 + 8 * (exponent - 1) + sub    exponent 1 … 2046 as in the double, sub: how many of 2**(1/8) … 2**(7/8) are not
#                                   above its mantissa; its value is 2**(exponent - 1023 + (sub + 0.5) / 8)
#   M2_INFINITE, M2_NAN             infinity, no number

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "storage/_codec.h" nogil:
    int64_t codec_round(double x)
    uint64_t codec_bits_of(double v)
    double codec_of_bits(uint64_t x)
    double codec_quotient(double a, double b)
    const double codec_power[16]
    const double WHOLE_MAX "CODEC_WHOLE_MAX"
    const double ROUNDING_MAX "CODEC_ROUNDING_MAX"
    const double DIGITS_MAX "CODEC_DIGITS_MAX"
    const uint64_t codec_m2_above[8]
    const uint64_t codec_m2_middle[8]

cdef enum:
    SCALE_MAX = 12
    BITS = 15
    SHIFT_MAX = 63
    M2_INFINITE = 16369
    M2_NAN = 16370


cdef inline bint is_scale(int scale) noexcept nogil:
    return scale <= SCALE_MAX or scale == BITS


cdef inline int64_t ordered(double v) noexcept nogil:
    cdef uint64_t bits = codec_bits_of(v)
    cdef int64_t magnitude = <int64_t> (bits & 0x7FFFFFFFFFFFFFFFULL)
    if not bits >> 63:
        return magnitude
    return -magnitude if magnitude else <int64_t> 0x8000000000000000ULL


cdef inline double unordered(int64_t i) noexcept nogil:
    if i >= 0:
        return codec_of_bits(<uint64_t> i)
    return codec_of_bits(0x8000000000000000ULL | (0 - <uint64_t> i))


cdef inline bint to_whole(double v, int scale, int64_t* i) noexcept nogil:
    """v as an integer at a decimal scale; False when it is none."""
    cdef double scaled = v * codec_power[scale]
    if not fabs(scaled) <= WHOLE_MAX:
        return False
    i[0] = codec_round(scaled)
    return codec_bits_of(<double> i[0] / codec_power[scale]) == codec_bits_of(v)


cdef inline bint to_integer(double v, int scale, int shift, int64_t* i) noexcept nogil:
    """The integer of v in the form; False when it has none there."""
    if scale == BITS:
        i[0] = ordered(v)
    elif not to_whole(v, scale, i):
        return False
    if <uint64_t> i[0] & ((1ULL << shift) - 1):
        return False
    i[0] >>= shift
    return True


cdef inline bint sum_to_integer(double v, int scale, int shift, int64_t* i) noexcept nogil:
    """As to_integer, of v or of what it is rounded to."""
    cdef double scaled, rounded
    if scale == BITS:
        return to_integer(v, scale, shift, i)
    scaled = v * codec_power[scale]
    if not fabs(scaled) <= WHOLE_MAX:
        return False
    i[0] = codec_round(scaled)
    rounded = <double> i[0] / codec_power[scale]
    if not fabs(rounded - v) < ROUNDING_MAX * fabs(v) and codec_bits_of(rounded) != codec_bits_of(v):
        return False
    if <uint64_t> i[0] & ((1ULL << shift) - 1):
        return False
    i[0] >>= shift
    return True


cdef inline double to_double(int64_t i, int scale, int shift) noexcept nogil:
    """What the integer stands for, in any form that is_scale and SHIFT_MAX allow."""
    i = <int64_t> (<uint64_t> i << shift)
    if scale == BITS:
        return unordered(i)
    return <double> i / codec_power[scale]


cdef inline int scale_of(double v, int least) noexcept nogil:
    """The smallest decimal scale from `least` on that v has an integer at; BITS when none says something: one double of
    nine has 15 digits by chance, one of a thousand 13."""
    cdef int64_t i
    cdef int scale
    for scale in range(least, SCALE_MAX + 1):
        if scale and not fabs(v * codec_power[scale]) < DIGITS_MAX:
            return BITS
        if to_whole(v, scale, &i):
            return scale
    return BITS


cdef inline int m2_code(double m2) noexcept nogil:
    cdef uint64_t bits, mantissa
    cdef int sub
    if not m2 >= 2.2250738585072014e-308:
        return M2_NAN if m2 != m2 else 0
    bits = codec_bits_of(m2)
    if bits >= 0x7FF0000000000000ULL:
        return M2_INFINITE
    mantissa = bits & 0xFFFFFFFFFFFFFULL
    sub = <int> (mantissa >> 49)  # eighths of the mantissa are never above those of its logarithm, and at most one below
    sub += mantissa >= codec_m2_above[sub]
    return 1 + 8 * (<int> (bits >> 52) - 1) + sub


cdef inline double m2_of(int64_t code) noexcept nogil:
    """0 and infinity for codes out of range."""
    if code <= 0:
        return 0.0
    if code >= M2_INFINITE:
        return codec_of_bits(0x7FF0000000000000ULL if code != M2_NAN else 0x7FF8000000000000ULL)
    code -= 1
    return codec_of_bits((<uint64_t> ((code >> 3) + 1) << 52) | codec_m2_middle[code & 7])


cdef inline int m2_guess(double count, double total, double least, double most) noexcept nogil:
    """The code of count * (max - mean) * (mean - min), what m2 is at most (Bhatia and Davis 2000)."""
    cdef double mean = codec_quotient(total, count)
    return m2_code((most - mean) * (mean - least) * count)
