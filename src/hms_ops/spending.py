"""What history knows of SLOs: the rows of `N.good` and `N.total`, by group and step.

Read once for each SLO when its budget is filled, and for burn rates when somebody asks for the status. From disk, what
waits for it, and memory, through `past.py`, a chunk of rows at a time. Errors: StorageError. Threads: any.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.slo import Slo
from hms_ops.alert.source import GroupKey, group_key
from hms_ops.past import Past
from hms_ops.roster import Known
from hms_ops.storage import merge

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Spent(NamedTuple):
    """Rows of one of the two counters. is_total: of which. seconds: int64[k], where each row begins; groups: int64[k]
    into keys; sums: float64[k]."""

    is_total: bool
    keys: list[GroupKey]
    seconds: Integers
    groups: Integers
    sums: Floats


def spent(past: Past, slo: Slo, start: int, end: int, step_seconds: int) -> Iterator[Spent]:
    """The rows that begin in [start, end), none longer than `step_seconds`; start is rounded down to a step."""
    good, total, _ = slo.published
    for name, is_total in ((good, False), (total, True)):
        known = past.known(name)
        if known:
            yield from _rows(past, known, is_total, start - start % step_seconds, end, step_seconds)


def _rows(past: Past, known: list[Known], is_total: bool, start: int, end: int, step: int) -> Iterator[Spent]:
    keys = [group_key(("*",), one.info.tags) for one in known]
    for _, (seconds, places, columns) in past.chunks(known, start, end, step):
        yield Spent(is_total, keys, seconds, places, columns[merge.SUM])


def windows(past: Past, slo: Slo, end: int, lengths: tuple[int, ...]) -> dict[GroupKey, Floats]:
    """By group: float64[2, len(lengths)], good and total over the last so many seconds. Windows up to six hours are
    read by the minute, longer ones by the hour: they begin at or before `end − length`, on such a step."""
    found: dict[GroupKey, Floats] = {}
    for step, of_step in ((60, [n for n in lengths if n <= 21_600]), (3600, [n for n in lengths if n > 21_600])):
        if not of_step:
            continue
        for part in spent(past, slo, end - max(of_step), end, step):
            for length in of_step:
                first = (end - length) // step * step
                sums = np.bincount(part.groups, part.sums * (part.seconds >= first), len(part.keys))
                for key, value in zip(part.keys, sums.tolist(), strict=True):
                    of_key = found.setdefault(key, np.zeros((2, len(lengths))))
                    of_key[int(part.is_total), lengths.index(length)] += value
    return found
