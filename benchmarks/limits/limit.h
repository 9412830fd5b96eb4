/* What a machine can do at best with `name:value|g` lines: decode, intern and append in passes over batches of 64,
 * with prefetches between them, and without a single check. Our figures are held against it; it is no part of the
 * product, and reads past anything but well-formed lines.
 *
 *   decode   find ':', hash the name, read the number            prefetch the name table's entry
 *            (pass over the batch)                               prefetch the name's text
 *   lookup   compare hash and text                               prefetch the series' aggregate
 *            (pass over the batch)                               prefetch its place in the ring
 *   append   sum, count, min, max, last, ring
 */
#include <emmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 64, TABLE = 1 << 22, ARENA_BYTES = 256 << 20 };

typedef struct { uint64_t hash; uint32_t id, text; uint16_t length; } entry_t;
typedef struct { double sum, min, max, last; uint64_t count; uint32_t head, pad; } aggregate_t;
typedef struct { const char *name; int length; uint32_t id; double value; uint64_t hash; } line_t;

typedef struct {
    entry_t *table;
    char *arena;
    aggregate_t *aggregates;
    double *rings;
    uint32_t series, arena_used, ring_samples;
    line_t batch[BATCH];
    int batched;
    long lines;
} limit_t;

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static limit_t limit_new(uint32_t series_max, uint32_t ring_samples)
{
    limit_t l = { .ring_samples = ring_samples };
    l.table = calloc(TABLE, sizeof *l.table);
    l.arena = malloc(ARENA_BYTES);
    l.aggregates = calloc(series_max, sizeof *l.aggregates);
    l.rings = calloc((size_t)series_max * ring_samples, sizeof *l.rings);
    if (!l.table || !l.arena || !l.aggregates || !l.rings) {
        fputs("no memory\n", stderr);
        exit(1);
    }
    return l;
}

static inline uint64_t word(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_of(const char *p, int n)
{
    uint64_t h = n * 0x9E3779B97F4A7C15ULL, tail = 0;
    if (n < 8) {
        memcpy(&tail, p, n);
        return mix(h ^ tail, 0xe7037ed1a0b428dbULL);
    }
    for (int i = 0; i + 8 < n; i += 8)
        h = mix(h ^ word(p + i), 0xa0761d6478bd642fULL);
    return mix(h ^ word(p + n - 8), 0xe7037ed1a0b428dbULL);
}

static inline uint32_t lookup(limit_t *l, const line_t *line)
{
    for (uint32_t i = line->hash & (TABLE - 1);; i = (i + 1) & (TABLE - 1)) {
        entry_t *e = &l->table[i];
        if (e->hash == line->hash && e->length == line->length
            && !memcmp(l->arena + e->text, line->name, line->length))
            return e->id;
        if (!e->length) {
            memcpy(l->arena + l->arena_used, line->name, line->length);
            *e = (entry_t){ line->hash, l->series++, l->arena_used, line->length };
            l->arena_used += line->length;
            return e->id;
        }
    }
}

static inline void append(limit_t *l, const line_t *line)
{
    aggregate_t *a = &l->aggregates[line->id];
    a->sum += line->value;
    a->count++;
    if (line->value < a->min)
        a->min = line->value;
    if (line->value > a->max)
        a->max = line->value;
    a->last = line->value;
    l->rings[(size_t)line->id * l->ring_samples + (a->head++ & (l->ring_samples - 1))] = line->value;
}

/* The batch goes into the store. */
static inline void limit_flush(limit_t *l)
{
    line_t *b = l->batch;
    int n = l->batched;
    for (int i = 0; i < n; i++)
        __builtin_prefetch(l->arena + l->table[b[i].hash & (TABLE - 1)].text);
    for (int i = 0; i < n; i++) {
        b[i].id = lookup(l, &b[i]);
        __builtin_prefetch(&l->aggregates[b[i].id], 1);
    }
    for (int i = 0; i < n; i++) {
        aggregate_t *a = &l->aggregates[b[i].id];
        __builtin_prefetch(&l->rings[(size_t)b[i].id * l->ring_samples + (a->head & (l->ring_samples - 1))], 1);
    }
    for (int i = 0; i < n; i++)
        append(l, &b[i]);
    l->lines += n;
    l->batched = 0;
}

/* One line at p into the batch; returns where the next begins. A newline ends every line, 16 readable bytes follow. */
static inline const char *limit_line(limit_t *l, const char *p)
{
    static const double tenths[] = { 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9 };
    line_t *line = &l->batch[l->batched++];
    const char *q = p, *point = NULL;
    uint64_t digits = 0;
    int found;
    while (!(found = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)q), _mm_set1_epi8(':')))))
        q += 16;
    q += __builtin_ctz(found);
    line->name = p;
    line->length = q - p;
    line->hash = hash_of(p, line->length);
    __builtin_prefetch(&l->table[line->hash & (TABLE - 1)]);
    for (q++; (unsigned)(*q - '0') < 10; q++)
        digits = digits * 10 + (*q - '0');
    if (*q == '.')
        for (point = ++q; (unsigned)(*q - '0') < 10; q++)
            digits = digits * 10 + (*q - '0');
    line->value = digits * tenths[point ? q - point : 0];
    while (*q != '\n')
        q++;
    if (l->batched == BATCH)
        limit_flush(l);
    return q + 1;
}
