"""The listener loop: datagrams from a socket into the store, in C, without the GIL.

    recvmmsg (64 datagrams, MSG_WAITFORONE) ─► decode_datagram each ─► store_append, once per APPEND_SAMPLES

Fed by the kernel; its only writer is the store. One Loop has one socket, one thread (a daemon Python thread that sits
inside `run` from start to stop) and one row of the ledger. Buffers are allocated once: BATCH datagrams of up to
`datagram_bytes`, laid out BUFFER_STAGGER apart from a power of two, since 64 buffers at a stride of 64 KiB would all
share the same few cache sets.

A datagram longer than `datagram_bytes` arrives truncated, is recognised by MSG_TRUNC and rejected whole. Sockets carry
a receive timeout (STOP_POLL), so that a stop is seen even where `shutdown` must not be used (an inherited socket
outlives the process).

Bookkeeping: `busy` is a histogram of the time between two receives, in powers of two of a ns: what a sender's burst
had to be buffered for. Errors of recvmmsg other than a timeout end the loop; `error` then holds the errno.
"""

import numpy as np

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hms_ops._append cimport store_append
from hms_ops._ring cimport Store
from hms_ops._sample cimport *
from hms_ops._store cimport hms_monotonic_ns
from hms_ops.collector._decode cimport batch_clear, batch_free, batch_start, decode_datagram
from hms_ops.collector._emit cimport HMS_PAD, note_reject

cdef extern from "_native.h" nogil:
    int hms_log2(uint64_t x)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        void* msg_name
        uint32_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr* messages, unsigned int n, int flags, void* timeout)
    enum: MSG_WAITFORONE
    enum: MSG_DONTWAIT
    enum: MSG_TRUNC

cdef enum:
    BATCH = 64
    BUFFER_STAGGER = 2112       # 33 cache lines
    APPEND_SAMPLES = 512        # decoded samples that go to the store in one hold of its mutex
    DATAGRAM_VALUES = 33000     # the most a datagram of 65,507 bytes can hold, packed
    BUSY_BINS = 40


cdef class Loop:
    """One socket's receive loop.

    fd: a bound datagram socket that stays open as long as the loop; input: its row in the ledger.
    datagram_bytes: longest datagram taken, 1 to 65,507.
    """

    cdef Store store
    cdef int fd
    cdef volatile bint stopping
    cdef readonly int error
    cdef uint64_t busy_bins[40]
    cdef batch_t batch
    cdef char* buffers
    cdef mmsghdr messages[64]
    cdef iovec vectors[64]
    cdef uint8_t sources[64][28]
    cdef size_t datagram_bytes

    def __cinit__(self, Store store not None, int fd, int input, size_t datagram_bytes=65_507):
        cdef size_t stride = 65_536 + BUFFER_STAGGER
        cdef int i
        if not 1 <= datagram_bytes <= 65_507:
            raise ValueError(f"datagram_bytes is {datagram_bytes}, allowed are 1 to 65507")
        self.store = store
        self.fd = fd
        self.datagram_bytes = datagram_bytes
        self.buffers = <char*>calloc(BATCH, stride)
        if self.buffers == NULL or not batch_start(&self.batch, APPEND_SAMPLES + DATAGRAM_VALUES,
                                                   APPEND_SAMPLES + DATAGRAM_VALUES, TEXT_BYTES, store.st.keys.seed,
                                                   store.signs_are_deltas):
            raise MemoryError("no memory for a listener's buffers")
        self.batch.input = input
        self.batch.sources = &self.sources[0][0]
        for i in range(BATCH):
            self.vectors[i].iov_base = self.buffers + i * stride
            self.vectors[i].iov_len = datagram_bytes
            self.messages[i].msg_hdr.msg_iov = &self.vectors[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.messages[i].msg_hdr.msg_name = &self.sources[i][0]

    def __dealloc__(self):
        batch_free(&self.batch)
        free(self.buffers)

    def run(self):
        """Receive until `stop`, then take what is queued already. Called once, from a thread of its own."""
        with nogil:
            self.loop()

    def stop(self):
        """Let `run` return once the queue is empty; at the latest after STOP_POLL, sooner after a shutdown."""
        self.stopping = True

    @property
    def busy(self):
        """uint64[40]: how often the time between two receives was in [2^i, 2^(i+1)) ns."""
        return np.array([self.busy_bins[i] for i in range(BUSY_BINS)], np.uint64)

    cdef void loop(self) noexcept nogil:
        cdef int n = BATCH, code
        cdef int64_t received_ns
        while True:
            self.prepare(n)
            n = recvmmsg(self.fd, self.messages, BATCH, MSG_DONTWAIT if self.stopping else MSG_WAITFORONE, NULL)
            if n < 0:
                code = errno
                if self.stopping:
                    return
                if code != EAGAIN and code != EINTR:
                    self.error = code
                    return
                n = 0
                continue
            if self.store.st.dead or (self.stopping and self.is_wakeup(n)):
                return
            received_ns = hms_monotonic_ns()
            self.take(n)
            self.note_busy(hms_monotonic_ns() - received_ns)

    cdef inline void prepare(self, int used) noexcept nogil:
        # The kernel has overwritten the lengths of the sources of the datagrams it wrote.
        cdef int i
        for i in range(used):
            self.messages[i].msg_hdr.msg_namelen = SOURCE_BYTES

    cdef inline bint is_wakeup(self, int n) noexcept nogil:
        """What a shutdown makes of a blocked receive: one message without bytes and without a source."""
        return n == 0 or (n == 1 and self.messages[0].msg_len == 0 and self.messages[0].msg_hdr.msg_namelen == 0)

    cdef inline void note_busy(self, int64_t ns) noexcept nogil:
        self.busy_bins[min(hms_log2(ns | 1), BUSY_BINS - 1)] += 1

    cdef void take(self, int n) noexcept nogil:
        """Decode the n datagrams that came, never more: the rest of the buffers is stale."""
        cdef batch_t* b = &self.batch
        cdef int i
        for i in range(n):
            if b.text_n and b.text_n + self.messages[i].msg_len + HMS_PAD > TEXT_BYTES:
                self.append()
            b.datagram = i
            if self.messages[i].msg_hdr.msg_flags & MSG_TRUNC:
                self.reject_truncated(i)
            else:
                decode_datagram(<char*>self.vectors[i].iov_base, self.messages[i].msg_len, b)
            if b.n >= APPEND_SAMPLES:
                self.append()
        self.append()

    cdef void reject_truncated(self, int i) noexcept nogil:
        self.batch.tally.received += 1
        self.batch.tally.rejected[REJECT_TRUNCATED] += 1
        note_reject(&self.batch, 256 + REJECT_TRUNCATED, <char*>self.vectors[i].iov_base, self.datagram_bytes)

    cdef void append(self) noexcept nogil:
        store_append(&self.store.st, &self.batch)
        batch_clear(&self.batch)
