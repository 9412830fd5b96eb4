"""`GET /v1/slos`: every service level objective as it stands: kept, left of the budget, burn rates, state.

One document for each SLO, by `name` for one of them; see `objectives.status`. History is read for the burn rates, so it
is a worker's call. Errors: 404 for a name that no SLO has.
"""

from typing import Any, Final, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Docs, Endpoint, Refusal
from hms_ops.http.parameters import read_parameters
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader
from hms_ops.yamlfile import nearest

PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "name": TEXT.about("Of one only.", default=None, example="payments.availability")
}


class SloGroup(TypedDict):
    """How a group stands: the share that was good, the share of the budget that is left, burn rates by seconds."""

    tags: dict[str, str]
    good: float
    total: float
    compliance: float | None
    budget: float
    burn: dict[str, float | None]
    firing: list[str]
    state: Literal["ok", "burning", "exhausted", "no data"]


class SloDocument(TypedDict):
    """An objective in percent over its window, and each group of it."""

    slo: str
    objective: float
    good: str
    window_seconds: float
    group_by: list[str]
    source: str
    groups: list[SloGroup]


class SlosAnswer(TypedDict):
    """Every service level objective as it stands."""

    slos: list[SloDocument]


async def slos(request: Request) -> Response:
    """All of them, or the one that is asked for."""
    site, name = site_of(request), read_parameters(request, PARAMETERS)["name"]
    found: list[dict[str, Any]] = await site.reads.run(site.engine.slos)
    if name is not None:
        chosen = [one for one in found if one["slo"] == name]
        if not chosen:
            known = nearest(name, [one["slo"] for one in found]) if found else "there are none"
            raise Problem(404, "unknown-slo", f"no SLO is named {name[:200]!r}; {known}")
        found = chosen
    return Json({"slos": found})


DOCS: Final[Docs] = {
    slos: Endpoint(
        "Objectives",
        "Service level objectives as they stand",
        SlosAnswer,
        parameters=PARAMETERS,
        refusals=(Refusal(404, "unknown-slo", "No objective has this name; the detail has the nearest."),),
    )
}
