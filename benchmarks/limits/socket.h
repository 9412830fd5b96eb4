/* A UDP socket on a free port of 127.0.0.1 with a 64 MiB buffer, and a recvmmsg that knows when a load is over. */
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MESSAGES = 64, DATAGRAM_BYTES = 9216, BUFFER_BYTES = 64 << 20, MEMINFO_DROPS = 8 };

typedef struct {
    int fd;
    long datagrams; /* of this load */
    unsigned drops; /* before this load */
    char *buffers;
    struct iovec vectors[MESSAGES];
    struct mmsghdr messages[MESSAGES];
} receiver_t;

/* Pins this process to `cpu` (-1: nowhere) and prints the port. */
static void receiver_open(receiver_t *r, int cpu)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    struct timeval timeout = { 0, 200000 };
    int bytes = BUFFER_BYTES;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu < 0 ? 0 : cpu, &cpus);
    if (cpu >= 0 && sched_setaffinity(0, sizeof cpus, &cpus))
        perror("sched_setaffinity");
    r->fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (setsockopt(r->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    if (bind(r->fd, (struct sockaddr *)&address, length) || getsockname(r->fd, (struct sockaddr *)&address, &length)) {
        perror("bind");
        exit(1);
    }
    r->datagrams = r->drops = 0;
    r->buffers = calloc(MESSAGES, DATAGRAM_BYTES);
    memset(r->messages, 0, sizeof r->messages);
    for (int i = 0; i < MESSAGES; i++) {
        /* The last 64 bytes stay free for what a decoder reads past the end. */
        r->vectors[i] = (struct iovec){ r->buffers + (size_t)i * DATAGRAM_BYTES, DATAGRAM_BYTES - 64 };
        r->messages[i].msg_hdr.msg_iov = &r->vectors[i];
        r->messages[i].msg_hdr.msg_iovlen = 1;
    }
    printf("{\"port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* Datagrams the kernel has dropped since the socket was opened. */
static unsigned receiver_drops(const receiver_t *r)
{
    unsigned memory[9] = { 0 };
    socklen_t length = sizeof memory;
    getsockopt(r->fd, SOL_SOCKET, SO_MEMINFO, memory, &length);
    return memory[MEMINFO_DROPS];
}

/* The datagrams that came, 1 to MESSAGES; 0 when the load, once begun, has been silent for 0.2 s. */
static int receiver_next(receiver_t *r)
{
    for (;;) {
        int n = recvmmsg(r->fd, r->messages, MESSAGES, MSG_WAITFORONE, NULL);
        if (n > 0) {
            r->datagrams += n;
            return n;
        }
        if (r->datagrams)
            return 0;
    }
}

/* Ends a load: the datagrams that the kernel dropped of it. The next one may come. */
static unsigned receiver_restart(receiver_t *r)
{
    unsigned before = r->drops;
    r->drops = receiver_drops(r);
    r->datagrams = 0;
    return r->drops - before;
}
