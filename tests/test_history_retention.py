"""What is kept: by time, by bytes, above a floor of free disk; what goes is unlinked and hurts no reader or writer."""

import shutil
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from tests.histories import NO_LIMITS, START, Twin, directories, one, patch_of, seal_all

from hms_ops.errors import StorageError
from hms_ops.storage import environment as environment_module
from hms_ops.storage import partition
from hms_ops.storage.environment import Environment
from hms_ops.storage.history import History, HistoryConfig
from hms_ops.storage.retention import Limits
from hms_ops.storage.row import Columns
from hms_ops.storage.tier import TIERS

SECOND_NS = 1_000_000_000
HOUR = 3_600


def wide(seed: int) -> Columns:
    """Two thousand rows of which no two are alike."""
    return np.random.default_rng(seed).uniform(1, 2, (6, 2_001))


WIDE = wide(0)


def test_what_ended_long_enough_ago_goes_in_each_tier_by_its_own_time(tmp_path):
    keep = tuple(2 * tier.partition_seconds for tier in TIERS)
    history = History(tmp_path, HistoryConfig(keep_seconds=keep, disk_free_min=0))
    for tier, lengths in enumerate(TIERS):
        first = START - START % lengths.partition_seconds
        for number in range(4):
            history.append(tier, first + number * lengths.partition_seconds, one(1.0))
    seal_all(history)
    last = START - START % TIERS[0].partition_seconds + 3 * TIERS[0].partition_seconds
    assert history.retain(last * SECOND_NS) == 1
    assert directories(tmp_path, 0, "tiles") == ["2023-11-12T06", "2023-11-12T12", "2023-11-12T18"]
    assert len(directories(tmp_path, 1, "tiles")) == len(directories(tmp_path, 2, "tiles")) == 4
    assert history.first_step(0) == START + 6 * HOUR
    assert history.read_columns(0, [1], 0, 1 << 40)[0].tolist() == [START + hour * HOUR for hour in (6, 12, 18)]
    for hour in range(1, 25):
        history.append(2, START + 10_000_800 + hour * HOUR, one(1.0))
    assert history.retain((START + 10_100_000) * SECOND_NS) > 3
    assert history.first_step(0) is None
    assert history.first_step(1) is None
    history.close()


def test_a_clock_that_is_years_ahead_gives_up_nothing_and_is_told_until_a_day_was_written_at_its_time(tmp_path):
    history = History(tmp_path, HistoryConfig(disk_free_min=0))
    twins = [Twin(tier) for tier in range(3)]
    for twin in twins:
        twin.append(history, START, {1: [1.0]})
    history.retain((START + 2 * HOUR) * SECOND_NS)
    assert not history.problem
    ahead = START + 10 * 365 * 86_400
    for hour in range(24):
        assert history.retain((ahead + hour * HOUR) * SECOND_NS) == 0
        assert "days ahead of the history on disk" in history.problem
        history.append(0, ahead + hour * HOUR, one(2.0))
        if hour == 12:
            history.close()
            history = History(tmp_path, history.config)
    for twin in twins:
        twin.assert_same(history, end=START + HOUR)
    history.append(0, ahead + 24 * HOUR, one(2.0))
    assert history.retain((ahead + 24 * HOUR) * SECOND_NS) == 3
    assert not history.problem
    assert history.first_step(0) == ahead
    history.close()


def test_a_clock_that_was_ahead_and_is_right_again_changes_nothing(tmp_path):
    history = History(tmp_path, HistoryConfig(disk_free_min=0))
    for step in (START, START + 10 * 365 * 86_400, START + HOUR, START + 30 * HOUR, START + 50 * HOUR):
        history.append(0, step, one(1.0))
    assert history.retain((START + 49 * HOUR) * SECOND_NS) == 1
    assert not history.problem
    assert history.first_step(0) == START + HOUR
    history.close()


def test_slabs_that_were_never_sealed_expire_too(tmp_path):
    history = History(tmp_path, HistoryConfig(keep_seconds=(2 * HOUR, 1 << 40, 1 << 40), disk_free_min=0))
    for number in range(6):
        history.append(0, START + number * HOUR, one(1.0))
    assert history.retain((START + 6 * HOUR) * SECOND_NS) == 4
    assert directories(tmp_path, 0, "slabs") == ["2023-11-12T04", "2023-11-12T05"]
    assert history.counters()["expired"] == 4
    history.close()


def test_the_cap_in_bytes_gives_up_the_oldest_first(tmp_path):
    history = History(tmp_path, HistoryConfig(bytes_max=1_000_000, disk_free_min=0))
    for number in range(30):
        history.append(0, START + number * HOUR, WIDE)
        if number % 3 == 2:
            seal_all(history)
    counters = history.counters()
    assert counters["bytes_on_disk"] <= 1_000_000
    assert counters["expired"] > 0
    assert counters["refused"] == 0
    assert history.last_step(0) == START + 29 * HOUR
    assert history.problem == ""
    history.close()


def test_the_cap_takes_the_finest_tier_first_and_never_a_coarser_one_for_a_finer(tmp_path):
    history = History(tmp_path, HistoryConfig(bytes_max=1_000_000, disk_free_min=0))
    for number in range(3):
        history.append(2, START - START % 604_800 - number * 604_800, WIDE)
        history.append(1, START - number * 6 * HOUR, WIDE)
    kept = (history.first_step(1), history.first_step(2))
    for number in range(30):
        history.append(0, START + number * HOUR, WIDE)
    assert (history.first_step(1), history.first_step(2)) == kept
    assert history.first_step(0) > START
    for number in range(1, 30):
        history.append(2, START - START % 604_800 + number * 604_800, WIDE)
    assert history.first_step(2) > kept[1]
    assert history.last_step(2) == START - START % 604_800 + 29 * 604_800
    assert len(directories(tmp_path, 0, "slabs")) == 1, "of each other tier the newest stays"
    assert history.counters()["bytes_on_disk"] <= 1_000_000
    history.close()


def test_with_nothing_left_to_give_up_a_step_is_refused_counted_and_told(tmp_path):
    history = History(tmp_path, HistoryConfig(bytes_max=400_000, disk_free_min=0))
    written = [history.append(0, step, wide(step)) for step in range(START, START + 200, 10)]
    assert written[0] == 2_000
    assert written[-1] == 0
    counters = history.counters()
    assert counters["refused"] == 2_000 * written.count(0)
    assert counters["bytes_on_disk"] <= 400_000
    assert "raise the limit" in history.problem
    assert history.append_patch(0, patch_of({(START, 1): [1.0]})) == 1
    assert history.append(0, START + HOUR, WIDE) == 2_000, "a new block: the one before may go"
    assert history.problem == ""
    assert history.first_step(0) == START + HOUR
    history.close()


def test_below_the_floor_of_free_disk_the_finest_tier_stops_first(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    history = History(tmp_path)
    for floor, taken in (
        (free // 2, (1, 1, 1)),
        (free * 3 // 2, (0, 1, 1)),
        (free * 3, (0, 0, 1)),
        (free * 8, (0, 0, 0)),
    ):
        history.config = HistoryConfig(disk_free_min=floor)
        for tier in range(3):
            step = history.last_step(tier)
            step = START - START % 604_800 if step is None else step + TIERS[tier].step_seconds
            assert history.append(tier, step, one(1.0)) == taken[tier], (floor / free, tier)
        assert bool(history.problem) == (taken != (1, 1, 1))
    assert history.append_patch(0, patch_of({(START, 1): [1.0]})) == 1, "done with, though it is not kept"
    assert history.counters()["refused_disk_floor"] == 7
    history.config = HistoryConfig(disk_free_min=0)
    assert history.append(0, START, one(1.0)) == 1
    history.close()


def test_a_reader_of_what_expires_reads_on_and_the_writer_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_module, "REOPEN_SECONDS_MAX", 30.0)  # it would wait so long
    history = History(tmp_path, HistoryConfig(keep_seconds=(HOUR, HOUR, HOUR), disk_free_min=0))
    twin = Twin()
    for step in range(START, START + 400, 10):
        twin.append(history, step, {1: [1.0], 2: [2.0]})
    ((_, environment),) = history.environments()
    with environment.read() as transaction:
        begin = time.perf_counter()
        assert history.retain((START + 3 * HOUR) * SECOND_NS) == 1
        assert history.append(0, START + 3 * HOUR, one(1.0)) == 1
        assert time.perf_counter() - begin < 20
        assert len(history.read_columns(0, [1], START, START + HOUR)[0]) == 0
        with transaction.cursor() as cursor:
            assert sum(1 for _ in cursor) == 40
        assert any(name.endswith(partition.EXPIRED) for name in directories(tmp_path, 0, "slabs"))
    history.sealable(START)
    assert directories(tmp_path, 0, "slabs") == ["2023-11-12T03"]
    history.close()


def test_large_ones_are_left_to_the_sealer_to_unlink(tmp_path, monkeypatch):
    monkeypatch.setattr("hms_ops.storage.retention.UNLINK_BYTES", 1)
    history = History(tmp_path, HistoryConfig(keep_seconds=(HOUR, HOUR, HOUR), disk_free_min=0))
    history.append(0, START, WIDE)
    assert history.retain((START + 3 * HOUR) * SECOND_NS) == 1
    assert history.counters()["bytes_on_disk"] == 0
    assert directories(tmp_path, 0, "slabs") == ["2023-11-12T00" + partition.EXPIRED]
    history.sealable(START + 3 * HOUR)
    assert directories(tmp_path, 0, "slabs") == []
    history.close()


def test_a_file_that_somebody_reads_is_never_made_shorter(tmp_path, monkeypatch):
    """It is mapped: what is cut off would be a SIGBUS."""
    monkeypatch.setattr(partition, "SHRINK_BYTES", 4096)
    history = History(tmp_path, HistoryConfig(keep_seconds=(HOUR, HOUR, HOUR), disk_free_min=0))
    for step in range(START, START + 400, 10):
        history.append(0, step, WIDE)
    ((_, environment),) = history.environments()
    with environment.read() as transaction:
        history.retain((START + 3 * HOUR) * SECOND_NS)
        (path,) = (tmp_path / "history" / "10s" / "slabs").iterdir()
        size = (path / "data.mdb").stat().st_size
        history.sealable(START)
        assert (path / "data.mdb").stat().st_size == size
        with transaction.cursor() as cursor:
            assert sum(len(value) for _, value in cursor) > size // 2
    history.sealable(START)
    assert not path.exists()
    history.close()


def test_what_was_half_removed_is_removed_at_the_next_start(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    history.append(0, START, one(1.0))
    history.close()
    (path,) = (tmp_path / "history" / "10s" / "slabs").iterdir()
    path.rename(path.with_name(path.name + ".expired"))
    assert History(tmp_path).first_step(0) is None
    assert directories(tmp_path, 0, "slabs") == []


def test_a_patch_does_not_wait_for_who_reads_what_it_patches_after_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(environment_module, "REOPEN_SECONDS_MAX", 30.0)  # it would wait so long
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for step in range(START, START + 400, 10):
        twin.append(history, step, {1: [1.0]})
    seal_all(history)
    twin.append(history, START + HOUR, {1: [1.0]})
    history.close()
    data = tmp_path / "history" / "10s" / "tiles" / "2023-11-12T00" / "data.mdb"
    before = data.read_bytes()
    history = History(tmp_path, NO_LIMITS)
    twin.assert_same(history)
    history.retain((START + 86_400) * SECOND_NS)
    assert data.read_bytes() == before, "who only reads writes nothing"
    with ExitStack() as readers:
        for _, environment in history.environments():
            readers.enter_context(environment.read())
        began = time.monotonic()
        twin.patch(history, {(START, 1): [4.0], (START + 10, 64): [5.0], (START + HOUR, 2): [1.0]})
        assert time.monotonic() - began < 20
    twin.assert_same(history)
    history.close()


def test_what_the_disk_refused_to_have_written_is_patched_when_it_is_well_and_nobody_reads_it(tmp_path, monkeypatch):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    twin.append(history, START, {1: [1.0]})
    history.close()

    def refuse(path: Path, map_bytes: int, *, is_read_only: bool = False) -> Environment:
        if not is_read_only:
            raise StorageError("read-only file system")
        return Environment(path, map_bytes=map_bytes, is_read_only=True)

    with monkeypatch.context() as disk:
        disk.setattr(partition, "Environment", refuse)
        history = History(tmp_path, NO_LIMITS)
        twin.assert_same(history)
    ((_, environment),) = history.environments()
    with environment.read(), pytest.raises(StorageError, match="is being read"):
        history.append(0, START + 10, one(1.0))
    twin.append(history, START + 10, {1: [1.0]})
    twin.assert_same(history)
    history.close()


def test_readers_go_on_while_what_they_read_is_patched(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = Twin()
    for step in range(START, START + 400, 10):
        twin.append(history, step, {1: [1.0], 700: [2.0]})
    seal_all(history)
    wrong: list[BaseException] = []
    is_done = threading.Event()

    def read() -> None:
        try:
            while not is_done.is_set():
                assert len(history.read_columns(0, [1, 700], START, START + 400)[0]) == 80
        except BaseException as error:
            wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(30):
        history.retain((START + 86_400) * SECOND_NS)
        twin.patch(history, {(START, 1): [float(number)]})
    is_done.set()
    for reader in readers:
        reader.join(20)
    assert not wrong
    twin.assert_same(history)
    history.close()


@pytest.mark.parametrize("keep", [(0, 0, 0), (1 << 62, 1 << 62, 1 << 62)])
def test_any_time_to_keep_will_do(tmp_path, keep):
    history = History(tmp_path, HistoryConfig(keep_seconds=keep, disk_free_min=0))
    history.append(0, START, one(1.0))
    history.retain((START + 10 * HOUR) * SECOND_NS)
    assert (history.first_step(0) is None) == (keep == (0, 0, 0))
    history.close()


def test_refusals_of_two_threads_at_once_are_all_counted():
    """An import writes patches beside the writer; to add is to read and then to write."""
    both_have_read = threading.Barrier(2, timeout=0.2)

    class Counts(dict):
        def __getitem__(self, name):
            found = super().__getitem__(name)
            with suppress(threading.BrokenBarrierError):
                both_have_read.wait()
            return found

    limits = Limits([])
    limits.counts = Counts(limits.counts)
    threads = [threading.Thread(target=limits._count, args=("refused", 1)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(limits.counts)["refused"] == 2
