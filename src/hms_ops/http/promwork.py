"""What each path of `/api/v1` answers: a function of the site and the parameters that are given.

Run by promform.py on a worker, as long as somebody waits; each returns (data, warnings, infos) or raises Refused. What
a query means is hms_ops.prometheus.query's.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import hms_ops
from hms_ops.clock import SECOND_NS
from hms_ops.http.promform import Answer
from hms_ops.http.site import Site
from hms_ops.prometheus.query import given, standing
from hms_ops.prometheus.query.answer import instant_answer, range_answer
from hms_ops.prometheus.query.budget import Budget, Patience
from hms_ops.prometheus.query.choosing import Everything
from hms_ops.prometheus.query.given import QUERY_SECONDS_MAX, Asked, Given
from hms_ops.prometheus.query.known import Known
from hms_ops.prometheus.query.listing import TRUNCATED, Directory
from hms_ops.prometheus.query.names import Names
from hms_ops.prometheus.query.parsing import parsed
from hms_ops.prometheus.query.reader import Reader
from hms_ops.prometheus.query.refused import BAD_DATA, Refused, bad_parameter

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


def query(site: Site, asked: Given, patience: Patience) -> Answer:
    """An expression at one time."""
    return queried(site, given.instant(asked, now_seconds(site.engine)), instant_answer, given.limit(asked), patience)


def query_range(site: Site, asked: Given, patience: Patience) -> Answer:
    """An expression at each step of a span."""
    return queried(site, given.ranged(asked), range_answer, given.limit(asked), patience)


def query_exemplars(site: Site, asked: Given, patience: Patience) -> Answer:
    """None: the engine keeps no traces."""
    parsed(given.one(asked, "query"))
    return [], (), ()


def format_query(site: Site, asked: Given, patience: Patience) -> Answer:
    return str(parsed(given.one(asked, "query")).prettify()), (), ()


def now_seconds(engine: "Engine") -> float:
    return engine.clock.now_ns() / SECOND_NS


def queried(site: Site, asked: Asked, answer: Callable[[Asked, Reader], Any], limit: int, patience: Patience) -> Answer:
    engine, budget = site.engine, Budget(asked.seconds_max, patience)
    engine.store.flush()
    reader = Reader(engine.past, names_of(engine), engine.described_unit, budget)
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


def labels(site: Site, asked: Given, patience: Patience) -> Answer:
    """The names of labels."""
    return listed(asked, directory(site, asked, patience).label_names(matches(asked)))


def label_values(site: Site, asked: Given, patience: Patience) -> Answer:
    """The values of one label."""
    name = unescaped(given.one(asked, "name"))
    return listed(asked, directory(site, asked, patience).label_values(name, matches(asked), given.limit(asked)))


def series(site: Site, asked: Given, patience: Patience) -> Answer:
    """The labels of each series that a selector chooses."""
    chosen = matches(asked)
    if not chosen:
        raise Refused(BAD_DATA, "no match[] parameter provided")
    return listed(asked, directory(site, asked, patience).series(chosen, given.limit(asked)))


def metadata(site: Site, asked: Given, patience: Patience) -> Answer:
    """What each metric is."""
    found = directory(site, asked, patience).metadata(given.one(asked, "metric"), given.limit(asked))
    return found, (), ()


def directory(site: Site, asked: Given, patience: Patience) -> Directory:
    given.checked_span(asked)
    engine, budget = site.engine, Budget(QUERY_SECONDS_MAX, patience)
    engine.store.flush()
    described = engine.operations.descriptions()
    return Directory(
        Everything(engine.past),
        names_of(engine),
        engine.described_unit,
        lambda metric: described[metric]["help"] if metric in described else "",
        budget,
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


def rules(site: Site, asked: Given, patience: Patience) -> Answer:
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


def alerts(site: Site, asked: Given, patience: Patience) -> Answer:
    """What is pending or firing."""
    found = [standing.alert_document(alert) for alert in site.engine.alerts() if alert.state != "resolved"]
    return {"alerts": found}, (), ()


def buildinfo(site: Site, asked: Given, patience: Patience) -> Answer:
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
