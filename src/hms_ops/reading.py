"""What an engine knows, asked from Python: means, values, raw samples, history, series.

Made by the engine, called from any thread. Everything is read in place from the store's sealed columns, or through
`past` where it may be on disk; nothing here changes anything or waits for more than the disk.
Errors: ExpressionError, UnknownMetricError and ValueError as each method says; a metric nobody has sent is no error
but for `query`.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store
from hms_ops.errors import UnknownMetricError
from hms_ops.past import Past
from hms_ops.quantity import parse_duration
from hms_ops.series import SeriesInfo
from hms_ops.tiers import WINDOW_SECONDS_MAX

if TYPE_CHECKING:
    from hms_ops.alert.language.desugar import Objectives
    from hms_ops.alert.plan import UnitLookup
    from hms_ops.storage.merge import Rows

COUNT: Final = 0
SUM: Final = 1

Tags = Mapping[str, str]


class Reading:
    """The reading side of one engine."""

    def __init__(self, store: Store, past: Past, unit: "UnitLookup", objective: "Objectives") -> None:
        self._store = store
        self._past = past
        self._unit = unit
        self._objective = objective

    def mean(self, name: str, window: str | float, tags: Tags | None) -> float:
        """See Engine.mean."""
        from hms_ops.kernels.window import cover

        seconds = whole_seconds(window, WINDOW_SECONDS_MAX)
        self._store.flush()
        end = self._store.sealed_second + 1
        first = int(self._store.first_second)
        tiers, slots, _ = cover(end - seconds, end, first, self._past.reloaded.known_from(first))
        rows, members = (tiers[:, None], slots[:, None]), self._members(name, tags)
        counts = self._store.cols[rows[0], COUNT, rows[1], members]
        sums = self._store.cols[rows[0], SUM, rows[1], members]
        seen = counts > 0.0  # where it is 0, the sum is what stood there before
        return float(sums[seen].sum() / counts[seen].sum()) if seen.any() else math.nan

    def value(self, expression: str) -> float:
        """See Engine.value."""
        from hms_ops.alert.evaluate import query_now
        from hms_ops.alert.language.grammar import parse_query
        from hms_ops.longview import Recent

        self._store.flush()
        try:
            found = query_now(
                parse_query(expression),
                self._store,
                self._unit,
                reloaded=self._past.reloaded,
                recall=Recent(self._past, int(self._store.sealed_second) + 1),
                objective=self._objective,
            )
        except UnknownMetricError:
            return math.nan
        if len(found) > 1:
            raise ValueError(f"{expression!r} has {len(found)} values; pool them, as in avg(…), or use query()")
        return found[0][1] if found else math.nan

    def query(
        self,
        expr: str,
        start: float | None,
        end: float | None,
        step: str | float | None,
        points: int | None = None,
    ) -> dict[str, Any]:
        """See Engine.query."""
        from hms_ops.query import answer

        seconds = parse_duration(step) if isinstance(step, str) else step
        self._store.flush()
        return answer(
            expr,
            self._past,
            self._store,
            start,
            end,
            seconds,
            points=points,
            unit=self._unit,
            objective=self._objective,
        )

    def recent(self, name: str, tags: Tags | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See Engine.recent."""
        parts = [self._store.recent(slot) for slot in self._members(name, tags).tolist()]
        times = np.concatenate([np.zeros(0, np.int64), *(times for times, _ in parts)])
        values = np.concatenate([np.zeros(0), *(values for _, values in parts)])
        order = np.argsort(times, kind="stable")
        return times[order], values[order]

    def history(self, name: str, start: float, end: float, step: str | float, tags: Tags | None) -> "Rows":
        """See Engine.history."""
        seconds = whole_seconds(step)
        if not (math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"history from {start} to {end}: both are Unix seconds")
        self._store.flush()
        wanted = dict(tags) if tags is not None else None
        return self._past.read(name, wanted, math.floor(start), math.ceil(end), seconds)

    def series_list(self, prefix: str, limit: int) -> list[SeriesInfo]:
        """See Engine.series_list."""
        found: list[SeriesInfo] = []
        for name in self._past.metrics():
            if name.startswith(prefix):
                found += self._past.series(name)
            if len(found) >= limit:
                break
        return found[:limit]

    def _members(self, name: str, tags: Tags | None) -> NDArray[np.int64]:
        if tags is None:
            members: NDArray[np.int64] = self._store.slots(name).astype(np.int64)
            return members
        slot = self._store.slot(name, dict(tags))
        return np.array([slot] if slot >= 0 else [], np.int64)


def whole_seconds(given: str | float, most: int | None = None) -> int:
    """A duration as whole seconds, 1 to `most`. ValueError quotes what it is instead."""
    seconds = parse_duration(given) if isinstance(given, str) else given
    if not (seconds >= 1 and seconds == int(seconds) and (most is None or seconds <= most)):
        allowed = f"1 to {most}" if most is not None else "1 or more"
        raise ValueError(f"{given!r} is no duration of whole seconds, {allowed}")
    return int(seconds)
