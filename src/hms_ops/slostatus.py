"""How an SLO stands: what was promised, kept and spent, for each of its groups; the document of `/v1/slos`.

Sums over the window come from budgets in memory, burn rates from history. Pure but for the reading of history.
Errors: StorageError when that fails.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from hms_ops.alert.notification import Alert
from hms_ops.alert.slo import BURNS, Slo
from hms_ops.alert.source import GroupKey
from hms_ops.budget import Floats, burn_rate, left
from hms_ops.past import Past
from hms_ops.spending import windows

WINDOWS: Final = tuple(sorted({seconds for burn in BURNS for seconds in (burn.short_seconds, burn.long_seconds)}))


def status_of(
    slo: Slo, keys: Sequence[GroupKey], sums: Floats, past: Past | None, end: int, firing: Sequence[Alert]
) -> dict[str, Any]:
    spending = windows(past, slo, end, WINDOWS) if past is not None else {}
    shares = left(sums, slo.allowed).tolist()
    names = {f"{slo.name}.{burn.name}" for burn in BURNS}
    ours = [alert for alert in firing if alert.name in names]
    groups = [
        group_status(slo, dict(key), good, total, share, spending.get(key), ours)
        for key, good, total, share in zip(keys, *sums.tolist(), shares, strict=True)
    ]
    return {
        "slo": slo.name,
        "objective": slo.objective,
        "good": slo.text,
        "window_seconds": slo.window_seconds,
        "group_by": list(slo.group_by),
        "source": slo.source,
        "groups": groups or ([] if slo.group_by else [group_status(slo, {}, 0.0, 0.0, 1.0, None, ours)]),
    }


def group_status(
    slo: Slo,
    tags: dict[str, str],
    good: float,
    total: float,
    budget: float,
    spending: Floats | None,
    firing: Sequence[Alert],
) -> dict[str, Any]:
    burning = sorted(alert.name for alert in firing if tags.items() <= dict(alert.tags).items())
    nothing = np.zeros((2, len(WINDOWS)))
    rates = zip(WINDOWS, *(nothing if spending is None else spending).tolist(), strict=True)
    return {
        "tags": tags,
        "good": good,
        "total": total,
        "compliance": good / total if total > 0 else None,
        "budget": budget,
        "burn": {str(seconds): burn_rate(good, total, slo.allowed) for seconds, good, total in rates},
        "firing": burning,
        "state": "no data" if total <= 0 else "burning" if burning else "exhausted" if budget <= 0 else "ok",
    }
