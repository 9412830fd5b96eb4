"""Verifying a data directory or a backup: every page in use, every record, every block decoded, in a process apart.

    verify(path) ──► child: python -m hms_ops.storage.verify ──lines of JSON──► problems and counts

LMDB maps its files, and a page that points where nothing is ends the process that follows it with SIGBUS or SIGSEGV. So
a child reads; when it dies, that is the problem of the environment it was in, and another child goes on behind it. A
child says `{"at": path}` before it opens an environment, `{"problem": text}` for each thing that is wrong, and
`{"done": path, …counts}` behind it.

What is checked: MANIFEST of a backup; FORMAT, pages and keys of each environment; slabs, tiles and their sketches are
decoded whole, markers and records unpacked; the catalogue's names and numbers point at each other. Nothing is written.
Not here: whether the audit log is whole, which `hms-ops-engine audit verify` tells.
Memory: one block. Errors: StorageError when the path is neither; StartError when an engine has the directory open.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import lmdb

from hms_ops.change import TABLES
from hms_ops.errors import StartError, StorageError
from hms_ops.storage import backup, keys, sketchblock, slab, tile
from hms_ops.storage.environment import DAMAGED, DATA_FILE, LOCK_FILE, MARKER_FILE, check_files
from hms_ops.storage.inventory import keys_sum, strange_slabs
from hms_ops.storage.partition import EXPIRED
from hms_ops.storage.record import unpack_record
from hms_ops.storage.tier import TIERS, Tier

PROBLEMS_MAX: Final = 1_000
"""Those beyond are counted as `problems_beyond`."""

NAMED_DATABASES_MAX: Final = 64
RECORDS: Final = frozenset({"journal", "audit", "audit_head", *TABLES})
"""Databases of the state environment whose values are records; cursors are too, and a damaged one does no harm."""

CHILD: Final = (sys.executable, "-m", "hms_ops.storage.verify")

Say = Callable[[dict[str, Any]], None]
Progress = Callable[[str], None]


@dataclass(slots=True)
class Verified:
    """problems: one line each, none when all is well. counts: environments, slabs, tiles, sketches, rows, records."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)
        else:
            self.counts["problems_beyond"] += 1


def verify(path: Path, progress: Progress = lambda _: None) -> Verified:
    """Read all of a data directory or a backup. `progress` is called with each environment's path."""
    found = Verified()
    is_backup = (path / backup.MANIFEST).exists()
    waiting = environments_in(path)
    if not waiting and not is_backup:
        raise StorageError(f"{path} is no data directory and no backup: there is no history, catalogue or state in it")
    with nobody_else(path):
        if is_backup:
            _check_manifest(path, found)
        for left in sorted(path.glob(f"**/*{DAMAGED}*")):
            found.add(f"{left.relative_to(path)}: was damaged, and set aside")
        while waiting:
            waiting = _check_some(path, waiting, found, progress)
    return found


def environments_in(root: Path) -> list[str]:
    """The environments of a data directory, relative to it: history tier by tier, catalogue, state."""
    found = [
        path.relative_to(root).as_posix()
        for tier in TIERS
        for kind in ("slabs", "tiles")
        for path in sorted(root.joinpath("history", tier.name, kind).glob("*"))
        if path.is_dir() and keys.partition_time(path.name) is not None and EXPIRED not in path.name
    ]
    return found + [name for name in ("catalogue", "state") if (root / name).is_dir()]


@contextmanager
def nobody_else(root: Path) -> Iterator[None]:
    """No engine has the directory open, and none opens it meanwhile; a backup has no lock to take."""
    try:
        fd = os.open(root / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartError(f"{root} is in use by an engine; stop it, or make a backup and verify that") from None
    finally:
        os.close(fd)


def _check_manifest(root: Path, found: Verified) -> None:
    try:
        manifest = backup.read_manifest(root)
    except StorageError as error:
        found.add(str(error))
        return
    for problem in backup.problems_of(root, manifest):
        found.add(problem)


def _check_some(root: Path, waiting: list[str], found: Verified, progress: Progress) -> list[str]:
    """One child's life; returns what is left to be checked behind the environment that it died of."""
    at = ""
    child = subprocess.Popen(
        [*CHILD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write(json.dumps(waiting))
        child.stdin.close()
        for line in child.stdout:
            said = json.loads(line)
            if "at" in said:
                at = said["at"]
                progress(at)
            elif "problem" in said:
                found.add(said["problem"])
            else:
                waiting = waiting[waiting.index(said.pop("done")) + 1 :]
                found.counts.update(said)
    if child.returncode == 0:
        return []
    what = signal.Signals(-child.returncode).name if child.returncode < 0 else f"exit code {child.returncode}"
    if at not in waiting:
        raise StorageError(f"{root} cannot be verified: the process that reads it ended with {what}")
    found.add(f"{at}: is damaged, reading it ended the process with {what}")
    return waiting[waiting.index(at) + 1 :]


# ---- the child


def main() -> None:
    root = Path(sys.argv[1])

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    for path in json.load(sys.stdin):
        say({"at": path})
        say({"done": path, **check_environment(root, path, lambda text: say({"problem": text}))})


def check_environment(root: Path, path: str, report: Callable[[str], None]) -> dict[str, int]:
    """Read one environment whole; what is wrong with it goes to `report`. Returns counts."""
    counts: Counter[str] = Counter(environments=1)
    problem = _opening_problem(root / path)
    if problem:
        report(f"{path}: {problem}")
        return counts
    environment = lmdb.Environment(
        os.fspath(root / path), readonly=True, lock=False, max_dbs=NAMED_DATABASES_MAX, readahead=False
    )
    try:
        with environment.begin(buffers=True) as transaction:
            for key, text in _checkers(root, path)(transaction, environment, counts):
                report(f"{path}: {key}: {text}")
    except lmdb.Error as error:
        report(f"{path}: {error}")
    finally:
        environment.close()
    return counts


def _opening_problem(path: Path) -> str:
    """Why LMDB must not map the file, "" when it may."""
    missing = [name for name in (DATA_FILE, MARKER_FILE) if not (path / name).exists()]
    if missing:
        return f"{' and '.join(missing)} is missing"
    try:
        check_files(path)
    except StorageError as error:
        return str(error)
    return ""


Problems = Iterator[tuple[str, str]]
Check = Callable[[Any, lmdb.Environment, Counter[str]], Problems]


def _checkers(root: Path, path: str) -> Check:
    parts = path.split("/")
    if parts[0] != "history":
        return _catalogue if path == "catalogue" else _state
    tier = next(tier for tier in TIERS if tier.name == parts[1])
    if parts[2] == "slabs":
        block = keys.partition_time(parts[3])
        assert block is not None  # else it would not have been listed
        return lambda transaction, _, counts: _slabs(transaction, tier, block, counts)
    slabs = root / "history" / tier.name / "slabs"
    return lambda transaction, _, counts: _tiles(transaction, tier, slabs, counts)


def _slabs(transaction: Any, tier: Tier, block: int, counts: Counter[str]) -> Problems:
    yield from _values(transaction, _slab, tier.step_seconds, counts)
    for key in strange_slabs(transaction, tier, block):
        yield key.hex(), "its key was never written so, or its value is another's"


def _tiles(transaction: Any, tier: Tier, slabs: Path, counts: Counter[str]) -> Problems:
    """Blocks without a marker are being sealed, as long as their slabs are there."""
    yield from _values(transaction, _tile, tier.step_seconds, counts)
    with transaction.cursor() as cursor:
        there = {bytes(key)[:8] for key in cursor.iternext(keys=True, values=False)}
    waiting = {keys.partition_time(path.name) for path in slabs.glob("*")}
    for block in sorted(int.from_bytes(start) for start in there):
        marker = keys.tile_key(block, keys.MARKER)
        if transaction.get(marker) is None and block not in waiting:
            yield marker.hex(), "the block has no marker, and no slabs"


def _values(transaction: Any, check: Callable[..., int], step_seconds: int, counts: Counter[str]) -> Problems:
    with transaction.cursor() as cursor:
        for key, value in cursor:
            key = bytes(key)
            try:
                counts["rows"] += check(transaction, key, value, step_seconds, counts)
            except Exception as error:  # a decoder that raises anything else is ours to mend, and the block is as lost
                yield key.hex(), f"{type(error).__name__}: {error}"


def _slab(transaction: Any, key: bytes, value: memoryview, step_seconds: int, counts: Counter[str]) -> int:
    step, kind, _ = keys.slab_of(key)
    if kind == keys.SKETCHES:
        counts["sketches"] += len(sketchblock.select(value, None, 0, 1 << 62))
        return 0
    head = slab.head(value)
    if (head.step_start, head.step_seconds) != (step, step_seconds):
        raise StorageError(f"holds step {head.step_start} of {head.step_seconds} s")
    keyed = None if head.key_step is None else transaction.get(keys.slab_key(head.key_step))
    if head.key_step is not None and keyed is None:
        raise StorageError(f"the key slab of step {head.key_step} is missing")
    ids, _ = slab.decode(value, keyed)
    counts["slabs"] += 1
    return len(ids)


def _tile(transaction: Any, key: bytes, value: memoryview, step_seconds: int, counts: Counter[str]) -> int:
    block, number, kind, _ = keys.tile_of(key)
    if number == keys.MARKER:
        counts["records"] += 1
        if unpack_record(value).get("keys") != keys_sum(transaction, block):
            raise StorageError("the block's tiles are not those that it was sealed with")
        return 0
    if kind == keys.SKETCHES:
        counts["sketches"] += len(sketchblock.select(value, None, 0, 1 << 62))
        return 0
    steps, ids, _ = tile.select(value, None, 0, 1 << 62)
    if len(steps) and (int(steps.min()) < block or (ids // keys.TILE_IDS != number).any()):
        raise StorageError("holds rows of another block or tile")
    counts["tiles"] += 1
    return len(steps)


def _catalogue(transaction: Any, environment: lmdb.Environment, counts: Counter[str]) -> Problems:
    """Every record, and that each name's number is that of a series with this name."""
    names: dict[bytes, dict[str, Any]] = {}
    named = set()
    yield from _records(transaction, environment, b"series", counts, names.__setitem__)
    yield from _records(transaction, environment, b"metrics", counts, lambda *_: None)
    with transaction.cursor(environment.open_db(b"ids", transaction, create=False)) as cursor:
        for key, value in cursor:
            number = bytes(value[:4])
            members = {} if keys.id_named(key, value) is None else names.get(number, {})
            named.add(number)
            if not members or keys.series_key(members.get("name", "?"), members.get("tags", {})) != bytes(key):
                yield bytes(key).hex(), "its number is not that of a series of this name"
    for number in sorted(number for number, members in names.items() if "deleted" not in members):
        if number not in named:
            yield f"series {number.hex()}", "it has a number and cannot be found by its name"


def _state(transaction: Any, environment: lmdb.Environment, counts: Counter[str]) -> Problems:
    with transaction.cursor() as cursor:
        databases = [bytes(key) for key, _ in cursor]
    for name in databases:
        if name.decode() in RECORDS:
            yield from _records(transaction, environment, name, counts, lambda *_: None)
        else:  # whatever a later release keeps there: that it can be read is all that is known of it
            with transaction.cursor(environment.open_db(name, transaction, create=False)) as cursor:
                counts["records"] += sum(1 for _, value in cursor if bytes(value) is not None)


def _records(
    transaction: Any,
    environment: lmdb.Environment,
    name: bytes,
    counts: Counter[str],
    take: Callable[[bytes, dict[str, Any]], None],
) -> Problems:
    with transaction.cursor(environment.open_db(name, transaction, create=False)) as cursor:
        for key, value in cursor:
            try:
                take(bytes(key), unpack_record(value))
                counts["records"] += 1
            except Exception as error:
                yield f"{name.decode()} {bytes(key).hex()}", str(error)


if __name__ == "__main__":
    main()
