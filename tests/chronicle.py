"""A history whose every row is a pure function of step and id: what is done to it, and what it then must hold.

    deed(n) ──do──► History            Model.advance(n) ──► the rows and sketches that n deeds leave

For the harnesses that break history (crash.py, flips.py). Time runs in hours, each with the same table of deeds: steps
of all three tiers, the hour rolled from the minutes, steps written twice, patches for blocks that are open, being
sealed or sealed. A deed is one transaction of one environment, so after a kill it is there or it is not.

The ids are 1 to SERIES; a fifth each are constant, integers, two-decimal gauges, full-entropy doubles and slow, and a
quarter are sparse.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops import _sketch
from hms_ops.sketches import Sketches
from hms_ops.storage import merge
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.merge import Columns, Part
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

START: Final = 1_699_920_000  # 2023-11-14: all partitions but the hours' begin here
SERIES: Final = 600
IDS: Final = np.arange(1, SERIES + 1, dtype=np.uint32)
SKETCHED: Final = np.arange(16, SERIES + 1, 16, dtype=np.uint32)
CONFIG: Final = HistoryConfig((8 * 3600, 36 * 3600, 240 * 3600), bytes_max=1 << 40, disk_free_min=0)

Blobs = dict[tuple[int, int], list[bytes]]
"""By id and step."""


class Deed(NamedTuple):
    """`now`: when it is done; tier and steps it is about, Unix seconds; `part` makes its rows others than before."""

    now: int
    kind: str  # "append", "patch", "roll"
    tier: int
    steps: tuple[int, ...]
    part: int = 0


def _hour() -> list[Deed]:
    """The deeds of the hour that begins at 0."""
    deeds = [Deed(at + 10, "append", TEN_SECONDS, (at,)) for at in range(0, 3600, 100)]
    deeds += [Deed(at + 60, "append", MINUTE, (at,)) for at in range(0, 3600, 600)]
    deeds += [Deed(905, "append", TEN_SECONDS, (800,), part=1)]
    deeds += [Deed(65, "roll", HOUR, (-3600,))]
    for part, now in enumerate((75, 95, 115, 215), 2):  # the block before is being sealed about now
        steps = tuple(-3600 + 10 * part + at for at in (0, 600, 1270, 3500))
        deeds.append(Deed(now, "patch", TEN_SECONDS, steps, part))
    deeds += [Deed(1500, "patch", TEN_SECONDS, (-18_000, -17_990, -16_000), part=6)]
    deeds += [Deed(2000, "patch", MINUTE, (-21_600, -21_000), part=1)]
    deeds += [Deed(2050, "patch", MINUTE, (0, 1200), part=2)]
    deeds += [Deed(2100, "patch", HOUR, (-7200,), part=1)]
    return sorted(deeds)


TABLE: Final = _hour()


def deed(n: int) -> Deed:
    """The n-th, from 0 on."""
    hour, number = divmod(n, len(TABLE))
    origin = START + 3600 * hour
    at = TABLE[number]
    return at._replace(now=at.now + origin, steps=tuple(step + origin for step in at.steps))


def do(history: History, what: Deed) -> None:
    """Put one deed on disk, as the recorder would."""
    history.retain(what.now * 1_000_000_000)
    if what.kind == "roll":
        history.roll(HOUR, what.steps[0])
    elif what.kind == "append":
        history.append(what.tier, what.steps[0], columns(what.tier, what.steps[0], what.part), sketches(what))
    else:
        history.append_patch(what.tier, part_of(what), sketches(what))


# ---- what is written


def columns(tier: int, step: int, part: int) -> Columns:
    """The rows of one step by id: float64[6, SERIES + 1], COUNT 0 where there is none."""
    ids = np.arange(SERIES + 1, dtype=np.uint64)
    h = _mixed(_mixed(ids + np.uint64(step * 8 + part)) + np.uint64(tier))
    count = (np.uint64(1) + (h >> np.uint64(8)) % np.uint64(10)).astype(float)
    count[count > 6] = 1.0
    value, wide = _values(ids, h, step), (count > 1) * ((h >> np.uint64(40)) % np.uint64(100)) / 4.0
    dense = np.zeros((6, SERIES + 1))
    dense[merge.COUNT] = count
    dense[merge.MIN], dense[merge.MAX] = value, value + wide
    dense[merge.LAST] = value + wide * ((h >> np.uint64(50)) % np.uint64(2))
    dense[merge.SUM] = np.where(count > 1, value * (count - 1) + (value + wide), value)
    dense[merge.M2] = (dense[merge.MAX] - value) ** 2 * (count - 1) / count
    is_seen = (ids % 4 != 1) | (h % np.uint64(8) == 0)
    is_seen &= (h % np.uint64(5) == 0) if part else True
    is_seen[0] = False
    dense[merge.COUNT, ~is_seen] = 0.0
    return dense


def _values(ids: NDArray[np.uint64], h: NDArray[np.uint64], step: int) -> NDArray[np.float64]:
    number = ((h >> np.uint64(16)) % np.uint64(100_000)).astype(float)
    entropy = ((h >> np.uint64(11)).astype(float) * 2.0**-53 - 0.5) * 10.0 ** (ids % 7).astype(float)
    kinds = [ids.astype(float), number, number / 100, entropy, ids * 10.0 + step // 600 % 50]
    return np.choose((ids % 5).astype(int), kinds)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finish: neighbours have nothing in common."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def part_of(what: Deed) -> Part:
    """The rows of a deed that is no roll: (steps, ids, columns), ascending."""
    found = []
    for step in what.steps:
        dense = columns(what.tier, step, what.part)
        seen = np.flatnonzero(dense[merge.COUNT])
        found.append((np.full(len(seen), step, np.int64), seen, dense[:, seen]))
    return merge.join(found)


def sketches(what: Deed) -> Sketches | None:
    """The minute has some."""
    if what.tier != MINUTE:
        return None
    blobs = [_blob(series_id, step, what.part) for step in what.steps for series_id in SKETCHED.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
    ids, steps = np.tile(SKETCHED, len(what.steps)), np.repeat(np.array(what.steps, np.int64), len(SKETCHED))
    return Sketches(ids, steps, offsets, b"".join(blobs))


def _blob(series_id: int, step: int, part: int) -> bytes:
    seed = series_id * 7919 + step // 60 * 31 + part
    return _sketch.from_values(1.0 + np.arange(1 + seed % 7) * (seed % 1000) / 8)


# ---- what must be there


class Model:
    """Rows and sketches of each block after `n` deeds, by tier; expired ones while their partition may be there."""

    def __init__(self) -> None:
        self.n = 0
        self.rows: list[dict[int, list[Part]]] = [{} for _ in TIERS]
        self.blobs: list[dict[int, Blobs]] = [{} for _ in TIERS]

    @property
    def now(self) -> int:
        """When the latest deed was done."""
        return deed(max(0, self.n - 1)).now

    def advance(self, n: int) -> None:
        for number in range(self.n, n):
            self._apply(deed(number))
        self.n = n
        for tier, keep in enumerate(CONFIG.keep_seconds):
            gone = self.now - keep - TIERS[tier].partition_seconds
            for blocks in (self.rows[tier], self.blobs[tier]):
                for block in [block for block in blocks if block + TIERS[tier].block_seconds < gone]:
                    del blocks[block]  # type: ignore[attr-defined]

    def expected(self, tier: int, block: int) -> Part:
        """Its rows, folded; no rows for a block without any."""
        return merge.fold(*merge.join(self.rows[tier].get(block, [])))

    def is_expired(self, tier: int, block: int, now: int) -> bool:
        """Whether it may have been given up at `now`."""
        return block + TIERS[tier].block_seconds <= now - CONFIG.keep_seconds[tier]

    def _apply(self, what: Deed) -> None:
        if what.kind == "roll":
            self._roll(what.steps[0])
            return
        self._add(what.tier, part_of(what))
        found = sketches(what)
        for i in range(len(found) if found is not None else 0):
            assert found is not None
            self._add_blob(what.tier, int(found.ids[i]), int(found.steps[i]), found.blob(i))

    def _roll(self, hour: int) -> None:
        block = TIERS[MINUTE].block_start(hour)
        steps, ids, values = self.expected(MINUTE, block)
        inside = (steps >= hour) & (steps < hour + 3600)
        self._add(HOUR, merge.fold(np.full(int(inside.sum()), hour), ids[inside], values[:, inside]))
        for (series_id, step), blobs in list(self.blobs[MINUTE].get(block, {}).items()):
            if hour <= step < hour + 3600:
                self._add_blob(HOUR, series_id, hour, _sketch.merge(blobs))

    def _add(self, tier: int, part: Part) -> None:
        if not len(part[0]):
            return
        starts = part[0] - part[0] % TIERS[tier].block_seconds
        for block in np.unique(starts).tolist():
            inside = starts == block
            chosen = (part[0][inside], part[1][inside].astype(np.int64), part[2][:, inside])
            self.rows[tier].setdefault(block, []).append(chosen)

    def _add_blob(self, tier: int, series_id: int, step: int, blob: bytes) -> None:
        blobs = self.blobs[tier].setdefault(TIERS[tier].block_start(step), {})
        blobs.setdefault((series_id, step), []).append(blob)


# ---- comparing


def differences(history: History, model: Model, now: int) -> Iterator[str]:
    """What of the model history lacks, or has otherwise, one line each; `now`: up to when it may have given up."""
    for tier, blocks in enumerate(model.rows):
        found_rows = expected_rows = 0
        for block in sorted(blocks):
            end = block + TIERS[tier].block_seconds
            found = history.read_columns(tier, IDS, block, end)
            expected = model.expected(tier, block)
            if not len(found[0]) and model.is_expired(tier, block, now):
                continue
            found_rows, expected_rows = found_rows + len(found[0]), expected_rows + len(expected[0])
            where = f"{TIERS[tier].name} block {block}"
            yield from (f"{where}: {text}" for text in different_rows(found, expected))
            blobs = model.blobs[tier].get(block, {})
            yield from (f"{where}: {text}" for text in _different_blobs(history, tier, block, blobs))
        every = len(history.read_columns(tier, IDS, min(blocks, default=0), 1 << 40)[0])
        if every != found_rows:
            yield f"{TIERS[tier].name} has {every} rows in all, {found_rows} block by block"


def different_rows(found: Part, expected: Part) -> Iterator[str]:
    """Read rows, whose groups are places among IDS, against expected ones, whose groups are ids; both folded."""
    got = found[0] * (SERIES + 1) + IDS[found[1]]
    want = expected[0] * (SERIES + 1) + expected[1]
    for what, keys in (("is missing", np.setdiff1d(want, got)), ("should not be there", np.setdiff1d(got, want))):
        if len(keys):
            step, series_id = divmod(int(keys[0]), SERIES + 1)
            yield f"{len(keys)} of {len(want)} rows: the row of id {series_id} at {step} {what}"
    if len(got) != len(want) or (got != want).any():
        return
    tolerance = np.array([0.0, 1e-11, 0.2, 0.0, 0.0, 0.0])[:, None]  # m2: 4.4 % each time it is written
    scale = np.array([0.0, 1e-9, 1e-9, 0.0, 0.0, 0.0])[:, None]
    is_wrong = ~(np.abs(found[2] - expected[2]) <= tolerance * np.abs(expected[2]) + scale)
    if is_wrong.any():
        field, row = (int(at[0]) for at in np.nonzero(is_wrong))
        yield (
            f"{int(is_wrong.any(axis=0).sum())} rows differ: {merge.FIELDS[field]} of id {expected[1][row]} at "
            f"{expected[0][row]} is {found[2][field, row]!r}, not {expected[2][field, row]!r}"
        )


def _different_blobs(history: History, tier: int, block: int, blobs: Blobs) -> Iterator[str]:
    found = history.read_sketches(tier, SKETCHED, block, block + TIERS[tier].block_seconds)
    got: Blobs = {}
    for i in range(len(found)):
        got.setdefault((int(SKETCHED[found.ids[i]]), int(found.steps[i])), []).append(found.blob(i))
    for what, names in (("missing", blobs.keys() - got.keys()), ("too many", got.keys() - blobs.keys())):
        if names:
            yield f"{len(names)} of {len(blobs)} sketches are {what}, so of (id, step) {min(names)}"
    differing = [name for name in blobs.keys() & got.keys() if _sketch.merge(got[name]) != _sketch.merge(blobs[name])]
    if differing:
        yield f"{len(differing)} of {len(blobs)} sketches differ, so of (id, step) {min(differing)}"
