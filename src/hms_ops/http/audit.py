"""The audit log over HTTP: its newest records, and all of it as the lines that `hms-ops-engine audit verify` checks.

Read among the queries, piece by piece, as fast as the client takes it. An export that fails on its way ends without its
last chunk, so that nobody takes it for whole.
"""

from typing import Any, Final, TypedDict

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hms_ops.http.answer import Json
from hms_ops.http.endpoint import Docs, Endpoint, Media
from hms_ops.http.operations import gathered, streamed
from hms_ops.http.parameters import read_parameters, whole_number
from hms_ops.http.site import site_of
from hms_ops.reader import Reader

RECORDS_LISTED: Final = 100
RECORDS_LISTED_MAX: Final = 10_000
PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "limit": whole_number(1, RECORDS_LISTED_MAX).about("How many at most, the newest.", default=RECORDS_LISTED)
}
MEDIA_TYPE: Final = "application/x-ndjson"


class AuditDocument(TypedDict):
    """Who did what, when, from where, and what came of it; hash covers the record and the hash before it."""

    time: float
    number: int
    time_ns: int
    who: str
    what: str
    subject: str
    outcome: str
    source: str
    detail: dict[str, Any]
    prev: str
    hash: str


class AuditAnswer(TypedDict):
    """Oldest first."""

    audit: list[AuditDocument]


async def audit(request: Request) -> Response:
    """The newest `limit` records, oldest first."""
    limit = read_parameters(request, PARAMETERS)["limit"]
    site = site_of(request)
    found = await site.reads.run(lambda: site.engine.audit_log(limit))
    return Json({"audit": [{"time": record["time_ns"] / 1e9, **record} for record in found]})


async def export(request: Request) -> Response:
    """The head and all records, a line of JSON each, exactly as they are hashed."""
    read_parameters(request, {})
    site = site_of(request)
    lines = await site.reads.run(site.engine.audit_export)
    first = await site.reads.run(lambda: gathered(lines))
    return StreamingResponse(streamed(site, lines, first), media_type=MEDIA_TYPE)


DOCS: Final[Docs] = {
    audit: Endpoint("Events", "Who did what", AuditAnswer, parameters=PARAMETERS),
    export: Endpoint(
        "Events",
        "The whole audit log",
        Media(MEDIA_TYPE, "a line of JSON each, exactly as they are hashed; `hms-ops-engine audit verify` checks them"),
    ),
}
