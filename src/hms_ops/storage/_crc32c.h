/* CRC32C (Castagnoli, reflected polynomial 0x82F63B78), RFC 3720 appendix B.4.
 *
 * Two implementations of one function, chosen once by crc32c_prepare():
 *   crc32c_sse42    the crc32 instruction, 8 bytes in 3 cycles; compiled for SSE4.2 whatever the build's baseline is,
 *                   and called only where the CPU says it has it
 *   crc32c_table    slice-by-8: eight tables of 256 entries, filled at run time (8 KiB, cheaper than a source file of them)
 * Both take and give the plain CRC (already inverted), so that crc(ab) == update(update(0, a), b).
 */
#ifndef HMS_OPS_CRC32C_H
#define HMS_OPS_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t (*crc32c_function)(uint32_t crc, const unsigned char *data, size_t length);

static uint32_t crc32c_tables[8][256];

static void crc32c_fill_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
        crc32c_tables[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = crc32c_tables[slice - 1][byte];
            crc32c_tables[slice][byte] = (before >> 8) ^ crc32c_tables[0][before & 0xFF];
        }
    }
}

/* Bytes put together by hand: right on either byte order, and compilers make one load of it. */
static inline uint32_t crc32c_load_le32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc32c_table(uint32_t crc, const unsigned char *data, size_t length) {
    uint32_t state = ~crc;
    for (; length >= 8; data += 8, length -= 8) {
        uint32_t low = state ^ crc32c_load_le32(data), high = crc32c_load_le32(data + 4);
        state = crc32c_tables[7][low & 0xFF] ^ crc32c_tables[6][low >> 8 & 0xFF] ^ crc32c_tables[5][low >> 16 & 0xFF] ^
                crc32c_tables[4][low >> 24] ^ crc32c_tables[3][high & 0xFF] ^ crc32c_tables[2][high >> 8 & 0xFF] ^
                crc32c_tables[1][high >> 16 & 0xFF] ^ crc32c_tables[0][high >> 24];
    }
    for (; length; data++, length--) state = (state >> 8) ^ crc32c_tables[0][(state ^ *data) & 0xFF];
    return ~state;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <nmmintrin.h>

__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const unsigned char *data, size_t length) {
    uint64_t state = ~crc;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        state = _mm_crc32_u64(state, word);
    }
    uint32_t tail = (uint32_t)state;
    for (; length; data++, length--) tail = _mm_crc32_u8(tail, *data);
    return ~tail;
}

static crc32c_function crc32c_fastest(void) {
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42 : crc32c_table;
}
#else
static crc32c_function crc32c_fastest(void) { return crc32c_table; }
#endif

/* Called once, while the module is imported and the GIL is held; read-only afterwards. */
static crc32c_function crc32c_prepare(void) {
    crc32c_fill_tables();
    return crc32c_fastest();
}

#endif
