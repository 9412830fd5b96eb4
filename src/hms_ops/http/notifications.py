"""Notifications, over HTTP: those that will not arrive, sent again; a receiver tried.

A test of a receiver may take as long as the receiver, so it goes through the worker for operations.
"""

from typing import Any, Final, Literal, NotRequired, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.alert.keys import read_text
from hms_ops.alert.receivers import parse_target
from hms_ops.http.alerts import bad_keys
from hms_ops.http.answer import Json, Problem
from hms_ops.http.endpoint import Body, Docs, Endpoint, Refusal
from hms_ops.http.operations import client_of, who_of
from hms_ops.http.parameters import read_document
from hms_ops.http.saying import WHO, checked
from hms_ops.http.site import site_of
from hms_ops.reader import TEXT, Reader

RESEND_READERS: Final[dict[str, Reader[Any]]] = {"who": WHO}
TEST_READERS: Final[dict[str, Reader[Any]]] = {
    "receiver": read_text.about("The receiver's URL.", example="sms:+1-555-0100"),
    "who": WHO,
}


class DeadLetterDocument(TypedDict):
    """A notification that will not arrive. A record that could not be read has no more than what must be there."""

    id: str
    reason: str
    died: float
    attempts: int
    name: str
    receiver: str
    summary: str
    can_resend: bool
    state: NotRequired[str]
    tags: NotRequired[dict[str, str]]
    severity: NotRequired[str]
    episode: NotRequired[int]
    why: NotRequired[str]
    created: NotRequired[float]
    alerts: NotRequired[int]


class DeadLettersAnswer(TypedDict):
    """Oldest first."""

    dead_letters: list[DeadLetterDocument]


class ResendAnswer(TypedDict):
    """The dead letter is on its way again."""

    id: str
    state: Literal["waiting"]


class ReceiverTried(TypedDict):
    """What the receiver answered; its address without what may be secret in it."""

    receiver: str
    outcome: str
    detail: str


async def dead_letters(request: Request) -> Response:
    """Notifications that will not arrive, oldest first."""
    site = site_of(request)
    return await site.reads.run(lambda: Json({"dead_letters": site.engine.dead_letters()}))


async def resend(request: Request) -> Response:
    """202: the dead letter is on its way again."""
    site, key = site_of(request), request.path_params["id"]
    given = checked(await read_document(request, site.bodies), RESEND_READERS, "resend")
    who = who_of(request, given)
    if not await site.writes.run(lambda: site.engine.resend(key, who, client_of(request))):
        why = f"no dead letter {key[:50]!r} can be sent again; GET /v1/dead-letters lists them"
        raise Problem(404, "no-dead-letter", why)
    return Json({"id": key, "state": "waiting"}, 202)


async def test_notify(request: Request) -> Response:
    """What the receiver answered to a test notification: delivered, retry or dead, and the detail."""
    site = site_of(request)
    given = checked(await read_document(request, site.bodies), TEST_READERS, "test", ("receiver",))
    who = who_of(request, given)
    try:
        told = await site.operations.run(lambda: site.engine.test_notify(given["receiver"], who, client_of(request)))
    except ValueError as error:
        raise Problem(400, "receiver", str(error)) from None
    outcome, _, detail = told.partition(": ")
    return Json({"receiver": parse_target(given["receiver"]).shown, "outcome": outcome, "detail": detail})


DOCS: Final[Docs] = {
    dead_letters: Endpoint("Notifications", "Notifications that did not arrive", DeadLettersAnswer),
    resend: Endpoint(
        "Notifications",
        "Send a dead letter again",
        ResendAnswer,
        202,
        path={"id": TEXT.about("The dead letter's id.", example="6511e8c8c067f14b")},
        body=Body(RESEND_READERS),
        refusals=(bad_keys("resend"), Refusal(404, "no-dead-letter", "There is no such dead letter.")),
    ),
    test_notify: Endpoint(
        "Notifications",
        "Try a receiver",
        ReceiverTried,
        body=Body(TEST_READERS, ("receiver",)),
        refusals=(bad_keys("test"), Refusal(400, "receiver", "The receiver cannot be used as it is configured.")),
        sent='{"receiver": "sms:+1-555-0100"}',
    ),
}
