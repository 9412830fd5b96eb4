"""What people do about alerts: acknowledge, silence, ask why, send dead letters again, try a receiver, stop actions.

Called by the engine's methods, and through them by HTTP and the command line. Each change is carried out by the
keeper's next turn, so it is on disk when the call returns (unless health() says that states are not kept), and stands
in the audit log with who asked for it.
Threads: any; a call waits for one turn of the keeper. Errors: ValueError for what cannot be, SilenceRefused, Busy.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from hms_ops.alert.dispatch.acknowledgement import Ack, Unack
from hms_ops.alert.dispatch.dispatcher import Command
from hms_ops.alert.dispatch.matching import read_match
from hms_ops.alert.dispatch.silence import (
    SILENCES_MAX,
    AddSilence,
    EndSilence,
    Silence,
    SilenceRefused,
    new_silence,
)
from hms_ops.alert.notification import Alert, Delivered, Notification, Profile, digest
from hms_ops.alert.receivers import parse_target, route
from hms_ops.clock import SECOND_NS, Clock
from hms_ops.duty import Duty
from hms_ops.errors import Busy, StorageError

if TYPE_CHECKING:
    from hms_ops.storage.audit import Audit

log = logging.getLogger("hms_ops.audit")

Emit = Callable[[dict[str, Any]], None]
BY_PROGRAM: Final = "the program"
TEST_NAME: Final = "hms_ops.test"


class Paging:
    """The desk of one engine. `audit` comes with the data directory; without one the log has the entries."""

    def __init__(self, duty: Duty, profiles: Mapping[str, Profile], clock: Clock, emit: Emit) -> None:
        self.audit: Audit | None = None
        self._duty = duty
        self._profiles = profiles
        self._clock = clock
        self._emit = emit
        duty.outbox.is_firing = (
            self._is_firing
        )  # a page that is late says so, after a restart and when it is sent again

    def _is_firing(self, alert: Alert) -> bool:
        found = self._duty.book.find(alert.name, alert.tags)
        return found is not None and found.episode == alert.episode

    # ---- acknowledgements

    def acknowledge(
        self, name: str, tags: Mapping[str, str] | None, who: str, comment: str, until: float | None, source: str
    ) -> int:
        """Stop escalating and repeating what fires under a name; returns how many alerts that are."""
        count = len(self._firing(name, tags))
        if count:
            self._command(Ack(name, who, comment, self._now(), tags, math.inf if until is None else until))
            self.note("acknowledge", who, name, source, tags=tags, comment=comment, until=until, alerts=count)
        return count

    def unacknowledge(self, name: str, tags: Mapping[str, str] | None, who: str, source: str) -> int:
        """Take acknowledgements back; returns how many alerts fire under the name."""
        count = len(self._firing(name, tags))
        if count:
            self._command(Unack(name, who, "", self._now(), tags))
            self.note("unacknowledge", who, name, source, tags=tags, alerts=count)
        return count

    def _firing(self, name: str, tags: Mapping[str, str] | None) -> list[Alert]:
        wanted = (tags or {}).items()
        return [
            alert
            for alert in self._duty.book.alerts()
            if alert.name == name and alert.state == "firing" and wanted <= alert.labels.items()
        ]

    # ---- silences

    def silence(self, matchers: Any, seconds: float, who: str, comment: str, source: str) -> Silence:
        """Mute what matches; matchers: a text as in the language, a list of such, or tags with their values."""
        made = new_silence(read_match(matchers), now=self._now(), seconds=seconds, who=who, comment=comment)
        self._command(AddSilence(made))
        is_taken: bool = self._duty.keeper.ask(lambda dispatcher: dispatcher.has_silence(made.id))
        facts = {"matchers": made.matchers.text, "comment": comment, "ends": made.ends}
        self.note("silence", who, made.id, source, "ok" if is_taken else "refused", **facts)
        if not is_taken:
            raise SilenceRefused(f"nothing is silenced: {SILENCES_MAX:,} silences last already; end some that need not")
        return made

    def end_silence(self, id: str, who: str, source: str) -> bool:
        """End a silence now; False when none of that id lasts."""
        if not any(known.id == id and known.ends > self._now() for known in self.silences()):
            return False
        self._command(EndSilence(id, who, "", self._now()))
        self.note("unsilence", who, id, source)
        return True

    def silences(self) -> list[Silence]:
        """Those that last, are to come, or ended lately."""
        now = self._now()
        found: list[Silence] = self._duty.keeper.ask(lambda dispatcher: dispatcher.silences(now))
        return found

    def explain(self, name: str, tags: Mapping[str, str] | None) -> list[dict[str, Any]]:
        """Why people were told of an alert or not, newest last."""
        found: list[dict[str, Any]] = self._duty.keeper.ask(lambda dispatcher: dispatcher.explain(name, tags))
        return found

    def standings(self) -> dict[str, dict[str, Any]]:
        """By Alert.key: acknowledgement, silence, next escalation."""
        now = self._now()
        found: dict[str, dict[str, Any]] = self._duty.keeper.ask(lambda dispatcher: dispatcher.standings(now))
        return found

    # ---- notifications

    def dead_letters(self) -> list[dict[str, Any]]:
        """Notifications that will not arrive, oldest first."""
        return self._duty.outbox.dead_letters()

    def resend(self, id: str, who: str, source: str) -> bool:
        """Put a dead letter into the outbox again; False when there is none of that id."""
        is_there = self._duty.outbox.resend(id)
        if is_there:
            self.note("resend", who, id, source)
        return is_there

    def test_notify(self, receiver: str, who: str, source: str) -> str:
        """Send one test notification now, past the outbox; returns what the receiver answered. ValueError for a URL
        that is none, or one that would go to the log."""
        target = parse_target(receiver)
        served = route(target, self._profiles)
        if served.warning:
            raise ValueError(served.warning)
        now = self._now()
        alert = Alert(
            TEST_NAME, "firing", 1.0, {}, now, severity="test", episode=int(now), reason=f"a test asked for by {who}"
        )
        notification = Notification((alert,), receiver, digest([TEST_NAME, receiver, now]), why="test", created=now)
        outcome = served.send(target.address, notification, served.profile)
        if isinstance(outcome, Delivered):
            self._duty.outbox.hasten(receiver)
        told = f"{type(outcome).__name__.lower()}: {getattr(outcome, 'detail', '') or getattr(outcome, 'reason', '')}"
        self.note("test-notify", who, target.shown, source, outcome=told)
        return told

    # ---- actions

    def halt_actions(self, who: str, reason: str, source: str) -> None:
        """The stop switch of all actions, kept over restarts."""
        self._duty.actions.halt(who, reason)
        self.note("actions-stop", who, "actions", source, comment=reason)

    def resume_actions(self, who: str, source: str) -> None:
        self._duty.actions.resume(who)
        self.note("actions-resume", who, "actions", source)

    # ---- audit

    def note(self, what: str, who: str, subject: str, source: str, outcome: str = "ok", **detail: Any) -> None:
        """One entry of the audit log; what the disk refuses stands in the log at least."""
        told = {name: value for name, value in detail.items() if value not in (None, "")}
        said = told if outcome == "ok" else {**told, "outcome": outcome}
        self._emit({"kind": "audit", "what": what, "by": who, "subject": subject, "source": source, **said})
        log.info("%s by %s: %s %s", what, who, subject, said or "")
        if self.audit is None:
            return
        try:
            self.audit.append(
                who=who,
                what=what,
                subject=subject,
                outcome=outcome,
                source=source,
                detail=told,
                time_ns=self._clock.now_ns(),
            )
        except StorageError as error:
            log.error("the audit log did not take %s by %s: %s", what, who, error)

    def entries(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries of the audit log, oldest first; none without a data directory."""
        return self.audit.tail(limit) if self.audit is not None else []

    def _command(self, *commands: Command) -> None:
        if not self._duty.keeper.command(*commands):
            raise Busy("alerting is busy and did not carry this out in time; look whether it has, and try again")

    def _now(self) -> float:
        return self._clock.now_ns() / SECOND_NS
