"""History through the whole engine: a restart splices the open step exactly, and no sample is there twice."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines import NOW, MovedClock, feed, manual, send

from hms_ops import Engine

WaitUntil = Callable[..., None]


def rows_of(engine: Engine, name: str, start: float, end: float, **options: object) -> list[tuple[int, float, float]]:
    """(start of the step, count, sum) of each row."""
    rows = engine.history(name, start, end, **options)  # type: ignore[arg-type]
    return [(int(row["time"] // 1_000_000_000), float(row["count"]), float(row["sum"])) for row in rows]


def test_a_restart_splices_the_open_step_exactly(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 1.0, 25)
        before = rows_of(engine, "a", NOW, NOW + 60)
    with manual(NOW + 25, data_dir=tmp_path) as engine:
        assert rows_of(engine, "a", NOW, NOW + 60) == before
        feed(engine, "a", 2.0, 15)
        rows = rows_of(engine, "a", NOW, NOW + 60)
        assert rows == [(NOW, 10, 10), (NOW + 10, 10, 10), (NOW + 20, 10, 5 + 10), (NOW + 30, 10, 20)]


def test_many_restarts_within_one_step_lose_and_repeat_nothing(tmp_path: Path) -> None:
    for second in range(10):
        with manual(NOW + second, data_dir=tmp_path) as engine:
            engine.metric("a", 2.0**second)
            engine.advance(1)
    with manual(NOW + 60, data_dir=tmp_path) as engine:
        assert rows_of(engine, "a", NOW, NOW + 60) == [(NOW, 10, 1023.0)]


def test_what_came_right_before_the_stop_is_there_after_it(tmp_path: Path) -> None:
    with Engine(udp="127.0.0.1:0", data_dir=tmp_path) as engine:
        send(engine, *[b"a:1|c\na:2|c"] * 500)
        engine.metric("a", 1000.0, kind="counter")
    with Engine(udp=None, data_dir=tmp_path) as engine:
        now = time.time()
        rows = engine.history("a", now - 120, now + 10)
        assert rows["sum"].sum() == 2500.0
        assert rows["count"].sum() == 1001


def test_a_row_has_every_field_of_its_step(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        for value in (5.0, 1.0, 9.0, 3.0):
            feed(engine, "a", value, 1)
        engine.advance(6)
        (row,) = engine.history("a", NOW, NOW + 10)
        assert row.dtype.names == ("time", "count", "sum", "min", "max", "last")
        assert row.tolist() == (NOW * 1_000_000_000, 4.0, 18.0, 1.0, 9.0, 3.0)


@pytest.mark.parametrize("on_disk", [True, False])
def test_steps_and_tags_choose_what_is_read(tmp_path: Path, on_disk: bool) -> None:
    with manual(data_dir=tmp_path if on_disk else None) as engine:
        for _ in range(60):
            engine.metric("a", 1.0, tags={"zone": "east"})
            engine.metric("a", 2.0)
            engine.advance(1)
        halves = [(NOW - 20, 20, 30.0), (NOW + 10, 60, 90.0), (NOW + 40, 40, 60.0)]
        assert rows_of(engine, "a", NOW, NOW + 60, step="30s") == halves
        assert sum(row[2] for row in rows_of(engine, "a", NOW, NOW + 60, tags={})) == 120.0
        assert sum(row[2] for row in rows_of(engine, "a", NOW, NOW + 60, tags={"zone": "east"})) == 60.0
        assert rows_of(engine, "a", NOW, NOW + 60, tags={"zone": "west"}) == []
        assert rows_of(engine, "b", NOW, NOW + 60) == []
        assert rows_of(engine, "a", NOW + 20, NOW + 40) == [(NOW + 20, 20, 30.0), (NOW + 30, 20, 30.0)]
        assert rows_of(engine, "a", NOW + 40, NOW + 40) == []


@pytest.mark.parametrize("step", ["500ms", "15s", 0, -10, 10.5, "soon"])
def test_a_step_that_is_not_kept_is_refused(step: str | float) -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 1)
        with pytest.raises(ValueError, match=r"step|duration"):
            engine.history("a", NOW - 3600, NOW, step=step)


@pytest.mark.parametrize(("start", "end"), [(float("nan"), NOW), (NOW, float("inf"))])
def test_a_time_that_is_none_is_refused(start: float, end: float) -> None:
    with manual() as engine, pytest.raises(ValueError, match="both are Unix seconds"):
        engine.history("a", start, end)


def test_late_samples_reach_the_history_once(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 1.0, 40, kind="counter")
        engine.ingest(b"a:5|c|T%d" % (NOW + 3))
        engine.ingest(b"a:7|c|T%d" % (NOW + 38))
        engine.advance(20)
        expected = [(NOW, 11, 15), (NOW + 10, 10, 10), (NOW + 20, 10, 10), (NOW + 30, 11, 17)]
        assert rows_of(engine, "a", NOW, NOW + 60) == expected
    with manual(NOW + 60, data_dir=tmp_path) as engine:
        assert rows_of(engine, "a", NOW, NOW + 60) == expected


def test_an_expression_over_time_spans_a_restart(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 1.0, 20)
    with manual(NOW + 20, data_dir=tmp_path) as engine:
        feed(engine, "a", 3.0, 20)
        answer = engine.query("avg(a)", start=NOW, end=NOW + 40, step=10)
        assert answer["series"][0]["points"] == [[NOW, 1.0], [NOW + 10, 1.0], [NOW + 20, 3.0], [NOW + 30, 3.0]]


def test_series_of_an_earlier_run_are_listed(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "old", 1.0, 1, tags={"zone": "east"})
    with manual(NOW + 10, data_dir=tmp_path) as engine:
        assert [(info.name, info.tags) for info in engine.series_list()] == [("old", {"zone": "east"})]


def test_windows_begin_empty_after_a_restart(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 100.0, 30)
    with manual(NOW + 30, data_dir=tmp_path) as engine:
        engine.alert("low", if_="avg(a) < 10")
        engine.alert("gone", if_="count(a) = 0")
        engine.advance(5)
        assert engine.alerts() == []


def test_a_clock_that_was_set_back_writes_history_all_the_same(tmp_path: Path, wait_until: WaitUntil) -> None:
    clock = MovedClock()
    with Engine(udp=None, data_dir=tmp_path, clock=clock) as engine:
        engine.metric("a", 1.0, kind="counter")
        wait_until(lambda: engine.mean("a", "10s") == 1.0)
        clock.move(-7200)
        wait_until(lambda: clock.is_followed_by(engine))
        engine.metric("a", 10.0, kind="counter")
    with Engine(udp=None, data_dir=tmp_path) as engine:
        now = time.time()
        assert engine.history("a", now - 60, now + 60)["sum"].sum() == 1.0
        assert engine.history("a", now - 7260, now - 7140)["sum"].sum() == 10.0


def test_the_counters_of_what_is_on_disk_are_the_engines(tmp_path: Path, wait_until: WaitUntil) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 1.0, 25)
        wait_until(lambda: engine.counters()["history"]["steps_written"] == 2)
        counters = engine.counters()
        assert engine.health() == []
    assert counters["history"]["steps_written"] == counters["history"]["slabs"] == 2
    assert counters["history"]["bytes_on_disk"] > 0
    assert counters["catalogue"]["series"] >= 1
    assert {"events", "waiting", "stored", "damaged"} <= set(counters["journal"])
    assert engine.counters()["history"]["waiting"] == 0, "they can be asked for after a stop"


def test_what_was_damaged_at_opening_is_logged_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with manual(data_dir=tmp_path):
        pass
    (tmp_path / "catalogue" / "data.mdb").write_bytes(b"")
    with manual(data_dir=tmp_path) as engine:
        assert engine.health() == ["catalogue was damaged; it was set aside and begun anew"]
    assert "catalogue is damaged and was set aside as catalogue.damaged-" in caplog.text


def test_a_stop_writes_the_late_samples_that_waited_for_the_next_tick(tmp_path: Path) -> None:
    with manual(data_dir=tmp_path) as engine:
        feed(engine, "a", 1.0, 34)
        engine.ingest(f"a:100|g|T{NOW + 32}\na:1000|g|T{NOW + 11}".encode())  # of the open step, and of one on disk
    with manual(data_dir=tmp_path) as engine:
        rows = engine.history("a", NOW, NOW + 60)
        assert rows["sum"].tolist() == [10.0, 1010.0, 10.0, 104.0]
        assert rows["count"].tolist() == [10.0, 11.0, 10.0, 5.0]


def test_a_query_takes_its_step_as_history_does() -> None:
    with manual() as engine:
        feed(engine, "a", 1.0, 20)
        for step in ("10s", 10):
            answer = engine.query("sum(a)", start=NOW, end=NOW + 20, step=step)
            assert answer["step"] == 10
            assert answer["series"][0]["points"] == [[NOW, 10.0], [NOW + 10, 10.0]]
        with pytest.raises(ValueError, match="'soon' is no duration"):
            engine.query("sum(a)", start=NOW, end=NOW + 20, step="soon")


@pytest.mark.parametrize("on_disk", [True, False])
def test_seconds_before_the_start_are_empty_and_those_that_are_gone_refused(tmp_path: Path, on_disk: bool) -> None:
    with manual(data_dir=tmp_path if on_disk else None) as engine:
        feed(engine, "a", 1.0, 5)
        seconds = [NOW + n for n in range(5)]
        for start in (NOW - 55, NOW - 3600):
            points = engine.query("sum(a)", start=start, end=NOW + 5, step="1s")["series"][0]["points"]
            assert points == [[second, 1.0] for second in seconds]
        for start in (NOW - 55, 0):
            assert [row[0] for row in rows_of(engine, "a", start, NOW + 5, step="1s")] == seconds
        assert rows_of(engine, "a", NOW - 100, NOW - 50, step="3s") == []
        feed(engine, "a", 1.0, 75)
        assert len(rows_of(engine, "a", NOW + 20, NOW + 80, step="1s")) == 60
        for start in (NOW - 3600, NOW, NOW + 5):
            with pytest.raises(ValueError, match="seconds are kept for one minute"):
                engine.history("a", start, NOW + 80, step="1s")
