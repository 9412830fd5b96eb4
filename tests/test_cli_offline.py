"""The commands that need no engine, run as their own processes: answers, exit codes, and what is said on mistakes."""

import json
import os
import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgpack
import pytest

from hms_ops.cli.doctor import memory_bound_bytes, widest
from hms_ops.cli.main import COMMANDS
from hms_ops.cli.reach import unreached
from hms_ops.client.http import NoAuthorities
from hms_ops.config import Config, Limits
from hms_ops.escape import printable

NOBODY = "http://127.0.0.1:1"
ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-c", "from hms_ops.cli.main import main; main()"]


def start(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """Where datagrams are sent to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(10)
        yield bound


@pytest.fixture
def answering() -> Iterator[Callable[[int, Any], str]]:
    """`answering(status, body)` is the address of an HTTP server that answers every request so."""
    servers = []

    def serve(status: int, body: Any) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.command == "POST":
                    self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            do_POST = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_help_lists_every_command_within_150_ms() -> None:
    # The best of five, and its processor time: other tests and builds share the machine.
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
        assert all(f"  {command} " in done.stdout for command in COMMANDS)
    assert min(seconds) < 0.15


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example_and_json(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"hms-ops-engine {command}" in done.stdout.split("Example", 1)[1]
    assert "--json" in done.stdout or "list" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["emot", "x", "1"], "no command 'emot'; did you mean 'emit'?"),
        (["run", "--udp", "8125"], "'8125' is no address; write host:port"),
        (["query", "avg(x)", "--since", "1"], "'1' is no duration; write a number and a unit"),
        (["query", "avg(x)", "--step", "1s"], "--step needs --since"),
        (["query", "avg(x"], "line 1, column"),
        (["emit", "x", "high"], "'high' is no finite number"),
        (["emit", "x", "nan"], "'nan' is no finite number"),
        (["emit", "x", "1", "--tag", ":irs"], "':irs' is no tag"),
        (["emit", "x", "1", "--tag", "__overflow__:true"], "no key that begins with __"),
        (["emit", "x", "1", "--to", "tcp://x"], "neither udp://HOST:PORT nor unix:///PATH"),
        (["emit", "", "1"], "'' is no name of a metric"),
        (["check-config"], "give a FILE to check"),
        (["capture", "f", "--size", "big"], "'big' is no size"),
        (["bench", "--format", "xml"], "xml"),
        (["token", "new", "--name", "x"], "Choose from: ingest, read, silence, admin"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_wanted(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["alerts"]])
def test_a_group_without_a_command_shows_its_help(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: hms-ops-engine")
    assert "hms-ops-engine: " not in done.stderr


def test_a_socket_that_nobody_has_is_unreachable(tmp_path: Path) -> None:
    done = run("emit", "x", "1", "--to", f"unix://{tmp_path}/nobody")
    assert done.returncode == 4
    assert f"no engine receives at unix://{tmp_path}/nobody" in done.stderr


def test_version_names_what_it_runs_on() -> None:
    found = json.loads(run("version", "--json").stdout)
    assert found["version"] == "0.1.0"
    assert found["packages"]["numba"]
    assert run("version").stdout.startswith("hms-ops 0.1.0 on Python 3.")


@pytest.mark.parametrize(
    "arguments", [["query", "avg(x)"], ["alerts", "list"], ["emit", "x", "1", "--to", NOBODY]], ids=lambda a: a[0]
)
def test_an_engine_that_cannot_be_reached_is_exit_code_4(arguments: list[str]) -> None:
    done = run(*arguments, "--json", HMS_OPS_HTTP=NOBODY)
    assert done.returncode == 4
    assert f"no engine answers at {NOBODY}: " in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 4


def test_what_is_no_engine_is_not_reached_either(answering: Callable[[int, Any], str]) -> None:
    done = run("query", "avg(x)", "--url", answering(200, b"<html>"))
    assert done.returncode == 4
    assert "is no engine" in done.stderr


def test_an_unknown_metric_is_exit_code_1_with_the_nearest(answering: Callable[[int, Any], str]) -> None:
    body = {"detail": "no metric 'finance.api' has been seen", "nearest": ["finance.api_ms"]}
    done = run("query", "avg(finance.api)", "--url", answering(404, body))
    assert done.returncode == 1
    assert "no metric 'finance.api' has been seen; did you mean finance.api_ms?" in done.stderr


@pytest.mark.parametrize(
    ("expression", "points", "code"),
    [
        ("avg(x)", [[1_700_000_000, 2.5]], 0),
        ("avg(x)", [[1_700_000_000, None]], 1),
        ("avg(x)", [], 1),
        ("avg(x) > 2", [[1_700_000_000, 1.0]], 1),
        ("avg(x) > 2", [[1_700_000_000, 0.0]], 0),
        ("avg(x)", [[1_700_000_000, 0.0]], 0),
    ],
)
def test_a_query_exits_by_what_it_found(
    answering: Callable[[int, Any], str], expression: str, points: list[Any], code: int
) -> None:
    body = {"expr": expression, "step": 1, "series": [{"metric": "x", "tags": {"b": "2", "a": "1"}, "points": points}]}
    done = run("query", expression, "--url", answering(200, body))
    assert done.returncode == code
    if points:
        value = points[0][1]
        assert done.stdout == f"x{{a=1,b=2}}  {'null' if value is None else f'{value:g}'}\n"


def test_names_and_tags_are_printed_escaped(answering: Callable[[int, Any], str]) -> None:
    name, tag = "x\x1b[2J\u202e", "a\nb"
    body = {"expr": "x", "step": 1, "series": [{"metric": name, "tags": {"t": tag}, "points": [[0, 1.0]]}]}
    assert run("query", "x", "--url", answering(200, body)).stdout == "x\\x1b[2J\\u202e{t=a\\x0ab}  1\n"


def test_alerts_are_listed_with_those_that_fire_first(answering: Callable[[int, Any], str]) -> None:
    alerts = [
        {"name": "a.slow", "state": "pending", "value": 1.5, "tags": {}, "since": 1_700_000_000.0},
        {"name": "b.down", "state": "firing", "value": None, "tags": {"host": "h1"}, "since": 1_700_000_000.0},
    ]
    watched = {"alert": "a.slow", "source": "r.yaml:1", "state": "watching", "problem": ""}
    lost = {"alert": "z", "source": "r.yaml:2", "state": "never matched", "problem": "no metric 'x' was ever seen"}
    url = answering(200, {"alerts": alerts, "rules": [watched, lost]})
    done = run("alerts", "list", "--url", url)
    assert done.returncode == 0
    assert done.stderr == "z (r.yaml:2): never matched: no metric 'x' was ever seen\n"
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["ALERT", "b.down{host=h1}", "a.slow"]
    assert run("alerts", "list", "--firing", "--url", url).returncode == 1
    assert json.loads(run("alerts", "list", "--json", "--url", url).stdout) == {"alerts": alerts}


def test_a_sample_is_emitted_as_a_datagram(receiver: socket.socket) -> None:
    port = receiver.getsockname()[1]
    done = run(
        "emit", "queue.depth", "-5", "--kind", "counter", "--tag", "agency:irs", "--to", f"udp://127.0.0.1:{port}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert receiver.recv(1000).rstrip() == b"queue.depth:-5.0|c|#agency:irs"


@pytest.mark.parametrize(
    ("ledger", "code"),
    [({"samples": 1, "bad": {"nan": 0}}, 0), ({"samples": 0, "bad": {"kind_conflict": 1}, "rejected": {}}, 1)],
)
def test_over_http_the_engine_says_whether_it_took_the_sample(
    answering: Callable[[int, Any], str], ledger: dict[str, Any], code: int
) -> None:
    done = run("emit", "x", "1", "--to", answering(200, ledger))
    assert done.returncode == code
    assert ("kind_conflict" in done.stderr) == bool(code)


def test_check_config_finds_the_shipped_files_fine() -> None:
    files = [ROOT / "config" / "engine.yaml", *sorted((ROOT / "config" / "rules").glob("*.yaml"))]
    done = run("check-config", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": fine, ") == len(files)


def test_check_config_prints_what_holds_with_secrets_hidden(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("limits: {series: 5}\nhttp_tokens: ['${env:TOKEN}']\n")
    shown = json.loads(run("check-config", file, "--print", "--json", TOKEN="t-1").stdout)
    assert shown["valid"]
    assert shown["config"]["limits"]["series"] == 5
    assert shown["config"]["http_tokens"] == ["***"]
    printed = run("check-config", file, "--print", TOKEN="t-1").stdout
    assert "series: 5" in printed
    assert "t-1" not in printed


def test_check_config_gives_each_problem_its_line_and_exits_3(tmp_path: Path) -> None:
    (tmp_path / "engine.yaml").write_text("limit: {series: 5}\nlisteners: 0\n")
    (tmp_path / "rules.yaml").write_text("rules:\n  - alert: x\n    if: avg(x > 1\n    fro: 3m\n")
    done = run("check-config", tmp_path / "engine.yaml", tmp_path / "rules.yaml", "--json")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert not answer["valid"]
    problems = [problem.split(": ")[0] for file in answer["files"] for problem in file["problems"]]
    lines = [("engine.yaml", 1), ("engine.yaml", 2), ("rules.yaml", 3), ("rules.yaml", 4)]
    assert sorted(problems) == [f"{tmp_path / name}:{line}" for name, line in lines]


def test_a_wrong_configuration_stops_run_with_exit_code_3(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("listeners: 0\n")
    done = run("run", "-c", file)
    assert done.returncode == 3
    assert done.stderr == f"hms-ops-engine: {file}:1: listeners is 0; give a whole number from 1 to 64\n"


def test_doctor_gives_every_finding_a_state_and_what_is_not_fine_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(f"udp: 127.0.0.1:0\nhttp: 127.0.0.1:0\ndata_dir: {tmp_path}\nlimits: {{series: 16000000}}\n")
    done = run("doctor", "-c", file, "--json", "--url", NOBODY)
    findings = json.loads(done.stdout)["findings"]
    checks = {finding["check"] for finding in findings}
    assert {"python", "numba", "native core", "memory", "open files", "data", "engine", "udp port"} <= checks
    assert all(finding["remedy"] for finding in findings if finding["state"] != "fine")
    assert done.returncode == int(any(finding["state"] == "bad" for finding in findings))


def test_check_config_refuses_http_that_run_would_not_open(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("udp: null\nhttp: 0.0.0.0:0\ndata_dir: null\n")
    said = "HTTP on 0.0.0.0 can be reached from other machines and no token is asked for; set http_tokens"
    for arguments in (["check-config", file], ["run", "-c", file]):
        done = run(*arguments)
        assert done.returncode == 3
        assert f"{file}:2: {said}" in done.stdout + done.stderr
    file.write_text("http: 0.0.0.0:0\nhttp_tokens: [t-1]\nhttp_insecure: true\n")
    assert run("check-config", file).returncode == 0


def test_doctor_reads_the_rules_too(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    rule = "{alert: x, if: 'avg(x%s > 1', notify: 'sms:+1-555-0100'}"
    text = f"udp: 127.0.0.1:0\nhttp: 127.0.0.1:0\ndata_dir: null\nrules: [{rule}]\n"
    file.write_text(text % "")
    done = run("doctor", "-c", file, "--url", NOBODY)
    assert done.returncode == 1
    assert f"rules: {file}:4: if: line 1, column" in done.stdout
    file.write_text(text % ")")
    done = run("doctor", "-c", file, "--url", NOBODY)
    assert f"warn  rules: {file}:4: sms:+1-555-0100: no SMS gateway" in done.stdout


def test_doctor_finds_a_port_that_is_taken(tmp_path: Path, receiver: socket.socket) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(f"udp: 127.0.0.1:{receiver.getsockname()[1]}\nhttp: null\n")
    done = run("doctor", "-c", file, "--url", NOBODY)
    assert done.returncode == 1
    assert "Address already in use" in done.stdout
    assert "stop what listens there" in done.stdout


def test_doctor_reads_the_books_of_a_running_engine(answering: Callable[[int, Any], str]) -> None:
    ledger = {"arrived": 12, "received": 10, "kernel_drops": 2, "accepted": 9, "values": 5, "samples": 4}
    url = answering(200, {**ledger, "rejected": {"empty": 1}, "bad": {"nan": 1}, "inputs": {}})
    findings = json.loads(run("doctor", "--json", "--url", url).stdout)["findings"]
    found = {finding["check"]: finding["found"] for finding in findings}
    assert found["loss"] == "the kernel dropped 2 datagrams"
    assert found["rejects"] == "empty 1, nan 1"
    assert "ledger" not in found
    assert f"{url}/v1/rejects" in next(finding["remedy"] for finding in findings if finding["check"] == "rejects")


def test_doctor_gives_the_memory_bound_of_the_store_itself() -> None:
    from hms_ops import Engine

    config = Config(limits=Limits(series=2_000))
    assert memory_bound_bytes(config) == Engine(udp=None, data_dir=None, config=config).store.bytes_reserved


@pytest.mark.parametrize(("series_max", "state"), [(10_000, "fine"), (500, "warn")])
def test_doctor_names_the_tag_that_explodes(series_max: int, state: str) -> None:
    from hms_ops import Engine

    engine = Engine(udp=None, data_dir=None, config={"limits": {"series": series_max}})
    assert list(widest(dict(engine.census.cardinality(1)))) == []
    engine.ingest(b"\n".join([b"up:1|g", *(b"api_ms:1|ms|#user:%d,host:%d" % (n, n % 3) for n in range(50))]))
    (finding,) = widest(dict(engine.census.cardinality(1)))
    assert (finding.state, finding.found) == (state, "api_ms has the most, 50 of 51; its tag user has 50 values")


def captured(tmp_path: Path, receiver: socket.socket, datagrams: list[bytes]) -> Path:
    """A capture of the datagrams, made by the command itself and passed on to the receiver."""
    file = tmp_path / "rush.cap"
    forward = f"127.0.0.1:{receiver.getsockname()[1]}"
    process = start("capture", file, "--udp", "127.0.0.1:0", "--forward", forward, "--json")
    assert process.stdout is not None
    host, port = json.loads(process.stdout.readline())["udp"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, (host, int(port)))
            assert receiver.recv(65_535) == datagram
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["datagrams"] == len(datagrams)
    return file


def test_what_is_captured_is_forwarded_and_replays_byte_for_byte(tmp_path: Path, receiver: socket.socket) -> None:
    datagrams = [b"a:1|c", b"", b"\x81\xa1", b"x" * 65_507, b"b:2|ms"]
    file = captured(tmp_path, receiver, datagrams)
    target = f"127.0.0.1:{receiver.getsockname()[1]}"
    done = run("replay", file, "--to", target, "--speed", "0", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [receiver.recv(65_535) for _ in datagrams] == datagrams
    assert json.loads(done.stdout)["datagrams"] == len(datagrams)


def write_capture(file: Path, *offsets_ns: int) -> Path:
    header = {"format": "hms-ops-capture", "version": 1, "started_ns": 0}
    frames = [[offset_ns, b"a:1|c"] for offset_ns in offsets_ns]
    file.write_bytes(b"".join(map(msgpack.packb, [header, *frames])))
    return file


def test_replay_keeps_the_recorded_pauses_times_the_speed(tmp_path: Path, receiver: socket.socket) -> None:
    file = write_capture(tmp_path / "c", 0, 1_000_000_000, 100_000_000_000)
    target = f"127.0.0.1:{receiver.getsockname()[1]}"
    done = run("replay", file, "--to", target, "--speed", "10", "--longest-pause", "200ms", "--json")
    assert 0.3 <= json.loads(done.stdout)["seconds"] < 3


def test_a_capture_that_is_cut_off_replays_up_to_there(tmp_path: Path, receiver: socket.socket) -> None:
    file = write_capture(tmp_path / "c", 0, 1)
    file.write_bytes(file.read_bytes()[:-3])
    done = run("replay", file, "--to", f"127.0.0.1:{receiver.getsockname()[1]}")
    assert done.returncode == 0
    assert "ends inside a datagram" in done.stderr
    assert receiver.recv(100) == b"a:1|c"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a:1|c\n",
        msgpack.packb({"format": "other"}),
        msgpack.packb({"format": "hms-ops-capture", "version": 2}),
        msgpack.packb({"format": "hms-ops-capture", "version": 1}) + msgpack.packb([1, "text"]),
        msgpack.packb({"format": "hms-ops-capture", "version": 1}) + b"\xc1",
        msgpack.packb({"format": "hms-ops-capture", "version": 1}) + b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
    ],
    ids=["empty", "statsd", "other", "newer", "text", "reserved byte", "endless array", "nested"],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, receiver: socket.socket, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    done = run("replay", tmp_path / "c", "--to", f"127.0.0.1:{receiver.getsockname()[1]}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"hms-ops-engine: {tmp_path / 'c'} ")


def test_capture_does_not_overwrite_and_says_when_its_port_is_taken(tmp_path: Path, receiver: socket.socket) -> None:
    (tmp_path / "c").touch()
    done = run("capture", tmp_path / "c", "--udp", "127.0.0.1:0")
    assert (done.returncode, "--force to replace it" in done.stderr) == (1, True)
    done = run("capture", tmp_path / "d", "--udp", f"127.0.0.1:{receiver.getsockname()[1]}")
    assert (done.returncode, "cannot listen on" in done.stderr) == (3, True)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("finance.api_ms", "finance.api_ms"),
        ("größe Σ", "größe Σ"),
        ("a\x1b]0;x\x07", "a\\x1b]0;x\\x07"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_are_escaped_and_letters_are_not(text: str, shown: str) -> None:
    assert printable(text) == shown


def distrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("address", "reason", "words"),
    [
        ("https://a", distrusted(18), "set HMS_OPS_CA"),
        ("https://a", distrusted(10), "have it renewed"),
        ("https://a", distrusted(62), "ask by a name that it is for"),
        ("https://a", NoAuthorities("HMS_OPS_CA is 'x'"), "HMS_OPS_CA is 'x'"),
        ("https://a", ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "ask it by http://"),
        ("http://a", ConnectionResetError(104, "reset"), "ask it by https://"),
        ("http://a", ConnectionRefusedError(111, "refused"), "start one with hms-ops-engine run"),
    ],
)
def test_what_cannot_be_reached_says_what_to_do(address: str, reason: Exception, words: str) -> None:
    assert words in unreached(address, reason)
    assert ("start one" in words) == ("start one" in unreached(address, reason))
