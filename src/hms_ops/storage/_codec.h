/* What Cython cannot say for the codec: little-endian words at any address, counting bits, rounding to even. */
#ifndef HMS_CODEC_H
#define HMS_CODEC_H

#include <endian.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static inline uint64_t codec_load64(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return le64toh(x); }
static inline void codec_store64(uint8_t *p, uint64_t x) { x = htole64(x); memcpy(p, &x, 8); }
static inline uint32_t codec_load32(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return le32toh(x); }
static inline uint16_t codec_load16(const uint8_t *p) { uint16_t x; memcpy(&x, p, 2); return le16toh(x); }

static inline uint64_t codec_bits_of(double v) { uint64_t x; memcpy(&x, &v, 8); return x; }
static inline double codec_of_bits(uint64_t x) { double v; memcpy(&v, &x, 8); return v; }

/* The number of zero bits below the lowest one; x is not 0. */
static inline int codec_zeros(uint64_t x) { return __builtin_ctzll(x); }
/* The number of bits up to the highest one; 0 has none. */
static inline int codec_length(uint64_t x) { return x ? 64 - __builtin_clzll(x) : 0; }

/* a / b by IEEE 754 in every build: hostile bytes may say that b is 0. */
static inline double codec_quotient(double a, double b) { return a / b; }

/* The nearest integer, halves to even; |x| <= 2^53. llrint is a call unless errno is given up. */
static inline int64_t codec_round(double x) {
#if defined(__SSE2__) && defined(__x86_64__)
    return _mm_cvtsd_si64(_mm_set_sd(x));
#else
    return llrint(x);
#endif
}

/* Integers up to here are exact in a double; how far a sum may be rounded, of itself; and how large the integer of a
 * value with decimals may be, that it is no chance. */
#define CODEC_WHOLE_MAX 9007199254740992.0
#define CODEC_ROUNDING_MAX 1e-12
#define CODEC_DIGITS_MAX 1e13

/* The fields of a row in the order they are coded (count, last, min, max, sum, m2): their columns and their forms. */
static const int codec_column[6] = {0, 5, 3, 4, 1, 2};
static const int codec_group[5] = {0, 1, 1, 1, 2};

/* Powers of ten that are exact, and, of the code of m2, the mantissas of 2^(1/8) to 2^(7/8), with one that no mantissa
 * reaches, and of the middles 2^(1/16), 2^(3/16) … between them, cut off. */
static const double codec_power[16] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
static const uint64_t codec_m2_above[8] = {0x172B83C7D517B, 0x306FE0A31B716, 0x4BFDAD5362A28, 0x6A09E667F3BCD,
                                           0x8ACE5422AA0DC, 0xAE89F995AD3AE, 0xD5818DCFBA488, 0x10000000000000};
static const uint64_t codec_m2_middle[8] = {0x0B5586CF9890F, 0x2387A6E756238, 0x3DEA64C123422, 0x5AB07DD485429,
                                            0x7A11473EB0186, 0x9C49182A3F090, 0xC199BDD85529C, 0xEA4AFA2A490D9};

#endif
