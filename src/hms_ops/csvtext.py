"""An answer to a query as CSV, for spreadsheets and data frames: one row a point.

    time,metric,agency,value
    2026-11-23T10:00:00Z,finance.api_ms,irs,212.5
    2026-11-23T10:01:00Z,finance.api_ms,irs,

Fed with the contract's answer (query.py); used by `/v1/query?format=csv` and `query --csv`. `time` is the start of the
step in UTC. Each tag that any series has is a column of its own, in the order of their names, empty where a series has
it not; one that is called as another column is written `tag:time`. A null is an empty field, a number is Python's
shortest text that reads back as the same float. Quoting is that of RFC 4180; lines end in LF, as tools like them.
"""

import csv
import io
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

_COLUMNS: Final = ("time", "metric", "value")


def csv_text(answer: Mapping[str, Any]) -> str:
    """The whole answer with its header."""
    tags = sorted({tag for series in answer["series"] for tag in series["tags"]})
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "metric", *(f"tag:{tag}" if tag in _COLUMNS else tag for tag in tags), "value"])
    for series in answer["series"]:
        writer.writerows(_rows(series, tags))
    return out.getvalue()


def utc_text(second: float) -> str:
    """`2026-11-23T10:00:00Z` of a Unix second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _rows(series: Mapping[str, Any], tags: list[str]) -> Iterator[list[object]]:
    name = [series["metric"], *(series["tags"].get(tag, "") for tag in tags)]
    for second, value in series["points"]:
        yield [utc_text(second), *name, value]  # csv writes None as nothing
