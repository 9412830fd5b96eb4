/* udp_limit CPU: the kernel's share, a bare recvmmsg loop that looks at nothing. Prints its port, and after each load that
 * has come and gone a line of JSON with what it took: CPU of the whole process, kernel included. Runs until killed. */
#include <time.h>

#include "socket.h"

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: udp_limit CPU\n", stderr);
        return 2;
    }
    static receiver_t r;
    receiver_open(&r, atoi(argv[1]));
    for (;;) {
        double cpu = cpu_seconds();
        while (receiver_next(&r) > 0)
            ;
        printf("{\"datagrams\": %ld, \"cpu_ns\": %.0f, ", r.datagrams, (cpu_seconds() - cpu) * 1e9);
        printf("\"drops\": %u}\n", receiver_restart(&r));
        fflush(stdout);
    }
}
