"""A real Alertmanager on a free port of loopback, with no receiver but one that does nothing."""

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

READY_SECONDS = 30.0
UNPACKED = Path(__file__).parent.parent / ".make" / "servers" / "usr" / "bin"
NAMES = ("prometheus-alertmanager", "alertmanager")
TEMPLATES = Path("/usr/share/prometheus/alertmanager/default.tmpl")
SETTINGS = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def alertmanager(directory: Path, settings: str = SETTINGS) -> Iterator[str]:
    """Its base URL, until the `with` ends; the test is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name) or shutil.which(name, path=UNPACKED))), None)
    if found is None:
        pytest.skip("no alertmanager on the PATH: make servers, or apt-get install prometheus-alertmanager")
    inside = with_templates(found)
    (directory / "am.yml").write_text(settings)
    base = f"http://127.0.0.1:{free_port()}"
    command = [
        *inside,
        found,
        f"--config.file={directory / 'am.yml'}",
        f"--storage.path={directory}",
        f"--web.listen-address={base.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"{base}/-/ready", process)
            yield base
        finally:
            process.terminate()


def with_templates(program: str) -> list[str]:
    """Debian's reads its templates from /usr/share, where an unpacked one has put none: there it gets a /usr/share of
    its own, which the kernel has to allow."""
    share = Path(program).parent.parent / "share"
    if TEMPLATES.exists() or not (share / TEMPLATES.relative_to("/usr/share")).exists():
        return []
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("the unpacked alertmanager needs a mount namespace: apt-get install prometheus-alertmanager")
    return ["unshare", "-rm", "sh", "-c", f'mount --bind {share} /usr/share && exec "$@"', "sh"]


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, "alertmanager ended at once"
            assert time.monotonic() < end, f"alertmanager was not ready within {READY_SECONDS:g} s"
            time.sleep(0.02)
