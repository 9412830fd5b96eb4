"""What the server says: JSON, or a problem after RFC 9457 (`application/problem+json`).

A handler returns `Json` or raises `Problem`; `problem_of` says which problem an engine's error is. NaN and infinities
become null, since JSON has neither.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from hms_ops.errors import Busy, ExpressionError, HmsOpsError, RemoteError, StorageError, UnknownMetricError

PROBLEM_TYPE: Final = "urn:hms-ops:problem:"


def plain(value: Any) -> Any:
    """A numpy scalar as Python's number; TypeError for what JSON cannot say."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


ENCODER: Final = msgspec.json.Encoder(enc_hook=plain)
PIECE_ITEMS: Final = 200
ATOMS: Final = (str, int, float, type(None))


class Json(Response):
    """Any plain value as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return b"".join(pieces(content))


def pieces(value: Any, depth: int = 4) -> Iterator[bytes]:
    """A value's JSON. What is long is encoded piece by piece, for the encoder holds the GIL until it is done, and with
    it the event loop and the tick: 33 MB at once are half a second."""
    if depth and isinstance(value, dict) and not all(isinstance(one, ATOMS) for one in value.values()):
        yield b"{"
        for number, (key, one) in enumerate(value.items()):
            yield (b"," if number else b"") + ENCODER.encode({key: None})[1:-5]
            yield from pieces(one, depth - 1)
        yield b"}"
    elif depth and isinstance(value, list) and len(value) > PIECE_ITEMS:
        size = PIECE_ITEMS if isinstance(value[0], ATOMS) else 1
        for first in range(0, len(value), size):
            yield b"," if first else b"["
            yield ENCODER.encode(value[first : first + size])[1:-1]
        yield b"]"
    else:
        yield ENCODER.encode(value)


class Problem(Exception):
    """Why a request is refused. `kind` is one word for machines, and the reason it is counted under."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.members = members

    def response(self) -> Response:
        """The problem as an answer; `members` stand beside RFC 9457's own."""
        document = {
            "type": PROBLEM_TYPE + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(ENCODER.encode(document), self.status, self.headers, "application/problem+json")


def expression_problem(error: ExpressionError) -> Problem:
    """The place is in `line` and `column`; the caret that terminals get under it is left out."""
    where = str(error).partition("\n")[0]
    return Problem(400, "expression", where, line=error.line, column=error.column)


def problem_of(error: Exception) -> Problem:
    """The problem an error of the engine is. What is no error of ours says nothing of itself to strangers."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ExpressionError):
        return expression_problem(error)
    if isinstance(error, UnknownMetricError):
        return Problem(404, "unknown-metric", str(error), nearest=error.nearest)
    if isinstance(error, ClientDisconnect):
        return Problem(400, "client-left", "the client left before its body was complete")
    if isinstance(error, StorageError):
        return Problem(503, "storage", str(error))
    if isinstance(error, Busy):
        return Problem(503, "busy", str(error), {"Retry-After": "5"})
    if isinstance(error, RemoteError):
        return Problem(502, "remote", str(error))
    if isinstance(error, HmsOpsError):
        return Problem(500, "engine", str(error))
    # uvicorn closes after an exception without saying so, and the client's next request would meet the closed end.
    return Problem(500, "internal", "the engine failed to answer; its log says why", {"Connection": "close"})


def http_problem(status: int, headers: Mapping[str, str] | None) -> Problem:
    """Starlette's own refusals: no such path, no such method."""
    kind, detail = HTTP_PROBLEMS.get(status, ("http", HTTPStatus(status).phrase))
    return Problem(status, kind, detail, headers)


HTTP_PROBLEMS: Final = {
    404: ("no-such-path", "there is nothing at this path; GET /docs lists what there is"),
    405: ("method", "this path does not take this method; the header Allow lists those it takes"),
}
