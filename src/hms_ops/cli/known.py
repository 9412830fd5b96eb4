"""What a running engine knows of metrics, asked over HTTP: for `check-config`, `rules explain` and `rules export`.

Each metric is asked for once. Errors: those of reach.py; a metric nobody has sent is no error.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from hms_ops.alert.language.tokens import quoted
from hms_ops.cli.reach import RequestRefused, get

TIMEOUT_SECONDS: Final = 30.0
GAP_LOOK_SECONDS: Final = 3600
GAP_STEP_SECONDS: Final = 10
GAP_SAMPLES_MIN: Final = 3  # fewer say nothing of how far apart they are


@dataclass(slots=True)
class Running:
    """One engine, and what it said."""

    url: str
    _series: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    _gaps: dict[str, float | None] = field(default_factory=dict)

    def seen(self, metric: str) -> bool:
        """Whether anybody ever sent it, as far as memory and disk know."""
        return self._one(metric) is not None

    def unit(self, metric: str) -> str | None:
        """The unit it was described with, ms of a timer whose name has none; None where the engine knows none."""
        found = self._one(metric)
        return (found["unit"] or None) if found else None

    def kind(self, metric: str) -> int:
        """The number of its kind; one the engine does not know is guessed by its name."""
        from hms_ops import kinds
        from hms_ops.remote.reading import guessed_kind

        found = self._one(metric)
        return kinds.NUMBERS.get(found["kind"], kinds.UNKNOWN) if found else guessed_kind(metric)

    def gap_seconds(self, metric: str) -> float | None:
        """How far apart the samples of a series are, in the middle of its series, over the last hour; None where too
        few came. Samples that stand for several, by their rate, count as so many."""
        if metric not in self._gaps:
            self._gaps[metric] = self._gap(metric)
        return self._gaps[metric]

    def _one(self, metric: str) -> dict[str, Any] | None:
        if metric not in self._series:
            found = get(self.url, "/v1/series", match=quoted(metric), limit=1, timeout_seconds=TIMEOUT_SECONDS)[
                "series"
            ]
            self._series[metric] = found[0] if found else None
        return self._series[metric]

    def _gap(self, metric: str) -> float | None:
        if not self.seen(metric):
            return None
        expression = f"count({quoted(metric)}) GROUP BY *"
        try:
            now = get(self.url, "/v1/query", TIMEOUT_SECONDS, expr=expression)["series"]
            if not now:
                return None
            end = now[0]["points"][0][0] + 1  # by the engine's clock
            since = end - GAP_LOOK_SECONDS
            answer = get(
                self.url, "/v1/query", TIMEOUT_SECONDS, expr=expression, start=since, end=end, step=GAP_STEP_SECONDS
            )
        except RequestRefused:  # a set, or too many series
            return None
        gaps = sorted(filter(None, (gap_of(series["points"], end) for series in answer["series"])))
        return gaps[len(gaps) // 2] if gaps else None


def gap_of(points: list[list[Any]], end: int) -> float | None:
    """Seconds between two samples of one series, from its first step with samples to the end."""
    counts = [(start, count) for start, count in points if count]
    samples = sum(count for _, count in counts)
    return (end - counts[0][0]) / samples if samples >= GAP_SAMPLES_MIN else None
