/* decode_limit SERIES ROUNDS: 64 MiB of lines from memory, over and over; up to 4,096 series in order, more at random.
 * Prints one line of JSON: the series that were met, and ns of CPU a line of each round but the first, which meets them. */
#include "limit.h"

enum { TEXT_BYTES = 64 << 20 };

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t fill(char *text, uint32_t series)
{
    size_t n = 0;
    for (long line = 0; n < TEXT_BYTES - 100; line++) {
        uint32_t id = (series > 4096 ? random_next() : (uint64_t)line) % series;
        n += sprintf(text + n, "agency%02u.finance.api_ms.%u:%.2f|g\n", id % 17, id, random_next() % 100000 / 100.0);
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: decode_limit SERIES ROUNDS\n", stderr);
        return 2;
    }
    uint32_t series = atoi(argv[1]);
    limit_t l = limit_new(series, series > 100000 ? 16 : 64);
    char *text = calloc(TEXT_BYTES + 64, 1);
    size_t bytes = fill(text, series);
    printf("{\"ns\": [");
    for (int round = 0, rounds = atoi(argv[2]); round <= rounds; round++) {
        long lines = l.lines;
        double begun = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (const char *p = text; p < text + bytes;)
            p = limit_line(&l, p);
        limit_flush(&l);
        if (round)
            printf("%s%.2f", round > 1 ? ", " : "", (clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - begun) / (l.lines - lines) * 1e9);
    }
    printf("], \"series\": %u}\n", l.series);
    return 0;
}
