"""Walks the trees of an LMDB file by plain reads, trusting nothing in them; for pages.py, which knows the format."""

import numpy as np
from numpy.typing import NDArray

problems: tuple[str, ...]
"""What is wrong with a page, by number, to be read behind the page's name; 0 is nothing."""

def walk_tree(
    fd: int, page_bytes: int, pages: int, file_pages: int, root: int, depth: int, is_free_list: bool
) -> tuple[int, int, NDArray[np.uint64], NDArray[np.uint64], int]:
    """Look at every page of a tree and of the databases in it, up to the first that cannot be: (problem, its page, runs
    uint64[k, 2], values uint64[m, 2], last key).

    pages: how many the file has by its meta page; file_pages: how many are whole in it. root and depth: of the tree,
    depth 1 to 32. runs: (first page, pages) of all that is in use, data pages too. values: (offset in the file, bytes)
    of the free list's values, none of another tree; last key: the free list's. Without the GIL; memory: 32 pages, 16
    bytes a run. OSError, and ValueError for a depth or page size that cannot be.

    Keys must ascend within a page and lie between those of the branch above; a page must bear its own number and kind,
    its nodes fill it, its level be the tree's depth. So a single bit that is wrong in a page's head, in a place, size
    or number of a node, or that breaks the order of keys, is found; data and other bits of keys are not looked at.
    """
