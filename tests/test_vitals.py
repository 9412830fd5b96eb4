"""The host's vital signs, from texts of /proc as kernels write them and from this machine's own."""

import time
from pathlib import Path

import pytest

from hms_ops.vitals import DEVICES_MAX, Vital, Vitals, parse_cpu, parse_disks, parse_memory, parse_net

SECOND_NS = 1_000_000_000
NET_HEAD = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier\n"
)


def write_proc(proc: Path, *, busy: int, idle: int, sectors: int, net_bytes: int) -> None:
    (proc / "net").mkdir(parents=True, exist_ok=True)
    (proc / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")
    (proc / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  250 kB\nHugePages_Total:  0\n")
    (proc / "diskstats").write_text(
        f" 8 0 sda 1 0 {sectors} 0 1 0 {2 * sectors} 0 0 0 0\n 8 1 sda1 1 0 9 0 1 0 9 0 0 0\n"
    )
    (proc / "net" / "dev").write_text(f"{NET_HEAD}  eth0: {net_bytes} 1 2 3 0 0 0 0 {net_bytes} 1 0 0 0 0 0 0\n")


def by_name(vitals: list[Vital]) -> dict[str, float]:
    return {" ".join([vital.name, *vital.tags.values()]): vital.value for vital in vitals}


def vitals_of(tmp_path: Path) -> Vitals:
    (tmp_path / "block" / "sda").mkdir(parents=True)
    return Vitals(tmp_path, tmp_path / "block", disk_path="/")


def test_two_reads_give_rates_and_levels(tmp_path: Path) -> None:
    vitals = vitals_of(tmp_path)
    write_proc(tmp_path, busy=100, idle=900, sectors=10, net_bytes=1000)
    vitals.sample(0)
    write_proc(tmp_path, busy=130, idle=970, sectors=20, net_bytes=5000)
    found = by_name(vitals.sample(2 * SECOND_NS))
    percent_full = found.pop("host.disk.percent /")
    assert 0 <= percent_full <= 100
    assert found == {
        "host.cpu": 30.0,
        "host.memory": 750 * 1024.0,
        "host.memory.percent": 75.0,
        "host.disk sda read": 2560.0,
        "host.disk sda write": 5120.0,
        "host.net rx eth0": 2000.0,
        "host.net.errors rx eth0": 0.0,
        "host.net tx eth0": 2000.0,
        "host.net.errors tx eth0": 0.0,
    }
    assert vitals.read_errors == 0


def test_the_first_read_gives_levels_only(tmp_path: Path) -> None:
    vitals = vitals_of(tmp_path)
    write_proc(tmp_path, busy=1, idle=1, sectors=1, net_bytes=1)
    assert set(by_name(vitals.sample(0))) == {"host.memory", "host.memory.percent", "host.disk.percent /"}


def test_a_counter_that_went_back_gives_no_rate(tmp_path: Path) -> None:
    vitals = vitals_of(tmp_path)
    write_proc(tmp_path, busy=9, idle=9, sectors=9, net_bytes=9)
    vitals.sample(0)
    write_proc(tmp_path, busy=1, idle=1, sectors=1, net_bytes=10)
    assert {vital.name for vital in vitals.sample(SECOND_NS)} >= {"host.net"}
    assert not {vital.name for vital in vitals.sample(SECOND_NS)} & {"host.disk", "host.net", "host.cpu"}


def test_missing_files_cost_only_their_own_values(tmp_path: Path) -> None:
    vitals = Vitals(tmp_path / "none", tmp_path / "none", disk_path="/")
    assert [vital.name for vital in vitals.sample(0)] == ["host.disk.percent"]
    assert vitals.read_errors == 4


@pytest.mark.parametrize("junk", ["", "\n", "cpu\n", "cpu a b c d\n", "\0" * 100, "cpu 1 2 3\n", "disk 1 2 3 4 5\n"])
def test_junk_in_every_file_is_counted_and_never_raises(tmp_path: Path, junk: str) -> None:
    vitals = vitals_of(tmp_path)
    write_proc(tmp_path, busy=1, idle=1, sectors=1, net_bytes=1)
    for name in ("stat", "meminfo", "diskstats", "net/dev"):
        (tmp_path / name).write_text(junk)
    assert [vital.name for vital in vitals.sample(0)] == ["host.disk.percent"]
    assert vitals.read_errors >= 2


def test_guest_time_is_not_counted_twice() -> None:
    assert parse_cpu("cpu 10 0 5 80 5 0 0 0 7 3\n") == (15, 100)


@pytest.mark.parametrize("text", ["MemTotal: 0 kB\nMemAvailable: 0 kB\n", "MemTotal: 5 kB\n", "MemAvailable: 5 kB\n"])
def test_memory_without_its_lines_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="MemTotal"):
        parse_memory(text)


def test_virtual_disks_partitions_and_loopback_are_left_out() -> None:
    text = "".join(
        f" 8 0 {name} 1 0 8 0 1 0 8 0 0 0 0\n" for name in ("sda", "sda1", "loop0", "dm-0", "nvme0n1", "ram0")
    )
    assert {dict(counted.tags)["device"] for counted in parse_disks(text, {"sda", "nvme0n1", "loop0"})} == {
        "sda",
        "nvme0n1",
    }
    assert parse_net(NET_HEAD + "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n") == {}


def test_an_interface_with_a_colon_keeps_its_name() -> None:
    (first, *_) = parse_net(NET_HEAD + "eth0:1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n")
    assert dict(first.tags)["interface"] == "eth0:1"


def test_the_number_of_devices_is_bounded() -> None:
    text = "".join(f" 8 0 sd{n} 1 0 8 0 1 0 8 0 0 0 0\n" for n in range(1000))
    assert len(parse_disks(text)) == 2 * DEVICES_MAX
    text = NET_HEAD + "".join(f"veth{n}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n" for n in range(1000))
    assert len(parse_net(text)) == 4 * DEVICES_MAX


def test_this_host_has_vital_signs() -> None:
    vitals = Vitals()
    vitals.sample(time.time_ns() - SECOND_NS)
    found = vitals.sample(time.time_ns())
    assert {"host.memory", "host.memory.percent"} <= {vital.name for vital in found}
    assert all(vital.value >= 0 for vital in found)
