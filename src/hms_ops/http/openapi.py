"""`GET /openapi.json`: the API after OpenAPI 3.1, made of the tables and types that the handlers work with.

    ROUTES ──paths, methods──┐
    DOCS   ──readers, types──┼──► document_of ──► /openapi.json, /docs (docspage.py)
    guard  ──scopes──────────┘

Made once per server, at the first question. A route without an entry in DOCS is left out, and a test finds it.
Source: OpenAPI 3.1.1, JSON Schema 2020-12, RFC 9457 (problems).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypedDict
from zlib import crc32

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.http.answer import PROBLEM_TYPE, Json
from hms_ops.http.curl import sample
from hms_ops.http.endpoint import GROUPS, Body, Docs, Endpoint, Handler, Media, Readers, Refusal
from hms_ops.http.scopes import PUBLIC, needed
from hms_ops.http.strict import is_bare
from hms_ops.reader import Reader

API_VERSION: Final = "1"  # of /v1; strangers are not told the engine's own, by which known holes are looked up
REFERENCE: Final = "#/components/schemas/{name}"
PROBLEM_MEDIA: Final = "application/problem+json"
CONVERTER: Final = re.compile(r":[a-z]+\}")
ABOUT: Final = """\
Everything the engine measures, judges and does, over HTTP. Times are Unix seconds, durations are text such as 3m,
NaN is null. GET takes HEAD as well, with the head alone. JSON answers to GET have an ETag: send it as If-None-Match,
and what has not changed is answered 304. Answers are gzip where Accept-Encoding allows it. An unknown key or parameter
is an error that proposes the nearest, and every refusal is a problem after RFC 9457."""

# What any request may meet; what only some meet, by a trait of the route.
ANY: Final = (
    Refusal(403, "host", "The Host header does not name this engine."),
    Refusal(403, "origin", "The request comes from a page of another origin."),
    Refusal(414, "url-too-long", "The URL has more than 16 KiB."),
    Refusal(431, "head-too-large", "The head has more than 16 KiB."),
    Refusal(500, "internal", "The engine failed to answer; its log says why."),
    Refusal(503, "busy", "Too many requests wait, or the disk is busy; Retry-After says when to come again."),
)
OF_PARAMETERS: Final = (Refusal(400, "parameter", "A parameter is unknown, wrong, missing, or given twice."),)
OF_DOCUMENTS: Final = (Refusal(400, "json", "The body is no JSON object."),)
OF_BODIES: Final = (Refusal(413, "body-too-large", "The body is larger than it may be; `limit` has the bytes."),)
OF_SCOPES: Final = (
    Refusal(401, "token", "A token is needed, is not known, or has expired."),
    Refusal(403, "scope", "The token has not the scope that this needs; `needed` names it."),
)


class ProblemDocument(TypedDict):
    """Why a request was refused, after RFC 9457. The end of `type` is the problem's kind; some kinds have members of
    their own."""

    type: str
    title: str
    status: int
    detail: str


def document_of(routes: Sequence[Route], docs: Docs) -> dict[str, Any]:
    """The OpenAPI document. Routes are those of the application, with their own paths and methods."""
    types = list(dict.fromkeys([ProblemDocument, *(one for endpoint in docs.values() for one in types_of(endpoint))]))
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    schema_by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route, method, endpoint in described(routes, docs):
        place = paths.setdefault(shown_path(route.path), {})
        place[method.lower()] = operation(route, method, endpoint, schema_by_type)
    used = {endpoint.group for endpoint in docs.values()}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "HMS-OPS",
            "version": API_VERSION,
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in GROUPS.items() if name in used],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY, "responses": hoisted(paths)},
    }


def hoisted(paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The refusals that several operations have in common, by name; they have a reference to it instead."""
    places = [one["responses"] for methods in paths.values() for one in methods.values()]
    counts = Counter(name_of_response(status, one) for place in places for status, one in place.items())
    shared: dict[str, Any] = {}
    for place in places:
        for status, one in list(place.items()):
            name = name_of_response(status, one)
            if name and counts[name] > 1:
                shared[name] = one
                place[status] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


def name_of_response(status: str, response: Mapping[str, Any]) -> str:
    """ "403-scope-host": equal names are equal responses; "" for what is no refusal."""
    problems = response.get("x-problems")
    if problems is None:
        return "304" if status == "304" else ""
    words = "".join([*response["content"], *(problem["about"] for problem in problems)])
    return "-".join([status, *(problem["kind"] for problem in problems), format(crc32(words.encode()), "08x")])


SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of the engine's: docs/access.md."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "hms-ops-session",
        "description": "A browser's session; what changes something needs an Origin header besides.",
    },
}
NOT_MODIFIED: Final = {"description": "What you have is what there is: the ETag is still the same."}


def described(routes: Sequence[Route], docs: Docs) -> Iterator[tuple[Route, str, Endpoint]]:
    """(route, method, what it is) of all routes that are described; HEAD is GET's."""
    for route in routes:
        endpoint = docs.get(route.endpoint)
        for method in sorted(route.methods or ()):
            if endpoint is not None and method != "HEAD":
                yield route, method, endpoint


def shown_path(path: str) -> str:
    """A route's path without starlette's converters."""
    return CONVERTER.sub("}", path)


def types_of(endpoint: Endpoint) -> list[Any]:
    """What has a schema made of a type: answers, and bodies that are types."""
    answers = [one for one in as_tuple(endpoint.answer) if not isinstance(one, Media)]
    return answers + [one for one in as_tuple(endpoint.body) if not isinstance(one, Media | Body)]


def as_tuple(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else () if given is None else (given,)


def operation(route: Route, method: str, endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    scope = needed(method, route.path)
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}_{name_of(route.endpoint)}",
        "tags": [endpoint.group],
        "summary": endpoint.summary,
        "description": endpoint.more,
        "parameters": parameters(endpoint),
        "responses": responses(method, route, endpoint, schemas),
        "security": [] if scope == PUBLIC else [{"bearer": [scope]}, {"session": [scope]}],
        "x-scope": scope,
        "x-codeSamples": [
            {"lang": "Shell", "label": "curl", "source": sample(method, shown_path(route.path), endpoint, scope)}
        ],
    }
    content = request_content(method, endpoint, schemas)
    if content:
        found["requestBody"] = {"content": content, "required": is_body_required(endpoint)}
    return {key: value for key, value in found.items() if value not in ("", []) or key == "security"}


def name_of(handler: Handler) -> str:
    module = handler.__module__.rpartition(".")[2]
    name: str = handler.__name__
    return f"{module}_{name.strip('_')}"


# ---- what is sent


def parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        *(parameter(name, "path", reader) | {"required": True} for name, reader in endpoint.path.items()),
        *(parameter(name, "query", reader) for name, reader in endpoint.parameters.items()),
        *(parameter(name, "header", reader) for name, reader in endpoint.headers.items()),
    ]


def parameter(name: str, place: str, reader: Reader[Any]) -> dict[str, Any]:
    about, schema = taken_apart(reader)
    return {"name": name, "in": place, "required": reader.is_required, **about, "schema": schema}


def taken_apart(reader: Reader[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a parameter says of itself, and the schema of its value."""
    schema = dict(reader.schema)
    about = {"description": schema.pop("description", "")}
    examples = schema.pop("examples", None)
    return about | ({"example": examples[0]} if examples else {}), schema


def request_content(method: str, endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    if endpoint.is_form and method == "POST":
        return {"application/x-www-form-urlencoded": {"schema": object_schema(endpoint.parameters, ())}}
    content: dict[str, Any] = {}
    for body in as_tuple(endpoint.body):
        if isinstance(body, Media):
            content[body.type] = {"schema": media_schema(body)} | example_of(endpoint.sent or body.example)
        elif isinstance(body, Body):
            schema = object_schema(body.keys, body.required)
            content["application/json"] = {"schema": schema} | example_of(endpoint.sent, as_json=True)
        else:
            content["application/json"] = {"schema": schemas[body]} | example_of(endpoint.sent, as_json=True)
    return content


def is_body_required(endpoint: Endpoint) -> bool:
    bodies = as_tuple(endpoint.body)
    return any(not isinstance(body, Body) or bool(body.required) for body in bodies)


def object_schema(keys: Readers, required: Sequence[str]) -> dict[str, Any]:
    """The schema of a body that is read through a table: a key that is null counts as not given."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {key: dict(reader.schema) for key, reader in keys.items()},
        "additionalProperties": False,
    }
    return schema | ({"required": list(required)} if required else {})


def media_schema(media: Media) -> dict[str, Any]:
    return {"type": "string", "description": media.about}


def example_of(text: str, *, as_json: bool = False) -> dict[str, Any]:
    return {} if not text else {"example": json.loads(text) if as_json else text}


# ---- what is answered


def responses(method: str, route: Route, endpoint: Endpoint, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    content = dict(answer_content(answer, schemas) for answer in as_tuple(endpoint.answer))
    found: dict[str, Any] = {str(endpoint.status): {"description": HTTPStatus(endpoint.status).phrase}}
    if content:
        found[str(endpoint.status)]["content"] = content
    found |= {str(status): {"description": about, "content": content} for status, about in endpoint.also.items()}
    if method == "GET" and "application/json" in content:
        found["304"] = NOT_MODIFIED
    by_status: dict[int, list[Refusal]] = {}
    for refusal in refusals(method, route, endpoint):
        by_status.setdefault(refusal.status, []).append(refusal)
    for status, those in sorted(by_status.items()):
        refused = refusal_response(those, schemas[ProblemDocument])
        known = found.get(str(status), {})  # the same status with a document of its own
        texts = [one["description"] for one in (known, refused) if one]
        contents = {**known.get("content", {}), **refused["content"]}
        found[str(status)] = {**refused, "description": "\n".join(texts), "content": contents}
    return found


def answer_content(answer: Any, schemas: Mapping[Any, Any]) -> tuple[str, dict[str, Any]]:
    if not isinstance(answer, Media):
        return "application/json", {"schema": schemas[answer]}
    return answer.type, {"schema": media_schema(answer)} | example_of(answer.example)


def refusals(method: str, route: Route, endpoint: Endpoint) -> list[Refusal]:
    """Its own first, then those that its traits bring, each once."""
    bodies = as_tuple(endpoint.body)
    found = [*endpoint.refusals]
    found += OF_PARAMETERS if endpoint.parameters or is_bare(route.path, endpoint) else ()
    found += OF_DOCUMENTS if any(not isinstance(body, Media) for body in bodies) else ()
    found += OF_BODIES if bodies else ()
    found += OF_SCOPES if needed(method, route.path) != PUBLIC else ()
    return list({(one.status, one.kind): one for one in reversed([*found, *ANY])}.values())[::-1]


def refusal_response(those: Sequence[Refusal], schema: Any) -> dict[str, Any]:
    problems = [{"kind": one.kind, "type": PROBLEM_TYPE + one.kind, "about": one.about} for one in those]
    return {
        "description": "\n".join(f"`{one.kind}`: {one.about}" for one in those),
        "content": {PROBLEM_MEDIA: {"schema": schema}},
        "x-problems": problems,
    }


async def openapi(request: Request) -> Response:
    return Json(request.app.state.openapi())


DOCS: Final[Docs] = {
    openapi: Endpoint("Engine", "This API after OpenAPI 3.1", Media("application/json", "the document"))
}
ROUTES: Final = (Route("/openapi.json", openapi),)
