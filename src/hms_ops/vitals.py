"""The host's own vital signs, read from /proc once a second: host.cpu, host.memory, host.disk, host.net.

The engine's tick calls `Vitals.sample(now_ns)` and feeds what comes back into the store like any other sample. All are
gauges. Rates are differences to the call before, so the first call gives none of them; a counter that went back (a
device re-plugged, a 32-bit wrap) gives no rate for that call. A file that is missing, as in many containers, costs only
its own values; `read_errors` counts it. Source: proc(5), the kernel's Documentation/admin-guide/iostats.rst.

| metric | tags | unit |
|---|---|---|
| host.cpu | | percent busy of all processors together, 0 to 100 |
| host.memory | | bytes used, MemTotal - MemAvailable |
| host.memory.percent | | percent used |
| host.disk | device, direction (read, write) | bytes a second, whole disks only |
| host.disk.percent | path | percent used of the file system that holds `path` |
| host.net | interface, direction (rx, tx) | bytes a second |
| host.net.errors | interface, direction (rx, tx) | errors and drops a second |
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

# Series the host may cost, however many disks and interfaces a container host has.
DEVICES_MAX: Final = 64
# /proc/diskstats counts in these, whatever the device's own sectors are.
SECTOR_BYTES: Final = 512
# Devices that mirror others or the memory.
VIRTUAL_DEVICES: Final = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")

Tags = dict[str, str]


class Vital(NamedTuple):
    """One gauge of the host."""

    name: str
    value: float
    tags: Tags


class Counted(NamedTuple):
    """One counter of the kernel; its rate becomes a vital."""

    name: str
    tags: tuple[tuple[str, str], ...]


def parse_cpu(text: str) -> tuple[int, int]:
    """(busy, total) jiffies of all processors since boot, from /proc/stat; ValueError without its `cpu` line."""
    label, *columns = text.partition("\n")[0].split()
    if label != "cpu" or len(columns) < 4:
        raise ValueError(f"/proc/stat begins with {text[:20]!r}, not with 'cpu'")
    # guest and guest_nice, the columns after the eighth, are contained in user and nice already.
    jiffies = [int(column) for column in columns[:8]]
    idle = sum(jiffies[3:5])
    return sum(jiffies) - idle, sum(jiffies)


def parse_memory(text: str) -> list[Vital]:
    """Used bytes and percent from /proc/meminfo; ValueError when a line is missing."""
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in text.splitlines()) if rest}
    if not kib.get("MemTotal") or "MemAvailable" not in kib:
        raise ValueError("/proc/meminfo lacks MemTotal or MemAvailable")
    used = kib["MemTotal"] - kib["MemAvailable"]
    return [
        Vital("host.memory", used * 1024.0, {}),
        Vital("host.memory.percent", 100.0 * used / kib["MemTotal"], {}),
    ]


def parse_disks(text: str, disks: set[str] | None = None) -> dict[Counted, int]:
    """Bytes read and written since boot of each whole disk, from /proc/diskstats; `disks` None takes all real ones."""
    counters: dict[Counted, int] = {}
    for columns in map(str.split, text.splitlines()):
        if (
            len(columns) < 10
            or columns[2].startswith(VIRTUAL_DEVICES)
            or (disks is not None and columns[2] not in disks)
        ):
            continue
        for direction, column in (("read", 5), ("write", 9)):
            tags = (("device", columns[2]), ("direction", direction))
            counters[Counted("host.disk", tags)] = int(columns[column]) * SECTOR_BYTES
        if len(counters) >= 2 * DEVICES_MAX:
            break
    return counters


def parse_net(text: str) -> dict[Counted, int]:
    """Bytes and errors since boot of each interface but loopback, from /proc/net/dev."""
    counters: dict[Counted, int] = {}
    for line in text.splitlines()[2:]:
        interface, _, rest = line.rpartition(":")
        columns = rest.split()
        if len(columns) < 12 or interface.strip() in ("", "lo"):
            continue
        for direction, column in (("rx", 0), ("tx", 8)):
            tags = (("direction", direction), ("interface", interface.strip()))
            counters[Counted("host.net", tags)] = int(columns[column])
            failed = int(columns[column + 2]) + int(columns[column + 3])
            counters[Counted("host.net.errors", tags)] = failed
        if len(counters) >= 4 * DEVICES_MAX:
            break
    return counters


class Vitals:
    """Reads /proc and remembers the counters of the call before; for one thread."""

    def __init__(self, proc: str | Path = "/proc", sys_block: str | Path = "/sys/block", disk_path: str = "/") -> None:
        self.proc = Path(proc)
        self.sys_block = Path(sys_block)
        self.disk_path = disk_path
        self.read_errors = 0
        self._cpu: tuple[int, int] | None = None
        self._counters: dict[Counted, int] = {}
        self._counters_ns = 0

    def sample(self, now_ns: int) -> list[Vital]:
        """What can be known now; never raises, `read_errors` counts what could not be read. About 0.3 ms."""
        vitals: list[Vital] = []
        for read in (self._cpu_busy, self._memory, self._file_system):
            try:
                vitals.extend(read())
            except (OSError, ValueError):
                self.read_errors += 1
        return vitals + self._rates(now_ns)

    def _text(self, name: str) -> str:
        return (self.proc / name).read_text("utf-8", "replace")

    def _cpu_busy(self) -> list[Vital]:
        before, self._cpu = self._cpu, parse_cpu(self._text("stat"))
        if before is None or self._cpu[1] <= before[1]:
            return []
        share = (self._cpu[0] - before[0]) / (self._cpu[1] - before[1])
        # iowait may go back between two reads, so the share can leave 0 to 1 by a hair.
        return [Vital("host.cpu", 100.0 * min(1.0, max(0.0, share)), {})]

    def _memory(self) -> list[Vital]:
        return parse_memory(self._text("meminfo"))

    def _file_system(self) -> list[Vital]:
        found = os.statvfs(self.disk_path)
        used = found.f_blocks - found.f_bfree
        # As df does: of what an ordinary user can have.
        available = used + found.f_bavail
        percent = 100.0 * used / available if available else 0.0
        return [Vital("host.disk.percent", percent, {"path": self.disk_path})]

    def _rates(self, now_ns: int) -> list[Vital]:
        before, before_ns = self._counters, self._counters_ns
        self._counters, self._counters_ns = self._count(), now_ns
        elapsed_seconds = (now_ns - before_ns) / 1e9
        if not before or elapsed_seconds <= 0:
            return []
        return [
            Vital(counted.name, (count - before[counted]) / elapsed_seconds, dict(counted.tags))
            for counted, count in self._counters.items()
            if counted in before and count >= before[counted]
        ]

    def _count(self) -> dict[Counted, int]:
        counters: dict[Counted, int] = {}
        for count in (self._disks, self._net):
            try:
                counters.update(count())
            except (OSError, ValueError):
                self.read_errors += 1
        return counters

    def _disks(self) -> dict[Counted, int]:
        return parse_disks(self._text("diskstats"), self._whole_disks())

    def _net(self) -> dict[Counted, int]:
        return parse_net(self._text("net/dev"))

    def _whole_disks(self) -> set[str] | None:
        """Names of disks without their partitions; None where /sys is not mounted."""
        try:
            return set(os.listdir(self.sys_block))
        except OSError:
            return None
