"""The splice of disk, backlog and memory: every sealed sample once, at any moment, whatever the disk does."""

import logging
import resource
import threading
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recording import FIRST, Recording, counted, expected_counts

from hms_ops import backlog, kinds
from hms_ops.errors import StorageError

STEP = FIRST - FIRST % 10


@contextmanager
def full_disk():
    """No file of this process may grow: the system refuses every write, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_exact(recording: Recording, step: int = 10, start: int = FIRST - 3_600) -> None:
    """Each sample that is sealed counts once."""
    expected = expected_counts(recording.given, "depth", start, recording.now, step)
    assert counted(recording.past, "depth", start, recording.now + 60, step) == expected


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("late"), st.integers(1, 200)),
        st.tuples(st.just("advance"), st.integers(1, 14)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 30)),
    ),
    max_size=40,
)


@given(operations=OPERATIONS)
@settings(deadline=None, max_examples=60)
def test_every_sealed_sample_counts_once_at_any_moment(tmp_path_factory, operations):
    data_dir = tmp_path_factory.mktemp("data")
    recording = Recording(data_dir, is_written=False)
    for operation, number in operations:
        if operation == "add":
            recording.add("depth", 1.0, tags=("", "host:a", "host:b")[number])
        elif operation == "late":
            # The store has no place for the seconds of its first step that were before it.
            if recording.now - number not in range(recording.first - recording.first % 10, recording.first):
                recording.add("depth", 2.0, tags="host:a", ago=number)
            recording.advance(1)
        elif operation == "advance":
            recording.advance(number)
        elif operation == "write":
            assert recording.recorder.write_waiting()
        else:
            recording.advance(1)
            recording.close()
            recording = Recording(data_dir, recording.now + number, is_written=False, given=recording.given)
        assert_exact(recording)
    assert_exact(recording, step=60)
    recording.close()


def test_a_reader_meets_no_step_twice_and_misses_none_while_the_writer_writes(tmp_path):
    with Recording(tmp_path, is_written=False) as recording:
        for _ in range(100):
            recording.add("depth", 1.0)
            recording.add("depth", 2.0, tags="host:a")
            recording.advance(5)
        writer = threading.Thread(target=recording.recorder.write_waiting)
        writer.start()
        try:
            assert_exact(recording)
            while writer.is_alive():
                assert_exact(recording)
        finally:
            writer.join()
        assert recording.recorder.counters()["steps_written"] == 58, "50 of 10 s and 8 minutes"
        assert_exact(recording)


# ---- patches


@pytest.mark.parametrize("is_written", [False, True])
def test_a_late_sample_joins_its_step_before_and_after_that_was_written(tmp_path, is_written):
    with Recording(tmp_path, is_written=is_written) as recording:
        recording.add("depth", 4.0)
        recording.advance(30)
        recording.add("depth", 6.0, ago=30)
        recording.advance(1)
        assert_exact(recording)
        recording.advance(20)
        [row] = recording.past.read("depth", None, FIRST, FIRST + 40, 10)
        assert row.tolist() == (STEP * 1_000_000_000, 2.0, 10.0, 4.0, 6.0, 4.0)
        recording.recorder.write_waiting()
        assert recording.past.read("depth", None, FIRST, FIRST + 40, 10).tolist() == [row.tolist()]
        assert recording.recorder.counters()["patches_written"] == 1


def test_an_hour_of_late_samples_pushes_no_step_out(tmp_path):
    with Recording(tmp_path, is_written=False) as recording:
        recording.add("depth", 1.0)
        recording.advance(1)
        for ago in range(10, 3_600, 10):
            recording.add("depth", 2.0, ago=ago)
        recording.advance(15)
        assert recording.recorder.counters()["waiting"] == 3, "a step, and a patch of each tier"
        assert_exact(recording, start=FIRST - 4_000)
        assert recording.recorder.write_waiting()
        counters = recording.recorder.counters()
        assert (counters["steps_lost"], counters["patches_lost"], counters["patches_written"]) == (0, 0, 2)
        assert_exact(recording, start=FIRST - 4_000)


def test_no_late_samples_are_no_patch(tmp_path):
    with Recording(tmp_path) as recording:
        recording.recorder.patch(None)
        recording.recorder.patch((np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0), np.empty(0)))
        recording.advance(20)
        assert recording.recorder.counters()["patches_written"] == 0


# ---- restarts


def test_a_restart_within_a_step_keeps_both_parts(tmp_path):
    with Recording(tmp_path, first=STEP + 20) as first:
        first.add("depth", 1.0)
        first.advance(4)
    with Recording(tmp_path, first=STEP + 26) as second:
        second.add("depth", 3.0)
        second.advance(2)
        assert counted(second.past, "depth", STEP, STEP + 60) == {STEP + 20: 2.0}
        second.advance(30)
        assert counted(second.past, "depth", STEP, STEP + 60) == {STEP + 20: 2.0}
        assert second.past.series("depth") == [second.store.series(second.store.slot("depth"))]


def test_what_is_only_on_disk_is_known(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("hits", 1.0, "c", tags="host:a")
        recording.advance(10)
    with Recording(tmp_path, first=FIRST + 100) as recording:
        assert recording.past.metrics() == ["hits"]
        [known] = recording.past.known("hits")
        assert (known.info.tags, known.info.kind, known.slot) == ({"host": "a"}, kinds.COUNTER, -1)
        assert counted(recording.past, "hits", FIRST, FIRST + 20) == {STEP: 1.0}
        assert recording.past.first_second == STEP


def test_the_kind_that_a_metric_settles_for_is_kept(tmp_path):
    with Recording(tmp_path) as recording:
        recording.store.ingest(b'{"metric":"jobs","value":1}')
        recording.advance(20)
        assert recording.past.known("jobs")[0].info.kind == kinds.GAUGE
        recording.add("jobs", 1.0, "c")
        for _ in range(4):
            recording.add("depth", 1.0)
            recording.add("jobs", 1.0, "c")
            recording.advance(10)
    with Recording(tmp_path, first=FIRST + 100) as recording:
        assert recording.past.known("jobs")[0].info.kind == kinds.COUNTER


def test_a_slot_that_changed_hands_writes_under_the_new_name(tmp_path):
    with Recording(tmp_path) as recording:
        recording.add("depth", 1.0, tags="host:old")
        recording.advance(20)
        assert recording.store.release_idle(0, 10, recording.now) == 1
        recording.add("depth", 2.0, tags="host:new")
        recording.advance(3)
        [new, old] = recording.past.known("depth")
        assert (new.slot, old.slot) == (0, -1)
        for _ in range(2):
            assert recording.past.read("depth", {"host": "new"}, FIRST, FIRST + 60, 60)["sum"].tolist() == [2.0]
            assert recording.past.read("depth", {"host": "old"}, FIRST, FIRST + 60, 60)["sum"].tolist() == [1.0]
            recording.advance(20)


@pytest.mark.parametrize("jump", [-1_000, 5_000])
def test_a_clock_that_was_set_loses_and_doubles_nothing(tmp_path, jump):
    with Recording(tmp_path) as recording:
        for _ in range(20):
            recording.add("depth", 1.0)
            recording.advance(1)
        recording.advance(10 - recording.now % 10)
        recording.now += jump
        recording.store.set_now_ns(recording.now * 1_000_000_000)
        recording.store.reanchor(0)
        recording.recorder.begin_anew()
        for _ in range(25):
            recording.add("depth", 1.0)
            recording.advance(1)
            found = counted(recording.past, "depth", FIRST - 1_000, FIRST + 6_000)
            assert sum(found.values()) == sum(second < recording.now or jump < 0 for second, *_ in recording.given)


# ---- without a data directory


def test_memory_has_ten_minutes_by_step_and_an_hour_by_minute():
    recording = Recording(first=FIRST - FIRST % 60)
    for _ in range(720):
        recording.add("depth", 1.0)
        recording.advance(5)
    recorder, now = recording.recorder, recording.now
    for step in (60, 120, 600):
        assert_exact(recording, step)
    border = next(second for second in range(recording.first, now, 60) if recording.past.finest_step(second) == 10)
    assert border % 60 == 0
    assert now - 610 <= border <= now - 540
    assert counted(recording.past, "depth", border, now) == expected_counts(recording.given, "depth", border, now)
    older = counted(recording.past, "depth", recording.first, border)
    assert set(older.values()) == {12.0}
    assert recorder.counters()["waiting"] == 0
    recorder.take(0, now - now % 10 - 10)
    assert recorder.write_waiting()


def test_memory_keeps_late_samples_too():
    recording = Recording(first=FIRST - FIRST % 60)
    recording.add("depth", 1.0)
    recording.advance(1_500)
    for ago in (5, 50, 500, 1_000, 1_490):
        recording.add("depth", 1.0, ago=ago)
    recording.advance(1)
    assert_exact(recording, 60)


# ---- a failing disk


def test_a_disk_that_refuses_loses_nothing_that_waits(tmp_path, caplog):
    with Recording(tmp_path, is_written=False) as recording:
        recording.add("depth", 1.0)
        recording.advance(30)
        with full_disk(), caplog.at_level(logging.ERROR, "hms_ops.history"):
            for _ in range(3):
                assert not recording.recorder.write_waiting()
        assert len(caplog.records) == 1, "the same problem is told once"
        assert "File too large" in recording.recorder.problem
        assert recording.recorder.counters()["write_errors"] == 3
        assert_exact(recording)
        assert recording.recorder.write_waiting()
        assert recording.recorder.problem == ""
        assert recording.recorder.counters()["waiting"] == 0
        assert_exact(recording)


def test_a_writer_tries_again_by_itself(tmp_path, wait_until: Callable[..., None]):
    with Recording(tmp_path, is_written=False) as recording:
        recorder = recording.recorder
        writer = threading.Thread(target=recorder.run)
        writer.start()
        with full_disk():
            recording.add("depth", 1.0)
            recording.advance(20)
            wait_until(lambda: recorder.problem)
        wait_until(lambda: recorder.counters()["waiting"] == 0)
        assert_exact(recording)
        recorder.stop()
        writer.join(5)
        assert not writer.is_alive()


def test_the_oldest_steps_are_given_up_and_counted_when_too_many_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(backlog, "WAITING_MAX", 3)
    with Recording(tmp_path, is_written=False) as recording:
        for _ in range(6):
            recording.add("depth", 1.0)
            recording.advance(10)
        counters = recording.recorder.counters()
        assert (counters["waiting"], counters["steps_lost"]) == (3, 4), "six steps and a minute"
        steps = counted(recording.past, "depth", FIRST, FIRST + 60)
        assert list(steps) == [STEP + 40, STEP + 50]


def test_waiting_steps_are_bounded_in_bytes_too(tmp_path, monkeypatch):
    monkeypatch.setattr(backlog, "WAITING_BYTES_MAX", 100)
    with Recording(tmp_path, is_written=False) as recording:
        for _ in range(5):
            recording.add("depth", 1.0)
            recording.advance(10)
        counters = recording.recorder.counters()
        assert (counters["waiting"], counters["steps_lost"]) == (2, 3)


def test_what_a_full_disk_does_not_take_at_the_stop_is_counted_and_told(tmp_path, caplog):
    recording = Recording(tmp_path, is_written=False)
    recording.add("depth", 1.0)
    recording.advance(8)
    with full_disk(), caplog.at_level(logging.ERROR, "hms_ops.history"):
        recording.close()
    assert recording.recorder.counters()["steps_lost"] == 2
    assert "2 steps of history are lost" in caplog.text


def test_a_step_that_can_never_be_written_does_not_hold_up_the_others(tmp_path, caplog):
    with Recording(tmp_path, is_written=False) as recording:
        recording.add("depth", 1.0)
        recording.advance(1)
        recording.recorder.patch((np.array([0], np.uint32), np.array([-20]), np.ones(1), np.ones(1)))
        recording.advance(30)
        with caplog.at_level(logging.ERROR, "hms_ops.history"):
            assert recording.recorder.write_waiting()
        counters = recording.recorder.counters()
        assert (counters["waiting"], counters["patches_lost"], counters["steps_written"]) == (0, 2, 3)
        assert "cannot be written" in caplog.text


def test_a_disk_that_hangs_in_a_write_is_an_error_for_readers(tmp_path, monkeypatch):
    monkeypatch.setattr("hms_ops.past.LANDING_SECONDS_MAX", 0.01)
    with Recording(tmp_path) as recording:
        recording.add("depth", 1.0)
        recording.advance(12)
        with recording.recorder.moving(), pytest.raises(StorageError, match="the disk has been writing"):
            recording.past.read("depth", None, FIRST, FIRST + 10, 10)
        assert_exact(recording)


def test_a_stop_ends_the_writer_and_twice_is_once(tmp_path):
    recording = Recording(tmp_path)
    writer = threading.Thread(target=recording.recorder.run)
    writer.start()
    recording.recorder.stop()
    recording.recorder.stop()
    writer.join(5)
    assert not writer.is_alive()
    recording.close()


# ---- reading


def test_tags_choose_one_series_and_none_pools_all(tmp_path):
    with Recording(tmp_path) as recording:
        for value, tags in ((1.0, ""), (2.0, "host:a"), (4.0, "host:b")):
            recording.add("depth", value, tags=tags)
        recording.advance(25)
        sums = {
            str(tags): recording.past.read("depth", tags, FIRST, FIRST + 10, 10)["sum"].tolist()
            for tags in (None, {}, {"host": "a"}, {"host": "c"})
        }
        assert sums == {"None": [7.0], "{}": [1.0], "{'host': 'a'}": [2.0], "{'host': 'c'}": []}
        assert len(recording.past.read("nobody", None, FIRST, FIRST + 10, 10)) == 0


@pytest.mark.parametrize("step", [0, -10, 11, 15, 605])
def test_a_step_that_no_rows_have_is_refused(tmp_path, step):
    with Recording(tmp_path) as recording, pytest.raises(ValueError, match=f"step is {step} s"):
        recording.past.read("depth", None, FIRST, FIRST + 10, step)


@pytest.mark.parametrize("step", [1, 2, 10, 20, 600])
def test_a_step_that_rows_have_is_answered(tmp_path, step):
    with Recording(tmp_path) as recording:
        recording.add("depth", 1.0)
        recording.advance(25)
        found = counted(recording.past, "depth", FIRST, FIRST + 20, step)
        assert found == {FIRST - FIRST % step: 1.0}


# ---- errors of our own


def test_an_error_behind_the_write_costs_no_other_step(tmp_path, caplog):
    with Recording(tmp_path, is_written=False) as recording:

        def fail(tier, steps, ids):
            raise RuntimeError("planted")

        recording.recorder.on_patch = fail
        for _ in range(12):
            recording.add("depth", 1.0)
            recording.advance(10)
            recording.add("depth", 2.0, ago=15)
        recording.advance(15)
        with caplog.at_level(logging.ERROR, "hms_ops.history"):
            assert recording.recorder.write_waiting()
        assert "could not be told" in caplog.text
        counters = recording.recorder.counters()
        assert (counters["steps_lost"], counters["patches_lost"], counters["waiting"]) == (0, 0, 0)
        assert_exact(recording)


def test_the_writer_outlives_an_error_nobody_thought_of_and_says_so(tmp_path, monkeypatch, wait_until):
    with Recording(tmp_path, is_written=False) as recording:
        recorder = recording.recorder

        def fail(now_ns):
            raise MemoryError("planted")

        with monkeypatch.context() as patched:
            patched.setattr(recording.storage.history, "retain", fail)
            writer = threading.Thread(target=recorder.run)
            writer.start()
            recording.add("depth", 1.0)
            recording.advance(20)
            wait_until(lambda: "planted" in recorder.problem)
            assert writer.is_alive()
        wait_until(lambda: recorder.counters()["waiting"] == 0 and recorder.problem == "")
        assert_exact(recording)
        recorder.stop()
        writer.join(5)


def test_old_history_goes_before_what_was_not_rolled_is_written(tmp_path, monkeypatch):
    with Recording(tmp_path) as recording:
        recording.add("depth", 1.0)
        recording.advance(10)
    with Recording(tmp_path, first=FIRST + 100) as recording:
        asked = []
        retain = recording.storage.history.retain
        monkeypatch.setattr(
            recording.storage.history, "retain", lambda now_ns: asked.append("retain") or retain(now_ns)
        )
        with full_disk():
            assert not recording.recorder.write_waiting()
        assert asked == ["retain"]


@pytest.mark.parametrize("back", [30, 90, 3_700, -90, -3_700])
def test_after_the_clock_was_set_minutes_and_hours_miss_nothing(tmp_path, back):
    with Recording(tmp_path, first=FIRST, is_written=False) as recording:
        for _ in range(4_000 // 20):
            recording.add("depth", 1.0)
            recording.advance(20)
            recording.recorder.write_waiting()
        recording.advance(10 - recording.now % 10)
        recording.now -= back
        recording.store.set_now_ns(recording.now * 1_000_000_000)
        recording.store.reanchor(0)
        recording.recorder.begin_anew()
        for _ in range(20):
            recording.add("depth", 1.0)
            recording.advance(7)
            recording.recorder.write_waiting()
            for step in (10, 60, 3_600):
                found = counted(recording.past, "depth", FIRST - 4_000, FIRST + 12_000, step)
                assert sum(found.values()) == len(recording.given), f"by {step} s"
