"""`/api/v1`: the part of Prometheus' query API that Grafana's data source calls.

    GET, POST  query, query_range, query_exemplars, labels, series, format_query
    GET        label/{name}/values, metadata, rules, alerts, status/buildinfo

Parameters come in the query string, in a form, or in both; unknown ones are passed over, as Prometheus does. Every
answer is `{"status": "success", "data": …}` or `{"status": "error", "errorType": …, "error": …}` in Prometheus' words
and with its status, but for what the guard refuses before. What is refused is counted under its reason, in `/metrics`
as hms_ops_http_refused_total{reason="promql-…"}. What a query means: hms_ops.prometheus.query, docs/grafana.md.
"""

from collections.abc import Mapping
from typing import Any, Final

from starlette.routing import Route

from hms_ops.http.endpoint import Docs, Endpoint
from hms_ops.http.promform import Answered, answered
from hms_ops.http.promwork import (
    MATCHES_MAX,
    alerts,
    buildinfo,
    format_query,
    label_values,
    labels,
    metadata,
    query,
    query_exemplars,
    query_range,
    rules,
    series,
)
from hms_ops.reader import TEXT, many

QUERY: Final = TEXT.about(
    "The expression, in PromQL.", default=None, example="sum by (agency) (rate(orders_total[5m]))"
)
LIMIT: Final = TEXT.about("How many at most; 0 is no limit.", default=None, example="100")
START: Final = TEXT.about("The first time: Unix seconds or RFC 3339.", default=None, example="2026-11-23T10:00:00Z")
END: Final = TEXT.about("The last time: Unix seconds or RFC 3339.", default=None, example="2026-11-23T11:00:00Z")
MATCH: Final = many(TEXT, MATCHES_MAX).about("A selector; may be given several times.", default=None)
TIMEOUT: Final = TEXT.about("How long it may take, 30 s at most.", default=None, example="10s")
SPAN: Final = {"start": START, "end": END, "limit": LIMIT}
IN_WORDS: Final = (
    "An error is Prometheus' own: status 400 (bad_data), 422 (execution: what is not supported, with its name and "
    "place, or a limit), 501 (promql-parser is missing) or 503, and "
    '`{"status": "error", "errorType": "…", "error": "…"}`. See docs/grafana.md.'
)

HANDLERS: Final = {
    work: answered(work)
    for work in (
        query,
        query_range,
        query_exemplars,
        format_query,
        labels,
        label_values,
        series,
        metadata,
        rules,
        alerts,
        buildinfo,
    )
}
BOTH: Final = ["GET", "POST"]
ROUTES: Final[tuple[Route, ...]] = (
    Route("/api/v1/query", HANDLERS[query], methods=BOTH),
    Route("/api/v1/query_range", HANDLERS[query_range], methods=BOTH),
    Route("/api/v1/query_exemplars", HANDLERS[query_exemplars], methods=BOTH),
    Route("/api/v1/format_query", HANDLERS[format_query], methods=BOTH),
    Route("/api/v1/labels", HANDLERS[labels], methods=BOTH),
    Route("/api/v1/series", HANDLERS[series], methods=BOTH),
    Route("/api/v1/label/{name}/values", HANDLERS[label_values]),
    Route("/api/v1/metadata", HANDLERS[metadata]),
    Route("/api/v1/rules", HANDLERS[rules]),
    Route("/api/v1/alerts", HANDLERS[alerts]),
    Route("/api/v1/status/buildinfo", HANDLERS[buildinfo]),
)


def endpoint(summary: str, readers: Mapping[str, Any], **more: Any) -> Endpoint:
    return Endpoint("Prometheus", summary, Answered, parameters=readers, more=IN_WORDS, **more)


DOCS: Final[Docs] = {
    HANDLERS[query]: endpoint(
        "PromQL at one time",
        {"query": QUERY, "time": END.about("When; now by default.", default=None), "timeout": TIMEOUT, "limit": LIMIT},
        is_form=True,
        query="?query=1%2B1",
    ),
    HANDLERS[query_range]: endpoint(
        "PromQL at each step of a span",
        {
            "query": QUERY,
            "start": START,
            "end": END,
            "step": TEXT.about("The distance of points: seconds or a duration.", default=None, example="15s"),
            "timeout": TIMEOUT,
            "limit": LIMIT,
        },
        is_form=True,
        query="?query=time()&start=1700000000&end=1700000060&step=15",
    ),
    HANDLERS[query_exemplars]: endpoint(
        "No exemplars: there are no traces here",
        {"query": QUERY, "start": START, "end": END},
        is_form=True,
        query="?query=finance_api_ms",
    ),
    HANDLERS[format_query]: endpoint("PromQL, laid out", {"query": QUERY}, is_form=True, query="?query=1%2B1"),
    HANDLERS[labels]: endpoint("Names of labels", {"match[]": MATCH, **SPAN}, is_form=True),
    HANDLERS[series]: endpoint(
        "Series of a selector", {"match[]": MATCH, **SPAN}, is_form=True, query="?match[]=finance_api_ms"
    ),
    HANDLERS[label_values]: endpoint(
        "Values of a label",
        {"match[]": MATCH, **SPAN},
        path={"name": TEXT.about("The label; `__name__` for metrics.", example="__name__")},
    ),
    HANDLERS[metadata]: endpoint(
        "What each metric is",
        {"metric": TEXT.about("Of one only.", default=None, example="finance_api_ms"), "limit": LIMIT},
    ),
    HANDLERS[rules]: endpoint(
        "Rules with their alerts",
        {
            "type": TEXT.about("`alert` or `record`; there are no recording rules.", default=None, example="alert"),
            "rule_name[]": many(TEXT, MATCHES_MAX).about("Of these names only.", default=None),
            "rule_group[]": many(TEXT, MATCHES_MAX).about("Of these groups only.", default=None),
            "file[]": many(TEXT, MATCHES_MAX).about("Of these files only.", default=None),
            "exclude_alerts": TEXT.about("`true` leaves their alerts out.", default=None, example="true"),
        },
    ),
    HANDLERS[alerts]: endpoint("What is pending or firing", {}),
    HANDLERS[buildinfo]: endpoint("Which Prometheus' API this is", {}),
}
