"""Bits of a slab as rows: all, some, or merged into others. The format is slab.py's; functions: `_slabreader.pyi`."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *
from hms_ops.storage._row cimport *

cdef extern from "storage/_codec.h" nogil:
    uint16_t codec_load16(const uint8_t* p)

cdef extern from "storage/_crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_function)(uint32_t crc, const unsigned char* data, size_t length) noexcept nogil
    crc32c_function crc32c_prepare()

cdef crc32c_function crc32c = crc32c_prepare()

cdef inline int take_said(bitreader_t* r, const param_t* p) noexcept nogil:
    """0: as expected; 10, 110, 111: the first, second, third of CODED, FULL, ABSENT, SAME without what is expected."""
    cdef uint64_t bits = peek(r)
    cdef int expect = ABSENT if p.expect == NEVER else p.expect
    if not bits & 1:
        r.pos += 1
        return expect
    if not bits & 2:
        r.pos += 2
        return FULL if expect == CODED else CODED
    r.pos += 3
    if not bits & 4:
        return ABSENT if expect == CODED else FULL
    return ABSENT if expect == SAME else SAME


cdef inline int coded_fields(const param_t* p, int said) noexcept nogil:
    if said == SAME:
        return 0
    return ALL_FIELDS if said == FULL else ALL_FIELDS & ~p.steady


cdef inline void take_row(bitreader_t* r, const param_t* p, int coded, double* value) noexcept nogil:
    """value: count, last, min, max, sum, m2. coded: bit f for the fields that are there."""
    cdef int64_t i[6]
    cdef int f, g
    cdef uint64_t u
    cdef bint is_raw
    for f in range(VALUES):
        is_raw = False
        u = 0
        if coded >> f & 1:
            u = take_rice(r, p.k[f], &is_raw)
        i[f] = foretold(p, f, i)
        if is_raw:
            value[f] = codec_of_bits(u)
            continue
        g = GROUP[f]
        i[f] = wrap_add(i[f], unzigzag(u))
        value[f] = to_double(i[f], p.scale[g], p.shift[g])
    value[M2] = 0
    if value[LEAST] != value[MOST]:
        is_raw = False
        u = take_rice(r, p.k[M2], &is_raw) if coded >> M2 & 1 else 0
        i[M2] = m2_guess(value[COUNT], value[SUM], value[LEAST], value[MOST])
        value[M2] = m2_of(wrap_add(wrap_add(unzigzag(u), p.base[M2]), i[M2]))


cdef bint is_valid(const param_t* p) noexcept nogil:
    cdef int f, g
    for f in range(FIELDS):
        if p.k[f] > RICE_K_MAX:
            return False
    for g in range(3):
        if not is_scale(p.scale[g]) or p.shift[g] > SHIFT_MAX:
            return False
    return p.expect <= CODED


cdef bint unpack_params(const uint8_t* at, Py_ssize_t size, param_t* params) noexcept nogil:
    """False for bytes that are no parameters."""
    cdef int j, f, known = 0
    cdef uint64_t u
    cdef const uint8_t* end = at + size
    begin_frame(params)
    if size < FRAME_IDS:
        return False
    for j in range(FRAME_IDS):
        params[j].expect = at[j]
        known += at[j] != NEVER
    at += FRAME_IDS
    if end - at < SMALL * known:
        return False
    for f in range(SMALL):
        for j in range(FRAME_IDS):
            if params[j].expect != NEVER:
                (<uint8_t*> &params[j])[SMALL_AT + f] = at[0]
                at += 1
    for f in range(FIELDS):
        for j in range(FRAME_IDS):
            if params[j].expect != NEVER:
                at = take_varint(at, end, &u)
                if at == NULL:
                    return False
                params[j].base[f] = unzigzag(u)
    for j in range(FRAME_IDS):
        if not is_valid(&params[j]):
            return False
    return at == end


# ---- reading ---------------------------------------------------------------------------------------------------------

ctypedef struct group_t:
    double value[64][6]
    uint8_t is_there[64]
    int rows

# One frame as bytes, and what the key says of its ids.
ctypedef struct frame_t:
    const uint8_t* data
    Py_ssize_t bytes
    Py_ssize_t rows
    uint32_t first_id
    const param_t* params

cdef param_t UNKNOWN[512]
begin_frame(UNKNOWN)


cdef bint take_group(const frame_t* frame, int group, int upto, group_t* out) noexcept nogil:
    """The first `upto` ids of a group; False when the bytes cannot be a group's."""
    cdef const param_t* params = frame.params + group * GROUP_IDS
    cdef Py_ssize_t begin = 0, end = 0
    cdef bitreader_t r
    cdef int j, said
    out.rows = 0
    if frame.bytes:
        begin = codec_load16(frame.data + 2 * group - 2) if group else 2 * GROUPS
        end = codec_load16(frame.data + 2 * group)
        if begin < 2 * GROUPS or end < begin or end > frame.bytes:
            return False
    r = bitreader_t(frame.data + begin, end - begin, 0)
    for j in range(upto):
        said = take_said(&r, &params[j])  # without bytes: as expected
        out.is_there[j] = False
        if said == SAME or (said != ABSENT and begin < end):
            take_row(&r, &params[j], coded_fields(&params[j], said), out.value[j])
            out.is_there[j] = out.value[j][COUNT] > 0
            out.rows += out.is_there[j]
    if begin == end:
        return True
    return (r.pos + 7) >> 3 == r.bytes if upto == GROUP_IDS else r.pos <= 8 * r.bytes


cdef bint open_frame(
    const uint8_t[::1] data, const uint32_t[:, ::1] entries, Py_ssize_t entry, Py_ssize_t payloads_at, frame_t* frame
) noexcept nogil:
    """False when the entry points outside, or the bytes do not match their checksum."""
    cdef Py_ssize_t offset = payloads_at + entries[entry, 1]
    frame.bytes = entries[entry, 2] & 0xFFFF
    frame.rows = entries[entry, 2] >> 16
    frame.first_id = entries[entry, 0] * FRAME_IDS
    if 0 < frame.bytes < 2 * GROUPS or offset > data.shape[0] or data.shape[0] - offset < frame.bytes:
        return False
    frame.data = &data[0] + offset
    return crc32c(0, frame.data, frame.bytes) == entries[entry, 3]


cdef inline const param_t* params_at(const uint8_t[:, ::1] params, int row) noexcept nogil:
    return <const param_t*> &params[row, 0] if 0 <= row < params.shape[0] else UNKNOWN


cdef int check(const uint8_t[:, ::1] params, const int[::1] where, const uint32_t[:, ::1] entries) except -1:
    if params.shape[1] != FRAME_IDS * sizeof(param_t) or entries.shape[1] != 4 or where.shape[0] != entries.shape[0]:
        raise ValueError("params, where and entries do not belong together")
    return 0


cdef inline Py_ssize_t keep_rows(
    const group_t* group, uint32_t first_id, uint32_t[::1] ids, double[:, ::1] columns, Py_ssize_t at
) noexcept nogil:
    cdef int j, f
    for j in range(GROUP_IDS):
        if group.is_there[j]:
            ids[at] = first_id + j
            for f in range(FIELDS):
                columns[COLUMN[f], at] = group.value[j][f]
            at += 1
    return at


cdef Py_ssize_t all_rows(
    const uint8_t[::1] data, const uint32_t[:, ::1] entries, Py_ssize_t payloads_at,
    const uint8_t[:, ::1] params, const int[::1] where, uint32_t[::1] ids, double[:, ::1] columns,
) noexcept nogil:
    cdef Py_ssize_t entry, at = 0, before
    cdef frame_t frame
    cdef group_t group
    cdef int g
    for entry in range(entries.shape[0]):
        if not open_frame(data, entries, entry, payloads_at, &frame):
            return -1 - entry
        frame.params = params_at(params, where[entry])
        before = at
        for g in range(GROUPS):
            if not take_group(&frame, g, GROUP_IDS, &group) or at + group.rows > ids.shape[0]:
                return -1 - entry
            at = keep_rows(&group, frame.first_id + g * GROUP_IDS, ids, columns, at)
        if at - before != frame.rows:
            return -1 - entry
    return at


def rows(
    const uint8_t[::1] data not None, const uint32_t[:, ::1] entries not None, Py_ssize_t payloads_at,
    const uint8_t[:, ::1] params not None, const int[::1] where not None,
    uint32_t[::1] ids not None, double[:, ::1] columns not None,
):
    cdef Py_ssize_t found
    check(params, where, entries)
    if columns.shape[0] != FIELDS or columns.shape[1] != ids.shape[0]:
        raise ValueError("ids and columns are not of one length")
    with nogil:
        found = all_rows(data, entries, payloads_at, params, where, ids, columns)
    return found


cdef inline void fold_row(double[:, ::1] columns, Py_ssize_t j, const double* value) noexcept nogil:
    """Merge a later row into column j: Chan, Golub and LeVeque 1979; `last` is the later one's."""
    cdef double count = columns[0, j], both, away
    if not count > 0:
        columns[0, j] = value[COUNT]
        columns[1, j] = value[SUM]
        columns[2, j] = value[M2]
        columns[3, j] = value[LEAST]
        columns[4, j] = value[MOST]
    else:
        both = count + value[COUNT]
        away = value[SUM] / value[COUNT] - columns[1, j] / count
        columns[0, j] = both
        columns[1, j] += value[SUM]
        columns[2, j] += value[M2] + away * away * count * (value[COUNT] / both)
        columns[3, j] = value[LEAST] if value[LEAST] < columns[3, j] else columns[3, j]
        columns[4, j] = value[MOST] if value[MOST] > columns[4, j] else columns[4, j]
    columns[5, j] = value[LAST]


cdef Py_ssize_t fold_rows(
    const uint8_t[::1] data, const uint32_t[:, ::1] entries, Py_ssize_t payloads_at,
    const uint8_t[:, ::1] params, const int[::1] where, double[:, ::1] columns,
) noexcept nogil:
    cdef Py_ssize_t entry, j, first, rows = 0, n = columns.shape[1]
    cdef frame_t frame
    cdef group_t group
    cdef int g
    for entry in range(entries.shape[0]):
        if not open_frame(data, entries, entry, payloads_at, &frame):
            return -1 - entry
        frame.params = params_at(params, where[entry])
        for g in range(GROUPS):
            if not take_group(&frame, g, GROUP_IDS, &group):
                return -1 - entry
            first = <Py_ssize_t> frame.first_id + g * GROUP_IDS
            for j in range(GROUP_IDS):
                if not group.is_there[j]:
                    continue
                if first + j >= n:
                    return -1 - entry
                fold_row(columns, first + j, group.value[j])
            rows += group.rows
    return rows


def fold(
    const uint8_t[::1] data not None, const uint32_t[:, ::1] entries not None, Py_ssize_t payloads_at,
    const uint8_t[:, ::1] params not None, const int[::1] where not None, double[:, ::1] columns not None,
):
    cdef Py_ssize_t found
    check(params, where, entries)
    if columns.shape[0] != FIELDS:
        raise ValueError(f"columns have {columns.shape[0]} fields, not {FIELDS}")
    with nogil:
        found = fold_rows(data, entries, payloads_at, params, where, columns)
    return found


cdef int dense_rows(const frame_t* frame, double[:, ::1] out) noexcept nogil:
    """The rows of one frame side by side, COUNT 0 where there is none; -1 when it is damaged."""
    cdef group_t group
    cdef int g, j, f, rows = 0
    for g in range(GROUPS):
        if not take_group(frame, g, GROUP_IDS, &group):
            return -1
        rows += group.rows
        for j in range(GROUP_IDS):
            out[0, g * GROUP_IDS + j] = 0
            if group.is_there[j]:
                for f in range(FIELDS):
                    out[COLUMN[f], g * GROUP_IDS + j] = group.value[j][f]
    return rows if rows == frame.rows else -1


def frame(
    const uint8_t[::1] data not None, const uint32_t[:, ::1] entries not None, Py_ssize_t payloads_at,
    uint32_t number, const uint8_t[:, ::1] params not None, int where, double[:, ::1] out not None,
):
    cdef frame_t opened
    cdef Py_ssize_t entry
    cdef int rows = -1
    if entries.shape[1] != 4 or params.shape[1] != FRAME_IDS * sizeof(param_t):
        raise ValueError("params and entries do not belong together")
    if out.shape[0] != FIELDS or out.shape[1] != FRAME_IDS:
        raise ValueError(f"out is float64[{out.shape[0]}, {out.shape[1]}], not [6, 512]")
    with nogil:
        entry = find_frame(entries, number)
        if entry < 0:
            out[0, :] = 0
            rows = 0
        elif open_frame(data, entries, entry, payloads_at, &opened):
            opened.params = params_at(params, where)
            rows = dense_rows(&opened, out)
    return rows


cdef inline Py_ssize_t find_frame(const uint32_t[:, ::1] entries, uint32_t number) noexcept nogil:
    """The entry of a frame, -1 when the slab has none; entries ascend."""
    cdef Py_ssize_t low = 0, high = entries.shape[0], middle
    while low < high:
        middle = (low + high) >> 1
        if entries[middle, 0] < number:
            low = middle + 1
        else:
            high = middle
    return low if low < entries.shape[0] and entries[low, 0] == number else -1


cdef Py_ssize_t chosen_rows(
    const uint8_t[::1] data, const uint32_t[:, ::1] entries, Py_ssize_t payloads_at, const uint8_t[:, ::1] params,
    const uint32_t[::1] ids, int64_t[::1] places, double[:, ::1] columns, Py_ssize_t at,
) noexcept nogil:
    cdef Py_ssize_t i, j, entry = -1
    cdef int64_t number = -1, number_group = -1
    cdef int f, known = -1
    cdef frame_t frame
    cdef group_t group
    for i in range(ids.shape[0]):
        if ids[i] // FRAME_IDS != number:
            number = ids[i] // FRAME_IDS
            known += 1
            entry = find_frame(entries, <uint32_t> number)
            if entry >= 0 and not open_frame(data, entries, entry, payloads_at, &frame):
                return -1 - entry
            frame.params = params_at(params, known)
        if entry < 0:
            continue
        if ids[i] // GROUP_IDS != number_group:
            number_group = ids[i] // GROUP_IDS
            if not take_group(&frame, <int> (number_group % GROUPS), upto(ids, i), &group):
                return -1 - entry
        j = ids[i] % GROUP_IDS
        if group.is_there[j]:
            places[at] = i
            for f in range(FIELDS):
                columns[COLUMN[f], at] = group.value[j][f]
            at += 1
    return at


def chosen(
    const uint8_t[::1] data not None, const uint32_t[:, ::1] entries not None, Py_ssize_t payloads_at,
    const uint8_t[:, ::1] params not None, const uint32_t[::1] ids not None,
    int64_t[::1] places not None, double[:, ::1] columns not None, Py_ssize_t at,
):
    cdef Py_ssize_t end
    if at < 0 or places.shape[0] - at < ids.shape[0]:
        raise ValueError(f"no room for {ids.shape[0]} rows")
    if columns.shape[0] != FIELDS or columns.shape[1] != places.shape[0]:
        raise ValueError("places and columns are not of one length")
    if entries.shape[1] != 4 or params.shape[1] != FRAME_IDS * sizeof(param_t):
        raise ValueError("params and entries do not belong together")
    with nogil:
        end = chosen_rows(data, entries, payloads_at, params, ids, places, columns, at)
    return end


cdef inline int upto(const uint32_t[::1] ids, Py_ssize_t i) noexcept nogil:
    """How far the group of ids[i] is to be read: to the last of ids in it."""
    cdef Py_ssize_t j = i
    while j + 1 < ids.shape[0] and ids[j + 1] // GROUP_IDS == ids[i] // GROUP_IDS:
        j += 1
    return <int> (ids[j] % GROUP_IDS) + 1


def unpack(const uint8_t[::1] packed not None, uint8_t[::1] params not None):
    if params.shape[0] != FRAME_IDS * sizeof(param_t):
        raise ValueError(f"params are {params.shape[0]} bytes, not {FRAME_IDS * sizeof(param_t)}")
    if packed.shape[0] == 0:
        return False
    return unpack_params(&packed[0], packed.shape[0], <param_t*> &params[0])


FRAME_PARAM_BYTES = FRAME_IDS * sizeof(param_t)
