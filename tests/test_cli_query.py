"""What `query` prints: CSV and sparklines, which options go together, and what goes to a terminal."""

import math
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from json import dumps
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.cli.sparkline import BLOCKS, PLAIN, ramp_of, sparklines

PROGRAM = [sys.executable, "-c", "from hms_ops.cli.main import main; main()"]


def answer_of(*points: list[list[float | None]], step: int = 60) -> dict[str, Any]:
    series = [{"metric": "x", "tags": {"n": str(n)}, "points": some} for n, some in enumerate(points)]
    return {"expr": "x", "step": step, "series": series}


def line_of(values: list[float | None], width: int = 80, **given: Any) -> str:
    """The line of one series that has these values from second 0 on, by the minute."""
    points = [[60.0 * n, value] for n, value in enumerate(values)]
    [(_, line, _)] = sparklines(answer_of(points), 0, 60 * len(values), width, **given)
    return line


# ---- lines


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], BLOCKS),
        ([7, None, 0], "█ ▁"),
        ([None, 5, None], " ▄ "),
        ([5, 5, 5], "▄▄▄"),
        ([-1, 1], "▁█"),
        ([1e-320, 2e-320], "▁█"),
        ([-1.7e308, 1.7e308], "▁█"),
        ([1e16, 1e16 + 2], "▁█"),
        ([None, None], "  "),
    ],
)
def test_a_column_is_as_high_as_its_value(values: list[float | None], line: str) -> None:
    assert line_of(values) == line


def test_columns_are_means_of_equal_spans_where_there_are_more_steps_than_room() -> None:
    assert line_of([0, 0, 10, 0, 0, 0, 10, 10] * 3, width=len("x{n=0}0 to 10") + 4 + 12) == "▁▅▁█" * 3


def test_lines_of_several_series_stand_for_the_same_range() -> None:
    rows = sparklines(answer_of([[0, 1.0]], [[540, 2.0]], []), 3, 600, 80)
    assert rows == [
        ("x{n=0}", "▄         ", "1 to 1"),
        ("x{n=1}", "         ▄", "2 to 2"),
        ("x{n=2}", "          ", ""),
    ]


@given(
    values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=200),
    width=st.integers(1, 200),
)
def test_any_values_make_a_line_that_fits(values: list[float | None], width: int) -> None:
    line = line_of(values, width)
    assert set(line) <= {*BLOCKS, " "}
    assert len(line) <= max(10, width)
    assert bool(line.strip()) == any(value is not None for value in values)
    numbers = [value for value in values if value is not None]
    if len(values) <= 10 and numbers and math.isfinite(max(numbers) - min(numbers)):
        assert [char == " " for char in line] == [value is None for value in values]


@pytest.mark.parametrize(
    ("encoding", "ramp"), [("utf-8", BLOCKS), ("ascii", PLAIN), ("latin-1", PLAIN), ("nonsense", PLAIN), (None, PLAIN)]
)
def test_an_output_without_blocks_gets_plain_characters(encoding: str | None, ramp: str) -> None:
    assert ramp_of(encoding) == ramp
    assert line_of([0, 7], ramp=ramp) == ramp[0] + ramp[-1]


# ---- the command


@pytest.fixture
def answering() -> Iterator[Callable[[Any], tuple[str, list[dict[str, list[str]]]]]]:
    """`answering(body)`: the address of a server that says so, and the parameters of the queries it got."""
    servers = []

    def serve(body: Any) -> tuple[str, list[dict[str, list[str]]]]:
        asked: list[dict[str, list[str]]] = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(parse_qs(urlsplit(self.path).query))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(dumps(body).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run([*PROGRAM, "query", *arguments], capture_output=True, text=True, timeout=60, env=env)


def on_terminal(*arguments: str) -> str:
    """What the command writes when its output is a terminal of 60 columns."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": "60", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen([*PROGRAM, "query", *arguments], stdout=follower, stdin=follower, env=env) as process:
        os.close(follower)
        written = b""
        try:
            while chunk := os.read(leader, 65_536):
                written += chunk
        except OSError:  # Linux: the other end is closed
            pass
        process.wait(60)
    os.close(leader)
    return written.decode().replace("\r\n", "\n")


def test_csv_is_what_the_module_of_csv_says(answering: Any) -> None:
    url, asked = answering(answer_of([[0, 1.5], [60, None]]))
    done = run("x", "--since", "2m", "--step", "1m", "--csv", "--url", url)
    assert done.stdout == "time,metric,n,value\n1970-01-01T00:00:00Z,x,0,1.5\n1970-01-01T00:01:00Z,x,0,\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert {*asked[0]} == {"expr", "start", "end", "step"}


def test_csv_of_nothing_is_a_header_and_exit_code_1(answering: Any) -> None:
    done = run("x", "--csv", "--url", answering(answer_of())[0])
    assert (done.returncode, done.stdout, done.stderr) == (1, "time,metric,value\n", "nothing found\n")


def test_the_source_is_passed_on_as_it_was_written(answering: Any) -> None:
    url, asked = answering(answer_of([[0, 1.0]]))
    assert run("x", "--url", url).returncode == 0
    assert run("x", "--source", "remote", "--url", url).returncode == 0
    assert [query.get("source") for query in asked] == [None, ["remote"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--sparkline"], "--sparkline needs --since"),
        (["x", "--step", "1m"], "--step needs --since"),
        (["x", "--json", "--csv"], "exclude each other"),
        (["x", "--source", "moon"], "'moon' is not one of"),
        (["quantile(x)"], "takes a number beside the metric"),
        (["quantile(x, 7)", "--since"], "requires an argument"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_sparklines_are_for_terminals_unless_they_are_asked_for(answering: Any) -> None:
    url, _ = answering(answer_of([[0, 1.0], [60, 2.0]]))
    options = ("x", "--since", "2m", "--url", url)
    assert not set(BLOCKS) & set(run(*options).stdout)
    assert set(BLOCKS) & set(run(*options, "--sparkline").stdout)
    assert set(BLOCKS) & set(on_terminal(*options))
    assert not set(BLOCKS) & set(on_terminal(*options, "--no-sparkline"))
    assert not set(BLOCKS) & set(on_terminal("x", "--url", url))
    plain = run(*options, "--sparkline", PYTHONIOENCODING="ascii").stdout.splitlines()[-1]
    assert set(PLAIN) & set(plain.split()[1])


def test_a_line_fits_the_terminal(answering: Any) -> None:
    url, _ = answering(answer_of([[60.0 * n, float(n)] for n in range(500)]))
    assert len(on_terminal("x", "--since", "9h", "--url", url).splitlines()[-1]) <= 60


def test_strangers_texts_reach_no_terminal_as_controls(answering: Any) -> None:
    body = {"expr": "x", "step": 60, "series": [{"metric": "x\u202e", "tags": {"a": "\x1b[2J"}, "points": [[0, 1.0]]}]}
    url, _ = answering(body)
    for options in (["--csv"], ["--since", "1m"], ["--since", "1m", "--csv"]):
        shown = on_terminal("x", *options, "--url", url)
        assert "\\x1b[2J" in shown
        assert not {"\x1b", "\u202e"} & set(shown)
    assert "\u202e" in run("x", "--csv", "--url", url).stdout
