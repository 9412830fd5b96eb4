"""The limits in C (`limits/`), compiled by `cc` into a temporary directory, once a process.

They are built for this very machine and check nothing: what they take is what a careful program can at best hope for.
"""

import atexit
import json
import subprocess
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hms_ops.load import Plan, Sender

SOURCES = Path(__file__).parent / "limits"
FLAGS = ("-O3", "-march=native", "-D_GNU_SOURCE", "-Wall", "-Wextra")


@cache
def _directory() -> Path:
    directory = tempfile.TemporaryDirectory(prefix="hms-ops-limits-")
    atexit.register(directory.cleanup)
    return Path(directory.name)


@cache
def program(name: str) -> str:
    """The path of limits/`name`.c, compiled."""
    path = _directory() / name
    subprocess.run(["cc", *FLAGS, "-o", path, SOURCES / f"{name}.c"], check=True)
    return str(path)


def decode_limit(series: int, rounds: int) -> list[float]:
    """ns a StatsD line from memory, one value a round."""
    done = subprocess.run(
        [program("decode_limit"), str(series), str(rounds)], check=True, stdout=subprocess.PIPE, text=True
    )
    said: dict[str, Any] = json.loads(done.stdout)
    # Drawn at random, 2 million lines miss a few of a million series.
    assert said["series"] >= 0.8 * series, said
    return [float(ns) for ns in said["ns"]]


class Receiver:
    """A limit that receives: `run(plan)` sends it one load and returns what it says of it."""

    def __init__(self, name: str, *arguments: int | None) -> None:
        given = [str(-1 if argument is None else argument) for argument in arguments]
        self._process = subprocess.Popen([program(name), *given], stdout=subprocess.PIPE, text=True)
        self._port = self._line()["port"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, plan: Plan) -> dict[str, Any]:
        """The plan, sent to this receiver; its counters: datagrams, drops, cpu_ns, and lines if it reads them."""
        with Sender(replace(plan, host="127.0.0.1", port=self._port)) as sender:
            sender.begin()
            sent = sender.sent()
        said = self._line()
        assert said["datagrams"] + said["drops"] == sent.datagrams, (said, sent)
        return said

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        assert said, "the limit ended early"
        return said
