"""Runs a function of this package in a process of its own, so that its memory and its threads are gone afterwards.

    python -m benchmarks.apart benchmarks.tick.costs '{"series": 100000}'

The function takes keyword arguments and returns what JSON can hold; it stands on the last line of standard output.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def apart(function: Callable[..., Any], **arguments: Any) -> Any:
    """What `function(**arguments)` returns, called in a fresh interpreter. CalledProcessError when it fails there."""
    name = f"{function.__module__}.{function.__qualname__}"
    command = [sys.executable, "-X", "faulthandler", "-m", "benchmarks.apart", name, json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(name: str, arguments: str) -> None:
    module, _, function = name.rpartition(".")
    print(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(arguments))))


if __name__ == "__main__":
    main(*sys.argv[1:])
