# The plain values that flow from a decoder to the store: one sample_t for each value on the wire, in a batch_t.
#
# Decoders write them (no lock, no GIL), `_ring.store_append` reads them. The pointers of a sample point into the
# datagram's buffer or into the batch's text arena; both live until the batch is appended.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # kinds.py has the same numbers
    KIND_UNKNOWN = 0
    KIND_COUNTER = 1
    KIND_GAUGE = 2
    KIND_TIMER = 3
    KIND_HISTOGRAM = 4
    KIND_DISTRIBUTION = 5
    KIND_SET = 6
    KIND_COUNT = 7

    # how the raw key was spelled; part of the key, since the same bytes may mean other tags in another format
    SPELLED_BARE = 0        # a name without tags: its own canonical form
    SPELLED_STATSD = 1      # agency:irs,host:a
    SPELLED_JSON = 2        # {"agency":"irs"}
    SPELLED_MSGPACK = 3     # 81 a6 agency a3 irs
    SPELLED_CANONICAL = 4   # \0 key \1 value, sorted
    SPELLED_METRIC = 5      # a name, standing for the metric and not for a series

    FLAG_DELTA = 1          # a gauge's +n or -n
    FLAG_MEMBER = 2         # the value's bits are the hash of a set's member
    FLAG_WEIGHTED = 4       # `weight` is set; otherwise it is 1 and the field undefined
    FLAG_STAMPED = 8        # `time_ns` is set; otherwise the batch's clock holds and the field is undefined

    TEXT_BYTES = 65536      # of unescaped JSON names in a batch: enough for any datagram
    TEXT_SPARE = 8192       # behind them, for the tags of one sample while its series is looked for

    # why a datagram was rejected whole
    REJECT_EMPTY = 0
    REJECT_TRUNCATED = 1
    REJECT_JSON_SYNTAX = 2
    REJECT_DUPLICATE_KEY = 3
    REJECT_JSON_TRAILING = 4
    REJECT_MSGPACK_SYNTAX = 5
    REJECT_MSGPACK_LENGTH = 6
    REJECT_MSGPACK_TRAILING = 7
    REJECT_NESTING = 8
    REJECT_UTF8 = 9
    REJECT_TOO_LARGE = 10
    REJECT_COUNT = 11

    # why one value was bad
    BAD_NONE = 0
    BAD_SYNTAX = 1
    BAD_NUMBER = 2
    BAD_NAN = 3
    BAD_INFINITE = 4
    BAD_MAGNITUDE = 5
    BAD_KIND = 6
    BAD_KIND_CONFLICT = 7
    BAD_NAME_EMPTY = 8
    BAD_NAME_LONG = 9
    BAD_CONTROL = 10
    BAD_UTF8 = 11
    BAD_TAGS_MANY = 12
    BAD_TAGS_LONG = 13
    BAD_TAG_RESERVED = 14
    BAD_TAG = 15
    BAD_RATE = 16
    BAD_TIME = 17
    BAD_TIME_OLD = 18
    BAD_TIME_AHEAD = 19
    BAD_LATE_FULL = 20
    BAD_MEMBER = 21
    BAD_NAME_MISSING = 22
    BAD_VALUE_MISSING = 23
    BAD_ELEMENT = 24
    BAD_SET_MEMORY = 25
    BAD_NAME_RESERVED = 26
    BAD_ROOM = 27           # not even an __overflow__ series could be made: texts or table are full
    BAD_COUNT = 28

    # what a decoder passed over, on purpose, and counted
    IGNORED_SECTION = 0     # a StatsD section nobody knows
    IGNORED_MEMBER = 1      # a JSON or msgpack member nobody knows
    IGNORED_EVENT = 2       # _e{…}
    IGNORED_CHECK = 3       # _sc|…
    IGNORED_COUNT = 4

ctypedef struct sample_t:
    const char* name        # not terminated
    const char* tags        # as the wire spelled them
    double value            # for a set: the member's 64-bit hash, reinterpreted
    double weight           # 1 / rate, with FLAG_WEIGHTED
    int64_t time_ns         # with FLAG_STAMPED
    uint64_t hash           # of spelling, name and tags, keyed
    uint32_t slot           # filled in by the store
    uint16_t name_len
    uint16_t tags_len
    uint8_t kind            # KIND_UNKNOWN when the message gave none
    uint8_t spelling
    uint8_t flags
    uint8_t bad             # BAD_…: filled in by the store
    uint32_t datagram       # index in the batch, for the source of a reject

ctypedef struct reject_t:
    int64_t time_ns
    uint8_t source[28]      # SOURCE_BYTES: a sockaddr, all zero when there is none
    uint16_t reason         # BAD_…, or 256 + REJECT_…
    uint16_t text_len
    uint32_t input
    char text[128]          # the beginning of what was rejected

cdef enum:
    REJECTS_KEPT = 100      # a power of two is not needed: rejects are rare by design
    SOURCE_BYTES = 28
    BATCH_REJECTS = 100     # kept of one batch, the newest

ctypedef struct tally_t:
    uint64_t received, accepted, values, samples
    uint64_t rejected[11]
    uint64_t bad[28]
    uint64_t ignored[4]

ctypedef void (*flush_t)(void* store, void* batch) noexcept nogil

ctypedef struct batch_t:
    sample_t* samples
    size_t n, capacity
    size_t samples_max              # growth stops here: the document is rejected as too large
    flush_t flush                   # instead of growing, where each line counts by itself; or NULL
    void* store                     # what it appends to
    uint64_t seed
    uint32_t datagram               # index of the datagram being decoded
    uint32_t input                  # which ledger row
    bint gauge_sign_is_delta
    tally_t tally
    char* text                      # arena of unescaped names
    size_t text_n, text_max
    reject_t rejects[100]           # a ring; r.input is the datagram's index until the store takes them over
    uint32_t rejects_n              # ever noted
    uint32_t rejects_first          # the oldest that may be there still
    const uint8_t* sources          # sockaddr of each datagram, SOURCE_BYTES apart; NULL without a socket
