"""Load for a benchmark: datagrams made once, then sent by sendmmsg as fast as a socket takes them, or at a pace.

`load.py` runs one in a process of its own; `benchmarks/` also decode the datagrams from memory. Lines, id < series:

    statsd   agency07.finance.api_ms.41:512.25|g
    tags     service41.api_ms:512.25|g|#agency:a0,host:h3        a hundred metrics; agency and host tell series apart
    json     [{"metric":"agency07.finance.api_ms.41","value":512.25},…]
    msgpack  [{"metric":"agency07.finance.api_ms.41","value":512.25},…]

A datagram has as many lines as fit into `datagram_bytes`, at least one. Ids run from 0 up and start over, or are drawn
by a generator with a fixed seed, so two loads with the same arguments are the same bytes.
Threads: a Load belongs to one thread; `send` lets go of the GIL and touches nothing of Python's.
"""

import socket

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* now)
    int nanosleep(const timespec* pause, timespec* left)
    enum: CLOCK_MONOTONIC

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
    int sendmmsg(int fd, mmsghdr* messages, unsigned int n, int flags)

cdef enum:
    BATCH = 32
    LINE_BYTES_MAX = 256
    DATAGRAM_BYTES_MAX = 65507
    PAUSE_NS = 50_000           # between two looks at the pace; shorter pauses only burn the core

cdef enum Format:
    STATSD
    TAGS
    JSON
    MSGPACK

FORMATS = ("statsd", "tags", "json", "msgpack")


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef inline uint64_t xorshift(uint64_t* state) noexcept nogil:
    """Marsaglia's xorshift64; the state is never 0."""
    cdef uint64_t x = state[0]
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    state[0] = x
    return x


# ---- lines: each writes at p, at most LINE_BYTES_MAX, and returns how many bytes ----

cdef int name_of(char* p, uint32_t id) noexcept nogil:
    return snprintf(p, LINE_BYTES_MAX, b"agency%02u.finance.api_ms.%u", id % 17, id)


cdef int statsd_line(char* p, uint32_t id, double value) noexcept nogil:
    cdef int n = name_of(p, id)
    return n + snprintf(p + n, LINE_BYTES_MAX - n, b":%.2f|g", value)


cdef int tags_line(char* p, uint32_t id, double value) noexcept nogil:
    return snprintf(p, LINE_BYTES_MAX, b"service%02u.api_ms:%.2f|g|#agency:a%u,host:h%u",
                    id % 100, value, id // 100 % 10, id // 1000)


cdef int json_line(char* p, uint32_t id, double value) noexcept nogil:
    cdef int n = snprintf(p, LINE_BYTES_MAX, b'{"metric":"')
    n += name_of(p + n, id)
    return n + snprintf(p + n, LINE_BYTES_MAX - n, b'","value":%.2f}', value)


cdef int msgpack_line(char* p, uint32_t id, double value) noexcept nogil:
    """A map of two: a short string in front of a string of up to 255 bytes, and of a float64."""
    cdef int n, i
    cdef uint64_t bits
    memcpy(p, b"\x82\xa6metric\xd9", 9)
    n = name_of(p + 10, id)
    p[9] = <char>n
    p += 10 + n
    memcpy(p, b"\xa5value\xcb", 7)
    memcpy(&bits, &value, 8)
    for i in range(8):
        p[7 + i] = <char>(bits >> (56 - 8 * i))
    return 10 + n + 15


cdef inline int line_of(Format format, char* p, uint32_t id, double value) noexcept nogil:
    if format == STATSD:
        return statsd_line(p, id, value)
    if format == TAGS:
        return tags_line(p, id, value)
    if format == JSON:
        return json_line(p, id, value)
    return msgpack_line(p, id, value)


cdef class Load:
    """`datagrams` datagrams of `line_format`, ready to be sent.

    line_format: one of FORMATS. series: how many ids, 1 to 2^24. datagram_bytes: 1 to 65,507; a line that is longer by
    itself is sent all the same. in_order: ids from 0 up instead of drawn. ValueError for anything else.
    """

    cdef readonly size_t datagrams
    cdef readonly size_t lines
    cdef Format format
    cdef char* arena
    cdef iovec* vectors
    cdef uint32_t* lines_in

    def __cinit__(self, str line_format, unsigned int series, unsigned int datagram_bytes, size_t datagrams,
                  bint in_order=False):
        if line_format not in FORMATS:
            raise ValueError(f"line_format is {line_format!r}, allowed are {', '.join(FORMATS)}")
        for name, value, high in (("series", series, 1 << 24), ("datagram_bytes", datagram_bytes, DATAGRAM_BYTES_MAX),
                                  ("datagrams", datagrams, 1 << 24)):
            if not 1 <= value <= high:
                raise ValueError(f"{name} is {value}, allowed are 1 to {high}")
        self.format = <Format><int>FORMATS.index(line_format)
        self.datagrams = datagrams
        # Pages that no datagram reaches are never touched.
        self.arena = <char*>malloc(datagrams * (datagram_bytes + <size_t>LINE_BYTES_MAX + 8))
        self.vectors = <iovec*>calloc(datagrams, sizeof(iovec))
        self.lines_in = <uint32_t*>calloc(datagrams, sizeof(uint32_t))
        if self.arena == NULL or self.vectors == NULL or self.lines_in == NULL:
            raise MemoryError(f"no memory for {datagrams} datagrams of {datagram_bytes} bytes")
        with nogil:
            self.fill(series, datagram_bytes, in_order)

    def __dealloc__(self):
        free(self.arena)
        free(self.vectors)
        free(self.lines_in)

    cdef void fill(self, uint32_t series, size_t datagram_bytes, bint in_order) noexcept nogil:
        cdef uint64_t random = 88172645463325252
        cdef uint64_t id = 0
        cdef char* p = self.arena
        cdef size_t i
        for i in range(self.datagrams):
            self.vectors[i].iov_base = p
            p += self.fill_one(p, datagram_bytes, series, in_order, &id, &random, &self.lines_in[i])
            self.vectors[i].iov_len = p - <char*>self.vectors[i].iov_base
            self.lines += self.lines_in[i]

    cdef size_t fill_one(self, char* p, size_t datagram_bytes, uint32_t series, bint in_order, uint64_t* id,
                         uint64_t* random, uint32_t* lines) noexcept nogil:
        """One datagram at p; returns its bytes. What is around the lines: [ , ] of JSON, msgpack's count, newlines."""
        cdef size_t head = 1 if self.format == JSON else 3 if self.format == MSGPACK else 0
        cdef size_t tail = 1 if self.format == JSON else 0
        cdef size_t between = 0 if self.format == MSGPACK else 1
        cdef size_t n = head, gap, length
        cdef uint64_t state, chosen
        while lines[0] < 65535:
            state = random[0]
            chosen = id[0] if in_order else xorshift(&state)
            gap = between if lines[0] else 0
            length = line_of(self.format, p + n + gap, <uint32_t>(chosen % series), (xorshift(&state) % 100000) / 100.0)
            if lines[0] and n + gap + length + tail > datagram_bytes:
                break
            if gap:
                p[n] = c"," if self.format == JSON else c"\n"
            n += gap + length
            lines[0] += 1
            id[0] += 1
            random[0] = state
        if self.format == JSON:
            p[0] = c"["
            p[n] = c"]"
        elif self.format == MSGPACK:
            p[0] = <char>0xdc
            p[1] = <char>(lines[0] >> 8)
            p[2] = <char>lines[0]
        return n + tail

    def __len__(self):
        return self.datagrams

    def __iter__(self):
        return (self[i] for i in range(self.datagrams))

    def __getitem__(self, size_t i):
        """Datagram i as bytes."""
        if i >= self.datagrams:
            raise IndexError(i)
        return (<char*>self.vectors[i].iov_base)[:self.vectors[i].iov_len]

    def send(self, str host, int port, double seconds, double lines_per_s=0.0):
        """Send the datagrams over UDP for `seconds`, over and over; lines_per_s 0 is as fast as the socket takes them.

        Returns (datagrams, lines, seconds it took, calls that failed). OSError when the address can't be connected.
        """
        cdef uint64_t sent[3]       # datagrams, lines, failed
        cdef int64_t took_ns = 0
        cdef int fd
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, port))
            fd = sock.fileno()
            with nogil:
                took_ns = self.send_to(fd, <int64_t>(seconds * 1e9), lines_per_s / 1e9, sent)
        return sent[0], sent[1], took_ns / 1e9, sent[2]

    cdef int64_t send_to(self, int fd, int64_t ns, double lines_per_ns, uint64_t* sent) noexcept nogil:
        cdef mmsghdr messages[BATCH]
        cdef int64_t begun, passed = 0
        cdef size_t at = 0
        cdef int i, n
        cdef timespec pause
        memset(messages, 0, sizeof(messages))
        for i in range(BATCH):
            messages[i].msg_hdr.msg_iovlen = 1
        pause.tv_sec = 0
        pause.tv_nsec = PAUSE_NS
        sent[0] = sent[1] = sent[2] = 0
        begun = now_ns()
        while passed < ns:
            if lines_per_ns > 0 and sent[1] >= lines_per_ns * passed:
                nanosleep(&pause, NULL)
            else:
                n = self.send_batch(fd, messages, at)
                if n <= 0:
                    sent[2] += 1
                for i in range(n):
                    sent[1] += self.lines_in[(at + i) % self.datagrams]
                if n > 0:
                    sent[0] += n
                    at = (at + n) % self.datagrams
            passed = now_ns() - begun
        return passed

    cdef int send_batch(self, int fd, mmsghdr* messages, size_t at) noexcept nogil:
        cdef int i
        for i in range(BATCH):
            messages[i].msg_hdr.msg_iov = &self.vectors[(at + i) % self.datagrams]
        return sendmmsg(fd, messages, BATCH, 0)
