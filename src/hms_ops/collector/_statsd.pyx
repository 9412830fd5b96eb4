"""StatsD and DogStatsD 1.0 to 1.4: lines of text to samples.

    finance.api_ms:240.5:231|ms|@0.1|#agency:irs,host:a|T1700000000|c:ab12
    ^             ^     ^    ^  ^    ^                  ^           ^
    name          value value kind rate tags            timestamp   container (read, not kept)

`decode_statsd` takes one datagram, whose byte behind the end the caller has set to a newline, with HMS_PAD readable
bytes after it. Each line is independent: what can't be read is one bad value under its reason, and the next line
goes on. A name is only measured here; its bytes are checked once, when the store meets it first.

`+5|g` and `-5|g` are deltas unless the batch says that signs are absolute: they add to the gauge's last value in the
order of arrival, stamped samples of other seconds left out, and must not be such samples themselves (bad: time). Events (`_e{`) and checks (`_sc|`) are
counted and passed over. Source: https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/ and the statsd
project's metric_types.md.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from hms_ops._sample cimport *
from hms_ops.collector._emit cimport *


# What the sections behind the values say; shared by all values of a packed line.
ctypedef struct line_t:
    const char* name
    const char* end             # the line's newline
    const char* tags
    double weight
    double time
    size_t name_n, tags_n
    uint8_t kind, bad


cdef inline const char* line_end(const char* p) noexcept nogil:
    return hms_find2(p, c'\n', c'\n')


cdef inline bint is_delta(const batch_t* b, uint8_t kind, char first) noexcept nogil:
    return kind == KIND_GAUGE and (first == c'+' or first == c'-') and b.gauge_sign_is_delta


cdef inline sample_t* emit(batch_t* b, const line_t* line, double value, uint8_t flags) noexcept nogil:
    """A sample of now and of weight 1; NULL when the batch is full."""
    cdef sample_t* s = batch_sample(b)
    if s == NULL:
        return NULL
    s.name = line.name
    s.name_len = <uint16_t>line.name_n
    s.tags = line.tags
    s.tags_len = <uint16_t>line.tags_n
    s.spelling = SPELLED_STATSD if line.tags_n else SPELLED_BARE
    s.hash = key_hash(line.name, line.name_n, line.tags, line.tags_n, s.spelling, b.seed)
    s.value = value
    s.kind = line.kind
    s.flags = flags
    s.bad = BAD_NONE
    s.datagram = b.datagram
    return s


cdef bint emit_special(batch_t* b, const line_t* line, double value, uint8_t flags) noexcept nogil:
    """With the sections' weight and time; False when the batch is full."""
    cdef sample_t* s = emit(b, line, value, flags)
    if s == NULL:
        return False
    if line.weight != 1.0:
        s.weight = line.weight
        s.flags |= FLAG_WEIGHTED
    if line.time != 0.0:
        s.time_ns = stamp_ns(line.time)
        s.flags |= FLAG_STAMPED
    return True


cdef inline const char* read_kind(const char* p, uint8_t* kind) noexcept nogil:
    """p stands behind the bar; returns what follows the kind."""
    cdef char c = p[0]
    if c == c'g':
        kind[0] = KIND_GAUGE
    elif c == c'c':
        kind[0] = KIND_COUNTER
    elif c == c'm' and p[1] == c's':
        kind[0] = KIND_TIMER
        return p + 2
    elif c == c'h':
        kind[0] = KIND_HISTOGRAM
    elif c == c'd':
        kind[0] = KIND_DISTRIBUTION
    elif c == c's':
        kind[0] = KIND_SET
    else:
        kind[0] = KIND_UNKNOWN
        return p
    return p + 1


cdef const char* read_section(const char* p, line_t* line, batch_t* b) noexcept nogil:
    """p stands on the first byte of a section; returns the bar or newline behind it."""
    cdef const char* end = hms_find2(p, c'|', c'\n')
    cdef size_t n = end - p
    cdef double number = 0
    if end[0] == c'\n' and n and (end - 1)[0] == c'\r':
        n -= 1
    if n == 0:
        line.bad = BAD_SYNTAX
    elif p[0] == c'#':
        line.tags = p + 1
        line.tags_n = n - 1
        if line.tags_n > TAGS_BYTES_MAX:
            line.bad = BAD_TAGS_LONG
    elif p[0] == c'@':
        if parse_number(p + 1, &number, &line.bad) != p + n or line.bad:
            line.bad = BAD_RATE
        else:
            line.bad = check_rate(number, &line.weight)
    elif p[0] == c'T':
        if parse_number(p + 1, &line.time, &line.bad) != p + n or line.bad or not (0 < line.time < 1e11):
            line.bad = BAD_TIME
    elif n >= 2 and p[1] == c':' and (p[0] == c'c' or p[0] == c'e'):
        pass                                    # origin: container id, external data
    else:
        b.tally.ignored[IGNORED_SECTION] += 1
    return end


cdef const char* read_sections(const char* p, line_t* line, batch_t* b) noexcept nogil:
    """Everything behind the kind up to the newline, which is returned."""
    while not line.bad:
        if p[0] == c'\r' and p[1] == c'\n':
            p += 1
        if p[0] == c'\n':
            return p
        if p[0] != c'|':
            line.bad = BAD_KIND
            break
        p = read_section(p + 1, line, b)
    return line_end(p)


cdef bint emit_value(const char* p, const char* end, const line_t* line, batch_t* b) noexcept nogil:
    """One value of a line, [p, end): a set's member or a number; False when the batch is full."""
    cdef uint8_t bad = BAD_NONE
    cdef double value = 0
    cdef uint64_t member
    if line.kind == KIND_SET:
        if p == end:
            note_bad(b, BAD_MEMBER, line.name, line.end - line.name)
            return True
        member = hms_hash_member(p, end - p, b.seed)
        memcpy(&value, &member, 8)
        return emit_special(b, line, value, FLAG_MEMBER)
    if parse_number(p, &value, &bad) != end and not bad:
        bad = BAD_NUMBER
    if bad:
        note_bad(b, bad, line.name, line.end - line.name)
        return True
    return emit_special(b, line, value, FLAG_DELTA if is_delta(b, line.kind, p[0]) else 0)


cdef bint emit_values(const char* p, const char* bar, const line_t* line, batch_t* b) noexcept nogil:
    """The values a:b:c of a packed line, or the members of a set."""
    cdef const char* end
    while True:
        end = hms_find2(p, c':', c'|')
        if not emit_value(p, end, line, b):
            return False
        if end >= bar:
            return True
        p = end + 1


cdef const char* slow_line(const char* start, const char* value, batch_t* b) noexcept nogil:
    """A line that is not `name:number|kind`: packed, a set, sections, or bad. Returns its newline."""
    cdef line_t line
    cdef const char* end = line_end(start)
    cdef const char* bar = hms_find2(value, c'|', c'\n')
    cdef uint8_t bad = BAD_NONE
    cdef double number
    line.name = start
    line.end = end
    line.name_n = value - 1 - start
    line.tags = NULL
    line.tags_n = 0
    line.weight = 1.0
    line.time = 0.0
    line.bad = BAD_NONE
    if line.name_n == 0:
        line.bad = BAD_NAME_EMPTY
    elif line.name_n > NAME_BYTES_MAX:
        line.bad = BAD_NAME_LONG
    elif bar[0] == c'\n':
        line.bad = BAD_SYNTAX
    else:
        read_sections(read_kind(bar + 1, &line.kind), &line, b)
        if not line.bad and line.kind == KIND_UNKNOWN:
            line.bad = BAD_KIND
    if line.bad:
        note_bad(b, line.bad, start, end - start)
    elif not emit_values(value, bar, &line, b):
        note_reject(b, 256 + REJECT_TOO_LARGE, start, end - start)
    return end


cdef const char* no_value(const char* p, const char* end, batch_t* b) noexcept nogil:
    """A line without a colon, or an event or a check. Returns its newline."""
    if p[0] == c'_' and p[1] == c's' and p[2] == c'c' and p[3] == c'|':
        b.tally.ignored[IGNORED_CHECK] += 1
    elif end - p == 1 and p[0] == c'\r':
        pass
    else:
        note_bad(b, BAD_SYNTAX, p, end - p)
    return end


cdef const char* read_line(const char* p, batch_t* b) noexcept nogil:
    """One line; returns its newline. The fast path is `name:number|kind` and `name:number|kind|#tags`."""
    cdef const char* colon = hms_find2(p, c':', c'\n')
    cdef const char* q
    cdef line_t line
    cdef double value = 0
    cdef uint8_t bad = BAD_NONE
    if hms_unlikely(colon[0] == c'\n'):
        return no_value(p, colon, b)
    if hms_unlikely(p[0] == c'_'):
        if p[1] == c'e' and p[2] == c'{':
            b.tally.ignored[IGNORED_EVENT] += 1
            return line_end(p)
        if p[1] == c's' and p[2] == c'c' and p[3] == c'|':
            return no_value(p, line_end(p), b)
    line.name_n = colon - p
    q = parse_number(colon + 1, &value, &bad)
    if hms_unlikely(bad or q[0] != c'|' or line.name_n == 0 or line.name_n > NAME_BYTES_MAX):
        return slow_line(p, colon + 1, b)
    q = read_kind(q + 1, &line.kind)
    line.tags = NULL
    line.tags_n = 0
    if q[0] == c'|' and q[1] == c'#':
        line.tags = q + 2
        q = hms_find2(q + 2, c'|', c'\n')
        line.tags_n = q - line.tags
    if hms_unlikely(q[0] != c'\n' or (q - 1)[0] == c'\r' or line.tags_n > TAGS_BYTES_MAX or line.kind == KIND_SET
                    or line.kind == KIND_UNKNOWN):
        return slow_line(p, colon + 1, b)
    line.name = p
    if emit(b, &line, value, FLAG_DELTA if is_delta(b, line.kind, colon[1]) else 0) == NULL:
        note_reject(b, 256 + REJECT_TOO_LARGE, p, q - p)
    return q


cdef void decode_statsd(const char* data, size_t n, batch_t* b) noexcept nogil:
    cdef const char* p = data
    cdef const char* end = data + n
    b.tally.accepted += 1
    while p < end:
        if p[0] == c'\n':
            p += 1
            continue
        p = read_line(p, b) + 1


cdef uint8_t statsd_tags(const char* p, size_t n, tag_t* tags, size_t* tags_n) noexcept nogil:
    """`agency:irs,host:a,flag`: a tag without a colon has the empty value; empty pieces are passed over."""
    cdef const char* end = p + n
    cdef const char* comma
    cdef const char* colon
    while p < end:
        comma = p
        while comma < end and comma[0] != c',':
            comma += 1
        colon = p
        while colon < comma and colon[0] != c':':
            colon += 1
        if comma > p and tag_note(tags, tags_n, p, colon - p, colon + 1, comma - colon - 1 if colon < comma else 0):
            return BAD_TAGS_MANY
        p = comma + 1
    return BAD_NONE
