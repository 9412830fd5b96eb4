"""What a metric's unit is and what it is for, as a program or an import has said, or as its kind tells.

Kept in the catalogue where there is a data directory, and what was asked for in memory too: rules ask at each plan.
Threads: any. Errors: ConfigError when a rule cannot read the new unit; it is kept all the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hms_ops import kinds
from hms_ops.alert.language.units import unit_said

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Catalogue


class Said(NamedTuple):
    """unit: "" was looked for and not found. kind: as the catalogue has it, before the first sample of a run."""

    unit: str
    kind: int


NOTHING_SAID = Said("", kinds.UNKNOWN)


class Described:
    """The descriptions of one engine's metrics. `catalogue` comes with the data directory."""

    def __init__(self, kind: Callable[[str], int], replan: Callable[[str], None]) -> None:
        """kind: of a metric that is alive, 0 for others. replan: plans the rules that read a metric anew; ConfigError
        when one cannot be."""
        self.catalogue: Catalogue | None = None
        self._said: dict[str, Said] = {}
        self._kind = kind
        self._replan = replan

    def describe(self, name: str, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help; None leaves what is there."""
        if self.catalogue is not None:
            self.catalogue.describe(name, unit=unit, help=help)
        before = self._said.get(name, NOTHING_SAID)
        if unit is not None and before.unit != unit:
            self._said[name] = before._replace(unit=unit)
            self._replan(name)

    def told(self, name: str) -> str:
        """The unit that a program has given in this run, or that was asked for; "" for none. Never reads the disk."""
        return self._said.get(name, NOTHING_SAID).unit

    def unit(self, name: str) -> str | None:
        """What was said of it, or what a timer is in whose name says nothing else; None where nothing is known."""
        said = self._said.get(name)
        if said is None and self.catalogue is not None:
            found = self.catalogue.description(name)
            said = self._said[name] = Said(found["unit"], found["kind"])
        said = said or NOTHING_SAID
        return unit_said(name, said.unit, self._kind(name) or said.kind)
