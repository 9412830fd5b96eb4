"""One remote: sends local history to it, step by step, for as long as the engine runs.

    history ──Feed──► rows ──Encoder──► requests ──Link──► 2xx: the cursor moves on
                                                           408, 425, 429, 5xx, no answer: again, with backoff
                                                           3xx, 401, 403, 404, 405, 407: the same, until it is mended
                                                           other 4xx: counted, cut in two as long as that helps, skipped

The cursor over local history is the queue: nothing waits in memory, and a remote that was down for a day gets all of
it, in order. A step is sent `delay` after its end, when all of it is there. What comes later for a step that was sent
is not sent any more, and counted: `late_not_sent`. When the clock was set back the cursor goes back with it, so
what is written anew is sent (`clock_set_back`), even for times that were sent.

Once, or twice and the same: a request that was not answered is sent again, and what was accepted in the last seconds
before a connection failed (again.py). Samples sent again are bit for bit the same; VictoriaMetrics keeps one of them
when it runs with -dedup.minScrapeInterval=1ms.

Threads: `run` is one thread's, which the engine makes; `stop` ends it, `counters`, `problems` and `late` are anybody's.
Errors: none leaves `run`. Limits: what one request holds (encode.py), BACKOFF_SECONDS_MAX, SPLITS_MAX.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hms_ops.alert.receivers.post import Answer
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.errors import StorageError
from hms_ops.remote.again import Again
from hms_ops.remote.encode import Encoder, Request, Rows, halved
from hms_ops.remote.feed import Chunk, Feed, Position
from hms_ops.remote.link import Link, is_refusal, is_wrong_place
from hms_ops.remote.settings import RemoteConfig
from hms_ops.sketches import Sketches
from hms_ops.storage.tier import TIERS
from hms_ops.storage.tile import TILE_IDS

if TYPE_CHECKING:
    from hms_ops.storage.cursors import Cursors
    from hms_ops.storage.store import Storage

log = logging.getLogger("hms_ops.remote")

POLL_SECONDS: Final = 1.0
BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 60.0
RETRY_AFTER_SECONDS_MAX: Final = 600.0
SAVE_SECONDS: Final = 1
SPLITS_MAX: Final = 64
REFUSED_SHOWN_SECONDS: Final = 300
REFUSED_TOLD_SECONDS: Final = 60.0  # the same refusal is logged when it had not come for so long
FORGET_SECONDS: Final = 600  # then kinds, units and names are looked up again
MEND: Final = "nothing is skipped, so mend the credentials or the URL"
SET_BACK: Final = "the clock was set back; what is written anew is sent"

HEADERS: Final = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


class Interrupted(Exception):
    """The connection failed, or the engine stops: the chunk is begun again from its position."""


class Remote:
    """Sends one tier to one remote. unit: described units of metrics, for the bounds of buckets."""

    def __init__(
        self,
        config: RemoteConfig,
        storage: "Storage",
        clock: Clock,
        unit: Callable[[str], str | None] = lambda metric: None,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        self.config = config
        self._history = storage.history
        self._cursors: Cursors = storage.cursors
        self._clock = clock
        self._backoff_seconds = backoff_seconds
        self._tier = config.tier_number
        self._step_seconds = TIERS[self._tier].step_seconds
        self._feed = Feed(storage.history, self._tier)
        self._encoder = Encoder(
            storage.catalogue.series_of, config.fixed_labels(), config.dotted_names, unit, config.batch_samples
        )
        self._link = Link(config.url.value, config.request_headers(), config.timeout_seconds)
        self._position: Position | None = None
        self._again = Again()
        self._saved: Position | None = None
        self._saved_ns = self._learned_ns = 0
        self._failures = 0
        self._splits_left = SPLITS_MAX
        self._problem = self._refusal = ""
        self._refused_ns = self._set_back_ns = 0
        self._back_to: int | None = None  # a step that was written behind the cursor, after the clock was set back
        self._stopping = threading.Event()
        self._counting = threading.Lock()
        self._counts = dict.fromkeys(
            (
                "samples", "requests", "bytes", "retries", "resent_steps", "known_already", "refused_requests",
                "refused_samples", "late_not_sent", "expired_steps",
                "clock_set_back",
            ), 0,
        )  # fmt: skip

    # ---- life

    def run(self) -> None:
        """Send until `stop`; what is not sent then is sent after the next start."""
        while not self._stopping.is_set():
            try:
                is_more = self.send_next()
            except StorageError as error:
                is_more = False
                self._say(f"history cannot be read: {error}")
            except Exception:  # ours; the next try may go better, and the engine goes on in any case
                is_more = False
                log.exception("remote %s failed", self.config.name)
                self._say("an error of ours; see the log")
            if not is_more:
                self._save(is_due=False)
                self._stopping.wait(POLL_SECONDS)
        self._save(is_due=False)
        self._link.close()

    def stop(self) -> None:
        """Ends `run` soon, also when it waits for the remote."""
        self._stopping.set()
        self._link.abort()

    def late(self, tier: int, steps: NDArray[np.int64], ids: NDArray[np.int64] | None = None) -> None:
        """Rows of these steps [k], of these series [k] if they are known, were added to history behind its end. Those
        that were sent already are counted, as are those that may have been; after the clock was set back they are sent
        again, with all that follows."""
        if tier != self._tier or not len(steps):
            return
        try:
            position = self._position or self._kept_position()
        except StorageError:
            return  # `run` says so
        missed = steps[self._is_past(position, steps, ids)]
        if not len(missed):
            return
        if self._is_ahead(position):
            with self._counting:
                first = int(missed.min())
                self._back_to = first if self._back_to is None else min(first, self._back_to)
        else:
            self._count(late_not_sent=len(missed))

    def _is_past(
        self, position: Position, steps: NDArray[np.int64], ids: NDArray[np.int64] | None
    ) -> NDArray[np.bool_]:
        """Which rows a cursor there will not meet any more; without ids also those of tiles that it might."""
        tier = TIERS[self._tier]
        is_in_block = steps < tier.block_start(position.step) + tier.block_seconds
        is_tile_sent = np.asarray(position.tile > 0 if ids is None else ids // TILE_IDS < position.tile)
        is_past: NDArray[np.bool_] = (steps < position.step) | (is_in_block & is_tile_sent)
        return is_past

    # ---- what it says of itself

    def counters(self) -> dict[str, int]:
        """What was sent, again and in vain since the start; `behind_seconds`: how old the oldest step not sent is."""
        with self._counting:
            return self._counts | {"unnamed_rows": self._encoder.unnamed, "behind_seconds": self.behind_seconds()}

    def behind_seconds(self) -> int:
        """From the end of what was sent to what could have been sent; 0 when there is nothing to send."""
        if self._position is None or not self._is_behind():
            return 0
        first = self._history.first_step(self._tier)
        return max(0, self._end() - max(self._position.step, first or 0))

    def problems(self) -> list[str]:
        """What is wrong now, one line each."""
        found = []
        if self._problem:
            found.append(f"{self.config}: {self._problem}; {self.behind_seconds():,} s wait to be sent")
        if self._refusal and self._clock.now_ns() - self._refused_ns < REFUSED_SHOWN_SECONDS * SECOND_NS:
            found.append(f"{self.config} refuses samples, they are skipped: {self._refusal}")
        if self._set_back_ns and abs(self._clock.now_ns() - self._set_back_ns) < REFUSED_SHOWN_SECONDS * SECOND_NS:
            found.append(f"{self.config}: {SET_BACK}")
        return found

    # ---- sending

    def send_next(self) -> bool:
        """Send the next rows there are; False when there are none, or nothing can be sent now."""
        position = self._begin()
        self._forget_sometimes()
        chunk = self._feed.next(position, self._end(), self._again.bound(position))
        if chunk is None:
            self._link.close()
            return False
        done = 0
        try:
            for _ in self._delivered(chunk, position):
                done += 1
        except Interrupted:
            self._go_back(position, chunk.after, done)
            return not self._stopping.is_set()
        self._position = chunk.after
        self._again.accepted(self._clock.now_ns(), position, chunk.after)
        self._save(is_due=True)
        return True

    def _begin(self) -> Position:
        """Where to go on: the cursor, at first from disk; beyond what is kept no more."""
        if self._position is None:
            self._position = self._kept_position()
        position = self._position
        first = self._history.first_step(self._tier)
        if position.step and first is not None and first > position.step:
            self._skip_expired(position, first)
        self._follow_clock()
        return self._position

    def _kept_position(self) -> Position:
        kept = self._cursors.get(self._key) or {}
        return Position(int(kept.get("step", 0)), int(kept.get("tile", 0)))

    def _is_ahead(self, position: Position) -> bool:
        """Whether steps were sent that have not begun yet: the clock was set back."""
        tier = TIERS[self._tier]
        sent = position.step if position.tile == 0 else tier.block_start(position.step) + tier.block_seconds
        return sent > self._clock.now_ns() // SECOND_NS

    def _follow_clock(self) -> None:
        """Set the cursor back to what is written anew after the clock was set back."""
        position = self._position
        assert position is not None
        with self._counting:
            back_to, self._back_to = self._back_to, None
        if self._is_ahead(position):
            end = self._end()
            back_to = min(end - end % self._step_seconds, end if back_to is None else back_to)
        if back_to is None:
            return
        self._position = Position(max(0, min(position.step, back_to)))
        if self._position != position:
            self._again = Again()  # a refusal is of what is new
            self._set_back_ns = self._clock.now_ns()
            self._count(clock_set_back=1)
            log.warning("%s: %s, from second %d on", self.config, SET_BACK, self._position.step)

    def _skip_expired(self, position: Position, first: int) -> None:
        """Steps between the cursor and the oldest that is kept, as far as retention took them."""
        oldest = self._clock.now_ns() // SECOND_NS - self._history.config.keep_seconds[self._tier]
        expired = (min(first, oldest) - position.step) // self._step_seconds
        if expired > 0:
            self._count(expired_steps=expired)
            log.error("%s was away too long: %d steps expired before they were sent", self.config, expired)
            self._position = Position(first)

    @property
    def _key(self) -> str:
        return f"{self.config.name} {self.config.tier}"

    def _end(self) -> int:
        """Steps that end by then are settled."""
        return self._clock.now_ns() // SECOND_NS - int(self.config.delay_seconds)

    def _is_behind(self) -> bool:
        try:
            assert self._position is not None
            last = self._history.last_step(self._tier)
            return last is not None and self._position.step <= min(last, self._end() - self._step_seconds)
        except StorageError:
            return False

    def _requests(self, rows: Rows) -> Iterator[Request]:
        return self._encoder.requests(rows, self._step_seconds, self._sketches(rows))

    def _sketches(self, rows: Rows) -> Sketches | None:
        """Those of the rows' series and steps that have any."""
        if not len(rows.ids):
            return None
        ids = np.unique(rows.ids)
        self._encoder.learn(ids)
        wanted = self._encoder.sketched(ids)
        if not len(wanted):
            return None
        first, end = int(rows.steps.min()), int(rows.steps.max()) + self._step_seconds
        found = self._history.read_sketches(self._tier, wanted, first, end)
        return Sketches(wanted[found.ids], found.steps, found.offsets, found.data)

    def _delivered(self, chunk: Chunk, position: Position) -> Iterator[None]:
        """Each request of a chunk, delivered; the next is made while one is on its way."""
        on_its_way: Request | None = None
        for number, request in enumerate(self._requests(chunk.rows)):
            if on_its_way is not None:
                self._deliver(on_its_way, self._again.is_known(chunk, position, number - 1))
                yield
            self._link.send(request.body, HEADERS)
            on_its_way = request
        if on_its_way is not None:
            self._deliver(on_its_way, self._again.is_known(chunk, position, number))
            yield

    def _deliver(self, request: Request, is_known: bool) -> None:
        """What was sent, until it is accepted or refused for good; Interrupted when the connection fails or the engine
        stops. is_known: it was accepted before, and a refusal may say so."""
        answer = self._link.receive()
        while True:
            if answer.is_success:
                self._accept(request)
                return
            if is_refusal(answer):
                if is_known:
                    self._count(known_already=1)
                else:
                    self._refused(answer, request)
                return
            self._wait(answer)
            if answer.status == 0:
                raise Interrupted
            answer = self._link.post(request.body, HEADERS)

    def _accept(self, request: Request) -> None:
        if self._failures:
            log.info("%s takes samples again", self.config)
        self._failures, self._problem = 0, ""
        self._splits_left = min(SPLITS_MAX, self._splits_left + 1)
        self._count(samples=request.samples, requests=1, bytes=len(request.body))

    def _refused(self, answer: Answer, request: Request) -> None:
        """A refusal is the request's, and often one row's: halves are tried while they are worth it."""
        now_ns = self._clock.now_ns()
        is_news = now_ns - self._refused_ns > REFUSED_TOLD_SECONDS * SECOND_NS or str(answer) != self._refusal
        self._refusal, self._refused_ns = str(answer), now_ns
        self._count(refused_requests=1)
        halves = halved(request.rows) if self._splits_left > 0 else ()
        if not halves:
            if is_news:
                log.warning("%s refused %d samples, more are counted: %s", self.config, request.samples, answer)
            self._count(refused_samples=request.samples)
            return
        self._splits_left -= 1
        for half in halves:
            for smaller in self._requests(half):
                self._link.send(smaller.body, HEADERS)
                self._deliver(smaller, is_known=False)

    def _wait(self, answer: Answer) -> None:
        """Before it is tried again: what the remote asked for, else twice as long each time, with some jitter."""
        if self._stopping.is_set():
            raise Interrupted
        self._say(f"{answer}; {MEND}" if is_wrong_place(answer) else str(answer))
        self._count(retries=1)
        backoff = min(BACKOFF_SECONDS_MAX, self._backoff_seconds * 2.0 ** min(self._failures, 16))
        self._failures += 1
        seconds = backoff * random.uniform(0.5, 1.0)
        if answer.retry_after_seconds is not None:
            seconds = max(seconds, min(answer.retry_after_seconds, RETRY_AFTER_SECONDS_MAX))
        if self._stopping.wait(seconds):
            raise Interrupted

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("%s: %s", self.config, problem)
        self._problem = problem

    # ---- the cursor

    def _go_back(self, position: Position, after: Position, requests: int) -> None:
        """To what was accepted in the last seconds: the remote may have died with it."""
        oldest = self._again.failed(position, after, requests)
        if oldest != position:
            self._count(resent_steps=max(1, (position.step - oldest.step) // self._step_seconds))
            self._position = oldest

    def _save(self, *, is_due: bool) -> None:
        """Put the cursor on disk; with `is_due` at most once in SAVE_SECONDS."""
        now_ns = self._clock.now_ns()
        if self._position is None or (is_due and now_ns - self._saved_ns < SAVE_SECONDS * SECOND_NS):
            return
        if not is_due and self._saved == self._position:
            return
        try:
            self._cursors.put(self._key, asdict(self._position))
            self._saved, self._saved_ns = self._position, now_ns
        except StorageError as error:
            self._say(f"the cursor cannot be kept: {error}")

    def _forget_sometimes(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._learned_ns > FORGET_SECONDS * SECOND_NS:
            self._encoder.forget()
            self._learned_ns = now_ns

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, number in more.items():
                self._counts[name] += number
