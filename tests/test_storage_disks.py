"""A disk that is full, has little room, or cannot be written, under a running engine: alerts and queries go on in
memory, the fault is counted and named, and history resumes by itself with everything that waited."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests import chronicle
from tests.disks import DISK_BYTES, fill, frozen, mounted
from tests.engines import NOW, feed, manual
from tests.histories import NO_LIMITS, START, Twin

from hms_ops import Engine
from hms_ops.errors import StartError, StorageError
from hms_ops.storage.history import History

WaitUntil = Callable[..., None]

HOUR = 3_600
NO_FLOOR = {"history": {"disk_free": 0}}
FIRES_ABOVE_5 = {"if_": "max(load, 10s) > 5"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as path:
        yield path


def history_of(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = engine.counters()["history"]
    return found


def seen(engine: Engine, seconds: int) -> float:
    """How many samples of `load` the engine knows of the first `seconds`, from disk and memory."""
    return float(engine.history("load", NOW, NOW + seconds)["count"].sum())


def test_on_a_full_disk_alerts_and_queries_go_on_and_history_resumes_by_itself(
    disk: Path, wait_until: WaitUntil
) -> None:
    data_dir = disk / "data"
    with manual(data_dir=data_dir, config=NO_FLOOR) as engine:
        engine.alert("high", **FIRES_ABOVE_5)
        feed(engine, "load", 1.0, 60)
        wait_until(lambda: history_of(engine)["steps_written"] >= 6)
        filler = fill(disk)
        feed(engine, "load", 10.0, 60)
        wait_until(lambda: history_of(engine)["write_errors"] > 0)
        problems = engine.health()
        assert any("history is not written" in problem and "No space left" in problem for problem in problems)
        wait_until(lambda: engine.counters()["journal"]["errors"] > 0)
        assert [alert.state for alert in engine.alerts()] == ["firing"]
        assert seen(engine, 120) == 120
        filler.unlink()
        feed(engine, "load", 1.0, 30)
        wait_until(lambda: history_of(engine)["waiting"] == 0)
        wait_until(lambda: engine.counters()["journal"]["waiting"] == 0)
        assert "firing" in [event.get("state") for event in engine.journalist.tail(100)]
        assert engine.counters()["journal"]["dropped"] == 0
        wait_until(lambda: engine.health() == [])  # a moment after the last row
        assert engine.alerts() == []
        assert seen(engine, 150) == 150
        assert history_of(engine)["steps_lost"] == 0
    with manual(NOW + 150, data_dir=data_dir, config=NO_FLOOR) as engine:
        assert seen(engine, 150) == 150
        assert (history_of(engine)["damaged"], history_of(engine)["set_aside"]) == (0, 0)


def test_a_block_that_begins_on_a_full_disk_is_a_clear_error_and_begins_when_there_is_room(disk: Path) -> None:
    """In a child: LMDB's lock file is mapped, and without room for it this was a SIGBUS."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            history, twin = History(disk / "data", NO_LIMITS), Twin()
            twin.append(history, START, {1: [1.0]})
            filler = fill(disk)
            for step in (START + HOUR, START + HOUR + 10):
                with pytest.raises(StorageError, match=r"slabs/2023-11-12T01: No space left on device"):
                    history.append(0, step, chronicle.columns(0, step, 0))
            twin.assert_same(history)
            filler.unlink()
            twin.append(history, START + HOUR + 20, {1: [2.0]})
            history.close()
            history = History(disk / "data", NO_LIMITS)
            twin.assert_same(history)
            assert history.counters()["set_aside"] == 0
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("size", [0, 1, 4096, 8191])
def test_a_creation_that_a_full_disk_cut_short_is_no_damage(tmp_path: Path, size: int) -> None:
    path = tmp_path / "history/10s/slabs/2023-11-12T00"
    path.mkdir(parents=True)
    (path / "data.mdb").write_bytes(bytes(size))
    history, twin = History(tmp_path, NO_LIMITS), Twin()
    twin.append(history, START, {1: [1.0]})
    twin.assert_same(history)
    assert history.counters()["set_aside"] == 0
    history.close()


def test_below_the_floor_of_free_disk_the_finest_tier_stops_first_and_begins_again(
    disk: Path, wait_until: WaitUntil
) -> None:
    config = {"history": {"disk_free": DISK_BYTES // 2}}
    with manual(data_dir=disk / "data", config=config) as engine:
        engine.alert("high", **FIRES_ABOVE_5)
        feed(engine, "load", 1.0, 60)
        wait_until(lambda: history_of(engine)["waiting"] == 0)
        assert history_of(engine)["refused_disk_floor"] == 0
        free = os.statvfs(disk).f_bavail * 4096
        (disk / "filler").write_bytes(bytes(free - DISK_BYTES * 3 // 8))
        feed(engine, "load", 10.0, 60)
        wait_until(lambda: history_of(engine)["waiting"] == 0)
        assert history_of(engine)["refused_disk_floor"] >= 6
        assert any("10s is not kept" in problem for problem in engine.health())
        assert [alert.state for alert in engine.alerts()] == ["firing"]
        (disk / "filler").unlink()
        feed(engine, "load", 1.0, 60)
        wait_until(lambda: history_of(engine)["waiting"] == 0 and engine.health() == [])
    with manual(NOW + 180, data_dir=disk / "data", config=config) as engine:
        minutes = engine.history("load", NOW - 60, NOW + 180, step="1m")
        assert minutes["count"].sum() == 180, "the minutes were kept all the while"


def test_a_disk_that_turns_read_only_costs_nothing_while_memory_lasts(tmp_path: Path, wait_until: WaitUntil) -> None:
    data_dir = tmp_path / "data"
    with manual(data_dir=data_dir) as engine:
        engine.alert("high", **FIRES_ABOVE_5)
        feed(engine, "load", 1.0, 60)
        wait_until(lambda: history_of(engine)["steps_written"] >= 6)
        with frozen(data_dir):
            feed(engine, "load", 10.0, 60)
            wait_until(lambda: history_of(engine)["write_errors"] > 0)
            assert any("history is not written" in problem for problem in engine.health())
            assert [alert.state for alert in engine.alerts()] == ["firing"]
            assert seen(engine, 120) == 120
        feed(engine, "load", 1.0, 30)
        wait_until(lambda: history_of(engine)["waiting"] == 0 and engine.health() == [])
    with manual(NOW + 150, data_dir=data_dir) as engine:
        assert seen(engine, 150) == 150


def test_an_engine_does_not_start_on_a_read_only_disk_and_says_why(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk") as disk:
        with manual(data_dir=disk / "data", config=NO_FLOOR) as engine:
            feed(engine, "load", 1.0, 20)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StartError, match=r"data directory .* cannot be written: Read-only file system"):
            manual(data_dir=disk / "data", config=NO_FLOOR).start()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with manual(NOW + 20, data_dir=disk / "data", config=NO_FLOOR) as engine:
            assert seen(engine, 20) == 20
