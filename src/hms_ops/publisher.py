"""The samples that the engine feeds itself once a second: the gauges of its rules, its host's vital signs, its own.

The tick calls `publish` after rules were judged; everything goes through the same path as everybody's samples, under
the ledger's input "self", which alone may write the names that rules have reserved.

A gauge counts for five minutes after its last sample. So a rule's gauge is written when it changes, and once a minute
anyway, each second a sixtieth of them: ten thousand rules cost a tick what two hundred would.
"""

from collections.abc import Callable, Mapping
from itertools import islice
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
        self._told: dict[str, float] = {}
        self._runs = 0

    def publish(self, now_ns: int, gauges: Mapping[str, float]) -> None:
        """What is due in this second. gauges: every rule's name, 1.0 while it fires, else 0.0."""
        self._publish_rules(gauges)
        if self._vitals is not None:
            for vital in self._vitals.sample(now_ns):
                self._writer.metric(vital.name, vital.value, "gauge", vital.tags or None)
        if self._own_signs is not None:
            for name, value in self._own_signs().items():
                self._writer.metric(name, value, "gauge")

    def forget(self) -> None:
        """Let go of the series it holds, so that those of removed rules can give their place back."""
        self._writer.forget()

    def _publish_rules(self, gauges: Mapping[str, float]) -> None:
        told, metric = self._told, self._writer.metric
        due = {name: value for name, value in gauges.items() if told.get(name) != value}
        due.update(islice(gauges.items(), self._runs % REPEAT_SECONDS, None, REPEAT_SECONDS))
        for name, value in due.items():
            metric(name, value, "gauge")
        self._runs += 1
        self._told = dict(gauges)
