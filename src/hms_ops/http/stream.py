"""`GET /v1/stream`: server-sent events of cells, alerts, anomalies and actions, as they happen.

    ?metric=NAME…   pooled cells, a trailing `*` takes all that begin so      ?events=alert,anomaly,action
    ?series=NAME…   a cell of each series                                    ?since=UNIX_SECOND, ?last_event_id=ID

What is sent is stream/'s affair; here is one client's connection: parameters in, queue out. An answer has no end until
the client leaves or the server stops. It is written in pieces of PIECE_BYTES, each after uvicorn says that the last
ones are on their way, so that what a slow client leaves lying lies in its bounded queue (stream/outflow.py). One that
takes nothing for STALL_SECONDS is cut by connection.py. docs/stream.md has the format and every bound.
"""

import asyncio
import math
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hms_ops.http.answer import Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.entrance import may_still
from hms_ops.http.parameters import read_parameters, read_unix_seconds
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader, many, takes
from hms_ops.stream.documents import KINDS
from hms_ops.stream.frame import RETRY, Place, place_of
from hms_ops.stream.hub import Hub
from hms_ops.stream.outflow import Outflow
from hms_ops.stream.wanted import Wanted, wanted_of

NAMES_MAX: Final = 1_000  # of each sort in one stream; a head of 16 KiB holds fewer
NAME_CHARS_MAX: Final = 201  # of a metric, and the `*`
PIECE_BYTES: Final = 64 * 1024
ANOTHER_RUN: Final = Place(0, 0, "")  # an id that is none of ours: as good as one of another engine

HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


@takes(type="string", minLength=1, maxLength=NAME_CHARS_MAX)
def read_pattern(text: str) -> str:
    """A metric's name, or its beginning and `*`. Nobody need have sent it yet."""
    if not 1 <= len(text) <= NAME_CHARS_MAX:
        raise ValueError(f"{text[:50]!r} has {len(text)} characters; a metric's name has 1 to {NAME_CHARS_MAX - 1}")
    return text


@takes(type="string", pattern=f"^$|^({'|'.join(KINDS)})(,({'|'.join(KINDS)}))*$")
def read_kinds(text: str) -> frozenset[str]:
    """Kinds of events with commas between them; none where it is empty."""
    found = frozenset(filter(None, text.split(",")))
    if unknown := found - set(KINDS):
        raise ValueError(f"{min(unknown)[:50]!r} is none of {', '.join(KINDS)}; give some of them with commas between")
    return found


PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "metric": many(
        read_pattern.about("Pooled cells of this metric, a trailing `*` takes all that begin so", example="finance.*"),
        NAMES_MAX,
    ),
    "series": many(read_pattern.about("A cell of each series of this metric", example="finance.api_ms"), NAMES_MAX),
    "events": read_kinds.about("Which events to send, with commas between; all without it, none where it is empty"),
    "since": read_unix_seconds.about("Send the sealed seconds from there first, as far as memory has them: 60"),
    "last_event_id": TEXT.about("As the header Last-Event-ID, for who cannot set one"),
}


async def stream(request: Request) -> Response:
    """Live events until the client leaves. 503 when there are too many streams."""
    hub = site_of(request).streams
    given = read_parameters(request, PARAMETERS)
    if request.method == "HEAD":
        return Response(headers=HEADERS)
    if not hub.has_room():
        why = f"{hub.streams_max} streams are open, which is all there may be; close some, or come again"
        raise Problem(503, "streams", why, {"Retry-After": "5"})
    wanted = wanted_of(given.get("metric", ()), given.get("series", ()))
    return Stream(hub, wanted, given.get("events", frozenset(KINDS)), *beginning(request, given))


def beginning(request: Request, given: dict[str, Any]) -> tuple[Place | None, int | None]:
    """Where a stream goes on, and the second it wants cells from. The header is of a browser that connects again, with
    the URL of its first time: it knows better than a `since` there."""
    header = request.headers.get("last-event-id", "")
    if header:
        return place_of(header) or ANOTHER_RUN, None
    id, since = given.get("last_event_id", ""), given.get("since")
    place = (place_of(id) or ANOTHER_RUN) if id else None
    return place, math.ceil(since) if since is not None else None


class Stream(Response):
    """The answer: a queue of the hub's, sent as it fills."""

    def __init__(self, hub: Hub, wanted: Wanted, kinds: frozenset[str], place: Place | None, since: int | None) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._hub = hub
        self._asked = wanted, kinds, place, since

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outflow = self._hub.join(*self._asked)
        leaving = asyncio.create_task(end_with_client(receive, outflow))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send_piece(send, RETRY)
            # A frame comes each second; so a log-out, an expired or withdrawn token ends the stream within one.
            while (data := await outflow.next()) is not None and may_still(scope):
                for begin in range(0, len(data), PIECE_BYTES):
                    await send_piece(send, data[begin : begin + PIECE_BYTES])
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            leaving.cancel()
            self._hub.leave(outflow)


async def send_piece(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def end_with_client(receive: Receive, outflow: Outflow) -> None:
    """Wait until the client has left; its body, should it have one, is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
    outflow.end()


TOO_MANY: Final = Refusal(503, "streams", "as many streams are open as there may be: 256")
EXAMPLE: Final = """retry: 1000

id: 1700000005.42.9f86d081
event: cells
data: {"time":1700000005,"cells":[{"metric":"finance.api_ms","tags":null,"kind":"timer","value":240.0,"count":2.0,\
"sum":480.0,"min":230.0,"max":250.0,"last":230.0}],"left_out":0}

"""
DOCS: Final[Docs] = {
    stream: Endpoint(
        "Stream",
        "Cells each second, and events as they happen",
        Media("text/event-stream", "events `cells`, `alert`, `anomaly`, `action`, `gap`: docs/stream.md", EXAMPLE),
        parameters=PARAMETERS,
        refusals=(TOO_MANY,),
        query="?metric=finance.*",
    ),
}

ROUTES: Final = (Route("/v1/stream", stream),)
