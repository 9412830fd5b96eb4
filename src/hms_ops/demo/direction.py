"""What leads from one scene of the rush to the next, so that its order comes from causes and not from luck.

    t = 15 s          → rush        the latency climbs: breach, pending, firing, and the engine sends a page
    page delivered    → snowball    the queue piles up: anomaly, and the engine asks for an action
    action runs       → scale N     replicas join, the latency falls: recovered, and the engine resolves the alert

Threads: `page`, `scale` and `report` are called from the gateway's, the action service's and the engine's, and only
queue what they are told, except that `scale` also directs the services. `step` belongs to the main thread: it tells the
story, gives the other cues and looks at the seconds that were sealed.
"""

import time
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from hms_ops.demo.actions import TEMPLATE, Scaling
from hms_ops.demo.cast import Cast
from hms_ops.demo.gateway import Message
from hms_ops.demo.screen import Screen
from hms_ops.demo.story import ALERT, METRIC, Event, Story, event_of, second_event
from hms_ops.errors import UnknownMetricError

if TYPE_CHECKING:
    from hms_ops.engine import Engine

RUSH_AFTER_SECONDS: Final = 15.0
SECONDS_BEHIND_MAX: Final = 30
LIVE_PERIOD_SECONDS: Final = 0.5

RESOLVED_TEXT: Final = "resolved_text"
"""Not of the story: the gateway's second message."""


class Direction:
    """One performance; `begin` when the engine is ready, then `step` every tenth of a second."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.story = Story()
        self._arrived: SimpleQueue[Event] = SimpleQueue()
        self._cues_given: set[str] = set()
        self._live_at = 0.0
        self.began_at = 0  # Unix second

    def begin(self, engine: "Engine", cast: Cast) -> None:
        """Curtain: `t` counts from here."""
        self.engine, self.cast = engine, cast
        self._began = time.monotonic()
        self.began_at = self._next_second = int(time.time())
        self._healing_since = 0

    @property
    def t(self) -> float:
        """Seconds since the engine was ready."""
        return time.monotonic() - self._began

    def page(self, message: Message) -> None:
        """The gateway has delivered a message."""
        is_page = message.text.startswith(f"FIRING {ALERT}")
        self._arrived.put(Event("page_delivered" if is_page else RESOLVED_TEXT, self.t, message._asdict()))

    def scale(self, scaling: Scaling) -> None:
        """The action service runs its template."""
        self._arrived.put(Event("action", self.t, {"template": TEMPLATE, **scaling._asdict()}))
        self.cast.cue(f"scale {scaling.replicas}")

    def report(self, report: Mapping[str, Any]) -> None:
        """The engine reports what happened in it."""
        event = event_of(report, self.t)
        if event is not None:
            self._arrived.put(event)

    def step(self) -> None:
        """Tell what arrived, give the cues that are due, look at the sealed seconds."""
        self._look_at_seconds()
        self._tell_arrived()
        if self.t >= RUSH_AFTER_SECONDS:
            self._cue("rush", "the refund rush begins: everybody files at once")
        if self.story.has_told("page_delivered"):
            self._cue("snowball", "the queue snowballs: what was not written yet piles up")
        if self.t >= self._live_at:
            self._live_at = self.t + LIVE_PERIOD_SECONDS
            self.screen.live(self._standing())

    def _tell_arrived(self) -> None:
        while True:
            try:
                event = self._arrived.get_nowait()
            except Empty:
                return
            if event.name == RESOLVED_TEXT:
                self.screen.note(event.t, f"the gateway delivers: {event.facts['text']}")
            else:
                self._offer(event)

    def _offer(self, event: Event) -> None:
        for told in self.story.offer(event):
            self.screen.tell(told)
            if told.name == "action":
                self._healing_since = int(time.time()) + 1

    def _cue(self, cue: str, note: str) -> None:
        if cue not in self._cues_given:
            self._cues_given.add(cue)
            self.cast.cue(cue)
            self.screen.note(self.t, note)

    def _look_at_seconds(self) -> None:
        """The means of METRIC of the seconds sealed since the last look, in their order."""
        now = int(time.time())
        self._next_second = max(self._next_second, now - SECONDS_BEHIND_MAX)
        if self._next_second >= now:
            return
        try:
            answer = self.engine.query(f"avg({METRIC})", start=self._next_second, end=now, step=1)
        except UnknownMetricError:
            return
        for second, mean_ms in answer["series"][0]["points"] if answer["series"] else []:
            if mean_ms is None:
                continue
            self._next_second = int(second) + 1
            is_healing = 0 < self._healing_since <= second
            event = second_event(mean_ms, is_healing, self.t)
            if event is not None:
                self._offer(event)

    def _standing(self) -> str:
        ledger, mean_ms = self.engine.ledger(), self.engine.mean(METRIC, "1s")
        level = "-" if mean_ms != mean_ms else f"{mean_ms:.0f} ms"
        alerts = [f"{alert.name} {alert.state}" for alert in self.engine.alerts() if alert.state != "resolved"]
        return (
            f"{self.t:6.1f} s  {METRIC} {level}  "
            f"{', '.join(alerts) or 'no alerts'}  {ledger['samples']:,} samples, {ledger['kernel_drops']:,} dropped"
        )
