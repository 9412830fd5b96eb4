# The store's memory, one struct for each thing. Allocated by _ring.Store, written by _append and _intern under the
# mutex, read in place by the kernels (columns only). Everything is sized from the cap on series at start, as zeroed
# pages that cost nothing until touched.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from hms_ops._hll cimport sets_t
from hms_ops._sample cimport reject_t, tally_t
from hms_ops._sketch cimport budget_t, hist_t

cdef extern from "_native.h" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_trylock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int64_t hms_monotonic_ns()
    void hms_prefetch(const void* p)
    void hms_prefetch_write(const void* p)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    NONE = 0xFFFFFFFF

    TIERS = 3
    FIELDS = 6
    SLOTS = 64
    F_COUNT = 0
    F_SUM = 1
    F_M2 = 2
    F_MIN = 3
    F_MAX = 4
    F_LAST = 5

    KIND_PROVISIONAL = 0x80     # in cell_t.kind and metric_t.kind: inferred, the first explicit kind settles it

    CELL_LIVE = 1
    CELL_SUBSCRIBED = 2         # on_metric wants each value
    CELL_RESERVED = 4           # a rule's own gauge: only the engine itself may write it
    CELL_HAS_LAST = 8           # `last` holds a value, so that +n and -n have something to add to
    CELL_SET = 16               # a set's samples take another way
    CELL_JUDGED = 32            # its samples are counted against the goals of its metric
    CELL_PLAIN = 9              # CELL_LIVE and CELL_HAS_LAST and nothing else: the fast way
    CELL_PLAIN_JUDGED = 41      # these two and CELL_JUDGED: nearly as fast

    GOALS_MAX = 6               # of one metric: what a judged_t has room for in its cache line
    JUDGED_METRICS_MAX = 1024   # metrics that have goals; the first is none

    INPUTS_MAX = 64
    INPUT_SELF = 0              # the engine's own samples
    INPUT_IN_PROCESS = 1
    ALIASES_MAX = 8             # raw spellings kept for one series
    OVERFLOW_SLOTS = 1024       # beyond the cap, for the series tagged __overflow__:true
    BLOCK = 64                  # samples whose cache misses overlap

# One series' open second: one cache line.
ctypedef struct cell_t:
    double count                # Σ weight
    double sum                  # Σ weight × value
    double m2                   # Σ weight × (value − mean)²
    double min
    double max
    double last                 # kept when the second turns
    uint32_t second             # Unix second it belongs to; a stale cell is cleared by whoever touches it
    uint32_t head               # samples ever put into the ring
    uint32_t generation         # odd numbers of lives: changes when the slot is given back
    uint8_t kind
    uint8_t flags
    uint16_t drained            # of a timing series: low bits of the head up to which the ring is in its sketches

ctypedef struct raw_t:
    int64_t time_ns
    double value

# How much of a series' open second was good, by each goal of its metric: one cache line, used where CELL_JUDGED is set.
# Beside the cell, not in it: a cell is full, and who has no goals pays nothing.
ctypedef struct judged_t:
    double good[6]              # Σ weight of the samples that a goal takes
    uint32_t second             # Unix second they belong to; 0: none
    uint32_t goals              # of its metric: index into store_t.goals
    uint64_t reserved0

# A goal takes the values in [low, high], or those outside of it.
ctypedef struct goal_t:
    double low
    double high
    bint is_outside

ctypedef struct goals_t:
    goal_t goals[6]
    uint32_t n
    bint is_taken

# What a series is, touched only when it is born, dies or is asked for.
ctypedef struct meta_t:
    uint32_t first_key          # its canonical key; the chain goes on with its aliases
    uint32_t metric
    uint32_t next               # series of the same metric, doubly linked
    uint32_t previous
    uint32_t pins               # Python handles: a pinned series keeps its slot
    uint16_t aliases

ctypedef struct metric_t:
    uint32_t key
    uint32_t first              # its series
    uint32_t overflow           # slot of its __overflow__ series, NONE
    uint32_t series
    uint8_t kind
    uint8_t flags               # CELL_SUBSCRIBED, CELL_RESERVED, CELL_JUDGED: inherited by its series
    uint16_t goals              # with CELL_JUDGED: index into store_t.goals

# The intern table: open addressing, linear probing, stored hashes.
ctypedef struct entry_t:
    uint64_t hash
    uint32_t key                # in the arena, in units of KEY_UNIT; 0 is a free entry
    uint32_t value              # series slot, or index of the metric

ctypedef struct key_t:
    uint32_t next               # next key of the same series
    uint16_t name_len
    uint16_t tags_len
    uint8_t spelling
    uint8_t state               # KEY_FREE, KEY_BEHIND_FREE
    uint16_t units              # size in the arena
    uint32_t value              # as in the entry; of a free block the previous one in its list

cdef enum:
    KEY_UNIT = 16
    KEY_UNITS_MAX = 320         # (16 + 200 + 4096 + 8) / 16, rounded up

    KEY_FREE = 1                # a block nobody uses: two of them never touch, and none is the last
    KEY_BEHIND_FREE = 2         # the block before is free

ctypedef struct intern_t:
    entry_t* entries
    uint64_t mask
    uint64_t used
    uint64_t used_max           # three quarters: beyond, aliases and series are refused
    char* arena
    uint32_t arena_units        # taken so far
    uint32_t arena_units_max
    uint32_t free_units         # of them, given back
    uint32_t free_keys[320]     # lists of free blocks by units; at 0 the ones that hold any key
    uint64_t seed

# A stamped sample that waits for the tick.
ctypedef struct late_t:
    double value
    double weight
    uint32_t second
    uint32_t slot
    uint32_t generation
    uint32_t reserved0

# A value from an in-process call that waits to be appended; the GIL guards the buffer.
ctypedef struct pending_t:
    double value
    uint32_t slot
    uint8_t kind
    uint8_t input

ctypedef struct subscribed_t:
    double value
    uint32_t slot

# What a timing series keeps for percentiles (_timings.pyx): samples of an open second or 10-s step that the ring cannot
# hold …
ctypedef struct piece_t:
    piece_t* next
    uint32_t begin              # Unix second
    uint32_t seconds            # 1 or 10
    hist_t hist

# … and the sketches of closed steps of one length, oldest first.
ctypedef struct shelf_t:
    uint8_t* records            # of each: low byte of its step's number, size (uint16, low byte first), sketch
    uint32_t start              # bytes
    uint32_t end
    uint32_t room
    uint32_t last               # number of the newest step

ctypedef struct timing_t:
    piece_t* pieces
    shelf_t shelves[2]          # 10 s, 60 s

ctypedef struct timings_t:
    timing_t** by_slot          # capacity pointers, NULL for series that keep nothing
    hist_t scratch              # for one series at a time
    budget_t budget             # of all of them together
    uint64_t lost               # samples that memory was refused to

ctypedef struct store_t:
    pthread_mutex_t mutex
    bint dead                   # after a fork, in the child
    int64_t offset_ns           # wall clock − monotonic clock
    int64_t manual_ns           # a test's clock; 0: the real one
    cell_t* cells
    raw_t* rings
    double* columns             # [TIERS][FIELDS][SLOTS][capacity]
    double* last_value
    int64_t* last_second
    meta_t* meta
    metric_t* metrics
    uint32_t* free_slots
    uint32_t* free_metrics
    uint32_t* changes           # slot << 1 | born, a ring
    late_t* late
    judged_t* judged            # by slot; NULL until the first goal
    goals_t* goals              # by metric_t.goals
    double* goods[6]            # [SLOTS][capacity] sealed seconds of each goal, beside tier 0; NULL until it is used
    late_t* judged_late         # late samples of judged series, merged into seconds that were taken already
    pending_t* pending
    subscribed_t* subscribed
    intern_t keys
    sets_t sets
    timings_t timings
    uint32_t series_max         # the cap
    uint32_t capacity           # the cap plus OVERFLOW_SLOTS
    uint32_t high               # slots ever used
    uint32_t live
    uint32_t overflow_live      # of them, __overflow__ series: they take no place of the cap
    uint32_t metrics_high
    uint32_t free_n
    uint32_t free_metrics_n
    uint32_t changes_mask
    uint64_t changes_n
    uint32_t ring_mask
    uint32_t ring_shift         # of a slot to the first place of its ring
    uint32_t late_n
    uint32_t late_max
    uint32_t judged_late_n
    uint32_t pending_n
    uint32_t pending_max
    uint64_t subscribed_n       # ever pushed
    uint64_t subscribed_read
    uint64_t subscribed_dropped
    uint32_t subscribed_mask
    int64_t first_second
    int64_t sealed_second
    int64_t judged_second       # goods up to here were taken: what comes late for them is listed
    int64_t cleared_second      # count rows of tier 0 are zero up to here
    int64_t rolled_end[3]       # end of the last closed step of each tier; [0] is not used
    uint64_t overflowed         # samples folded into __overflow__ series
    uint64_t aliases_refused
    uint64_t released
    uint64_t late_merged
    uint64_t late_lost          # accepted, but merged nowhere
    uint64_t seconds_lost
    uint64_t judged_lost        # late samples of judged series, not listed: nobody took the list
    uint32_t overflow_slots[7]  # the __overflow__ series of unknown metrics, by kind
    tally_t inputs[64]
    uint32_t inputs_n
    reject_t rejects[100]
    uint64_t rejects_n          # ever noted


cdef inline int64_t store_now_ns(const store_t* st) noexcept nogil:
    return st.manual_ns if st.manual_ns else hms_monotonic_ns() + st.offset_ns


cdef inline double* column_row(const store_t* st, int tier, int field, int64_t step) noexcept nogil:
    """The row of one step (in units of the tier's step) of one field."""
    return st.columns + ((<size_t>tier * FIELDS + field) * SLOTS + (step & (SLOTS - 1))) * st.capacity


cdef inline double* goods_row(const store_t* st, uint32_t goal, int64_t second) noexcept nogil:
    """Of one goal of each metric: what was good in a second, by slot. Undefined where the second's COUNT is 0."""
    return st.goods[goal] + <size_t>(second & (SLOTS - 1)) * st.capacity
