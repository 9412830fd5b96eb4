"""Runs all rules at a tick: two kernels over the arrays that windows.py and layout.py laid out.

    windows ─ window_groups ─► stats ◄─ sets, figures, views ─► run_programs ─► condition, recover, value

A machine is made when rules change; while series are born and go it follows them in place, until there is no room in
its windows. Used by `RuleSet` and `query_now` (evaluate.py). Threads: the tick's; a query makes its own.
Data: what `run` returns is the caller's, and never written again.
"""

from collections.abc import Collection
from itertools import chain
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.layout import Arrangement
from hms_ops.alert.sketched import fill_figures
from hms_ops.alert.source import Store
from hms_ops.kernels.opcodes import STACK_MAX
from hms_ops.kernels.program import run_programs
from hms_ops.kernels.window import COUNT, LAST, SCRATCH_ROWS, cover, cover_sketches, window_groups
from hms_ops.reloaded import NOTHING, Reloaded
from hms_ops.tiers import SLOTS, TIER_SECONDS, WINDOW_SECONDS_MAX

_NO_ROWS: Final = np.zeros(0, np.int64)

Floats: TypeAlias = NDArray[np.float64]


class Results(NamedTuple):
    """What rules came to; one place for each instance, see Evaluation."""

    condition: Floats
    recover: Floats
    value: Floats
    whole: NDArray[np.bool_]


class Machine:
    """The laid out rules with the memory their two kernels work in."""

    def __init__(self, arrangement: Arrangement, store: Store) -> None:
        self._arrangement = arrangement
        self._windows = arrangement.windows(store.cols.shape[3])
        self._scratch = np.empty((SCRATCH_ROWS, len(self._windows.member)))
        self._stats = np.empty((0, 8))
        self._stack = np.empty(STACK_MAX)
        self._take_groups()

    def _take_groups(self) -> None:
        """What depends on which groups and instances there are."""
        base = self._windows.group_base
        self._programs = self._arrangement.programs(base)
        self._sets = self._arrangement.sets(base)
        self._figures = self._arrangement.figures(base)
        self._views = self._arrangement.views(base)
        self._readers = self._arrangement.readings_of_views() if self._views else []
        self._all_known = np.ones(self._arrangement.readings)
        self._all_whole = np.ones(len(self._programs.has_recover), np.bool_)
        if len(self._stats) < base[-1]:
            self._stats = np.empty((base[-1] + base[-1] // 8, 8))

    def follow(self, metrics: Collection[str], *, has_new_groups: bool) -> bool:
        """Take the series of these metrics as they are now. False when another machine must be made instead.
        has_new_groups: of a source or an instance."""
        changed = self._arrangement.slices_of(metrics)
        if self._windows.see_kinds(changed):
            self._arrangement.renew_spans()
        if not self._windows.grow(changed):
            return False
        if has_new_groups:
            self._take_groups()
        else:
            self._sets = self._arrangement.sets(self._windows.group_base)
        return True

    def _known(self, first_second: int, end: int, reloaded: Reloaded) -> NDArray[np.bool_] | None:
        """bool[readings]: whether what each reads is known; None where all is. Of windows there is something to find
        out in a run's first hour only."""
        views = [numbers for source, numbers in self._readers if not source.is_whole(end, first_second, reloaded)]
        if end - WINDOW_SECONDS_MAX >= first_second and not views:
            return None
        of_run = NOTHING if first_second < end else reloaded  # where all of time is of before, so are sketches
        spans = [
            (of_run if is_of_run else reloaded).is_whole(end - seconds, end, first_second)
            for seconds, is_of_run in self._arrangement.spans
        ]
        return self._arrangement.known(spans, list(chain.from_iterable(views)))

    def run(self, store: Store, end: int, reloaded: Reloaded = NOTHING) -> Results:
        """All rules over what the store has before second `end`."""
        windows, programs = self._windows, self._programs
        first_second = store.first_second
        known_from = reloaded.known_from(first_second)
        covers = [
            (cover_sketches if is_of_sketches else cover)(end - seconds, end, first_second, known_from)
            if seconds
            else (_NO_ROWS, _NO_ROWS, 0)
            for seconds, is_of_sketches in windows.lengths
        ]
        reach = np.array([seconds for _, _, seconds in covers], np.int64)
        covered = _covered(reach, end, first_second, reloaded)
        window_groups(
            store.cols,
            store.last_value,
            store.last_second,
            end,
            first_second,
            np.concatenate([_NO_ROWS, *(tiers for tiers, _, _ in covers)]),
            np.concatenate([_NO_ROWS, *(slots for _, slots, _ in covers)]),
            np.cumsum([0, *(len(tiers) for tiers, _, _ in covers)]),
            reach,
            windows.field_mask,
            windows.member,
            windows.member_first,
            windows.member_stop,
            windows.group_member,
            windows.group_first,
            windows.group_stop,
            windows.group_window,
            windows.group_kind,
            self._scratch,
            self._stats,
        )
        for group, number, slots in self._sets:
            tiers, rows, _ = covers[number]
            self._stats[group, COUNT] = store.distinct(slots, tiers, _step_numbers(tiers, rows, end))
        if self._figures:
            fill_figures(self._figures, store, end, self._stats)
        for source, first in self._views:
            self._stats[first : first + len(source.keys), LAST] = source.values(store, end, reloaded)
        known = self._known(first_second, end, reloaded)
        value, condition, recover = np.full((3, len(programs.has_recover)), np.nan)
        run_programs(
            self._stats,
            covered,
            windows.group_window,
            windows.group_kind,
            self._all_known if known is None else np.where(known, 1.0, np.nan),
            programs.reference,
            programs.code,
            programs.operand,
            programs.constant,
            programs.program_offset,
            programs.instance_offset,
            self._stack,
            value,
            condition,
            recover,
        )
        whole = self._all_whole if known is None else self._arrangement.whole(known, condition)
        return Results(condition, np.where(programs.has_recover, recover, 1.0 - condition), value, whole)


def _covered(reach: NDArray[np.int64], end: int, first_second: int, reloaded: Reloaded) -> NDArray[np.int64]:
    """How many seconds are known of windows that reach so far back from `end`."""
    if end - WINDOW_SECONDS_MAX - TIER_SECONDS[-1] >= first_second:
        return reach
    known = [
        seconds - reloaded.unknown_seconds(end - seconds, end, first_second) if seconds else 0
        for seconds in reach.tolist()
    ]
    return np.array(known, np.int64)


def _step_numbers(tiers: NDArray[np.int64], slots: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    """The numbers of the steps (since 1970, of their tier) that stand in these slots before second `end`."""
    newest = (end - 1) // np.array(TIER_SECONDS)[tiers]
    return newest - (newest - slots) % SLOTS
