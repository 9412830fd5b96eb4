"""How well each node of an expression can be said in PromQL: exact, approximate or unsupported, with its own reasons.

    avg(api_ms) > 200 AND stddev(api_ms) > 5     unsupported   (for its parts)
      avg(api_ms) > 200                          exact
      stddev(api_ms) > 5                         unsupported   (for its parts)
        stddev(api_ms)                           unsupported   the deviation within steps is not sent

Read by `rules explain`. Each node is lowered on its own (lower.py), so a part's PromQL is a query one can ask. A reason
stands at the node that brings it in, not at those around it. Constants have no grade.
"""

from typing import NamedTuple

from hms_ops.alert.language.tree import Arith, Condition, Tags, selectors, valued
from hms_ops.errors import ExpressionError
from hms_ops.remote.lower import lower
from hms_ops.remote.promql import Lowered, Outside


class Graded(NamedTuple):
    """A node, what became of it, and why, as far as its parts are not the reason."""

    node: Condition | Arith
    lowered: Lowered
    reasons: tuple[str, ...]

    @property
    def grade(self) -> str:
        if not self.lowered.is_possible:
            return "unsupported"
        return "approximate" if self.lowered.notes else "exact"


def grades(
    node: Condition | Arith, where: Tags | None = None, group_by: tuple[str, ...] = (), outside: Outside | None = None
) -> list[Graded]:
    """The node and all its parts that read something, from the outside in."""
    if next(selectors(node), None) is None:
        return []
    inner = [graded for child in valued(node) for graded in grades(child, where, group_by, outside)]
    lowered = lowered_alone(node, where, group_by, outside)
    known = {note for graded in inner for note in graded.lowered.notes}
    return [Graded(node, lowered, tuple(note for note in lowered.notes if note not in known)), *inner]


def lowered_alone(
    node: Condition | Arith, where: Tags | None, group_by: tuple[str, ...], outside: Outside | None
) -> Lowered:
    try:
        return lower(node, where, group_by, outside)
    except ExpressionError as error:
        return Lowered("", "", (error.message,))
