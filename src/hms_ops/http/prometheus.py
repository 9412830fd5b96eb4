"""`/api/v1`: the part of Prometheus' query API that Grafana's data source calls.

    GET, POST  query, query_range, query_exemplars, labels, series, format_query
    GET        label/{name}/values, metadata, rules, alerts, status/buildinfo

Parameters come in the query string, in a form, or in both; unknown ones are passed over, as Prometheus does. Every
answer is `{"status": "success", "data": …}` or `{"status": "error", "errorType": …, "error": …}` in Prometheus' words
and with its status, but for what the guard refuses before. What is refused is counted under its reason, in `/metrics`
as hms_ops_http_refused_total{reason="promql-…"}. What a query means: hms_ops.prometheus.query, docs/grafana.md.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from starlette.routing import Route

import hms_ops
from hms_ops.clock import SECOND_NS
from hms_ops.http.endpoint import Docs, Endpoint
from hms_ops.http.promform import Answer, Answered, answered
from hms_ops.http.site import Site
from hms_ops.prometheus.query import given, standing
from hms_ops.prometheus.query.answer import instant_answer, range_answer
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.given import QUERY_SECONDS_MAX, Asked, Given
from hms_ops.prometheus.query.known import Known
from hms_ops.prometheus.query.listing import TRUNCATED, Directory
from hms_ops.prometheus.query.names import Names
from hms_ops.prometheus.query.parsing import parsed
from hms_ops.prometheus.query.reader import Reader
from hms_ops.prometheus.query.refused import BAD_DATA, Refused, bad_parameter
from hms_ops.reader import TEXT, many

if TYPE_CHECKING:
    from hms_ops.engine import Engine

MATCHES_MAX: Final = 100
# The version of Prometheus whose API this is: Grafana chooses by it what it asks.
COMPATIBLE_VERSION: Final = "2.55.1"

# The table of names of each engine that is asked.
_known: Final["WeakKeyDictionary[Engine, Known]"] = WeakKeyDictionary()


def names_of(engine: "Engine") -> Names:
    return _known.setdefault(engine, Known()).names(engine.past, engine.operations.descriptions)


# ---- queries


def query(site: Site, asked: Given) -> Answer:
    """An expression at one time."""
    return queried(site, given.instant(asked, now_seconds(site.engine)), instant_answer, given.limit(asked))


def query_range(site: Site, asked: Given) -> Answer:
    """An expression at each step of a span."""
    return queried(site, given.ranged(asked), range_answer, given.limit(asked))


def query_exemplars(site: Site, asked: Given) -> Answer:
    """None: the engine keeps no traces."""
    parsed(given.one(asked, "query"))
    return [], (), ()


def format_query(site: Site, asked: Given) -> Answer:
    return str(parsed(given.one(asked, "query")).prettify()), (), ()


def now_seconds(engine: "Engine") -> float:
    return engine.clock.now_ns() / SECOND_NS


def queried(site: Site, asked: Asked, answer: Callable[[Asked, Reader], Any], limit: int) -> Answer:
    engine = site.engine
    engine.store.flush()
    reader = Reader(engine.past, names_of(engine), engine.described_unit, Budget(asked.seconds_max))
    data = answer(asked, reader)
    if limit and isinstance(data["result"], list) and data["resultType"] in ("vector", "matrix"):
        data["result"], warnings = cut(data["result"], limit)
        return data, warnings, list(reader.infos)
    return data, (), list(reader.infos)


def cut(found: list[Any], limit: int) -> tuple[list[Any], list[str]]:
    """At most so many, and what is to be said of the rest; 0 is no limit."""
    if not limit or len(found) <= limit:
        return found, []
    return found[:limit], [TRUNCATED]


# ---- what there is


def labels(site: Site, asked: Given) -> Answer:
    """The names of labels."""
    return listed(asked, directory(site, asked).label_names(matches(asked)))


def label_values(site: Site, asked: Given) -> Answer:
    """The values of one label."""
    name = unescaped(given.one(asked, "name"))
    return listed(asked, directory(site, asked).label_values(name, matches(asked)))


def series(site: Site, asked: Given) -> Answer:
    """The labels of each series that a selector chooses."""
    chosen = matches(asked)
    if not chosen:
        raise Refused(BAD_DATA, "no match[] parameter provided")
    return listed(asked, directory(site, asked).series(chosen, given.limit(asked)))


def metadata(site: Site, asked: Given) -> Answer:
    """What each metric is."""
    found = directory(site, asked).metadata(given.one(asked, "metric"), given.limit(asked))
    return found, (), ()


def directory(site: Site, asked: Given) -> Directory:
    given.checked_span(asked)
    engine = site.engine
    engine.store.flush()
    described = engine.operations.descriptions()
    return Directory(
        engine.past,
        names_of(engine),
        engine.described_unit,
        lambda metric: described[metric]["help"] if metric in described else "",
        Budget(QUERY_SECONDS_MAX),
    )


def matches(asked: Given) -> Sequence[str]:
    found = asked.get("match[]", ())
    if len(found) > MATCHES_MAX:
        raise bad_parameter("match[]", f"{len(found):,} selectors, {MATCHES_MAX} are allowed")
    return found


def listed(asked: Given, found: list[Any]) -> Answer:
    return *cut(found, given.limit(asked)), ()


def unescaped(name: str) -> str:
    """A label's name as Grafana writes it where it has more than letters: `U__us_2d_state`."""
    if not name.startswith("U__"):
        return name
    return ESCAPED.sub(lambda match: "_" if match[0] == "__" else chr(int(match[1], 16)), name[3:])


ESCAPED: Final = re.compile(r"__|_([0-9A-Fa-f]{1,5})_")


# ---- rules, alerts, versions


def rules(site: Site, asked: Given) -> Answer:
    """The rules in force, with their alerts, by the file they stand in."""
    sort = given.one(asked, "type")
    if sort not in ("", "alert", "record"):
        raise bad_parameter("type", f'not supported value "{sort[:50]}"')
    engine = site.engine
    wanted = standing.Wanted(
        frozenset(asked.get("rule_name[]", ())),
        frozenset(asked.get("rule_group[]", ())),
        frozenset(asked.get("file[]", ())),
        is_recording=sort == "record",
        with_alerts=given.one(asked, "exclude_alerts") not in ("true", "1"),
    )
    return (
        {"groups": standing.rule_groups(
            engine.rules(), engine.alerts(), failing(engine), now_seconds(engine), wanted
        )},
        (),
        (),
    )  # fmt: skip


def failing(engine: "Engine") -> dict[str, str]:
    """The rules that cannot be evaluated, and why."""
    found = (FAILING.match(problem) for problem in engine.duty.problems())
    return {match[1]: match[2] for match in found if match is not None}


FAILING: Final = re.compile(r"rule (\S+) is not evaluated: (.*)", re.DOTALL)


def alerts(site: Site, asked: Given) -> Answer:
    """What is pending or firing."""
    found = [standing.alert_document(alert) for alert in site.engine.alerts() if alert.state != "resolved"]
    return {"alerts": found}, (), ()


def buildinfo(site: Site, asked: Given) -> Answer:
    """The Prometheus whose API this is, and the engine behind it."""
    return (
        {
            "version": COMPATIBLE_VERSION,
            "revision": f"hms-ops-{hms_ops.__version__}",
            "branch": "hms-ops",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
        (),
        (),
    )


# ---- the table

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
