"""What became of the expectations of a test file: values that both formats make, and their text.

An expectation is met, failed, or unsupported: a rule or expression that cannot be said here is not judged.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

Result: TypeAlias = Literal["passed", "failed", "unsupported"]
RESULTS: Final[tuple[Result, ...]] = ("passed", "failed", "unsupported")


class Outcome(NamedTuple):
    """One expectation. source: `file:line`; test: the name of its test; what: the alert or query and its time;
    expected, got: a line each, of a failure; reason: why it is unsupported."""

    result: Result
    source: str
    test: str
    what: str
    expected: Sequence[str] = ()
    got: Sequence[str] = ()
    reason: str = ""

    def lines(self) -> list[str]:
        head = f"{self.source}: {self.test + ': ' if self.test else ''}{self.what}: {self.result}"
        if self.result == "unsupported":
            return [f"{head}: {self.reason}"]
        if self.result == "passed":
            return [head]
        return [head, *listed("expected", self.expected), *listed("got", self.got)]


def listed(word: str, lines: Sequence[str]) -> list[str]:
    return [f"    {word:<9}{lines[0] if lines else 'nothing'}", *(f"    {'':<9}{line}" for line in lines[1:])]


def judged(outcome: Outcome, expected: Sequence[str], got: Sequence[str]) -> Outcome:
    """The outcome with what was expected and got, which decide it."""
    result: Result = "passed" if sorted(expected) == sorted(got) else "failed"
    return outcome._replace(result=result, expected=sorted(expected), got=sorted(got))


def counts(outcomes: Iterable[Outcome]) -> dict[Result, int]:
    found = Counter(outcome.result for outcome in outcomes)
    return {result: found[result] for result in RESULTS}


def clock(seconds: float) -> str:
    """A time of a test: `1h2m3s`."""
    whole = int(seconds)
    parts = ((whole // 3600, "h"), (whole // 60 % 60, "m"), (seconds - whole // 60 * 60, "s"))
    return "".join(f"{count:g}{unit}" for count, unit in parts if count) or "0s"
