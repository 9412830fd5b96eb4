"""`doctor`: what this machine lacks to run the engine well, each with the line that mends it.

A finding is `fine`, `warn` (it runs, but loses or slows something) or `bad` (it does not run). Exit code 1 when any is
bad. Every check is a function of the configuration; one that cannot know gives no finding.
"""

import os
import platform
import resource
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from hms_ops.cli.options import json_option, show_json, url_option
from hms_ops.cli.version import package_version
from hms_ops.errors import ConfigError, HmsOpsError
from hms_ops.escape import printable
from hms_ops.quantity import Address, size_text

if TYPE_CHECKING:
    from hms_ops.config import Config

EXPLODING_SHARE: Final = 0.1  # of limits.series, in one metric
DISK_FREE_BYTES_MIN: Final = 1024**3
OPEN_FILES_MIN: Final = 1024
CAP_NET_ADMIN: Final = 12
MARKS: Final = {"fine": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


class Finding(NamedTuple):
    """One thing looked at: its state, what was found, and the remedy ("" when fine)."""

    check: str
    state: str
    found: str
    remedy: str = ""


@click.command()
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="engine.yaml")
@url_option
@json_option
def doctor(config_file: Path | None, url: str, as_json: bool) -> int:
    """What this machine lacks to run the engine well, and how to mend it.

    \b
    Examples:
      hms-ops-engine doctor
      hms-ops-engine doctor -c /etc/hms-ops/engine.yaml --json
    """
    from hms_ops.config import load

    config = load(config_file)
    findings = [*environment(config), *rules(config), *machine(config), *running(config, url)]
    if as_json:
        show_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            show(finding)
    return int(any(finding.state == "bad" for finding in findings))


def show(finding: Finding) -> None:
    mark, color = MARKS[finding.state]
    click.echo(f"{click.style(mark, fg=color)}  {finding.check}: {printable(finding.found)}")
    if finding.remedy:
        click.echo(f"      → {printable(finding.remedy)}")


def environment(config: "Config") -> Iterator[Finding]:
    """Python and what is installed."""
    yield Finding("python", "fine", f"{platform.python_version()} at {sys.executable}")
    for name in ("numpy", "numba", "lmdb", "msgpack"):
        version = package_version(name)
        if version is None:
            yield Finding(name, "bad", "not installed", "pip install hms-ops")
        else:
            yield Finding(name, "fine", version)
    if config.http is not None:
        missing = [name for name in ("starlette", "uvicorn") if package_version(name) is None]
        if missing:
            yield Finding(
                "server", "bad", f"no {' and no '.join(missing)}", "pip install 'hms-ops[server]', or http: null"
            )
    built = find_spec("hms_ops._ring") is not None
    yield Finding("native core", "fine", "built") if built else Finding("native core", "bad", "not built", "make build")
    yield numba_cache()


def rules(config: "Config") -> Iterator[Finding]:
    """The rules that the configuration names or holds."""
    try:
        loaded = config.load_rules()
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("rules", "bad", problem, "correct it; hms-ops-engine check-config shows it again")
        return
    for warning in loaded.warnings(config.profiles(), config.action_url()):
        yield Finding("rules", "warn", warning, "see docs/alerts.md")
    count = len(loaded.rules) + len(loaded.anomalies) + len(loaded.actions)
    yield Finding("rules", "fine", f"{count:,} rules, anomaly rules and actions load")


def numba_cache() -> Finding:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    directory = Path(chosen) if chosen else Path(__file__).parent.parent / "kernels" / "__pycache__"
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK):
        return Finding("numba cache", "fine", str(directory))
    remedy = "export NUMBA_CACHE_DIR to a directory that can be written, or every start compiles for some seconds"
    return Finding("numba cache", "warn", f"{directory} cannot be written", remedy)


def machine(config: "Config") -> Iterator[Finding]:
    """The kernel's settings, memory and disk."""
    yield from receive_buffer(config.receive_buffer_bytes)
    yield from huge_pages()
    yield open_files()
    yield from memory(config)
    if config.data_dir is not None:
        yield disk(config.data_dir, config.history.bytes_max + config.history.disk_free_min)


def read_proc(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def receive_buffer(wanted_bytes: int) -> Iterator[Finding]:
    allowed = read_proc("/proc/sys/net/core/rmem_max").strip()
    if not allowed.isdecimal():
        return
    if int(allowed) >= wanted_bytes or has_capability(CAP_NET_ADMIN):
        yield Finding("receive buffer", "fine", f"{size_text(wanted_bytes)} can be had")
        return
    found = f"{size_text(wanted_bytes)} wanted, the kernel allows {size_text(int(allowed))}: bursts are lost earlier"
    remedy = f"sysctl -w net.core.rmem_max={wanted_bytes}; keep it in /etc/sysctl.d/hms-ops.conf"
    yield Finding("receive buffer", "warn", found, remedy)


def has_capability(bit: int) -> bool:
    lines = [line for line in read_proc("/proc/self/status").splitlines() if line.startswith("CapEff:")]
    return bool(lines) and bool(int(lines[0].split()[1], 16) >> bit & 1)


def huge_pages() -> Iterator[Finding]:
    setting = read_proc("/sys/kernel/mm/transparent_hugepage/enabled")
    if "[" in setting:
        chosen = setting.split("[")[1].split("]")[0]
        yield Finding("huge pages", "fine", f"{chosen}; tables and rings take them, columns do not")


def open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_MIN:
        return Finding("open files", "fine", f"limit {soft}")
    return Finding("open files", "warn", f"limit {soft}", f"ulimit -n {OPEN_FILES_MIN}, or LimitNOFILE= in the unit")


def memory(config: "Config") -> Iterator[Finding]:
    lines = [line for line in read_proc("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    bound_bytes = memory_bound_bytes(config)
    if not lines or bound_bytes is None:
        return
    series, available, wanted = config.limits.series, int(lines[0].split()[1]) * 1024, bound_bytes
    found = f"{series:,} series take at most {wanted / 1e9:.1f} GB, {available / 1e9:.1f} GB are available"
    if wanted <= available:
        yield Finding("memory", "fine", found)
    else:
        yield Finding("memory", "warn", found, "lower limits.series")


def memory_bound_bytes(config: "Config") -> int | None:
    """What the store of an engine with these limits reserves, from such a store: address space, touched by nobody."""
    try:
        from hms_ops.config import Config
        from hms_ops.engine import Engine

        return Engine(udp=None, data_dir=None, config=Config(limits=config.limits)).store.bytes_reserved
    except (ImportError, MemoryError, OSError, ValueError):
        return None  # not built, or more than this machine can address: other findings say so


def disk(data_dir: Path, wanted_bytes: int) -> Finding:
    """Whether history may grow to its limit there."""
    existing = next(path for path in (data_dir.absolute(), *data_dir.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("data", "bad", f"{existing} cannot be written", "chown it, or give another --data-dir")
    found = os.statvfs(existing)
    free = found.f_bavail * found.f_frsize
    taken = sum(path.stat().st_size for path in (data_dir / "history").rglob("*.mdb"))
    text = f"{free / 1e9:.1f} GB free at {data_dir}, history has {taken / 1e9:.1f} GB"
    if free >= DISK_FREE_BYTES_MIN and free + taken >= wanted_bytes:
        return Finding("data", "fine", text)
    mend = f"free some space, or lower history.bytes: it and history.disk_free may take {wanted_bytes / 1e9:.1f} GB"
    return Finding("data", "warn", text, mend)


def running(config: "Config", url: str) -> Iterator[Finding]:
    """A running engine's books, or else whether one could start: are its ports free?"""
    from hms_ops.cli.reach import get

    try:
        ledger = get(url, "/v1/ledger", timeout_seconds=2.0)
    except HmsOpsError:
        yield Finding("engine", "fine", f"none is running at {url}")
        for address in config.udp:
            yield free_port("udp port", address, socket.SOCK_DGRAM)
        if config.http is not None:
            yield free_port("http port", config.http, socket.SOCK_STREAM)
        return
    yield from books(ledger, url)
    try:
        counted = get(url, "/v1/cardinality", timeout_seconds=10.0, limit=1)
    except HmsOpsError:
        return
    yield from widest(counted)


def free_port(check: str, address: Address, kind: socket.SocketKind) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, kind) as trial:
        if kind == socket.SOCK_STREAM:
            # As the server does: a port in TIME_WAIT is free.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            remedy = f"stop what listens there (ss -lnp 'sport = :{address.port}'), or choose another port"
            return Finding(check, "bad", f"{address}: {error.strerror or error}", remedy)
    return Finding(check, "fine", f"{address} is free")


def books(ledger: dict[str, Any], url: str) -> Iterator[Finding]:
    """Does every datagram and value have its place?"""
    rejected, bad = sum(ledger["rejected"].values()), sum(ledger["bad"].values())
    difference = abs(ledger["arrived"] - ledger["received"] - ledger["kernel_drops"])
    difference += abs(ledger["received"] - ledger["accepted"] - rejected)
    difference += abs(ledger["values"] - ledger["samples"] - bad)
    yield Finding(
        "engine", "fine", f"{url} has received {ledger['received']:,} datagrams, {ledger['samples']:,} samples"
    )
    if difference:
        # Counters are read one after the other while datagrams arrive.
        yield Finding("ledger", "warn", f"{difference:,} unaccounted for", "look again when nothing is being sent")
    if ledger["kernel_drops"]:
        found = f"the kernel dropped {ledger['kernel_drops']:,} datagrams"
        yield Finding("loss", "warn", found, "raise receive_buffer, or listeners")
    if rejected or bad:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in {**ledger["rejected"], **ledger["bad"]}.items() if n)
        yield Finding("rejects", "warn", reasons, f"see the last of them at {url}/v1/rejects, and mend their senders")


def widest(counted: dict[str, Any]) -> Iterator[Finding]:
    """The metric with most series, and which of its tags makes them."""
    if not counted.get("metrics"):
        return
    metric, series_max = counted["metrics"][0], counted["limit"]
    found = f"{metric['metric']} has the most, {metric['series']:,} of {counted['series']:,}"
    if metric["tags"]:
        tag = metric["tags"][0]
        found += f"; its tag {tag['tag']} has {tag['values']:,} values"
    if metric["series"] < series_max * EXPLODING_SHARE:
        yield Finding("series", "fine", found)
    else:
        yield Finding("series", "warn", found, "leave that tag out where it is sent, or raise limits.series")
