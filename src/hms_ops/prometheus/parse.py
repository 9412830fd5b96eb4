"""PromQL text → promql-parser's tree, within bounds: the one place that calls the parser.

    "rate(x[5m]) > 1" ──tokens──► counted ──promql_parser──► tree ──depth──► tree

Read by query/parsing.py (queries over HTTP) and promql.py (rule files, their tests, the command line); each says what
is refused in its own words.
Limits: CHARACTERS_MAX; OPERATORS_MAX before the text is parsed, for the parser recurses and 8,000 signs in a row
overflow its stack, which takes the process along; DEPTH_MAX after, so that every walk over the tree stays inside
Python's. Errors: TooMuch over one of these; ValueError with what the parser says; ImportError without promql-parser.
"""

import re
from itertools import pairwise
from typing import Any, Final

CHARACTERS_MAX: Final = 8_192
OPERATORS_MAX: Final = 1_000
DEPTH_MAX: Final = 100  # operators and calls inside one another, parentheses included
# A remark ends where the parser ends it, at \r too: what follows is no remark. A quote without its end goes to the end
# of the text: looking for it again behind each sign would take n².
TOKENS: Final = re.compile(
    r"""(?P<skip>\#[^\n\r]*|"(?:\\.|[^"\\])*+(?:"|\\?\Z)|'(?:\\.|[^'\\])*+(?:'|\\?\Z)|`[^`]*+(?:`|\Z))"""
    r"""|(?P<word>[a-zA-Z_:][\w:]*)|(?P<sign>[=!<>]=|=~|!~|.)""",
    re.DOTALL,
)
DOTTED: Final = re.compile(r"[a-zA-Z_:][\w:]*(?:\.[\w:]+)+")
NESTING: Final = frozenset(
    {"(", "[", "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless", "atan2"}
)


class TooMuch(ValueError):
    """A text over a limit: `has 9,000 characters, 8,192 are allowed`."""


def tree(text: str) -> Any:
    """The tree of an expression."""
    import promql_parser

    if len(text) > CHARACTERS_MAX:
        raise TooMuch(f"has {len(text):,} characters, {CHARACTERS_MAX:,} are allowed")
    operators = sum(token[0].lower() in NESTING for token in TOKENS.finditer(text) if not token["skip"])
    if operators > OPERATORS_MAX:
        raise TooMuch(f"has {operators:,} operators and parentheses, {OPERATORS_MAX:,} are allowed")
    node = promql_parser.parse(text)
    if depth_of(node) > DEPTH_MAX:
        raise TooMuch(f"is nested deeper than {DEPTH_MAX} levels")
    return node


def dotted(text: str) -> str:
    """The first name with dots in it, as `db.write_ms` of `rate(db.write_ms[5m])`; "" where there is none."""
    tokens = [token for token in TOKENS.finditer(text) if not token["skip"]]
    for first, dot in pairwise(tokens):
        if first["word"] and dot[0] == "." and dot.start() == first.end():
            found = DOTTED.match(text, first.start())
            return found[0] if found else ""
    return ""


def parts(node: Any) -> list[Any]:
    """The nodes right below one, parameters of aggregations included."""
    match type(node).__name__:
        case "Call":
            return list(node.args)
        case "BinaryExpr":
            return [node.lhs, node.rhs]
        case "AggregateExpr":
            return [node.expr] if node.param is None else [node.param, node.expr]
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
    return []


def depth_of(node: Any) -> int:
    """How deep an expression is nested; without recursion, as that is what the depth is asked for."""
    waiting, deepest = [(node, 1)], 1
    while waiting:
        inner, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(part, depth + 1) for part in parts(inner)]
    return deepest
