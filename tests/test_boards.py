"""Dashboards of one's own: what a text means, where a mistake stands, files that change, and saving over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hms_ops import Engine
from hms_ops.boards import folder
from hms_ops.boards.board import PANELS_MAX, read_board
from hms_ops.boards.folder import Changed, Folders
from hms_ops.errors import ConfigError

SHIPPED = Path(__file__).parent.parent / "config" / "dashboards"
SMALL = "title: Small\npanels:\n  - {title: Latency, metric: db.write_ms, unit: ms}\n"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_dashboards_can_be_read(path: Path) -> None:
    assert read_board(path.read_text(), path.name).panels


def test_a_board_means_what_it_says() -> None:
    board = read_board(
        "title: T\ncolumns: 3\npanels:\n"
        "  - {metric: a, unit: ms, range: 5m, width: 2}\n"
        "  - {exprs: ['avg(a)', 'p99(b, 5m)'], kind: table}\n"
        "  - {alert: slow}\n  - {text: Call Ann}\n  - {kind: light, expr: avg(a), good_below: 3}\n  - {kind: alerts}\n",
        "t",
    )
    assert (board.title, board.columns) == ("T", 3)
    assert [panel.kind for panel in board.panels] == ["chart", "table", "light", "text", "light", "alerts"]
    chart, table, light, text, limit, _ = board.panels
    assert (chart.metric, chart.unit, chart.range, chart.width) == ("a", "ms", 300.0, 2)
    assert table.exprs == ("avg(a)", "p99(b, 5m)")
    assert (light.alert, text.text, limit.good_below, limit.exprs) == ("slow", "Call Ann", 3.0, ("avg(a)",))


@pytest.mark.parametrize(
    ("panel", "line", "words"),
    [
        ("{metrik: a}", 2, "did you mean 'metric'"),
        ("{kind: pie, metric: a}", 2, "none of chart, number"),
        ("{kind: number}", 2, "a number needs a metric"),
        ("{kind: light, metric: a}", 2, "good_below or good_above"),
        ("{kind: text}", 2, "needs its text"),
        ("{expr: 'avg(a) >'}", 2, "column"),
        ("{expr: avg(a), exprs: [avg(b)]}", 2, "either expr or exprs"),
        ("{exprs: []}", 2, "1 to 8 expressions"),
        ("{metric: a, range: 10s}", 2, "from 1m to 400d"),
        ("{metric: a, range: soon}", 2, "range"),
        ("{metric: a, width: 5}", 2, "from 1 to 4"),
        ("{metric: a, width: true}", 2, "from 1 to 4"),
        ("{metric: a b}", 2, "blanks"),
        ("{metric: a, good_below: '3'}", 2, "expected a number"),
        ("just text", 2, "expected a panel"),
        ("{metric: a, title: " + "x" * 201 + "}", 2, "more than 200"),
    ],
)
def test_a_mistake_has_its_line(panel: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_board(f"panels:\n  - {panel}\n", "b.yaml")
    assert raised.value.problems[0].startswith(f"b.yaml:{line}: ")
    assert words in raised.value.problems[0]


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        read_board("colums: 2\npanels:\n  - {kind: pie}\n  - {metric: a}\n  - {width: 9, metric: a}\n", "b")
    assert [problem.split(":")[1] for problem in raised.value.problems] == ["1", "3", "5"]


@pytest.mark.parametrize("text", ["", "panels: []", "[]", "title: [", "a: b: c", "panels: {}"])
def test_what_is_no_dashboard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_board(text, "b")


def test_panels_are_bounded() -> None:
    with pytest.raises(ConfigError, match=f"more than {PANELS_MAX} panels"):
        read_board("panels:\n" + "  - {metric: a}\n" * (PANELS_MAX + 1), "b")


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, ns=(path.stat().st_mtime_ns + 1, path.stat().st_mtime_ns + 1))


def test_a_changed_file_is_read_again_and_a_broken_one_keeps_what_it_was(tmp_path: Path) -> None:
    folders = Folders([tmp_path])
    write(tmp_path / "small.yaml", SMALL)
    first = folders.one("small")
    assert folders.one("small") is first
    write(tmp_path / "small.yaml", SMALL.replace("Small", "Smaller"))
    assert folders.one("small").board is not None
    assert folders.one("small").board.title == "Smaller"  # type: ignore[union-attr]
    write(tmp_path / "small.yaml", "panels: 3\n")
    broken = folders.one("small")
    assert broken.board is not None
    assert broken.board.title == "Smaller"
    assert broken.error.startswith("small.yaml:1: ")
    (tmp_path / "small.yaml").unlink()
    with pytest.raises(KeyError):
        folders.one("small")


def test_saving_checks_first_and_says_when_somebody_else_was_faster(tmp_path: Path) -> None:
    folders = Folders([tmp_path])
    kept = folders.put("small", SMALL, None)
    assert (tmp_path / "small.yaml").read_text() == SMALL
    with pytest.raises(Changed):
        folders.put("small", SMALL, None)
    with pytest.raises(ConfigError):
        folders.put("small", "panels: 3", kept.etag)
    again = folders.put("small", SMALL + "columns: 1\n", kept.etag)
    assert again.board is not None
    assert again.board.columns == 1
    with pytest.raises(Changed):
        folders.put("small", SMALL, kept.etag)
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_link_stays_one_and_text_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "small.yaml"
    real.write_text(SMALL)
    (tmp_path / "small.yaml").symlink_to(real)
    text = SMALL.replace("Small", "Überblick ✓")
    code = (
        "from pathlib import Path\nfrom hms_ops.boards.folder import Folders\n"
        f"Folders([Path({str(tmp_path)!r})]).put('small', {text!a}, '*')"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert (tmp_path / "small.yaml").is_symlink()
    assert real.read_text("utf-8") == text


def test_any_text_may_be_saved_over_where_one_is_there(tmp_path: Path) -> None:
    folders = Folders([tmp_path])
    with pytest.raises(Changed):
        folders.put("small", SMALL, "*")
    folders.put("small", SMALL, None)
    assert folders.put("small", SMALL + "columns: 1\n", "*").text.endswith("columns: 1\n")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 65, "a b", "ü"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        Folders([tmp_path]).put(name, SMALL, None)
    assert not list(tmp_path.rglob("*"))


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "BOARDS_MAX", 2)
    for number in range(3):
        (tmp_path / f"b{number}.yaml").write_text(SMALL)
    folders = Folders([tmp_path])
    assert [kept.name for kept in folders.all()] == ["b0", "b1"]
    assert folders.left_out == 1


def test_a_file_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"title: \xff")
    assert "cannot be read" in Folders([tmp_path]).one("b").error


@pytest.fixture
def site(tmp_path: Path) -> Iterator[httpx.Client]:
    (tmp_path / "small.yaml").write_text(SMALL)
    config = {"dashboards": [str(tmp_path)]}
    with (
        Engine(udp=None, http="127.0.0.1:0", data_dir=None, config=config) as engine,
        httpx.Client(base_url=f"http://127.0.0.1:{engine.http_address[1]}") as client,  # type: ignore[index]
    ):
        yield client


def test_dashboards_over_http(site: httpx.Client) -> None:
    listed = site.get("/v1/dashboards").json()
    assert listed["editable"] is True
    assert listed["dashboards"] == [
        {"name": "small", "title": "Small", "panels": 1, "source": "small.yaml", "error": None}
    ]
    shown = site.get("/v1/dashboards/small")
    assert shown.json()["panels"][0]["metric"] == "db.write_ms"
    assert shown.json()["text"] == SMALL
    assert site.get("/v1/dashboards/none").status_code == 404


def test_a_dashboard_is_edited_as_text(site: httpx.Client) -> None:
    etag = site.get("/v1/dashboards/small").json()["etag"]
    bad = site.put("/v1/dashboards/small", content="panels:\n  - {kind: pie}\n", headers={"If-Match": etag})
    assert bad.status_code == 400
    assert [problem["line"] for problem in bad.json()["problems"]] == [2]
    good = site.put("/v1/dashboards/small", content=SMALL.replace("Small", "Big"), headers={"If-Match": etag})
    assert (good.status_code, good.json()["title"]) == (200, "Big")
    late = site.put("/v1/dashboards/small", content=SMALL, headers={"If-Match": etag})
    assert (late.status_code, late.json()["type"]) == (412, "urn:hms-ops:problem:changed")
    assert site.put("/v1/dashboards/other", content=SMALL).status_code == 200
    assert site.put("/v1/dashboards/other", content=b"\xff").status_code == 400


def test_a_folder_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        Engine(udp=None, data_dir=None, config={"dashboards": [str(tmp_path / "none")]})
