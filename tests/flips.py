"""Flipped bits in what is on disk: each is noticed or harmless, and none ends the process that reads it.

    python tests/flips.py --flips 10000 [--seed N] [--plant]

History is written by the deeds of chronicle.py; its environments (slabs and tiles of each tier) are copied while it is
open. A flip changes one bit in a copy, half of them anywhere in data.mdb, the others in its first two pages, in the
pages of LMDB's tree, in keys, in the first bytes of a slab or tile, or in FORMAT. A child then opens the directory and
reads all there is: every row and sketch, by series, by step and by tile; with every third flip it also appends a step,
seals the block, and reads again. What comes of it:

    harmless    everything reads as it was written
    noticed     a counter moved, or a StorageError said so; no row is other than one that was written
    silent      rows are gone or wrong, and nobody said so            ┐
    raised      something that is no StorageError                     ├ these fail
    died        the child was ended by a signal                       ┘

A child does one flip after another; when one ends it, the next child goes on behind it. `--plant` keeps quiet about
damaged slabs and tiles: the harness must then find silent flips.
"""

import argparse
import os
import random
import re
import shutil
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from tests import chronicle

from hms_ops.errors import StorageError
from hms_ops.storage import merge
from hms_ops.storage.environment import DATA_FILE, MARKER_FILE, MARKER_TEXT
from hms_ops.storage.history import History
from hms_ops.storage.shelf import Shelf
from hms_ops.storage.tier import TIERS

DEEDS: Final = 140
"""Two hours and three quarters: two sealed blocks of 10 s, and an open one of each tier."""

PLACES: Final = ("anywhere",) * 5 + ("meta", "tree", "key", "head", "marker")
PAGE: Final = 4096
FAILURES: Final = ("silent", "raised", "died")
SHOWN: Final = 20
WORKED_ON: Final = 3
"""One flip in so many is also written to and sealed."""

Read = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """One environment: its path below the data directory, data.mdb's bytes, and what `read` and `work_on` find."""

    path: Path
    data: bytes
    tier: int
    start: int
    is_tiles: bool
    read: Read = field(default_factory=dict)
    worked_on: Read = field(default_factory=dict)

    @property
    def end(self) -> int:
        tier = TIERS[self.tier]
        return self.start + (tier.partition_seconds if self.is_tiles else tier.block_seconds)

    def put(self, root: Path, flip: "Flip | None") -> None:
        """Alone in a data directory, with a bit flipped."""
        shutil.rmtree(root, ignore_errors=True)
        (root / self.path).mkdir(parents=True)
        files = {DATA_FILE: bytearray(self.data), MARKER_FILE: bytearray(MARKER_TEXT.encode())}
        if flip is not None:
            files[flip.file][flip.bit // 8] ^= 1 << flip.bit % 8
        for name, data in files.items():
            (root / self.path / name).write_bytes(data)


@dataclass(frozen=True, slots=True)
class Flip:
    subject: int
    file: str
    bit: int


# ---- what is flipped


def subjects(root: Path) -> list[Subject]:
    """Environments of a history that is open, with what was read of each alone."""
    history = History(root, chronicle.CONFIG)
    for number in range(DEEDS):
        chronicle.do(history, chronicle.deed(number))
        for tier, block in history.sealable(chronicle.deed(number).now):
            history.seal(tier, block)
    found = list(_environments(root))
    for tier in (1, 2):
        for block in history.blocks(tier):
            history.seal(tier, block.start)
    known = {subject.path for subject in found}
    found += [subject for subject in _environments(root) if subject.path not in known]
    history.close()
    for subject in found:
        for attempt, found_there in ((read, subject.read), (work_on, subject.worked_on)):
            subject.put(root, None)
            found_there.update(attempt(root, subject))
    return found


def _environments(root: Path) -> Iterator[Subject]:
    for tier, lengths in enumerate(TIERS):
        for path in sorted((root / "history" / lengths.name).glob("*/*/" + DATA_FILE)):
            is_tiles = path.parent.parent.name == "tiles"
            seconds = lengths.partition_seconds if is_tiles else lengths.block_seconds
            start = next(s for s in _starts(seconds) if path.parent.name == _name(s, seconds))
            yield Subject(path.parent.relative_to(root), path.read_bytes(), tier, start, is_tiles)


def _starts(seconds: int) -> Iterator[int]:
    first = chronicle.START - chronicle.START % seconds - seconds
    yield from range(first, first + 10 * max(seconds, 3600), seconds)


def _name(start: int, seconds: int) -> str:
    from hms_ops.storage.keys import partition_name

    return partition_name(start, seconds)


@dataclass(frozen=True, slots=True)
class Spots:
    """Where in a data.mdb there is what: tree pages by number, heads of values and (start, bytes) of keys by offset."""

    trees: list[int]
    heads: list[int]
    keys: list[tuple[int, int]]


def draw(r: random.Random, known: list[Subject], spots: list[Spots]) -> Flip:
    number = r.randrange(len(known))
    place = r.choice(PLACES)
    if place == "marker":
        return Flip(number, MARKER_FILE, r.randrange(8 * len(MARKER_TEXT)))
    if place == "meta":
        return Flip(number, DATA_FILE, r.randrange(2) * PAGE * 8 + r.randrange(160 * 8))
    if place == "tree":
        page = r.choice(spots[number].trees)
        used = PAGE - 1 if r.random() < 0.5 else 63
        return Flip(number, DATA_FILE, (page * PAGE + r.randint(0, used)) * 8 + r.randrange(8))
    if place == "key":
        start, size = r.choice(spots[number].keys)
        return Flip(number, DATA_FILE, (start + r.randrange(size)) * 8 + r.randrange(8))
    if place == "head":
        return Flip(number, DATA_FILE, (r.choice(spots[number].heads) + r.randrange(64)) * 8 + r.randrange(8))
    return Flip(number, DATA_FILE, r.randrange(8 * len(known[number].data)))


def spots_in(data: bytes) -> Spots:
    """Of pages in use and not; LMDB's layout is in pages.py."""
    flags = {page: struct.unpack_from("<H", data, page * PAGE + 10)[0] for page in range(2, len(data) // PAGE)}
    trees = [page for page, kind in flags.items() if kind in (1, 2)]
    keys = [key for page in trees if flags[page] == 2 for key in _keys_in(data, page * PAGE)]
    heads = [found.start() for found in re.finditer(b"HMS[BLQT]", data)]
    return Spots(trees, heads, keys)


def _keys_in(data: bytes, page: int) -> Iterator[tuple[int, int]]:
    (lower,) = struct.unpack_from("<H", data, page + 12)
    for at in range(page + 16, page + lower, 2):
        node = page + struct.unpack_from("<H", data, at)[0]
        yield node + 8, struct.unpack_from("<H", data, node + 6)[0]


# ---- what is read


def read(root: Path, subject: Subject) -> Read:
    """All there is, by every way there is. StorageError."""
    history = History(root, chronicle.CONFIG)
    try:
        return _read(history, subject)
    finally:
        history.close()


def _read(history: History, subject: Subject) -> Read:
    tier, start, end = subject.tier, subject.start, subject.end
    found: Read = {"rows": history.read_columns(tier, chronicle.IDS, 0, 1 << 40)}
    one = np.array([chronicle.SERIES // 2], np.uint32)
    found["one"] = history.read_columns(tier, one, start, end)
    blobs = history.read_sketches(tier, chronicle.SKETCHED, start, end)
    found["sketches"] = sorted((int(blobs.ids[i]), int(blobs.steps[i]), blobs.blob(i)) for i in range(len(blobs)))
    found["steps"] = history.steps(tier, start, end)
    found["edges"] = (history.first_step(tier), history.last_step(tier), history.highest_id())
    found["dense"] = [history.read_step(tier, step) for step in found["steps"][:: max(1, len(found["steps"]) // 3)]]
    found["tiles"] = [
        (block.start, number, history.read_tile(tier, block.start, number))
        for block in history.blocks(tier, start, end)
        for number in history.tile_numbers(tier, block.start)
    ]
    counters = history.counters()
    found["noticed"] = sum(counters[name] for name in ("damaged", "too_new", "set_aside"))
    return found


def work_on(root: Path, subject: Subject) -> Read:
    """Append to it, seal it, and read it; the step appended is not in what is returned."""
    history = History(root, chronicle.CONFIG)
    try:
        tier = TIERS[subject.tier]
        step = subject.end - tier.step_seconds
        history.append(subject.tier, step, chronicle.columns(subject.tier, step, 7))
        for block in history.blocks(subject.tier):
            history.seal(subject.tier, block.start)
        found = _read(history, subject)
    finally:
        history.close()
    steps, places, columns = found["rows"]
    before = steps != step
    found["rows"] = (steps[before], places[before], columns[:, before])
    return found


def verdict(root: Path, subject: Subject, flip: Flip) -> tuple[str, str]:
    """(what came of a flip, why)."""
    what, why = "harmless", ""
    attempts = [(read, subject.read), (work_on, subject.worked_on)][: 1 if flip.bit % WORKED_ON else 2]
    for attempt, expected in attempts:
        subject.put(root, flip)
        try:
            found = attempt(root, subject)
        except StorageError as error:
            what, why = "noticed", f"{attempt.__name__}: {error}"
            continue
        except BaseException:
            return "raised", f"{attempt.__name__}: {traceback.format_exc()}"
        changed = [name for name in expected if not same(found[name], expected[name])]
        lost = len(expected["rows"][0]) - len(found["rows"][0])
        wrong = wrong_rows(found["rows"], expected["rows"])
        if wrong or (changed and not found["noticed"]):
            return "silent", f"{attempt.__name__}: {wrong}; {changed} differ, {lost} rows lost"
        if found["noticed"]:
            what, why = "noticed", f"{attempt.__name__}: {found['noticed']} damaged, {lost} rows lost"
    return what, why


def wrong_rows(found: merge.Part, expected: merge.Part) -> str:
    """Rows that were never written so; those of steps with several parts may lack one."""
    where = {key: row for row, key in enumerate(zip(expected[0].tolist(), expected[1].tolist(), strict=True))}
    at = np.array([where.get(key, -1) for key in zip(found[0].tolist(), found[1].tolist(), strict=True)], np.int64)
    if (at < 0).any():
        return f"{int((at < 0).sum())} rows that were never written"
    differs = (found[2] != expected[2][:, at]).any(axis=0)
    differs &= ~np.isin(found[0], list(SEVERAL))
    return f"{int(differs.sum())} rows are wrong" if differs.any() else ""


def _several() -> set[int]:
    """The steps that were written more than once, of any tier, and the hours made of them."""
    times = Counter((what.tier, step) for what in map(chronicle.deed, range(DEEDS)) for step in what.steps)
    return {step for (_, step), number in times.items() if number > 1}


SEVERAL: Final = _several()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=True))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# ---- children


def flipped(root: Path, known: list[Subject], flips: list[Flip]) -> Iterator[tuple[Flip, str, str]]:
    """Each flip and what came of it, in children."""
    at = 0
    while at < len(flips):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _child(root, known, flips[at:], writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            for line in pipe:
                what, _, why = line.rstrip("\n").partition(" ")
                yield flips[at], what, why.replace("\x1f", "\n")
                at += 1
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            yield flips[at], "died", f"ended with {status}"
            at += 1


def _child(root: Path, known: list[Subject], flips: list[Flip], out: int) -> None:
    import logging

    logging.disable()
    for flip in flips:
        what, why = verdict(root, known[flip.subject], flip)
        os.write(out, f"{what} {why}".replace("\n", "\x1f").encode()[:4000] + b"\n")
    os._exit(0)


def run(root: Path, flips: int, seed: int) -> tuple[Counter[str], list[str]]:
    """(what came of how many, the failures, one text each)."""
    known = subjects(root / "data")
    spots = [spots_in(one.data) for one in known]
    r = random.Random(seed)
    chosen = [draw(r, known, spots) for _ in range(flips)]
    counts: Counter[str] = Counter()
    failures: list[str] = []
    for number, (flip, what, why) in enumerate(flipped(root / "data", known, chosen)):
        counts[what] += 1
        if what in FAILURES:
            failures.append(f"{what}: bit {flip.bit} of {known[flip.subject].path / flip.file}: {why}")
        if sys.stderr.isatty():
            print(f"\r{number + 1:,} flips ", end="", file=sys.stderr)
    return counts, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time, printed")
    parser.add_argument("--plant", action="store_true", help="count no damage, which must be found")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    root = Path(tempfile.mkdtemp(prefix="flips-", dir="/dev/shm"))
    if arguments.plant:
        Shelf.count_damage = lambda *_: None  # type: ignore[method-assign, assignment]
    try:
        counts, failures = run(root, arguments.flips, seed)
    finally:
        shutil.rmtree(root)
    found = ", ".join(f"{number} {name}" for name, number in counts.most_common())
    print(f"{counts.total()} flips, seed {seed}: {found}")
    if arguments.plant:
        print("the planted fault was found" if failures else "the planted fault was NOT found")
        return 0 if failures else 1
    for failure in failures[:SHOWN]:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
