"""What is sent by processes of their own: MCP tools and apprise against real servers, and children that misbehave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.answering import answering, status
from tests.test_imports import importers_of

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers import apprise, child, mcp, parse_target, route, sms
from hms_ops.alert.receivers.apprise import AppriseService
from hms_ops.alert.receivers.child import Pool
from hms_ops.alert.receivers.mcp import McpServer
from hms_ops.alert.receivers.message import Template
from hms_ops.children import serving
from hms_ops.secret import Secret

ALERT = Alert("db.slow", "firing", 3.5, {"host": "a"}, since=1_700_000_000.0, episode=7, rule_text="avg(db.s) > 1")
FIRING = Notification((ALERT,), "mcp:repair#heal", "k" * 32)
RESOLVED = replace(FIRING, alerts=(replace(ALERT, state="resolved"),))
AGENT = str(Path(__file__).parent / "agent.py")
WaitUntil = Callable[..., None]
PATIENCE = (4.0, 15.0, 60.0)  # seconds; the next where a child had not come up within the one before


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pool, Pool]]:
    """Pools of this test alone, whose children end with it."""
    made = Pool("hms_ops.children.by_apprise"), Pool("hms_ops.children.by_mcp")
    monkeypatch.setattr(apprise, "APPRISE", made[0])
    monkeypatch.setattr(mcp, "MCP", made[1])
    yield made
    for pool in made:
        pool.close()


# ---- mcp


def by_command(log: Path, **settings: Any) -> Profile:
    command = tuple(Secret(word, word) for word in (sys.executable, AGENT, "stdio"))
    return Profile(options={"mcp": McpServer(command, (("AGENT_LOG", Secret(str(log), "***")),), **settings)})


def calls(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Profile]:
    """The agent as a server over HTTP that wants a token; its log is `calls` of tmp_path."""
    environment = {**os.environ, "AGENT_LOG": str(tmp_path / "calls"), "AGENT_TOKEN": "t-1"}
    command = [sys.executable, AGENT, "http"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Profile(f"http://127.0.0.1:{port}/mcp", {"Authorization": "Bearer t-1"}, {"mcp": McpServer()})
        process.terminate()


def test_a_tool_of_a_started_server_gets_the_alert(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    assert mcp.send("repair#heal", FIRING, by_command(log)) == Delivered("healed db.slow")
    (call,) = calls(log)
    assert call["alert"]["alerts"][0]["labels"] == {"host": "a", "alertname": "db.slow", "severity": "page"}
    assert call["alert"]["idempotency_key"] == "k" * 32
    assert call["alert"]["summary"].startswith("FIRING db.slow")


def test_a_tool_of_a_server_elsewhere_gets_the_alert(agent: Profile, tmp_path: Path) -> None:
    assert mcp.send("repair#heal", FIRING, agent) == Delivered("healed db.slow")
    assert [call["tool"] for call in calls(tmp_path / "calls")] == ["heal"]


def test_a_server_that_does_not_know_us_is_dead(agent: Profile, tmp_path: Path) -> None:
    outcome = mcp.send("repair#heal", FIRING, replace(agent, headers={"Authorization": "Bearer other"}))
    assert isinstance(outcome, Dead)
    assert "401" in outcome.reason
    assert calls(tmp_path / "calls") == []


def test_a_tool_that_says_it_failed_is_not_called_again(tmp_path: Path) -> None:
    outcome = mcp.send("repair#refuse", FIRING, by_command(tmp_path / "calls"))
    assert isinstance(outcome, Dead)
    assert "the tool failed: " in outcome.reason
    assert len(calls(tmp_path / "calls")) == 1


def test_a_tool_that_is_not_there_is_dead_and_says_so(tmp_path: Path) -> None:
    outcome = mcp.send("repair#haul", FIRING, by_command(tmp_path / "calls"))
    assert isinstance(outcome, Dead)
    assert "haul" in outcome.reason


def test_a_tool_that_takes_another_argument_is_dead(tmp_path: Path) -> None:
    outcome = mcp.send("repair#heal", FIRING, by_command(tmp_path / "calls", argument="incident"))
    assert isinstance(outcome, Dead)
    assert calls(tmp_path / "calls") == []


def test_a_tool_that_ponders_costs_its_time_and_its_server_is_ended(tmp_path: Path, wait_until: WaitUntil) -> None:
    log = tmp_path / "calls"
    for seconds in PATIENCE:  # on a busy machine two interpreters take their time to come up
        began = time.monotonic()
        outcome = mcp.send("repair#ponder", FIRING, by_command(log, timeout_seconds=seconds))
        assert time.monotonic() - began < seconds + serving.GRACE_SECONDS + 10  # it ponders for a minute
        assert isinstance(outcome, Retry)
        if calls(log):
            break
    (call,) = calls(log)
    wait_until(lambda: not is_running(call["pid"]))


def test_a_server_that_is_not_there_comes_again(tmp_path: Path) -> None:
    nowhere = McpServer((Secret("/nowhere/agent", "***"),))
    assert isinstance(mcp.send("repair#heal", FIRING, Profile(options={"mcp": nowhere})), Retry)
    assert isinstance(mcp.send("repair#heal", FIRING, Profile("http://127.0.0.1:1/mcp")), Retry)


@pytest.mark.parametrize("answer", ["reset", status(500), status(200, "<html>"), b"SSH-2.0\r\n"])
def test_a_server_that_is_none_comes_again(answer: bytes | str) -> None:
    with answering(answer) as server:
        outcome = mcp.send("repair#heal", FIRING, Profile(server.url, options={"mcp": McpServer(timeout_seconds=3.0)}))
    assert isinstance(outcome, Retry), outcome


# ---- apprise


def by_apprise(url: str) -> Profile:
    return Profile(options={"apprise": AppriseService(Secret(url, "***"))})


def json_url(url: str) -> str:
    return url.replace("http://", "json://user-7:pw-8@") + "/path-9"


def test_apprise_sends_the_message() -> None:
    with answering() as server:
        assert apprise.send("desk", FIRING, by_apprise(json_url(server.url))) == Delivered("apprise sent it")
        assert apprise.send("desk", RESOLVED, by_apprise(json_url(server.url))) == Delivered("apprise sent it")
    first, second = (request.document for request in server.requests)
    assert first["title"].startswith("FIRING db.slow (host=a)")
    assert "condition: avg(db.s) > 1" in first["message"]
    assert (first["type"], second["type"]) == ("failure", "success")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(status(500), Retry), (status(429), Retry), (status(404), Dead), (status(401), Dead), ("reset", Retry)],
)
def test_what_apprise_warns_of_decides(answer: bytes | str, kind: type[Outcome]) -> None:
    with answering(answer) as server:
        outcome = apprise.send("desk", FIRING, by_apprise(json_url(server.url)))
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Delivered)
    assert [secret for secret in ("user-7", "pw-8", "path-9") if secret in outcome.reason] == []


def test_a_url_apprise_does_not_know_is_dead() -> None:
    outcome = apprise.send("desk", FIRING, by_apprise("nonsense://secret-1"))
    assert isinstance(outcome, Dead)
    assert "secret-1" not in outcome.reason


def test_a_service_that_hangs_costs_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise, "POST_SECONDS_MAX", 1.0)
    with answering("hang") as server:
        began = time.monotonic()
        outcome = apprise.send("desk", FIRING, by_apprise(json_url(server.url)))
        assert time.monotonic() - began < 1.0 + serving.GRACE_SECONDS + 10
    assert isinstance(outcome, Retry)


def test_a_text_message_goes_by_a_service_of_apprise() -> None:
    with answering() as server:
        profile = by_apprise(json_url(server.url) + "/{to}")
        assert isinstance(sms.send("+1-555-ONCALL", FIRING, profile), Delivered)
    (request,) = server.requests
    assert request.path == "/path-9/+1555662255"
    assert request.document["message"] == "FIRING db.slow (host=a) value 3.5 [avg(db.s) > 1]"
    assert sms.text_of(FIRING, replace(profile, options={"template": Template(text="{host}!")})) == "a!"


def test_a_child_is_kept_for_the_next_message(pools: tuple[Pool, Pool]) -> None:
    with answering() as server:
        for _ in range(3):
            apprise.send("desk", FIRING, by_apprise(json_url(server.url)))
    assert pools[0].counters() == {"asked": 3, "started": 1, "killed": 0, "busy": 0, "idle": 1}


def test_the_engines_process_never_imports_what_its_children_do() -> None:
    code = (
        "from hms_ops.alert.receivers.child import APPRISE, MCP\n"
        "import sys\n"
        "print(APPRISE.ask({'url': 'x', 'title': '', 'body': '', 'kind': ''}, 10))\n"
        "print(MCP.ask({'command': ['/nowhere'], 'env': {}, 'tool': 'x', 'arguments': {}}, 10))\n"
        "print({'apprise', 'mcp', 'anyio', 'requests'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2] == "set()"
    assert done.stdout.startswith("Dead(")
    assert done.stderr == ""


def test_nobody_but_the_children_imports_what_they_do() -> None:
    assert importers_of("apprise") == {"hms_ops.children.by_apprise"}
    assert importers_of("mcp") == {"hms_ops.children.by_mcp"}
    assert importers_of("hms_ops.children.by_apprise") | importers_of("hms_ops.children.by_mcp") == set()


# ---- children that misbehave


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Pool]]:
    """`program(code)` is a pool whose children run this code; `serve` and `channel` are at hand in it."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made: list[Pool] = []

    def make(code: str) -> Pool:
        name = f"misbehaving_{len(made)}"
        head = "import os, socket, sys, time\nfrom hms_ops.children.serving import *\n"
        (tmp_path / f"{name}.py").write_text(head + code)
        made.append(Pool(name))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


ECHO = "serve(lambda request: outcome('delivered', request['say']))"


def test_a_childs_answer_is_an_outcome(program: Callable[[str], Pool]) -> None:
    pool = program("serve(lambda request: outcome(*request['as']))")
    assert pool.ask({"as": ["delivered", "a\nb\x1b"]}, 30) == Delivered("a b?")
    assert pool.ask({"as": ["retry", "x", 7]}, 30) == Retry("x", 7.0)
    assert pool.ask({"as": ["dead", "y" * 1000]}, 30) == Dead("y" * serving.DETAIL_CHARS_MAX)
    assert pool.ask({}, 30) == Retry("KeyError: 'as'")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.exit(1)", "its process ended"),
        ("raise ValueError", "its process ended"),
        ("serve(lambda request: os._exit(0))", "its process ended"),
        ("take_channel().sendall(b'nonsense\\n'); time.sleep(30)", "its answer is no JSON"),
        ("take_channel().sendall(b'[1]\\n'); time.sleep(30)", "its answer is no JSON object"),
        ("take_channel().sendall(b'{}\\n'); time.sleep(30)", "its answer {} is no outcome"),
        ("take_channel().sendall(b'x' * 100_000); time.sleep(30)", "its answer is too long"),
    ],
)
def test_a_child_that_breaks_is_killed_and_the_next_one_starts_afresh(
    code: str, why: str, program: Callable[[str], Pool]
) -> None:
    pool = program(code)
    for number in (1, 2):
        outcome = pool.ask({}, 30)
        assert isinstance(outcome, Retry)
        assert why in outcome.reason
        assert pool.counters() == {"asked": number, "started": number, "killed": number, "busy": 0, "idle": 0}


def test_a_child_that_hangs_is_killed_with_all_it_started(
    program: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.2)
    place = tmp_path / "pids"
    pool = program(
        "import subprocess\n"
        "def hang(request):\n"
        "    other = subprocess.Popen(['sleep', '60'])\n"
        f"    open({str(place)!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        "    time.sleep(60)\n"
        "serve(hang)"
    )
    for seconds in (2, *PATIENCE):
        began = time.monotonic()
        outcome = pool.ask({}, seconds)
        assert time.monotonic() - began < seconds + 8
        assert outcome == Retry("the process of misbehaving_0: timed out")
        if place.exists() and place.read_text():  # it had come up
            break
    for pid in map(int, place.read_text().split()):
        wait_until(lambda pid=pid: not is_running(pid))


def is_running(pid: int) -> bool:
    """False for a zombie too: an orphan may wait for whoever collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_reads_nothing_costs_no_more_than_the_deadline(
    program: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.2)
    pool = program("time.sleep(60)")
    assert pool.ask({"x": "y" * 900_000}, 0.3) == Retry("the process of misbehaving_0: timed out")


def test_a_child_that_was_killed_while_it_waited_costs_nothing(
    program: Callable[[str], Pool], wait_until: WaitUntil
) -> None:
    pool = program("serve(lambda request: outcome('delivered', str(os.getpid())))")
    first = pool.ask({}, 30)
    assert isinstance(first, Delivered)
    os.kill(int(first.detail), signal.SIGKILL)
    wait_until(lambda: not is_running(int(first.detail)))
    second = pool.ask({}, 30)
    assert isinstance(second, Delivered)
    assert first != second
    assert pool.counters()["killed"] == 0


def test_a_child_that_left_for_want_of_work_is_replaced_at_once(program: Callable[[str], Pool]) -> None:
    pool = program(
        "import hms_ops.children.serving as serving\n"
        "def one(request):\n"
        "    serving.IDLE_SECONDS_MAX = 0.0\n"
        "    return outcome('delivered', 'x')\n"
        "serve(one)"
    )
    for _ in range(3):
        assert pool.ask({}, 30) == Delivered("x")
    counted = pool.counters()
    assert (counted["asked"], counted["started"], counted["killed"]) == (3, 3, 0)


def test_children_that_are_used_up_or_too_many_end(
    program: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "USES_MAX", 2)
    pool = program(ECHO)
    for _ in range(5):
        assert pool.ask({"say": "x"}, 30) == Delivered("x")
    assert pool.counters()["started"] == 3


def test_who_finds_all_busy_comes_again(program: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "CHILDREN_MAX", 0)
    pool = program(ECHO)
    assert pool.ask({"say": "x"}, 0.05) == Retry("0 processes of misbehaving_0 are busy")
    assert pool.counters()["busy"] == 1


def test_a_request_over_the_bound_is_dead(program: Callable[[str], Pool]) -> None:
    outcome = program(ECHO).ask({"say": "x" * serving.REQUEST_BYTES_MAX}, 30)
    assert isinstance(outcome, Dead)


def test_a_child_sees_no_secret_of_our_environment(
    program: Callable[[str], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "secret-1")
    pool = program("serve(lambda request: outcome('delivered', ' '.join(sorted(os.environ))))")
    told = pool.ask({}, 30)
    assert isinstance(told, Delivered)
    assert "PATH" in told.detail
    assert "SMTP_PASSWORD" not in told.detail


def test_what_a_library_prints_is_no_answer(program: Callable[[str], Pool]) -> None:
    pool = program("def loud(request):\n    print('{}', flush=True)\n    return outcome('delivered', 'x')\nserve(loud)")
    assert pool.ask({}, 30) == Delivered("x")


def test_children_end_with_the_process_that_started_them(tmp_path: Path, wait_until: WaitUntil) -> None:
    code = (
        "from hms_ops.alert.receivers.child import APPRISE\n"
        "import os, signal\n"
        "APPRISE.ask({'url': 'x', 'title': '', 'body': '', 'kind': ''}, 10)\n"
        "print(APPRISE._idle[0].process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not is_running(int(done.stdout)))


# ---- routes


def test_without_its_package_a_receiver_goes_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    profiles = {"desk": by_apprise("json://h"), "sms": by_apprise("json://h/{to}"), "repair": Profile("http://h/")}
    for text, extra in (("apprise:desk", "notify"), ("sms:+15550100", "notify"), ("mcp:repair#heal", "mcp")):
        assert f"(pip install 'hms-ops[{extra}]'); its notifications" in route(parse_target(text), profiles).warning


def test_with_its_package_a_receiver_is_served() -> None:
    profiles = {"desk": by_apprise("json://h"), "sms": by_apprise("json://h/{to}"), "repair": Profile("http://h/")}
    for text in ("apprise:desk", "sms:+15550100", "mcp:repair#heal"):
        assert route(parse_target(text), profiles).warning == ""


def test_a_fork_starts_children_of_its_own_and_leaves_ours_alone(tmp_path: Path) -> None:
    code = (
        "from hms_ops.alert.receivers.child import APPRISE\n"
        "import os\n"
        "ask = lambda: APPRISE.ask({'url': 'x', 'title': '', 'body': '', 'kind': ''}, 30)\n"
        "ask()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    ask()\n"
        "    print('child', APPRISE.counters(), flush=True)\n"
        "    APPRISE.close()\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "ask()\n"
        "print('parent', APPRISE.counters())\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    counted = {"asked": 1, "started": 1, "killed": 0, "busy": 0, "idle": 1}
    assert done.stdout.splitlines() == [f"child {counted}", f"parent {counted | {'asked': 2}}"]
    assert done.stderr == ""
