"""The public status page, its data, badges and the widget: no login, cacheable, nothing private.

    GET /status  GET /status.json  GET /badge/NAME.svg  GET /badge/all.svg  GET /hms-status.js  GET /status.css|js

What is answered is made every few seconds at most, whoever asks and however often: crowds come when something is
wrong. Other pages may read it (CORS) and embed it. Without services in the setting `status` there is no page: 404.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Literal, TypedDict

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.http.answer import Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.site import Site, site_of
from hms_ops.reader import TEXT
from hms_ops.statuspage.maker import Made, Rendered, rendered

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors *; require-trusted-types-for 'script'; trusted-types 'none'"
)
SHARED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cache-Control": "public, max-age=15",
    "Content-Security-Policy": POLICY,
}
KEPT_SECONDS: Final = 5.0
STALE_SECONDS: Final = 30.0  # what is older is waited for
KEPT: Final = {**SHARED, "Cache-Control": "public, max-age=3600"}


async def made(request: Request) -> Made:
    """The status, KEPT_SECONDS old or little more. One is made at a time; meanwhile everybody gets the one before."""
    site = site_of(request)
    if not site.engine.config.status.services:
        raise Problem(404, "no-status-page", "this engine has no status page; name services under `status` to have one")
    status = site.status
    age_seconds = status.age_seconds()
    if age_seconds > KEPT_SECONDS and status.making is None:
        status.making = asyncio.ensure_future(make(site))
        status.making.add_done_callback(lambda made: made.cancelled() or made.exception())  # told to who waits for it
    if status.last is not None and (status.making is None or age_seconds < STALE_SECONDS):
        return status.last
    assert status.making is not None
    return await asyncio.shield(status.making)


async def make(site: Site) -> Made:
    try:
        return await site.public.run(site.status.make)
    finally:
        site.status.making = None


def shared(request: Request, found: Rendered, media_type: str, headers: Mapping[str, str] = SHARED) -> Response:
    """The bytes as they were made, packed where that is taken."""
    given = {**headers, "ETag": f'"{found.etag}"'}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(found.content, headers=given, media_type=media_type)
    packed = {**given, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(found.packed, headers=packed, media_type=media_type)


async def page(request: Request) -> Response:
    return shared(request, (await made(request)).page, "text/html")


async def data(request: Request) -> Response:
    return shared(request, (await made(request)).data, "application/json")


async def badge(request: Request) -> Response:
    """`all`, or a service of the page."""
    badges, name = (await made(request)).badges, request.path_params["name"]
    if name not in badges:
        raise Problem(404, "no-service", f"the status page has no service {name[:60]!r}; /status.json lists them")
    return shared(request, badges[name], "image/svg+xml")


async def style(request: Request) -> Response:
    return shared(request, file("status.css"), "text/css", KEPT)


async def script(request: Request) -> Response:
    return shared(request, file("status.js"), "text/javascript", KEPT)


async def widget(request: Request) -> Response:
    return shared(request, file("hms-status.js"), "text/javascript", KEPT)


@cache
def file(name: str) -> Rendered:
    return rendered((files("hms_ops.http") / "widget" / name).read_bytes())


State = Literal["working", "degraded", "out", "unknown"]


class DayDocument(TypedDict):
    """One day of a service, UTC."""

    date: Annotated[str, Meta(description="as in 2026-11-23")]
    share: Annotated[float | None, Meta(description="of the watched time, how much it worked; null: not watched")]


class ServiceDocument(TypedDict):
    """One service."""

    name: Annotated[str, Meta(description="as badge and widget name it")]
    label: Annotated[str, Meta(description="as people know it")]
    state: Annotated[State, Meta(description="for machines")]
    words: Annotated[str, Meta(description="the state for people")]
    uptime: Annotated[float | None, Meta(description="share of the watched time of the days; null: never watched")]
    days: Annotated[list[DayDocument], Meta(description="the last 90, oldest first")]


class IncidentDocument(TypedDict):
    """A time in which a service did not work."""

    service: Annotated[str, Meta(description="the service's name")]
    state: Annotated[State, Meta(description="out or degraded")]
    start: Annotated[float, Meta(description="Unix seconds")]
    end: Annotated[float | None, Meta(description="Unix seconds; null while it lasts")]


class StatusDocument(TypedDict):
    """What the public may know."""

    title: Annotated[str, Meta(description="of the page")]
    message: Annotated[str, Meta(description="what the operators add, or empty")]
    state: Annotated[State, Meta(description="the worst of all services")]
    words: Annotated[str, Meta(description="the state for people")]
    sentence: Annotated[str, Meta(description="the whole in a sentence")]
    updated: Annotated[float, Meta(description="Unix seconds")]
    services: Annotated[list[ServiceDocument], Meta(description="in the order of the setting")]
    incidents: Annotated[list[IncidentDocument], Meta(description="of the last 14 days, newest first")]


NO_PAGE: Final = Refusal(404, "no-status-page", "no services are named in the setting `status`")
NO_SERVICE: Final = Refusal(404, "no-service", "the page has no such service")
NAME: Final = TEXT.about("A service's name, or all.", example="all")
DOCS: Final[Docs] = {
    page: Endpoint(
        "Status", "The public page", Media("text/html", "a page, whole without its script"), refusals=(NO_PAGE,)
    ),
    data: Endpoint("Status", "The same as data", StatusDocument, refusals=(NO_PAGE,)),
    style: Endpoint("Status", "The page's style", Media("text/css", "a style sheet")),
    script: Endpoint("Status", "The page's script", Media("text/javascript", "follows the states in place")),
    badge: Endpoint(
        "Status",
        "A badge",
        Media("image/svg+xml", "a picture of 20 pixels' height"),
        path={"name": NAME},
        refusals=(NO_PAGE, NO_SERVICE),
    ),
    widget: Endpoint("Status", "The widget <hms-status>", Media("text/javascript", "a module: docs/status-page.md")),
}

ROUTES: Final = (
    Route("/status", page),
    Route("/status.json", data),
    Route("/status.css", style),
    Route("/status.js", script),
    Route("/badge/{name}.svg", badge),
    Route("/hms-status.js", widget),
)
