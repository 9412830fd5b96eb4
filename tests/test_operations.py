"""Operations on a running engine, from Python: delete, export, import, backup; what they leave in the journal."""

import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engines import NOW, feed, manual
from tests.recording import FIRST, Recording
from tests.stocked import SERIES, stock, stored
from tests.test_exchange import ALL, text_of

from hms_ops import Engine
from hms_ops.clock import ManualClock
from hms_ops.errors import ExpressionError, StorageError, UnknownMetricError
from hms_ops.operations import SETTLED_SECONDS, Operations
from hms_ops.storage.backup import restore
from hms_ops.storage.csvrows import HEADER
from hms_ops.storage.verify import verify


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with manual(data_dir=tmp_path / "data") as made:
        yield made


def settle(engine: Engine) -> None:
    """What was taken is on disk."""
    end = time.monotonic() + 20
    while len(engine.recorder.backlog) and time.monotonic() < end:
        time.sleep(0.002)
    with engine.recorder.landing:
        assert not len(engine.recorder.backlog)


def events(engine: Engine, kind: str, tried: int = 2000) -> list[dict[str, Any]]:
    """Those of the journal, once there are any."""
    for _ in range(tried):
        counted = engine.journalist.counters()
        found = [event for event in engine.journalist.tail(100) if event["kind"] == kind]
        if found and counted["written"] == counted["events"]:
            return found
        time.sleep(0.005)
    raise AssertionError(f"no {kind} in the journal")


def counts(engine: Engine, name: str) -> float:
    return float(engine.history(name, NOW - 100_000, NOW + 100_000)["count"].sum())


# ---- delete


def test_a_deleted_series_is_gone_from_memory_disk_and_what_waits_at_once(engine: Engine) -> None:
    for tags in ({"host": "db-1"}, {"host": "db-2"}):
        feed(engine, "load", 1.0, 35, kind="gauge", tags=tags)
    settle(engine)
    feed(engine, "load", 1.0, 15, kind="gauge", tags={"host": "db-1"})
    before = counts(engine, "load")
    assert before == 85
    assert engine.delete('load{host="db-1"}') == 1
    assert counts(engine, "load") == 35
    assert [info.tags for info in engine.series_list()] == [{"host": "db-2"}]
    assert math.isnan(engine.mean("load", "1m", {"host": "db-1"}))
    assert len(engine.recent("load", {"host": "db-1"})[0]) == 0
    settle(engine)
    engine.advance(70)
    settle(engine)
    assert counts(engine, "load") == 35, "what waited was not written under another name"


def test_a_series_that_comes_back_begins_anew(engine: Engine) -> None:
    feed(engine, "load", 1.0, 25, kind="gauge")
    settle(engine)
    assert engine.delete("load") == 1
    with pytest.raises(UnknownMetricError):
        engine.query("load")
    feed(engine, "load", 9.0, 12, kind="counter")
    settle(engine)
    assert counts(engine, "load") == 12
    assert [info.kind for info in engine.series_list()] == [1], "it may have another kind"


def test_what_was_deleted_stays_deleted_after_a_restart(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        for name in ("load", "other"):
            feed(engine, name, 1.0, 25, kind="gauge")
        settle(engine)
        engine.delete("load")
    with manual(NOW + 100, data_dir=tmp_path) as engine:
        assert [info.name for info in engine.series_list()] == ["other"]
        assert counts(engine, "load") == 0


def test_a_handle_goes_on_and_its_series_begins_anew(engine: Engine) -> None:
    held = engine.series("load", "gauge")
    for _ in range(25):
        held.add(1.0)
        engine.advance(1)
    settle(engine)
    assert engine.delete("load") == 1
    assert counts(engine, "load") == 0
    for _ in range(15):
        held.add(2.0)
        engine.advance(1)
    settle(engine)
    engine.advance(10)
    settle(engine)
    assert counts(engine, "load") == 15
    assert engine.history("load", NOW, NOW + 1000)["min"].min() == 2.0


def test_in_process_calls_keep_no_deleted_series_alive(engine: Engine) -> None:
    engine.metric("load", 1.0, tags={"host": "a"})
    assert engine.delete("load") == 1
    assert engine.store.series_live == 0
    engine.metric("load", 1.0, tags={"host": "a"})
    assert engine.store.series_live == 1


def test_a_deletion_is_in_the_journal_with_whose_wish_it_was(engine: Engine) -> None:
    feed(engine, "load", 1.0, 2)
    engine.delete("load")
    engine.delete("load")
    (event,) = events(engine, "delete")
    assert (event["selector"], event["series"], event["by"]) == ("load", 1, "the program")


def test_deleting_works_in_memory_alone() -> None:
    with manual() as engine:
        feed(engine, "load", 1.0, 30)
        assert engine.delete('{__name__="load"}') == 1
        assert engine.series_list() == []


@pytest.mark.parametrize("selector", ["", " ", "{}", "avg(x)", "x{"])
def test_what_is_no_selector_deletes_nothing(engine: Engine, selector: str) -> None:
    feed(engine, "load", 1.0, 1)
    with pytest.raises(ExpressionError):
        engine.delete(selector)
    assert len(engine.series_list()) == 1


def test_a_disk_that_fails_keeps_everything(engine: Engine) -> None:
    feed(engine, "load", 1.0, 25)
    settle(engine)
    assert engine.recorder.storage is not None
    engine.recorder.storage.catalogue.environment.close()
    with pytest.raises(StorageError):
        engine.delete("load")
    assert engine.mean("load", "1m") == 1.0


def test_late_samples_that_wait_are_deleted_too(engine: Engine) -> None:
    feed(engine, "load", 1.0, 40, kind="gauge")
    engine.ingest(b"load:5|g|T%d" % (NOW + 5))
    engine.advance(1)
    held = engine.series("load", "gauge")
    engine.delete("load")
    engine.advance(30)
    settle(engine)
    assert counts(engine, "load") == 0
    held.add(1.0)


# ---- export, import, backup


def test_an_engines_export_is_what_is_on_disk_and_another_takes_it_in(tmp_path: Path) -> None:
    later = NOW + 2 * SETTLED_SECONDS
    with manual(data_dir=tmp_path / "a") as engine:
        feed(engine, "finance.api_ms", 12.5, 130, kind="timer", tags={"agency": "irs"})
        engine.describe("finance.api_ms", "ms", "API latency")
        settle(engine)
        texts = {form: "".join(engine.export("finance.api_ms", format=form)) for form in ("csv", "openmetrics")}
        expected = engine.history("finance.api_ms", NOW, NOW + 120)
    for form, text in texts.items():
        with manual(later, data_dir=tmp_path / form) as other:
            assert other.import_rows([text.encode()])["bad"] == {}
            again = other.import_rows([text.encode()])
            assert (again["written"], again["present"], again["filled"]) == (0, again["rows"], 0)
            assert np.array_equal(other.history("finance.api_ms", NOW, NOW + 120), expected)
            (event, _) = events(other, "import")
            assert (event["written"], event["present"]) == (again["rows"], 0)


def test_a_unit_that_is_imported_is_read_by_rules_at_once(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path / "a") as engine:
        feed(engine, "api", 12.5, 25, kind="timer")
        engine.describe("api", "ms")
        settle(engine)
        text = "".join(engine.export("api", format="openmetrics"))
    with manual(NOW + 2 * SETTLED_SECONDS, data_dir=tmp_path / "b") as engine:
        engine.alert("api.slow", if_="avg(api, 10s) > 0.2")
        feed(engine, "api", 300.0, 11, kind="timer")
        engine.import_rows([text.encode()])
        assert engine.value("avg(api, 10s) > 200ms") == 1.0
        assert [info.name for info in engine.series_list("api")] == ["api", "api.slow"]


def test_rows_that_may_still_be_in_memory_are_refused(engine: Engine) -> None:
    feed(engine, "load", 1.0, 65)
    settle(engine)
    answer = engine.import_rows(["\n".join([HEADER, f"x,,gauge,10s,{NOW},1,1,0,1,1,1", ""]).encode()])
    assert answer["bad"] == {"too_new": 1}
    old = NOW - NOW % 60 - 10 * SETTLED_SECONDS
    answer = engine.import_rows([f"{HEADER}\nx,,gauge,10s,{old},1,1,0,1,1,1\n".encode()])
    assert (answer["bad"], answer["written"]) == ({}, 1)
    assert engine.history("x", old, old + 60)["count"].tolist() == [1.0]


def imported(recording: Recording, pieces: Iterable[bytes]) -> dict[str, object]:
    """By the operations of an engine whose time a test moves."""
    clock = ManualClock(recording.now * 10**9)
    clock.now_ns = lambda: recording.now * 10**9  # type: ignore[method-assign]  # it goes on with the recording
    operations = Operations(
        recording.recorder,
        recording.past,
        clock,
        lambda event: None,
        let_go=lambda: None,
        describe=lambda name, unit, words: None,
    )
    return operations.import_rows(pieces, "a test")


def test_an_import_during_which_the_hour_is_rolled_is_in_all_tiers(tmp_path: Path) -> None:
    hour = FIRST - FIRST % 3600 + 3600
    with Recording(tmp_path, first=hour - 100) as recording:
        recording.add("load", 1.0)
        recording.advance(100)
        for _ in range(110):
            recording.add("load", 1.0)
            recording.advance(30)
        step = hour + 1200

        def pieces() -> Iterator[bytes]:
            yield f"{HEADER}\nx,,gauge,10s,{step},7,7,0,1,1,1\n".encode()
            recording.add("load", 1.0)
            recording.advance(420)

        answer = imported(recording, pieces())
        assert (answer["bad"], answer["filled"]) == ({}, 2)
        assert recording.storage is not None
        ((number, _),) = recording.storage.catalogue.find("x")
        for tier in range(3):
            assert recording.storage.history.read_columns(tier, [number], 0, 1 << 40)[2][0].tolist() == [7.0]


def test_rows_of_a_step_that_waits_for_the_disk_for_long_are_refused(tmp_path: Path) -> None:
    with Recording(tmp_path, is_written=False) as recording:
        recording.add("load", 1.0)
        assert recording.recorder.write_waiting()
        recording.advance(SETTLED_SECONDS + 130)
        oldest = min(int(rows.steps[0]) for rows in recording.recorder.backlog.snapshot())
        before = oldest - oldest % 60 - 10
        assert before < oldest < recording.now - SETTLED_SECONDS - 20
        lines = [f"x,,gauge,10s,{step},1,1,0,1,1,1\n" for step in (before, oldest, oldest + 10)]
        answer = imported(recording, [f"{HEADER}\n{''.join(lines)}".encode()])
        assert (answer["bad"], answer["written"]) == ({"too_new": 2}, 1)


def test_an_engine_without_a_directory_has_nothing_to_export_import_or_back_up(tmp_path: Path) -> None:
    with manual() as engine:
        for ask in (
            lambda: engine.export(),
            lambda: engine.import_rows([]),
            lambda: engine.backup(tmp_path / "backup"),
        ):
            with pytest.raises(StorageError, match="runs without a data directory"):
                ask()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tier": "5s"}, "'5s' is none of 10s, 1m, 1h, all"),
        ({"format": "parquet"}, "'parquet' is none of csv, openmetrics"),
        ({"format": "openmetrics", "tier": "all"}, "takes one tier"),
    ],
)
def test_a_wrong_argument_is_named(engine: Engine, arguments: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        engine.export(**arguments)


def test_a_file_of_another_sort_is_refused_and_the_engine_goes_on(engine: Engine) -> None:
    with pytest.raises(ValueError, match="this is no export"):
        engine.import_rows([b"a,b,c\n"])
    assert engine.import_rows([HEADER.encode()])["rows"] == 0


def test_a_backup_while_the_engine_runs_is_whole_and_verified(tmp_path: Path) -> None:
    stock(tmp_path / "data", hours=1, is_sealed=False)
    with manual(NOW + 10_000, data_dir=tmp_path / "data") as engine:
        feed(engine, "load", 1.0, 30)
        settle(engine)
        made = engine.backup(tmp_path / "backup")
        feed(engine, "load", 1.0, 30)
        assert [event["files"] for event in events(engine, "backup")] == [made["files"]]
        with pytest.raises(StorageError, match="is not empty"):
            engine.backup(tmp_path / "backup")
    assert verify(tmp_path / "backup").problems == []
    restore(tmp_path / "backup", tmp_path / "new")
    with stored(tmp_path / "new") as storage:
        assert len(storage.catalogue.find("load")) == 1
        assert len(storage.catalogue.find("hits")) == 1
        assert f",10s,{NOW + 10_000}," in text_of(storage, ALL, end=NOW + 20_000)
        assert {info.name for info in SERIES} <= set(storage.catalogue.names())


def test_one_import_or_backup_at_a_time(engine: Engine, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        with pytest.raises(StorageError, match="another import or backup is under way"):
            engine.backup(tmp_path / "backup")
        yield HEADER.encode()

    assert engine.import_rows(pieces())["rows"] == 0
    engine.backup(tmp_path / "backup")
