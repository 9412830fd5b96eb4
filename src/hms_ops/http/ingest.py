"""`POST /v1/ingest`: StatsD lines, JSON, JSON lines or msgpack in a body, plain or gzip.

The body is bounded as it arrives and again as it is unpacked, so that a few kilobytes of gzip cannot fill the memory.
Unpacking and decoding run in the writing worker; the decoder and its ledger are the sockets' own. What a body held is
answered as the ledger's difference, 400 only when nothing of it could be taken in.
"""

import zlib
from typing import Any, Final, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.parameters import read_body, too_large
from hms_ops.http.site import site_of

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 32 * 1024 * 1024
# Empty members cost 20 bytes each and a copy of the rest: a body full of them would take minutes.
GZIP_MEMBERS_MAX: Final = 64
GZIP: Final = 16 + zlib.MAX_WBITS


class IngestAnswer(TypedDict):
    """What the ledger gained by it: received = accepted + all of rejected, values = samples + all of bad."""

    received: int
    accepted: int
    rejected: dict[str, int]
    values: int
    samples: int
    bad: dict[str, int]


async def ingest(request: Request) -> Response:
    site = site_of(request)
    is_packed = is_gzip(request.headers.get("content-encoding", ""))
    body = await read_body(request, BODY_BYTES_MAX, site.bodies)
    try:
        difference = await site.writes.run(
            lambda: site.engine.ingest_body(unpacked(body, UNPACKED_BYTES_MAX) if is_packed else body)
        )
    finally:
        site.bodies.give_back(len(body))
    if is_nothing(difference):
        raise Problem(400, "unreadable", f"nothing could be read: {reasons_of(difference)}", ledger=difference)
    return Json(difference)


def is_gzip(encoding: str) -> bool:
    name = encoding.strip().lower()
    if name not in ("", "identity", "gzip", "x-gzip"):
        raise Problem(415, "encoding", f"Content-Encoding {name[:50]!r} is not known; send gzip, or none")
    return name.endswith("gzip")


def unpacked(packed: bytes, bytes_max: int) -> bytes:
    """A gzip body's content; Problem when it is damaged, cut short, or larger than `bytes_max`."""
    parts: list[bytes] = []
    room = bytes_max
    for _ in range(GZIP_MEMBERS_MAX):
        member = zlib.decompressobj(GZIP)
        try:
            parts.append(member.decompress(packed, room + 1))
        except zlib.error as error:
            raise Problem(400, "gzip", f"the body is not gzip: {error}") from None
        room -= len(parts[-1])
        if room < 0:
            raise too_large(bytes_max)
        if not member.eof:
            raise Problem(400, "gzip", "the gzip body is cut short")
        packed = member.unused_data
        if not packed:
            return b"".join(parts)
    raise Problem(400, "gzip", f"the gzip body has more than {GZIP_MEMBERS_MAX} members")


def is_nothing(difference: dict[str, Any]) -> bool:
    """Whether no document was accepted, or all values of those that were are bad."""
    return not difference["accepted"] or (difference["values"] > 0 and not difference["samples"])


def reasons_of(difference: dict[str, Any]) -> str:
    counts = {**difference["rejected"], **difference["bad"]}
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items() if count) or "the body is empty"


NOT_GZIP: Final = (
    Refusal(400, "gzip", "The body is no gzip, cut short, or has too many members."),
    Refusal(415, "encoding", "The Content-Encoding is not known; send gzip, or none."),
)
DOCS: Final[Docs] = {
    ingest: Endpoint(
        "Values",
        "Send samples",
        IngestAnswer,
        body=(
            Media("text/plain", "StatsD lines", "finance.api_ms:240|ms|#agency:irs"),
            Media("application/json", "a sample, an array of them, or one a line"),
            Media("application/msgpack", "a map or an array of maps"),
        ),
        refusals=(Refusal(400, "unreadable", "Nothing could be read; `ledger` says why."), *NOT_GZIP),
        more="What the body is shows in its first byte, as on the UDP port; the media type is not looked at. Plain or "
        "gzip. One bad line costs its neighbours nothing.",
        sent="finance.api_ms:240|ms|#agency:irs",
    )
}
