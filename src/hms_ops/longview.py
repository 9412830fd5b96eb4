"""Windows that memory cannot serve, read from history beside the tick: what rules look at beyond an hour.

    RuleSet ──want(views)──► LongView ──► past (disk, what waits, memory) ──the view's plan, by step──► Answer
       ▲                        thread, each view once in its period                                      │
       └──────────────────────────────── answer(view), the latest one ◄──────────────────────────────────┘

A view is read again every 10 s, or every 360th of its window when that is longer (`View.period_seconds`), at multiples
of that, so that a replay reads it at the same seconds. So a rule may tell so much later than it would. The tick
takes the latest answer and nothing else, so a burn rate over three days costs it nothing, and a disk that hangs makes
answers old and then NULL (alert/recalled.py). Windows are made of rows of history: no row is longer than a sixtieth of
the window, unless finer ones are not kept any more; the start is rounded down to a row, and so is the end behind an
OFFSET.

Threads: `run` is the reader's own; `want` and `answer` are the tick's, `refresh` is a test's or a query's. Answers are
replaced whole, so nobody waits for a read.
Errors: a view that cannot be read has an answer with the problem (`problems()` lists them), counted in `failed`; the
reader lives as long as the engine.
Limits: VIEWS_MAX views; series, rows and values of one as in query.py and steps.py.
Not here: which windows those are (alert/plan.py), folds (alert/view.py).
"""

import logging
import threading
from collections.abc import Set
from typing import Final

import numpy as np

from hms_ops._ring import Store
from hms_ops.alert.recalled import Answer
from hms_ops.alert.source import regrouped
from hms_ops.alert.view import HISTORY_STEP_SHARE, STEPS_MAX, View, fold_steps, sum_groups
from hms_ops.backlog import STEP_SECONDS
from hms_ops.errors import ExpressionError, HmsOpsError
from hms_ops.past import Past, row_seconds_of
from hms_ops.query import values_of
from hms_ops.reloaded import HOLE_SHARE
from hms_ops.steps import Grid
from hms_ops.storage.tier import TIERS

log = logging.getLogger("hms_ops.alert")

VIEWS_MAX: Final = 2_000  # distinct ones; a view of a few series takes about a millisecond
WAKE_SECONDS: Final = 1.0


class LongView:
    """Answers the long views of one rule set."""

    def __init__(self, past: Past, store: Store) -> None:
        self.version = 0
        self._past = past
        self._store = store
        self._views: tuple[View, ...] = ()
        self._answers: dict[View, Answer] = {}
        self._refused = 0
        self._counts = {"read": 0, "failed": 0}
        self._reading = threading.Lock()  # one reader at a time: the thread, or who asks for a refresh
        self._wake = threading.Event()
        self._is_stopping = False

    # ---- the tick's side

    def want(self, views: Set[View]) -> None:
        """Answer these from now on, and no others; beyond VIEWS_MAX the rest have the problem as their answer."""
        known = dict.fromkeys(view for view in self._views if view in views)
        wanted = [*known, *(view for view in views if view not in known)]
        self._refused = max(0, len(wanted) - VIEWS_MAX)
        self._views = tuple(wanted[:VIEWS_MAX])
        answers = {view: answer for view, answer in self._answers.items() if view in views}
        problem = f"{len(wanted)} windows are read from history; {VIEWS_MAX} are allowed"
        answers |= {view: _nothing(0, problem) for view in wanted[VIEWS_MAX:]}
        self._answers = answers
        self.version += 1
        self._wake.set()

    def answer(self, view: View) -> Answer | None:
        """The latest answer, None as long as there is none."""
        return self._answers.get(view)

    # ---- the reader's side

    def run(self) -> None:
        """The reader's life."""
        while not self._is_stopping:
            try:
                self.refresh(int(self._store.sealed_second) + 1)
            except Exception:
                self._counts["failed"] += 1
                log.exception("the reader of long windows failed; it goes on")
            self._wake.wait(WAKE_SECONDS)
            self._wake.clear()

    def stop(self) -> None:
        """`run` ends after the view it reads."""
        self._is_stopping = True
        self._wake.set()

    def refresh(self, end: int) -> int:
        """Read the views that are due at `end`, the last sealed second + 1; returns how many."""
        due = [view for view in self._views if self._is_due(view, end)]
        for view in due:
            if self._is_stopping:
                break
            with self._reading:
                self._put(view, self.read(view, end))
        return len(due)

    def read(self, view: View, end: int) -> Answer:
        """One view over its window before `end`, as history has it now."""
        try:
            answer = read_view(view, self._past, end)
        except (ExpressionError, ValueError) as error:
            self._counts["failed"] += 1
            return _nothing(end, getattr(error, "message", None) or str(error).splitlines()[0])
        except (HmsOpsError, OSError) as error:
            self._counts["failed"] += 1
            return _nothing(end, f"history cannot be read: {error}")
        self._counts["read"] += 1
        return answer

    def _is_due(self, view: View, end: int) -> bool:
        known = self._answers.get(view)
        if known is None or end < known.end:
            return True
        period = view.period_seconds()
        return end // period > known.end // period

    def _put(self, view: View, answer: Answer) -> None:
        before = self._answers.get(view)
        if view not in self._views:
            return
        self._answers = {**self._answers, view: answer}
        if before is None or before.keys != answer.keys or before.problem != answer.problem:
            self.version += 1

    # ---- what it says of itself

    def problems(self) -> list[str]:
        """Why views have no values."""
        return sorted({answer.problem for answer in self._answers.values() if answer.problem})

    def counters(self) -> dict[str, int]:
        """Views there are and that were refused; reads that were made and that failed."""
        return {"views": len(self._views), "refused": self._refused, **self._counts}


class Recent:
    """A Recall that reads at once: for the value now, which a person waits for."""

    version = 0

    def __init__(self, past: Past, end: int) -> None:
        self._past = past
        self._end = end
        self._answers: dict[View, Answer] = {}

    def want(self, views: Set[View]) -> None:
        """Nothing to prepare."""

    def answer(self, view: View) -> Answer:
        """The view read now. ExpressionError and ValueError as a query raises them."""
        if view not in self._answers:
            self._answers[view] = read_view(view, self._past, self._end)
        return self._answers[view]


def read_view(view: View, past: Past, end: int) -> Answer:
    """One view over its window before `end`. ExpressionError, ValueError, StorageError."""
    grid = grid_of(view, past, end)
    keys, values = values_of(view.plan, past.before(end), grid)
    found = fold_steps(view, values, grid.step)
    is_known = past.first_second - (end - view.reach_seconds) <= view.window_seconds // HOLE_SHARE
    if not view.sums_series:
        return Answer(end, keys, found, is_known)
    wanted, places = regrouped(view.group_by, keys)
    return Answer(end, wanted, sum_groups(found, places, len(wanted)), is_known)


def grid_of(view: View, past: Past, end: int) -> Grid:
    """The steps of a view: whole rows of what is kept, one step or as many as folds take. One that is a multiple of
    coarser rows as well begins a row earlier: past.py reads the coarsest rows that a step is made of."""
    last = end - view.offset_seconds
    start = last - view.window_seconds
    row = _row_seconds(view, past, start)
    begin = start - start % row
    stop = last - last % row if view.offset_seconds else last + -last % row
    stop = max(stop, begin + row)
    if row_seconds_of(stop - begin) > row:
        begin -= row
    step = stop - begin
    if view.fold:
        step = row * max(1, -(-view.window_seconds // (STEPS_MAX * row)))
    count = -(-(stop - begin) // step)
    starts = begin + step * np.arange(count)
    covered = np.minimum(np.minimum(starts + step, end), stop) - np.maximum(starts, past.first_second)
    return Grid(begin, step, count, np.maximum(covered, 0))


def _row_seconds(view: View, past: Past, start: int) -> int:
    """The coarsest rows that are fine enough, among those that are kept so far back."""
    has_figures = any(reading.figure is not None for reading in view.plan.readings)
    kept = past.finest_sketch_step(start) if has_figures else past.finest_step(start)
    fits = [one.step_seconds for one in TIERS if one.step_seconds * HISTORY_STEP_SHARE <= view.window_seconds]
    return max(kept, STEP_SECONDS, *fits)


def _nothing(end: int, problem: str) -> Answer:
    return Answer(end, [], np.empty(0), False, problem)
