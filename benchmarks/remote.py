"""Remote write into a real VictoriaMetrics on this machine: ns a sample, both of them on its cores.

    remote.tiles   catching up: hours of sealed 10-s blocks, by tiles, each series' hour in one piece
    remote.steps   live: one step after another as it is closed, one sample of each series

The clock runs from reading history to VictoriaMetrics' 204; then everything is exported from it and compared with what
history holds: every sample must be there, once, and the same within VictoriaMetrics' own decimals (1e-12). Its first
hour or step registers the series and counts like the others.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, Pace
from benchmarks.fleet_mix import Fleet
from hms_ops import kinds
from hms_ops.bench import BenchError
from hms_ops.clock import SECOND_NS, ManualClock
from hms_ops.remote.encode import FIELDS
from hms_ops.remote.sender import Remote
from hms_ops.remote.settings import remote_from
from hms_ops.series import SeriesInfo
from hms_ops.storage.store import Storage, open_storage

TILED, HOURS = 2_000, 6
LIVE, STEPS = 50_000, 20
START = 1_699_999_200
STEP_SECONDS, HOUR_SECONDS = 10, 3_600
NS_AT_MOST = 2_000.0  # 500,000 samples a second
RELATIVE = 1e-12
READY_SECONDS = 20.0


@contextmanager
def victoria() -> Iterator[str]:
    """The URL of a fresh VictoriaMetrics."""
    program = shutil.which("victoria-metrics")
    if program is None:
        raise BenchError("no victoria-metrics on the PATH: make servers, or apt-get install victoria-metrics")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="hms-vm-") as directory:
        arguments = [f"-httpListenAddr={url[7:]}", f"-storageDataPath={directory}", "-retentionPeriod=100y"]
        process = subprocess.Popen(
            [program, *arguments, "-dedup.minScrapeInterval=1ms", "-loggerLevel=ERROR"], stderr=subprocess.DEVNULL
        )
        try:
            wait_ready(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def wait_ready(url: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            ask(url + "/health")
            return
        except OSError:
            if time.monotonic() > end:
                raise BenchError(f"victoria-metrics was not ready within {READY_SECONDS:g} s") from None
            time.sleep(0.05)


def ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read())


@contextmanager
def remote_of(series: int, url: str) -> Iterator[tuple[Storage, Remote, ManualClock]]:
    """A storage that knows so many gauges, and a remote of it that sends at once."""
    with tempfile.TemporaryDirectory(prefix="hms-remote-") as directory:
        storage = open_storage(Path(directory))
        try:
            tags = [{"agency": f"a{n % 20}", "host": f"host-{n:06}"} for n in range(series)]
            known = [SeriesInfo(f"service{n % 100:02}.api", one, kinds.GAUGE) for n, one in enumerate(tags)]
            storage.catalogue.ids_for(known, START)
            clock = ManualClock(START * SECOND_NS)
            given = {"url": f"{url}/api/v1/write", "tier": "10s", "delay": "0s", "labels": {"engine": "bench"}}
            yield storage, Remote(remote_from("bench", given), storage, clock), clock
        finally:
            storage.close()


def fill(storage: Storage, fleet: Fleet, series: int, step: int) -> None:
    dense = np.zeros((6, series + 1))
    dense[:, 1:] = fleet.step()
    storage.history.append(0, step, dense)


def send_all(remote: Remote) -> tuple[int, float]:
    """(samples, seconds) of everything there is to send."""
    before = remote.counters()["samples"]
    begun = time.perf_counter()
    while remote.send_next():
        pass
    seconds = time.perf_counter() - begun
    return remote.counters()["samples"] - before, seconds


def tiles(url: str, series: int, hours: int) -> list[float]:
    """ns a sample, of each hour."""
    fleet = Fleet(series)
    with remote_of(series, url) as (storage, remote, clock):
        rounds = []
        for hour in range(START, START + hours * HOUR_SECONDS, HOUR_SECONDS):
            for step in range(hour, hour + HOUR_SECONDS, STEP_SECONDS):
                fill(storage, fleet, series, step)
            for tier, block in storage.history.sealable(hour + 2 * HOUR_SECONDS):
                storage.history.seal(tier, block)
            clock.advance(HOUR_SECONDS)
            samples, seconds = send_all(remote)
            rounds.append(seconds / samples * 1e9)
        check(url, storage, series, hours * HOUR_SECONDS // STEP_SECONDS)
    return rounds


def steps(url: str, series: int, count: int) -> list[float]:
    """ns a sample, of each step."""
    fleet = Fleet(series)
    with remote_of(series, url) as (storage, remote, clock):
        rounds = []
        for step in range(START, START + count * STEP_SECONDS, STEP_SECONDS):
            fill(storage, fleet, series, step)
            clock.advance(STEP_SECONDS)
            samples, seconds = send_all(remote)
            rounds.append(seconds / samples * 1e9)
        check(url, storage, series, count)
    return rounds


def check(url: str, storage: Storage, series: int, count: int) -> None:
    """Everything that history has is there, once."""
    ask(url + "/internal/force_flush")
    end = START + count * STEP_SECONDS
    known = storage.catalogue.series_of(np.arange(1, series + 1, dtype=np.uint32))
    hosts = np.array([int(info.tags["host"][5:]) for info in known if info is not None])
    for name, column in FIELDS:
        rows = np.full((series, count), np.nan)
        for first in range(1, series + 1, 500):
            ids = np.arange(first, min(first + 500, series + 1))
            at, places, columns = storage.history.read_columns(0, ids, START, end)
            rows[hosts[first - 1 + places], (at - START) // STEP_SECONDS] = columns[column]
        compare(exported(url, name, series, count), rows, name)


def exported(url: str, name: str, series: int, count: int) -> NDArray[np.float64]:
    """float64[series, count] of one field as the server has it, NaN where there is nothing."""
    found = np.full((series, count), np.nan)
    selector = urllib.parse.quote(f'{{__name__=~".*_api_{name}"}}')
    given = f"match[]={selector}&start={START}&end={START + count * STEP_SECONDS}"
    samples = 0
    for line in ask(f"{url}/api/v1/export?{given}").splitlines():
        one = json.loads(line)
        times = (np.array(one["timestamps"]) + 1) // 1000 - STEP_SECONDS
        found[int(one["metric"]["host"][5:]), (times - START) // STEP_SECONDS] = one["values"]
        samples += len(times)
    if samples != np.count_nonzero(~np.isnan(found)):
        raise BenchError(f"{name}: some of {samples:,} samples are there more than once")
    return found


def compare(theirs: NDArray[np.float64], ours: NDArray[np.float64], name: str) -> None:
    is_same = np.isclose(theirs, ours, rtol=RELATIVE, atol=0, equal_nan=True)
    if not is_same.all():
        raise BenchError(f"{name}: {np.count_nonzero(~is_same):,} of {ours.size:,} samples are not what was sent")


def measure(pace: Pace) -> list[Figure]:
    with victoria() as url:
        caught_up = tiles(url, TILED, max(2, pace.part(HOURS)))
    with victoria() as url:
        live = steps(url, LIVE, max(3, pace.part(STEPS)))
    return [
        Figure(
            "remote.tiles",
            f"remote write to a local VictoriaMetrics, catching up with hours of {TILED:,} series",
            "ns a sample",
            caught_up,
            at_most=NS_AT_MOST,
            note=f"{1e3 / np.median(caught_up):.1f} M samples/s, read back equal",
        ),
        Figure(
            "remote.steps",
            f"remote write to a local VictoriaMetrics, step by step of {LIVE:,} series",
            "ns a sample",
            live,
            at_most=NS_AT_MOST,
            note=f"{1e3 / np.median(live):.2f} M samples/s; the first step registers the series: {live[0]:,.0f} ns",
        ),
    ]
