"""`Client`: what services call.

The hot path is `metric`: find the series' frame, format one line, append it. Everything that is not an ordinary number
for a series already seen takes the slow path, which is the same but checks and cleans.

Threads: any, at once; also signal handlers and __del__. Errors: none are raised by emitting. A sample that cannot be
sent is counted, see `counters`; what HTTP raises is in `api`.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

from hms_ops.client.api import Api
from hms_ops.client.buffer import BUFFER_BYTES_MAX, Buffer
from hms_ops.client.flusher import Flusher
from hms_ops.client.timed import Timed
from hms_ops.client.transport import Transport
from hms_ops.client.wire import VALUE_MAX, Frame, Tags, frame, gauge_document, kind_of, member, number

FRAMES_MAX: Final = 16_384
"""Series whose frame is remembered. Past it all are forgotten: names made up per request must not grow a service."""


class Client:
    """Emits to one engine: `url` is udp://HOST:PORT or unix:///PATH, `http` the address for alerts and queries.

    None means HMS_OPS_URL and HMS_OPS_HTTP, or udp://127.0.0.1:8125 and http://127.0.0.1:8126. `buffer_bytes_max`
    bounds the samples that wait; the thread that sends them starts with the first one. ValueError quotes a setting that
    cannot be.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        http: str | None = None,
        token: str | None = None,
        flush_interval_seconds: float = 0.1,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
        http_timeout_seconds: float = 5.0,
    ) -> None:
        self._api = Api(http, token, http_timeout_seconds)
        self._transport = Transport(url)
        self._buffer = Buffer(buffer_bytes_max)
        self._flusher = Flusher(self._buffer, self._transport, flush_interval_seconds)
        self._frames: dict[object, Frame] = {}

    def metric(
        self, name: str, value: float, kind: str | None = None, tags: Tags | None = None, rate: float = 1
    ) -> None:
        """Emit one sample. Without a kind, a name that ends in `_ms` is a timer and any other a gauge.

        `rate` in (0, 1]: send this share of the calls, at random; the engine weighs each by 1/rate.
        """
        try:
            # Tags in the order they were written: to sort them here would cost more than a second frame does.
            key = name if kind is None and not tags else (name, kind, tuple(tags.items()) if tags else None)
            known = self._frames.get(key)
            if known is None or rate != 1 or (type(value) is not float and type(value) is not int):
                self._emit_slowly(name, value, kind, tags, rate)
                return
            head, tail, low = known
            if low <= value <= VALUE_MAX:
                buffer = self._buffer
                lines = buffer.lines
                lines.append(f"{head}{value!r}{tail}")
                if len(lines) >= buffer.attend_at:
                    self._flusher.attend()
            else:
                self._emit_slowly(name, value, kind, tags, rate)
        except Exception:
            self._buffer.invalid.step()

    def increment(self, name: str, n: float = 1, tags: Tags | None = None) -> None:
        """Add `n` to a counter."""
        self.metric(name, n, "counter", tags)

    def gauge(self, name: str, value: float, tags: Tags | None = None) -> None:
        """Say what something is now; below zero too."""
        self.metric(name, value, "gauge", tags)

    def timing(self, name: str, ms: float, tags: Tags | None = None, rate: float = 1) -> None:
        """Record a duration in milliseconds."""
        self.metric(name, ms, "timer", tags, rate)

    def histogram(self, name: str, value: float, tags: Tags | None = None, rate: float = 1) -> None:
        """Record a value whose distribution matters."""
        self.metric(name, value, "histogram", tags, rate)

    def set_(self, name: str, member: str | int | float, tags: Tags | None = None) -> None:
        """Count `member` among the distinct members seen."""
        self.metric(name, member, "set", tags)  # type: ignore[arg-type]  # a set's value may be a string

    def timed(self, name: str, tags: Tags | None = None) -> Timed:
        """A decorator and context manager that records milliseconds, also of coroutines; re-entrant."""
        return Timed(self.metric, name, tags)

    def alert(
        self,
        name: str,
        *,
        if_: str,
        for_: str | None = None,
        keep: str | None = None,
        recover: str | None = None,
        where: str | None = None,
        group_by: str | Sequence[str] | None = None,
        nodata: str | None = None,
        severity: str | None = None,
        notify: Sequence[str] | None = None,
    ) -> Any:
        """Set a rule; the engine keeps it until it stops. Returns the engine's answer; Unreachable or RequestError."""
        rule = {"alert": name, "if": if_, "for": for_, "keep": keep, "recover": recover, "where": where}
        return self._api.post_alert(
            {**rule, "group_by": group_by, "nodata": nodata, "severity": severity, "notify": notify}
        )

    def alert_now(self, name: str, value: float | None = None) -> Any:
        """Fire an alert at once; it resolves by itself after 5 min without a repeat. Unreachable or RequestError."""
        return self._api.fire(name, value)

    def query(
        self, expr: str, start: float | None = None, end: float | None = None, step: float | str | None = None
    ) -> dict[str, Any]:
        """The series an expression gives from `start` to `end` (Unix seconds), or its value now without them.

        The answer is that of GET /v1/query: {"expr", "step", "series": [{"metric", "tags", "points"}]}.
        """
        return self._api.query(expr, start, end, step)

    def flush(self) -> None:
        """Send now what is buffered, in this thread; for a process that ends by os._exit. May wait for the network."""
        self._flusher.flush()

    def close(self) -> None:
        """Send what is buffered and stop; what is emitted later is counted as dropped."""
        self._flusher.close()

    def counters(self) -> dict[str, int]:
        """Samples since the start, or since the fork: what was sent, and what was not and why.

        `sent` is handed to the network; what the network or the engine loses, the engine's ledger knows.
        """
        full, closed = self._buffer.dropped()
        dropped = {
            "dropped_invalid": self._buffer.invalid.read() + self._flusher.dropped_oversize,
            "dropped_full": full,
            "dropped_closed": closed,
            "dropped_busy": self._transport.dropped_busy,
            "dropped_unreachable": self._transport.dropped_unreachable,
        }
        total = sum(dropped.values())
        return {"sent": self._transport.sent, "datagrams": self._transport.datagrams, "dropped": total, **dropped}

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _emit_slowly(self, name: str, value: object, kind: str | None, tags: Tags | None, rate: float) -> None:
        """Any sample; what is raised here, `metric` counts."""
        if rate != 1 and not _is_drawn(rate):
            return
        series_kind = kind_of(name, kind)
        if series_kind == "set":
            text = member(value)
        else:
            value = number(value)
            if series_kind == "gauge" and value < 0:
                self._append(gauge_document(name, value, tags, rate))
                return
            text = repr(value) if value else "0"  # "-0.0" would be read as a delta
        head, tail, _ = self._frame(name, kind, tags, rate)
        self._append(f"{head}{text}{tail}")

    def _append(self, line: str) -> None:
        self._buffer.lines.append(line)
        if len(self._buffer.lines) >= self._buffer.attend_at:
            self._flusher.attend()

    def _frame(self, name: str, kind: str | None, tags: Tags | None, rate: float) -> Frame:
        """The series' frame, remembered unless a tag's value is no str: 1, 1.0 and True are three tags but one key."""
        if tags and any(type(value) is not str for value in tags.values()):
            return frame(name, kind, tags, rate)
        key: object = name if kind is None and not tags else (name, kind, tuple(tags.items()) if tags else None)
        if rate != 1:
            key = (key, rate)
        known = self._frames.get(key)
        if known is None:
            known = frame(name, kind, tags, rate)
            if len(self._frames) >= FRAMES_MAX:
                self._frames.clear()
            self._frames[key] = known
        return known


def _is_drawn(rate: float) -> bool:
    """Whether this call is among the share that is sent."""
    if not 0 < rate <= 1:
        raise ValueError(f"a rate is in (0, 1], not {rate!r}")
    from random import random  # few services sample, all pay for an import

    return random() < rate
