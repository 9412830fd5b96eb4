"""Which keys there are. LMDB has no checksums, and with a bit of its key flipped a value would be gone without a trace.

- Tiles: the marker of a sealed block holds the sum of the CRC32C of all its other keys, modulo 2^32 (`keys_sum`). Who
  puts tiles adds what they change; who opens the partition compares (shelf.py).
- Slabs: their keys are so regular that a flipped bit shows (`strange_slabs`): steps are multiples of 10 s, parts are
  numbered from 0 on without a gap, and the value begins as its kind does.

Pure functions of a transaction. Cost: 0.6 us a key; values of tiles are not touched.
"""

from collections.abc import Iterator
from typing import Final

from hms_ops.storage import keys, sketchblock, slabhead
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.environment import Transaction
from hms_ops.storage.tier import Tier

SUM_MASK: Final = 0xFFFF_FFFF

_MAGIC: Final = {keys.ROWS: slabhead.MAGIC, keys.SKETCHES: sketchblock.MAGIC}


def keys_sum(transaction: Transaction, block: int) -> int:
    """Of the tiles of a block, its marker apart; 0 when there are none."""
    total, end = 0, keys.tile_key(block, keys.MARKER)
    with transaction.cursor() as cursor:
        if cursor.set_range(keys.tile_key(block, 0)):
            for key in cursor.iternext(keys=True, values=False):
                if bytes(key) >= end:
                    break
                total += crc32c(key)
    return total & SUM_MASK


def strange_slabs(transaction: Transaction, tier: Tier, block: int) -> Iterator[bytes]:
    """The keys in a block's slabs that were never written so, or whose value is another's."""
    before: tuple[int, int, int] | None = None
    with transaction.cursor() as cursor:
        for key, value in cursor.iternext(keys=True, values=True):
            here = keys.slab_of(key) if len(key) == keys.SLAB_BYTES else None
            if here is None or not _is_regular(here, before, tier, block) or value[:4] != _MAGIC[here[1]]:
                yield bytes(key)
            before = here


def _is_regular(here: tuple[int, int, int], before: tuple[int, int, int] | None, tier: Tier, block: int) -> bool:
    step, kind, sequence = here
    is_in_block = block <= step < block + tier.block_seconds and step % tier.step_seconds == 0
    return is_in_block and kind in _MAGIC and (sequence == 0 or before == (step, kind, sequence - 1))
