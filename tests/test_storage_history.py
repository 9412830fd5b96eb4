"""History on disk: what is appended is read, merged exactly, across restarts, kills, damage, forks and full disks."""

import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hms_ops.errors import StorageError
from hms_ops.storage import block, keys, merge
from hms_ops.storage.history import PARTITION_SECONDS, History, HistoryConfig

START = 1_699_984_800  # 2023-11-14T18:00Z, the first second of a partition
SECOND_NS = 1_000_000_000


def columns_of(values: list[list[float]]) -> block.Columns:
    """float64[6, n] out of the samples of each series in one step, by the definitions."""
    columns = np.empty((6, len(values)))
    for series, samples in enumerate(values):
        mean = math.fsum(samples) / len(samples)
        m2 = math.fsum((sample - mean) ** 2 for sample in samples)
        columns[:, series] = [len(samples), math.fsum(samples), m2, min(samples), max(samples), samples[-1]]
    return columns


def one(value: float) -> block.Columns:
    return columns_of([[value]])


def corrupt(data_dir: Path, step_start: int, change: object) -> None:
    """Rewrite the block of a step behind History's back, as a failing disk would."""
    (path,) = (data_dir / "history" / "10s").iterdir()
    with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
        key = keys.time_key(step_start)
        transaction.put(key, change(transaction.get(key)))


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path)
    yield opened
    opened.close()


def test_rows_come_back_after_a_restart(tmp_path):
    history = History(tmp_path)
    history.append(START, np.array([3, 7], np.uint32), columns_of([[1.5, 2.5], [240.0]]))
    history.append(START + 10, np.array([7], np.uint32), columns_of([[250.0, 230.0]]))
    history.close()
    history = History(tmp_path)
    assert (history.first_step(), history.last_step(), history.highest_id()) == (START, START + 10, 7)
    rows = history.read([7], START, START + 20)
    assert rows.dtype.names == ("time", "count", "sum", "min", "max", "last")
    assert rows.tolist() == [
        (START * SECOND_NS, 1.0, 240.0, 240.0, 240.0, 240.0),
        ((START + 10) * SECOND_NS, 2.0, 480.0, 230.0, 250.0, 230.0),
    ]
    history.close()


def test_an_empty_history_answers_with_nothing(history):
    assert (history.first_step(), history.last_step(), history.highest_id()) == (None, None, 0)
    assert len(history.read([1], 0, START)) == 0
    assert [len(part) for part in history.read_columns([4, 2], 0, START)[:2]] == [0, 0]
    assert history.retain(START * SECOND_NS) == 0


def test_a_range_holds_its_first_second_and_not_its_last(history):
    for step in range(START, START + 60, 10):
        history.append(step, [1], one(step))
    assert history.read([1], START + 10, START + 30)["last"].tolist() == [START + 10, START + 20]
    assert history.read([1], START + 15, START + 31)["last"].tolist() == [START + 10, START + 20, START + 30]
    assert len(history.read([1], START + 30, START + 30)) == 0
    assert len(history.read([1], START + 30, START)) == 0
    assert len(history.read([2], START, START + 60)) == 0


def test_steps_without_samples_are_absent(history):
    for step in (START, START + 30, START + 90):
        history.append(step, [1], one(1.0))
    times = history.read([1], START, START + 120, 30)["time"] // SECOND_NS - START
    assert times.tolist() == [0, 30, 90]


@given(
    samples=st.lists(
        st.tuples(st.integers(0, 29), st.integers(1, 4), st.lists(st.integers(-1000, 1000), min_size=1, max_size=4)),
        max_size=40,
        unique_by=lambda item: item[:2],
    ),
    step=st.sampled_from([10, 20, 60, 300]),
    wanted=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=40)
def test_any_step_and_any_pool_equals_the_rows_of_all_samples(tmp_path_factory, samples, step, wanted):
    history = History(tmp_path_factory.mktemp("history"))
    by_step: dict[int, dict[int, list[int]]] = {}
    for place, series_id, values in sorted(samples):
        by_step.setdefault(START + place * 10, {})[series_id] = values
    for start, rows in by_step.items():
        history.append(start, list(rows), columns_of(list(rows.values())))

    def expected(ids: set[int]) -> list[tuple[float, ...]]:
        pooled: dict[int, list[int]] = {}
        for start, rows in by_step.items():
            for series_id in sorted(ids & set(rows)):
                pooled.setdefault(start - start % step, []).extend(rows[series_id])
        return [
            (start * SECOND_NS, len(all_), sum(all_), min(all_), max(all_), all_[-1])
            for start, all_ in sorted(pooled.items())
        ]

    end = START + 300
    assert history.read(wanted, START, end, step).tolist() == expected(set(wanted))
    assert [history.read([i], START, end, step).tolist() for i in wanted] == [expected({i}) for i in wanted]
    history.close()


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), min_size=1, max_size=8))
@example([[0.0], [0.0, 2.953581204707661e-158]])
@settings(deadline=None)
def test_merging_rows_equals_the_row_of_all_samples_deviations_included(pieces):
    parts = columns_of(pieces)
    before = parts.copy()
    zeros = np.zeros(len(pieces), np.int64)
    _, _, merged = merge.fold(zeros, zeros, parts)
    expected = columns_of([[sample for piece in pieces for sample in piece]])
    scale = max(abs(sample) for piece in pieces for sample in piece) or 1.0
    np.testing.assert_allclose(merged[[0, 3, 4, 5]], expected[[0, 3, 4, 5]], rtol=0)
    np.testing.assert_allclose(merged[1], expected[1], atol=scale * 1e-10)
    smallest = np.finfo(float).tiny  # squares below it have few bits left
    np.testing.assert_allclose(merged[2], expected[2], rtol=1e-9, atol=scale**2 * 1e-9 + smallest)
    assert parts.tobytes() == before.tobytes()


def test_deviations_merge_far_from_zero():
    """The naive sum of squares loses everything at an offset of 1e9."""
    parts = columns_of([[1e9 + 1, 1e9 + 2], [1e9 + 3, 1e9 + 4]])
    zeros = np.zeros(2, np.int64)
    assert merge.fold(zeros, zeros, parts)[2][merge.M2, 0] == 5.0


def test_a_late_patch_adds_to_its_step_and_the_later_write_is_last(history):
    history.append(START, [1, 2], columns_of([[10.0, 20.0], [5.0]]))
    history.append(START + 10, [1], one(1.0))
    history.append_patch(START, [1], one(40.0))
    history.append_patch(START, [1, 3], columns_of([[30.0], [7.0]]))
    assert history.read([1], START, START + 10).tolist() == [(START * SECOND_NS, 4.0, 100.0, 10.0, 40.0, 30.0)]
    assert history.read([3], START, START + 10)["sum"].tolist() == [7.0]
    assert history.read([1, 2, 3], START, START + 10)["sum"].tolist() == [112.0]
    counters = history.counters()
    assert (counters["slabs"], counters["patches"], counters["rows"]) == (2, 2, 6)


def test_the_rest_of_a_step_after_a_restart_does_not_overwrite_its_beginning(tmp_path):
    for value in (1.0, 2.0):
        history = History(tmp_path)
        history.append(START, [1], one(value))
        history.close()
    history = History(tmp_path)
    assert history.read([1], START, START + 10).tolist() == [(START * SECOND_NS, 2.0, 3.0, 1.0, 2.0, 2.0)]
    history.close()


def test_rows_are_taken_in_any_order_once_each_and_only_with_samples_and_a_number(history):
    columns = columns_of([[9.0], [1.0], [2.0], [3.0], [4.0]])
    columns[0, 3] = 0
    columns[1:, 3] = np.nan  # the store says nothing of these where the count is 0
    assert history.append(START, [9, 4, 4, 5, 0], columns) == 2
    assert history.read([4], START, START + 10).tolist() == [(START * SECOND_NS, 2.0, 3.0, 1.0, 2.0, 2.0)]
    assert len(history.read([5, 0], START, START + 10)) == 0
    assert history.append(START + 10, [5], columns[:, 3:4]) == 0
    assert history.last_step() == START


def test_reads_go_across_partitions_and_read_transactions(history):
    ids = np.arange(1, 4, dtype=np.uint32)
    first = START + PARTITION_SECONDS - 3000
    for step in range(first, first + 6000, 10):
        history.append(step, ids, columns_of([[1.0], [2.0], [3.0]]))
    rows = history.read(ids, first, first + 6000, 600)
    assert rows["count"].tolist() == [180.0] * 10
    assert rows["sum"].tolist() == [360.0] * 10
    assert len(history.read([2], first, first + 6000)) == 600


@pytest.mark.parametrize("step", [5, 15, -10, 601])
def test_a_step_that_is_no_multiple_is_refused(history, step):
    with pytest.raises(ValueError, match="multiple of 10"):
        history.read([1], START, START + 60, step)


@pytest.mark.parametrize("start", [START + 1, -10])
def test_a_step_that_begins_elsewhere_is_refused(history, start):
    with pytest.raises(ValueError, match="begin"):
        history.append(start, [1], one(1.0))


def test_retention_unlinks_partitions_that_ended_long_enough_ago(tmp_path):
    history = History(tmp_path, HistoryConfig(keep_seconds=2 * PARTITION_SECONDS))
    starts = [START + number * PARTITION_SECONDS for number in range(4)]
    for start in starts:
        history.append(start, [1], one(start))
    directories = tmp_path / "history" / "10s"
    assert history.retain((starts[3]) * SECOND_NS) == 1
    assert sorted(path.name for path in directories.iterdir()) == ["2023-11-15T00", "2023-11-15T06", "2023-11-15T12"]
    assert history.first_step() == starts[1]
    assert history.read([1], START, starts[3] + 10)["last"].tolist() == starts[1:]
    assert history.counters()["expired"] == 1
    history.close()
    assert History(tmp_path).first_step() == starts[1]


def test_the_cap_in_bytes_gives_up_the_oldest_partitions_first(tmp_path):
    history = History(tmp_path, HistoryConfig(bytes_max=400_000))
    ids = np.arange(1, 1001, dtype=np.uint32)
    columns = np.random.default_rng(1).uniform(1, 2, (6, 1000))
    starts = [START + number * PARTITION_SECONDS for number in range(12)]
    for start in starts:
        history.append(start, ids, columns)
    counters = history.counters()
    assert counters["bytes_on_disk"] <= 400_000
    assert counters["expired"] > 0
    assert counters["refused"] == 0
    assert history.last_step() == starts[-1]
    history.close()


def test_within_one_partition_the_cap_refuses_and_counts(tmp_path):
    history = History(tmp_path, HistoryConfig(bytes_max=300_000))
    ids = np.arange(1, 1001, dtype=np.uint32)
    columns = np.random.default_rng(1).uniform(1, 2, (6, 1000))
    for step in range(START, START + 40, 10):
        history.append(step, ids, columns)
    for step in (START + 40, START + 50):
        with pytest.raises(StorageError, match=r"300000 bytes.*1000 rows"):
            history.append(step, ids, columns)
    counters = history.counters()
    assert (counters["slabs"], counters["rows"], counters["refused"]) == (4, 4000, 2000)
    assert counters["bytes_on_disk"] <= 300_000
    history.append(START + PARTITION_SECONDS, ids, columns)
    assert history.first_step() == START + PARTITION_SECONDS
    history.close()


def test_a_partition_that_was_half_removed_is_removed_at_the_next_start(tmp_path):
    history = History(tmp_path)
    history.append(START, [1], one(1.0))
    history.close()
    (path,) = (tmp_path / "history" / "10s").iterdir()
    path.rename(path.with_name(path.name + ".expired"))
    assert History(tmp_path).first_step() is None
    assert not list((tmp_path / "history" / "10s").iterdir())


def test_a_damaged_block_is_skipped_and_counted_once(tmp_path):
    history = History(tmp_path)
    for step in range(START, START + 50, 10):
        history.append(step, [1], one(step))
    history.close()
    corrupt(tmp_path, START + 20, lambda data: data[:40] + bytes([data[40] ^ 4]) + data[41:])
    history = History(tmp_path)
    for _ in range(3):
        assert history.read([1], START, START + 50)["last"].tolist() == [START, START + 10, START + 30, START + 40]
    assert history.counters()["damaged"] == 1
    assert history.highest_id() == 1
    history.close()


@pytest.mark.parametrize("junk", [b"", b"\0" * 100, b"HMSB", b"junk" * 1000], ids=["empty", "zeros", "magic", "junk"])
def test_a_foreign_value_is_skipped_and_counted(tmp_path, junk):
    history = History(tmp_path)
    for step in (START, START + 10):
        history.append(step, [1], one(step))
    history.close()
    corrupt(tmp_path, START, lambda _: junk)
    history = History(tmp_path)
    assert history.read([1], START, START + 50)["last"].tolist() == [START + 10]
    assert history.counters()["damaged"] == 1
    history.close()


@pytest.mark.parametrize("left", [b"", b"zeroed\0" * 3000], ids=["emptied", "overwritten"])
def test_a_damaged_partition_is_set_aside_and_writing_goes_on(tmp_path, left):
    history = History(tmp_path)
    history.append(START, [1], one(1.0))
    history.append(START + PARTITION_SECONDS, [1], one(2.0))
    history.close()
    directories = tmp_path / "history" / "10s"
    (directories / "2023-11-14T18" / "data.mdb").write_bytes(left)
    history = History(tmp_path)
    assert history.read([1], START, START + 2 * PARTITION_SECONDS)["last"].tolist() == [2.0]
    history.append(START + 10, [1], one(3.0))
    assert history.read([1], START, START + 2 * PARTITION_SECONDS)["last"].tolist() == [3.0, 2.0]
    assert history.counters()["set_aside"] == 1
    (aside,) = directories.glob("2023-11-14T18.damaged-*")
    assert (aside / "data.mdb").read_bytes() == left
    history.close()
    assert History(tmp_path).counters()["set_aside"] == 0


def test_foreign_entries_beside_the_partitions_are_left_alone(tmp_path):
    directories = tmp_path / "history" / "10s"
    for name in ("notes", "2023-11-14", "2023-11-14T17", "2023-13-99T00"):
        (directories / name).mkdir(parents=True)
    history = History(tmp_path)
    assert history.first_step() is None
    history.retain(10 * START * SECOND_NS)
    assert len(list(directories.iterdir())) == 4
    history.close()


def test_a_forked_child_may_neither_read_nor_append(tmp_path):
    history = History(tmp_path)
    history.append(START, [1], one(1.0))
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (
            lambda: history.read([1], START, START + 10),
            lambda: history.append(START + 10, [1], one(2.0)),
            lambda: history.append(START + PARTITION_SECONDS, [1], one(2.0)),
        ):
            try:
                use()
            except StorageError:
                refused += 1
        history.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    history.append(START + 10, [1], one(2.0))
    assert history.read([1], START, START + 20)["last"].tolist() == [1.0, 2.0]
    history.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from hms_ops.storage.history import History
history = History(Path(sys.argv[1]))
ids = np.arange(1, 501, dtype=np.uint32)
step = (history.last_step() or int(sys.argv[2]) - 10) + 10
while True:
    history.append(step, ids, np.full((6, 500), float(step)))
    print(step, flush=True)
    step += 10
"""


def test_a_killed_writer_loses_no_acknowledged_append_and_tears_none(tmp_path):
    random = np.random.default_rng(7)
    acknowledged: list[int] = []
    for _ in range(10):
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(START)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline() for _ in range(int(random.integers(1, 30)))]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        acknowledged += [int(line) for line in lines if line.endswith("\n")]
        history = History(tmp_path)
        assert history.last_step() in (acknowledged[-1], acknowledged[-1] + 10)
        rows = history.read([1, 500], START, history.last_step() + 10)
        assert rows["time"].tolist() == list(range(START * SECOND_NS, int(rows["time"][-1]) + 1, 10 * SECOND_NS))
        assert (rows["last"] * SECOND_NS == rows["time"]).all()
        assert set(acknowledged) <= set((rows["time"] // SECOND_NS).tolist())
        counters = history.counters()
        assert (counters["damaged"], counters["set_aside"]) == (0, 0)
        history.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from hms_ops.errors import StorageError
from hms_ops.storage.history import History
start = int(sys.argv[2])
history = History(Path(sys.argv[1]))
ids = np.arange(1, 2001, dtype=np.uint32)
columns = np.random.default_rng(1).uniform(1, 2, (6, 2000))
history.append(start, ids, columns)
no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, no_limit[1]))
for step in (10, 20):
    try:
        history.append(start + step, ids, columns)
        raise SystemExit("the disk was not full")
    except StorageError as error:
        print(error, file=sys.stderr)
assert history.last_step() == start
resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
history.append(start + 30, ids, columns)
counters = history.counters()
assert (counters["slabs"], counters["rows"]) == (2, 4000), counters
assert len(history.read(ids, start, start + 100)) == 2
history.close()
"""


def test_a_full_disk_costs_the_steps_it_lasts_and_nothing_else(tmp_path):
    words = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(START)]
    child = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert len(child.stderr.splitlines()) == 2
    history = History(tmp_path)
    assert history.read([1], START, START + 100)["time"].tolist() == [START * SECOND_NS, (START + 30) * SECOND_NS]
    history.close()


def test_a_disk_directory_that_went_away_is_an_error_and_no_crash(tmp_path):
    history = History(tmp_path)
    history.append(START, [1], one(1.0))
    shutil.rmtree(tmp_path / "history")
    (tmp_path / "history").write_text("in the way")
    with pytest.raises(StorageError):
        history.append(START + PARTITION_SECONDS, [1], one(2.0))
    history.close()
