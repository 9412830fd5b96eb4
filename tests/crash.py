"""`kill -9` at the worst moments: what was committed is there, whole and once, each time history is opened again.

    python tests/crash.py --kills 200 [--seconds S] [--seed N] [--dir DIR] [--plant]

A child writes the deeds of chronicle.py as fast as the disk takes them, while a thread seals the blocks that close and
another reads steps that were committed; it says each deed over a pipe before and after. The parent kills it: while it
opens, while it writes, while it seals, or at any time. Another child then opens what is left and compares every row and
sketch with the model: everything that was said to be committed, and the one deed that was being done wholly or not at
all; nothing damaged, set aside or left over. The next child goes on from there.

`--plant` tampers with copies (a step dropped, a byte changed, a step written twice, a step torn in half) and the same
check must find each: exit code 0 when it did. Otherwise 1 means rows were lost, printed with the seed, and the
directory is kept.
"""

import argparse
import os
import random
import select
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

import lmdb
import numpy as np
from tests import chronicle
from tests.chronicle import Deed, Model

from hms_ops.storage import keys, merge, slab
from hms_ops.storage.history import History
from hms_ops.storage.partition import EXPIRED
from hms_ops.storage.tier import TEN_SECONDS, TIERS
from hms_ops.storage.verify import verify

MODES: Final = ("opening", "writing", "sealing", "sealing", "any time")
SILENCE_SECONDS: Final = 60.0
READ_PAUSE_SECONDS: Final = 0.004
SAID: Final = struct.Struct("<cQ")
"""o opened, b/c deed begun/committed, s/f sealing begun/finished; the deed's or block's number."""

Say = Callable[[bytes, int], None]


class Lost(Exception):
    """History is not what it should be."""


# ---- the child that writes


def write(data_dir: Path, first: int, say: Say) -> None:
    """Do deeds from `first` on until killed."""
    history = History(data_dir, chronicle.CONFIG)
    say(b"o", first)
    at = _At(first)
    for work in (_seal, _read):
        threading.Thread(target=_or_die, args=(work, history, at, say), daemon=True).start()
    for number in count(first):
        say(b"b", number)
        chronicle.do(history, chronicle.deed(number))
        at.number = number + 1
        at.moved.set()
        say(b"c", number)


class _At:
    """How far the writer is: deeds before `number` are committed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.moved = threading.Event()


def _seal(history: History, at: _At, say: Say) -> None:
    while True:
        at.moved.wait()
        at.moved.clear()
        for tier, block in history.sealable(chronicle.deed(max(0, at.number - 1)).now):
            say(b"s", block)
            history.seal(tier, block)
            say(b"f", block)


def _read(history: History, at: _At, say: Say) -> None:
    """A step that was committed is there whole and once, whatever the writer and the sealer are at."""
    random_ = random.Random(at.number)
    pause = threading.Event()
    while True:
        before = at.number
        number = random_.randrange(max(0, before - 400), before + 1)
        what = chronicle.deed(number)
        if number < before and what.kind == "append":
            step = what.steps[0]
            found = history.read_columns(what.tier, chronicle.IDS, step, step + TIERS[what.tier].step_seconds)
            problem = _step_problem(found, what, before, at.number + 1)
            if problem:
                raise Lost(f"read while deeds {before} to {at.number} were done: {problem}")
        pause.wait(READ_PAUSE_SECONDS)


def _step_problem(found: merge.Part, what: Deed, before: int, after: int) -> str:
    """ "" when a step is as one of the numbers of deeds from `before` to `after` would leave it."""
    problem = ""
    for n in range(before, after + 1):
        parts = [
            (steps[steps == what.steps[0]], ids[steps == what.steps[0]], columns[:, steps == what.steps[0]])
            for other in map(chronicle.deed, range(max(0, n - 800), n))
            if other.tier == what.tier and other.kind != "roll" and what.steps[0] in other.steps
            for steps, ids, columns in [chronicle.part_of(other)]
        ]
        problem = next(chronicle.different_rows(found, merge.fold(*merge.join(parts))), "")
        if not problem:
            return ""
    return f"{what.tier} {what.steps[0]}: {problem}"


def _or_die(work: Callable[[History, _At, Say], None], *arguments: object) -> None:
    try:
        work(*arguments)  # type: ignore[arg-type]
    except BaseException:
        traceback.print_exc()
        os._exit(1)


# ---- the child that looks


def check(data_dir: Path, model: Model) -> int:
    """How many deeds are there: those of the model, or one more. Lost: neither."""
    history = History(data_dir, chronicle.CONFIG)
    now = chronicle.deed(model.n).now
    problems = list(chronicle.differences(history, model, now))
    if problems:
        model.advance(model.n + 1)
        more = list(chronicle.differences(history, model, now))
        if more:
            raise Lost("\n  ".join([*problems[:10], "with the deed that was being done:", *more[:10]]))
    counters = history.counters()
    found = {name: counters[name] for name in ("damaged", "too_new", "set_aside") if counters[name]}
    left = [path for path in data_dir.rglob("*") if EXPIRED in path.name or ".damaged" in path.name]
    left += [
        shelf.slabs.path(block) for shelf in history._shelves for block in shelf.sealed if block in shelf.slabs.starts()
    ]
    if found or left:
        raise Lost(f"opened with {found}, left over: {left}")
    history.close()
    return model.n


# ---- the parent


def apart(work: Callable[[int], None]) -> tuple[int, int]:
    """(pid, reading end of a pipe) of a child that runs `work` with the other end; 1 is its exit when that raises."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        os.close(reading)
        work(writing)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def checked(data_dir: Path, model: Model) -> int:
    """`check` in a child. Lost: also when the child died."""

    def work(out: int) -> None:
        try:
            answer = str(check(data_dir, model))
        except Lost as lost:
            answer = str(lost)
        os.write(out, answer.encode())

    pid, reading = apart(work)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not said.isdigit():
        raise Lost(said or f"what looks at history ended with {status}")
    return int(said)


class Victim:
    """A writing child, followed over its pipe until it is killed."""

    def __init__(self, data_dir: Path, first: int) -> None:
        def work(out: int) -> None:
            write(data_dir, first, lambda kind, number: (os.write(out, SAID.pack(kind, number)), None)[1])

        self.committed = first
        self.said: Counter[bytes] = Counter()
        self._pid, self._pipe = apart(work)

    def follow(self, is_time: Callable[[], bool], seconds: float) -> None:
        """Listen until `is_time()` or for so long."""
        end = time.monotonic() + seconds
        while not is_time() and (left := end - time.monotonic()) > 0:
            if select.select([self._pipe], [], [], left)[0]:
                data = os.read(self._pipe, SAID.size)  # one at a time: the kill is to come right behind it
                if not data:
                    raise Lost("the writing child ended by itself")
                self._hear(data)

    def kill(self) -> tuple[bool, bool]:
        """SIGKILL; returns whether it was writing and whether it was sealing. Lost: it had ended before."""
        os.kill(self._pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        while data := os.read(self._pipe, SAID.size):
            self._hear(data)
        os.close(self._pipe)
        if status != -signal.SIGKILL:
            raise Lost(f"the writing child ended by itself with {status}")
        return self.said[b"b"] > self.said[b"c"], self.said[b"s"] > self.said[b"f"]

    def _hear(self, data: bytes) -> None:
        kind, number = SAID.unpack(data)
        self.said[kind] += 1
        if kind == b"c":
            self.committed = number + 1


def one_kill(data_dir: Path, first: int, mode: str, r: random.Random) -> tuple[int, str]:
    """(deeds committed, what the child was doing when it was killed)."""
    victim = Victim(data_dir, first)
    if mode == "opening":
        victim.follow(lambda: victim.said[b"o"] > 0, r.uniform(0, 0.01))
    else:
        kind, number = {"writing": (b"b", r.randint(1, 300)), "sealing": (b"s", r.randint(1, 6))}.get(mode, (b"x", 1))
        victim.follow(lambda: victim.said[kind] >= number, SILENCE_SECONDS if kind != b"x" else r.uniform(0, 1.0))
    time.sleep(r.uniform(0, {"writing": 0.002, "sealing": 0.02}.get(mode, 0.0)))
    is_writing, is_sealing = victim.kill()
    if not victim.said[b"o"]:
        return victim.committed, "opening"
    return victim.committed, " and ".join(["writing"] * is_writing + ["sealing"] * is_sealing) or "between"


def run(data_dir: Path, kills: int, seconds: float, seed: int) -> tuple[Model, Counter[str]]:
    """(what history holds at the end, how many kills found the child doing what). Lost."""
    model, died = Model(), Counter[str]()
    end = time.monotonic() + seconds
    for number in range(kills):
        if time.monotonic() > end:
            break
        r = random.Random(f"{seed}/{number}")
        mode = MODES[number % len(MODES)]
        try:
            committed, doing = one_kill(data_dir, model.n, mode, r)
            died[doing] += 1
            model.advance(committed)
            model.advance(checked(data_dir, model))
        except Lost as lost:
            raise Lost(f"seed {seed}, kill {number} ({mode}): {lost}") from None
        if sys.stderr.isatty():
            print(f"\r{number + 1} kills, {model.n:,} deeds ", end="", file=sys.stderr)
    return model, died


# ---- faults that must be found


def drop_step(path: Path, _: Path) -> None:
    with _newest_slab(path) as (transaction, key):
        transaction.delete(key)


def change_byte(path: Path, _: Path) -> None:
    with _newest_slab(path) as (transaction, key):
        value = bytearray(transaction.get(key))
        value[len(value) // 2] ^= 0x10
        transaction.put(key, bytes(value))


def tear_step(path: Path, _: Path) -> None:
    with _newest_slab(path) as (transaction, key):
        step = keys.slab_of(key)[0]
        dense = chronicle.columns(TEN_SECONDS, step, 0)
        ids = np.flatnonzero(dense[merge.COUNT])[: chronicle.SERIES // 4]
        transaction.put(key, slab.encode_rows(step, 10, ids.astype(np.uint32), np.ascontiguousarray(dense[:, ids])))


def write_twice(path: Path, data_dir: Path) -> None:
    with _newest_slab(path) as (_, key):
        step = keys.slab_of(key)[0]
    history = History(data_dir, chronicle.CONFIG)
    history.append(TEN_SECONDS, step, chronicle.columns(TEN_SECONDS, step, 0))
    history.close()


PLANTED: Final = (drop_step, change_byte, tear_step, write_twice)


class _newest_slab:
    """A write transaction behind history's back, and the key of the newest 10-s slab."""

    def __init__(self, path: Path) -> None:
        self._environment = lmdb.Environment(os.fspath(path), map_size=1 << 30)
        self._transaction = self._environment.begin(write=True)

    def __enter__(self) -> tuple[lmdb.Transaction, bytes]:
        with self._transaction.cursor() as cursor:
            assert cursor.last()
            key = bytes(cursor.key())
        step = keys.slab_of(key)[0]
        return self._transaction, keys.slab_key(step)

    def __exit__(self, *_: object) -> None:
        self._transaction.commit()
        self._environment.close()


def planted(data_dir: Path, model: Model) -> list[str]:
    """The faults that were not found in a copy with it."""
    missed = []
    for plant in PLANTED:
        copy = data_dir.with_name(f"{data_dir.name}-{plant.__name__}")
        shutil.copytree(data_dir, copy)
        newest = max((copy / "history" / "10s" / "slabs").iterdir(), key=lambda path: path.name)
        plant(newest, copy)
        try:
            checked(copy, model)
            missed.append(plant.__name__)
        except Lost:
            print(f"{plant.__name__}: found")
        shutil.rmtree(copy)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3600.0, help="no kill begins later")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time, printed")
    parser.add_argument("--dir", type=Path, default=None, help="where history is written; default: a temporary one")
    parser.add_argument("--plant", action="store_true", help="plant faults that must be found")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=arguments.dir))
    try:
        model, died = run(root / "data", arguments.kills, arguments.seconds, seed)
        missed = planted(root / "data", model) if arguments.plant else []
        problems = verify(root / "data").problems
    except Lost as lost:
        print(f"{lost}\n{root} is kept")
        return 1
    if problems or missed:
        print(f"seed {seed}: verify says {problems[:5]}; planted and not found: {missed}; {root} is kept")
        return 1
    shutil.rmtree(root)
    doing = ", ".join(f"{number} {name}" for name, number in died.most_common())
    print(f"{died.total()} kills ({doing}), seed {seed}: {model.n:,} commits, none lost, torn or doubled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
