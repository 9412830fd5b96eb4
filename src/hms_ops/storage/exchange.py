"""Rows out of history as text, and back: export and import of CSV (csvrows.py) and OpenMetrics (openmetrics.py).

    history ──exported──► text          text ──RowsReader──► batches ──Importer──► history, catalogue

What is exported is what is on disk, all columns exactly, a tier at a time; what still waits in memory is not there.
Importing writes rows into the tier they are of, never twice: a row whose series has one in that step already is left
out and counted as `present`, so the same file may be imported again after whatever went wrong. `fill` then makes the
coarser tiers' rows for what was imported, where they have none, for long queries read only those.

Memory: about ROWS_AT_ONCE rows, and the names of one metric's series. Errors: StorageError when the disk fails;
ValueError for a format that is none.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops import kinds
from hms_ops.series import SeriesInfo
from hms_ops.storage import csvrows, merge, openmetrics
from hms_ops.storage.catalogue import Catalogue
from hms_ops.storage.intake import Batch, Intake, RowRefused, Tally
from hms_ops.storage.tier import TIERS

if TYPE_CHECKING:
    from hms_ops.storage.history import History

FORMATS: Final = ("csv", "openmetrics")
ROWS_AT_ONCE: Final = 500_000
SERIES_AT_ONCE: Final = 64
FILLED_AT_ONCE: Final = 4096
"""Series: many, for each commit takes milliseconds."""

LINE_BYTES_MAX: Final = 16_384

Found = tuple[int, SeriesInfo]
Accepts = Callable[[SeriesInfo], bool]
Describe = Callable[[str, str | None, str | None], None]

_TIMINGS: Final = (kinds.TIMER, kinds.HISTOGRAM, kinds.DISTRIBUTION)


# ---- out


def exported(
    history: "History",
    catalogue: Catalogue,
    metrics: Iterable[str],
    accepts: Accepts,
    tiers: Sequence[int],
    start: int,
    end: int,
    format: str,
) -> Iterator[str]:
    """The text in pieces: the rows of [start, end), Unix seconds, of the series of `metrics` that `accepts` takes.

    ValueError: OpenMetrics takes one tier. The coarsest tier comes first, as import likes it.
    """
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is none of {', '.join(FORMATS)}")
    if format == "openmetrics" and len(tiers) != 1:
        raise ValueError("openmetrics takes one tier: 10s, 1m or 1h")
    write = _csv if format == "csv" else _openmetrics
    return write(history, catalogue, list(metrics), accepts, sorted(tiers, reverse=True), start, end)


def _csv(
    history: "History",
    catalogue: Catalogue,
    metrics: list[str],
    accepts: Accepts,
    tiers: list[int],
    start: int,
    end: int,
) -> Iterator[str]:
    yield csvrows.HEADER + "\n"
    for tier in tiers:
        for name in metrics:
            for info, steps, columns in rows_of(history, _chosen(catalogue, name, accepts), tier, start, end):
                yield "".join(csvrows.lines(info, tier, steps, columns))


def _openmetrics(
    history: "History",
    catalogue: Catalogue,
    metrics: list[str],
    accepts: Accepts,
    tiers: list[int],
    start: int,
    end: int,
) -> Iterator[str]:
    tier, prefixes = tiers[0], set[str]()
    for name in metrics:
        chosen = _chosen(catalogue, name, accepts)
        rows = rows_of(history, chosen, tier, start, end)
        if (first := next(rows, None)) is None:
            continue
        prefix = openmetrics.spelled(name)
        if prefix in prefixes:
            prefix = openmetrics.exactly(name)
        prefixes.add(prefix)
        held = [first, *rows] if len(chosen) <= SERIES_AT_ONCE and _fits(tier, chosen, start, end) else None

        def again(
            held: list[openmetrics.SeriesRows] | None = held, chosen: list[Found] = chosen
        ) -> Iterable[openmetrics.SeriesRows]:
            return held if held is not None else rows_of(history, chosen, tier, start, end)

        yield from openmetrics.families(name, tier, catalogue.description(name), prefix, again)
    yield openmetrics.END + "\n"


def _chosen(catalogue: Catalogue, name: str, accepts: Accepts) -> list[Found]:
    """A metric's series, in the order of their tags."""
    found = [one for one in catalogue.find(name) if accepts(one[1])]
    return sorted(found, key=lambda one: sorted(one[1].tags.items()))


def _fits(tier: int, series: Sequence[Found], start: int, end: int) -> bool:
    return (end - start) // TIERS[tier].step_seconds * len(series) <= ROWS_AT_ONCE


def rows_of(
    history: "History", series: Sequence[Found], tier: int, start: int, end: int
) -> Iterator[openmetrics.SeriesRows]:
    """(series, steps, columns) of those that have rows in [start, end), series by series, ascending by step; a series
    of very many rows in several parts."""
    first, last = history.first_step(tier), history.last_step(tier)
    if first is None or last is None:
        return
    step = TIERS[tier].step_seconds
    start, end = max(start - start % step, first), min(end, last + step)
    width = max(1, min(SERIES_AT_ONCE, ROWS_AT_ONCE * step // max(step, end - start)))
    span = ROWS_AT_ONCE * step
    for at in range(0, len(series), width):
        group = series[at : at + width]
        for begin in range(start, end, span):
            yield from _group_rows(history, group, tier, begin, min(begin + span, end))


def _group_rows(
    history: "History", group: Sequence[Found], tier: int, start: int, end: int
) -> Iterator[openmetrics.SeriesRows]:
    ids = np.array([number for number, _ in group], np.uint32)
    order = np.argsort(ids)
    steps, places, columns = history.read_columns(tier, ids, start, end)
    places = order[places]
    index = np.lexsort((steps, places))
    steps, places, columns = steps[index], places[index], columns[:, index]
    bounds = np.searchsorted(places, np.arange(len(group) + 1))
    for place, (_, info) in enumerate(group):
        part = slice(bounds[place], bounds[place + 1])
        if part.start < part.stop:
            yield info, steps[part], columns[:, part]


# ---- in


class RowsReader:
    """Reads a file in pieces of bytes, told by its first line; `take` gives the sound rows read so far."""

    def __init__(self, tally: Tally, settled_ends: Sequence[int]) -> None:
        """settled_ends: by tier; a row's step must have ended by then, Unix seconds."""
        self.tally = tally
        self.described: list[tuple[str, str, str]] = []
        self._intake = Intake(tally, settled_ends)
        self._read: Callable[[str, int], None] | None = None
        self._end: Callable[[], None] = lambda: None
        self._rest = b""
        self._line = 0

    def feed(self, data: bytes) -> None:
        """More of the file; ValueError when it begins like none of the formats."""
        *lines, rest = (self._rest + data).split(b"\n")
        # A line without an end must not fill the memory: what is cut off it is a line of its own, and a wrong one.
        self._rest = rest if len(rest) <= LINE_BYTES_MAX else b""
        for line in lines if self._rest or not rest else [*lines, rest]:
            self._read_line(line.removesuffix(b"\r"))

    def finish(self) -> None:
        """The file has ended."""
        if self._rest:
            self._read_line(self._rest)
            self._rest = b""
        self._end()

    def take(self, least: int = 1) -> list[Batch]:
        """The rows read since, once there are `least` of them."""
        return self._intake.take() if len(self._intake) >= max(1, least) else []

    def _read_line(self, line: bytes) -> None:
        self._line += 1
        try:
            text = line.decode()
            if self._read is None:
                self._begin(text)
            else:
                self._read(text, self._line)
        except UnicodeDecodeError:
            self._refuse("utf8", "it is not UTF-8")
        except RowRefused as error:
            self._refuse(error.reason, str(error))

    def _refuse(self, reason: str, text: str) -> None:
        if self._read is None:
            raise ValueError(NO_FORMAT)
        self.tally.rows += 1
        self.tally.refuse(self._line, reason, text)

    def _begin(self, text: str) -> None:
        if text == csvrows.HEADER:
            intake, places = self._intake, dict[tuple[str, str, str], int]()
            self._read = lambda line, number: csvrows.read_line(line, number, intake, places)
        elif text.startswith("# TYPE ") or text == openmetrics.END:
            reader = openmetrics.Reader(self._intake)
            self._read, self._end, self.described = reader.read_line, reader.end, reader.described
            reader.read_line(text, self._line)
        else:
            raise ValueError(NO_FORMAT)


NO_FORMAT: Final = f"this is no export: its first line is neither {csvrows.HEADER} nor # TYPE of a family"


class Touched:
    """Which spans of which series were imported and not filled yet: by tier, id → [first, end)."""

    def __init__(self) -> None:
        self.spans: list[dict[int, tuple[int, int]]] = [{} for _ in TIERS]

    def add(self, tier: int, ids: NDArray[np.uint32], steps: merge.Integers) -> None:
        order = np.lexsort((steps, ids))
        ids, steps = ids[order], steps[order]
        numbers, first = np.unique(ids, return_index=True)
        last = np.append(first[1:], len(ids)) - 1
        spans, length = self.spans[tier], TIERS[tier].step_seconds
        for number, low, high in zip(numbers.tolist(), steps[first].tolist(), steps[last].tolist(), strict=True):
            before = spans.get(number, (low, high))
            spans[number] = min(before[0], low), max(before[1], high + length)


class Importer:
    """Writes batches into a history. settled_ends: by tier; steps that end later are somebody else's to write."""

    def __init__(
        self,
        history: "History",
        catalogue: Catalogue,
        tally: Tally,
        now_ns: int,
        settled_ends: Sequence[int],
        touched: Touched,
    ) -> None:
        self._history = history
        self._catalogue = catalogue
        self._tally = tally
        self._now_ns = now_ns
        self._settled_ends = settled_ends
        self._touched = touched

    def write(self, batch: Batch) -> None:
        """Put the rows on disk that are not there yet. Rows of a kind that is not their metric's are counted."""
        ids = self._ids(batch)[batch.places]
        beyond = int((ids == 0).sum())
        self._tally.count(beyond, "series_limit", f"{beyond:,} rows: the catalogue has all the series it takes")
        is_known = (ids > 0) & (ids < _CONFLICT)
        steps, columns, known = batch.steps[is_known], batch.columns[:, is_known], ids[is_known].astype(np.uint32)
        is_new = ~self._present(batch.tier, known, steps)
        self._tally.present += int((~is_new).sum())
        self._touched.add(batch.tier, known, steps)
        self._append(batch.tier, steps[is_new], known[is_new], columns[:, is_new])

    def _append(self, tier: int, steps: merge.Integers, ids: NDArray[np.uint32], columns: NDArray[np.float64]) -> None:
        """Of rows that are one and the same series and step, under two kinds, the first counts."""
        order = np.lexsort((ids, steps))
        is_first = np.ones(len(order), bool)
        is_first[1:] = (np.diff(steps[order]) != 0) | (np.diff(ids[order].astype(np.int64)) != 0)
        order = order[is_first]
        refused = self._put(tier, (steps[order], ids[order], columns[:, order]))
        self._tally.count(refused, "refused", f"{refused:,} rows were refused: {self._history.problem}")
        self._tally.written += len(order) - refused
        self._tally.present += len(steps) - len(order)

    def _put(self, tier: int, rows: tuple[merge.Integers, NDArray[np.uint32], NDArray[np.float64]]) -> int:
        """All rows on disk; returns how many were refused for want of room."""
        refused = 0
        steps, ids, columns = rows
        while len(steps):
            done, more = self._history.put_patch(tier, (steps, ids, columns))
            refused += more
            steps, ids, columns = steps[done:], ids[done:], columns[:, done:]
        return refused

    def describe(self, described: Iterable[tuple[str, str, str]], describe: Describe | None = None) -> None:
        """Keep (name, unit, help) where nothing is kept yet; `describe` takes (name, unit, help) to be kept."""
        keep = describe or (lambda name, unit, words: self._catalogue.describe(name, unit=unit, help=words))
        for name, unit, words in described:
            known = self._catalogue.description(name)
            keep(name, unit if unit and not known["unit"] else None, words if words and not known["help"] else None)

    def fill(self, rolled_ends: Callable[[], Sequence[int]] | None = None) -> int:
        """Coarser rows from finer ones for every series and span that was imported, where there are none; how many.
        rolled_ends: by tier, coarser rows that end later will be made anyway; asked for each tier, for time goes on."""
        ends = rolled_ends or (lambda: self._settled_ends)
        return sum(self._fill(tier, ends()[tier + 1]) for tier in range(len(TIERS) - 1))

    def _ids(self, batch: Batch) -> NDArray[np.int64]:
        """The number of each of the batch's series: 0 beyond the catalogue's limit, _CONFLICT for another kind."""
        ids = np.full(len(batch.series), -1, np.int64)
        places = np.unique(batch.places).tolist()
        settled = {place: self._settled(batch.series[place]) for place in places}
        fine = {place: info for place, info in settled.items() if info is not None}
        ids[list(fine)] = self._catalogue.ids_for(list(fine.values()), self._now_ns)
        wrong = int((ids[batch.places] < 0).sum())
        names = sorted({batch.series[place].name for place in places if place not in fine})[:3]
        self._tally.count(wrong, "kind_conflict", f"{wrong:,} rows: another kind than their metric, {', '.join(names)}")
        ids[ids < 0] = _CONFLICT
        return ids

    def _settled(self, info: SeriesInfo) -> SeriesInfo | None:
        """The series with its metric's kind, if it has one; None when that is another."""
        known = self._catalogue.description(info.name)["kind"]
        if known == kinds.UNKNOWN:
            return info
        is_same = info.kind in (known, kinds.UNKNOWN) or {known, info.kind} <= {*_TIMINGS}
        return replace(info, kind=known) if is_same else None

    def _present(self, tier: int, ids: NDArray[np.uint32], steps: merge.Integers) -> NDArray[np.bool_]:
        """Which (id, step) have a row on disk."""
        if not len(ids):
            return np.zeros(0, bool)
        known, places = np.unique(ids, return_inverse=True)
        there, at, _ = self._history.read_columns(tier, known, int(steps.min()), int(steps.max()) + 1)
        return np.isin(places.astype(np.int64) << 40 | steps, at.astype(np.int64) << 40 | there)

    def _fill(self, tier: int, rolled_end: int) -> int:
        touched, filled = self._touched.spans[tier], 0
        numbers = sorted(touched)
        step = TIERS[tier + 1].step_seconds
        for at in range(0, len(numbers), FILLED_AT_ONCE):
            ids = np.array(numbers[at : at + FILLED_AT_ONCE], np.uint32)
            spans = [touched[number] for number in ids.tolist()]
            start, end = min(low for low, _ in spans), max(high for _, high in spans)
            end = min(end + -end % step, rolled_end - rolled_end % step)
            span = max(1, ROWS_AT_ONCE * TIERS[tier].step_seconds // len(ids) // step) * step
            for begin in range(start - start % step, end, span):
                filled += self._fill_part(tier, ids, begin, min(begin + span, end))
        return filled

    def _fill_part(self, tier: int, ids: NDArray[np.uint32], start: int, end: int) -> int:
        length = TIERS[tier + 1].step_seconds
        steps, places, columns = self._history.read_columns(tier, ids, start, end)
        steps, places, columns = merge.fold(steps - steps % length, places, columns)
        rows = ids[places]
        is_new = ~self._present(tier + 1, rows, steps)
        if not is_new.any():
            return 0
        self._put(tier + 1, (steps[is_new], rows[is_new], columns[:, is_new]))
        self._touched.add(tier + 1, rows[is_new], steps[is_new])
        return int(is_new.sum())


_CONFLICT: Final = 1 << 40


def roll_due(history: "History", now: int) -> None:
    """In a directory that no engine has open: roll what an engine left for its next start, so that what is imported
    behind it does not look like all of it was."""
    for tier in range(1, len(TIERS)):
        seconds = TIERS[tier].step_seconds
        first, last, done = history.first_step(tier - 1), history.last_step(tier - 1), history.last_step(tier)
        if first is None or last is None:
            continue
        begin = first - first % seconds if done is None else max(first - first % seconds, done + seconds)
        for step in range(begin, min(last + 1, now - now % seconds), seconds):
            history.roll(tier, step)


def read_into(importer: Importer, reader: RowsReader, pieces: Iterable[bytes]) -> None:
    """A whole file, piece by piece; ValueError when it is none."""
    for piece in pieces:
        reader.feed(piece)
        for batch in reader.take(ROWS_AT_ONCE):
            importer.write(batch)
    reader.finish()
    for batch in reader.take():
        importer.write(batch)
