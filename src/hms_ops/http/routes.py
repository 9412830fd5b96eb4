"""The paths the server answers, in one table, and the application made of them.

Every error becomes a problem document and is counted under its kind; what the engine did not expect is logged with its
traceback by the connection and says nothing of itself to the client.
"""

from functools import cache
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.errors import HmsOpsError
from hms_ops.http import (
    actions,
    alerts,
    audit,
    boards,
    docspage,
    events,
    firing,
    ingest,
    listing,
    lookup,
    metrics,
    notifications,
    openapi,
    operations,
    paging,
    prometheus,
    screens,
    session,
    silences,
    slos,
    status,
    stream,
)
from hms_ops.http.answer import Problem, http_problem, problem_of
from hms_ops.http.delivery import Delivery
from hms_ops.http.endpoint import Docs
from hms_ops.http.scopes import protected
from hms_ops.http.site import Site, site_of
from hms_ops.http.strict import strict

# An alert's name may hold a slash, as %2F, hence `path`.
ROUTES: Final = (
    Route("/healthz", lookup.health),
    Route("/readyz", lookup.readiness),
    Route("/metrics", metrics.metrics),
    Route("/v1/ledger", lookup.ledger),
    Route("/v1/query", lookup.query),
    Route("/v1/series", lookup.series),
    Route("/v1/series", operations.delete, methods=["DELETE"]),
    Route("/v1/describe", operations.describe, methods=["POST"]),
    Route("/v1/export", operations.export),
    Route("/v1/import", operations.import_, methods=["POST"]),
    Route("/v1/backup", operations.backup, methods=["POST"]),
    Route("/v1/rejects", lookup.rejects),
    Route("/v1/ingest", ingest.ingest, methods=["POST"]),
    Route("/v1/events", events.events),
    Route("/v1/events", events.report, methods=["POST"]),
    Route("/v1/slos", slos.slos),
    Route("/v1/actions", actions.actions),
    Route("/v1/actions/stop", actions.stop, methods=["POST"]),
    Route("/v1/actions/resume", actions.resume, methods=["POST"]),
    Route("/v1/audit", audit.audit),
    Route("/v1/audit/export", audit.export),
    Route("/v1/alerts", alerts.alerts),
    Route("/v1/alerts", alerts.post_rule, methods=["POST"]),
    Route("/v1/alerts/{name:path}/fire", firing.fire, methods=["POST"]),
    Route("/v1/alerts/{name:path}/ack", paging.acknowledge, methods=["POST"]),
    Route("/v1/alerts/{name:path}/unack", paging.unacknowledge, methods=["POST"]),
    Route("/v1/alerts/{name:path}/silence", silences.silence, methods=["POST"]),
    Route("/v1/alerts/{name:path}/unsilence", silences.unsilence, methods=["POST"]),
    Route("/v1/alerts/{name:path}/explain", paging.explain),
    Route("/v1/alerts/{name:path}", alerts.delete_rule, methods=["DELETE"]),
    Route("/v1/silences", silences.silences),
    Route("/v1/silences", silences.silence_any, methods=["POST"]),
    Route("/v1/silences/{id}", silences.end_silence, methods=["DELETE"]),
    Route("/v1/dead-letters", notifications.dead_letters),
    Route("/v1/dead-letters/{id}/resend", notifications.resend, methods=["POST"]),
    Route("/v1/notifications/test", notifications.test_notify, methods=["POST"]),
    *screens.ROUTES,
    *stream.ROUTES,
    *listing.ROUTES,
    *openapi.ROUTES,
    *docspage.ROUTES,
    *session.ROUTES,
    *boards.ROUTES,
    *status.ROUTES,
    *prometheus.ROUTES,
)

# What each handler of these is: openapi.py shows it, and a test finds a route without an entry.
DOCS: Final[Docs] = {
    **lookup.DOCS,
    **listing.DOCS,
    **ingest.DOCS,
    **stream.DOCS,
    **alerts.DOCS,
    **firing.DOCS,
    **paging.DOCS,
    **silences.DOCS,
    **notifications.DOCS,
    **events.DOCS,
    **audit.DOCS,
    **actions.DOCS,
    **slos.DOCS,
    **boards.DOCS,
    **status.DOCS,
    **operations.DOCS,
    **session.DOCS,
    **metrics.DOCS,
    **openapi.DOCS,
    **docspage.DOCS,
    **screens.DOCS,
    **prometheus.DOCS,
}


def application(site: Site) -> Starlette:
    """The routes with their site, each behind the scope it needs; errors of all sorts answer as problems."""
    handlers = dict.fromkeys((Problem, HmsOpsError, ClientDisconnect, Exception), answer_problem)
    app = Starlette(
        routes=[protected(strict(route, DOCS)) for route in ROUTES],
        exception_handlers={**handlers, HTTPException: answer_refusal},
        middleware=[Middleware(Delivery)],
    )
    app.state.site = site
    app.state.openapi = cache(lambda: openapi.document_of(ROUTES, DOCS))
    return app


def answer_problem(request: Request, error: Exception) -> Response:
    return counted(request, problem_of(error))


def answer_refusal(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, no such method."""
    assert isinstance(error, HTTPException)
    return counted(request, http_problem(error.status_code, error.headers))


def counted(request: Request, problem: Problem) -> Response:
    site_of(request).tally[problem.kind] += 1
    return problem.response()
