"""Garbage collection put off while a great many objects are made that all stay.

Python's collector looks at all young objects again and again while they are made, and at all old ones whenever a
quarter has come to them: of 100,000 alerts that takes as long as making them. Nothing made here is garbage; whatever
else becomes garbage meanwhile waits some tenths of a second. Threads: any; whoever ends first switches it on again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MANY: Final = 1_000


@contextmanager
def uncollected(count: int) -> Iterator[None]:
    """While `count` objects are made; nothing changes for fewer than MANY, or where it is off anyway."""
    is_off = count >= MANY and gc.isenabled()
    if is_off:
        gc.disable()
    try:
        yield
    finally:
        if is_off:
            gc.enable()
