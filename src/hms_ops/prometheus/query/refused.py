"""Why a request to `/api/v1` gets no answer: Prometheus' kinds of errors, and the place in the text they are about.

Refused(BAD_DATA, …)       400   the request cannot be read
Refused(EXECUTION, …)      422   it can be read and is not answered here, or is over a limit
Refused(TIMEOUT, …)        503   it took too long
"""

import re
from typing import Final, NamedTuple

from hms_ops.prometheus.parse import TOKENS

SUBQUERY: Final = "[:]"  # as a word: a window with a step
STEPPED: Final = re.compile(r"\[[^\[\]]*:")


class Sort(NamedTuple):
    """What Prometheus calls a sort of error, its status, and the reason it is counted under here."""

    error_type: str
    status: int
    reason: str


BAD_DATA: Final = Sort("bad_data", 400, "promql-bad-data")
EXECUTION: Final = Sort("execution", 422, "promql-unsupported")
LIMIT: Final = Sort("execution", 422, "promql-limit")
TIMEOUT: Final = Sort("timeout", 503, "promql-timeout")
UNAVAILABLE: Final = Sort("unavailable", 503, "promql-unavailable")
MISSING: Final = Sort("not_implemented", 501, "promql-missing")


class Refused(ValueError):
    """One request that is not answered."""

    def __init__(self, sort: Sort, message: str) -> None:
        super().__init__(message)
        self.sort = sort


def bad_parameter(name: str, why: str) -> Refused:
    return Refused(BAD_DATA, f'invalid parameter "{name}": {why}')


def unsupported(text: str, word: str, why: str, name: str = "") -> Refused:
    """What PromQL has and is not answered here: a function's name or an operator, with its place in the text. name:
    what it is called, if not by that word."""
    place = place_of(text, word)
    return Refused(EXECUTION, f"{place}{': ' if place else ''}{name or word} is not supported: {why}")


def place_of(text: str, word: str) -> str:
    """`line:column` of the first time a word or sign stands in a text, outside of quotes and remarks; "" for never."""
    for token in TOKENS.finditer(text):
        is_here = token[0] == word or (word == SUBQUERY and STEPPED.match(text, token.start()) is not None)
        if not token["skip"] and is_here:
            before = text[: token.start()]
            return f"{before.count(chr(10)) + 1}:{token.start() - before.rfind(chr(10))}"
    return ""
