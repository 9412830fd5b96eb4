"""The store: names, rings, cells and columns of all series, and the ledger, behind one mutex.

    cols         float64[3, 6, 64, capacity]   [tier 1 s, 10 s, 60 s][COUNT SUM M2 MIN MAX LAST][step % 64][series]
    last_value   float64[capacity]             the last sealed value of each series
    last_second  int64[capacity]               its Unix second, 0 = never

Where COUNT is 0 the other fields are undefined. Nothing is reallocated: arrays handed out stay valid, and outlive the
store. Every method may be called from any thread. Names are up to 200 bytes of UTF-8, tags {str: str}, kinds the
numbers of `hms_ops.kinds`. Bad data is counted in the ledger and never raised. In a forked child the store is dead.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Buffer

from hms_ops.series import SeriesInfo
from hms_ops.sketches import Sketches

REJECTED: Final[tuple[str, ...]]
"""Why a datagram is rejected whole: the keys of the ledger's `rejected`."""
BAD: Final[tuple[str, ...]]
"""Why one value is bad, the keys of the ledger's `bad`; the first stands for none."""
IGNORED: Final[tuple[str, ...]]
"""What is passed over on purpose and counted."""

Forward = Callable[[str, float, str | None, dict[str, str] | None], object]

class Store:
    """The memory of up to `series_max` series.

    series_max: the cap, 1 to 16,777,216; beyond it samples fold into `__overflow__` series.
    ring_samples: latest raw samples kept of each series, a power of two from 2 to 65,536.
    late_max, pending_max, subscribed_max: bounds of the queues of stamped samples, of in-process calls (at most
    65,536) and of values for on_metric (a power of two).
    set_bytes_max: bound on the memory of all set series together, in bytes.
    sketch_bytes_max: bound on the memory of the sketches of all timers, histograms and distributions, in bytes (512
    MiB). A sample that it has no room for is in every row and counted in `sketch_samples_lost`; percentiles, shares and
    sketches on disk are of the samples before, NULL or empty when there are none.
    now_ns: a fixed clock for tests, moved with `set_now_ns`; None: monotonic time + `offset_ns`.
    Raises ValueError quoting a setting out of range, OSError when the address space is refused.
    """

    cols: NDArray[np.float64]
    last_value: NDArray[np.float64]
    last_second: NDArray[np.int64]
    signs_are_deltas: bool

    def __init__(
        self,
        series_max: int = 100_000,
        *,
        ring_samples: int = 64,
        late_max: int = 65_536,
        pending_max: int = 1024,
        subscribed_max: int = 65_536,
        set_bytes_max: int = ...,
        sketch_bytes_max: int = ...,
        offset_ns: int = 0,
        now_ns: int | None = None,
        signs_are_deltas: bool = True,
    ) -> None: ...

    # ---- what it is ----

    @property
    def series_max(self) -> int: ...
    @property
    def capacity(self) -> int:
        """Slots there are: the cap and the overflow series."""
    @property
    def series_count(self) -> int:
        """Slots ever used: the bound of loops over series."""
    @property
    def series_live(self) -> int: ...
    @property
    def ring_samples(self) -> int: ...
    @property
    def first_second(self) -> int:
        """Unix second; nothing before it is valid."""
    @property
    def sealed_second(self) -> int:
        """The last second whose columns change no more, but for late samples."""
    @property
    def dead(self) -> bool:
        """True in a forked child: calls are forwarded or counted as dropped, nothing is stored."""
    @property
    def changes_count(self) -> int: ...
    @property
    def bytes_reserved(self) -> int:
        """The bound on the store's memory: what it takes when every series has been alive for an hour."""
    def counters(self) -> dict[str, int]:
        """What the bounds turned away, and what happened to stamped samples."""

    # ---- time ----

    def now_ns(self) -> int:
        """The store's clock: int64 Unix ns."""
    def set_now_ns(self, now_ns: int) -> None:
        """Move a test's clock."""
    def reanchor(self, offset_ns: int) -> None:
        """The wall clock was set: take its time (offset to the monotonic clock) and begin all windows anew."""

    # ---- in ----

    def add_input(self, name: str) -> int:
        """A row of the ledger for one source of datagrams; returns its index. Beyond 64: ValueError."""
    def ingest(self, data: Buffer, input: int = 1) -> int:
        """One datagram of any of the three formats through the sockets' decoder; returns the samples stored.

        TypeError for what is no buffer, ValueError for an input nobody added. Above 64 KiB without the GIL.
        """
    def ingest_tally(self, data: Buffer, input: int) -> dict[str, Any]:
        """As `ingest`, without the GIL, in many short holds of the mutex; returns its own counters."""
    def flush(self) -> None:
        """Append the in-process calls that wait in the buffer; every reader does this first."""
    def handle(self, name: str, kind: int = 0, tags: dict[str, str] | None = None, input: int = 1) -> Series:
        """A Series to add values to. ValueError for a name or tags that no sample could have.

        In a forked child the handle only forwards.
        """

    # ---- the tick ----

    def seal(self, closed: int) -> None:
        """Copy the cells of all seconds up to `closed` into tier 0."""
    def clear_ahead(self, second: int) -> None:
        """Prepare the rows up to `second`, before a listener needs them."""
    def rolled_end(self, tier: int) -> int:
        """The second at which the last closed step of `tier` (1 or 2) ends."""
    def set_rolled(self, tier: int, step: int) -> None:
        """The tick has rolled `step` (in units of the tier's step); sketches of sets are rolled here, and those of
        timers, histograms and distributions made."""
    def merge_late(
        self,
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]] | None:
        """Merge the stamped samples whose second is sealed; None when none waits.

        Returns (slot uint32[n], second int64[n], value float64[n], weight float64[n]) of those whose 10-s step had
        closed already: what is on disk of it needs a patch.
        """
    def drop_late(self) -> None:
        """The engine stops: what still waits for a second to come is lost, and counted as `late_lost`."""
    def release_idle(self, first: int, n: int, before_second: int) -> int:
        """Look at `n` slots from `first` on; give back those silent since `before_second`. Returns how many."""
    def forget(self, name: str, tags: dict[str, str] | None = None) -> int:
        """Drop all that one series holds, at once; its slot is given back unless somebody holds on to it (a handle, a
        rule, the overflow). Returns the slot it had, -1 when it is not there."""

    # ---- names ----

    def series(self, slot: int) -> SeriesInfo:
        """What a live slot is; KeyError otherwise."""
    def slots(self, name: str) -> NDArray[np.int32]:
        """int32[k]: the live series of a metric, ascending; empty for an unknown one."""
    def all_slots(self) -> NDArray[np.int32]:
        """int32[k]: every live series that has values (sets have none), but for the __overflow__ ones, ascending."""
    def slot(self, name: str, tags: dict[str, str] | None = None) -> int:
        """The slot of exactly this series, or -1."""
    def metric_kind(self, name: str) -> int:
        """The kind's number, 0 for an unknown metric."""
    def metrics(self) -> list[str]:
        """The names of all metrics that have series, sorted."""
    def changes(self, cursor: int) -> tuple[int, list[tuple[int, bool]]]:
        """(new cursor, [(slot, True born | False gone), …]) since the cursor; start with 0.

        A reader that slept through more changes than are kept gets every live series as born again.
        """
    def settle_kind(self, name: str, kind: int) -> bool:
        """Give a metric its kind, as an explicit sample would; False for another one already, or an unknown metric."""
    def subscribe(self, name: str, on: bool = True) -> None:
        """Queue each value of the metric for `take_subscribed`. ValueError for a bad name or without room."""
    def reserve(self, name: str, on: bool = True, kind: int = 2) -> None:
        """Only the engine itself (input 0) may write this metric, of this kind (a gauge) if it is new: a rule or an SLO
        publishes under its name."""

    # ---- goals ----

    def judge(self, name: str, goals: Sequence[tuple[float, float, bool]] | None, kind: int = 0) -> int:
        """Count the metric's samples against these goals as they come; None ends it.

        goals: (low, high, is_outside) each, up to 6: good are the values in [low, high], or those outside of it; () for
        a metric whose late samples alone are wanted. kind: of a metric that is new. Returns the first Unix second that
        is counted wholly, for goals that were not at their place before. ValueError for a bad name, too many goals, or
        without room (1,023 metrics).
        """
    def sums_of_second(
        self, column: int, second: int, slots: ArrayLike, group_offset: ArrayLike
    ) -> NDArray[np.float64]:
        """float64[g]: the sum over each group's series of one column of a sealed second, one of the last 60.

        column: COUNT 0, SUM 1, …; 8 for the weight of what the metric's first goal takes, 9 for its second one, ….
        Groups as `sketch_quantiles` takes them. ValueError for a second or a column that is not kept.
        """
    def take_judged(
        self, second: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """The sums of seconds up to `second` were read: from now on what comes late for them is listed, not summed.

        Returns what was listed since the last call: (slot uint32[n], second int64[n], value float64[n],
        weight float64[n]). Only the tick may call this, as often as it merges late samples.
        """

    # ---- out ----

    def take_subscribed(self) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        """(slot uint32[n], value float64[n]) of subscribed metrics, oldest first; the queue is empty afterwards."""
    def recent(self, slot: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(time_ns int64[n], value float64[n]): the ring of a series, copied, in the order of arrival. KeyError."""
    def distinct(self, slots: ArrayLike, tiers: NDArray[np.int64], steps: NDArray[np.int64]) -> float:
        """Distinct members of set series over the given steps (tier and step number of each).

        Exact while all sketches read are sparse (up to 512 members each), then within about 1 % (HyperLogLog).
        """
    def sketch_quantiles(
        self, slots: ArrayLike, group_offset: ArrayLike, start: int, end: int, quantiles: ArrayLike
    ) -> tuple[NDArray[np.float64], int]:
        """(float64[g, q], start second): the quantiles of timers', histograms' and distributions' samples in a window.

        slots: int32[k], other series count as empty; group_offset: int64[g + 1], group j pools the slots
        group_offset[j] to group_offset[j + 1] − 1. The window is [start, end), Unix seconds, 0 to 3,600 s long; `end`
        is the last sealed second + 1. The start is rounded down to a step of 10 s, of 60 s when the window is longer
        than 600 s, and returned. quantiles: float64[q], each 0 to 1. NaN for a group without samples. A quantile is
        within 2.2 % of a sample (see `_sketch`), so it may lie outside the window's least and greatest.

        Of an `end` that is no step's end and lies before the open 10-s step, the whole step is taken.
        ValueError for a window, groups or quantiles that are none; MemoryError.
        """
    def sketch_groups(self, slots: ArrayLike, group_offset: ArrayLike, start: int, end: int) -> list[bytes]:
        """The sketch of each group's samples in a window, as `sketch_quantiles` takes them; b"" without samples."""
    def take_sketches(self, tier: int, step: int) -> Sketches:
        """The sketches of a closed step, ids are slots, ascending, for the disk.

        tier: 1 for steps of 10 s, 2 for steps of 60 s (ValueError otherwise); step: its number, as `set_rolled` got it.
        Empty for a step that is open, or not kept any more (61 are).
        """
    def ledger_rows(self) -> dict[str, dict[str, Any]]:
        """{input: {received, accepted, rejected{reason}, values, samples, bad{reason}, ignored{what}}}."""
    def rejects(self) -> list[dict[str, Any]]:
        """The last 100, newest first: time_ns, input, reason, source (raw sockaddr, 28 bytes) and text (bytes)."""
    def set_forward(self, forward: Forward | None) -> None:
        """What a forked child does with a call: a callable (name, value, kind, tags), or None to drop and count it."""

class Series:
    """One series of an engine, to add values to: `engine.series(name)`. While it lives the series keeps its slot."""

    def __init__(self) -> None:
        """TypeError: ask the engine for one."""
    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> dict[str, str]: ...
    def add(self, value: float, /) -> None:
        """Add one value, at the time of the call. Never waits; a value that is no finite number is counted as bad."""
    def add_many(self, values: ArrayLike, /) -> None:
        """Add float64[n] in one go: one datagram of n values in the ledger. Lists and other dtypes are converted."""

class InProcess:
    """`engine.metric`: names to series through a bounded cache, then as `Series.add`. `input`: its ledger row."""

    def __init__(self, store: Store, input: int = 1) -> None: ...
    def metric(
        self, name: str, value: float | str, kind: str | None = None, tags: dict[str, str] | None = None
    ) -> None:
        """Add one value. Never waits and never raises for data: a bad name, tag or value is counted.

        value: a number; with kind "set" a text too, its member.

        kind: counter, gauge, timer, histogram, distribution, set or None (inferred); ValueError otherwise.
        tags: numbers and booleans are spelled out, a tag that is anything else makes a bad value.
        """
    def forget(self) -> None:
        """Empty the cache, so that idle series can give their slots back; the engine does this now and then."""
