"""How answers leave: validators, so that what has not changed is not sent again, and gzip; around all routes.

    request ──► Accept-Encoding, If-None-Match, If-Match put in order ──► GZipMiddleware ──► ETag, 304 ──► routes
    answer  ◄─────────────────────────── packed ◄──────────────── in pieces ◄──── tagged ◄────────────────┘

A whole answer to GET gets a strong ETag, its content's hash; where the answer is packed, here or by its handler, it
ends in `-gzip`, since those are other bytes, and either is taken back. One that the handler tagged itself keeps its
tag. Every 304 is made here, of the 200 in whose place it stands, so it bears the same tag. Answers that belong to who
asks are `private, no-cache`: kept, and asked for again each time; the handler's own Cache-Control wins, and what is no
plain success is not kept at all (the guard's `no-store`).

Threads: the event loop's only. Nothing holds it for long: what is large is hashed and packed in pieces, with turns for
others in between; one of 64 KiB takes some 1.5 ms. Streams pass untouched, text/event-stream is never packed.
Source: RFC 9110 sections 8.8.3 (ETag), 13.1 (conditions), 12.5.3 (Accept-Encoding).
"""

import asyncio
import hashlib
import re
import sys
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PACKED_BYTES_MIN: Final = 1024
PACKING_LEVEL: Final = 4
PIECE_BYTES: Final = 64 * 1024
HASHED_BYTES: Final = 1024 * 1024
PACKED_MARK: Final = "-gzip"
PRIVATE: Final = "private, no-cache"
# What an answer depends on that is not in its address; GZipMiddleware adds Accept-Encoding.
VARY: Final = "Authorization, Cookie"
PACKED_TAG: Final = re.compile(rb'-gzip"')
NATURALLY_PACKED: Final = re.compile(r"image/(?!svg)|font/|audio/|video/|application/(?:zip|gzip)|text/event-stream")
NO_GZIP: Final = re.compile(r"\s*gzip\s*;\s*q=0(\.0*)?\s*\Z", re.IGNORECASE)
Headers = list[tuple[bytes, bytes]]


class Delivery:
    """The ASGI layer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(self._tagged, PACKED_BYTES_MIN, PACKING_LEVEL)
        self._packing.thread_minimum_size = sys.maxsize  # no threads but the engine's; pieces are small enough

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._packing({**scope, "headers": ordered(scope["headers"])}, receive, send)

    async def _tagged(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            send = Tagging(scope, send).send
        await self._app(scope, receive, send)


def ordered(headers: Headers) -> Headers:
    """The request's headers, with conditions as if nothing were packed, and without gzip where it is not wanted."""
    found: Headers = []
    for name, value in headers:
        if name in (b"if-none-match", b"if-match"):
            value = PACKED_TAG.sub(b'"', value)
        elif name == b"accept-encoding":
            value = accepted(value.decode("latin-1")).encode("latin-1")
        found.append((name, value))
    return found


def accepted(encodings: str) -> str:
    """Accept-Encoding without a gzip that is refused; GZipMiddleware looks for the word alone."""
    return ",".join(coding for coding in encodings.split(",") if not NO_GZIP.match(coding))


class Tagging:
    """`send` of one GET: tags whole answers, answers 304 in their stead, cuts large ones into pieces."""

    def __init__(self, scope: Scope, send: Send) -> None:
        headers = MutableHeaders(scope=scope)
        self._known = headers.getlist("if-none-match")
        self._packs = "gzip" in headers.get("accept-encoding", "")
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._start is not None:
            start, self._start = self._start, None
            await self._whole(start, message["body"])
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        """Hold the head of a whole answer back until its body is known; a stream's goes at once."""
        headers = MutableHeaders(raw=message["headers"])
        size = int(headers.get("content-length", -1))
        self._packs = self._packs and size >= PACKED_BYTES_MIN and is_packable(headers)
        if message["status"] == 200 and size >= 0:
            self._start = message
        else:
            await self._send(message)

    async def _whole(self, start: Message, body: bytes) -> None:
        headers = MutableHeaders(raw=start["headers"])
        if headers.get("cache-control") != "no-store":
            tag = headers.get("etag") or await tag_of(body)
            if "cache-control" not in headers:
                headers["cache-control"] = PRIVATE
                headers.add_vary_header(VARY)
            headers["etag"] = marked(tag) if self._packs or "content-encoding" in headers else tag
            if is_known(tag, self._known):
                await self._not_modified(start, headers)
                return
        await self._send(start)
        for piece, is_last in pieces(body, PIECE_BYTES if self._packs else len(body)):
            await self._send({"type": "http.response.body", "body": piece, "more_body": not is_last})
            if not is_last:
                await asyncio.sleep(0)

    async def _not_modified(self, start: Message, headers: MutableHeaders) -> None:
        for name in ("content-length", "content-type", "content-encoding"):
            del headers[name]
        if "accept-encoding" not in headers.get("vary", "").lower():
            headers.add_vary_header("Accept-Encoding")
        await self._send({**start, "status": 304})
        await self._send({"type": "http.response.body", "body": b""})


async def tag_of(body: bytes) -> str:
    """A strong ETag: 128 bits of the content's SHA-256."""
    digest = hashlib.sha256()
    for piece, is_last in pieces(body, HASHED_BYTES):
        digest.update(piece)
        if not is_last:
            await asyncio.sleep(0)
    return f'"{digest.hexdigest()[:32]}"'


def pieces(body: bytes, size: int) -> Sequence[tuple[bytes, bool]]:
    """(piece, whether it is the last one); one empty piece of an empty body."""
    starts = range(0, len(body), size) if len(body) > size else (0,)
    return [(body[at : at + size] if len(starts) > 1 else body, at + size >= len(body)) for at in starts]


def is_packable(headers: MutableHeaders) -> bool:
    """Whether GZipMiddleware will pack it: what is packed by its nature is left alone."""
    media_type = headers.get("content-type", "")
    return "content-encoding" not in headers and not NATURALLY_PACKED.match(media_type)


def marked(tag: str) -> str:
    """The tag of the packed answer."""
    return tag.removesuffix('"') + PACKED_MARK + '"'


def is_known(tag: str, conditions: Sequence[str]) -> bool:
    """Whether If-None-Match has this tag, weak or strong, or takes any."""
    known = [one.strip().removeprefix("W/") for condition in conditions for one in condition.split(",")]
    return "*" in known or tag.removeprefix("W/") in known
