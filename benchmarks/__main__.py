"""`python -m benchmarks [NAME…]`: measure, print, and write it into README.md, docs/storage.md and results.json.

Everything takes about twenty minutes; run it on a machine that does nothing else. With `--only` the other rows stay as
the last run left them. `--quick` tries the harness in a minute or two and writes nothing.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    calls,
    decode,
    history,
    history_flush,
    history_read,
    history_restart,
    history_unlink,
    history_year,
    ledger,
    memory,
    others,
    page,
    receive,
    remote,
    rules,
    screens,
    sketches,
    slo,
    start,
    storm,
    streams,
    tick,
)
from benchmarks.figure import FULL, QUICK, Figure, Pace
from benchmarks.machine import machine, text_of
from benchmarks.report import line_of, merged, read_results, write_readme, write_results
from benchmarks.sizing import write_storage

# In the order of the table; each name is the beginning of its figures' names.
MEASUREMENTS: dict[str, Callable[[Pace], list[Figure]]] = {
    "decode": decode.measure,
    "receive": receive.measure,
    "one-line": receive.measure_one_line,
    "call": calls.measure,
    "client": others.measure_client,
    "tick": tick.measure,
    "gap": tick.measure_gap,
    "moving-mean": others.measure_moving_mean,
    "memory": memory.measure,
    "sketch": sketches.measure,
    "slo": slo.measure,
    "start": start.measure,
    "import": start.measure_imports,
    "rules": rules.measure,
    "page": page.measure,
    "storm": storm.measure,
    "streams": streams.measure,
    "screens": screens.measure,
    "ledger": ledger.measure,
    "history-bytes": history.measure,
    "history-flush": history_flush.measure,
    "history-read": history_read.measure,
    "history-restart": history_restart.measure,
    "history-unlink": history_unlink.measure,
    "history-year": history_year.measure,
    "remote": remote.measure,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, print, write it down.")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="a try of the harness; its figures are written nowhere")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round of every figure there, too")
    return parser.parse_args()


def measure(names: Sequence[str], pace: Pace) -> tuple[list[Figure], list[str]]:
    """(figures, what failed): one measurement that fails costs the others nothing."""
    figures: list[Figure] = []
    failures = []
    for name in names:
        begun = time.monotonic()
        try:
            found = MEASUREMENTS[name](pace)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
            print(f"  {failures[-1]}", file=sys.stderr)
            continue
        figures += found
        print(f"{name}, {time.monotonic() - begun:.0f} s", *map(line_of, found), sep="\n", flush=True)
    return figures, failures


def main() -> int:
    given = arguments()
    about = machine()
    print(text_of(about))
    figures, failures = measure(given.only, QUICK if given.quick else FULL)
    if given.json is not None:
        write_results(about, figures, given.json)
    if not given.quick:
        everything = merged(read_results(), figures, list(MEASUREMENTS))
        write_results(about, everything)
        write_readme(about, everything)
        write_storage(about, everything)
    missed = sum(figure.is_met is False for figure in figures)
    print(f"{len(figures)} figures, {missed} targets missed, {len(failures)} measurements failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
