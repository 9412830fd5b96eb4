"""Faults: damage costs only itself, a kill loses no acknowledged step, a full disk costs the steps it lasts."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from tests.histories import NO_LIMITS, START, Twin, corrupt, directories, one, patch_of, seal_all

from hms_ops.errors import StorageError
from hms_ops.storage import keys, partition
from hms_ops.storage.history import History, HistoryConfig

HOUR = 3_600
SLABS = Path("history/10s/slabs/2023-11-12T00")
TILES = Path("history/10s/tiles/2023-11-12T00")


def filled(tmp_path: Path) -> Twin:
    """A closed history: a sealed block of two tiles and an open one, 40 steps each."""
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for block in (START, START + HOUR):
        for step in range(block, block + 400, 10):
            twin.append(history, step, {1: [1.0, float(step)], 64: [2.5], 600: [float(step % 70)]})
    assert history.seal(0, START) == 3
    history.close()
    return twin


def flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]


JUNK = {"empty": b"", "zeros": bytes(100), "junk": b"junk" * 1_000, "cut": None, "flipped": None}


@pytest.mark.parametrize("how", JUNK)
def test_a_damaged_tile_costs_its_series_in_its_block_and_is_counted_once(tmp_path, how):
    twin = filled(tmp_path)
    change = {"cut": lambda data: data[:-3], "flipped": flipped}.get(how, lambda _: JUNK[how])
    corrupt(tmp_path / TILES, keys.tile_key(START, 1), change)
    history = History(tmp_path, NO_LIMITS)
    for _ in range(3):
        found = history.read_columns(0, [1, 64, 600], START, START + 2 * HOUR)
        assert len(found[0]) in (200, 240)
    twin.assert_same(history, ids=[1, 600])
    assert history.counters()["damaged"] == 1
    assert history.read_tile(0, START, 9)[0].shape == (40,)
    assert history.roll(1, START) == 2
    twin.assert_same(history, START + HOUR)
    history.close()


@pytest.mark.parametrize("how", JUNK)
def test_a_damaged_slab_costs_its_step_and_is_counted_once(tmp_path, how):
    twin = filled(tmp_path)
    open_slabs = tmp_path / SLABS.with_name("2023-11-12T01")
    change = {"cut": lambda data: data[:-3], "flipped": flipped}.get(how, lambda _: JUNK[how])
    corrupt(open_slabs, keys.slab_key(START + HOUR + 390), change)
    history = History(tmp_path, NO_LIMITS)
    for _ in range(3):
        assert len(history.read_columns(0, [1, 64, 600], START, START + 2 * HOUR)[0]) in (237, 238, 239)
    twin.assert_same(history, START, START + HOUR + 390)
    assert history.counters()["damaged"] == 1
    assert len(history.steps(0, START, START + 2 * HOUR)) == 40
    history.read_step(0, START + HOUR + 390)
    history.highest_id()
    twin.append(history, START + HOUR + 400, {1: [1.0]})
    twin.assert_same(history, START + HOUR + 391)
    history.close()


@pytest.mark.parametrize("left", [b"", b"zeroed\0" * 3_000], ids=["emptied", "overwritten"])
@pytest.mark.parametrize("what", [TILES, SLABS.with_name("2023-11-12T01")], ids=["tiles", "slabs"])
def test_a_damaged_environment_is_set_aside_and_writing_goes_on(tmp_path, left, what):
    twin = filled(tmp_path)
    (tmp_path / what / "data.mdb").write_bytes(left)
    history = History(tmp_path, NO_LIMITS)
    block = START if what == TILES else START + HOUR
    other = START + HOUR if what == TILES else START
    twin.assert_same(history, other, other + HOUR)
    assert len(history.read_columns(0, [1], block, block + HOUR)[0]) == 0
    again = Twin()
    again.append(history, block + 10, {1: [3.0]})
    again.patch(history, {(block + 20, 2): [4.0]})
    again.assert_same(history, block, block + HOUR)
    assert history.counters()["set_aside"] == 1
    (aside,) = (tmp_path / what).parent.glob(f"{what.name}.damaged-*")
    assert (aside / "data.mdb").read_bytes() == left
    history.close()
    history = History(tmp_path, NO_LIMITS)
    assert history.counters()["set_aside"] == 0
    again.assert_same(history, block, block + HOUR)
    history.close()


def test_random_bits_flipped_in_stored_values_are_noticed_or_harmless(tmp_path):
    """Of the bytes that LMDB stores for us, not of its own pages (see verify.py for those)."""
    filled(tmp_path)
    rng = np.random.default_rng(3)
    clean = History(tmp_path, NO_LIMITS)
    every = [clean.read_columns(0, [series_id], 0, 1 << 40) for series_id in (1, 64, 600)]
    clean.close()
    rows = [dict(zip(steps.tolist(), columns.T.tolist(), strict=True)) for steps, _, columns in every]
    for _ in range(30):
        is_tile = bool(rng.integers(2))
        path = tmp_path / (TILES if is_tile else SLABS.with_name("2023-11-12T01"))
        key = keys.tile_key(START, int(rng.choice([0, 1, 9])))
        if not is_tile:
            key = keys.slab_key(START + HOUR + 10 * int(rng.integers(40)))
        before: list[bytes] = []

        def change(data: bytes, before: list[bytes] = before) -> bytes:
            before.append(data)
            at = int(rng.integers(len(data)))
            return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]

        corrupt(path, key, change)
        history = History(tmp_path, NO_LIMITS)
        for series_id, expected in zip((1, 64, 600), rows, strict=True):
            steps, _, columns = history.read_columns(0, [series_id], 0, 1 << 40)
            assert all(expected[step] == row for step, row in zip(steps.tolist(), columns.T.tolist(), strict=True))
        history.close()
        corrupt(path, key, lambda _, before=before: before[0])


def test_a_forked_child_may_neither_read_nor_write(tmp_path):
    twin = filled(tmp_path)
    history = History(tmp_path, NO_LIMITS)
    twin.append(history, START + HOUR + 400, {1: [2.0]})
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (
            lambda: history.read_columns(0, [1], START, START + HOUR),
            lambda: history.read_columns(0, [1], START + HOUR, START + 2 * HOUR),
            lambda: history.append(0, START + HOUR + 410, one(2.0)),
            lambda: history.append_patch(0, patch_of({(START, 1): [1.0]})),
            lambda: history.append(1, START, one(2.0)),
            lambda: history.seal(0, START + HOUR),
        ):
            try:
                use()
            except StorageError:
                refused += 1
        history.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 6
    twin.append(history, START + HOUR + 410, {1: [2.0]})
    twin.assert_same(history)
    history.close()


WRITER = """
import os, sys, threading
from pathlib import Path
import lmdb
import numpy as np
from hms_ops.storage.history import History
history = History(Path(sys.argv[1]))
start = int(sys.argv[2])
step = (history.last_step(0) or start - 100) + 100

def seal():
    while True:
        for tier, block in history.sealable(step):
            history.seal(tier, block)
            os.write(1, b"sealed %d\\n" % block)

threading.Thread(target=seal, daemon=True).start()
while True:
    columns = np.full((6, 700), float(step))
    history.append(0, step, columns)
    os.write(1, b"%d\\n" % step)
    step += 100
"""


def test_a_killed_writer_loses_no_acknowledged_step_and_tears_none_while_it_writes_and_seals(tmp_path):
    random = np.random.default_rng(7)
    acknowledged: set[int] = set()
    sealed = 0
    for _ in range(6):
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(START)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline() for _ in range(int(random.integers(1, 120)))]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        sealed += sum(line.startswith("sealed") for line in lines)
        acknowledged |= {int(line) for line in lines if line.endswith("\n") and not line.startswith("sealed")}
        history = History(tmp_path)
        steps, _, columns = history.read_columns(0, [1, 699], START, 1 << 40)
        assert steps.tolist() == [step for step in range(START, history.last_step(0) + 100, 100) for _ in range(2)]
        assert (columns[5] == steps).all()
        assert acknowledged <= set(steps.tolist())
        assert max(acknowledged) in (history.last_step(0), history.last_step(0) - 100)
        counters = history.counters()
        assert (counters["damaged"], counters["set_aside"]) == (0, 0)
        history.close()
    assert sealed > 1


FULL_DISK = """
import resource, sys
from pathlib import Path
import lmdb
import numpy as np
from hms_ops.errors import StorageError
from hms_ops.storage.history import History, HistoryConfig
start = int(sys.argv[2])
history = History(Path(sys.argv[1]), HistoryConfig(disk_free_min=0))
columns = np.random.default_rng(1).uniform(1, 2, (6, 2001))
history.append(0, start, columns)
assert history.append(0, start + 3600, columns) == 2000
no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, no_limit[1]))
for what in (
    lambda: history.append(0, start + 3610, columns * 1.1),
    lambda: history.append(0, start + 3620, columns * 1.2),
    lambda: history.seal(0, start),
):
    try:
        what()
        raise SystemExit("the disk was not full")
    except StorageError as error:
        print(error, file=sys.stderr)
assert history.last_step(0) == start + 3600
resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
assert history.append(0, start + 3630, columns) == 2000
assert history.seal(0, start) == 32
assert len(history.read_columns(0, [1, 2000], start, start + 7200)[0]) == 6
assert history.counters()["damaged"] == 0
history.close()
"""


def test_a_full_disk_costs_the_steps_it_lasts_and_nothing_else(tmp_path):
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(START)]
    child = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert len(child.stderr.splitlines()) == 3
    history = History(tmp_path, NO_LIMITS)
    steps = history.read_columns(0, [1], START, START + 2 * HOUR)[0]
    assert steps.tolist() == [START, START + HOUR, START + HOUR + 30]
    assert directories(tmp_path, 0, "slabs") == ["2023-11-12T01"]
    history.close()


def test_a_patch_that_fails_half_way_says_how_far_it_got(tmp_path, monkeypatch):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    rows = {(START + hour * HOUR, series_id): [1.0] for hour in range(4) for series_id in (1, 2, 3)}
    create = history._shelves[0].slabs.create

    def some(start: int) -> object:
        if start >= START + 2 * HOUR:
            raise StorageError("the disk is full")
        return create(start)

    monkeypatch.setattr(history._shelves[0].slabs, "create", some)
    assert history.append_patch(0, patch_of(rows)) == 6
    twin.add({key: values for key, values in rows.items() if key[0] < START + 2 * HOUR})
    twin.assert_same(history)
    with pytest.raises(StorageError):
        history.append_patch(0, patch_of({key: rows[key] for key in rows if key[0] >= START + 2 * HOUR}))
    monkeypatch.undo()
    twin.patch(history, {key: rows[key] for key in rows if key[0] >= START + 2 * HOUR})
    twin.assert_same(history)
    history.close()


def test_a_directory_that_went_away_is_an_error_and_no_crash(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    history.append(0, START, one(1.0))
    shutil.rmtree(tmp_path / "history")
    (tmp_path / "history").write_text("in the way")
    history.config = HistoryConfig(keep_seconds=(0, 0, 0), disk_free_min=0)
    for use in (
        lambda: history.append(0, START + HOUR, one(2.0)),
        lambda: history.retain(1 << 62),
        lambda: history.seal(0, START),
    ):
        with pytest.raises(StorageError):
            use()
    history.close()


def test_a_closed_history_says_so(tmp_path):
    filled(tmp_path)
    history = History(tmp_path, NO_LIMITS)
    history.close()
    history.close()
    for use in (
        lambda: history.read_columns(0, [1], START, START + HOUR),
        lambda: history.append(0, START, one(1.0)),
        lambda: history.append(0, START + 3 * HOUR, one(1.0)),
    ):
        with pytest.raises(StorageError, match="closed"):
            use()


def test_a_map_that_is_full_grows_in_the_middle_of_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(partition, "MAP_BYTES", 1 << 15)
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    rng = np.random.default_rng(1)
    for step in range(START, START + 600, 10):
        twin.append(history, step, {i: rng.normal(size=2).tolist() for i in range(1, 40)}, sketched=True)
    twin.patch(history, {(START + 10 * i, 1 + 64 * i): [float(i)] for i in range(60)}, sketched=True)
    assert seal_all(history) == 1
    many = {(START + 10 * i, 1 + 64 * j): [0.25 * i] for i in range(40) for j in range(60)}
    twin.patch(history, many, sketched=True)
    twin.assert_same(history)
    assert history.counters()["damaged"] == 0
    history.close()


def test_foreign_keys_among_slabs_and_tiles_are_passed_over(tmp_path):
    twin = filled(tmp_path)
    for path in (tmp_path / SLABS.with_name("2023-11-12T01"), tmp_path / TILES):
        with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
            for key in (b"a", b"\0" * 20, keys.slab_key(START + HOUR + 100, 7), keys.tile_key(START, 0, 9)):
                transaction.put(key, b"what is this")
    history = History(tmp_path, NO_LIMITS)
    twin.assert_same(history)
    seal_all(history)
    twin.assert_same(history)
    assert history.tile_numbers(0, START + HOUR) == [0, 1, 9]
    assert directories(tmp_path, 0, "slabs")[0].startswith("2023-11-12T01.damaged-"), "kept: we did not write it all"
    history.close()
