# How each field of a series is written shortest: its form, what foretells it, and its code.
#
# Nothing here is part of the format (tile.py): any plan makes a tile that can be read.

from libc.string cimport memset

from hms_ops.storage._series cimport *

cdef enum:
    RAW_BITS = 82

ctypedef struct scratch_t:
    int n                   # rows
    int m                   # of them with m2
    int* at                 # their steps
    double* value[6]
    int64_t* i[6]           # integers; of M2 its m codes
    uint8_t* is_raw[6]
    uint64_t* u[6]          # what is written
    int64_t* x              # what other fields say of the one in work
    int64_t* t              # the field in work less x
    plan_t plan[6]
    uint8_t scale[3]
    uint8_t shift[3]


# ---- forms -----------------------------------------------------------------------------------------------------------

cdef inline int needed(int64_t whole, int scale) noexcept nogil:
    """The smallest scale that an integer of a larger one has."""
    while scale and whole % 10 == 0:
        whole //= 10
        scale -= 1
    return scale


cdef inline int best_scale(const int* need, int odd, int n) noexcept nogil:
    """The scale that costs least: 10 / 3 bits a digit in each of n values, RAW_BITS where it does not suffice."""
    cdef int scale, best = SCALE_MAX, above = odd
    cdef int64_t cost, least = 1 << 60
    if odd * 4 > n:
        return BITS
    for scale in range(SCALE_MAX, -1, -1):
        cost = <int64_t> n * 10 * scale + <int64_t> above * 3 * RAW_BITS
        if cost < least:
            least = cost
            best = scale
        above += need[scale]
    return best


cdef inline int choose_scale(scratch_t* s, int first, int fields) noexcept nogil:
    """The scale for `fields` fields of all rows, from the field `first` on."""
    cdef int need[13]
    cdef int f, j, scale = 0, odd = 0, found
    cdef int64_t whole
    for f in range(first, first + fields):
        for j in range(s.n):
            found = scale_of(s.value[f][j], scale)
            if found != BITS:
                scale = found
                continue
            odd += 1
            if odd * 4 > s.n * fields:
                return BITS
    memset(need, 0, sizeof(need))
    for f in range(first, first + fields):
        for j in range(s.n):
            if to_whole(s.value[f][j], scale, &whole):
                need[needed(whole, scale)] += 1
    return best_scale(need, odd, s.n * fields)


cdef inline int zeros(scratch_t* s, int first, int fields) noexcept nogil:
    """The low bits that are zero in all integers of some fields, made at shift 0."""
    cdef uint64_t seen = 0
    cdef int f, j
    for f in range(first, first + fields):
        for j in range(s.n):
            if not s.is_raw[f][j]:
                seen |= <uint64_t> s.i[f][j]
    return codec_zeros(seen) if seen else 0


cdef inline int to_integers(scratch_t* s, int f, int scale, int shift) noexcept nogil:
    """s.i[f] and s.is_raw[f]; how many are raw."""
    cdef int j, raw = 0
    cdef bint fits
    for j in range(s.n):
        if f == SUM:
            fits = sum_to_integer(s.value[f][j], scale, shift, &s.i[f][j])
        else:
            fits = to_integer(s.value[f][j], scale, shift, &s.i[f][j])
        s.is_raw[f][j] = not fits
        if not fits:
            s.i[f][j] = 0
            raw += 1
    return raw


cdef inline void set_form(scratch_t* s, int g, int first, int fields) noexcept nogil:
    cdef int f, j, shift
    s.scale[g] = choose_scale(s, first, fields)
    for f in range(first, first + fields):
        to_integers(s, f, s.scale[g], 0)
    shift = s.shift[g] = zeros(s, first, fields)
    if not shift:
        return
    for f in range(first, first + fields):
        for j in range(s.n):
            s.i[f][j] >>= shift


cdef inline void set_forms(scratch_t* s) noexcept nogil:
    set_form(s, 0, COUNT, 1)
    set_form(s, 1, LAST, 3)
    s.scale[2] = s.scale[1]
    s.shift[2] = s.shift[1]
    if s.scale[1] == BITS or to_integers(s, SUM, s.scale[1], s.shift[1]) * 4 > s.n:
        set_form(s, 2, SUM, 1)


cdef inline void set_m2(scratch_t* s) noexcept nogil:
    """The codes of m2 of the rows that have one, and in x what the other fields say of them."""
    cdef int j, m = 0
    cdef double total
    for j in range(s.n):
        if s.value[LEAST][j] != s.value[MOST][j]:
            total = s.value[SUM][j] if s.is_raw[SUM][j] else to_double(s.i[SUM][j], s.scale[2], s.shift[2])
            s.i[M2][m] = m2_code(s.value[M2][j])
            s.x[m] = m2_guess(s.value[COUNT][j], total, s.value[LEAST][j], s.value[MOST][j])
            s.is_raw[M2][m] = False
            m += 1
    s.m = m


cdef inline void set_crossing(scratch_t* s, int f, int crosses) noexcept nogil:
    """x, that the terms are less by; of m2 set_m2 has set it."""
    cdef int j
    if f != M2:
        for j in range(s.n):
            s.x[j] = crossing(f, crosses, s.i[COUNT], s.i[LAST], s.i[LEAST], s.i[MOST], j)


# ---- plans -----------------------------------------------------------------------------------------------------------

cdef inline void set_terms(scratch_t* s, int f, int n, int crosses) noexcept nogil:
    cdef int j
    cdef int64_t* i = s.i[f]
    if crosses:
        set_crossing(s, f, crosses)
    for j in range(n):
        s.t[j] = wrap_sub(i[j], s.x[j]) if crosses else i[j]


cdef inline int64_t middle(const scratch_t* s, int f, int n) noexcept nogil:
    """About the mean of the terms that are not raw."""
    cdef double total = 0
    cdef int j, first = -1, rows = 0
    for j in range(n):
        if not s.is_raw[f][j]:
            if first < 0:
                first = j
            total += <double> wrap_sub(s.t[j], s.t[first])
            rows += 1
    if not rows:
        return 0
    total /= rows
    return wrap_add(s.t[first], <int64_t> total if fabs(total) < 9e18 else 0)


cdef inline int64_t lengths_of(
    const scratch_t* s, int f, int n, const plan_t* plan, int kind, bint* is_zero
) noexcept nogil:
    """`kind` is a constant where this is called, so that each has a loop without branches."""
    cdef past_t past = begin_past(plan)
    cdef int64_t all_bits = 0
    cdef uint64_t u, any_bit = 0
    cdef int j
    past.kind = kind
    for j in range(n):
        if s.is_raw[f][j]:
            continue
        u = zigzag(wrap_sub(s.t[j], told(&past)))
        remember(&past, s.t[j])
        any_bit |= u
        all_bits += codec_length(u)
    is_zero[0] = not any_bit
    return all_bits


cdef inline int64_t lengths(const scratch_t* s, int f, int n, const plan_t* plan, bint* is_zero) noexcept nogil:
    """The bits of all residuals of a plan together."""
    cdef int kind = plan.predictor & ~CROSSES
    if kind == PLAIN:
        return lengths_of(s, f, n, plan, PLAIN, is_zero)
    if kind == DELTA:
        return lengths_of(s, f, n, plan, DELTA, is_zero)
    if kind == DELTA2:
        return lengths_of(s, f, n, plan, DELTA2, is_zero)
    if kind == MEAN2:
        return lengths_of(s, f, n, plan, MEAN2, is_zero)
    if kind == MEAN4:
        return lengths_of(s, f, n, plan, MEAN4, is_zero)
    return lengths_of(s, f, n, plan, MEAN8, is_zero)


cdef inline int64_t rice_bits(const uint64_t* u, const uint8_t* is_raw, int n, int k) noexcept nogil:
    cdef int64_t bits = 0
    cdef int j
    for j in range(n):
        if is_raw[j]:
            bits += RAW_BITS
        elif u[j] >> k < QUOTIENT:
            bits += <int64_t> (u[j] >> k) + 1 + k
        else:
            bits += QUOTIENT + 6 + codec_length(u[j])
    return bits


cdef inline void set_residuals(scratch_t* s, int f, int n, const plan_t* plan) noexcept nogil:
    """s.u[f], as the plan has it; what cannot be said becomes raw, and its integer what is foretold, as for readers."""
    cdef past_t past = begin_past(plan)
    cdef bint is_crossed = plan.predictor & CROSSES
    cdef int64_t term
    cdef int j
    for j in range(n):
        term = told(&past)
        s.u[f][j] = zigzag(wrap_sub(s.t[j], term))
        if s.is_raw[f][j] or s.u[f][j] >> 63:
            s.is_raw[f][j] = True
            s.u[f][j] = 0
            s.t[j] = term
            s.i[f][j] = wrap_add(term, s.x[j]) if is_crossed else term
        remember(&past, s.t[j])


cdef inline void try_plan(
    scratch_t* s, int f, int n, int crosses, int kind, plan_t* best, int64_t* least
) noexcept nogil:
    """Take the plan when it is better than the best so far. The terms are set."""
    cdef plan_t plan
    cdef bint is_zero
    cdef int64_t bits
    plan.predictor = <uint8_t> (kind | crosses)
    plan.base = s.t[0] if DELTA <= kind <= DELTA2 else middle(s, f, n)
    bits = lengths(s, f, n, &plan, &is_zero)
    if least[0] < 0 or bits < least[0]:
        least[0] = bits
        plan.coder = CONSTANT if is_zero else 0
        best[0] = plan


cdef inline void choose_predictor(scratch_t* s, int f, int n, int crosses_max, plan_t* plan) noexcept nogil:
    """The best way over the fields by the mean and by the row before, then the best way over time for it."""
    cdef int64_t least = -1
    cdef int crosses, kind, way
    plan.coder = 0
    for way in range(crosses_max // CROSS + 1):
        crosses = way * CROSS
        set_terms(s, f, n, crosses)
        for kind in range(DELTA + 1):
            try_plan(s, f, n, crosses, kind, plan, &least)
            if not least:
                return
    crosses = plan.predictor & CROSSES
    set_terms(s, f, n, crosses)
    for kind in range(DELTA2, KINDS):
        try_plan(s, f, n, crosses, kind, plan, &least)


cdef inline void choose_coder(scratch_t* s, int f, int n, plan_t* plan) noexcept nogil:
    """Rice's parameter, or the width of numbers that fill their range, for which the base becomes the least."""
    cdef int64_t bits, least, all_bits = 0, low, high
    cdef int k, best, j, raw = 0, width
    for j in range(n):
        all_bits += codec_length(s.u[f][j])
        raw += s.is_raw[f][j]
    best = <int> (all_bits // n)
    best = best if best < RICE_K_MAX else RICE_K_MAX
    least = rice_bits(s.u[f], s.is_raw[f], n, best)
    for k in range(best - 1 if best else 0, best + 2 if best < RICE_K_MAX else RICE_K_MAX + 1):
        bits = rice_bits(s.u[f], s.is_raw[f], n, k)
        if bits < least:
            least = bits
            best = k
    plan.coder = best
    if raw or plan.predictor & ~CROSSES != PLAIN:
        return
    low = high = s.t[0]
    for j in range(n):
        low = s.t[j] if s.t[j] < low else low
        high = s.t[j] if s.t[j] > high else high
    width = codec_length(<uint64_t> wrap_sub(high, low))
    if <int64_t> width * n >= least:
        return
    plan.coder = FIXED + width
    plan.base = low
    for j in range(n):
        s.u[f][j] = <uint64_t> wrap_sub(s.t[j], low)


cdef inline void plan_field(scratch_t* s, int f, int n, int crosses_max) noexcept nogil:
    cdef plan_t* plan = &s.plan[f]
    cdef int j, raw = 0
    plan.coder = CONSTANT
    plan.predictor = PLAIN
    plan.base = 0
    if not n:
        return
    choose_predictor(s, f, n, crosses_max, plan)
    set_terms(s, f, n, plan.predictor & CROSSES)
    set_residuals(s, f, n, plan)
    for j in range(n):
        raw += s.is_raw[f][j]
    if plan.coder != CONSTANT or raw:
        choose_coder(s, f, n, plan)


cdef inline void plan_series(scratch_t* s) noexcept nogil:
    set_forms(s)
    plan_field(s, COUNT, s.n, 0)
    plan_field(s, LAST, s.n, 0)
    plan_field(s, LEAST, s.n, CROSS_BEFORE)
    plan_field(s, MOST, s.n, CROSS_BEFORE)
    plan_field(s, SUM, s.n, CROSS_BEFORE if s.scale[2] == s.scale[1] and s.shift[2] == s.shift[1] else 0)
    set_m2(s)
    plan_field(s, M2, s.m, CROSS)
