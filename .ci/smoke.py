"""An installed HMS-OPS does its work: imports, the command line, a datagram in, its mean out. Run by .ci/wheel."""

import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import hms_ops

PREFIX = Path(sys.prefix)
COMMAND = str(PREFIX / "bin" / "hms-ops-engine")


def wait_for(condition, what):
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"smoke: {what} did not happen within 10 s")
        time.sleep(0.01)


def check_screens(address):
    """What the wheel has to carry besides Python."""
    wanted = {"/": b"HMS-OPS", "/docs": b"Expressions", "/hms-status.js": b"hms-status", "/status.css": b"{"}
    for path, words in wanted.items():
        with urlopen(f"http://127.0.0.1:{address[1]}{path}") as answer:
            assert words in answer.read(), path


def main():
    place = Path(hms_ops.__file__)
    assert PREFIX in place.parents, f"{place} is not the installed wheel below {PREFIX}"
    assert (PREFIX / "share" / "hms-ops" / "engine.yaml").exists()
    print(subprocess.run([COMMAND, "version"], check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run([COMMAND, "check-config", PREFIX / "share" / "hms-ops" / "engine.yaml"], check=True)
    with hms_ops.Engine(udp="127.0.0.1:0", http="127.0.0.1:0", data_dir=None) as engine:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"finance.api_ms:240|ms", engine.udp_address)
        wait_for(lambda: engine.mean("finance.api_ms", "1m") == 240.0, "a mean of 240 ms")
        ledger = engine.ledger()
        check_screens(engine.http_address)
    assert ledger["arrived"] == ledger["received"] + ledger["kernel_drops"], ledger
    print(f"smoke: fine, from {place.parent}")


if __name__ == "__main__":
    main()
