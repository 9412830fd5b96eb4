"""Rows of history as remote write requests: what each series did in each step, stateless, so that sending again is
harmless.

    row of api.ms{agency:irs}, step 10:00:00–10:00:10   ──►   api_ms_count{agency="irs"}  at 10:00:09.999
                                                              …_sum  …_min  …_max  …_last   the same
    sketch of a timer in that step (tiers 1m, 1h)       ──►   …_bucket{le="…"}: samples up to le, and le="+Inf"

A sample is the step's own value, never a running total (delta temporality): the sum over a window is `sum_over_time`,
not `increase`. Its time is the last millisecond of its step, so that a PromQL window [d] that ends where a step ends
covers whole steps, in Prometheus before and after 3.0 and in VictoriaMetrics alike.

`le` bounds are fixed by the metric's unit alone, so that buckets of any series, step and engine add up: `bounds_of`.
They are bounds of the sketches' own buckets, so the counts are exact until a sketch was halved below schema 1.

Data: rows as storage has them (steps int64[k], ids uint32[k], columns float64[6, k]), sorted here by (id, step).
Threads: one Encoder belongs to one remote's thread. Limits: LABELS_MAX series' labels kept (then all are forgotten),
REQUEST_BYTES_MAX a request before compression. Counted: `unnamed` rows of ids the catalogue does not know (deleted).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.alert.language.units import metric_unit
from hms_ops.remote import protobuf
from hms_ops.remote.labels import LE, NAME, Labelled, labelled, outer_labels, outer_metric
from hms_ops.series import SeriesInfo
from hms_ops.sketches import Sketches
from hms_ops.storage import merge

FIELDS: Final = (
    ("count", merge.COUNT),
    ("sum", merge.SUM),
    ("min", merge.MIN),
    ("max", merge.MAX),
    ("last", merge.LAST),
)
SKETCHED: Final = (kinds.TIMER, kinds.HISTOGRAM, kinds.DISTRIBUTION)
LABELS_MAX: Final = 1_000_000
REQUEST_BYTES_MAX: Final = 16 * 1024 * 1024  # VictoriaMetrics takes 32 MiB, unless told otherwise

SeriesOf = Callable[[NDArray[np.uint32]], Sequence[SeriesInfo | None]]


class Rows(NamedTuple):
    """steps int64[k], Unix seconds; ids uint32[k]; columns float64[6, k]."""

    steps: NDArray[np.int64]
    ids: NDArray[np.uint32]
    columns: NDArray[np.float64]

    def at(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "Rows":
        """Those at an index, a mask or a slice."""
        return Rows(self.steps[index], self.ids[index], self.columns[:, index])

    def sorted(self) -> "Rows":
        """By (id, step)."""
        return self.at(np.lexsort((self.steps, self.ids)))


class Request(NamedTuple):
    """A body, how many samples are in it, and the rows it was made of."""

    body: bytes
    samples: int
    rows: Rows


@dataclass(slots=True)
class Outer:
    """One series' encoded labels; `names` are those of FIELDS; for sketched kinds the buckets' name and bounds.

    single, places: a TimeSeries for each field with one sample that is zeros, and where those are, int32[5] as bytes;
    made when they are needed.
    """

    labels: Labelled
    behind: bytes
    names: tuple[bytes, ...]
    bucket: bytes = b""
    bounds: tuple[float, ...] = ()
    single: bytes = b""
    places: bytes = b""

    def make_single(self) -> None:
        parts: list[bytes | memoryview] = []
        blank = memoryview(bytes(protobuf.SAMPLE_BYTES))
        places = []
        for name in self.names:
            _add_series(parts, (self.labels.before, name, self.behind), blank)
            places.append(sum(map(len, parts)) - len(blank))
        self.single, self.places = b"".join(parts), np.array(places, np.int32).tobytes()


def bounds_of(metric: str, described: str | None) -> tuple[float, ...]:
    """The `le` bounds of a metric but +Inf, ascending: for times half powers of two from 0.12 ms to 128 s, in the
    metric's unit; else powers of two from 2^-10 to 2^30."""
    unit = metric_unit(metric, described)
    if unit is None or unit.dimension != "time":
        return tuple(2.0**n for n in range(-10, 31))
    shift = round(math.log2(1 / unit.scale))
    return tuple(2.0 ** (shift + n / 2) for n in range(-26, 15))


def bound_text(bound: float) -> str:
    """A bound as the value of `le`, the same for ever: the shortest text that is the number."""
    return str(int(bound)) if bound.is_integer() and bound < 1e15 else repr(bound)


class Encoder:
    """Makes the requests of one remote. `unnamed`: rows left out, their series are not in the catalogue any more."""

    def __init__(
        self,
        series_of: SeriesOf,
        fixed: Mapping[str, str],
        keeps_dots: bool,
        unit: Callable[[str], str | None],
        samples_max: int,
    ) -> None:
        self._series_of = series_of
        self._fixed = fixed
        self._keeps_dots = keeps_dots
        self._unit = unit
        self._samples_max = samples_max
        self._known: dict[int, Outer | None] = {}
        self._metrics: dict[str, tuple[bytes, ...]] = {}
        self.unnamed = 0

    def requests(self, rows: Rows, step_seconds: int, sketches: Sketches | None = None) -> Iterator[Request]:
        """The requests of rows sorted by (id, step), each with whole series. sketches: ids are catalogue ids; of one
        (id, step) there may be several."""
        self.learn(np.unique(rows.ids))
        rows = self._named(rows)
        blobs = _by_id(sketches)
        is_single = np.ones(len(rows.ids), bool)
        is_single[1:] = rows.ids[1:] != rows.ids[:-1]
        is_single[:-1] &= is_single[1:]
        if blobs:
            is_single &= ~np.isin(rows.ids, list(blobs))
        yield from self._singles(rows.at(is_single), step_seconds)
        yield from self._longer(rows.at(~is_single), step_seconds, blobs)

    def _named(self, rows: Rows) -> Rows:
        """Without those whose series have no name any more."""
        is_named = np.fromiter((self._known[n] is not None for n in rows.ids.tolist()), bool, len(rows.ids))
        self.unnamed += len(is_named) - int(is_named.sum())
        return rows.at(is_named)

    def _singles(self, rows: Rows, step_seconds: int) -> Iterator[Request]:
        """Series of one sample each, as in every live step: made beforehand, but for the values."""
        size = max(1, self._samples_max // len(FIELDS))
        for first in range(0, len(rows.ids), size):
            yield from self._single(rows.at(slice(first, first + size)), step_seconds)

    def _single(self, rows: Rows, step_seconds: int) -> Iterator[Request]:
        outers = [outer for n in rows.ids.tolist() if (outer := self._known[n]) is not None]
        for outer in outers:
            if not outer.single:
                outer.make_single()
        sizes = np.array([len(outer.single) for outer in outers])
        if len(outers) > 1 and sizes.sum() > REQUEST_BYTES_MAX:
            half = len(outers) // 2
            for part in (slice(half), slice(half, None)):
                yield from self._single(rows.at(part), step_seconds)
            return
        body = bytearray().join([outer.single for outer in outers])
        places = np.frombuffer(b"".join([outer.places for outer in outers]), np.int32).reshape(-1, len(FIELDS))
        places = places + (np.cumsum(sizes) - sizes)[:, None]
        times = np.repeat(times_ms(rows.steps, step_seconds), len(FIELDS))
        block = protobuf.samples(times, rows.columns[[column for _, column in FIELDS]].T.reshape(-1))
        protobuf.put_samples(body, places.reshape(-1), block)
        yield Request(protobuf.compressed(body), len(times), rows)

    def _longer(self, rows: Rows, step_seconds: int, blobs: dict[int, dict[int, list[bytes]]]) -> Iterator[Request]:
        """Series of several samples, or with buckets."""
        if not len(rows.ids):
            return
        starts = np.flatnonzero(np.r_[True, rows.ids[1:] != rows.ids[:-1]])
        ends = np.append(starts[1:], len(rows.ids))
        times = times_ms(rows.steps, step_seconds)
        fields = [protobuf.samples(times, rows.columns[column]) for _, column in FIELDS]
        parts: list[bytes | memoryview] = []
        samples = size = first = 0
        for series_id, start, end in zip(rows.ids[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
            if samples and (samples >= self._samples_max or size >= REQUEST_BYTES_MAX):
                yield Request(protobuf.compressed(b"".join(parts)), samples, rows.at(slice(first, start)))
                parts, samples, size, first = [], 0, 0, start
            outer = self._known[series_id]
            assert outer is not None
            size += _add_fields(parts, outer, fields, start, end)
            samples += len(FIELDS) * (end - start)
            if outer.bounds and series_id in blobs:
                length, count = _add_buckets(parts, outer, blobs[series_id], step_seconds)
                size, samples = size + length, samples + count
        yield Request(protobuf.compressed(b"".join(parts)), samples, rows.at(slice(first, None)))

    def learn(self, ids: NDArray[np.uint32]) -> None:
        """Look up what is not known yet; all of `ids` is known afterwards."""
        if len(self._known) + len(ids) > LABELS_MAX:
            self._known.clear()
        missing = np.array([number for number in ids.tolist() if number not in self._known], np.uint32)
        if len(missing):
            found = self._series_of(missing)
            self._known |= {n: self._outer(info) for n, info in zip(missing.tolist(), found, strict=True)}

    def forget(self) -> None:
        """Look everything up again: a kind was settled, a unit described, a series deleted."""
        self._known.clear()
        self._metrics.clear()

    def sketched(self, ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Those of `ids` (known) whose sketches are sent."""
        return np.array([n for n in ids.tolist() if (outer := self._known[n]) is not None and outer.bounds], np.uint32)

    def _outer(self, info: SeriesInfo | None) -> Outer | None:
        if info is None or info.kind == kinds.SET:
            return None
        labels = labelled(outer_labels(info.tags, self._fixed))
        names = self._metrics.get(info.name)
        if names is None:
            name = outer_metric(info.name, self._keeps_dots)
            names = tuple(protobuf.label(NAME, f"{name}_{field}") for field in (*(f for f, _ in FIELDS), "bucket"))
            self._metrics[info.name] = names
        behind = labels.between + labels.behind
        if info.kind not in SKETCHED:
            return Outer(labels, behind, names[:-1])
        return Outer(labels, behind, names[:-1], names[-1], bounds_of(info.name, self._unit(info.name)))


def times_ms(steps: NDArray[np.int64], step_seconds: int) -> NDArray[np.int64]:
    """When samples stand: the last millisecond of their steps."""
    return (steps + step_seconds) * 1000 - 1


def _add_series(parts: list[bytes | memoryview], labels: Sequence[bytes], samples: memoryview) -> int:
    """One TimeSeries; returns its length."""
    length = sum(map(len, labels)) + len(samples)
    parts += (b"\x0a", protobuf.varint(length), *labels, samples)
    return length


def _add_fields(
    parts: list[bytes | memoryview], outer: Outer, fields: Sequence[memoryview], start: int, end: int
) -> int:
    """One TimeSeries for each field; returns their length."""
    first, last = start * protobuf.SAMPLE_BYTES, end * protobuf.SAMPLE_BYTES
    return sum(
        _add_series(parts, (outer.labels.before, name, outer.behind), field[first:last])
        for name, field in zip(outer.names, fields, strict=True)
    )


def _add_buckets(
    parts: list[bytes | memoryview], outer: Outer, blobs: dict[int, list[bytes]], step_seconds: int
) -> tuple[int, int]:
    """One TimeSeries for each bound and +Inf; returns (length, samples)."""
    steps = np.array(sorted(blobs))
    counts = np.array([cumulative(blobs[step], outer.bounds) for step in steps.tolist()])
    times = np.tile(times_ms(steps, step_seconds), counts.shape[1])
    block, size = protobuf.samples(times, counts.T.reshape(-1)), len(steps) * protobuf.SAMPLE_BYTES
    before, between, behind = outer.labels
    total = sum(
        _add_series(parts, (before, outer.bucket, between, bound, behind), block[n * size : (n + 1) * size])
        for n, bound in enumerate(_bound_labels(outer.bounds))
    )
    return total, counts.size


def cumulative(blobs: Sequence[bytes], bounds: Sequence[float]) -> NDArray[np.float64]:
    """float64[len(bounds) + 1]: how many samples of these sketches together are at most each bound; all, last."""
    from hms_ops import _sketch

    upper, counts = _sketch.buckets(blobs[0] if len(blobs) == 1 else _sketch.merge(list(blobs)))
    running = np.concatenate([[0.0], np.cumsum(counts)])
    # A sketch's bound and ours are the same number up to the last bits of a power.
    below = np.searchsorted(upper, np.array(bounds) * (1 + 1e-9), side="right")
    return np.append(running[below], running[-1])


_bound_cache: Final[dict[tuple[float, ...], list[bytes]]] = {}


def _bound_labels(bounds: tuple[float, ...]) -> list[bytes]:
    """The encoded `le` labels of bounds and of +Inf."""
    found = _bound_cache.get(bounds)
    if found is None:
        found = [protobuf.label(LE, text) for text in (*map(bound_text, bounds), "+Inf")]
        _bound_cache[bounds] = found
    return found


def _by_id(sketches: Sketches | None) -> dict[int, dict[int, list[bytes]]]:
    """{id: {step: its blobs}}."""
    found: dict[int, dict[int, list[bytes]]] = {}
    if sketches is not None:
        for n, (series_id, step) in enumerate(zip(sketches.ids.tolist(), sketches.steps.tolist(), strict=True)):
            found.setdefault(series_id, {}).setdefault(step, []).append(sketches.blob(n))
    return found


def halved(rows: Rows) -> tuple[Rows, ...]:
    """Two parts: the older and the younger steps, or of one step the lower and the upper ids; () of a single row."""
    steps = np.unique(rows.steps)
    if len(steps) > 1:
        is_first = rows.steps < steps[len(steps) // 2]
    elif len(rows.ids) > 1:
        is_first = np.arange(len(rows.ids)) < len(rows.ids) // 2
    else:
        return ()
    return rows.at(is_first), rows.at(~is_first)
