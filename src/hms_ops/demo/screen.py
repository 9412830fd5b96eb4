"""The story as it is shown: a timeline for people, a JSON line per event for machines.

The timeline goes to standard output, with colours only on a terminal and without NO_COLOR. Below it, when standard
error is a terminal, one live line is written over again and again. What comes from the network is escaped.
"""

import json
import os
import sys
from typing import Final, Protocol, TextIO

from hms_ops.demo.story import Event
from hms_ops.escape import printable

ERASE_LINE: Final = "\r\x1b[K"

RED, YELLOW, GREEN, BOLD, DIM = "31", "33", "32", "1", "2"

# Event → (colour, what it says); the facts fill it in.
LINES: Final[dict[str, tuple[str, str]]] = {
    "breach": (YELLOW, "{metric} is at {value} ms, over 200"),
    "pending": (YELLOW, "alert {alert}: five seconds at {value} ms on average"),
    "firing": (RED, "alert {alert}: it has held for 5 s, value {value} ms"),
    "page_delivered": (RED, 'to {to}: "{text}"'),
    "anomaly": (RED, "{metric} at {value} ms is over twice its 10-minute mean of {baseline} ms"),
    "action": (BOLD, "{template}: {replicas} replicas join, because of {alert}"),
    "recovered": (GREEN, "{metric} is at {value} ms, below 150"),
    "resolved": (GREEN, "alert {alert}: five seconds at {value} ms on average"),
}


class Screen(Protocol):
    """Where the story is shown."""

    def say(self, text: str) -> None:
        """A line for people only."""

    def note(self, t: float, text: str) -> None:
        """What happens behind the scene; for people only."""

    def tell(self, event: Event) -> None:
        """An event of the story."""

    def live(self, text: str) -> None:
        """How things stand now; overwritten by whatever comes next."""

    def remark(self, text: str) -> None:
        """A line that matters beside the story; on standard error where standard output is for machines."""


class Timeline:
    """For people."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err
        self.is_coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self.is_live = err.isatty()

    def say(self, text: str) -> None:
        if self.is_live:
            print(ERASE_LINE, end="", file=self.err, flush=True)
        print(text, file=self.out, flush=True)

    def note(self, t: float, text: str) -> None:
        self.say(self.paint(DIM, f"{t:6.1f} s  {text}"))

    def tell(self, event: Event) -> None:
        colour, text = LINES[event.name]
        facts = {key: printable(str(value)) for key, value in event.facts.items()}
        self.say(f"{event.t:6.1f} s  {self.paint(colour, f'{event.name:<14}')}  {text.format(**facts)}")

    def live(self, text: str) -> None:
        if self.is_live:
            print(f"{ERASE_LINE}{self.paint(DIM, printable(text))}", end="", file=self.err, flush=True)

    def remark(self, text: str) -> None:
        self.say(text)

    def paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.is_coloured else text


class JsonLines:
    """For machines: one line per event on standard output, and nothing else there."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out, self.err = out, err

    def say(self, text: str) -> None:
        """Not for machines."""

    def note(self, t: float, text: str) -> None:
        """Not for machines."""

    def tell(self, event: Event) -> None:
        print(json.dumps({"t": round(event.t, 3), "event": event.name, **event.facts}), file=self.out, flush=True)

    def live(self, text: str) -> None:
        """Not for machines."""

    def remark(self, text: str) -> None:
        print(text, file=self.err, flush=True)


def screen(as_json: bool) -> Screen:
    return JsonLines(sys.stdout, sys.stderr) if as_json else Timeline(sys.stdout, sys.stderr)
