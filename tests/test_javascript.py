"""
The JavaScript packages: they build and are fit to be published, their tests pass against a real engine, and the React
pieces' on React 18, 19 and preact.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hms_ops import Engine

JS = Path(__file__).parent.parent / "js"
# Parts of paths: "act/test/" is one of react/test/ too.
WITH_AN_ENGINE = ("client/test/", "core/test/", "act/test/act")
WITHOUT_ONE = ("react/test/", "dashboard/test/")
TIMEOUT_SECONDS = 300


def what_is_missing() -> str:
    if shutil.which("node") is None:
        return "node is not installed (make servers, or apt-get install nodejs)"
    if not all((JS / part).is_dir() for part in ("node_modules/vitest", "react-18/node_modules/react")):
        return "what js/package-lock.json names is not installed (npm ci --prefix js)"
    return ""


pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "nothing is missing")


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command,
        cwd=JS,
        env={**os.environ, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"


@pytest.fixture(scope="module")
def packages() -> None:
    """dist/ of each, as it would be published: publint, types, sizes."""
    run("node", "scripts/packages.mjs")


@pytest.mark.timeout(2 * TIMEOUT_SECONDS)
@pytest.mark.usefixtures("packages")
def test_the_packages_run_against_a_real_engine():
    with Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=None) as engine:
        assert engine.udp_address is not None
        assert engine.http_address is not None
        udp, http = (f"127.0.0.1:{address[1]}" for address in (engine.udp_address, engine.http_address))
        where = {"HMS_OPS_TEST_UDP": f"udp://{udp}", "HMS_OPS_TEST_HTTP": f"http://{http}"}
        run("node", "node_modules/vitest/vitest.mjs", "run", *WITH_AN_ENGINE, **where)


@pytest.mark.timeout(2 * TIMEOUT_SECONDS)
def test_the_pieces_run_on_react_18_and_19_and_on_preact():
    run("node", "node_modules/vitest/vitest.mjs", "run", *WITHOUT_ONE)
