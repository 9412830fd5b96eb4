"""Requests and answers of `/api/v1` in Prometheus' form, whatever they are about.

    GET with a query string, POST with a form, or both   ──►   every value of each name
    {"status": "success", "data": …, "warnings": […]}    ◄──   what a handler's work returns
    {"status": "error", "errorType": "execution", "error": "…"}, 400, 422, 501, 503   ◄──   Refused, StorageError, …

Each refusal is counted under its reason in the site's tally. Work runs on a worker of its own, beside the event loop
and the reads of our screens, as long as its client is there.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NotRequired, TypedDict
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.errors import HmsOpsError
from hms_ops.http.answer import Json, Problem
from hms_ops.http.parameters import DOCUMENT_BYTES_MAX, read_body
from hms_ops.http.site import Site, site_of
from hms_ops.prometheus.query.budget import Patience
from hms_ops.prometheus.query.given import Given
from hms_ops.prometheus.query.refused import BAD_DATA, UNAVAILABLE, Refused

FIELDS_MAX: Final = 1_000  # of a form
Answer = tuple[Any, Sequence[str], Sequence[str]]  # data, warnings, infos
Work = Callable[[Site, Given, Patience], Answer]


class Answered(TypedDict):
    """An answer in Prometheus' form. data: as Prometheus documents it for this path."""

    status: Literal["success"]
    data: Any
    warnings: NotRequired[list[str]]
    infos: NotRequired[list[str]]


def answered(work: Work) -> Callable[[Request], Any]:
    """A handler that reads the parameters, has them worked on beside the event loop, and answers as Prometheus does."""

    @functools.wraps(work)
    async def handle(request: Request) -> Response:
        site = site_of(request)
        patience = Patience(lambda: site.promql.is_refusing)
        try:
            asked = await parameters(request, site)
            return await site.promql.run(lambda: document(*work(site, asked, patience)), request)
        except Refused as refused:
            return refusal(site, refused)
        except Problem as problem:
            return refusal(site, Refused(BAD_DATA if problem.status < 500 else UNAVAILABLE, problem.detail))
        except HmsOpsError as error:
            return refusal(site, Refused(UNAVAILABLE, str(error)))
        finally:
            patience.is_over = True  # a query whose client has left ends soon

    return handle


async def parameters(request: Request, site: Site) -> Given:
    """All values of each name, those of a form first, and the path's own."""
    pairs: list[tuple[str, str]] = []
    if request.method == "POST":
        body = await read_body(request, DOCUMENT_BYTES_MAX, site.bodies)
        site.bodies.give_back(len(body))
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
        except ValueError:
            raise Refused(BAD_DATA, f"the form cannot be read: UTF-8 and at most {FIELDS_MAX:,} fields") from None
    found: dict[str, list[str]] = {name: [value] for name, value in request.path_params.items()}
    for name, value in (*pairs, *request.query_params.multi_items()):
        found.setdefault(name, []).append(value)
    return found


def document(data: Any, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Response:
    notes = {name: list(said) for name, said in (("warnings", warnings), ("infos", infos)) if said}
    return Json({"status": "success", "data": data, **notes})


def refusal(site: Site, refused: Refused) -> Response:
    site.tally[refused.sort.reason] += 1
    content = {"status": "error", "errorType": refused.sort.error_type, "error": str(refused)}
    return Json(content, refused.sort.status)
