"""What names a series: its metric, its tags, and the kind that belongs to the metric.

A value that travels from the native core (`store.series(slot)`) to the catalogue on disk, to queries and to alerts.
"""

from dataclasses import dataclass, field

from hms_ops import kinds


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """`tags` belongs to the value and is not changed after it was made; equality looks at all three fields."""

    name: str
    tags: dict[str, str] = field(default_factory=dict)
    kind: int = kinds.UNKNOWN
