# What a slab's writer keeps of each id, and the parameters of a key that it makes of it.
#
# Nothing here is part of the format (slab.py): any parameters make a slab that can be read. The writer counts how long
# residuals were, foretold in one way and the other, and takes the shorter at the next key.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from hms_ops.storage._bits cimport *
from hms_ops.storage._form cimport *
from hms_ops.storage._row cimport *

cdef enum:
    STEADY_SIZE = 8         # learn_t.size of a field that seldom moves
    KEYS_FORGOTTEN = 400    # an id without a row for so many keys gives its parameters up
    SCALE_LIKELY = 6        # an id kept as bits becomes decimal again when a whole row has no more decimals
    SIZE_ONE = 64           # learn_t.size of one bit

# What the writer learns of an id between keys.
ctypedef struct learn_t:
    int64_t before[6]       # the integers of its latest row
    int64_t seen[3]         # all integers since the key, or-ed, before the shift: their common zeros
    float away[6]           # mean of residuals
    uint16_t size[6]        # mean length of residuals, in 64ths of a bit
    uint16_t level[6]       # of their distances from `away`
    uint16_t own[6]         # of differences from the row before, foretold by itself
    uint16_t crossed[6]     # or from other fields
    uint16_t idle           # keys without a row
    uint8_t need[3]         # the highest scale that was needed since the key
    uint8_t odd[3]          # values without a decimal scale since the key, up to 255
    uint8_t is_fine[3]      # whether the last decimal was needed
    uint8_t present         # mean of rows there are, of 255
    uint8_t same            # mean of rows that are all as the key says, of 255
    uint8_t rows            # since the key, up to 255

# Rows of ids that the key does not know, for the next key.
ctypedef struct strangers_t:
    uint32_t* ids
    double* values          # six each, in the order of fields
    Py_ssize_t n
    Py_ssize_t room

# One row, as integers.
ctypedef struct row_t:
    double value[6]
    int64_t i[6]
    uint64_t u[6]
    uint8_t is_raw[6]
    bint has_m2


cdef inline void set_m2(const param_t* p, row_t* row) noexcept nogil:
    """row.i[M2], from the sum that readers will have."""
    cdef double total = row.value[SUM]
    row.has_m2 = row.value[LEAST] != row.value[MOST]
    row.i[M2] = 0
    if row.has_m2:
        if not row.is_raw[SUM]:
            total = to_double(row.i[SUM], p.scale[2], p.shift[2])
        row.i[M2] = m2_code(row.value[M2]) - m2_guess(row.value[COUNT], total, row.value[LEAST], row.value[MOST])


cdef inline void row_residuals(const param_t* p, row_t* row) noexcept nogil:
    """row.value to row.i, row.u and row.is_raw."""
    cdef int f, g
    cdef int64_t told
    cdef bint fits
    for f in range(VALUES):
        g = GROUP[f]
        told = foretold(p, f, row.i)
        if f == SUM:
            fits = sum_to_integer(row.value[f], p.scale[g], p.shift[g], &row.i[f])
        else:
            fits = to_integer(row.value[f], p.scale[g], p.shift[g], &row.i[f])
        row.u[f] = zigzag(wrap_sub(row.i[f], told))
        row.is_raw[f] = not fits or row.u[f] >> 63
        if row.is_raw[f]:
            row.i[f] = told
            row.u[f] = 1ULL << 63
    set_m2(p, row)
    row.u[M2] = zigzag(row.i[M2] - p.base[M2]) if row.has_m2 else 0


cdef inline void learn_size(uint16_t* size, uint64_t u) noexcept nogil:
    size[0] = <uint16_t> (size[0] + ((SIZE_ONE * codec_length(u) - size[0]) >> 3))


cdef inline void learn_mean(uint8_t* mean, bint is_so) noexcept nogil:
    """Towards 255 or 0 by a sixteenth, at least one."""
    if is_so:
        mean[0] += (255 - mean[0] + 15) >> 4
    else:
        mean[0] -= (mean[0] + 15) >> 4


cdef inline void learn_form(const param_t* p, learn_t* l, row_t* row, int f) noexcept nogil:
    cdef int g = GROUP[f], scale
    cdef int64_t whole
    if not row.is_raw[f]:
        l.seen[g] |= row.i[f]
        if not l.is_fine[g] and p.scale[g] and p.scale[g] != BITS:
            whole = row.i[f] << p.shift[g]
            l.is_fine[g] = whole % 10 != 0
        return
    l.is_fine[g] = True
    l.seen[g] |= 1
    if p.scale[g] == BITS:
        return
    scale = scale_of(row.value[f], p.scale[g])
    if scale == BITS:
        l.odd[g] += l.odd[g] < 255
    elif scale > l.need[g]:
        l.need[g] = scale


cdef inline void learn_level(learn_t* l, int f, uint64_t u) noexcept nogil:
    cdef double residual = <double> unzigzag(u), distance = residual - l.away[f]
    learn_size(&l.size[f], u)
    learn_size(&l.level[f], zigzag(<int64_t> distance) if fabs(distance) < 4e18 else u)
    l.away[f] += <float> (distance * 0.125)


cdef inline void learn_row(const param_t* p, learn_t* l, row_t* row) noexcept nogil:
    cdef int f
    cdef int64_t change, crossed
    for f in range(VALUES):
        learn_form(p, l, row, f)
        if not row.is_raw[f]:
            learn_level(l, f, row.u[f])
        change = wrap_sub(row.i[f], l.before[f])
        crossed = wrap_sub(crossing(f, row.i), crossing(f, l.before))
        learn_size(&l.own[f], zigzag(change))
        learn_size(&l.crossed[f], zigzag(wrap_sub(change, crossed)))
    if row.has_m2:
        learn_level(l, M2, row.u[M2])
        learn_size(&l.own[M2], zigzag(wrap_sub(row.i[M2], l.before[M2])))
        l.before[M2] = row.i[M2]
    for f in range(VALUES):
        l.before[f] = row.i[f]
    l.rows += l.rows < 255
    l.idle = 0


# ---- the parameters of a key -----------------------------------------------------------------------------------------

cdef inline int k_of(int size) noexcept nogil:
    """Rice's parameter for residuals of a mean length: measured best a quarter bit below, for Gauss and Laplace."""
    cdef int k = (size + SIZE_ONE // 4) // SIZE_ONE
    return k if k < RICE_K_MAX else RICE_K_MAX


cdef inline int scale_of_values(const double* value) noexcept nogil:
    """The smallest scale for last, min and max."""
    return scale_of(value[MOST], scale_of(value[LEAST], scale_of(value[LAST], 0)))


cdef inline int scale_of_sum(double total, int scale) noexcept nogil:
    cdef int64_t i
    if scale != BITS and sum_to_integer(total, scale, 0, &i):
        return scale
    return scale_of(total, 0)


cdef inline void begin_param(param_t* p, learn_t* l, const double* value) noexcept nogil:
    """The first parameters of an id, from its first row."""
    cdef int f, spread
    cdef int64_t least = 0, most = 0
    memset(p, 0, sizeof(param_t))
    memset(l, 0, sizeof(learn_t))
    p.scale[0] = scale_of(value[COUNT], 0)
    p.scale[1] = scale_of_values(value)
    p.scale[2] = scale_of_sum(value[SUM], p.scale[1])
    p.cross = 1 << LEAST | 1 << MOST | (p.scale[1] == p.scale[2]) << SUM
    to_integer(value[LEAST], p.scale[1], 0, &least)
    to_integer(value[MOST], p.scale[1], 0, &most)
    spread = codec_length(<uint64_t> wrap_sub(most, least))
    for f in range(LAST, M2):
        l.size[f] = l.own[f] = l.crossed[f] = l.level[f] = SIZE_ONE * (spread if spread else 3)
    l.size[SUM] += SIZE_ONE
    l.size[M2] = l.own[M2] = l.level[M2] = 4 * SIZE_ONE
    l.present = 255
    l.same = 128
    p.expect = CODED


cdef inline int zeros_of(int64_t seen) noexcept nogil:
    return codec_zeros(<uint64_t> seen) if seen else 0


cdef inline void rescale(param_t* p, learn_t* l, int g, int scale, int shift) noexcept nogil:
    """Another form for a group of fields: what was learnt of them no longer counts, but the sizes."""
    cdef int f, more = 0, size
    if p.scale[g] == scale and p.shift[g] == shift:
        return
    if scale != BITS and p.scale[g] != BITS:
        more = SIZE_ONE * 10 * (scale - p.scale[g]) // 3
    more -= SIZE_ONE * (shift - p.shift[g])
    for f in range(VALUES):
        if GROUP[f] == g:
            size = l.size[f] + more
            l.size[f] = <uint16_t> (size if size > 0 else 0)
            l.level[f] = 64 * SIZE_ONE
            l.away[f] = 0
    p.scale[g] = scale
    p.shift[g] = shift


cdef inline void renew_form(param_t* p, learn_t* l, int g, int size) noexcept nogil:
    cdef int scale = p.scale[g], shift = 0, zeros
    if scale != BITS:
        if l.odd[g] * 4 > l.rows:
            scale = BITS
        elif l.need[g] > scale:
            scale = l.need[g]
        elif scale and not l.is_fine[g] and l.rows >= 4:
            scale -= 1
    # A shift must be seldom wrong: seen in many rows, and worth it.
    if scale == p.scale[g] and l.rows >= 4 and size >= 8 * SIZE_ONE:
        zeros = zeros_of(l.seen[g]) + p.shift[g]
        shift = zeros if 3 <= zeros < 60 else 0
    rescale(p, l, g, scale, shift)
    l.seen[g] = 0
    l.need[g] = l.odd[g] = l.is_fine[g] = 0


cdef inline void renew_expect(param_t* p, const learn_t* l) noexcept nogil:
    p.expect = CODED if l.present >= 128 else ABSENT
    if l.present >= 128 and l.same >= 154:
        p.expect = SAME


cdef inline void renew_cross(param_t* p, learn_t* l, int f, bint may_cross) noexcept nogil:
    """Whether a field is foretold from others: the other way must be a quarter bit better, for it begins anew."""
    cdef bint is_crossed = p.cross >> f & 1
    cdef int size = l.crossed[f] if is_crossed else l.own[f], other = l.own[f] if is_crossed else l.crossed[f]
    cdef bint better = other + SIZE_ONE // 4 < size
    if is_crossed == (may_cross and is_crossed != better):
        return
    p.cross ^= 1 << f
    l.size[f] = l.own[f] if is_crossed else l.crossed[f]
    l.level[f] = 64 * SIZE_ONE
    l.away[f] = 0


cdef inline void renew_param(param_t* p, learn_t* l, const double* value) noexcept nogil:
    """New parameters of an id from its row and what was learnt."""
    cdef int f
    if p.scale[1] == BITS and scale_of_values(value) <= SCALE_LIKELY:
        begin_param(p, l, value)
        return
    renew_form(p, l, 0, l.size[COUNT])
    renew_form(p, l, 1, l.size[LAST])
    renew_form(p, l, 2, l.size[SUM])
    if p.scale[1] != p.scale[2] and p.scale[1] != BITS:
        rescale(p, l, 2, scale_of_sum(value[SUM], p.scale[1]), 0)
    for f in range(LEAST, M2):
        renew_cross(p, l, f, f != SUM or (p.scale[1] == p.scale[2] and p.shift[1] == p.shift[2]))
    renew_expect(p, l)


cdef inline void set_base(param_t* p, learn_t* l, int f, int64_t term) noexcept nogil:
    """What is foretold: the row itself, or the mean where values lie around it; k from what was learnt."""
    cdef int64_t away = <int64_t> l.away[f] if fabs(l.away[f]) < 4e18 else 0
    cdef int changes = l.crossed[f] if p.cross >> f & 1 else l.own[f]
    cdef bint is_steady = l.rows and l.size[f] < STEADY_SIZE
    p.steady = <uint8_t> (p.steady & ~(1 << f) | is_steady << f)
    if not is_steady and (l.level[f] >= changes or not l.rows):
        p.k[f] = k_of(l.size[f])
        p.base[f] = term
        l.away[f] = 0
        return
    p.k[f] = k_of(l.level[f])
    p.base[f] = wrap_add(p.base[f], away)
    l.away[f] -= <float> away


cdef inline void set_bases(param_t* p, learn_t* l, const double* value) noexcept nogil:
    cdef row_t row
    cdef int f, g
    cdef bint fits
    for f in range(FIELDS):
        row.value[f] = value[f]
    for f in range(VALUES):
        g = GROUP[f]
        if f == SUM:
            fits = sum_to_integer(value[f], p.scale[g], p.shift[g], &row.i[f])
        else:
            fits = to_integer(value[f], p.scale[g], p.shift[g], &row.i[f])
        row.is_raw[f] = not fits
        if not fits:
            row.i[f] = foretold(p, f, row.i)
        set_base(p, l, f, wrap_sub(row.i[f], crossing(f, row.i)) if p.cross >> f & 1 else row.i[f])
        l.before[f] = row.i[f]
    set_m2(p, &row)
    if row.has_m2 or not l.rows:
        set_base(p, l, M2, row.i[M2])
    l.rows = 0


cdef inline void gather(const double[:, ::1] columns, Py_ssize_t j, double* value) noexcept nogil:
    cdef int f
    for f in range(FIELDS):
        value[f] = columns[COLUMN[f], j]


cdef inline void meet_strangers(param_t* params, learn_t* learnt, strangers_t* strangers) noexcept nogil:
    """Parameters for those that came since the key; the rows of a step follow and may renew them."""
    cdef Py_ssize_t i
    cdef uint32_t j
    for i in range(strangers.n):
        j = strangers.ids[i]
        if params[j].expect == NEVER:
            begin_param(&params[j], &learnt[j], strangers.values + FIELDS * i)
            set_bases(&params[j], &learnt[j], strangers.values + FIELDS * i)
            params[j].expect = ABSENT
            learnt[j].present = 0
    strangers.n = 0


cdef inline void keep_stranger(strangers_t* strangers, Py_ssize_t j, const double* value) noexcept nogil:
    cdef int f
    if strangers.n < strangers.room:
        strangers.ids[strangers.n] = <uint32_t> j
        for f in range(FIELDS):
            strangers.values[FIELDS * strangers.n + f] = value[f]
        strangers.n += 1


cdef inline void forget(param_t* p) noexcept nogil:
    """The parameters of an id that no key knows."""
    cdef param_t frame[512]
    begin_frame(frame)
    p[0] = frame[0]


cdef inline void renew_all(param_t* params, learn_t* learnt, const double[:, ::1] columns) noexcept nogil:
    cdef Py_ssize_t j
    cdef param_t* p
    cdef learn_t* l
    cdef double value[6]
    cdef bint is_there
    for j in range(columns.shape[1]):
        p = &params[j]
        l = &learnt[j]
        is_there = columns[0, j] > 0
        if not is_there:
            if p.expect == NEVER:
                continue
            l.idle += 1
            if l.idle > KEYS_FORGOTTEN:
                forget(p)
            else:
                renew_expect(p, l)
            continue
        gather(columns, j, value)
        if p.expect == NEVER:
            begin_param(p, l, value)
        else:
            renew_param(p, l, value)
        set_bases(p, l, value)
