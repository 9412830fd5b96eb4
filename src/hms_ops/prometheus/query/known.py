"""The table of names of one engine, made anew when its metrics or their kinds are others.

Threads: any; two at once would make it twice. The catalogue is asked only of metrics that are not in memory.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hms_ops import kinds
from hms_ops.past import Past
from hms_ops.prometheus.query.names import Names, names_of

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Description

Described = Callable[[], "Mapping[str, Description]"]


class Known:
    """What was made last, and of what."""

    def __init__(self) -> None:
        self._made: tuple[list[str], list[int], Names] = ([], [], names_of({}))

    def names(self, past: Past, described: Described) -> Names:
        metrics = past.metrics()
        live = [past.store.metric_kind(metric) for metric in metrics]
        before, kinds_before, names = self._made
        if metrics == before and live == kinds_before:
            return names
        stored = described() if kinds.UNKNOWN in live else {}
        known = {
            metric: kind or (stored[metric]["kind"] if metric in stored else kinds.UNKNOWN)
            for metric, kind in zip(metrics, live, strict=True)
        }
        names = names_of(known)
        self._made = metrics, live, names
        return names
