"""The commands of operations, against a running engine and against directories: answers, files, exit codes."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import NOW, feed, manual
from tests.stocked import BEGIN, stored
from tests.test_exchange import ALL, text_of
from tests.test_operations import events, settle

from hms_ops import Engine
from hms_ops.cli import import_ as import_module
from hms_ops.cli.export import copied
from hms_ops.cli.main import call
from hms_ops.errors import StorageError
from hms_ops.storage.csvrows import HEADER

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One with a day behind it, so that all of what is stocked has settled; the commands find it."""
    with manual(NOW + 86_400, data_dir=tmp_path / "engine", http="127.0.0.1:0") as made:
        assert made.http_address is not None
        monkeypatch.setenv("HMS_OPS_HTTP", "{}:{}".format(*made.http_address))
        yield made


@pytest.fixture
def data_dir(stocked: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stocked, tmp_path / "data")


@pytest.fixture(scope="module")
def whole(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All rows of what is stocked."""
    with stored(shutil.copytree(stocked, tmp_path_factory.mktemp("whole") / "data")) as storage:
        return text_of(storage, ALL)


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = call([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


# ---- series


def test_series_are_listed_described_and_deleted(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("db-1", "db-2"):
        feed(engine, "load", 1.0, 2, kind="gauge", tags={"host": host})
    code, out, _ = answer(capsys, "series", "describe", "load", "--unit", "percent", "--help-text", "CPU load")
    assert (code, out.split()) == (0, ["METRIC", "UNIT", "HELP", "load", "percent", "CPU", "load"])
    code, out, _ = answer(capsys, "series", "list", '{host="db-1"}')
    assert (code, out.splitlines()[1].split()) == (0, ["load{host=db-1}", "gauge", "percent", "CPU", "load"])
    code, out, _ = answer(capsys, "series", "delete", '{host="db-1"}', "--dry-run")
    assert (code, "load{host=db-1}" in out) == (0, True)
    assert answer(capsys, "series", "delete", '{host="db-1"}')[:2] == (0, "deleted 1 series\n")
    assert answer(capsys, "series", "delete", '{host="db-1"}')[0] == 1
    code, out, _ = answer(capsys, "series", "list", "--json")
    assert [one["tags"] for one in json.loads(out)["series"]] == [{"host": "db-2"}]
    assert answer(capsys, "series", "list", "nobody")[::2] == (1, "nothing found\n")
    assert events(engine, "delete")[0]["by"] == "HTTP 127.0.0.1"


def test_a_list_that_was_cut_says_so(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        engine.metric(name, 1.0)
    engine.advance(1)
    assert "there are more than 2" in answer(capsys, "series", "list", "--limit", 2)[2]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["series", "list", "x["], 2, "line 1, column 2"),
        (["series", "delete", "{}"], 2, "no metric and no matcher"),
        (["series", "delete"], 2, "SELECTOR"),
        (["series", "describe", "x"], 2, "give --unit, --help-text, or both"),
        (["series", "list", "--url", NOBODY], 4, "no engine answers"),
        (["export", "--json"], 2, "--json needs -o FILE"),
        (["export", "--tier", "2m"], 2, "2m"),
        (["export", "--format", "openmetrics", "--tier", "all"], 2, "takes one tier"),
        (["export", "avg(x)"], 2, "line 1, column 4"),
        (["export", "--url", NOBODY], 4, "no engine answers"),
        (["export", "--data-dir", "/nowhere"], 3, "is no data directory"),
        (["import", "/nowhere.csv"], 1, "No such file"),
        (["backup", "/x", "--url", NOBODY], 4, "no engine answers"),
        (["backup", "/x", "--data-dir", "/nowhere"], 3, "is no data directory"),
        (["restore", "/nowhere", "--data-dir", "/x"], 2, "does not exist"),
        (["restore", "/tmp"], 2, "--data-dir"),
        (["verify", "/nowhere"], 2, "does not exist"),
        (["verify", "/usr/lib"], 1, "is no data directory and no backup"),
    ],
)
def test_what_cannot_be_is_said_with_its_exit_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, err = answer(capsys, *arguments)
    assert found == code
    assert said in err


# ---- export and import


def test_a_directory_travels_through_a_file_into_another(
    data_dir: Path, tmp_path: Path, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.csv"
    code, out, _ = answer(capsys, "export", "--data-dir", data_dir, "--tier", "all", "-o", file, "--json")
    assert (code, json.loads(out)) == (0, {"rows": whole.count("\n") - 1, "file": str(file), "damaged": 0})
    assert file.read_text() == whole
    code, out, _ = answer(capsys, "import", file, "--data-dir", tmp_path / "new", "--json")
    assert code == 0
    assert json.loads(out)["written"] == whole.count("\n") - 1
    with stored(tmp_path / "new") as storage:
        assert text_of(storage, ALL) == whole
    code, out, _ = answer(capsys, "import", file, "--data-dir", tmp_path / "new")
    assert out.startswith("0 rows written, ")


@pytest.mark.parametrize("body_bytes", [2_000, 4 << 20])
def test_a_file_travels_through_engines_in_as_many_posts_as_it_takes(
    engine: Engine,
    tmp_path: Path,
    whole: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    body_bytes: int,
) -> None:
    lines = [line for line in whole.splitlines() if ",1m," in line][:100]
    (tmp_path / "some.csv").write_text("\n".join([HEADER, *lines, ""]))
    monkeypatch.setattr(import_module, "BODY_BYTES", body_bytes)
    code, out, _ = answer(capsys, "import", tmp_path / "some.csv", "--json")
    assert (code, json.loads(out)["written"]) == (0, 100)
    assert json.loads(out)["filled"] > 0
    code, out, _ = answer(capsys, "export", "--tier", "1m")
    assert (code, out.splitlines()) == (0, [HEADER, *lines])


def test_openmetrics_goes_to_an_engine_with_unit_and_help(
    engine: Engine, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hours.om"
    arguments = ["export", "finance.api_ms", "--tier", "1h", "--format", "openmetrics"]
    assert answer(capsys, *arguments, "--data-dir", data_dir, "-o", file)[0] == 0
    code, out, _ = answer(capsys, "import", file, "--json")
    assert (code, json.loads(out)["bad"]) == (0, {})
    assert engine.operations.description("finance.api_ms")["unit"] == "ms"
    code, out, _ = answer(capsys, *arguments)
    assert out == file.read_text()


def test_bad_lines_are_told_by_their_place_in_the_file_whatever_post_they_were_in(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"x,n={n},gauge,10s,{BEGIN},1,1,0,1,1,1" for n in range(40)]
    lines[4], lines[30] = "bad", f"x,,gauge,10s,{BEGIN + 1},1,1,0,1,1,1"
    (tmp_path / "some.csv").write_text("\n".join([HEADER, *lines, ""]))
    monkeypatch.setattr(import_module, "BODY_BYTES", 300)
    code, out, err = answer(capsys, "import", tmp_path / "some.csv")
    assert code == 1
    assert out.startswith("38 rows written, 0 were there, 2 refused")
    assert "refused for fields: 1\nrefused for time: 1\n" in err
    assert "line 6: it has 1 fields" in err
    assert "line 32: its time does not begin a step" in err


def test_a_file_of_nothing_but_bad_lines_is_told_not_raised(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text(f"{HEADER}\nbad\n")
    assert answer(capsys, "import", tmp_path / "bad.csv")[::2] == (
        1,
        "refused for fields: 1\nline 2: it has 1 fields, 11 are wanted: " + HEADER + "\n",
    )


@pytest.mark.parametrize("to", ["engine", "directory"])
def test_what_is_no_export_is_refused(
    engine: Engine, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    where = ["--data-dir", tmp_path / "new"] if to == "directory" else []
    code, _, err = answer(capsys, "import", tmp_path / "other.csv", *where)
    assert (code, "this is no export" in err) == (1, True)


def test_standard_input_is_read_and_standard_output_written(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = answer(capsys, "export", "hits", "--data-dir", data_dir)
    assert code == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.encode())))
    assert answer(capsys, "import", "-", "--data-dir", tmp_path / "new")[0] == 0
    assert answer(capsys, "export", "--data-dir", tmp_path / "new")[1] == out


def test_nothing_found_is_exit_code_1(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, "export", "nobody", "--data-dir", data_dir)
    assert (code, out, err) == (1, HEADER + "\n", "nothing found\n")
    assert answer(capsys, "export", "hits", "--since", "1h", "--data-dir", data_dir)[0] == 1


def test_a_file_that_did_not_get_whole_is_not_there(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = answer(capsys, "export", "--url", NOBODY, "-o", tmp_path / "out.csv")
    assert (code, sorted(path.name for path in tmp_path.glob("out*"))) == (4, [])
    code, _, err = answer(capsys, "export", "-o", tmp_path / "no" / "out.csv")
    assert (code, "No such file" in err) == (1, True)


def test_an_export_that_fails_on_its_way_is_not_taken_for_whole(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pieces(*_: object) -> Iterator[str]:
        yield "x" * 100_000
        raise StorageError("the disk is gone")

    monkeypatch.setattr(engine.operations, "export", pieces)
    code, _, err = answer(capsys, "export", "-o", tmp_path / "out.csv")
    assert (code, "broke its answer off" in err) == (1, True)
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_lines_are_counted_and_comments_are_not() -> None:
    pieces = [b"# a\n# b\nx 1\n", b"x 2\n# c", b"\nx 3\n", b"# EOF\n"]
    assert copied(pieces, io.BytesIO()) == 3
    assert copied([b"a\nb\n#c\nd\n"], io.BytesIO()) == 3


# ---- a data directory that is damaged


def damage(data_dir: Path) -> Path:
    """Cut one file of minutes short."""
    file = next(iter(sorted(data_dir.glob("history/1m/*/*/data.mdb"))))
    file.write_bytes(file.read_bytes()[:100])
    return file.parent


def test_an_export_without_what_is_damaged_is_written_and_exit_code_1(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, arguments = tmp_path / "out.csv", ["export", "--data-dir", data_dir, "--tier", "all", "--json", "-o"]
    code, out, err = answer(capsys, *arguments, file)
    assert (code, json.loads(out)["damaged"], err) == (0, 0, "")
    whole = json.loads(out)["rows"]
    aside = damage(data_dir)
    code, out, err = answer(capsys, *arguments, file)
    assert (code, json.loads(out)["damaged"]) == (1, 1)
    assert 0 < json.loads(out)["rows"] == file.read_text().count("\n") - 1 < whole
    assert f"damaged parts of {data_dir}, set aside or left out: 1; hms-ops-engine verify lists them\n" in err
    assert list(aside.parent.glob(f"{aside.name}.damaged-*"))


def test_a_backup_without_what_is_damaged_is_written_and_exit_code_1(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data_dir / "state" / "data.mdb").write_bytes(b"")
    damage(data_dir)
    code, out, err = answer(capsys, "backup", tmp_path / "backup", "--data-dir", data_dir, "--json")
    assert (code, json.loads(out)["damaged"]) == (1, 2)
    assert "set aside or left out: 2;" in err
    assert answer(capsys, "verify", tmp_path / "backup")[0] == 0


# ---- backup, restore, verify


def test_a_running_engine_is_backed_up_verified_and_restored(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(engine, "load", 1.0, 25, kind="gauge")
    settle(engine)
    monkeypatch.chdir(tmp_path)
    code, out, _ = answer(capsys, "backup", "today", "--json")
    assert (code, json.loads(out)["directory"]) == (0, str(tmp_path / "today"))
    code, out, _ = answer(capsys, "verify", "today", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    assert answer(capsys, "restore", "today", "--data-dir", "new")[0] == 0
    code, out, _ = answer(capsys, "export", "--data-dir", "new")
    assert f"load,,gauge,10s,{NOW + 86_400}," in out
    code, _, err = answer(capsys, "restore", "today", "--data-dir", "new")
    assert (code, "is not empty" in err) == (1, True)
    code, _, err = answer(capsys, "export", "--data-dir", tmp_path / "engine")
    assert (code, "is in use by process" in err) == (3, True)


def test_a_directory_is_backed_up_and_damage_is_exit_code_1(
    data_dir: Path, tmp_path: Path, whole: str, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "backup"
    assert answer(capsys, "backup", backup, "--data-dir", data_dir)[0] == 0
    assert "0 problems in" in answer(capsys, "verify", backup)[1]
    file = backup / "catalogue" / "data.mdb"
    file.write_bytes(file.read_bytes()[:-1])
    code, out, _ = answer(capsys, "verify", backup)
    assert code == 1
    assert str(file) in out
    code, _, err = answer(capsys, "restore", backup, "--data-dir", tmp_path / "new", "--json")
    assert (code, "nothing was restored" in err) == (1, True)
    assert not (tmp_path / "new").exists()
