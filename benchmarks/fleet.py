"""An engine with 100 rules and the anomaly rule on every series, and a load that its rules look at.

Load's format `tags`: 100 metrics `service00.api_ms` to `service99.api_ms`, their series told apart by agency (10) and
host. Each rule watches one metric, grouped by agency, over 10 s to 15 min. Values lie between 0 and 1,000 and repeat,
so no rule and no detector ever fires: a tick is measured, not a flood of pages.
"""

from typing import Any

from hms_ops import Engine
from hms_ops._load import Load
from hms_ops.clock import Clock

RULES = 100
WINDOWS = ("10s", "1m", "5m", "15m")
NEVER = 1_000_000
ANOMALY = {"anomaly": "fleet.anomaly", "metric": "*", "factor": 2, "window": "10m", "min_difference": NEVER}
SERIES_SPARE = 1_000


def rules() -> list[dict[str, Any]]:
    return [
        {
            "alert": f"fleet.slow_{n}",
            "if": f"avg(service{n:02}.api_ms, {WINDOWS[n % len(WINDOWS)]}) > {NEVER}",
            "group_by": ["agency"],
            "notify": ["log:"],
        }
        for n in range(RULES)
    ]


def engine_of(series: int, udp: str | None = None, clock: Clock | None = None) -> Engine:
    """Not started; room for `series` series besides the rules' own."""
    settings = {"limits": {"series": series + SERIES_SPARE}, "rules": rules(), "anomalies": [ANOMALY]}
    return Engine(udp=udp, http=None, data_dir=None, config=settings, clock=clock)


def every_series(series: int) -> list[bytes]:
    """Datagrams that hold each series once or a little more often."""
    a_few = Load("tags", series, 1432, 16, in_order=True)
    datagrams = series * len(a_few) * 11 // (10 * a_few.lines) + 1  # the last hosts have longer names
    load = Load("tags", series, 1432, datagrams, in_order=True)
    assert load.lines >= series
    return list(load)


def check(engine: Engine, series: int) -> None:
    """Everything is watched, nothing failed, nothing fired."""
    counters = engine.counters()
    assert counters["store"]["series"] >= series, counters["store"]
    assert counters["tick"]["errors"] == 0, counters["tick"]
    assert len(engine.rules()) == RULES
    assert not engine.duty.problems(), engine.duty.problems()
    assert not engine.alerts()
