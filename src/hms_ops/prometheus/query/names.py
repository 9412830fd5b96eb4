"""The names outside of what the engine knows, and what each of them stands for.

    finance.api_ms (timer)   finance_api_ms        the mean of each row
                             …_count _sum _min _max _last     the row's, as remote write sends them
                             …_bucket{le="…"}      samples up to `le`, as remote write sends them
                             …_p50 _p90 _p95 _p99  percentiles of the row
    queue.depth (gauge)      queue_depth           the last value of each row; …_count to …_last
    orders (counter)         orders                increments per second; …_count to …_last
                             orders_total          what is read through rate and increase

A name has letters, digits, `_` and `:` (remote/labels.py); the way back is this table of what there is, since `a.b`,
`a-b` and `a_b` come out alike. Of metrics that do, the one that is called so has the name, else the first by its own
name; the others keep their own, which PromQL says in quotes: {"a-b"}. A metric's own name comes before a derived one.
Every metric answers to its own name in quotes, too.

Pure. Sets have no history and no names here. Not here: labels (remote/labels.py), samples (reader.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from hms_ops import kinds
from hms_ops.remote.encode import FIELDS, SKETCHED
from hms_ops.remote.labels import outer_metric

VALUE: Final = "value"
TOTAL: Final = "total"
BUCKET: Final = "bucket"
RANKS: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
ROW_FIELDS: Final = tuple(field for field, _ in FIELDS)
ADDED: Final = ("sum", "count", BUCKET, TOTAL)  # what adds up over time: rate counts it, and silence is 0 of it


class Family(NamedTuple):
    """One name outside: the metric, its kind, and which number of each row it is."""

    name: str
    metric: str
    kind: int
    field: str

    @property
    def is_added(self) -> bool:
        """Whether its samples are what came in each row, so that they add up over time."""
        return self.field in ADDED or (self.field == VALUE and self.kind == kinds.COUNTER)


@dataclass(frozen=True, slots=True)
class Names:
    """families: by name outside. aliases: from a metric's own name, and that with an ending, to the name outside.
    hidden: what has no name of its own since others come first, for the descriptions."""

    families: Mapping[str, Family]
    aliases: Mapping[str, str]
    hidden: tuple[Family, ...]

    def named(self, name: str) -> Family | None:
        return self.families.get(name) or self.families.get(self.aliases.get(name, ""))


def names_of(metrics: Mapping[str, int]) -> Names:
    """The table of these metrics, name → kind."""
    known = {metric: kind for metric, kind in metrics.items() if kind != kinds.SET}
    bases = _bases(known)
    families = {bases[metric]: Family(bases[metric], metric, kind, VALUE) for metric, kind in known.items()}
    hidden = []
    for metric in sorted(known):
        for family in _derived(metric, known[metric], bases[metric]):
            if families.setdefault(family.name, family) is not family:
                hidden.append(family)
    aliases = {
        family.metric + family.name.removeprefix(bases[family.metric]): name
        for name, family in families.items()
        if bases[family.metric] != family.metric
    }
    return Names(families, aliases, tuple(hidden))


def _bases(metrics: Mapping[str, int]) -> dict[str, str]:
    """Each metric's name outside; its own where another one has that."""
    owner: dict[str, str] = {}
    for metric in sorted(metrics):
        name = outer_metric(metric, keeps_dots=False)
        if metric == name or name not in owner:
            owner[name] = metric
    return {metric: name if owner[name] == metric else metric for metric, name in _outer(metrics)}


def _outer(metrics: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    return ((metric, outer_metric(metric, keeps_dots=False)) for metric in metrics)


def _derived(metric: str, kind: int, base: str) -> Iterator[Family]:
    for field in ROW_FIELDS:
        yield Family(f"{base}_{field}", metric, kind, field)
    if kind == kinds.COUNTER and not base.endswith("_total"):
        yield Family(f"{base}_total", metric, kind, TOTAL)
    if kind in SKETCHED:
        for field in (BUCKET, *RANKS):
            yield Family(f"{base}_{field}", metric, kind, field)
