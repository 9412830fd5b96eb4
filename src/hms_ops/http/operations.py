"""Operations on series and history: delete, describe, export, import, backup.

They run in a worker of their own, so that neither bodies nor queries wait for them; an export is read piece by piece
among the queries, as fast as the client takes it. What changes something is an event in the journal with the client's
address. An export that fails on its way ends without its last chunk, so that nobody takes it for whole.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypedDict

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hms_ops.errors import ConfigError, StorageError
from hms_ops.http.answer import Json, Problem
from hms_ops.http.caller import caller_of
from hms_ops.http.endpoint import Body, Docs, Endpoint, Media, Refusal
from hms_ops.http.ingest import NOT_GZIP, UNPACKED_BYTES_MAX, is_gzip, unpacked
from hms_ops.http.lookup import BAD_EXPRESSION, SERIES_LISTED, SeriesDocument, series_documents
from hms_ops.http.parameters import (
    BOOLEAN,
    checked_keys,
    one_of,
    read_body,
    read_document,
    read_parameters,
    read_unix_seconds,
)
from hms_ops.http.site import Site, site_of
from hms_ops.operations import ALL_TIERS
from hms_ops.reader import TEXT, Reader, takes
from hms_ops.storage.tier import TIERS

PIECE_CHARS: Final = 64 * 1024
IMPORT_BYTES_MAX: Final = 8 * 1024 * 1024
TEXT_CHARS_MAX: Final = 1000  # of a metric's name, unit and help; a path
MEDIA_TYPES: Final = {
    "csv": "text/csv",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}


@takes(type="string", maxLength=TEXT_CHARS_MAX)
def read_short(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise ValueError(f"expected a text of up to {TEXT_CHARS_MAX:,} characters")
    return value


@takes(type="string", minLength=1, maxLength=TEXT_CHARS_MAX)
def read_some(value: Any) -> str:
    if not read_short(value):
        raise ValueError("expected a text, found an empty one")
    return str(value)


DESCRIBE_READERS: Final[dict[str, Reader[Any]]] = {
    "metric": read_some.about("The metric's name.", example="finance.api_ms"),
    "unit": read_short.about("Its unit; rules read it.", example="ms"),
    "help": read_short.about("What it is, for people.", example="API latency"),
}
BACKUP_READERS: Final[dict[str, Reader[Any]]] = {
    "directory": read_some.about("A new directory on the engine's host, as an absolute path.", example="/backup/monday")
}
DELETE_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "match": TEXT.about("A selector; an empty one deletes nothing.", example='{host="db-1"}', required=True)
}
IMPORT_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "fill": BOOLEAN.about("Whether this is the last part, after which coarser tiers are made.", default=True)
}
EXPORT_PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "match": TEXT.about("A selector; all series without one.", default="", example='{agency="irs"}'),
    "start": read_unix_seconds.about("From here on.", default=None),
    "end": read_unix_seconds.about("Up to here; now, if it is not given.", default=None),
    "tier": one_of(*(tier.name for tier in TIERS), ALL_TIERS).about("How fine.", default=TIERS[0].name),
    "format": one_of(*MEDIA_TYPES).about("Which text.", default="csv"),
}


class SeriesDeleted(TypedDict):
    """How many there were, and the first 1,000 of them."""

    deleted: int
    series: list[SeriesDocument]


class DescriptionDocument(TypedDict):
    """What is said of a metric now."""

    metric: str
    unit: str
    help: str


class ImportAnswer(TypedDict):
    """rows = written + present + all of bad. present: there already; errors: the first lines that could not be taken;
    filled: steps of coarser tiers that were made."""

    rows: int
    written: int
    present: int
    bad: dict[str, int]
    errors: list[str]
    filled: int


class BackupAnswer(TypedDict):
    """The copy on the engine's host."""

    directory: str
    files: int
    bytes: int


async def delete(request: Request) -> Response:
    """The series of `match` are deleted; how many there were, and the first of them."""
    given = read_parameters(request, DELETE_PARAMETERS)
    site, selector = site_of(request), given["match"]

    def drop() -> Response:
        deleted = site.engine.operations.delete(selector, client_of(request))
        return Json({"deleted": len(deleted), "series": series_documents(site.engine, deleted[:SERIES_LISTED])})

    return await site.operations.run(drop)


async def describe(request: Request) -> Response:
    """A metric's unit and help, as {"metric", "unit", "help"}; what is not given stays."""
    site = site_of(request)
    values = checked_keys(await read_document(request, site.bodies), DESCRIBE_READERS, "describe", ("metric",))
    name, unit, words = values["metric"], values.get("unit"), values.get("help")
    try:
        await site.operations.run(lambda: site.engine.describe(name, unit, words))
    except ConfigError as error:
        raise Problem(409, "describe", f"a rule cannot read this unit: {error}") from None
    except ValueError as error:
        raise Problem(400, "describe", str(error)) from None
    site.engine.operations.note("describe", client_of(request), metric=name, unit=unit, help=words)
    known = await site.reads.run(lambda: site.engine.operations.description(name))
    return Json({"metric": name, "unit": known["unit"] or unit or "", "help": known["help"] or words or ""})


async def export(request: Request) -> Response:
    """Rows on disk as text, in chunks."""
    given = read_parameters(request, EXPORT_PARAMETERS)
    site = site_of(request)
    pieces = await begun(site, given)
    first = await site.reads.run(lambda: gathered(pieces))
    return StreamingResponse(streamed(site, pieces, first), media_type=MEDIA_TYPES[given["format"]])


async def begun(site: Site, given: dict[str, Any]) -> Iterator[str]:
    def begin() -> Iterator[str]:
        selector, start, end = given["match"], given["start"], given["end"]
        return site.engine.operations.export(selector, start, end, given["tier"], given["format"])

    try:
        return await site.reads.run(begin)
    except ValueError as error:
        raise Problem(400, "export", str(error)) from None


async def streamed(site: Site, pieces: Iterator[str], text: str) -> AsyncIterator[bytes]:
    while text:
        yield text.encode()
        text = await site.reads.run(lambda: gathered(pieces))


def gathered(pieces: Iterator[str]) -> str:
    """The next PIECE_CHARS or so; "" at the end."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= PIECE_CHARS:
            break
    return "".join(parts)


async def import_(request: Request) -> Response:
    """The rows of an export; 400 when it is none, or none of its rows could be read."""
    site = site_of(request)
    is_last = read_parameters(request, IMPORT_PARAMETERS)["fill"]
    is_packed = is_gzip(request.headers.get("content-encoding", ""))
    body = await read_body(request, IMPORT_BYTES_MAX, site.bodies)

    def write() -> dict[str, Any]:
        data = unpacked(body, UNPACKED_BYTES_MAX) if is_packed else body
        return site.engine.operations.import_rows([data], client_of(request), is_last)

    try:
        answer = await site.operations.run(write)
    except ValueError as error:
        raise Problem(400, "import", str(error)) from None
    finally:
        site.bodies.give_back(len(body))
    if answer["bad"] and not answer["written"] and not answer["present"]:
        raise Problem(400, "unreadable", "no row could be taken: " + "; ".join(answer["errors"][:3]), ledger=answer)
    return Json(answer)


async def backup(request: Request) -> Response:
    """Back up to {"directory"}, a new one on the engine's host; 201 when it is complete."""
    site = site_of(request)
    values = checked_keys(await read_document(request, site.bodies), BACKUP_READERS, "backup", ("directory",))
    directory: str = values["directory"]

    def copy() -> dict[str, Any]:
        if Path(directory).is_absolute():
            check_place(Path(directory))
        return site.engine.operations.back_up(directory, client_of(request))

    try:
        return Json(await site.operations.run(copy), 201)
    except ValueError as error:
        raise Problem(400, "backup", str(error)) from None


def check_place(directory: Path) -> None:
    """ValueError for a place that has something in it, or where nothing can be: the disk is not to blame."""
    from hms_ops.storage.backup import check_target

    try:
        check_target(directory)
    except StorageError as error:
        raise ValueError(str(error)) from None


def client_of(request: Request) -> str:
    """Who asks, for the journal: the name of the token, where it has one, and the address."""
    place = f"HTTP {request.client.host}" if request.client is not None else "HTTP"
    name = caller_of(request).name
    return f"{name}, {place}" if name else place


def who_of(request: Request, given: Mapping[str, Any]) -> str:
    """Who does it, as people are shown: what the client says of itself, with the token's name behind it where that is
    another; the client where it says nothing."""
    said, name = given.get("who", ""), caller_of(request).name
    if not said:
        return client_of(request)
    return said if name in ("", said) else f"{said} ({name})"


NO_DISK: Final = Refusal(503, "storage", "Nothing is kept on disk, the disk fails, or another one is under way.")
CSV_ROWS: Final = "rows of series, as docs/operations.md describes them"
OPENMETRICS_ROWS: Final = "the same as OpenMetrics text"
DOCS: Final[Docs] = {
    delete: Endpoint(
        "Operations",
        "Delete series and their history",
        SeriesDeleted,
        parameters=DELETE_PARAMETERS,
        refusals=(BAD_EXPRESSION, NO_DISK),
        query='?match={host="db-1"}',
    ),
    describe: Endpoint(
        "Operations",
        "Give a metric its unit and help",
        DescriptionDocument,
        body=Body(DESCRIBE_READERS, ("metric",)),
        refusals=(
            Refusal(400, "describe", "Keys are wrong, or the name is none that a metric may have."),
            Refusal(409, "describe", "A rule cannot read this unit."),
        ),
        more="What is not given stays.",
        sent='{"metric": "finance.api_ms", "unit": "ms", "help": "API latency"}',
    ),
    export: Endpoint(
        "Operations",
        "History as text",
        (Media(MEDIA_TYPES["csv"], CSV_ROWS), Media(MEDIA_TYPES["openmetrics"], OPENMETRICS_ROWS)),
        parameters=EXPORT_PARAMETERS,
        refusals=(BAD_EXPRESSION, Refusal(400, "export", "The tier cannot be had in this format."), NO_DISK),
        more="Sent in chunks as fast as it is taken; one that fails on its way ends without its last chunk.",
        query="?match={agency=%22irs%22}&tier=1m",
    ),
    import_: Endpoint(
        "Operations",
        "Take in an export",
        ImportAnswer,
        parameters=IMPORT_PARAMETERS,
        body=Media(MEDIA_TYPES["csv"], "what an export gave, csv or openmetrics; plain or gzip"),
        refusals=(
            Refusal(400, "import", "It is no export."),
            Refusal(400, "unreadable", "No row could be taken; `ledger` says why."),
            *NOT_GZIP,
            NO_DISK,
        ),
    ),
    backup: Endpoint(
        "Operations",
        "Copy all that is on disk",
        BackupAnswer,
        201,
        body=Body(BACKUP_READERS, ("directory",)),
        refusals=(Refusal(400, "backup", "The directory cannot be written to, or has something in it."), NO_DISK),
        sent='{"directory": "/backup/monday"}',
    ),
}
