"""Local commands: what they are given, what is kept of them, and that none outlives its time."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hms_ops.alert.actions.command import OUTPUT_BYTES_MAX, Commands, Ended
from hms_ops.alert.actions.run import environment_of, input_of, run_of
from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import ActionRule, action_from_keys

PATH = os.environ["PATH"]


def run(*arguments: str, given: bytes = b"", seconds: float = 20.0) -> Ended:
    return Commands().run(arguments, given, {"PATH": PATH}, seconds)


def python(program: str, given: bytes = b"", seconds: float = 20.0) -> Ended:
    return run(sys.executable, "-c", program, given=given, seconds=seconds)


def shell(program: str, seconds: float = 20.0) -> Ended:
    return run("sh", "-c", program, seconds=seconds)


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_command_gets_its_arguments_as_they_are() -> None:
    program = "import sys; print(sys.argv[1:])"
    assert run(sys.executable, "-c", program, "$HOME", "; rm -rf /", "a b").output == "['$HOME', '; rm -rf /', 'a b']\n"


def test_it_gets_the_request_on_its_standard_input_and_nothing_of_ours_in_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLACK_TOKEN", "secret")
    rule = ActionRule("db.slow", input={"replicas": 2}, command=("heal", "db"))
    asked = run_of(rule, Alert("db.slow", "firing", 480.5, {"agency": "irs"}, 1_700_000_000.0, "page", 7), "here")
    program = "import json, os, sys; print(json.dumps([json.load(sys.stdin), dict(os.environ), os.getcwd()]))"
    ended = Commands().run([sys.executable, "-I", "-c", program], input_of(asked), environment_of(asked, PATH), 20)
    request, environment, directory = json.loads(ended.output)
    assert (request["input"], request["alert"]["tags"]) == ({"replicas": 2}, {"agency": "irs"})
    assert request["idempotency_key"] == asked.key
    environment.pop("LC_CTYPE", None)  # of Python's own making
    assert environment == {
        "PATH": PATH,
        "HMS_OPS_ACTION": "db.slow -> heal db",
        "HMS_OPS_ALERT": "db.slow",
        "HMS_OPS_EPISODE": "7",
        "HMS_OPS_SEVERITY": "page",
        "HMS_OPS_VALUE": "480.5",
        "HMS_OPS_KEY": asked.key,
    }
    assert directory == "/"


@pytest.mark.parametrize(
    ("program", "success", "told"),
    [
        ("echo done", True, "exit code 0: done"),
        ("true", True, "exit code 0"),
        ("echo no such database >&2; echo more; exit 3", False, "exit code 3: no such database"),
        ("kill -TERM $$", False, "ended by signal 15"),
    ],
)
def test_its_exit_code_decides_and_its_first_line_is_told(program: str, success: bool, told: str) -> None:
    ended = shell(program)
    assert (ended.is_success, str(ended)) == (success, told)


@pytest.mark.parametrize(
    "arguments", [("/no/such/program",), ("/etc/passwd",), ("/",), ("no-such-program-anywhere",), ("echo", "a\0b")]
)
def test_what_cannot_be_started_did_not_run(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.status, ended.is_success) == (None, False)
    assert str(ended).startswith(f"not run: cannot start {arguments[0]}: ")


def test_the_beginning_of_a_long_output_is_kept_and_the_rest_counted() -> None:
    ended = python("print('x' * 1_000_000)")
    assert ended.is_success
    assert (len(ended.output), ended.output_bytes) == (OUTPUT_BYTES_MAX, 1_000_001)
    assert ended.shown.endswith("… and 995,905 bytes more")


def test_output_that_is_no_text_is_shown_all_the_same() -> None:
    assert python("import sys; sys.stdout.buffer.write(bytes([255, 104, 105]))").output == "�hi"


def test_input_that_is_not_read_holds_nobody_up() -> None:
    assert run("true", given=b"x" * 10_000_000).is_success


def test_long_input_and_long_output_pass_at_the_same_time() -> None:
    ended = run("cat", given=b"y" * 3_000_000)
    assert (ended.is_success, ended.output_bytes) == (True, 3_000_000)


def test_a_command_that_hangs_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = shell(f"echo begun; sleep 600 & echo $! > {tmp_path}/child; wait", seconds=1)
    assert time.monotonic() - began < 25
    assert (ended.is_success, str(ended), ended.status) == (False, "killed after 1 s: begun", -9)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not is_alive(child)


def test_a_command_that_closes_its_pipes_and_hangs_is_killed_too() -> None:
    assert shell("exec <&- >&- 2>&-; sleep 600", seconds=0.5).killed == "killed after 0.5 s"


def test_what_a_command_leaves_behind_when_it_ends_goes_on_and_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert shell(f"sleep 30 & echo $! > {tmp_path}/child; echo started").output == "started\n"
    assert time.monotonic() - began < 25
    child = int((tmp_path / "child").read_text())
    assert is_alive(child)
    os.kill(child, 9)


def test_what_it_left_behind_may_print_for_ever(tmp_path: Path) -> None:
    began = time.monotonic()
    assert shell(f"yes & echo $! > {tmp_path}/child").is_success
    assert time.monotonic() - began < 25
    os.kill(int((tmp_path / "child").read_text()), 9)


def test_a_stop_ends_all_that_run(wait_until: Callable[..., None]) -> None:
    commands, ended = Commands(), list[Ended]()
    threads = [
        threading.Thread(target=lambda: ended.append(commands.run(["sleep", "600"], b"", {"PATH": PATH}, 900)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: commands.count == 3)
    assert commands.stop("the engine stopped") == 3
    for thread in threads:
        thread.join(10)
    assert [str(one) for one in ended] == ["killed: the engine stopped"] * 3
    assert commands.count == 0
    late = commands.run(["true"], b"", {"PATH": PATH}, 20)
    assert (late.status, late.error) == (None, "cannot start true: the engine stopped")


# ---- as rules have them


def action(text_or_keys: dict[str, object]) -> tuple[ActionRule | None, str]:
    rule, problems = action_from_keys({"on": "x", "act": text_or_keys}, "here")
    return rule, "; ".join(problem.message for problem in problems)


def test_a_rule_with_a_command() -> None:
    rule, _ = action({"command": ["/bin/heal", "db", 2], "timeout": "5s", "input": {"a": 1}})
    assert rule is not None
    assert (rule.command, rule.timeout_seconds, rule.input) == (("/bin/heal", "db", "2"), 5.0, {"a": 1})
    assert rule.name == "x -> /bin/heal db 2"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "the key 'template' is missing"),
        ({"command": []}, "expected a program and its arguments"),
        ({"command": "rm -rf /tmp/x"}, "expected a program and its arguments"),
        ({"command": [""]}, "expected a program and its arguments"),
        ({"command": ["a", ["b"]]}, "expected a program and its arguments"),
        ({"command": ["a\0"]}, "expected a program and its arguments"),
        ({"command": ["a"], "template": "b"}, "'command' does not go with 'template'"),
        ({"template": "b", "timeout": "5s"}, "'timeout' does not go with 'template'"),
        ({"command": ["a"], "timeout": "2h"}, "2h is too large"),
        ({"command": ["a"], "timeout": "100ms"}, "100ms is shorter than 1s"),
    ],
)
def test_a_rule_with_a_wrong_command_is_refused(keys: dict[str, object], told: str) -> None:
    rule, problems = action(keys)
    assert rule is None
    assert told in problems
