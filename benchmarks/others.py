"""Rows that pytest-benchmark files measure: the client and the moving mean. Runs them and reads their rounds."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Pace

HERE = Path(__file__).parent
CLIENT_NS_AT_MOST = 700.0
COPIES_AT_MOST = 3.0


def benchmarks_of(file: str, *selected: str) -> Mapping[str, dict[str, Any]]:
    """Each benchmark of a file whose id is `selected`, by id, as pytest-benchmark's JSON has it."""
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory, "found.json")
        command = [sys.executable, "-m", "pytest", "-q", "--benchmark-json", str(found), "-p", "no:cacheprovider"]
        ids = [f"{HERE / file}::{name}" for name in selected]
        done = subprocess.run([*command, *ids], cwd=HERE.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return {benchmark["name"]: benchmark for benchmark in json.loads(found.read_text())["benchmarks"]}


def rounds_of(benchmark: Mapping[str, Any], unit: str) -> list[float]:
    """Its rounds, in the unit of which its extra_info has the median."""
    data = benchmark["stats"]["data"]
    scale = benchmark["extra_info"][unit] / statistics.median(data)
    return [seconds * scale for seconds in data]


def measure_client(pace: Pace) -> list[Figure]:
    """`ops.metric`, buffered, beside datadogpy, buffered."""
    ours, theirs = "test_emit[ours]", "test_emit[datadogpy buffered]"
    found = benchmarks_of("bench_client.py", ours, theirs)
    return [
        Figure(
            "client.metric",
            "client: ops.metric, buffered",
            "ns a call",
            rounds_of(found[ours], "ns_per_sample"),
            at_most=CLIENT_NS_AT_MOST,
            beside="datadogpy, buffered",
            beside_rounds=rounds_of(found[theirs], "ns_per_sample"),
        )
    ]


def measure_moving_mean(pace: Pace) -> list[Figure]:
    """An hour of 1,000 series, a window of 10 min, a tenth missing: beside a copy and bottleneck at its best."""
    case = r"1 h \xd7 1,000 series, window 600, a tenth missing"  # pytest writes what is not ASCII as escapes
    ours, theirs = (f"test_moving_mean[{case}-{name}]" for name in ("ours", "bottleneck, its layout"))
    found = benchmarks_of("bench_moving_mean.py", ours, theirs)
    our_rounds = rounds_of(found[ours], "ns_per_element")
    what = "moving mean over float64[time, series], NaN-aware"
    copy = [found[ours]["extra_info"]["copy_ns_per_element"]]
    return [
        Figure(
            "moving-mean.copy",
            what,
            "ns an element",
            our_rounds,
            beside="a plain copy of the matrix",
            beside_rounds=copy,
            ratio_at_most=COPIES_AT_MOST,
        ),
        Figure(
            "moving-mean.bottleneck",
            what,
            "ns an element",
            our_rounds,
            beside="bottleneck in its best layout",
            beside_rounds=rounds_of(found[theirs], "ns_per_element"),
            ratio_at_most=1.0,
        ),
    ]
