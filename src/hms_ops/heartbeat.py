"""A dead man's switch: as long as the engine is well, it says so to a URL; whoever watches that URL rings otherwise.

Nobody can page that he is dead. `heartbeat: {url: "https://hc-ping.com/…", every: 1m}` is for a service that expects a
request every so often and pages when none comes: Healthchecks, Dead Man's Snitch, a Prometheus on another machine.

    is_well() → request → taken             sent
                        → refused, no answer   failed, `problem` says why, tried again at the next beat
    not is_well()                              skipped, and the switch rings

One thread, the engine's, runs `run`; `is_well` is called from it and must not wait. One that raises counts as unwell.
A beat that hangs ends by `post.POST_SECONDS_MAX`, or half the time between two; beats that were due meanwhile are left
out. Not here: who decides what well means (life.py).
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hms_ops.alert.receivers import is_http
from hms_ops.alert.receivers.post import POST_SECONDS_MAX, Answer, request
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.secret import HIDDEN_TEXT, Secret
from hms_ops.setting import choice, duration, setting

LOGGER: Final = logging.getLogger("hms_ops.heartbeat")


@dataclass(frozen=True)
class HeartbeatConfig:
    """The section `heartbeat`: who knows the URL can beat for us, so it is hidden. Without it there is no heartbeat."""

    url: Secret | None = setting(None, HIDDEN_TEXT)
    every_seconds: float = setting(60.0, duration("1s", "1d"), key="every")
    method: str = setting("GET", choice("GET", "POST"))

    def problem(self) -> str:
        """What is wrong with the section as a whole, or ""."""
        return "" if self.url is None or is_http(self.url.value) else "url has to begin with http:// or https://"


class Heartbeat:
    """Beats every so often while all is well. `problem`: why the last beat did not arrive, "" when it did."""

    def __init__(
        self, url: str, every_seconds: float, is_well: Callable[[], bool], clock: Clock, method: str = "GET"
    ) -> None:
        self.problem = ""
        self._url = url
        self._every_ns = int(every_seconds * SECOND_NS)
        self._seconds_max = min(POST_SECONDS_MAX, max(every_seconds / 2, 0.5))
        self._is_well = is_well
        self._clock = clock
        self._method = method
        self._stopping = threading.Event()
        self._counters = {"sent": 0, "failed": 0, "skipped": 0}

    def run(self) -> None:
        """Beat at once and then every so often, until stopped: the body of a thread."""
        due_ns = self._clock.now_ns()
        while not self._stopping.is_set():
            self.beat()
            now_ns = self._clock.now_ns()
            # Never more than one period away, whoever has set the clock meanwhile.
            due_ns = now_ns + self._every_ns - (now_ns - due_ns) % self._every_ns
            self._clock.sleep_until_ns(due_ns, self._stopping)

    def stop(self) -> None:
        """No more beats; `run` returns, after the one that is under way."""
        self._stopping.set()

    def counters(self) -> dict[str, int]:
        """Beats that arrived, that did not, and that were left out because the engine was not well."""
        return dict(self._counters)

    def beat(self) -> None:
        """One beat, now."""
        if not self._dares():
            self._counters["skipped"] += 1
            return
        body = b"" if self._method == "POST" else None
        answer = request(self._method, self._url, body, {}, self._seconds_max)
        self._counters["sent" if answer.is_success else "failed"] += 1
        self._note(answer)

    def _dares(self) -> bool:
        try:
            return self._is_well()
        except Exception:
            LOGGER.exception("cannot tell whether the engine is well; no heartbeat is sent")
            return False

    def _note(self, answer: Answer) -> None:
        """Log the first failure of a row and its end; the URL is a secret and not told."""
        before, self.problem = self.problem, "" if answer.is_success else f"the heartbeat does not arrive: {answer}"
        if self.problem and not before:
            LOGGER.warning("%s", self.problem)
        elif before and not self.problem:
            LOGGER.info("the heartbeat arrives again")
