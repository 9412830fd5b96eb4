"""Parts that stand in a query more than once, and what they came to: each is evaluated once.

    rate(x[5m]) / (rate(x[5m]) + rate(y[5m]))      rate(x[5m]) is looked at twice, calculated once

Every part has a number, from what it is and the numbers of the parts below it; equal parts have the same. Leaves are
told apart by the parser's tree in full (`repr`), for the text it writes of them leaves something out: it has no
escapes, and of a window of 1m500ms no more than the minute. What a part costs its query's budget it costs again each
time it stands there, so that limits do not depend on how a query is evaluated.

Lives as long as its query and holds the values of what is repeated, no others. Cost: some µs a part.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hms_ops.prometheus.parse import parts
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.instant import Value


class Found(NamedTuple):
    """A value, and what finding it took of the budget beside reading: numbers held, numbers looked at by windows."""

    value: Value
    held: int
    worked: int


@dataclass(slots=True)
class Repeated:
    """The repeated parts of one query. held, worked: what was charged so far, see `Found`."""

    budget: Budget
    held: int = 0
    worked: int = 0
    _numbers: dict[int, int] = field(default_factory=dict)  # by the id of a node that `_root` holds
    _root: Any = None
    _repeated: frozenset[int] = frozenset()
    _found: dict[tuple[int, Any], Found] = field(default_factory=dict)

    def look(self, root: Any) -> None:
        """Note what stands in this expression more than once."""
        numbers: dict[Any, int] = {}

        def number(node: Any) -> int:
            below = tuple(map(number, parts(node)))
            found = numbers.setdefault((facts_of(node), below), len(numbers))
            self._numbers[id(node)] = found
            return found

        self._root = root
        number(root)
        counts = Counter(self._numbers.values())
        self._repeated = frozenset(one for one, count in counts.items() if count > 1)

    def value(self, node: Any, within: Any, calculate: Callable[[], Value]) -> Value:
        """What a part comes to. within: what else it depends on."""
        number = self._numbers.get(id(node))
        if number not in self._repeated:
            return calculate()
        found = self._found.get((number, within))
        if found is not None:
            self.charge(found.held, found.worked)
            return found.value
        held, worked = self.held, self.worked
        value = calculate()
        self._found[number, within] = Found(value, self.held - held, self.worked - worked)
        return value

    def charge(self, held: int = 0, worked: int = 0) -> None:
        """Refused over what a query may cost."""
        self.held += held
        self.worked += worked
        self.budget.hold(held)
        self.budget.work(worked)


def facts_of(node: Any) -> Any:
    """What a part is, apart from those below it."""
    match kind := type(node).__name__:
        case "Call":
            return kind, str(node.func.name)
        case "BinaryExpr":
            modifier = node.modifier
            return kind, str(node.op), None if modifier is None else (str(modifier), bool(modifier.return_bool))
        case "AggregateExpr":
            modifier = node.modifier
            grouping = None if modifier is None else (str(modifier.type), tuple(modifier.labels))
            return kind, str(node.op), grouping
        case "ParenExpr" | "UnaryExpr":
            return kind
    return kind, repr(node)
