/* What Cython cannot say: prefetch, SSE2 with a scalar twin, the 128-bit multiply, and what libc has.
 *
 * Every pointer handed to a function that loads 8 or 16 bytes at once must have HMS_PAD readable bytes behind
 * its data: callers copy strangers' bytes into padded buffers first, nothing scans a caller's memory in place.
 */
#ifndef HMS_NATIVE_H
#define HMS_NATIVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <locale.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__SSE2__) && !defined(HMS_NO_SSE2)
#include <emmintrin.h>
#define HMS_SSE2 1
#endif

#define HMS_PAD 64

static inline void hms_prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }
static inline void hms_prefetch_write(const void *p) { __builtin_prefetch(p, 1, 3); }
#define hms_likely(x) __builtin_expect(!!(x), 1)
#define hms_unlikely(x) __builtin_expect(!!(x), 0)

static inline uint64_t hms_big64(const char *p) { uint64_t x; memcpy(&x, p, 8); return __builtin_bswap64(x); }
static inline uint64_t hms_load64(const char *p) { uint64_t x; memcpy(&x, p, 8); return x; }

/* ---- scanning: the first of two bytes; the caller has put one of them behind the data ---- */
static inline const char *hms_find2_scalar(const char *p, char a, char b) {
    while (*p != a && *p != b) p++;
    return p;
}
#ifdef HMS_SSE2
static inline const char *hms_find2(const char *p, char a, char b) {
    const __m128i va = _mm_set1_epi8(a), vb = _mm_set1_epi8(b);
    for (;;) {
        const __m128i x = _mm_loadu_si128((const __m128i *)p);
        const int hit = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, va), _mm_cmpeq_epi8(x, vb)));
        if (hit) return p + __builtin_ctz(hit);
        p += 16;
    }
}
#else
static inline const char *hms_find2(const char *p, char a, char b) { return hms_find2_scalar(p, a, b); }
#endif

/* The first byte of a JSON string that is not plain: a quote, a backslash, a control byte. The caller has put a
 * control byte behind the data. *high collects whether any byte before it was 0x80 or above (UTF-8 to be checked). */
static inline const char *hms_json_plain(const char *p, int *high) {
#ifdef HMS_SSE2
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);
    for (;;) {
        const __m128i x = _mm_loadu_si128((const __m128i *)p);
        /* unsigned x < 0x20  <=>  min(x, 0x1f) == x, written as max(x, 0x20) != x */
        const __m128i below = _mm_andnot_si128(_mm_cmpeq_epi8(_mm_max_epu8(x, space), x), _mm_set1_epi8(-1));
        const int hit = _mm_movemask_epi8(_mm_or_si128(below, _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, back))));
        const int top = _mm_movemask_epi8(x);
        if (hit) {
            const int n = __builtin_ctz(hit);
            *high |= top & ((1 << n) - 1);
            return p + n;
        }
        *high |= top;
        p += 16;
    }
#else
    for (;; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == '"' || c == '\\') return p;
        *high |= c & 0x80;
    }
#endif
}

static inline int hms_log2(uint64_t x) { return 63 - __builtin_clzll(x); }    /* x > 0 */

/* ---- hashing: multiply-and-fold over 8-byte words, keyed with a random secret per process (names come from
 * strangers). The construction is wyhash's (Wang Yi, public domain), reduced to what short keys need. ---- */
static inline uint64_t hms_mum(uint64_t a, uint64_t b) {
    const unsigned __int128 r = (unsigned __int128)a * b;
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}
static inline uint64_t hms_hash(const char *p, size_t n, uint64_t seed) {
    uint64_t h = seed ^ (n * 0x9E3779B97F4A7C15ULL);
    if (n >= 16) {
        /* The last 16 bytes overlap what the loop took: no tail to branch on. */
        for (const char *last = p + n - 16; p < last; p += 16)
            h = hms_mum(hms_load64(p) ^ 0xa0761d6478bd642fULL ^ seed, hms_load64(p + 8) ^ h);
        p += n & 15 ? (ptrdiff_t)(n & 15) - 16 : 0;
        return hms_mum(hms_load64(p) ^ 0xe7037ed1a0b428dbULL ^ seed, hms_load64(p + 8) ^ h);
    }
    const uint64_t low = n ? hms_load64(p) & (n >= 8 ? ~0ULL : ~0ULL >> (64 - 8 * n)) : 0;
    const uint64_t high = n > 8 ? hms_load64(p + n - 8) : 0;
    return hms_mum(low ^ 0xe7037ed1a0b428dbULL ^ seed, high ^ h);
}
static inline uint64_t hms_mix(uint64_t a, uint64_t b) { return hms_mum(a ^ 0x8ebc6af09c88c6e3ULL, b ^ 0x589965cc75374cc3ULL); }

#ifdef HMS_SSE2
static inline unsigned hms_same16(const char *a, const char *b) {
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)a), _mm_loadu_si128((const __m128i *)b)));
}
#endif
/* Of a set's member: every bit must look random, for a sketch reads them all (one multiply leaves the high ones alike).
 * The finish is splitmix64's (Steele, Lea, Flood 2014). */
static inline uint64_t hms_hash_member(const char *p, size_t n, uint64_t seed) {
    uint64_t h = hms_hash(p, n, seed);
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return h ^ (h >> 31);
}

/* n bytes are equal; behind both at least 15 bytes are readable. */
static inline int hms_equal(const char *a, const char *b, size_t n) {
#ifdef HMS_SSE2
    if (n < 16) return (hms_same16(a, b) | ~0u << n) == ~0u;
    const size_t last = n - 16;
    for (size_t i = 0; i < last; i += 16)
        if (hms_same16(a + i, b + i) != 0xFFFFu) return 0;
    return hms_same16(a + last, b + last) == 0xFFFFu;
#else
    return memcmp(a, b, n) == 0;
#endif
}

/* ---- numbers ---- */
#define HMS_MAGNITUDE_MAX 1e150     /* so that sums and squares stay finite */
#define HMS_RATE_MIN 1e-12          /* a weight of 1e12; below, counts would lose their last digits */
static const double hms_power_of_ten[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static locale_t hms_c_locale; /* one for each module that includes this, made when it is loaded */
__attribute__((constructor)) static void hms_locale_start(void) { hms_c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }
/* Correctly rounded, whatever the process's locale is; the grammar was checked before. */
static inline double hms_strtod(const char *p) { return strtod_l(p, NULL, hms_c_locale); }
/* The other way round: the length of %.17g, whatever the process's locale is; room of 32 is enough. */
static inline size_t hms_spell_double(char *p, double x) {
    const locale_t before = uselocale(hms_c_locale);
    const int n = snprintf(p, 32, "%.17g", x);
    uselocale(before);
    return (size_t)n;
}

/* ---- time ---- */
static inline int64_t hms_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
