# What all decoders share: numbers, text checks, and the way a value, a bad value or a reject enters the batch.
#
# Fed by: _statsd, _json, _msgpack. All of it runs without the GIL, allocates only when the batch must grow, and
# raises nothing: bad data is a reason in the tally.
#
# Numbers: [sign] digits [. digits] [e [sign] digits], at most what Python's float() takes, and equal to it bit for
# bit: up to 19 digits in an integer; the short exact path of Clinger 1990 (mantissa <= 2^53, power <= 22, so both
# operands are exact and one division or multiplication rounds once); else strtod in the "C" locale.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset

from hms_ops._sample cimport *

cdef extern from "_native.h" nogil:
    enum: HMS_PAD
    const char* hms_find2(const char* p, char a, char b)
    const char* hms_json_plain(const char* p, int* high)
    uint64_t hms_hash(const char* p, size_t n, uint64_t seed)
    uint64_t hms_hash_member(const char* p, size_t n, uint64_t seed)
    uint64_t hms_mix(uint64_t a, uint64_t b)
    double hms_strtod(const char* p)
    size_t hms_spell_double(char* p, double x)      # needs room for 32 bytes
    const double* POWER_OF_TEN "hms_power_of_ten"
    const double MAGNITUDE_MAX "HMS_MAGNITUDE_MAX"
    const double RATE_MIN "HMS_RATE_MIN"
    bint hms_likely(bint x)
    bint hms_unlikely(bint x)

cdef enum:
    NAME_BYTES_MAX = 200
    TAGS_BYTES_MAX = 4096       # of one value's tags as the wire spells them
    REJECT_TEXT = 128


cdef inline void note_reject(batch_t* b, uint16_t reason, const char* text, size_t n) noexcept nogil:
    """Keep the beginning of what was rejected, for the last-100 list; the counters are the caller's."""
    cdef reject_t* r = &b.rejects[b.rejects_n % BATCH_REJECTS]
    b.rejects_n += 1
    r.reason = reason
    r.input = b.datagram
    r.text_len = <uint16_t>(n if n < REJECT_TEXT else REJECT_TEXT)
    memcpy(r.text, text, r.text_len)


cdef inline void note_bad(batch_t* b, uint8_t reason, const char* text, size_t n) noexcept nogil:
    """One value that could not be taken: it counts as a value, and as bad under its reason."""
    b.tally.values += 1
    b.tally.bad[reason] += 1
    note_reject(b, reason, text, n)


cdef inline bint batch_grow(batch_t* b) noexcept nogil:
    cdef size_t capacity = b.capacity * 2
    cdef void* grown
    if b.flush != NULL:
        b.flush(b.store, b)
        return True
    if capacity > b.samples_max:
        capacity = b.samples_max
    if capacity <= b.n:
        return False
    grown = realloc(b.samples, capacity * sizeof(sample_t))
    if grown == NULL:
        return False
    b.samples = <sample_t*>grown
    b.capacity = capacity
    return True


cdef inline sample_t* batch_sample(batch_t* b) noexcept nogil:
    """The next free sample; NULL when the batch may not grow further. The caller fills every field it sets below."""
    cdef sample_t* s
    if hms_unlikely(b.n == b.capacity) and not batch_grow(b):
        return NULL
    s = &b.samples[b.n]
    b.n += 1
    b.tally.values += 1
    return s


cdef inline uint64_t key_hash(const char* name, size_t name_n, const char* tags, size_t tags_n, uint8_t spelling,
                              uint64_t seed) noexcept nogil:
    cdef uint64_t h = hms_hash(name, name_n, seed)
    if spelling == SPELLED_BARE:
        return h
    return hms_mix(h, hms_hash(tags, tags_n, seed) + spelling)


cdef inline bint is_digit(char c) noexcept nogil:
    return <uint8_t>(c - 48) < 10


cdef inline uint8_t not_a_number(const char* p) noexcept nogil:
    """Why there are no digits at p: nan and inf have reasons of their own."""
    cdef char a = p[0] | 0x20, b = 0, c = 0
    if a != c'n' and a != c'i':
        return BAD_NUMBER
    b = p[1] | 0x20
    if b != c'a' and b != c'n':
        return BAD_NUMBER
    c = p[2] | 0x20
    if a == c'n' and b == c'a' and c == c'n':
        return BAD_NAN
    if a == c'i' and b == c'n' and c == c'f':
        return BAD_INFINITE
    return BAD_NUMBER


cdef inline const char* parse_number(const char* p, double* out, uint8_t* bad) noexcept nogil:
    """Parse the longest number at p (a byte that ends numbers stands behind the data) and return what follows it.
    On failure `bad` is set; the returned place is then of no use."""
    cdef const char* start = p
    cdef const char* mark
    cdef uint64_t mantissa = 0
    cdef int digits, exponent = 0, power = 0
    cdef bint negative = p[0] == c'-', power_negative
    cdef double value
    if negative or p[0] == c'+':
        p += 1
    mark = p
    while is_digit(p[0]):
        mantissa = mantissa * 10 + <uint8_t>(p[0] - 48)
        p += 1
    digits = <int>(p - mark)
    if p[0] == c'.':
        p += 1
        mark = p
        while is_digit(p[0]):
            mantissa = mantissa * 10 + <uint8_t>(p[0] - 48)
            p += 1
        exponent = <int>(mark - p)
        digits -= exponent
    if hms_unlikely(digits == 0):
        bad[0] = not_a_number(mark)
        return p
    if hms_unlikely((p[0] | 0x20) == c'e'):
        p += 1
        power_negative = p[0] == c'-'
        if power_negative or p[0] == c'+':
            p += 1
        if not is_digit(p[0]):
            bad[0] = BAD_NUMBER
            return p
        while is_digit(p[0]):
            if power < 100000:
                power = power * 10 + (p[0] - 48)
            p += 1
        exponent += -power if power_negative else power
    if hms_likely(digits <= 19 and mantissa <= (1ULL << 53) and -22 <= exponent <= 22):
        value = <double>mantissa
        if exponent < 0:
            value /= POWER_OF_TEN[-exponent]    # dividing is exact, multiplying by 1e-n is not
        elif exponent > 0:
            value *= POWER_OF_TEN[exponent]
        if negative:
            value = -value
    else:
        value = hms_strtod(start)
    if hms_unlikely(value > MAGNITUDE_MAX or value < -MAGNITUDE_MAX):
        bad[0] = BAD_MAGNITUDE
    out[0] = value
    return p


cdef inline int64_t stamp_ns(double seconds) noexcept nogil:
    """A timestamp in ns, no further than an int64 reaches; the fraction apart, for a double has no ns left beside ten
    digits of seconds."""
    cdef int64_t whole
    if not (-9e9 < seconds < 9e9):
        seconds = 9e9 if seconds > 0 else -9e9
    whole = <int64_t>seconds
    return whole * 1000000000 + <int64_t>((seconds - <double>whole) * 1e9)


cdef inline uint8_t check_rate(double rate, double* weight) noexcept nogil:
    """1/rate, or BAD_RATE outside [RATE_MIN, 1]."""
    if not (RATE_MIN <= rate <= 1.0):
        return BAD_RATE
    weight[0] = 1.0 / rate
    return BAD_NONE


cdef inline bint utf8_is_valid(const char* text, size_t n) noexcept nogil:
    """RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF."""
    cdef const uint8_t* p = <const uint8_t*>text
    cdef const uint8_t* end = p + n
    cdef uint8_t c
    while p < end:
        c = p[0]
        if c < 0x80:
            p += 1
        elif c < 0xC2:
            return False
        elif c < 0xE0:
            if end - p < 2 or (p[1] & 0xC0) != 0x80:
                return False
            p += 2
        elif c < 0xF0:
            if end - p < 3 or (p[1] & 0xC0) != 0x80 or (p[2] & 0xC0) != 0x80:
                return False
            if (c == 0xE0 and p[1] < 0xA0) or (c == 0xED and p[1] > 0x9F):
                return False
            p += 3
        elif c < 0xF5:
            if end - p < 4 or (p[1] & 0xC0) != 0x80 or (p[2] & 0xC0) != 0x80 or (p[3] & 0xC0) != 0x80:
                return False
            if (c == 0xF0 and p[1] < 0x90) or (c == 0xF4 and p[1] > 0x8F):
                return False
            p += 4
        else:
            return False
    return True


cdef inline uint8_t check_text(const char* text, size_t n) noexcept nogil:
    """BAD_CONTROL for C0, DEL and C1 control characters, BAD_UTF8, or BAD_NONE. Done only when a key is new."""
    cdef size_t i
    cdef uint8_t c
    cdef bint high = False
    for i in range(n):
        c = <uint8_t>text[i]
        if c < 0x20 or c == 0x7F:
            return BAD_CONTROL
        high |= c >= 0x80
    if not high:
        return BAD_NONE
    if not utf8_is_valid(text, n):
        return BAD_UTF8
    for i in range(n - 1):
        if <uint8_t>text[i] == 0xC2 and <uint8_t>text[i + 1] < 0xA0:
            return BAD_CONTROL
    return BAD_NONE


cdef inline uint8_t kind_of_name(const char* p, size_t n) noexcept nogil:
    """A kind spelled out or as StatsD's letter; KIND_UNKNOWN when it is neither."""
    cdef char first = p[0] if n else 0
    if n == 1:
        if first == c'c': return KIND_COUNTER
        if first == c'g': return KIND_GAUGE
        if first == c'h': return KIND_HISTOGRAM
        if first == c'd': return KIND_DISTRIBUTION
        if first == c's': return KIND_SET
        return KIND_UNKNOWN
    if text_is(p, n, b"gauge", 5): return KIND_GAUGE
    if text_is(p, n, b"timer", 5) or text_is(p, n, b"ms", 2): return KIND_TIMER
    if text_is(p, n, b"counter", 7): return KIND_COUNTER
    if text_is(p, n, b"histogram", 9): return KIND_HISTOGRAM
    if text_is(p, n, b"distribution", 12): return KIND_DISTRIBUTION
    if text_is(p, n, b"set", 3): return KIND_SET
    return KIND_UNKNOWN


cdef inline bint text_is(const char* p, size_t n, const char* word, size_t word_n) noexcept nogil:
    return n == word_n and memcmp(p, word, word_n) == 0     # inlined where word_n is a constant


# One tag as a format's reader finds it; the text lies in the datagram or in the batch's text arena.
cdef enum:
    TAGS_MAX = 32

ctypedef struct tag_t:
    const char* key
    const char* value
    size_t key_n, value_n


cdef inline uint8_t tag_note(tag_t* tags, size_t* n, const char* key, size_t key_n, const char* value,
                             size_t value_n) noexcept nogil:
    """Add a tag; BAD_TAGS_MANY beyond TAGS_MAX."""
    if n[0] == TAGS_MAX:
        return BAD_TAGS_MANY
    tags[n[0]].key = key
    tags[n[0]].key_n = key_n
    tags[n[0]].value = value
    tags[n[0]].value_n = value_n
    n[0] += 1
    return BAD_NONE


# The members of a JSON or msgpack element, gathered before the value is judged: they come in any order.
cdef enum:
    MEMBER_NAME = 1
    MEMBER_VALUE = 2
    MEMBER_KIND = 4
    MEMBER_TAGS = 8
    MEMBER_TIME = 16
    MEMBER_RATE = 32

    VALUE_NUMBER = 1
    VALUE_TEXT = 2

ctypedef struct element_t:
    const char* name
    const char* tags
    const char* text            # of a value that is a string, or the number's own spelling
    double value, weight, time
    size_t name_n, tags_n, text_n
    uint32_t seen
    uint8_t value_type, kind, spelling, bad
    bint is_stamped


cdef inline void element_clear(element_t* e) noexcept nogil:
    memset(e, 0, sizeof(element_t))
    e.weight = 1.0


cdef inline int member_of_key(const char* p, size_t n) noexcept nogil:
    """MEMBER_… of a key, 0 for one nobody knows."""
    if n == 5 and text_is(p, n, b"value", 5): return MEMBER_VALUE
    if n == 6 and text_is(p, n, b"metric", 6): return MEMBER_NAME
    if n == 4:
        if text_is(p, n, b"name", 4): return MEMBER_NAME
        if text_is(p, n, b"kind", 4): return MEMBER_KIND
        if text_is(p, n, b"tags", 4): return MEMBER_TAGS
        if text_is(p, n, b"time", 4): return MEMBER_TIME
        if text_is(p, n, b"rate", 4): return MEMBER_RATE
    return 0


cdef inline uint8_t element_bad(element_t* e) noexcept nogil:
    if hms_likely(not e.bad and e.seen == (MEMBER_NAME | MEMBER_VALUE) and e.value_type == VALUE_NUMBER
                  and 0 < e.name_n <= NAME_BYTES_MAX):
        return BAD_NONE
    if e.bad: return e.bad
    if not e.seen & MEMBER_NAME: return BAD_NAME_MISSING
    if not e.seen & MEMBER_VALUE: return BAD_VALUE_MISSING
    if e.name_n == 0: return BAD_NAME_EMPTY
    if e.name_n > NAME_BYTES_MAX: return BAD_NAME_LONG
    if e.tags_n > TAGS_BYTES_MAX: return BAD_TAGS_LONG
    if e.value_type == VALUE_TEXT and e.kind != KIND_SET: return BAD_NUMBER
    if e.kind == KIND_SET and e.text_n == 0: return BAD_MEMBER
    if not (-1e11 < e.time < 1e11): return BAD_TIME
    return BAD_NONE


cdef inline bint element_emit(batch_t* b, element_t* e, const char* raw, size_t raw_n) noexcept nogil:
    """Turn the members into a sample, or into a bad value; False when the batch is full."""
    cdef sample_t* s
    cdef uint8_t bad = element_bad(e)
    cdef uint64_t member
    if bad:
        note_bad(b, bad, raw, raw_n)
        return True
    s = batch_sample(b)
    if s == NULL:
        return False
    s.name = e.name
    s.name_len = <uint16_t>e.name_n
    s.tags = e.tags
    s.tags_len = <uint16_t>e.tags_n
    s.spelling = e.spelling if e.tags_n else <uint8_t>SPELLED_BARE
    s.hash = key_hash(s.name, s.name_len, s.tags, s.tags_len, s.spelling, b.seed)
    s.kind = e.kind
    s.flags = (FLAG_WEIGHTED if e.weight != 1.0 else 0) | (FLAG_STAMPED if e.is_stamped else 0)
    s.bad = BAD_NONE
    s.weight = e.weight
    if e.is_stamped:
        s.time_ns = stamp_ns(e.time)
    s.datagram = b.datagram
    s.value = e.value
    if e.kind == KIND_SET:
        member = hms_hash_member(e.text, e.text_n, b.seed)
        memcpy(&s.value, &member, 8)
        s.flags |= FLAG_MEMBER
    return True
