"""What a route is, said beside it: each module of http/ has a table `DOCS`, handler → Endpoint.

`openapi.py` makes /openapi.json and /docs of it. Parameters and bodies are the tables of readers that the handler reads
with, answers are TypedDicts or msgspec Structs: their schemas are made of these, nothing is written twice. The scope is
the guard's own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from hms_ops.reader import Reader

Handler = Callable[[Request], Awaitable[Response]]
Readers = Mapping[str, Reader[Any]]


@dataclass(frozen=True, slots=True)
class Media:
    """A body that is no JSON document: its media type, what it holds, and an example."""

    type: str
    about: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object read through a table. required: the keys that must be there."""

    keys: Readers
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem that the handler itself answers with; those that any request may meet are openapi.py's."""

    status: int
    kind: str
    about: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """group: the heading it stands under. answer: the type of the JSON document, or Media, () for no content; several
    where `format` or Accept chooses. also: other statuses that come with the same document. headers: of the request,
    beside the common ones. is_form: a POST may send the parameters as a form too. query: the tail of the example's
    address; sent: the body of the example."""

    group: str
    summary: str
    answer: Any = ()
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    parameters: Readers = field(default_factory=dict)
    path: Readers = field(default_factory=dict)
    headers: Readers = field(default_factory=dict)
    body: Body | Media | tuple[Media, ...] | type | None = None
    refusals: tuple[Refusal, ...] = ()
    more: str = ""
    is_form: bool = False
    query: str = ""
    sent: str = ""


Docs = Mapping[Handler, Endpoint]

GROUPS: Final = {
    "Values": "Send samples, and ask for them.",
    "Look-ups": "What there is: metrics, tags, series.",
    "Alerts": "Rules, what is pending or firing, and what people do about it.",
    "Notifications": "What was sent to whom, and what did not arrive.",
    "Events": "What happened.",
    "Actions": "Self-healing jobs that alerts start.",
    "Objectives": "Service level objectives with their budgets.",
    "Stream": "What happens, as it happens.",
    "Dashboards": "Own dashboards, as text.",
    "Status": "What the public may see.",
    "Operations": "History out, in, copied and deleted.",
    "Session": "Who asks, and what they may do.",
    "Engine": "How the engine itself is, and what it is.",
    "Prometheus": "The part of Prometheus' API that Grafana asks.",
}
