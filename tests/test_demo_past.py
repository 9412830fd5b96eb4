"""The demo's fleet and its day of history: the same levels live and seeded, whole on disk, and read by every tier."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

from hms_ops import Engine
from hms_ops.boards.board import read_board
from hms_ops.demo import fleet, past
from hms_ops.demo.main import BOARD
from hms_ops.storage.verify import verify


def test_each_series_of_the_fleet_sends_one_sample_a_second() -> None:
    lines = [line for tick in range(fleet.TICKS_PER_SECOND) for line in fleet.lines(tick, 1e9, random.Random(1))]
    series = {line.partition(":")[0] + line.rpartition("|")[2] for line in lines}
    assert len(lines) == len(series) == len(fleet.MEMBERS) == 180


def test_levels_follow_the_day_and_never_fall_below_zero() -> None:
    member = next(member for member in fleet.MEMBERS if member.signal.name == "requests")
    day = [fleet.level(member, hour * 3_600.0) for hour in range(24)]
    assert min(day) > 0
    assert abs(int(np.argmax(day)) - fleet.BUSIEST_HOUR) <= 2
    assert fleet.level(member, 1e9) == fleet.level(member, 1e9)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("past") / "data"
    rows = past.seed(place)
    assert rows > 180 * (24 * 60 + 2 * 360)
    return place


def test_what_is_seeded_is_whole(seeded: Path) -> None:
    found = verify(seeded)
    assert found.problems == []
    assert found.counts["rows"] > 180 * (24 * 60 + 2 * 360)


@pytest.mark.parametrize("step", [10, 60])
def test_rows_are_possible_aggregates(step: int) -> None:
    tier = {60: past.MINUTE, 10: past.TEN_SECONDS}[step]
    batch = next(past.batches(tier, int(time.time()) // 60 * 60))
    count, total, m2, low, high, last = batch.columns
    mean = total / count
    assert (low <= mean + 0.01).all()
    assert (mean <= high + 0.01).all()
    assert ((low <= last) & (last <= high)).all()
    assert (m2 >= 0).all()


def test_an_engine_shows_the_day_before(seeded: Path) -> None:
    with Engine(udp=None, http=None, data_dir=seeded) as engine:
        now = time.time()
        day = engine.query("avg(db.write_ms)", start=now - 23 * 3600, end=now - 120, step=600)["series"][0]["points"]
        known = [value for _, value in day if value is not None]
        assert len(known) > 130
        assert max(known) > 200 > 125 > min(known)
        hosts = engine.query("avg(search.cpu) GROUP BY host", start=now - 3600, end=now - 120, step=10)["series"]
        assert len(hosts) == len(fleet.HOSTS)
        assert engine.operations.description("search.cpu")["unit"] == "percent"


def test_the_demo_s_dashboard_can_be_read() -> None:
    assert len(read_board(BOARD.read_text(), BOARD.name).panels) > 5
