"""Bytes to samples: three formats on one port, told apart by the first byte.

    {  [                         JSON      (_json)
    0x80–0x9F, 0xDC–0xDF         msgpack   (_msgpack)
    anything else                StatsD    (_statsd)

`decode_datagram` is called by the listener loop, by `Store.ingest` and by nobody else; it runs without the GIL and
without the store's mutex, and its only state is the batch it fills. The caller has put the datagram into a buffer with
HMS_PAD bytes behind it; the byte behind the data is overwritten with a newline, which ends every scan.

Ledger: each datagram is `received` here, and either `accepted` or `rejected` under one reason. A rejected document
takes its samples and bad values back: it counts no value.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from hms_ops._sample cimport *
from hms_ops.collector._emit cimport HMS_PAD, note_reject
from hms_ops.collector._json cimport decode_json
from hms_ops.collector._msgpack cimport decode_msgpack
from hms_ops.collector._statsd cimport decode_statsd


cdef bint batch_start(batch_t* b, size_t capacity, size_t samples_max, size_t text_max, unsigned long long seed, bint signs_are_deltas) noexcept nogil:
    memset(b, 0, sizeof(batch_t))
    b.samples = <sample_t*>malloc(capacity * sizeof(sample_t))
    b.text = <char*>calloc(text_max + TEXT_SPARE + HMS_PAD, 1)
    b.text_max = text_max
    b.capacity = capacity
    b.samples_max = samples_max
    b.seed = seed
    b.gauge_sign_is_delta = signs_are_deltas
    if b.samples == NULL or b.text == NULL:
        batch_free(b)
        return False
    return True


cdef void batch_free(batch_t* b) noexcept nogil:
    free(b.samples)
    free(b.text)
    b.samples = NULL
    b.text = NULL


cdef void batch_clear(batch_t* b) noexcept nogil:
    b.n = 0
    b.text_n = 0
    b.datagram = 0
    b.rejects_n = 0
    b.rejects_first = 0
    memset(&b.tally, 0, sizeof(tally_t))


cdef void reject(batch_t* b, int reason, const char* data, size_t n) noexcept nogil:
    b.tally.rejected[reason] += 1
    note_reject(b, 256 + <uint32_t>reason, data, n)


cdef void rejects_take_back(batch_t* b, uint32_t n) noexcept nogil:
    """Forget all but the first n rejects; what the forgotten ones have overwritten is gone as well."""
    if b.rejects_n > b.rejects_first + BATCH_REJECTS:
        b.rejects_first = b.rejects_n - BATCH_REJECTS
    if b.rejects_first > n:
        b.rejects_first = n
    b.rejects_n = n


cdef void decode_document(const char* data, size_t n, batch_t* b, bint is_json) noexcept nogil:
    """A document counts whole or not at all."""
    cdef tally_t before = b.tally
    cdef size_t samples = b.n, text_n = b.text_n
    cdef uint32_t rejects = b.rejects_n
    cdef int fault
    cdef flush_t flush = b.flush
    b.flush = NULL                              # what is appended cannot be taken back
    fault = decode_json(data, n, b) if is_json else decode_msgpack(data, n, b)
    b.flush = flush
    if fault < 0:
        b.tally.accepted += 1
        return
    b.tally = before
    b.n = samples
    b.text_n = text_n
    rejects_take_back(b, rejects)
    reject(b, fault, data, n)


cdef void decode_datagram(const char* data, size_t n, batch_t* b) noexcept nogil:
    """data[0:n] is readable and writable up to data[n + HMS_PAD - 1]."""
    cdef uint8_t first
    b.tally.received += 1
    if n == 0:
        reject(b, REJECT_EMPTY, data, 0)
        return
    (<char*>data)[n] = c'\n'
    first = <uint8_t>data[0]
    if first == c'{' or first == c'[':
        decode_document(data, n, b, True)
    elif 0x80 <= first <= 0x9F or 0xDC <= first <= 0xDF:
        decode_document(data, n, b, False)
    else:
        decode_statsd(data, n, b)
