"""What a metric's unit is and what it is for, as a program or an import has said.

Kept in the catalogue where there is a data directory, and what was asked for in memory too: rules ask at each plan.
Threads: any. Errors: ConfigError when a rule cannot read the new unit; it is kept all the same.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hms_ops.storage.catalogue import Catalogue


class Described:
    """The descriptions of one engine's metrics. `catalogue` comes with the data directory."""

    def __init__(self, replan: Callable[[str], None]) -> None:
        """replan: plans the rules that read a metric anew; ConfigError when one cannot be."""
        self.catalogue: Catalogue | None = None
        self.units: dict[str, str] = {}  # by metric; "" was looked for and not found
        self._replan = replan

    def describe(self, name: str, unit: str | None = None, help: str | None = None) -> None:
        """Keep a metric's unit and help; None leaves what is there."""
        if self.catalogue is not None:
            self.catalogue.describe(name, unit=unit, help=help)
        if unit is not None and self.units.get(name) != unit:
            self.units[name] = unit
            self._replan(name)

    def unit(self, name: str) -> str | None:
        """What was said of it; None for nothing."""
        unit = self.units.get(name)
        if unit is None and self.catalogue is not None:
            unit = self.units[name] = self.catalogue.description(name)["unit"]
        return unit or None
