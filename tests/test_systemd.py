"""What passes between systemd and the daemon, with real sockets."""

import configparser
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hms_ops.systemd import inherited, notify, watchdog_seconds

CONFIG = Path(__file__).parent.parent / "config"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would read our notices from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_a_notice_arrives_as_one_datagram(manager: socket.socket) -> None:
    assert notify("READY=1\nSTATUS=receiving", {"NOTIFY_SOCKET": manager.getsockname()})
    assert manager.recv(100) == b"READY=1\nSTATUS=receiving"


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    name = f"hms-ops-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        assert notify("WATCHDOG=1", {"NOTIFY_SOCKET": "@" + name})
        assert receiver.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nobody/listens"}])
def test_a_notice_to_nobody_is_no_error(environment: dict[str, str]) -> None:
    assert not notify("READY=1", environment)


def test_sockets_are_taken_once_and_work() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed:
        passed.bind(("127.0.0.1", 0))
        fd = os.dup(passed.fileno())
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "udp"}
        (taken,) = inherited(environment, first_fd=fd)
    with taken:
        assert taken.type == socket.SOCK_DGRAM
        assert not os.get_inheritable(fd)
        taken.settimeout(5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"a:1|c", taken.getsockname())
        assert taken.recv(100) == b"a:1|c"
    assert environment == {}
    assert inherited(environment) == []


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    assert inherited({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1"}) == []
    assert inherited({"LISTEN_FDS": "1"}) == []


@pytest.mark.parametrize("count", ["x", "-1", "1.5", "65", "1e3"])
def test_a_wrong_number_of_sockets_is_quoted(count: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS is"):
        inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def test_a_descriptor_that_is_no_socket_is_an_error(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file, pytest.raises(OSError, match="socket"):
        inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}, first_fd=file.fileno())


def test_the_watchdog_is_fed_twice_in_its_time() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 15.0
    assert watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 15.0


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}]
)
def test_a_process_that_is_not_watched_feeds_no_watchdog(environment: dict[str, str]) -> None:
    assert watchdog_seconds(environment) is None


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(CONFIG / name)
    return parser


def test_the_service_waits_for_ready_and_is_hardened() -> None:
    service = unit("hms-ops-engine.service")["Service"]
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"].removesuffix("s")) >= 10
    assert float(service["TimeoutStopSec"].removesuffix("s")) > 5
    for key in ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert service[key] == "yes", key
    assert service["ProtectSystem"] == "strict"


def test_the_socket_outlives_the_service_and_asks_for_the_large_buffer() -> None:
    sockets = unit("hms-ops-engine.socket")["Socket"]
    assert sockets["ListenDatagram"] == "127.0.0.1:8125"
    assert sockets["ReceiveBuffer"] == "64M"
    assert "hms-ops-engine.socket" in unit("hms-ops-engine.service")["Unit"]["Requires"]
