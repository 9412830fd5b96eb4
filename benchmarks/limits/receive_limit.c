/* receive_limit SERIES CPU: the limit of decode_limit behind a socket. Prints its port, and after each load that has
 * come and gone a line of JSON with what it took: CPU of the whole process, kernel included. Runs until it is killed. */
#include "limit.h"
#include "socket.h"

static void take(limit_t *l, receiver_t *r, int n)
{
    for (int i = 0; i < n; i++) {
        char *p = r->vectors[i].iov_base, *end = p + r->messages[i].msg_len;
        *end = '\n';
        for (const char *q = p; q < end;)
            q = limit_line(l, q);
    }
    limit_flush(l);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: receive_limit SERIES CPU\n", stderr);
        return 2;
    }
    limit_t l = limit_new(atoi(argv[1]), 64);
    static receiver_t r;
    receiver_open(&r, atoi(argv[2]));
    for (;;) {
        double cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int n; (n = receiver_next(&r)) > 0;)
            take(&l, &r, n);
        cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        printf("{\"datagrams\": %ld, \"lines\": %ld, \"cpu_ns\": %.0f, ", r.datagrams, l.lines, cpu * 1e9);
        printf("\"drops\": %u}\n", receiver_restart(&r));
        fflush(stdout);
        l.lines = 0;
    }
}
