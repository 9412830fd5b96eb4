"""`GET /`: the dashboard, as `make ui` has built it; and the reports of browsers that its policy held something back.

The files are read once, at the first request for one, and answered from memory: a handful, a few hundred kilobytes. The
page itself is asked for again each time (its ETag makes that cheap); assets carry a hash in their name and are kept.

The policy allows scripts and styles from here and nothing else: no inline script, no eval, no other origin. A browser
that holds something back says so to `/v1/csp-reports`: counted, the first ones logged, nothing stored.
"""

import hashlib
import logging
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.escape import printable
from hms_ops.http.answer import Problem
from hms_ops.http.endpoint import Docs, Endpoint, Media, Refusal
from hms_ops.http.parameters import read_body
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "report-uri /v1/csp-reports",
    )
)
REPORT_BYTES_MAX: Final = 16 * 1024
REPORTS_LOGGED: Final = 20
NOT_BUILT: Final = "the dashboard's files are not in this installation; in a checkout `make ui` builds them"

log = logging.getLogger("hms_ops.http.screens")


@dataclass(frozen=True, slots=True)
class Asset:
    """One built file as it is answered."""

    content: bytes
    media_type: str
    etag: str
    is_kept: bool  # its name changes with its content

    def response(self) -> Response:
        headers = {
            "ETag": self.etag,
            "Cache-Control": "public, max-age=31536000, immutable" if self.is_kept else "no-cache",
            "Content-Security-Policy": POLICY,
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        }
        return Response(self.content, headers=headers, media_type=self.media_type)


@cache
def assets() -> dict[str, Asset]:
    """Path below `/` → file, all there are."""
    root = files("hms_ops.http") / "dashboard"
    return dict(walk(root, "")) if root.is_dir() else {}


def walk(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        found += walk(entry, name + "/") if entry.is_dir() else [(name, asset_of(name, entry.read_bytes()))]
    return found


def asset_of(name: str, content: bytes) -> Asset:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    return Asset(content, media_type, etag, is_kept=name.startswith("assets/"))


async def dashboard(request: Request) -> Response:
    return answer("index.html")


async def asset(request: Request) -> Response:
    return answer("assets/" + request.path_params["path"])


def answer(name: str) -> Response:
    known = assets()
    if not known:
        raise Problem(503, "no-dashboard", NOT_BUILT)
    if name not in known:
        raise Problem(404, "no-such-path", "the dashboard has no such file; load its page again")
    return known[name].response()


async def report(request: Request) -> Response:
    """Take what a browser reports; whoever sends it, nothing of it is kept but a count."""
    site = site_of(request)
    body = await read_body(request, REPORT_BYTES_MAX, site.bodies)
    site.bodies.give_back(len(body))
    site.tally["csp-report"] += 1
    if site.tally["csp-report"] <= REPORTS_LOGGED:
        log.warning(
            "a browser held back what the dashboard's policy forbids: %s", printable(body.decode("utf-8", "replace"))
        )
    return Response(status_code=204)


NO_FILES: Final = Refusal(503, "no-dashboard", "this installation has no built dashboard")
DOCS: Final[Docs] = {
    dashboard: Endpoint("Engine", "The dashboard", Media("text/html", "the page"), refusals=(NO_FILES,)),
    asset: Endpoint(
        "Engine",
        "A file of the dashboard",
        Media("text/javascript", "a script, a style, or a picture"),
        path={"path": TEXT.about("Its name, as the page gives it.", example="index.js")},
        refusals=(NO_FILES,),
    ),
    report: Endpoint(
        "Engine",
        "Take a browser's report of what the dashboard's policy held back",
        status=204,
        body=Media("application/csp-report", "what the browser says; counted, not kept"),
    ),
}

ROUTES: Final = (
    Route("/", dashboard),
    Route("/assets/{path:path}", asset),
    Route("/v1/csp-reports", report, methods=["POST"]),
)
