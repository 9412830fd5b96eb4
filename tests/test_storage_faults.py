"""Files that were lost, keys that changed, maps that are full, a second engine, readers that stand still, a clock that
is set: each is counted and named, costs nothing else, and ends when its cause does."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from tests import chronicle
from tests.engines import NOW, feed, manual
from tests.histories import NO_LIMITS, START, Twin, patch_of, seal_all

from hms_ops.errors import StartError, StorageError
from hms_ops.storage import environment, keys, partition
from hms_ops.storage.history import History, HistoryConfig

HOUR = 3_600

# ---- files that were lost

LOST: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 4096 // 2 * 4096],
    "foreign": lambda data: b"SQLite format 3\0" * (len(data) // 16),
    "scrambled": lambda data: data[:8192] + data[8192:][::-1],
}


def day(data_dir: Path) -> Twin:
    """Two sealed blocks of different partitions and an open one."""
    history, twin = History(data_dir, NO_LIMITS), Twin()
    for block in (START, START + 6 * HOUR, START + 7 * HOUR):
        for step in range(block, block + 300, 10):
            twin.append(history, step, {1: [1.0, float(step % 1000)], 70: [2.5], 600: [float(step % 70)]})
    history.seal(0, START)
    history.seal(0, START + 6 * HOUR)
    history.close()
    return twin


ENVIRONMENTS = {
    "tiles": ("tiles/2023-11-12T00", START),
    "newer tiles": ("tiles/2023-11-12T06", START + 6 * HOUR),
    "slabs": ("slabs/2023-11-12T07", START + 7 * HOUR),
}


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("what", ENVIRONMENTS)
def test_a_file_that_was_lost_costs_its_own_rows_and_is_counted_and_kept(tmp_path: Path, what: str, how: str) -> None:
    twin = day(tmp_path)
    name, block = ENVIRONMENTS[what]
    path = tmp_path / "history" / "10s" / name
    left = LOST[how]((path / "data.mdb").read_bytes())
    (path / "data.mdb").write_bytes(left)
    history = History(tmp_path, NO_LIMITS)
    for other in (START, START + 6 * HOUR, START + 7 * HOUR):
        if other != block:
            twin.assert_same(history, other, other + HOUR)
    assert len(history.read_columns(0, [1, 70, 600], block, block + HOUR)[0]) == 0
    assert history.counters()["set_aside"] == 1
    (aside,) = path.parent.glob(f"{path.name}.damaged-*")
    assert (aside / "data.mdb").read_bytes() == left
    again = Twin()
    again.append(history, block + 10, {1: [3.0]})
    again.assert_same(history, block, block + HOUR)
    history.close()


OPEN_STEP = START + 7 * HOUR + 100
RENAMED = {
    "a tile's number": ("tiles", keys.tile_key(START, 1), keys.tile_key(START, 3)),
    "a tile's block": ("tiles", keys.tile_key(START, 1), keys.tile_key(START + 8, 1)),
    "a tile's kind": ("tiles", keys.tile_key(START, 1), keys.tile_key(START, 1, keys.SKETCHES)),
    "a marker": ("tiles", keys.tile_key(START, keys.MARKER), keys.tile_key(START, keys.MARKER - 1)),
    "a slab's step": ("slabs", keys.slab_key(OPEN_STEP), keys.slab_key(OPEN_STEP + 1)),
    "a slab's kind": ("slabs", keys.slab_key(OPEN_STEP), keys.slab_key(OPEN_STEP, keys.SKETCHES)),
    "a slab's sequence": ("slabs", keys.slab_key(OPEN_STEP), keys.slab_key(OPEN_STEP, keys.ROWS, 256)),
    "a slab's length": ("slabs", keys.slab_key(OPEN_STEP), keys.slab_key(OPEN_STEP) + b"x"),
}


@pytest.mark.parametrize("what", RENAMED)
def test_a_value_under_another_key_is_counted_when_it_is_opened(tmp_path: Path, what: str) -> None:
    """Nobody would look for it there: LMDB has no checksums over its keys."""
    twin = day(tmp_path)
    kind, before, after = RENAMED[what]
    path = tmp_path / "history/10s" / ENVIRONMENTS[kind][0]
    with lmdb.open(str(path), map_size=1 << 30) as raw, raw.begin(write=True) as transaction:
        transaction.put(after, transaction.pop(before))
    history = History(tmp_path, NO_LIMITS)
    assert history.counters()["damaged"] == 1
    twin.assert_same(history, START + 6 * HOUR, START + 7 * HOUR)
    history.append_patch(0, patch_of({(START + 20, 5): [1.0]}))
    history.close()
    history = History(tmp_path, NO_LIMITS)
    is_marked_anew = what == "a marker"
    assert history.counters()["damaged"] == (0 if is_marked_anew else 1), "a patch does not make it right"
    history.close()


@pytest.mark.parametrize("number", [1 << 26, (1 << 32) - 2])
def test_a_tile_number_that_no_id_has_is_no_tile(tmp_path: Path, number: int) -> None:
    day(tmp_path)
    path = str(tmp_path / "history/10s/tiles/2023-11-12T00")
    with lmdb.open(path, map_size=1 << 30) as raw, raw.begin(write=True) as transaction:
        transaction.put(keys.tile_key(START, number), transaction.get(keys.tile_key(START, 1)))
    history = History(tmp_path, NO_LIMITS)
    assert history.tile_numbers(0, START) == [0, 1, 9]
    assert history.highest_id() == 639
    assert history.counters()["damaged"] == 1
    history.close()


def test_a_patch_under_a_wild_sequence_is_merged_once_and_soon(tmp_path: Path) -> None:
    """A flipped bit made 2^31 of it: the writer must not look for all those between."""
    twin = day(tmp_path)
    history = History(tmp_path, NO_LIMITS)
    twin.patch(history, {(START, 1): [5.0]})
    history.close()
    before, after = keys.tile_key(START, 0, keys.ROWS, 1), keys.tile_key(START, 0, keys.ROWS, 1 << 31)
    path = str(tmp_path / "history/10s/tiles/2023-11-12T00")
    with lmdb.open(path, map_size=1 << 30) as raw, raw.begin(write=True) as transaction:
        transaction.put(after, transaction.pop(before))
    history = History(tmp_path, NO_LIMITS)
    for number in range(5):
        twin.patch(history, {(START + 10, 1): [float(number)]})
    twin.assert_same(history)
    assert history.counters()["damaged"] == 1
    history.close()


@pytest.mark.parametrize("part", ["catalogue", "state"])
@pytest.mark.parametrize("how", LOST)
def test_a_catalogue_or_state_that_was_lost_is_named_and_the_engine_starts(tmp_path: Path, part: str, how: str) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "load", 1.0, 30)
    data = tmp_path / part / "data.mdb"
    data.write_bytes(LOST[how](data.read_bytes()))
    with manual(NOW + 30, data_dir=tmp_path) as engine:
        assert f"{part} was damaged; it was set aside and begun anew" in engine.health()
        feed(engine, "load", 2.0, 30)
        assert engine.history("load", NOW + 30, NOW + 60)["sum"].sum() == 60.0


# ---- a map that is full


def test_a_map_that_is_full_grows_under_readers_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "MAP_BYTES", 1 << 16)
    history, model, done = History(tmp_path, chronicle.CONFIG), chronicle.Model(), threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        while not done.is_set():
            try:
                history.read_columns(0, chronicle.IDS[:9], chronicle.START, chronicle.START + HOUR)
            except BaseException as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(60):
        chronicle.do(history, chronicle.deed(number))
        seal_all(history, chronicle.deed(number).now)
    done.set()
    for reader in readers:
        reader.join()
    model.advance(60)
    assert problems == []
    assert list(chronicle.differences(history, model, model.now)) == []
    assert history.counters()["bytes_on_disk"] > 4 << 16
    history.close()


def test_a_map_at_its_end_refuses_that_write_alone_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MAP_BYTES", 1 << 16)
    monkeypatch.setattr(environment, "MAP_BYTES_MAX", 1 << 17)
    history, twin = History(tmp_path, NO_LIMITS), Twin()
    twin.append(history, START, {1: [1.0]})
    large = np.random.default_rng(1).uniform(1, 2, (6, 9000))
    with pytest.raises(StorageError, match=r"2023-11-12T00 is full at 131072 bytes, the most it may take"):
        history.append(0, START + 10, large)
    twin.patch(history, {(START + 20, 1): [2.0]})
    twin.assert_same(history)
    minutes = Twin(tier=1)
    minutes.append(history, START, {1: [3.0]})
    minutes.assert_same(history)
    history.close()


# ---- somebody else


def test_a_second_engine_on_the_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "load", 1.0, 20)
        with pytest.raises(StartError, match=rf"is in use by process {os.getpid()}; stop it"):
            manual(data_dir=tmp_path).start()
        feed(engine, "load", 1.0, 20)
        assert engine.health() == []
    with manual(NOW + 40, data_dir=tmp_path) as engine:
        assert engine.history("load", NOW, NOW + 40)["count"].sum() == 40


STOPPED_READER = """
import sys, lmdb
environment = lmdb.open(sys.argv[1], readonly=True, max_readers=8)
with environment.begin(buffers=True) as transaction:
    first = sum(1 for _ in transaction.cursor())
    print(first, flush=True)
    sys.stdin.read()
    assert sum(1 for _ in transaction.cursor()) == first
"""


def ten_minutes(history: History, twin: Twin, start: int) -> None:
    """Sixty steps of 10 s, and whatever of sealing and retention is due meanwhile."""
    for step in range(start, start + 600, 10):
        twin.append(history, step, {1: [float(step % 900)], 90: [1.0, 2.0]})
        history.retain((step + 10) * 1_000_000_000)
        seal_all(history, step + 10)


def test_a_process_that_stands_still_with_a_transaction_holds_nobody_up(tmp_path: Path) -> None:
    """Another program's: it is stopped in the middle of reading, for ten minutes in which a block is sealed."""
    history, twin = History(tmp_path, NO_LIMITS), Twin()
    ten_minutes(history, twin, START + HOUR - 900)
    words = [sys.executable, "-c", STOPPED_READER, str(tmp_path / "history/10s/slabs/2023-11-12T00")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "60\n"
        reader.send_signal(signal.SIGSTOP)
        ten_minutes(history, twin, START + HOUR - 300)
        assert history.counters()["blocks_sealed"] == 1
        twin.assert_same(history)
        reader.send_signal(signal.SIGCONT)
        reader.communicate("")
        assert reader.returncode == 0, "what it had read from was whole to its end"
    ten_minutes(history, twin, START + HOUR + 300)
    twin.assert_same(history)
    history.close()


def test_a_thread_that_holds_a_transaction_for_ten_minutes_holds_nobody_up(tmp_path: Path) -> None:
    """Sealing removes slabs that it reads, and retention removes tiles: both go on, and give the disk back later."""
    history, twin = History(tmp_path, HistoryConfig((6 * HOUR, 1 << 40, 1 << 40), 1 << 40, 0)), Twin()
    ten_minutes(history, twin, START)
    seal_all(history, START + 2 * HOUR)
    ten_minutes(history, twin, START + 6 * HOUR - 900)
    with environment_of(history, "slabs").read() as slabs, environment_of(history, "tiles").read() as tiles:
        entries = [dict(transaction.cursor()) for transaction in (slabs, tiles)]
        copies = [{bytes(key): bytes(value) for key, value in found.items()} for found in entries]
        ten_minutes(history, twin, START + 6 * HOUR - 300)
        history.retain((START + 12 * HOUR + 10) * 1_000_000_000)
        assert history.counters()["expired"] == 1
        assert len(list(tmp_path.rglob("*.expired*"))) == 2
        for transaction, copy in zip((slabs, tiles), copies, strict=True):
            assert {bytes(key): bytes(value) for key, value in transaction.cursor()} == copy
        twin.assert_same(history, START + 6 * HOUR)
    history.sealable(START + 12 * HOUR)
    assert list(tmp_path.rglob("*.expired*")) == []
    history.close()


def environment_of(history: History, kind: str) -> environment.Environment:
    return next(found for path, found in history.environments() if path.parts[2] == kind)


def test_readers_that_come_without_end_do_not_starve_the_writer_after_a_restart(tmp_path: Path) -> None:
    history, twin = History(tmp_path, NO_LIMITS), Twin()
    twin.append(history, START, {1: [1.0], 90: [2.0]})
    history.close()
    history, done = History(tmp_path, NO_LIMITS), threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        while not done.is_set():
            try:
                assert len(history.read_columns(0, [1, 90], START, START + 10)[0]) == 2
            except BaseException as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        twin.append(history, START + 10, {1: [1.0]})
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert problems == []
    twin.assert_same(history)
    history.close()


# ---- time that goes back


def test_a_clock_set_back_an_hour_adds_to_what_is_sealed_and_breaks_nothing(tmp_path: Path) -> None:
    history, twin = History(tmp_path, NO_LIMITS), Twin()
    for start in range(START, START + 2 * HOUR, 600):
        ten_minutes(history, twin, start)
    assert history.counters()["blocks_sealed"] == 1
    for start in range(START + HOUR, START + 2 * HOUR + 1200, 600):  # the second hour once more
        ten_minutes(history, twin, start)
    twin.assert_same(history)
    back = range(START, START + HOUR, 10)  # and the first, which is tiles by now
    for step in back:
        twin.append(history, step, {1: [7.0], 91: [5.0]})
        history.retain((step + 10) * 1_000_000_000)
    twin.assert_same(history)
    assert history.counters()["damaged"] == history.counters()["set_aside"] == 0
    history.close()
    history = History(tmp_path, NO_LIMITS)
    twin.assert_same(history)
    assert (history.first_step(0), history.last_step(0)) == (START, START + 2 * HOUR + 1190)
    history.close()
