"""Sealing: slabs become tiles, whatever happens in between, and readers see each row exactly once."""

import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.histories import NO_LIMITS, START, Twin, corrupt, directories, one, seal_all

from hms_ops import _sketch
from hms_ops.errors import StorageError
from hms_ops.sketches import Sketches
from hms_ops.storage import keys, merge, partition, seal, shelf, tile
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.environment import Environment
from hms_ops.storage.history import History

BLOCK_END = START + 3_600
DUE = BLOCK_END + 60


def filled(history: History, steps: int = 40) -> Twin:
    """A block of rows and sketches over three frames of slabs, with parts that came late."""
    twin = Twin()
    rng = np.random.default_rng(5)
    for number in range(steps):
        by_id = {
            series_id: rng.integers(0, 90, 3).tolist() for series_id in (1, 2, 70, 600, 1_500) if rng.random() < 0.8
        }
        twin.append(history, START + number * 90, by_id or {1: [1.0]}, sketched=True)
    twin.patch(history, {(START + 90, 1): [5.0], (START + 100, 601): [6.0]}, sketched=True)
    return twin


class Crash(Exception):
    """What a power cut is to the code: nothing after it runs."""


def test_a_sealed_block_is_tiles_and_nothing_else(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    assert history.sealable(DUE - 1) == []
    assert history.sealable(DUE) == [(0, START)]
    assert history.seal(0, START) == 4
    assert directories(tmp_path, 0, "slabs") == []
    assert directories(tmp_path, 0, "tiles") == ["2023-11-12T00"]
    twin.assert_same(history)
    assert history.sealable(DUE) == []
    assert history.seal(0, START) == 0
    assert (history.counters()["blocks_sealed"], history.counters()["tiles"]) == (1, 4)
    history.close()


STEPS = ("encode", "commit tiles", "patches", "put marker", "remember", "rename", "unlink")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_split", [False, True], ids=["one transaction", "several transactions"])
def test_a_crash_at_any_step_of_sealing_loses_nothing_and_doubles_nothing(tmp_path, monkeypatch, step, is_split):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    crashes: dict[str, tuple[object, str]] = {
        "encode": (tile, "encode"),
        "commit tiles": (Environment, "commit"),
        "patches": (seal, "put_patches"),
        "put marker": (shelf.Marker, "pack"),
        "remember": (shelf.Shelf, "mark"),
        "rename": (partition.Partitions, "remove"),
        "unlink": (partition.shutil, "rmtree"),
    }

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patching:
        if is_split:
            patching.setattr(seal, "COMMIT_BYTES", 1)
        patching.setattr(*crashes[step], crash)
        with pytest.raises(Crash):
            history.seal(0, START)
    history = reopened(history)
    twin.assert_same(history)
    twin.patch(history, {(START + 90, 1): [7.0], (START + 3_590, 70): [8.0]}, sketched=True)
    twin.assert_same(history)
    seal_all(history)
    twin.assert_same(history)
    assert directories(tmp_path, 0, "slabs") == []
    history = reopened(history)
    twin.assert_same(history)
    assert history.counters()["damaged"] == 0
    history.close()


def test_a_crash_at_any_transaction_of_sealing_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "COMMIT_BYTES", 1)
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    twin.patch(history, {(START, 1_600): [1.0]})
    commit = Environment.commit
    for number in range(1, 20):
        left = number

        def some(environment: Environment, write: Callable[..., object]) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash
            return commit(environment, write)

        with monkeypatch.context() as patching:
            patching.setattr(Environment, "commit", some)
            try:
                assert history.seal(0, START) == 5
                break
            except Crash:
                pass
        twin.assert_same(history)
        history = reopened(history)
        twin.patch(history, {(START + 90 * number, 1): [5.0], (START + 100, 1_600): [6.0]})
        twin.assert_same(history)
    assert number > 3, "several transactions"
    twin.assert_same(history)
    history.close()


def test_an_error_in_sealing_leaves_the_block_open_and_the_next_attempt_seals_it(tmp_path, monkeypatch):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patching:
        patching.setattr(Environment, "commit", refuse)
        with pytest.raises(StorageError):
            history.seal(0, START)
    twin.assert_same(history)
    twin.append(history, START + 3_590, {1: [1.0]})
    assert history.seal(0, START) == 4
    twin.assert_same(history)
    history.close()


def test_sealing_that_is_stopped_is_taken_up_again(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    asked = iter([False, False, True])
    assert history.seal(0, START, lambda: next(asked)) == 0
    twin.assert_same(history)
    history = reopened(history)
    assert seal_all(history) == 1
    twin.assert_same(history)
    history.close()


def test_what_is_written_while_a_block_is_sealed_is_in_its_tiles_and_seen_at_every_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "COMMIT_BYTES", 1)
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    moments = iter(range(3))

    def write() -> bool:
        number = next(moments)
        twin.patch(history, {(START + 90 * number, 1): [50.0], (START + 10, 600 + number): [1.0]}, sketched=True)
        twin.append(history, START + 3_500 + 10 * number, {2: [3.0], 1_500: [4.0]})
        twin.assert_same(history)
        return False

    assert history.seal(0, START, write) > 0
    twin.assert_same(history)
    history = reopened(history)
    twin.assert_same(history)
    assert directories(tmp_path, 0, "slabs") == []
    history.close()


def test_a_reader_beside_the_sealer_sees_each_row_exactly_once(tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "COMMIT_BYTES", 1)
    history = History(tmp_path, NO_LIMITS)
    twins = []
    for hour in range(6):
        twins.append(Twin())
        for step in range(START + hour * 3_600, START + hour * 3_600 + 400, 10):
            twins[-1].append(history, step, {1: [float(step)], 64: [2.0], 600: [3.0]})
    wrong: list[BaseException] = []
    is_done = threading.Event()

    def read() -> None:
        try:
            while not is_done.is_set():
                for twin in twins:
                    low, high = min(twin.rows)[0], max(twin.rows)[0] + 10
                    twin.assert_same(history, low, high)
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert seal_all(history) == 6
    history.retain((START + 12 * 3_600) * 1_000_000_000)
    is_done.set()
    for reader in readers:
        reader.join(60)
    assert not wrong
    history.close()


def test_a_reader_that_takes_long_keeps_the_slabs_it_reads(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    ((_, environment),) = history.environments()
    with environment.read() as transaction:
        before = transaction.stat()["entries"]
        assert history.seal(0, START) == 4
        twin.assert_same(history)
        with transaction.cursor() as cursor:
            assert sum(1 for _ in cursor) == before
        assert len(directories(tmp_path, 0, "slabs")) == 1
    history.sealable(DUE)
    assert directories(tmp_path, 0, "slabs") == []
    history.close()


def test_a_damaged_slab_costs_its_rows_and_the_slabs_are_kept_aside(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for step in range(START, START + 400, 10):
        twin.append(history, step, {1: [1.0], 600: [float(step)]})
    history.close()
    path = tmp_path / "history" / "10s" / "slabs" / "2023-11-12T00"
    corrupt(path, keys.slab_key(START + 390), lambda data: data[:-1] + bytes([data[-1] ^ 8]))
    history = History(tmp_path, NO_LIMITS)
    assert history.seal(0, START) == 2
    assert history.counters()["damaged"] == 1
    assert any(".damaged-" in name for name in directories(tmp_path, 0, "slabs"))
    for series_id in (1, 600):
        steps = history.read_columns(0, [series_id], START, BLOCK_END)[0]
        assert len(steps) in (39, 40)
    assert len(history.read_columns(0, [1, 600], START, START + 390)[0]) == 78
    history.close()


def test_slabs_of_a_later_release_are_left_for_it(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    history.append(0, START, one(1.0))
    history.append(0, START + 10, one(2.0))
    history.close()
    path = tmp_path / "history" / "10s" / "slabs" / "2023-11-12T00"
    corrupt(path, keys.slab_key(START + 10), newer)
    history = History(tmp_path, NO_LIMITS)
    assert history.sealable(DUE) == [(0, START)]
    assert history.seal(0, START) == 0
    assert history.sealable(DUE) == []
    assert history.read_columns(0, [1], START, BLOCK_END)[0].tolist() == [START]
    assert history.counters()["too_new"] > 0
    assert directories(tmp_path, 0, "slabs") == ["2023-11-12T00"]
    history.close()


def newer(data: bytes) -> bytes:
    """A slab with the next version, and the checksum that goes with it."""
    head_bytes = struct.unpack_from("<I", data, 8)[0]
    start = data[:4] + struct.pack("<H", struct.unpack_from("<H", data, 4)[0] + 1) + data[6:12]
    return start + struct.pack("<I", crc32c(data[16:head_bytes], crc32c(start))) + data[16:]


def test_a_lost_marker_is_no_loss_of_tiles(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = filled(history)
    seal_all(history)
    history.close()
    path = tmp_path / "history" / "10s" / "tiles" / "2023-11-12T00"
    corrupt(path, keys.tile_key(START, keys.MARKER), lambda _: b"junk")
    history = History(tmp_path, NO_LIMITS)
    twin.assert_same(history)
    assert history.counters()["damaged"] == 1
    history.close()


def test_the_minutes_and_hours_are_sealed_too(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twins = [Twin(1), Twin(2)]
    week = START - START % 604_800
    for twin, start, seconds in zip(twins, (START, week), (60, 3_600), strict=True):
        for number in range(0, 160):
            twin.append(history, start + number * seconds, {1: [1.5, float(number)], 500: [2.0]}, sketched=True)
    assert seal_all(history) == 2
    for twin in twins:
        twin.assert_same(history)
        assert directories(tmp_path, twin.tier, "slabs") == []
    history.close()


def test_a_pause_keeps_writer_and_sealer_out(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    filled(history)
    done: list[str] = []

    def run(name: str, what: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=lambda: (what(), done.append(name)))
        thread.start()
        return thread

    with history.paused():
        threads = [
            run("append", lambda: history.append(0, BLOCK_END, one(1.0))),
            run("patch", lambda: history.append_patch(0, (np.array([START]), np.array([1]), np.ones((6, 1))))),
            run("seal", lambda: history.seal(0, START)),
            run("retain", lambda: history.retain(START * 1_000_000_000)),
        ]
        for thread in threads:
            thread.join(0.05)
        assert done == []
        assert [block.is_sealed for block in history.blocks(0)] == [False]
    for thread in threads:
        thread.join(20)
    assert sorted(done) == ["append", "patch", "retain", "seal"]
    history.close()


def reopened(history: History) -> History:
    history.close()
    return History(history.data_dir, NO_LIMITS)


def test_sketches_of_ids_beyond_the_last_row_are_sealed_too(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    blob = _sketch.from_values(np.array([5.0]))
    ids = np.array([3, 900], np.uint32)
    alone = Sketches(ids, np.full(2, START), np.array([0, len(blob), 2 * len(blob)]), blob * 2)
    history.append(0, START, np.ones((6, 5)))
    history.append_patch(0, merge.join([]), alone)
    history.seal(0, START)
    found = history.read_sketches(0, ids, START, BLOCK_END)
    assert (found.ids.tolist(), found.steps.tolist(), found.blob(1)) == ([0, 1], [START, START], blob)
    history.close()


def spoil_pages(path: Path) -> None:
    """The kind of every page but the first two, under an environment that is open."""
    data = path / "data.mdb"
    spoiled = bytearray(data.read_bytes())
    for page in range(2, len(spoiled) // 4096):
        spoiled[page * 4096 + 10 : page * 4096 + 12] = b"\xff\xff"
    with data.open("r+b") as file:
        file.write(spoiled)


def test_slabs_that_lmdb_finds_damaged_are_put_aside_and_the_other_blocks_are_sealed(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for block in range(3):
        for step in range(START + 3_600 * block, START + 3_600 * block + 100, 10):
            twin.append(history, step, {1: [1.0]})
    spoil_pages(tmp_path / "history" / "10s" / "slabs" / "2023-11-12T01")
    assert seal_all(history) == 3
    assert [block.start for block in history.blocks(0) if block.is_sealed] == [START, START + 7_200]
    assert history.counters()["set_aside"] == 1
    assert history.counters()["blocks_sealed"] == 2
    assert seal_all(history) == 0
    twin.assert_same(history, START, START + 3_600)
    twin.assert_same(history, START + 7_200)
    history.close()


def test_tiles_that_lmdb_finds_damaged_are_put_aside_and_made_anew_from_the_slabs(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for block in range(2):
        for step in range(START + 3_600 * block, START + 3_600 * block + 100, 10):
            twin.append(history, step, {1: [1.0]})
    history.seal(0, START)
    spoil_pages(tmp_path / "history" / "10s" / "tiles" / "2023-11-12T00")
    assert history.seal(0, START + 3_600) == 0
    assert history.counters()["set_aside"] == 1
    assert seal_all(history) == 1
    assert [(block.start, block.is_sealed) for block in history.blocks(0)] == [(START + 3_600, True)]
    twin.assert_same(history, START + 3_600)
    history.close()
