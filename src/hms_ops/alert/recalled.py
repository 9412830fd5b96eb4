"""Views that only history can answer: what a rule's reading has in place of its source.

Somebody else reads history, at its own pace (hms_ops.longview); a tick takes the latest answer and never waits. An
answer older than AGE_MAX of its periods is none: the values are NULL until there is another.
Threads: the tick's; `Recall.answer` is called there, so it must not wait either.
"""

from collections.abc import Set
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.source import GroupKey
from hms_ops.alert.view import Floats, View
from hms_ops.reloaded import Reloaded

AGE_MAX: Final = 2  # periods after which an answer counts no more


class Answer(NamedTuple):
    """What a view came to over a window that ended before second `end`. values: float64[len(keys)]; is_whole: history
    reaches back to the window's start; problem: why there are no values, or ""."""

    end: int
    keys: list[GroupKey]
    values: Floats
    is_whole: bool = True
    problem: str = ""


class Recall(Protocol):
    """Who answers them. version: another number whenever an answer has other keys, or another problem."""

    version: int

    def want(self, views: Set[View]) -> None:
        """Answer these from now on, and no others."""

    def answer(self, view: View) -> Answer | None:
        """The latest answer, None as long as there is none."""


class Recalled:
    """A long view as a rule set reads it."""

    def __init__(self, view: View, recall: Recall | None) -> None:
        self.view = view
        self.keys: list[GroupKey] = [] if view.group_by else [()]
        self.member = np.zeros(0, np.int32)
        self.kind = kinds.UNKNOWN
        self.problem = ""
        self.cells = 0
        self._recall = recall
        self.join()

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.zeros(len(self.keys), np.int64)

    def join(self) -> bool:
        """Take the groups of the latest answer; True when they are others than before."""
        if self._recall is None:
            self.problem = "it reads more than the hour that memory has, and nobody reads history here"
            return False
        answer = self._recall.answer(self.view)
        if answer is None:
            return False
        self.problem, before = answer.problem, self.keys
        self.keys = answer.keys if self.view.group_by else [()]
        return before != self.keys

    def is_whole(self, end: int, first_second: int, reloaded: Reloaded) -> bool:
        answer = self._fresh(end)
        return answer is not None and answer.is_whole

    def values(self, store: object, end: int, reloaded: Reloaded) -> Floats:
        """float64[len(keys)], NaN for NULL."""
        answer = self._fresh(end)
        if answer is None or not len(answer.values):
            return np.full(len(self.keys), np.nan)
        if answer.keys == self.keys:
            return answer.values
        number = {key: n for n, key in enumerate(answer.keys)}
        found = [answer.values[number[key]] if key in number else np.nan for key in self.keys]
        return np.array(found, np.float64)

    def _fresh(self, end: int) -> Answer | None:
        answer = self._recall.answer(self.view) if self._recall is not None else None
        if answer is None or abs(end - answer.end) > AGE_MAX * self.view.period_seconds():
            return None
        return answer
