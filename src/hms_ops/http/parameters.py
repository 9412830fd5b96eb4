"""What stands in a request's query string or JSON body, read through a table of one reader per name.

A reader (reader.py) takes the text and returns what it means, or raises ValueError; its schema is what /openapi.json
and /docs show. An unknown or repeated name is an error that proposes the nearest: a misspelt `stpe` must not answer
with a step of its own.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request

from hms_ops.alert.keys import KeyProblem, read_keys
from hms_ops.http.answer import Problem
from hms_ops.http.site import Bodies
from hms_ops.quantity import parse_duration
from hms_ops.reader import NOT_GIVEN, Reader, takes
from hms_ops.yamlfile import nearest

DOCUMENT_BYTES_MAX: Final = 64 * 1024
UNIX_SECONDS_END: Final = 1e11  # the year 5138; what is above is milliseconds
STEP_SECONDS_END: Final = 1e9


def read_parameters(request: Request, readers: Mapping[str, Reader[Any]]) -> dict[str, Any]:
    """The query string's parameters, and the defaults of those that have one; a Problem names the first that is
    wrong. A repeatable one is a list of all that is given."""
    values: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        reader = readers.get(name)
        if reader is None:
            raise Problem(400, "parameter", f"unknown parameter {name[:100]!r}, {nearest(name[:100], readers)}")
        if reader.is_required and not text.strip():
            continue
        if name in values and not reader.is_repeatable:
            raise Problem(400, "parameter", f"the parameter {name!r} is given twice")
        try:
            one = reader(text)
        except ValueError as error:
            raise Problem(400, "parameter", f"{name}: {error}") from None
        values[name] = [*values.get(name, ()), one] if reader.is_repeatable else one
    return completed(values, readers)


def completed(values: dict[str, Any], readers: Mapping[str, Reader[Any]]) -> dict[str, Any]:
    """The values with the defaults of what is not given; Problem for what must be, and for a list that is too long."""
    for name, reader in readers.items():
        if name not in values and reader.is_required:
            example = reader.schema.get("examples", ["…"])[0]
            raise Problem(400, "parameter", f"the parameter {name!r} is missing; as in ?{name}={example}")
        if reader.is_repeatable and len(values.get(name, ())) > reader.times_max:
            raise Problem(400, "parameter", f"the parameter {name!r} is given more than {reader.times_max:,} times")
        if reader.default is not NOT_GIVEN:
            values.setdefault(name, reader.default)
    return values


@takes(title="Unix seconds", type="number", minimum=0, exclusiveMaximum=UNIX_SECONDS_END)
def read_unix_seconds(text: str) -> float:
    """A time: Unix seconds, with a fraction or without."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < UNIX_SECONDS_END:
        raise ValueError(f"{text[:50]!r} is no time; give Unix seconds, as in 1700000000 or 1700000000.5")
    return seconds


@takes(
    title="seconds, or a duration",
    oneOf=[
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": STEP_SECONDS_END},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d|w)$"},
    ],
)
def read_step(text: str) -> float:
    """A distance of points: seconds, or a number with its unit."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = parse_duration(text)
    if not 0 < seconds < STEP_SECONDS_END:
        raise ValueError(f"{text[:50]!r} is no step; give seconds, or a duration such as 10s or 1m")
    return seconds


def read_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text[:50]!r} is neither true nor false")
    return text == "true"


BOOLEAN: Final = Reader(read_boolean, {"type": "boolean"})


def whole_number(low: int, high: int) -> Reader[int]:
    """A reader of integers between two bounds, both allowed."""

    @takes(type="integer", minimum=low, maximum=high)
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 16 and low <= int(text) <= high):
            raise ValueError(f"{text[:50]!r} is no whole number from {low:,} to {high:,}")
        return int(text)

    return read


def one_of(*words: str) -> Reader[str]:
    """A reader of one of a few words."""

    @takes(type="string", enum=list(words))
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text[:50]!r} is none of {', '.join(words)}")
        return text

    return read


def checked_keys(
    given: Mapping[str, Any], readers: Mapping[str, Reader[Any]], what: str, required: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a body's keys; Problem 400 of kind `what` with all that is wrong, each under its key."""
    values, problems = read_keys(given, readers, required)
    if problems:
        raise invalid(what, problems)
    return values


def invalid(what: str, problems: list[KeyProblem]) -> Problem:
    """400 with every problem under its key; the first one is the detail."""
    found = [{"key": problem.key, "message": problem.message} for problem in problems]
    return Problem(400, what, f"the {what} is not valid: {found[0]['message']}", problems=found)


async def read_body(request: Request, bytes_max: int, bodies: Bodies) -> bytes:
    """The body as it came; Problem 413 above `bytes_max`. The caller gives `len` of it back to `bodies`."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > bytes_max:
        raise too_large(bytes_max)
    chunks: list[bytes] = []
    held = 0
    try:
        async for chunk in request.stream():
            if held + len(chunk) > bytes_max:
                raise too_large(bytes_max)
            bodies.take(len(chunk))
            held += len(chunk)
            chunks.append(chunk)
    except BaseException:
        bodies.give_back(held)
        raise
    return b"".join(chunks)


def too_large(bytes_max: int) -> Problem:
    return Problem(413, "body-too-large", f"the body is larger than {bytes_max:,} bytes; send several", limit=bytes_max)


async def read_document(request: Request, bodies: Bodies) -> dict[str, Any]:
    """A small JSON object; {} for an empty body."""
    body = await read_body(request, DOCUMENT_BYTES_MAX, bodies)
    bodies.give_back(len(body))
    try:
        document = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Problem(400, "json", "the body is no JSON object; send {…} with the keys of docs/http.md")
    return document
