"""The stand-in of the action service: takes `POST /v1/run` and runs the one template it knows, `infra.scale-db`.

    {"template": "infra.scale-db", "input": {"replicas": 2}, "alert": {…}, "idempotency_key": "…"}

Running it means telling the database's process that so many replicas join. As the engine may not know whether a request
arrived, the same `idempotency_key` again runs nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from hms_ops.demo.gateway import text_of
from hms_ops.demo.load import REPLICAS_ADDED_MAX
from hms_ops.demo.loopback import Document, serving

PATH: Final = "/v1/run"
TEMPLATE: Final = "infra.scale-db"


class Scaling(NamedTuple):
    """One run: how many replicas join, and the alert it was for."""

    replicas: int
    alert: str


@contextmanager
def action_service(scale: Callable[[Scaling], None]) -> Iterator[str]:
    """Serve the action service; yields its base URL. `scale` is called once per run, from the server's threads."""
    taken: dict[str, object] = {}

    def run(document: Document) -> Document:
        key, scaling = text_of(document, "idempotency_key"), scaling_of(document)
        if taken.setdefault(key, fresh := object()) is fresh:
            scale(scaling)
        return {"status": "done", "replicas_added": scaling.replicas}

    with serving("actions", PATH, run) as url:
        yield url


def scaling_of(document: Document) -> Scaling:
    """What is asked for; ValueError unless it is the template we have with an input it takes."""
    template, given, alert = document.get("template"), document.get("input"), document.get("alert")
    if template != TEMPLATE:
        raise ValueError(f"no template {template!r}; there is {TEMPLATE!r}")
    replicas = given.get("replicas") if isinstance(given, dict) else None
    if type(replicas) is not int or not 1 <= replicas <= REPLICAS_ADDED_MAX:
        raise ValueError(f"input.replicas must be a whole number from 1 to {REPLICAS_ADDED_MAX}, found {replicas!r}")
    return Scaling(replicas, str(alert.get("name", "")) if isinstance(alert, dict) else "")
