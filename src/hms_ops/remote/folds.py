"""Aggregates of calculations as PromQL: a subquery evaluates what stands inside in each step, a function folds them.

    avg(a / b, 5m)      avg_over_time((A / B)[300s:60s])       A, B: of one step each
    changes(x, 10m)     changes((the step's last x)[600s:60s])

The engine folds steps of 1 s to a minute, whatever the window asks for; here they are as long as those that are sent,
so all of this is approximate. Used by lower.py. Errors: Impossible for what PromQL has no function for.
"""

from typing import Final

from hms_ops.remote.matchers import Impossible
from hms_ops.remote.promql import text_of

_OVER_TIME: Final = {
    "avg": "avg_over_time",
    "moving_mean": "avg_over_time",
    "sum": "sum_over_time",
    "min": "min_over_time",
    "max": "max_over_time",
    "count": "count_over_time",
    "stddev": "stddev_over_time",
    "last": "last_over_time",
    "changes": "changes",
}
_SHARES: Final = {"share_gt": ">", "share_le": "<="}


def folded(function: str, inner: str, steps: str, parameter: float | None) -> str:
    """The fold of `inner`, a vector, over `steps`, the text of a subquery's range. parameter: a rank, or the limit of a
    share."""
    if function in _OVER_TIME:
        return f"{_OVER_TIME[function]}(({inner}){steps})"
    if function == "quantile" and parameter is not None:
        return f"quantile_over_time({text_of(parameter)}, ({inner}){steps})"
    if function in _SHARES and parameter is not None:
        return f"avg_over_time((({inner}) {_SHARES[function]} bool {text_of(parameter)}){steps})"
    if function == "zscore":
        mean, spread = (f"{name}(({inner}){steps})" for name in ("avg_over_time", "stddev_over_time"))
        return f"(({inner}) - {mean}) / ({spread} > 0)"
    raise Impossible(f"PromQL has no function for {function}")
