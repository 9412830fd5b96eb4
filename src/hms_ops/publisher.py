"""The samples that the engine feeds itself once a second: the gauges of its rules, its host's vital signs, its own.

The tick calls `publish` after rules were judged; everything goes through the same path as everybody's samples, under
the ledger's input "self", which alone may write the names that rules have reserved.

A gauge counts for five minutes after its last sample. So a rule's gauge is written when it changes, and once a minute
anyway, each second a sixtieth of them: ten thousand rules cost a tick what two hundred would.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hms_ops._ring import InProcess, Store
from hms_ops.vitals import Vitals

SELF_INPUT: Final = 0
REPEAT_SECONDS: Final = 60

OwnSigns = Callable[[], Mapping[str, float]]


class Publisher:
    """Writes gauges to one store. `vitals` reads the host, `own_signs` the engine; None leaves them out."""

    def __init__(self, store: Store, vitals: Vitals | None = None, own_signs: OwnSigns | None = None) -> None:
        self._writer = InProcess(store, SELF_INPUT)
        self._vitals = vitals
        self._own_signs = own_signs
        self._names: frozenset[str] = frozenset()
        self._rota: list[str] = []  # the same, in the order in which they are repeated
        self._firing: set[str] = set()
        self._runs = 0

    def publish(self, now_ns: int, rules: frozenset[str], firing: set[str]) -> None:
        """What is due in this second. rules: the names that have a gauge, the same object while they are the same;
        firing: names whose gauge is 1, others among them."""
        self._publish_rules(rules, firing)
        if self._vitals is not None:
            for vital in self._vitals.sample(now_ns):
                self._writer.metric(vital.name, vital.value, "gauge", vital.tags or None)
        if self._own_signs is not None:
            for name, value in self._own_signs().items():
                self._writer.metric(name, value, "gauge")

    def counters(self) -> dict[str, int]:
        """Files of /proc that could not be read."""
        return {"read_errors": self._vitals.read_errors if self._vitals is not None else 0}

    def forget(self) -> None:
        """Let go of the series it holds, so that those of removed rules can give their place back."""
        self._writer.forget()

    def _publish_rules(self, rules: frozenset[str], firing: set[str]) -> None:
        due = (firing ^ self._firing) & rules
        if rules is not self._names:
            due |= rules - self._names
            self._names, self._rota = rules, list(rules)
        due.update(self._rota[self._runs % REPEAT_SECONDS :: REPEAT_SECONDS])
        for name in due:
            self._writer.metric(name, 1.0 if name in firing else 0.0, "gauge")
        self._firing = firing
        self._runs += 1
