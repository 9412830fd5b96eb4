"""JSON (RFC 8259, strictly) to samples: one object, or an array of such.

    {"metric":"finance.api_ms","value":240,"kind":"timer","tags":{"agency":"irs"},"time":1700000000.5,"rate":0.1}

`name` is an alias of `metric`. One pass, no tree: each object's members are gathered in an element_t and judged at its
closing brace, since they come in any order. The byte behind the data is a newline set by the caller, which no token
accepts, so no read needs a bounds check of its own.

A document that can't be read is rejected whole, values before the fault included: `decode_json` returns the REJECT_…
reason and the caller takes the batch back to where it was. A readable element that makes no sense is one bad value.
Unknown members are checked, passed over and counted. Duplicate keys reject the document: among the known members, the
tags, and the unknown members of which an object may have UNKNOWN_MAX (one with more is refused as too large).
"""

from libc.stdint cimport uint8_t, uint32_t

from libc.string cimport memcmp

from hms_ops._sample cimport *
from hms_ops.collector._emit cimport *

cdef enum:
    DEPTH_MAX = 16
    UNKNOWN_MAX = 64        # unknown members of one object: each is compared with all before it
    OK = -1                 # REJECT_… otherwise

ctypedef struct span_t:
    const char* p
    size_t n

ctypedef struct json_t:
    const char* p
    const char* end
    batch_t* b
    int fault               # OK or REJECT_…


cdef inline bint fail(json_t* j, int reason) noexcept nogil:
    if j.fault == OK:
        j.fault = reason
    return False


cdef inline void skip_blanks(json_t* j) noexcept nogil:
    # The byte behind the data is a newline, so the end is looked at only after a blank.
    if hms_likely(<uint8_t>j.p[0] > c' '):
        return
    while j.p[0] == c' ' or j.p[0] == c'\n' or j.p[0] == c'\t' or j.p[0] == c'\r':
        if j.p >= j.end:
            return
        j.p += 1


cdef inline bint take(json_t* j, char c) noexcept nogil:
    skip_blanks(j)
    if j.p[0] != c:
        return False
    j.p += 1
    return True


# ---- strings ----

cdef inline int hex_digit(char c) noexcept nogil:
    if is_digit(c):
        return c - 48
    c |= 0x20
    return c - 87 if c'a' <= c <= c'f' else -1


cdef int read_hex4(json_t* j) noexcept nogil:
    """Four hex digits as a code unit, -1 when they are not."""
    cdef int i, digit, unit = 0
    for i in range(4):
        digit = hex_digit(j.p[i])
        if digit < 0:
            return -1
        unit = unit * 16 + digit
    j.p += 4
    return unit


cdef int read_code_point(json_t* j) noexcept nogil:
    """Behind \\u: a code point, surrogate pairs joined; -1 for a lone surrogate or bad digits."""
    cdef int low, unit = read_hex4(j)
    if unit < 0xD800 or unit > 0xDFFF:
        return unit
    if unit > 0xDBFF or j.p[0] != c'\\' or j.p[1] != c'u':
        return -1
    j.p += 2
    low = read_hex4(j)
    if low < 0xDC00 or low > 0xDFFF:
        return -1
    return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)


cdef size_t put_utf8(char* out, int c) noexcept nogil:
    if c < 0x80:
        out[0] = <char>c
        return 1
    if c < 0x800:
        out[0] = <char>(0xC0 | (c >> 6))
        out[1] = <char>(0x80 | (c & 0x3F))
        return 2
    if c < 0x10000:
        out[0] = <char>(0xE0 | (c >> 12))
        out[1] = <char>(0x80 | ((c >> 6) & 0x3F))
        out[2] = <char>(0x80 | (c & 0x3F))
        return 3
    out[0] = <char>(0xF0 | (c >> 18))
    out[1] = <char>(0x80 | ((c >> 12) & 0x3F))
    out[2] = <char>(0x80 | ((c >> 6) & 0x3F))
    out[3] = <char>(0x80 | (c & 0x3F))
    return 4


cdef int read_escape(json_t* j) noexcept nogil:
    """p stands behind a backslash; the code point, or -1."""
    cdef char c = j.p[0]
    j.p += 1
    if c == c'"' or c == c'\\' or c == c'/': return c
    if c == c'n': return 10
    if c == c't': return 9
    if c == c'r': return 13
    if c == c'b': return 8
    if c == c'f': return 12
    if c == c'u': return read_code_point(j)
    return -1


cdef bint read_escaped(json_t* j, const char* start, span_t* out) noexcept nogil:
    """A string with escapes, from its first byte on: unescaped into the batch's text arena."""
    cdef batch_t* b = j.b
    cdef char* to = b.text + b.text_n
    cdef char* limit = b.text + b.text_max - 4
    cdef int c
    cdef const char* first = to
    cdef int high = 0
    j.p = start
    while j.p[0] != c'"':
        if to >= limit:
            return fail(j, REJECT_TOO_LARGE)
        if j.p[0] == c'\\':
            j.p += 1
            c = read_escape(j)
            if c < 0:
                return fail(j, REJECT_JSON_SYNTAX)
            to += put_utf8(to, c)
        elif <uint8_t>j.p[0] < 0x20:
            return fail(j, REJECT_JSON_SYNTAX)
        else:
            high |= j.p[0] & 0x80
            to[0] = j.p[0]
            to += 1
            j.p += 1
    j.p += 1
    out.p = first
    out.n = to - first
    b.text_n = to - b.text
    if high and not utf8_is_valid(out.p, out.n):
        return fail(j, REJECT_UTF8)
    return True


cdef inline bint read_string(json_t* j, span_t* out) noexcept nogil:
    """p stands behind the opening quote."""
    cdef int high = 0
    cdef const char* start = j.p
    cdef const char* q = hms_json_plain(start, &high)
    if hms_likely(q[0] == c'"'):
        out.p = start
        out.n = q - start
        j.p = q + 1
        if high and not utf8_is_valid(start, out.n):
            return fail(j, REJECT_UTF8)
        return True
    if q[0] == c'\\':
        return read_escaped(j, start, out)
    return fail(j, REJECT_JSON_SYNTAX)


cdef inline bint read_key(json_t* j, span_t* key) noexcept nogil:
    """A member's key and its colon."""
    if not take(j, c'"'):
        return fail(j, REJECT_JSON_SYNTAX)
    if not read_string(j, key):
        return False
    if not take(j, c':'):
        return fail(j, REJECT_JSON_SYNTAX)
    skip_blanks(j)
    return True


# ---- numbers and words ----

cdef bint number_is_strict(const char* p) noexcept nogil:
    """RFC 8259 wants no plus, no leading zero, and digits on both sides of the point."""
    if p[0] == c'-':
        p += 1
    if not is_digit(p[0]) or (p[0] == c'0' and is_digit(p[1])):
        return False
    while is_digit(p[0]):
        p += 1
    return p[0] != c'.' or is_digit(p[1])


cdef inline bint read_number(json_t* j, double* value, uint8_t* bad) noexcept nogil:
    """A number of any size; `bad` says BAD_MAGNITUDE for one that is too large, which is no fault of syntax."""
    cdef const char* start = j.p
    if not number_is_strict(start):
        return fail(j, REJECT_JSON_SYNTAX)
    j.p = parse_number(start, value, bad)
    if bad[0] == BAD_NUMBER:
        return fail(j, REJECT_JSON_SYNTAX)
    return True


cdef bint read_word(json_t* j, const char* word, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if j.p[i] != word[i]:
            return fail(j, REJECT_JSON_SYNTAX)
    j.p += n
    return True


cdef bint skip_word_or_number(json_t* j) noexcept nogil:
    cdef double value
    cdef uint8_t bad = BAD_NONE
    if j.p[0] == c't':
        return read_word(j, b"true", 4)
    if j.p[0] == c'f':
        return read_word(j, b"false", 5)
    if j.p[0] == c'n':
        return read_word(j, b"null", 4)
    return read_number(j, &value, &bad)


# ---- values nobody asked for ----

cdef bint skip_array(json_t* j, int depth) noexcept nogil:
    if take(j, c']'):
        return True
    while True:
        skip_blanks(j)
        if not skip_value(j, depth):
            return False
        if take(j, c']'):
            return True
        if not take(j, c','):
            return fail(j, REJECT_JSON_SYNTAX)


cdef bint note_key(json_t* j, span_t* keys, size_t* n, size_t n_max, span_t key) noexcept nogil:
    """Remember a key; False when it stands there already or there is no room."""
    cdef size_t i
    for i in range(n[0]):
        if text_is(keys[i].p, keys[i].n, key.p, key.n):
            return fail(j, REJECT_DUPLICATE_KEY)
    if n[0] == n_max:
        return fail(j, REJECT_TOO_LARGE)
    keys[n[0]] = key
    n[0] += 1
    return True


cdef bint skip_object(json_t* j, int depth) noexcept nogil:
    cdef span_t keys[UNKNOWN_MAX]
    cdef span_t key
    cdef size_t n = 0
    if take(j, c'}'):
        return True
    while True:
        if not read_key(j, &key) or not note_key(j, keys, &n, UNKNOWN_MAX, key) or not skip_value(j, depth):
            return False
        if take(j, c'}'):
            return True
        if not take(j, c','):
            return fail(j, REJECT_JSON_SYNTAX)


cdef bint skip_value(json_t* j, int depth) noexcept nogil:
    """Check and pass over one value; p stands on its first byte."""
    cdef span_t text
    if j.p[0] == c'"':
        j.p += 1
        return read_string(j, &text)
    if j.p[0] != c'{' and j.p[0] != c'[':
        return skip_word_or_number(j)
    if depth >= DEPTH_MAX:
        return fail(j, REJECT_NESTING)
    j.p += 1
    if (j.p - 1)[0] == c'[':
        return skip_array(j, depth + 1)
    return skip_object(j, depth + 1)


# ---- an element's members ----

cdef bint skip_as(json_t* j, element_t* e, uint8_t bad, int depth) noexcept nogil:
    """A value of the wrong type: checked, passed over, and the element is bad. null is as good as absent."""
    if j.p[0] == c'n':
        return skip_value(j, depth)
    e.bad = bad
    return skip_value(j, depth)


cdef inline bint read_name(json_t* j, element_t* e, int depth) noexcept nogil:
    cdef span_t text
    if j.p[0] != c'"':
        e.bad = BAD_NAME_MISSING
        return skip_value(j, depth)
    j.p += 1
    if not read_string(j, &text):
        return False
    e.name = text.p
    e.name_n = text.n
    return True


cdef inline bint read_value(json_t* j, element_t* e, int depth) noexcept nogil:
    cdef span_t text
    cdef const char* start = j.p
    if j.p[0] == c'"':
        j.p += 1
        if not read_string(j, &text):
            return False
        e.text = text.p
        e.text_n = text.n
        e.value_type = VALUE_TEXT
        return True
    if is_digit(j.p[0]) or j.p[0] == c'-':
        if not read_number(j, &e.value, &e.bad):
            return False
        e.value_type = VALUE_NUMBER
        e.text = start
        e.text_n = j.p - start
        return True
    if j.p[0] == c'N' or j.p[0] == c'I':
        return fail(j, REJECT_JSON_SYNTAX)
    e.bad = BAD_NUMBER
    return skip_value(j, depth)


cdef bint read_kind(json_t* j, element_t* e, int depth) noexcept nogil:
    cdef span_t text
    if j.p[0] != c'"':
        return skip_as(j, e, BAD_KIND, depth)
    j.p += 1
    if not read_string(j, &text):
        return False
    e.kind = kind_of_name(text.p, text.n)
    if e.kind == KIND_UNKNOWN:
        e.bad = BAD_KIND
    return True


cdef bint read_tags(json_t* j, element_t* e, int depth) noexcept nogil:
    """The object's own bytes are the raw tags; the store reads them once, when the spelling is new."""
    cdef span_t keys[TAGS_MAX]
    cdef span_t key
    cdef const char* start = j.p
    cdef size_t n = 0
    if j.p[0] != c'{':
        return skip_as(j, e, BAD_TAG, depth)
    j.p += 1
    if take(j, c'}'):
        return True
    while True:
        if not read_key(j, &key):
            return False
        if n == TAGS_MAX:
            e.bad = BAD_TAGS_MANY
        elif not note_key(j, keys, &n, TAGS_MAX, key):
            return False
        if j.p[0] == c'{' or j.p[0] == c'[' or j.p[0] == c'n':
            e.bad = BAD_TAG
        if not skip_value(j, depth + 1):
            return False
        if take(j, c'}'):
            break
        if not take(j, c','):
            return fail(j, REJECT_JSON_SYNTAX)
    e.tags = start
    e.tags_n = j.p - start
    e.spelling = SPELLED_JSON
    return True


cdef bint read_time_or_rate(json_t* j, element_t* e, int member, int depth) noexcept nogil:
    cdef double number = 0
    cdef uint8_t bad = BAD_NONE
    cdef uint8_t reason = BAD_TIME if member == MEMBER_TIME else BAD_RATE
    if not is_digit(j.p[0]) and j.p[0] != c'-':
        return skip_as(j, e, reason, depth)
    if not read_number(j, &number, &bad):
        return False
    if bad:
        e.bad = reason
    elif member == MEMBER_TIME:
        e.time = number
        e.is_stamped = True
    elif check_rate(number, &e.weight):
        e.bad = BAD_RATE
    return True


cdef bint read_member(json_t* j, element_t* e, int member, int depth) noexcept nogil:
    if member == MEMBER_VALUE:
        return read_value(j, e, depth)
    if member == MEMBER_NAME:
        return read_name(j, e, depth)
    if member == MEMBER_KIND:
        return read_kind(j, e, depth)
    if member == MEMBER_TAGS:
        return read_tags(j, e, depth)
    return read_time_or_rate(j, e, member, depth)


cdef inline int usual_key(json_t* j) noexcept nogil:
    """The member of a key as clients write it, name and colon without blanks, passed over; 0: nothing was read."""
    cdef int member = 0
    cdef size_t n = 8
    if memcmp(j.p, b'"value":', 8) == 0:
        member = MEMBER_VALUE
    elif memcmp(j.p, b'"metric":', 9) == 0:
        member = MEMBER_NAME
        n = 9
    elif memcmp(j.p, b'"tags":', 7) == 0:
        member = MEMBER_TAGS
        n = 7
    elif memcmp(j.p, b'"kind":', 7) == 0:
        member = MEMBER_KIND
        n = 7
    if member:
        j.p += n
        skip_blanks(j)
    return member


cdef bint read_element(json_t* j, int depth) noexcept nogil:
    """p stands behind the opening brace."""
    cdef element_t e
    cdef span_t key
    cdef span_t unknown[UNKNOWN_MAX]
    cdef size_t unknown_n = 0
    cdef const char* start = j.p - 1
    cdef int member
    element_clear(&e)
    if take(j, c'}'):
        return element_emit(j.b, &e, start, j.p - start)
    while True:
        member = usual_key(j)
        if not member:
            if not read_key(j, &key):
                return False
            member = member_of_key(key.p, key.n)
        if member:
            if e.seen & member:
                return fail(j, REJECT_DUPLICATE_KEY)
            e.seen |= member
            if not read_member(j, &e, member, depth):
                return False
        else:
            j.b.tally.ignored[IGNORED_MEMBER] += 1
            if not note_key(j, unknown, &unknown_n, UNKNOWN_MAX, key) or not skip_value(j, depth):
                return False
        if take(j, c','):
            continue
        if take(j, c'}'):
            break
        return fail(j, REJECT_JSON_SYNTAX)
    return element_emit(j.b, &e, start, j.p - start) or fail(j, REJECT_TOO_LARGE)


cdef bint read_elements(json_t* j) noexcept nogil:
    """p stands behind the opening bracket."""
    cdef const char* start
    if take(j, c']'):
        return True
    while True:
        skip_blanks(j)
        start = j.p
        if start[0] == c'{':
            j.p += 1
            if not read_element(j, 2):
                return False
        else:
            if not skip_value(j, 1):
                return False
            note_bad(j.b, BAD_ELEMENT, start, j.p - start)
        if take(j, c','):
            continue
        if take(j, c']'):
            return True
        return fail(j, REJECT_JSON_SYNTAX)


cdef int decode_json(const char* data, size_t n, batch_t* b) noexcept nogil:
    """OK, or why the document is rejected; data[n] is a newline."""
    cdef json_t j
    j.p = data + 1
    j.end = data + n
    j.b = b
    j.fault = OK
    if (read_element(&j, 1) if data[0] == c'{' else read_elements(&j)):
        skip_blanks(&j)
        if j.p < j.end:
            fail(&j, REJECT_JSON_TRAILING)
    return j.fault


cdef uint8_t read_tag_value(json_t* j, span_t* value) noexcept nogil:
    """A string's text; numbers, true and false as they are spelled."""
    if j.p[0] == c'"':
        j.p += 1
        return BAD_NONE if read_string(j, value) else BAD_TAG
    value.p = j.p
    if not skip_word_or_number(j):
        return BAD_TAG
    value.n = j.p - value.p
    return BAD_NONE


cdef uint8_t json_tags(const char* p, size_t n, batch_t* b, tag_t* tags, size_t* tags_n) noexcept nogil:
    """The tags of an object that decode_json has found well-formed."""
    cdef json_t j
    cdef span_t key, value
    cdef uint8_t bad
    j.p = p + 1
    j.end = p + n
    j.b = b
    j.fault = OK
    while True:
        if not read_key(&j, &key):
            return BAD_TAG
        bad = read_tag_value(&j, &value)
        if not bad:
            bad = tag_note(tags, tags_n, key.p, key.n, value.p, value.n)
        if bad:
            return bad
        if not take(&j, c','):
            return BAD_NONE
