"""Export and import over real history: every tier comes back exactly, nothing is written twice, coarse tiers follow."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.stocked import BEGIN, END, SERIES, stored

from hms_ops import kinds
from hms_ops.storage import exchange, writing
from hms_ops.storage.csvrows import HEADER
from hms_ops.storage.exchange import Importer, RowsReader, Touched, exported, read_into, roll_due
from hms_ops.storage.history import HistoryConfig
from hms_ops.storage.intake import Tally
from hms_ops.storage.store import Storage
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS

ALL = [TEN_SECONDS, MINUTE, HOUR]


@pytest.fixture(scope="module")
def data_dir(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(stocked, tmp_path_factory.mktemp("stocked") / "data")


def text_of(
    storage: Storage,
    tiers: list[int],
    format: str = "csv",
    start: int = 0,
    end: int = END,
    names: Iterable[str] | None = None,
) -> str:
    metrics = storage.catalogue.names() if names is None else names
    pieces = exported(storage.history, storage.catalogue, metrics, lambda _: True, tiers, start, end, format)
    return "".join(pieces)


def take(storage: Storage, text: str, now: int = END + 3600, is_filled: bool = True, piece: int = 100_000) -> Tally:
    tally, settled, data = Tally(), [now, now // 60 * 60, now // 3600 * 3600], text.encode()
    importer = Importer(storage.history, storage.catalogue, tally, now * 10**9, settled, Touched())
    storage.history.sealable(now)
    reader = RowsReader(tally, settled)
    read_into(importer, reader, (data[at : at + piece] for at in range(0, len(data), piece)))
    importer.describe(reader.described)
    if is_filled:
        importer.fill()
    return tally


def test_an_export_has_every_row_once_and_all_its_columns(data_dir: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, [TEN_SECONDS])
        found = storage.catalogue.find("finance.api_ms", {"agency": "ssa"})
        steps, _, columns = storage.history.read_columns(TEN_SECONDS, [found[0][0]], BEGIN, END)
    lines = text.splitlines()
    assert lines[0] == HEADER
    assert len(lines) == len(set(lines))
    of_ssa = [line.split(",") for line in lines if line.startswith("finance.api_ms,agency=ssa,timer,10s,")]
    assert [int(line[4]) for line in of_ssa] == steps.tolist()
    assert np.array_equal(np.array([list(map(float, line[5:])) for line in of_ssa]).T, columns)


@pytest.mark.parametrize("format", ["csv", "openmetrics"])
@pytest.mark.parametrize("tier", ALL)
def test_what_was_exported_and_imported_elsewhere_is_exported_the_same(
    data_dir: Path, tmp_path: Path, format: str, tier: int
) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, [tier], format)
    with stored(tmp_path / "other") as storage:
        tally = take(storage, text, is_filled=False)
        assert (tally.errors, tally.written) == ([], tally.rows)
        assert text_of(storage, [tier], format) == text
        if format == "openmetrics":
            assert storage.catalogue.description("finance.api_ms") == {
                "kind": kinds.TIMER, "unit": "ms", "help": 'API "latency"',
            }  # fmt: skip


def test_all_tiers_travel_in_one_file_and_are_not_filled_over(data_dir: Path, tmp_path: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, ALL)
    with stored(tmp_path / "other") as storage:
        assert take(storage, text, piece=777).bad == {}
        assert text_of(storage, ALL) == text


def test_the_same_file_again_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, ALL)
        tally = take(storage, text)
        assert (tally.present, tally.written) == (tally.rows, 0)
        assert text_of(storage, ALL) == text


def test_an_import_that_was_cut_short_is_completed_by_the_whole_file(data_dir: Path, tmp_path: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, [TEN_SECONDS])
        fine = text_of(storage, ALL)
    with stored(tmp_path / "other") as storage:
        first = take(storage, text[: len(text) // 2], is_filled=False)
        assert first.bad.total() <= 1, "the line it was cut in"
        second = take(storage, text)
        assert second.present == first.written
        assert numbers_of(text_of(storage, ALL)) == numbers_of(fine)


def numbers_of(text: str) -> list[tuple[object, ...]]:
    """The rows of a file without m2, which is kept to 2 %, and sums to a rounding of their last bits."""
    rows = [line.split(",") for line in text.splitlines()[1:] if '"' not in line]
    return [(*row[:6], round(float(row[6]), 6), *row[8:]) for row in rows]


@pytest.mark.parametrize("filled_at_once", [2, 4096])
def test_coarser_tiers_are_filled_from_what_was_imported_as_rolling_would_have(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled_at_once: int
) -> None:
    with stored(data_dir) as storage:
        fine, whole = text_of(storage, [TEN_SECONDS]), text_of(storage, ALL)
    with stored(tmp_path / "other") as storage:
        monkeypatch.setattr(exchange, "FILLED_AT_ONCE", filled_at_once)
        take(storage, fine)
        assert numbers_of(text_of(storage, ALL)) == numbers_of(whole)


def test_a_series_and_a_span_can_be_chosen(data_dir: Path) -> None:
    with stored(data_dir) as storage:
        pieces = exported(
            storage.history, storage.catalogue, ["finance.api_ms"], lambda info: info.tags == {"agency": "ssa"},
            [MINUTE], BEGIN + 600, BEGIN + 1200, "csv",
        )  # fmt: skip
        rows = [line.split(",") for line in "".join(pieces).splitlines()[1:]]
    assert {row[1] for row in rows} == {"agency=ssa"}
    assert [int(row[4]) for row in rows] == list(range(BEGIN + 600, BEGIN + 1200, 60))


def test_nothing_stored_is_an_export_without_rows(tmp_path: Path) -> None:
    with stored(tmp_path) as storage:
        assert text_of(storage, ALL) == HEADER + "\n"
        assert text_of(storage, [HOUR], "openmetrics") == "# EOF\n"
        assert take(storage, "# EOF\n").rows == 0


def test_rows_in_small_parts_are_the_same_rows(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stored(data_dir) as storage:
        whole = [text_of(storage, [TEN_SECONDS]), text_of(storage, [TEN_SECONDS], "openmetrics")]
        monkeypatch.setattr(exchange, "ROWS_AT_ONCE", 100)
        monkeypatch.setattr(exchange, "SERIES_AT_ONCE", 2)
        assert [text_of(storage, [TEN_SECONDS]), text_of(storage, [TEN_SECONDS], "openmetrics")] == whole


def test_metrics_of_one_spelling_stay_apart_on_their_way(data_dir: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, [HOUR], "openmetrics")
    assert "\nfinance_api_ms_sum{" in text
    assert "\nU__finance__api__ms_sum{U__odd_3b_tag_3d_=" in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on the PATH: apt-get install prometheus")
def test_prometheus_takes_the_openmetrics_with_every_sample(data_dir: Path, tmp_path: Path) -> None:
    with stored(data_dir) as storage:
        text = text_of(storage, [MINUTE], "openmetrics")
        rows = text_of(storage, [MINUTE]).count("\n") - 1
    (tmp_path / "rows.om").write_text(text)
    command = [
        "promtool",
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        str(tmp_path / "rows.om"),
        str(tmp_path / "made"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    samples = [json.loads(meta.read_text())["stats"]["numSamples"] for meta in (tmp_path / "made").glob("*/meta.json")]
    assert sum(samples) == 6 * rows


# ---- what is refused


def row(name: str = "new", kind: str = "gauge", tier: str = "10s", time: int = BEGIN) -> str:
    return f"{name},,{kind},{tier},{time},1,5,0,5,5,5\n"


def test_a_kind_that_is_not_the_metrics_own_is_counted_and_changes_nothing(data_dir: Path, tmp_path: Path) -> None:
    with stored(shutil.copytree(data_dir, tmp_path / "copy")) as storage:
        before = len(storage.catalogue.find("hits"))
        tally = take(
            storage, HEADER + "\n" + row("hits", "gauge") + row("finance.api_ms", "histogram", time=BEGIN - 10)
        )
        assert (dict(tally.bad), tally.written) == ({"kind_conflict": 1}, 1)
        assert storage.catalogue.description("hits")["kind"] == kinds.COUNTER
        assert storage.catalogue.description("finance.api_ms")["kind"] == kinds.TIMER
        assert len(storage.catalogue.find("hits")) == before


def test_steps_that_have_not_ended_are_refused_by_tier(tmp_path: Path) -> None:
    now = BEGIN + 3600 + 65
    text = (
        HEADER
        + "\n"
        + row(time=now // 10 * 10)
        + row(tier="1m", time=now // 60 * 60)
        + row(tier="1h", time=BEGIN + 3600)
    )
    text += row(time=now // 10 * 10 - 10) + row(tier="1m", time=now // 60 * 60 - 60) + row(tier="1h", time=BEGIN)
    with stored(tmp_path) as storage:
        tally = take(storage, text, now, is_filled=False)
        assert (dict(tally.bad), tally.written) == ({"too_new": 3}, 3)


def test_one_row_under_two_kinds_is_one_row(tmp_path: Path) -> None:
    with stored(tmp_path) as storage:
        tally = take(storage, HEADER + "\n" + row(kind="timer") + row(kind="unknown"), is_filled=False)
        assert (tally.written, tally.present) == (1, 1)
        assert len(text_of(storage, [TEN_SECONDS]).splitlines()) == 2


def test_a_series_beyond_the_catalogues_limit_is_counted(tmp_path: Path) -> None:
    with stored(tmp_path) as storage:
        storage.catalogue.series_max = 1
        tally = take(storage, HEADER + "\n" + row("a") + row("b"), is_filled=False)
        assert (dict(tally.bad), tally.written) == ({"series_limit": 1}, 1)


def test_refusals_of_others_are_not_an_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stored(tmp_path) as storage:
        history = storage.history
        counts, write = history._limits.counts, writing.write_patch

        def write_while_another_is_refused(*given: Any) -> Any:
            counts["refused"] += 5
            return write(*given)

        monkeypatch.setattr(writing, "write_patch", write_while_another_is_refused)
        tally = take(storage, HEADER + "\n" + row(), is_filled=False)
        assert (dict(tally.bad), tally.written) == ({}, 1)
        history.config = HistoryConfig(bytes_max=1, disk_free_min=0)
        tally = take(storage, HEADER + "\n" + row(time=BEGIN + 10), is_filled=False)
        assert (dict(tally.bad), tally.written) == ({"refused": 1}, 0)


def test_an_unknown_format_and_several_tiers_of_openmetrics_are_refused(data_dir: Path) -> None:
    with stored(data_dir) as storage:
        with pytest.raises(ValueError, match="is none of csv, openmetrics"):
            text_of(storage, ALL, "parquet")
        with pytest.raises(ValueError, match="takes one tier"):
            text_of(storage, ALL, "openmetrics")


# ---- directories that an engine has left


def test_what_an_engine_left_unrolled_is_rolled_before_anything_is_put_behind_it(tmp_path: Path) -> None:
    """An import of a later hour must not look as if the hour before had been rolled."""
    with stored(tmp_path) as storage:
        ids = storage.catalogue.ids_for(SERIES[:1], 1)
        columns = np.zeros((6, int(ids[0]) + 1))
        columns[:, ids[0]] = (1, 5, 0, 5, 5, 5)
        for step in range(BEGIN, BEGIN + 300, 10):
            storage.history.append(TEN_SECONDS, step, columns)
        roll_due(storage.history, BEGIN + 3 * 3600 + 5)
        take(storage, HEADER + "\n" + row(time=BEGIN + 7200), BEGIN + 3 * 3600 + 5)
        steps, _, found = storage.history.read_columns(HOUR, ids, BEGIN, BEGIN + 3600)
        assert (steps.tolist(), found[0].tolist()) == ([BEGIN], [30.0])
        assert storage.history.last_step(HOUR) == BEGIN + 7200
        roll_due(storage.history, BEGIN + 4 * 3600)
        assert len(text_of(storage, [HOUR], end=BEGIN + 10**6).splitlines()) == 3, "nothing was rolled twice"
