"""Runs our own unit tests of rules: samples fed second by second, and each expectation judged in its moment.

Fed by `ownfile.py`, which reads the format and says what it means; the engine's parts are `world.py`'s.
What cannot be compiled or evaluated is unsupported, with the reason.
"""

import math
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from hms_ops.alert.notification import Alert
from hms_ops.alert.rule import Rule
from hms_ops.errors import ExpressionError
from hms_ops.prometheus.outcomes import Outcome, clock, judged
from hms_ops.prometheus.ownfile import Expectation, OwnFile, OwnTest
from hms_ops.prometheus.world import World

VALUE_WITHIN: Final = 1e-6  # of the value expected, where a test does not say how near


def run_own_tests(file: OwnFile) -> Iterator[Outcome]:
    """The outcome of each expectation."""
    for number, test in enumerate(file.tests, 1):
        yield from run_test(test, file.rules, test.name or f"test {number}")


def run_test(test: OwnTest, rules: tuple[Rule, ...], name: str) -> Iterator[Outcome]:
    queries = [one.query for one in test.expectations if one.query is not None]
    with closing(World(test.feeds, rules, queries)) as world:
        yield from lived(test, world, name)


def lived(test: OwnTest, world: World, name: str) -> Iterator[Outcome]:
    """Let the time of a test pass, and judge each expectation in its moment."""
    timed = [one for one in test.expectations if one.seconds is not None]
    waiting = sorted(timed, key=lambda one: one.seconds or 0.0)
    for tick in range(int(test.end_seconds // test.judge_seconds) + 1):
        now = tick * test.judge_seconds
        world.move_to(now)
        world.tick()
        while waiting and (waiting[0].seconds or 0.0) < now + test.judge_seconds:
            yield met(world, waiting.pop(0), name)
    yield from (told(world, one, name) for one in test.expectations if one.seconds is None)


def met(world: World, one: Expectation, name: str) -> Outcome:
    """An expectation of this moment."""
    outcome = Outcome("passed", one.source, name, f"{one.alert or 'the query'} at {clock(one.seconds or 0.0)}")
    if one.query is not None:
        try:
            found = [(tags, value) for tags, value in world.query(one.query) if one.tags in (None, tags)]
        except ExpressionError as error:
            return outcome._replace(result="unsupported", reason=error.message)
        return valued(outcome, one, [value for _, value in found])
    if one.alert in world.problems:
        return outcome._replace(result="unsupported", reason=world.problems[one.alert])
    live = [alert for alert in world.alerts(one.alert) if one.tags in (None, dict(alert.tags))]
    if one.state and one.state not in ({str(alert.state) for alert in live} or {"inactive"}):
        return judged(outcome, [one.state], [alert_text(alert) for alert in live] or ["inactive"])
    return valued(outcome, one, [alert.value for alert in live if one.state in ("", alert.state)])


def valued(outcome: Outcome, one: Expectation, values: list[float]) -> Outcome:
    """Whether a value is among those found, near enough."""
    if one.value is None:
        return outcome
    near = VALUE_WITHIN * max(1.0, abs(one.value)) if one.within is None else one.within
    if any(math.isfinite(value) and abs(value - one.value) <= near for value in values):
        return outcome
    return judged(outcome, [f"{one.value:g}"], [f"{value:.9g}" for value in values])


def told(world: World, one: Expectation, name: str) -> Outcome:
    """An expectation of all events of a rule."""
    outcome = Outcome("passed", one.source, name, f"events of {one.alert}")
    if one.alert in world.problems:
        return outcome._replace(result="unsupported", reason=world.problems[one.alert])
    events = [
        f"{alert.state} {clock(time)}"
        for time, alert in world.events
        if alert.name == one.alert and one.tags in (None, dict(alert.tags))
    ]
    expected = [f"{word} {clock(time)}" for word, time in one.events]
    if events == expected:
        return outcome
    return outcome._replace(result="failed", expected=expected, got=events)


def alert_text(alert: Alert) -> str:
    tags = ", ".join(f"{key}: {value}" for key, value in sorted(alert.tags.items()))
    return f"{alert.state} {{{tags}}} {alert.value:.6g}"
