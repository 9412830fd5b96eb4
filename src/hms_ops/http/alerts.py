"""`/v1/alerts`: what is pending and firing and how it stands with people, the rules, a rule of one's own, an alert
fired by hand. What people do about alerts is paging.py's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.keys import KeyProblem, read_name
from hms_ops.alert.language.tokens import duration_text
from hms_ops.alert.language.wording import format, format_tags
from hms_ops.alert.notification import Alert
from hms_ops.alert.receivers import parse_target
from hms_ops.alert.rule import RULE_READERS, AnomalyRule, Rule, rule_from_keys
from hms_ops.errors import ConfigError
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.operations import client_of
from hms_ops.http.parameters import invalid, read_document
from hms_ops.http.site import site_of
from hms_ops.http.why import value_unit
from hms_ops.reader import Reader
from hms_ops.rulehealth import WATCHING

if TYPE_CHECKING:
    from hms_ops.engine import Engine

SOURCE: Final = "POST /v1/alerts"
# Rules that a posted one may replace; those of files have their file and line instead.
OWN_SOURCES: Final = (SOURCE, "engine.alert")
ACTION_KEYS: Final = ("act", "actions")
NO_ACTIONS: Final = "rules posted over HTTP carry no actions; put them in a rule file"
STANDING: Final = {"acknowledged": None, "silenced_by": "", "held_by": "", "told_at": None, "next_escalation": None}


class Acknowledged(TypedDict):
    """Who has it; `until` is null for as long as the alert fires."""

    who: str
    comment: str
    at: float
    until: float | None


class AlertDocument(TypedDict):
    """An instance of a rule that is pending or firing. since: Unix seconds; episode: numbers the firing; rule: the
    condition, "" for an alert without a rule; next_escalation: whom its policy tells next, and when."""

    name: str
    state: Literal["pending", "firing", "resolved"]
    value: float | None
    tags: dict[str, str]
    since: float
    severity: str
    episode: int
    reason: str
    rule: str
    acknowledged: Acknowledged | None
    silenced_by: str
    held_by: str
    told_at: float | None
    next_escalation: dict[str, Any] | None


# Two keys are words of Python's own.
RuleDocument = TypedDict(
    "RuleDocument",
    {
        "alert": str,
        "if": str,
        "for": str,
        "keep": str,
        "recover": str | None,
        "where": str | None,
        "group_by": list[str],
        "nodata": str,
        "severity": str,
        "notify": list[str],
        "every": str,
        "policy": str,
        "tags": dict[str, str],
        "annotations": dict[str, str],
        "source": str,
        "unit": str,
        "state": Literal["watching", "never matched", "not evaluated"],
        "problem": str,
    },
)


class AlertsAnswer(TypedDict):
    """What is pending or firing, and the rules there are."""

    alerts: list[AlertDocument]
    rules: list[RuleDocument]


class RuleDeleted(TypedDict):
    """The rule that was taken away."""

    deleted: str


async def alerts(request: Request) -> Response:
    site = site_of(request)
    return await site.reads.run(lambda: Json(alerts_document(site.engine)))


def alerts_document(engine: "Engine") -> dict[str, Any]:
    standings = engine.alert_standings()
    return {
        "alerts": [alert_document(alert) | standing_document(alert, standings) for alert in engine.alerts()],
        "rules": [running_rule(engine, rule) for rule in engine.rules()],
    }


def standing_document(alert: Alert, standings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who has acknowledged the alert, what holds it back, whom its policy tells next; null and "" where nothing."""
    standing = standings.get(alert.key, {}) if standings else {}
    return {name: standing.get(name, default) for name, default in STANDING.items()}


def alert_document(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "state": alert.state,
        "value": alert.value,
        "tags": dict(alert.tags),
        "since": alert.since,
        "severity": alert.severity,
        "episode": alert.episode,
        "reason": alert.reason,
        "rule": alert.rule_text,
    }


def rule_document(rule: Rule) -> dict[str, Any]:
    """A rule in the keys of a rule file; receivers without what may be their secrets."""
    return {
        "alert": rule.name,
        "if": rule.shown,
        "for": duration_text(rule.for_seconds),
        "keep": duration_text(rule.keep_seconds),
        "recover": None if rule.recover is None else format(rule.recover),
        "where": None if rule.where is None else format_tags(rule.where),
        "group_by": list(rule.group_by),
        "nodata": rule.nodata,
        "severity": rule.severity,
        "notify": [parse_target(receiver).shown for receiver in rule.notify],
        "every": duration_text(rule.every_seconds),
        "policy": rule.policy,
        "tags": dict(rule.tags),
        "annotations": dict(rule.annotations),
        "source": rule.source,
    }


def running_rule(engine: "Engine", rule: Rule) -> dict[str, Any]:
    """The same of an engine that knows units, and whether the rule can fire: `state`, and `problem` where it cannot."""
    health = engine.rule_health().get(rule.name, WATCHING)
    return rule_document(rule) | {"unit": value_unit(engine, rule)} | health._asdict()


async def post_rule(request: Request) -> Response:
    """201 and the rule, which is kept until it is deleted; posted again it replaces the one posted before."""
    site = site_of(request)
    given = await read_document(request, site.bodies)
    rule, source = checked(given), client_of(request)
    return await site.writes.run(lambda: Json(running_rule(site.engine, added(site.engine, rule, given, source)), 201))


async def delete_rule(request: Request) -> Response:
    """Take away a rule that was posted or added by the program; those of files are changed in their file."""
    site, name, source = site_of(request), request.path_params["name"], client_of(request)
    if not await site.writes.run(lambda: site.engine.remove_rule(name, source, source)):
        raise Problem(404, "no-rule", f"no rule {name[:100]!r} was posted; GET /v1/alerts lists the rules and sources")
    return Json({"deleted": name})


def checked(given: Mapping[str, Any]) -> Rule:
    """The rule the keys describe; Problem with all that is wrong, each under its key."""
    rule, problems = rule_from_keys({key: given[key] for key in given if key not in ACTION_KEYS}, SOURCE)
    problems += [KeyProblem(key, NO_ACTIONS) for key in given if key in ACTION_KEYS]
    if rule is None or problems:
        raise invalid("rule", problems)
    return rule


def added(engine: "Engine", rule: Rule, given: Mapping[str, Any], source: str) -> Rule:
    """The rule once the engine has it; 409 when a file has one of that name."""
    watching: list[Rule | AnomalyRule] = [*engine.rules(), *engine.duty.anomaly_rules()]
    for known in watching:
        if known.name == rule.name and known.source not in OWN_SOURCES:
            raise Problem(409, "rule-exists", f"the rule {rule.name!r} stands in {known.source}; change it there")
    try:
        return engine.post_rule(given, source, source)
    except ConfigError as error:
        raise invalid("rule", [KeyProblem("", problem) for problem in error.problems]) from None


RULE_NAME: Final = read_name.about("The alert's name; a slash in it is written %2F.", example="finance.latency_high")
ALERT_NAME: Final[dict[str, Reader[Any]]] = {"name": RULE_NAME}


def bad_keys(kind: str) -> Refusal:
    return Refusal(400, kind, "Keys are wrong; `problems` has each of them with what is wrong.")


BAD_KEYS: Final = bad_keys("request")
DOCS: Final[Docs] = {
    alerts: Endpoint("Alerts", "What is pending or firing, and the rules", AlertsAnswer),
    post_rule: Endpoint(
        "Alerts",
        "Add or replace a rule",
        RuleDocument,
        201,
        body=Body(RULE_READERS, ("if",)),
        refusals=(
            Refusal(400, "rule", "The rule is not valid; `problems` has each key with what is wrong."),
            Refusal(409, "rule-exists", "A rule file has a rule of this name, and a file's rule wins."),
        ),
        more="Kept until it is deleted, over restarts too. Rules posted over HTTP carry no actions.",
        sent='{"alert": "finance.latency_high", "if": "avg(finance.api_ms, 5m) > 200", "for": "3m"}',
    ),
    delete_rule: Endpoint(
        "Alerts",
        "Take away a rule that was posted",
        RuleDeleted,
        path=ALERT_NAME,
        refusals=(Refusal(404, "no-rule", "No rule of this name was posted; those of files are changed there."),),
    ),
}
