"""The state of one alert instance (a rule × a group of tags): a pure function of state, condition and second.

A replay or a test steps by hand with this; the tick steps all instances at once with `kernels/states.py`, of which this
is the reference twin. Nothing here reads a clock, allocates more than one state, or knows what a rule looks for.

    INACTIVE    TRUE → PENDING; with for = 0 → FIRING at once
    PENDING     TRUE for `for` → FIRING (a new episode)         FALSE → INACTIVE, no event
    FIRING      calm → RECOVERING; with keep = 0 → INACTIVE     (event: resolved)
    RECOVERING  calm for `keep` → INACTIVE (event: resolved)    not calm → FIRING, same episode, no event

Calm is: the condition is FALSE and, where the rule has a RECOVER condition, that one is TRUE. A condition is 1.0, 0.0
or NaN, SQL's NULL. NULL changes no state and the clocks of `for` and `keep` stand still meanwhile, so a gap in the
data neither fires nor resolves; unless the rule's NODATA says otherwise: `alert` reads NULL as TRUE, `ok` as calm, once
all that the rule reads was watched.

Seconds are whole Unix seconds; `for` and `keep` are compared with ≥, so `FOR 3m` fires on the tick at which the
condition has been true for three minutes. An episode is numbered by the second it fired in (moved up by one where an
instance had that number already), so a replay of the same ticks gives the same numbers.

A rule with EVERY is judged at the seconds divisible by it, and at the first tick after one that was missed; in between
nothing of it changes.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

Phase = Literal["inactive", "pending", "firing", "recovering"]
Event = Literal["pending", "firing", "resolved"]
Nodata = Literal["keep", "ok", "alert"]

# In the order of their numbers in kernels/phases.py.
PHASES: Final[tuple[Phase, ...]] = ("inactive", "pending", "firing", "recovering")
NODATA_POLICIES: Final[tuple[Nodata, ...]] = ("keep", "ok", "alert")


@dataclass(frozen=True, slots=True)
class Timing:
    """What of a rule the state machine needs; seconds, not negative."""

    for_seconds: float = 0
    keep_seconds: float = 0
    nodata: Nodata = "keep"
    has_recover: bool = False
    every_seconds: int = 1


class AlertState(NamedTuple):
    """Where an instance stands."""

    phase: Phase = "inactive"
    since: int = 0  # the second in which the condition became true, for people; never moved
    clock_start: int = 0  # what `for` or `keep` counts from; moved on by every second of NULL
    stepped: int = 0  # the second of the last step, to know how long a NULL lasted
    episode: int = 0  # the latest episode; kept while inactive so that none is numbered twice

    @property
    def is_firing(self) -> bool:
        """True while people consider it firing: recovering is firing that is about to end."""
        return self.phase in ("firing", "recovering")


INACTIVE: Final = AlertState()


def is_judged(timing: Timing, now_second: int, last_second: int) -> bool:
    """Whether the rule is judged at the tick `now_second`, the one before having been `last_second`."""
    return now_second // timing.every_seconds != last_second // timing.every_seconds


def step(
    state: AlertState, condition: float, recover: float, timing: Timing, now_second: int, *, is_whole: bool = True
) -> tuple[AlertState, Event | None]:
    """The state after the tick `now_second`, and the event if there is one to tell.

    `condition` and `recover` are 1.0, 0.0 or NaN (NULL); `recover` is not looked at where the rule has none. is_whole:
    False where a window is not known all through, as after a start; nobody knows then whether a NULL is no data.
    """
    if not is_whole:
        timing = replace(timing, nodata="keep")
    breach, calm = verdict(condition, recover, timing)
    return STEPS[state.phase](state, breach, calm, timing, now_second)


def verdict(condition: float, recover: float, timing: Timing) -> tuple[float, float]:
    """(breach, calm): each 1.0, 0.0 or NaN, with the rule's NODATA applied. A breach is never calm."""
    if timing.nodata == "alert" and math.isnan(condition):
        condition = 1.0
    if condition == 1.0:
        return 1.0, 0.0
    calm = recover if timing.has_recover else 1.0 - condition
    if timing.nodata == "ok":
        return 0.0, 1.0 if math.isnan(calm) else calm
    return condition, calm


def step_inactive(
    state: AlertState, breach: float, calm: float, timing: Timing, now: int
) -> tuple[AlertState, Event | None]:
    if breach != 1.0:
        return state, None
    if timing.for_seconds <= 0:
        return fire(state, now, now)
    return AlertState("pending", now, now, now, state.episode), "pending"


def step_pending(
    state: AlertState, breach: float, calm: float, timing: Timing, now: int
) -> tuple[AlertState, Event | None]:
    if breach == 0.0:
        return AlertState(episode=state.episode), None
    if math.isnan(breach):
        return stand_still(state, now), None
    if now - state.clock_start >= timing.for_seconds:
        return fire(state, state.since, now)
    return state._replace(stepped=now), None


def step_firing(
    state: AlertState, breach: float, calm: float, timing: Timing, now: int
) -> tuple[AlertState, Event | None]:
    if calm != 1.0:
        return state, None
    if timing.keep_seconds <= 0:
        return AlertState(episode=state.episode), "resolved"
    return state._replace(phase="recovering", clock_start=now, stepped=now), None


def step_recovering(
    state: AlertState, breach: float, calm: float, timing: Timing, now: int
) -> tuple[AlertState, Event | None]:
    if math.isnan(calm):
        return stand_still(state, now), None
    if calm != 1.0:
        return state._replace(phase="firing"), None
    if now - state.clock_start >= timing.keep_seconds:
        return AlertState(episode=state.episode), "resolved"
    return state._replace(stepped=now), None


STEPS: Final = {
    "inactive": step_inactive,
    "pending": step_pending,
    "firing": step_firing,
    "recovering": step_recovering,
}


def fire(state: AlertState, since: int, now: int) -> tuple[AlertState, Event]:
    return AlertState("firing", since, now, now, max(now, state.episode + 1)), "firing"


def stand_still(state: AlertState, now: int) -> AlertState:
    """Move the start of the clock on by the time that has passed, so that it shows what it showed before."""
    return state._replace(clock_start=state.clock_start + max(0, now - state.stepped), stepped=now)
