"""Walks the trees of an LMDB file by plain reads, trusting nothing in them. Documented in `_pages.pyi`; the format is
that of `pages.py`."""

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy
from posix.types cimport off_t
from posix.unistd cimport pread

import numpy as np

cdef enum:
    DEPTH_MAX = 32              # CURSOR_STACK of mdb.c
    PAGE_HEAD = 16
    NODE_HEAD = 8
    KEY_BYTES_MAX = 511
    BRANCH = 0x01
    LEAF = 0x02
    DATA_ON_PAGES = 0x01
    DATA_IS_TREE = 0x02
    INTEGER_KEYS = 0x08
    DATABASE_BYTES = 48

problems = (
    "",
    "lies behind the last page in use",
    "is in use and not in the file",
    "bears another number",
    "is no page of a tree",
    "has a head that cannot be",
    "names a node beyond its end",
    "has nodes that do not fill it",
    "has keys that do not ascend",
    "has a key that cannot be",
    "is deeper in its tree than the tree has levels",
    "names data beyond the last page",
    "holds a database that cannot be",
)
cdef enum:
    BEHIND = 1
    CUT
    NUMBER
    KIND
    HEAD
    NODE
    FILL
    ORDER
    KEY
    LEVEL
    DATA
    DATABASE


cdef struct walk_t:
    int fd
    uint32_t page_bytes
    uint64_t pages              # in use by the meta page: 0 to pages - 1
    uint64_t file_pages
    uint64_t at                 # the page that is looked at
    bint is_integer
    bint is_free_list
    uint8_t* rooms              # DEPTH_MAX pages
    uint64_t* runs              # (first page, pages) of all in use
    uint64_t* data              # (offset in the file, bytes) of each value of the free list
    size_t runs_used
    size_t runs_room
    size_t data_used
    size_t data_room
    uint64_t last_key           # of the free list: the greatest


cdef inline uint16_t u16(const uint8_t* at) noexcept nogil:
    return at[0] | <uint16_t> (at[1] << 8)


cdef inline uint64_t u64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef int put(uint64_t** pairs, size_t* used, size_t* room, uint64_t first, uint64_t second) noexcept nogil:
    cdef uint64_t* larger
    if used[0] == room[0]:
        room[0] = 2 * room[0] + 256
        larger = <uint64_t*> realloc(pairs[0], 16 * room[0])
        if larger == NULL:
            return -12
        pairs[0] = larger
    pairs[0][2 * used[0]] = first
    pairs[0][2 * used[0] + 1] = second
    used[0] += 1
    return 0


cdef inline int compare(const uint8_t* a, size_t a_bytes, const uint8_t* b, size_t b_bytes, bint is_integer
                        ) noexcept nogil:
    cdef int found
    cdef uint64_t x, y
    if is_integer:
        x, y = u64(a), u64(b)
        return (x > y) - (x < y)
    found = memcmp(a, b, min(a_bytes, b_bytes))
    if found == 0:
        return (a_bytes > b_bytes) - (a_bytes < b_bytes)
    return found


cdef int read_page(walk_t* w, uint64_t number, uint8_t* room) noexcept nogil:
    cdef ssize_t got
    w.at = number
    if number < 2 or number >= w.pages:
        return BEHIND
    if number >= w.file_pages:
        return CUT
    got = pread(w.fd, room, w.page_bytes, <off_t> (number * w.page_bytes))
    if got < 0:
        return -errno
    if got != <ssize_t> w.page_bytes:
        return CUT
    if u64(room) != number:
        return NUMBER
    return put(&w.runs, &w.runs_used, &w.runs_room, number, 1)


cdef int walk(walk_t* w, uint64_t number, int levels, const uint8_t* low, size_t low_bytes,
              const uint8_t* high, size_t high_bytes) noexcept nogil:
    """The page and all below it, `levels` in all; its keys are from `low` to before `high` (NULL: no bound)."""
    cdef uint8_t* page
    cdef const uint8_t* node
    cdef const uint8_t* key
    cdef const uint8_t* before = NULL
    cdef size_t before_bytes = 0, key_bytes, size, filled = 0
    cdef uint32_t lower, upper, flags, nodes, i, at
    cdef int problem
    if levels < 1:
        w.at = number
        return LEVEL
    page = w.rooms + <size_t> (levels - 1) * w.page_bytes
    problem = read_page(w, number, page)
    if problem:
        return problem
    flags, lower, upper = u16(page + 10), u16(page + 12), u16(page + 14)
    if flags != <uint32_t> (LEAF if levels == 1 else BRANCH):
        return KIND
    if lower < PAGE_HEAD or lower & 1 or upper < lower or upper > w.page_bytes:
        return HEAD
    nodes = (lower - PAGE_HEAD) // 2
    if nodes < 1 or (levels > 1 and nodes < 2):
        return HEAD
    for i in range(nodes):
        at = u16(page + PAGE_HEAD + 2 * i)
        if at < upper or at & 1 or at + NODE_HEAD > w.page_bytes:
            return NODE
        node = page + at
        key, key_bytes = node + NODE_HEAD, u16(node + 6)
        size = NODE_HEAD + key_bytes
        if levels == 1:
            size += 8 if u16(node + 4) & DATA_ON_PAGES else <size_t> (u16(node) | <uint32_t> u16(node + 2) << 16)
        if at + size > w.page_bytes:
            return NODE
        filled += size + (size & 1)
        if key_bytes > KEY_BYTES_MAX or (w.is_integer and key_bytes != 8 and (levels == 1 or i)):
            return KEY
        if levels == 1 or i:  # the first key of a branch is not looked at
            if key_bytes == 0:
                return KEY
            if before != NULL and compare(before, before_bytes, key, key_bytes, w.is_integer) >= 0:
                return ORDER
            if before == NULL and low != NULL and compare(key, key_bytes, low, low_bytes, w.is_integer) < 0:
                return ORDER
            before, before_bytes = key, key_bytes
    if before != NULL and high != NULL and compare(before, before_bytes, high, high_bytes, w.is_integer) >= 0:
        return ORDER
    if filled != w.page_bytes - upper:
        return FILL
    if levels > 1:
        return walk_branch(w, page, nodes, levels, low, low_bytes, high, high_bytes)
    return look_at_leaf(w, page, number, nodes)


cdef int walk_branch(walk_t* w, const uint8_t* page, uint32_t nodes, int levels, const uint8_t* low, size_t low_bytes,
                     const uint8_t* high, size_t high_bytes) noexcept nogil:
    cdef const uint8_t* node
    cdef const uint8_t* after
    cdef uint32_t i
    cdef uint64_t child
    cdef int problem
    for i in range(nodes):
        node = page + u16(page + PAGE_HEAD + 2 * i)
        child = u16(node) | <uint64_t> u16(node + 2) << 16 | <uint64_t> u16(node + 4) << 32
        after = page + u16(page + PAGE_HEAD + 2 * (i + 1)) if i + 1 < nodes else NULL
        problem = walk(
            w, child, levels - 1,
            node + NODE_HEAD if i else low, u16(node + 6) if i else low_bytes,
            after + NODE_HEAD if after != NULL else high, u16(after + 6) if after != NULL else high_bytes,
        )
        if problem:
            return problem
    return 0


cdef int look_at_leaf(walk_t* w, const uint8_t* page, uint64_t number, uint32_t nodes) noexcept nogil:
    cdef const uint8_t* node
    cdef const uint8_t* value
    cdef uint32_t i, flags, size
    cdef uint64_t first, pages
    cdef int problem = 0
    for i in range(nodes):
        node = page + u16(page + PAGE_HEAD + 2 * i)
        flags, size = u16(node + 4), u16(node) | <uint32_t> u16(node + 2) << 16
        value = node + NODE_HEAD + u16(node + 6)
        if w.is_free_list:
            w.last_key = u64(node + NODE_HEAD)
        if flags == DATA_ON_PAGES:
            first, pages = u64(value), (PAGE_HEAD - 1 + <uint64_t> size) // w.page_bytes + 1
            w.at = first
            if first < 2 or first >= w.pages or pages > w.pages - first:
                return DATA
            if first + pages > w.file_pages:
                w.at = first + pages - 1
                return CUT
            problem = put(&w.runs, &w.runs_used, &w.runs_room, first, pages)
            if problem == 0 and w.is_free_list:
                problem = put(&w.data, &w.data_used, &w.data_room, first * w.page_bytes + PAGE_HEAD, size)
        elif flags == DATA_IS_TREE and not w.is_free_list:
            problem = walk_database(w, value, size, number)
        elif flags:
            return DATABASE
        elif w.is_free_list:
            problem = put(&w.data, &w.data_used, &w.data_room,
                          number * w.page_bytes + <uint64_t> (value - page), size)
        if problem:
            return problem
    return 0


cdef int walk_database(walk_t* w, const uint8_t* record, uint32_t size, uint64_t number) noexcept nogil:
    """A named database within the unnamed one; it has none within."""
    cdef walk_t inner = w[0]
    cdef int depth, problem
    if size != DATABASE_BYTES:
        return DATABASE
    depth = u16(record + 6)
    if u16(record + 4) or depth > DEPTH_MAX or (u64(record + 40) == <uint64_t> -1) != (depth == 0):
        return DATABASE
    if depth == 0:
        return 0
    inner.rooms = <uint8_t*> calloc(DEPTH_MAX, w.page_bytes)
    if inner.rooms == NULL:
        return -12
    problem = walk(&inner, u64(record + 40), depth, NULL, 0, NULL, 0)
    free(inner.rooms)
    w.runs, w.runs_used, w.runs_room = inner.runs, inner.runs_used, inner.runs_room
    w.at = inner.at
    return problem


def walk_tree(int fd, uint32_t page_bytes, uint64_t pages, uint64_t file_pages, uint64_t root, int depth,
              bint is_free_list):
    cdef walk_t w
    cdef int problem
    if not 1 <= depth <= DEPTH_MAX or not 256 <= page_bytes <= 65536:
        raise ValueError(f"depth {depth} is not 1 to {DEPTH_MAX}, or page_bytes {page_bytes} not 256 to 65536")
    w.fd, w.page_bytes, w.pages, w.file_pages, w.at = fd, page_bytes, pages, file_pages, root
    w.is_integer = w.is_free_list = is_free_list
    w.runs = w.data = NULL
    w.last_key = 0
    w.runs_used = w.runs_room = w.data_used = w.data_room = 0
    w.rooms = <uint8_t*> calloc(DEPTH_MAX, page_bytes)
    if w.rooms == NULL:
        raise MemoryError
    try:
        with nogil:
            problem = walk(&w, root, depth, NULL, 0, NULL, 0)
        if problem < 0:
            raise OSError(-problem, "a page cannot be read")
        return problem, w.at, taken(w.runs, w.runs_used), taken(w.data, w.data_used), w.last_key
    finally:
        free(w.rooms)
        free(w.runs)
        free(w.data)


cdef taken(const uint64_t* pairs, size_t n):
    found = np.empty((n, 2), np.uint64)
    cdef uint64_t[:, ::1] out = found
    if n:
        memcpy(&out[0, 0], pairs, 16 * n)
    return found
