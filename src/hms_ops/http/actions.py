"""`/v1/actions`: which self-healing jobs there are, which ran and what came of them, and the stop switch of all."""

from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.address import shown_receiver
from hms_ops.alert.keys import cut
from hms_ops.alert.rule import ActionRule
from hms_ops.http.alerts import bad_keys
from hms_ops.http.answer import Json
from hms_ops.http.endpoint import Body, Docs, Endpoint
from hms_ops.http.operations import client_of, who_of
from hms_ops.http.parameters import checked_keys, read_document, read_parameters, whole_number
from hms_ops.http.saying import WHO
from hms_ops.http.site import site_of
from hms_ops.reader import Reader

if TYPE_CHECKING:
    from hms_ops.engine import Engine

LISTED: Final = 100
LISTED_MAX: Final = 10_000
REASON_CHARS_MAX: Final = 1_000
PARAMETERS: Final[dict[str, Reader[Any]]] = {
    "limit": whole_number(1, LISTED_MAX).about("How many runs at most, the newest.", default=LISTED)
}
SWITCH_READERS: Final[dict[str, Reader[Any]]] = {
    "who": WHO,
    "reason": cut(REASON_CHARS_MAX).about("Why."),
}


class ActionDocument(TypedDict):
    """A self-healing job, without the URL and the input, which may hold credentials. Times in seconds."""

    action: str
    on: str
    template: str
    command: list[str]
    cooldown: float
    limit_per_hour: int
    dry_run: bool
    verify: float
    source: str


class RunDocument(TypedDict):
    """A run of an action. state: intent, then what came of it; outcome: in words; verified: whether the alert ended."""

    key: str
    action: str
    alert: str
    tags: dict[str, str]
    alert_key: str
    episode: int
    severity: str
    notify: list[str]
    policy: str
    rule_tags: dict[str, str]
    since: float
    value: float | None
    time: float
    state: str
    outcome: str
    output: NotRequired[str]
    verified: NotRequired[str]
    verify_from: NotRequired[float]
    verify_until: NotRequired[float]


class ActionsAnswer(TypedDict):
    """stopped_by: who has stopped them all, "" for nobody. runs: newest first."""

    stopped_by: str
    actions: list[ActionDocument]
    runs: list[RunDocument]


class SwitchAnswer(TypedDict):
    """Who has stopped all actions, "" for nobody."""

    stopped_by: str


async def actions(request: Request) -> Response:
    """The rules of actions, their latest runs, newest first, and who has stopped them all, "" for nobody."""
    site = site_of(request)
    limit = read_parameters(request, PARAMETERS)["limit"]
    return await site.reads.run(lambda: Json(document(site.engine, limit)))


def document(engine: "Engine", limit: int) -> dict[str, Any]:
    return {
        "stopped_by": engine.duty.actions.halted_by,
        "actions": [rule_document(rule) for rule in engine.duty.rulebook.file.actions],
        "runs": [run_document(run) for run in engine.action_runs(limit)],
    }


def run_document(run: dict[str, Any]) -> dict[str, Any]:
    """With its receivers as they may be shown."""
    return {**run, "notify": list(map(shown_receiver, run.get("notify", ())))}


def rule_document(rule: ActionRule) -> dict[str, Any]:
    """Without the URL and the input, which may hold credentials."""
    return {
        "action": rule.name,
        "on": rule.on,
        "template": rule.template,
        "command": list(rule.command),
        "cooldown": rule.cooldown_seconds,
        "limit_per_hour": rule.limit_per_hour,
        "dry_run": rule.dry_run,
        "verify": rule.verify_seconds,
        "source": rule.source,
    }


async def stop(request: Request) -> Response:
    """Stop every action until `resume`, over restarts too."""
    site = site_of(request)
    given = await switch(request)
    await site.writes.run(
        lambda: site.engine.stop_actions(given["who"], given.get("reason", ""), source=client_of(request))
    )
    return Json({"stopped_by": site.engine.duty.actions.halted_by})


async def resume(request: Request) -> Response:
    site = site_of(request)
    given = await switch(request)
    await site.writes.run(lambda: site.engine.resume_actions(given["who"], source=client_of(request)))
    return Json({"stopped_by": site.engine.duty.actions.halted_by})


async def switch(request: Request) -> dict[str, Any]:
    values = checked_keys(await read_document(request, site_of(request).bodies), SWITCH_READERS, "switch")
    return {**values, "who": who_of(request, values)}


BAD_SWITCH: Final = bad_keys("switch")
DOCS: Final[Docs] = {
    actions: Endpoint("Actions", "Self-healing jobs and their runs", ActionsAnswer, parameters=PARAMETERS),
    stop: Endpoint(
        "Actions",
        "Stop every action",
        SwitchAnswer,
        body=Body(SWITCH_READERS),
        refusals=(BAD_SWITCH,),
        more="Until they are resumed, over restarts too.",
        sent='{"who": "ann", "reason": "maintenance"}',
    ),
    resume: Endpoint(
        "Actions", "Let actions run again", SwitchAnswer, body=Body(SWITCH_READERS), refusals=(BAD_SWITCH,)
    ),
}
