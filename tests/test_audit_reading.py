"""The audit log over HTTP and on the command line: list, verify, export, of an engine, a directory, a file."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route
from tests.engines import NOW, manual

from hms_ops import Engine
from hms_ops.cli import main
from hms_ops.cli.audit import split_lines
from hms_ops.cli.main import call
from hms_ops.http import audit as audit_http
from hms_ops.http import routes
from hms_ops.storage.audit import Audit, audit_in
from hms_ops.storage.environment import Environment
from hms_ops.storage.store import open_storage
from hms_ops.storage.verify import verify

NOBODY = "http://127.0.0.1:1"


def fill(log: Audit, count: int) -> None:
    for number in range(count):
        log.append(
            who="cio",
            what="silence",
            subject=f"db.*{{n={number}}}",
            source="HTTP 127.0.0.1",
            time_ns=(NOW + number) * 10**9,
        )


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """One that no engine has open, with five records."""
    storage = open_storage(tmp_path / "data")
    fill(storage.audit, 5)
    storage.close()
    return tmp_path / "data"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One that runs, with records of its own and five of ours; the commands find it."""
    add_routes(monkeypatch)
    with manual(data_dir=tmp_path / "running", http="127.0.0.1:0") as made:
        storage = made.account.storage
        assert storage is not None
        fill(storage.audit, 5)
        monkeypatch.setattr(made, "audit_log", storage.audit.tail, raising=False)
        monkeypatch.setattr(made, "audit_export", storage.audit.export, raising=False)
        assert made.http_address is not None
        monkeypatch.setenv("HMS_OPS_HTTP", "{}:{}".format(*made.http_address))
        yield made


def add_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table of routes does not have ours yet."""
    ours = (Route("/v1/audit", audit_http.audit), Route("/v1/audit/export", audit_http.export))
    there = {route.path for route in routes.ROUTES}
    monkeypatch.setattr(routes, "ROUTES", (*routes.ROUTES, *(one for one in ours if one.path not in there)))
    monkeypatch.setitem(main.COMMANDS, "audit", ("audit", "audit", "Who did what."))


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.COMMANDS, "audit", ("audit", "audit", "Who did what."))


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = call([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def tamper(data_dir: Path, number: int) -> None:
    """One record goes, behind the log's back."""
    environment = Environment(data_dir / "state", databases=32)
    database = environment.database(b"audit")
    environment.commit(lambda transaction: transaction.delete(number.to_bytes(8, "big"), db=database))
    environment.close()


# ---- HTTP


def test_the_newest_records_are_listed(engine: Engine) -> None:
    assert engine.http_address is not None
    host, port = engine.http_address
    with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False) as client:
        listed = client.get("/v1/audit", params={"limit": 2}).json()["audit"]
        assert [record["subject"] for record in listed] == ["db.*{n=3}", "db.*{n=4}"]
        assert listed[1]["time"] == NOW + 4
        assert {"number", "time_ns", "who", "what", "outcome", "source", "detail", "prev", "hash"} <= listed[0].keys()
        assert client.get("/v1/audit", params={"limit": 0}).status_code == 400
        assert "unknown parameter 'limt'" in client.get("/v1/audit", params={"limt": 2}).json()["detail"]
        assert client.post("/v1/audit").status_code == 405
        lines = client.get("/v1/audit/export").text.splitlines()
        assert "head" in json.loads(lines[0])
        assert json.loads(lines[-1]) == {k: v for k, v in listed[1].items() if k != "time"}


# ---- the command line


def test_an_engine_that_runs_is_listed_verified_and_exported(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = answer(capsys, "audit", "list", "--limit", 1)
    assert (code, out.splitlines()[1].split()[1:4]) == (0, ["2023-11-14T22:13:24Z", "cio", "silence"])
    code, out, _ = answer(capsys, "audit", "verify", "--json")
    said = json.loads(out)
    assert (code, said["is_good"], said["first_bad"], said["reason"]) == (0, True, None, "")
    file = tmp_path / "audit.jsonl"
    code, out, _ = answer(capsys, "audit", "export", "-o", file, "--json")
    assert (code, json.loads(out)) == (0, {"records": said["records"], "file": str(file)})
    assert answer(capsys, "audit", "verify", file, "--expect", said["newest"])[0] == 0
    assert answer(capsys, "audit", "verify", "--expect", said["newest"])[0] == 0
    assert answer(capsys, "audit", "list", "--data-dir", tmp_path / "running")[0] == 3, "an engine has it open"


def test_a_directory_is_listed_verified_and_exported(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = answer(capsys, "audit", "list", "--data-dir", data_dir, "--json")
    assert (code, [record["number"] for record in json.loads(out)["audit"]]) == (0, [0, 1, 2, 3, 4])
    code, out, _ = answer(capsys, "audit", "verify", "--data-dir", data_dir)
    assert code == 0
    assert out.startswith("5 records, none altered, missing or moved; newest 4:")
    newest = out.split()[-1]
    code, out, _ = answer(capsys, "audit", "export", "--data-dir", data_dir)
    assert (code, out.count("\n")) == (0, 6)
    file = tmp_path / "audit.jsonl"
    file.write_text(out)
    assert answer(capsys, "audit", "verify", file, "--expect", newest)[0] == 0
    file.write_text(out.replace("n=2", "n=9"))
    code, out, _ = answer(capsys, "audit", "verify", file)
    assert (code, out.startswith("altered: record 2 is not what was written")) == (1, True)
    code, out, _ = answer(capsys, "audit", "verify", "--data-dir", data_dir, "--expect", "9:" + "0" * 64)
    assert (code, out.startswith("truncated: the log ends before record 9")) == (1, True)


def test_a_log_that_was_tampered_with_exits_1_and_names_the_record(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(data_dir, 2)
    code, out, _ = answer(capsys, "audit", "verify", "--data-dir", data_dir)
    assert code == 1
    assert out == "missing: record 2 is missing: the next that is there is 3; 2 records before it are good\n"
    code, out, _ = answer(capsys, "audit", "verify", "--data-dir", data_dir, "--json")
    said = json.loads(out)
    assert (code, said["first_bad"], said["reason"], said["records"]) == (1, 2, "missing", 2)


def test_a_backup_is_verified_and_nothing_in_it_changes(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_dir / "engine.lock").unlink()
    before = {path.name: path.read_bytes() for path in (data_dir / "state").iterdir() if path.name != "lock.mdb"}
    assert answer(capsys, "audit", "verify", "--data-dir", data_dir)[0] == 0
    after = {path.name: path.read_bytes() for path in (data_dir / "state").iterdir() if path.name != "lock.mdb"}
    assert before == after
    assert not (data_dir / "engine.lock").exists()


def test_a_damaged_state_is_an_error_and_is_not_set_aside(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_dir / "state" / "data.mdb").write_bytes(b"")
    code, _, err = answer(capsys, "audit", "verify", "--data-dir", data_dir)
    assert code == 1
    assert "is empty, and it was not before" in err
    assert (data_dir / "state").is_dir()
    assert not list(data_dir.glob("*.damaged*"))


def test_a_directory_of_an_older_release_has_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = Environment(tmp_path / "old" / "state", databases=16)
    environment.database(b"journal")
    environment.close()
    code, _, err = answer(capsys, "audit", "list", "--data-dir", tmp_path / "old")
    assert code == 3
    assert "there is no audit log" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["audit", "list", "--url", NOBODY], 4, "no engine answers"),
        (["audit", "verify", "--url", NOBODY], 4, "no engine answers"),
        (["audit", "export", "--url", NOBODY], 4, "no engine answers"),
        (["audit", "list", "--data-dir", "/nowhere"], 3, "is no data directory"),
        (["audit", "list", "--limit", "0"], 2, "0 is not in the range"),
        (["audit", "verify", "/nowhere"], 2, "does not exist"),
        (["audit", "verify", "--expect", "5"], 2, "is no number:hash"),
        (["audit", "verify", "--expect", "5:xyz"], 2, "is no number:hash"),
        (["audit", "verify", __file__, "--data-dir", "/x"], 2, "give FILE or --data-dir"),
        (["audit", "verify", __file__], 1, "altered"),
        (["audit", "export", "--json"], 2, "--json needs -o FILE"),
    ],
)
def test_what_cannot_be_is_said_with_its_exit_code(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = answer(capsys, *arguments)
    assert found == code
    assert said in out + err


def test_an_empty_log_is_whole_and_has_nothing_to_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_storage(tmp_path / "data").close()
    where = ("--data-dir", tmp_path / "data")
    assert answer(capsys, "audit", "verify", *where)[:2] == (0, "0 records, none altered, missing or moved\n")
    assert answer(capsys, "audit", "list", *where)[0] == 1
    assert answer(capsys, "audit", "export", *where)[0] == 1


def test_a_log_that_begins_anew_says_that_the_one_before_was_set_aside(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = data_dir / "state" / "data.mdb"
    state.write_bytes(b"\xff" * state.stat().st_size)
    open_storage(data_dir).close()
    found = json.loads(answer(capsys, "audit", "list", "--data-dir", data_dir, "--json")[1])
    (record,) = found["audit"]
    assert (record["what"], record["subject"], record["outcome"]) == ("set-aside", "state", "damaged")
    assert (data_dir / record["detail"]["set_aside"]).is_dir()
    code, _, err = answer(capsys, "audit", "verify", "--data-dir", data_dir)
    assert (code, record["detail"]["set_aside"] in err) == (0, True)


def test_what_comes_from_strangers_is_printed_escaped(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = open_storage(data_dir)
    storage.audit.append(who="a\x1b[2Jb", what="log-in", time_ns=1)
    storage.close()
    out = answer(capsys, "audit", "list", "--data-dir", data_dir)[1]
    assert "a\\x1b[2Jb" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_whole_however_they_come(size: int) -> None:
    text = b'{"a":1}\n{"b":"\xc3\xa9"}\nrest'
    read = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(split_lines(read)) == ['{"a":1}\n', '{"b":"é"}\n', "rest"]


# ---- elsewhere in storage


def test_verify_of_a_directory_finds_damaged_records_of_alerting_and_audit(data_dir: Path) -> None:
    environment = Environment(data_dir / "state", databases=32)
    for name in (b"audit", b"dead", b"outbox"):
        database = environment.database(name)

        def damage(transaction: object, database: object = database) -> None:
            transaction.put((0).to_bytes(8, "big"), b"not a record", db=database)

        environment.commit(damage)
    environment.close()
    problems = [problem.split(":")[1].split()[0] for problem in verify(data_dir).problems]
    assert problems == ["audit", "dead", "outbox"]


def test_a_backup_has_the_log(data_dir: Path, tmp_path: Path) -> None:
    from hms_ops.storage.backup import back_up

    storage = open_storage(data_dir)
    back_up(storage, tmp_path / "copy", NOW * 10**9)
    storage.close()
    with audit_in(tmp_path / "copy") as log:
        assert log.verify().count == 5
    assert verify(tmp_path / "copy").problems == []
    shutil.rmtree(tmp_path / "copy")
