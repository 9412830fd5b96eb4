"""msgpack to samples: one map, or an array of maps, with the members of the JSON form.

    92 82 a6 metric ae finance.api_ms a5 value cb 406e000000000000 82 …
    ^  ^  ^
    |  |  string of 6 bytes
    |  map of 2
    array of 2

The same judgement as for JSON: a document that can't be read is rejected whole, a readable element that makes no sense
is one bad value, unknown members are passed over and counted. A header that promises more than the datagram can hold
(each element takes a byte at least) is refused before anything is read. `time` may be a number or the timestamp
extension (type -1). Source: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from hms_ops._sample cimport *
from hms_ops.collector._emit cimport *

cdef extern from "_native.h" nogil:
    uint64_t hms_big64(const char* p)

cdef enum:
    DEPTH_MAX = 16
    OK = -1

    # what a header announces
    IS_NIL = 0
    IS_BOOL = 1
    IS_NUMBER = 2
    IS_STRING = 3
    IS_BINARY = 4
    IS_ARRAY = 5
    IS_MAP = 6
    IS_EXTENSION = 7

ctypedef struct token_t:
    const char* body        # of strings, binaries and extensions
    double number
    int64_t integer
    size_t n                # bytes of the body, or elements, or pairs
    uint8_t type
    int8_t extension
    bint is_integer         # `integer` holds it exactly; otherwise only `number` does

ctypedef struct pack_t:
    const char* p
    const char* end
    batch_t* b
    int fault


cdef inline bint fail(pack_t* k, int reason) noexcept nogil:
    if k.fault == OK:
        k.fault = reason
    return False


cdef inline bint need(pack_t* k, size_t n) noexcept nogil:
    if hms_unlikely(<size_t>(k.end - k.p) < n):
        return fail(k, REJECT_MSGPACK_LENGTH)
    return True


cdef inline uint64_t read_big(const char* p, size_t n) noexcept nogil:
    """An unsigned big-endian integer of n bytes, 1 to 8; the buffer is padded, so that 8 can be loaded."""
    return hms_big64(p) >> (64 - 8 * n)


cdef inline bint read_length(pack_t* k, size_t width, size_t* n) noexcept nogil:
    if not need(k, width):
        return False
    n[0] = <size_t>read_big(k.p, width)
    k.p += width
    return True


cdef inline bint take_body(pack_t* k, token_t* t, uint8_t type) noexcept nogil:
    t.type = type
    t.body = k.p
    if not need(k, t.n):
        return False
    k.p += t.n
    return True


cdef inline bint take_integer(token_t* t, int64_t value) noexcept nogil:
    t.type = IS_NUMBER
    t.integer = value
    t.is_integer = True
    t.number = <double>value
    return True


cdef inline bint take_count(pack_t* k, token_t* t, uint8_t type) noexcept nogil:
    """Elements or pairs: what is promised must fit into what is left."""
    t.type = type
    return need(k, t.n if type == IS_ARRAY else 2 * t.n)


cdef bint read_float(pack_t* k, token_t* t, bint wide) noexcept nogil:
    cdef uint64_t bits
    cdef uint32_t bits32
    cdef float single
    if not need(k, 8 if wide else 4):
        return False
    t.type = IS_NUMBER
    if wide:
        bits = read_big(k.p, 8)
        memcpy(&t.number, &bits, 8)
        k.p += 8
        return True
    bits32 = <uint32_t>read_big(k.p, 4)
    memcpy(&single, &bits32, 4)
    t.number = single
    k.p += 4
    return True


cdef bint read_integer(pack_t* k, token_t* t, uint8_t c) noexcept nogil:
    """0xCC to 0xCF unsigned, 0xD0 to 0xD3 signed, of 1, 2, 4, 8 bytes."""
    cdef size_t width = <size_t>1 << (c & 3)
    cdef uint64_t x
    cdef int shift = <int>(64 - 8 * width)
    if not need(k, width):
        return False
    x = read_big(k.p, width)
    k.p += width
    if c >= 0xD0:
        return take_integer(t, <int64_t>(x << shift) >> shift)
    take_integer(t, <int64_t>x)
    if x >> 63:
        t.is_integer = False
        t.number = <double>x
    return True


cdef bint read_extension(pack_t* k, token_t* t) noexcept nogil:
    if not need(k, 1):
        return False
    t.extension = <int8_t>k.p[0]
    k.p += 1
    return take_body(k, t, IS_EXTENSION)


cdef bint read_long(pack_t* k, token_t* t, uint8_t c) noexcept nogil:
    """Headers 0xC0 to 0xDF."""
    if c == 0xC0:
        t.type = IS_NIL
        return True
    if c == 0xC2 or c == 0xC3:
        t.type = IS_BOOL
        t.integer = c == 0xC3
        return True
    if c == 0xCA or c == 0xCB:
        return read_float(k, t, c == 0xCB)
    if 0xCC <= c <= 0xD3:
        return read_integer(k, t, c)
    if 0xD9 <= c <= 0xDB:
        return read_length(k, <size_t>1 << (c - 0xD9), &t.n) and take_body(k, t, IS_STRING)
    if 0xC4 <= c <= 0xC6:
        return read_length(k, <size_t>1 << (c - 0xC4), &t.n) and take_body(k, t, IS_BINARY)
    if c == 0xDC or c == 0xDD:
        return read_length(k, 2 if c == 0xDC else 4, &t.n) and take_count(k, t, IS_ARRAY)
    if c == 0xDE or c == 0xDF:
        return read_length(k, 2 if c == 0xDE else 4, &t.n) and take_count(k, t, IS_MAP)
    if 0xD4 <= c <= 0xD8:
        t.n = <size_t>1 << (c - 0xD4)
        return read_extension(k, t)
    if 0xC7 <= c <= 0xC9:
        return read_length(k, <size_t>1 << (c - 0xC7), &t.n) and read_extension(k, t)
    return fail(k, REJECT_MSGPACK_SYNTAX)       # 0xC1 is never used


cdef inline bint read_token(pack_t* k, token_t* t) noexcept nogil:
    """One header, with its body where it has one; containers' contents follow."""
    cdef uint8_t c
    if not need(k, 1):
        return False
    c = <uint8_t>k.p[0]
    k.p += 1
    t.n = 0
    t.is_integer = False
    if c < 0x80:
        return take_integer(t, c)
    if c >= 0xE0:
        return take_integer(t, <int8_t>c)
    if c >= 0xC0:
        return read_long(k, t, c)
    if c >= 0xA0:
        t.n = c & 0x1F
        return take_body(k, t, IS_STRING)
    t.n = c & 0x0F
    return take_count(k, t, IS_ARRAY if c >= 0x90 else IS_MAP)


cdef bint skip_contents(pack_t* k, const token_t* t, int depth) noexcept nogil:
    """Pass over what a container holds; nothing for other tokens."""
    cdef token_t inner
    cdef size_t i, n
    if t.type != IS_ARRAY and t.type != IS_MAP:
        return True
    if depth >= DEPTH_MAX:
        return fail(k, REJECT_NESTING)
    n = t.n if t.type == IS_ARRAY else 2 * t.n
    for i in range(n):
        if not read_token(k, &inner) or not skip_contents(k, &inner, depth + 1):
            return False
    return True


# ---- an element's members ----

cdef void judge_name(element_t* e, const token_t* t) noexcept nogil:
    if t.type != IS_STRING:
        e.bad = BAD_NAME_MISSING
        return
    e.name = t.body
    e.name_n = t.n


cdef void judge_value(element_t* e, const token_t* t) noexcept nogil:
    if t.type == IS_STRING:
        e.value_type = VALUE_TEXT
        e.text = t.body
        e.text_n = t.n
        return
    if t.type != IS_NUMBER:
        e.bad = BAD_NUMBER
        return
    e.value_type = VALUE_NUMBER
    e.value = t.number
    if t.number != t.number:
        e.bad = BAD_NAN
    elif t.number - t.number != 0:
        e.bad = BAD_INFINITE
    elif not (-MAGNITUDE_MAX <= t.number <= MAGNITUDE_MAX):
        e.bad = BAD_MAGNITUDE


cdef void judge_kind(element_t* e, const token_t* t) noexcept nogil:
    e.kind = kind_of_name(t.body, t.n) if t.type == IS_STRING else <uint8_t>KIND_UNKNOWN
    if e.kind == KIND_UNKNOWN:
        e.bad = BAD_KIND


cdef double timestamp_seconds(const token_t* t) noexcept nogil:
    """The timestamp extension: 32, 64 or 96 bits; 1e300 when it is another extension."""
    cdef uint64_t x
    if t.extension != -1:
        return 1e300
    if t.n == 4:
        return <double>read_big(t.body, 4)
    if t.n == 8:
        x = read_big(t.body, 8)
        return <double>(x & 0x3FFFFFFFFULL) + <double>(x >> 34) * 1e-9
    if t.n == 12:
        return <double><int64_t>read_big(t.body + 4, 8) + <double>read_big(t.body, 4) * 1e-9
    return 1e300


cdef void judge_time(element_t* e, const token_t* t) noexcept nogil:
    cdef double seconds = 1e300
    if t.type == IS_NUMBER:
        seconds = t.number
    elif t.type == IS_EXTENSION:
        seconds = timestamp_seconds(t)
    if -1e11 < seconds < 1e11:
        e.time = seconds
        e.is_stamped = True
    else:
        e.bad = BAD_TIME


cdef void judge_rate(element_t* e, const token_t* t) noexcept nogil:
    if t.type != IS_NUMBER or check_rate(t.number, &e.weight):
        e.bad = BAD_RATE


cdef bint read_tags(pack_t* k, element_t* e, const token_t* t, const char* start, int depth) noexcept nogil:
    """The map's own bytes are the raw tags; the store reads them once, when the spelling is new."""
    if t.type != IS_MAP:
        e.bad = BAD_TAG
        return skip_contents(k, t, depth)
    if not skip_contents(k, t, depth):
        return False
    if t.n:
        e.tags = start
        e.tags_n = k.p - start
        e.spelling = SPELLED_MSGPACK
    return True


cdef bint read_member(pack_t* k, element_t* e, int member, int depth) noexcept nogil:
    cdef token_t t
    cdef const char* start = k.p
    if not read_token(k, &t):
        return False
    if t.type == IS_NIL and member != MEMBER_VALUE and member != MEMBER_NAME:
        return True
    if member == MEMBER_TAGS:
        return read_tags(k, e, &t, start, depth)
    if member == MEMBER_VALUE:
        judge_value(e, &t)
    elif member == MEMBER_NAME:
        judge_name(e, &t)
    elif member == MEMBER_KIND:
        judge_kind(e, &t)
    elif member == MEMBER_TIME:
        judge_time(e, &t)
    else:
        judge_rate(e, &t)
    return skip_contents(k, &t, depth)


cdef inline size_t short_string(const pack_t* k) noexcept nogil:
    """1 + the bytes of a string of up to 31 that p stands on and that is all there; 0 for anything else."""
    cdef size_t n
    if k.p >= k.end or (<uint8_t>k.p[0] & 0xE0) != 0xA0:
        return 0
    n = 1 + (<uint8_t>k.p[0] & 0x1F)
    return n if <size_t>(k.end - k.p) >= n else 0


cdef inline bint read_plain(pack_t* k, element_t* e, int member) noexcept nogil:
    """What clients send: a float64 of ordinary size for a value, a short string for a name. False: nothing was read."""
    cdef uint64_t bits
    cdef double number
    cdef size_t n
    if member == MEMBER_VALUE and k.end - k.p >= 9 and <uint8_t>k.p[0] == 0xCB:
        bits = hms_big64(k.p + 1)
        memcpy(&number, &bits, 8)
        if not (-MAGNITUDE_MAX <= number <= MAGNITUDE_MAX):
            return False
        e.value = number
        e.value_type = VALUE_NUMBER
        k.p += 9
        return True
    if member == MEMBER_NAME:
        n = short_string(k)
        e.name = k.p + 1
        e.name_n = n - 1
        k.p += n
        return n != 0
    return False


cdef bint read_pair(pack_t* k, element_t* e, int depth) noexcept nogil:
    cdef token_t key
    cdef int member
    cdef size_t n = short_string(k)
    if hms_likely(n != 0):
        key.type = IS_STRING
        key.body = k.p + 1
        key.n = n - 1
        k.p += n
    elif not read_token(k, &key):
        return False
    member = member_of_key(key.body, key.n) if key.type == IS_STRING else 0
    if member:
        if e.seen & member:
            return fail(k, REJECT_DUPLICATE_KEY)
        e.seen |= member
        return read_plain(k, e, member) or read_member(k, e, member, depth)
    k.b.tally.ignored[IGNORED_MEMBER] += 1
    if not skip_contents(k, &key, depth) or not read_token(k, &key):
        return False
    return skip_contents(k, &key, depth)


cdef void spell_member(element_t* e, char* digits) noexcept nogil:
    """A set's member that is a number is spelled in decimal: an integer is the same member in all formats."""
    if e.kind != KIND_SET or e.value_type != VALUE_NUMBER:
        return
    e.text = digits
    e.text_n = hms_spell_double(digits, e.value)


cdef bint read_element(pack_t* k, size_t pairs, const char* start, int depth) noexcept nogil:
    cdef element_t e
    cdef char digits[128]
    cdef size_t i
    element_clear(&e)
    for i in range(pairs):
        if not read_pair(k, &e, depth):
            return False
    spell_member(&e, digits)
    return element_emit(k.b, &e, start, k.p - start) or fail(k, REJECT_TOO_LARGE)


cdef bint read_document(pack_t* k) noexcept nogil:
    cdef token_t top, t
    cdef const char* start = k.p
    cdef size_t i
    if not read_token(k, &top):
        return False
    if top.type == IS_MAP:
        return read_element(k, top.n, start, 1)
    for i in range(top.n):
        start = k.p
        if not read_token(k, &t):
            return False
        if t.type == IS_MAP:
            if not read_element(k, t.n, start, 2):
                return False
        else:
            if not skip_contents(k, &t, 1):
                return False
            note_bad(k.b, BAD_ELEMENT, start, k.p - start)
    return True


cdef int decode_msgpack(const char* data, size_t n, batch_t* b) noexcept nogil:
    """OK, or why the document is rejected. The first byte has been seen to open a map or an array."""
    cdef pack_t k
    k.p = data
    k.end = data + n
    k.b = b
    k.fault = OK
    if read_document(&k) and k.p < k.end:
        fail(&k, REJECT_MSGPACK_TRAILING)
    return k.fault


cdef uint8_t tag_value(token_t* t, batch_t* b) noexcept nogil:
    """Make a scalar's text its body, as JSON spells it: numbers in decimal, in the batch's text arena."""
    if t.type == IS_STRING:
        return BAD_NONE
    if t.type == IS_BOOL:
        t.body = b"true" if t.integer else b"false"
        t.n = 4 if t.integer else 5
        return BAD_NONE
    if t.type != IS_NUMBER or b.text_n + 32 > b.text_max:
        return BAD_TAG
    t.body = b.text + b.text_n
    if t.is_integer:
        t.n = <size_t>snprintf(b.text + b.text_n, 32, b"%lld", <long long>t.integer)
    else:
        t.n = hms_spell_double(b.text + b.text_n, t.number)
    b.text_n += t.n
    return BAD_NONE


cdef uint8_t msgpack_tags(const char* p, size_t n, batch_t* b, tag_t* tags, size_t* tags_n) noexcept nogil:
    """The tags of a map that decode_msgpack has found well-formed."""
    cdef pack_t k
    cdef token_t top, key, value
    cdef size_t i
    cdef uint8_t bad
    k.p = p
    k.end = p + n
    k.b = b
    k.fault = OK
    if not read_token(&k, &top):
        return BAD_TAG
    for i in range(top.n):
        if not read_token(&k, &key) or key.type != IS_STRING or not read_token(&k, &value):
            return BAD_TAG
        bad = tag_value(&value, b)
        if not bad:
            bad = tag_note(tags, tags_n, key.body, key.n, value.body, value.n)
        if bad:
            return bad
    return BAD_NONE
