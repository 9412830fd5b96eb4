"""All remotes of an engine: their threads, their counters, and queries that go to them.

The engine makes one `Remotes`, opens it with its storage, and hands it queries. The first remote of the configuration
is the one that is asked. Where a range begins before local history, the part before is asked of it, as we sent it:

    start ────────────── border ─────────────────── end        border: the first whole step of local history
      remote, our own      │   local, exact

Errors: those of local queries; RemoteError where the remote was asked for by name. A range that is only continued there
is answered with what is here when it does not answer, and `remote` in the answer says why.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import RemoteError
from hms_ops.past import Past
from hms_ops.remote.labels import outer_labels
from hms_ops.remote.reading import Points, RemoteReading, guessed_kind, shaped
from hms_ops.remote.sender import Remote
from hms_ops.remote.settings import RemoteConfig
from hms_ops.storage.tier import TIERS

if TYPE_CHECKING:
    from hms_ops.storage.store import Storage

SOURCES: Final = ("local", "remote")

Local = Callable[[str, float | None, float | None, float | None, int | None], dict[str, Any]]


class Remotes:
    """unit: described units of metrics; past: what is here, and the kinds of metrics."""

    def __init__(
        self, configs: Sequence[RemoteConfig], past: Past, clock: Clock, unit: Callable[[str], str | None]
    ) -> None:
        self._configs = configs
        self._past = past
        self._clock = clock
        self._unit = unit
        self._senders: list[Remote] = []
        self._reading = RemoteReading(configs[0], self._kind, unit) if configs else None

    def open(self, storage: "Storage", start_thread: Callable[[str, Callable[[], None]], object]) -> None:
        """Send from now on."""
        self._senders = [Remote(config, storage, self._clock, self._unit) for config in self._configs]
        for remote in self._senders:
            start_thread(f"hms-remote-{remote.config.name}", remote.run)

    def stop(self) -> list[str]:
        """Ends all threads soon; their names."""
        for remote in self._senders:
            remote.stop()
        return [f"hms-remote-{remote.config.name}" for remote in self._senders]

    def late(self, tier: int, steps: NDArray[np.int64], ids: NDArray[np.int64] | None = None) -> None:
        """Rows of these steps of a tier, of these series if they are known, were added to history behind their time."""
        for remote in self._senders:
            remote.late(tier, steps, ids)

    def counters(self) -> dict[str, dict[str, int]]:
        return {str(remote.config): remote.counters() for remote in self._senders}

    def problems(self) -> list[str]:
        found = [problem for remote in self._senders for problem in remote.problems()]
        if self._configs and not self._senders:
            found.append("no remote is sent to: history needs a data directory (data_dir)")
        return found

    # ---- queries

    def query(
        self,
        local: Local,
        expr: str,
        start: float | None,
        end: float | None,
        step: float | None,
        source: str | None,
        points: int | None = None,
    ) -> dict[str, Any]:
        """The answer of /v1/query. source: "local", "remote", or None: local, continued remotely before its beginning.

        ValueError for another source, or for "remote" without a remote.
        """
        if points is not None and start is not None and step is None and source != "local":
            step, points = self._step_for(source, start, end, points)
        if source is not None and source not in SOURCES:
            raise ValueError(f"source is {source!r}; it must be local or remote")
        if source == "remote":
            if self._reading is None:
                raise ValueError("there is no remote to ask; configure one under `remote`")
            now = self._clock.now_ns() / SECOND_NS
            return self._reading.query(expr, start, now if end is None else min(end, now), step)
        answer = local(expr, start, end, step, points)
        if source is None and self._reading is not None and start is not None:
            return self._continued(self._reading, answer, expr, start)
        return answer

    def _continued(self, reading: RemoteReading, answer: dict[str, Any], expr: str, start: float) -> dict[str, Any]:
        step = answer["step"]
        border = -(-self._past.first_second // step) * step
        first = int(start) // step * step
        if first >= border or step % TIERS[reading.config.tier_number].step_seconds:
            return answer
        try:
            before = reading.series(expr, first, border, step, only_own=True)
        except (RemoteError, ValueError) as error:
            return {**answer, "remote": str(error)}
        return joined(answer, before, border)

    def _step_for(
        self, source: str | None, start: float, end: float | None, points: int
    ) -> tuple[float | None, int | None]:
        """The step of so many points, where the remote is asked: a multiple of what it has; else as it was."""
        from hms_ops.asked import step_of_points

        if self._reading is None or (source is None and start >= self._past.first_second):
            return None, points
        last = end if end is not None else self._clock.now_ns() / SECOND_NS
        kept = TIERS[self._reading.config.tier_number].step_seconds
        return step_of_points(int(start), math.ceil(last), points, kept), None

    def _kind(self, metric: str) -> int:
        known = self._past.known(metric)
        return known[0].info.kind if known else guessed_kind(metric)


def joined(answer: dict[str, Any], before: Sequence[tuple[str, dict[str, str], Points]], border: int) -> dict[str, Any]:
    """A local answer with the remote's points before `border`; series are the same when their labels outside are."""
    found: dict[tuple[tuple[str, str], ...], tuple[str, dict[str, str], Points]] = {}
    for one in answer["series"]:
        points: Points = [(t, value) for t, value in one["points"] if t >= border]
        found[outer_key(one["tags"])] = one["metric"], one["tags"], points
    for metric, tags, points in before:
        known = found.get(outer_key(tags), (metric, tags, []))
        found[outer_key(tags)] = known[0], known[1], [*points, *known[2]]
    series = sorted((one for one in found.values() if one[2]), key=lambda one: sorted(one[1].items()))
    return {**answer, **shaped(answer["expr"], answer["step"], series)}


def outer_key(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(outer_labels(tags, {}).items())
