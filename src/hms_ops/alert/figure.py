"""Figures: percentiles and shares, the numbers of a window that are read off sketches instead of columns.

    p99(x)             the quantile 0.99             quantile(x, 0.99) is the same
    share_le(x, 200)   the share of samples that are at most 200; share_gt is the rest

Plain values between the compiler and those who evaluate: rules and the value now (sketched.py), history
(hms_ops.figures).
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from hms_ops import kinds
from hms_ops.alert.language.functions import percentile_rank

Sort: TypeAlias = Literal["quantile", "share_le", "share_gt"]

SHARES: Final = ("share_le", "share_gt")


class Figure(NamedTuple):
    """at: a quantile's rank, 0 to 1; a share's threshold, in the metric's unit."""

    sort: Sort
    at: float

    @property
    def name(self) -> str:
        """As an error calls it: p99, share_le."""
        return f"p{100 * self.at:g}" if self.sort == "quantile" else self.sort


def figure_of(function: str, parameter: float | None) -> Figure:
    """The figure of a function's name, in lower case, and the number written beside the metric.
    ValueError for a rank outside 0 to 1."""
    rank = percentile_rank(function)
    if rank is not None:
        return Figure("quantile", rank)
    assert parameter is not None
    if function == "share_le" or function == "share_gt":
        return Figure("share_le" if function == "share_le" else "share_gt", parameter)
    if not 0 <= parameter <= 1:
        raise ValueError(f"a quantile's rank is from 0 to 1, {parameter:g} is not; the median is 0.5")
    return Figure("quantile", parameter)


def figure_problem(metric: str, kind: int, figure: Figure) -> str:
    """Why a metric of this kind has no such figure, or ""."""
    if kind in (kinds.UNKNOWN, *kinds.WITH_SKETCH):
        return ""
    what = "percentiles" if figure.sort == "quantile" else "shares"
    return (
        f"{metric} is a {kinds.NAMES[kind]}, of which there is no {figure.name}; "
        f"timers, histograms and distributions have {what}"
    )
