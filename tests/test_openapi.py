"""What the API says of itself against what it does: every route is there, every answer as described, every bound."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from tests.apiwalk import Call, calls, lived
from tests.serving import server_of, serving

import hms_ops.http
from hms_ops.clock import ManualClock
from hms_ops.engine import Engine
from hms_ops.errors import ExpressionError
from hms_ops.http.endpoint import GROUPS, Body
from hms_ops.http.openapi import document_of, shown_path
from hms_ops.http.routes import DOCS, ROUTES
from hms_ops.http.scopes import PUBLIC, needed
from hms_ops.http.site import REFUSALS
from hms_ops.reader import Reader

DOCUMENT = document_of(ROUTES, DOCS)
# What has no end, and what needs built files: tested in test_stream.py and test_http.py.
WALKED_ELSEWHERE = ("/v1/stream", "/assets/")


def operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


# ---- both ways


def test_the_document_is_openapi() -> None:
    validate(json.loads(json.dumps(DOCUMENT)))
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_described() -> None:
    assert [route.path for route in ROUTES if route.endpoint not in DOCS] == []
    described = {(method, path) for method, path, _ in operations()}
    routes = {
        (method, shown_path(route.path)) for route in ROUTES for method in route.methods or () if method != "HEAD"
    }
    assert routes == described


def test_everything_described_is_a_route() -> None:
    assert [handler for handler in DOCS if handler not in {route.endpoint for route in ROUTES}] == []


def test_a_route_that_nobody_describes_is_found() -> None:
    planted = dict(list(DOCS.items())[1:])
    missing = document_of(ROUTES, planted)
    assert sum(map(len, missing["paths"].values())) < sum(map(len, DOCUMENT["paths"].values()))


def test_operations_are_named_once_and_stand_under_a_known_heading() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))
    for _, _, operation in operations():
        assert operation["tags"][0] in GROUPS
        assert operation["summary"][0].isupper()
        assert not operation["summary"].endswith(".")


def test_the_scope_is_the_one_that_is_held() -> None:
    scopes = {
        (method, shown_path(route.path)): needed(method, route.path) for route in ROUTES for method in route.methods
    }
    for method, path, operation in operations():
        scope = scopes[method, path]
        assert operation["x-scope"] == scope
        assert operation["security"] == ([] if scope == PUBLIC else [{"bearer": [scope]}, {"session": [scope]}])


def test_path_parameters_are_those_of_the_path() -> None:
    for method, path, operation in operations():
        named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert named == set(re.findall(r"{([a-z_]+)}", path)), f"{method} {path}"


def test_everything_that_is_sent_says_what_it_is_for() -> None:
    for method, path, operation in operations():
        for one in operation.get("parameters", ()):
            assert one["description"], f"{method} {path} {one['name']}"
    for endpoint in DOCS.values():
        if isinstance(endpoint.body, Body):
            for key, reader in endpoint.body.keys.items():
                assert reader.schema.get("description"), f"{endpoint.summary}: {key}"


# ---- answers


class Checker:
    """Schemas of the document, made strict: an object with named members may have no others."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = strict(json.loads(json.dumps(document)))

    def check(self, schema: Mapping[str, Any], value: Any) -> None:
        whole = {**strict(json.loads(json.dumps(schema))), "components": self._document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


def strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    # What happened has the members of its kind, and problems those of theirs.
    is_open = schema.get("title") in ("EventDocument", "ProblemDocument")
    if isinstance(made.get("properties"), dict) and made.get("type") == "object" and not is_open:
        made.setdefault("additionalProperties", False)
    return made


CHECKER = Checker(DOCUMENT)


def response_of(operation: Mapping[str, Any], status: int) -> Mapping[str, Any]:
    assert str(status) in operation["responses"], f"{operation['operationId']} does not speak of {status}"
    response: Mapping[str, Any] = operation["responses"][str(status)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return response


def check_answer(call: Call, answer: httpx.Response) -> None:
    operation = DOCUMENT["paths"][call.path][call.method.lower()]
    response = response_of(operation, answer.status_code)
    if not answer.content:
        assert "content" not in response
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    declared = {declared.partition(";")[0]: one for declared, one in response["content"].items()}
    assert media_type in declared, f"{call.method} {call.path} answers {media_type}"
    if media_type == "application/problem+json":
        kinds = [problem["type"] for problem in response["x-problems"]]
        assert answer.json()["type"] in kinds
    if media_type in ("application/json", "application/problem+json"):
        CHECKER.check(declared[media_type]["schema"] if call.path != "/openapi.json" else {}, answer.json())


def test_real_answers_are_of_the_form_that_is_described(tmp_path: Path) -> None:
    asked = set()
    with lived(tmp_path) as (_, client):
        silence = ""
        for call in calls(tmp_path):
            url = call.url.replace("{silence}", silence)
            sent = {"json": call.json, "content": call.content, "data": call.form}
            answer = client.request(call.method, url, params=call.query, **sent)  # type: ignore[arg-type]
            assert answer.status_code == call.status, f"{call.method} {url}: {answer.text[:500]}"
            check_answer(call, answer)
            asked.add((call.method, call.path))
            silence = answer.json()["id"] if answer.status_code == 201 and "match" in answer.json() else silence
    elsewhere = {(method, path) for method, path, _ in operations() if path.startswith(WALKED_ELSEWHERE) or path == "/"}
    assert {(method, path) for method, path, _ in operations()} - asked - elsewhere == set()


def test_a_starting_engine_answers_503_with_the_same_document() -> None:
    engine = Engine(udp=None, data_dir=None, clock=ManualClock())
    with server_of(engine) as (_, url):
        answer = httpx.get(f"{url}/readyz", trust_env=False)
    assert answer.status_code == 503
    check_answer(Call("GET", "/readyz"), answer)
    with pytest.raises(AssertionError, match="does not speak of 418"):
        check_answer(Call("GET", "/readyz"), httpx.Response(418, json={}))


def test_a_member_that_nobody_described_is_found() -> None:
    answer = httpx.Response(200, json={"status": "ok", "planted": 1})
    with pytest.raises(jsonschema.ValidationError, match="planted"):
        check_answer(Call("GET", "/healthz"), answer)


def test_refusals_are_problems_of_the_form_and_kind_that_are_described() -> None:
    refused = [
        Call("GET", "/v1/query", 400, query={"expr": "avg("}),
        Call("GET", "/v1/query", 400, query={"expr": "avg(x)", "stpe": 1}),
        Call("GET", "/v1/query", 400),
        Call("GET", "/v1/query", 404, query={"expr": "avg(nobody)"}),
        Call("GET", "/v1/tags", 404, query={"metric": "nobody"}),
        Call("GET", "/v1/series", 400, query={"match": "x["}),
        Call("GET", "/v1/slos", 404, query={"name": "none"}),
        Call("POST", "/v1/ingest", 400, content=b""),
        Call("POST", "/v1/ingest", 413, content=b"x" * (8 * 1024 * 1024 + 1)),
        Call("POST", "/v1/alerts", 400, json={"alert": "x"}),
        Call("POST", "/v1/alerts", 400, content=b"["),
        Call("POST", "/v1/alerts/{name}/ack", 404, fill={"name": "none"}),
        Call("POST", "/v1/alerts/{name}/ack", 400, fill={"name": "none"}, json={"whom": "ann"}),
        Call("POST", "/v1/alerts/{name}/fire", 400, fill={"name": "x"}, json={"value": "much"}),
        Call("POST", "/v1/silences", 400, json={"match": "a=b"}),
        Call("DELETE", "/v1/silences/{id}", 404, fill={"id": "none"}),
        Call("DELETE", "/v1/alerts/{name}", 404, fill={"name": "none"}),
        Call("POST", "/v1/describe", 400, json={"unit": "ms"}),
        Call("POST", "/v1/backup", 503, json={"directory": "/tmp/none"}),
        Call("POST", "/v1/backup", 400, json={"directory": 5}),
        Call("GET", "/v1/export", 503),
        Call("POST", "/v1/events", 400, json=[{"evnt": 1}]),
        Call("POST", "/v1/actions/stop", 400, json={"why": "x"}),
    ]
    with serving() as site:
        for call in refused:
            answer = site.client.request(call.method, call.url, params=call.query, json=call.json, content=call.content)
            assert answer.status_code == call.status, f"{call}: {answer.text[:300]}"
            check_answer(call, answer)


# ---- bounds


def described_readers() -> Iterator[tuple[str, Reader[Any], bool]]:
    """(name, reader, whether it reads the text of a query string)."""
    for endpoint in DOCS.values():
        for name, reader in endpoint.parameters.items():
            yield f"{endpoint.summary}: {name}", reader, True
        if isinstance(endpoint.body, Body):
            for name, reader in endpoint.body.keys.items():
                yield f"{endpoint.summary}: {name}", reader, False


def boundaries(schema: Mapping[str, Any]) -> list[Any]:
    """Values on both sides of each bound of a schema."""
    found: list[Any] = list(schema.get("enum", ())) + ([schema["default"]] if "default" in schema else [])
    found += schema.get("examples", [])
    for key in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if key in schema:
            low = abs(schema[key]) * 1e-9 + 1 if schema.get("type") == "integer" else max(abs(schema[key]) * 1e-9, 1e-3)
            step = round(low) if schema.get("type") == "integer" else low
            found += [schema[key] - step, schema[key], schema[key] + step]
    if "maxLength" in schema:
        found += ["x" * schema["maxLength"], "x" * (schema["maxLength"] + 1)]
    for one in schema.get("oneOf", ()):
        found += boundaries(one)
    return found


WRONG = {"integer": ["x", "1.5", 1.5], "number": ["x"], "boolean": ["yes"], "string": [], "object": [5], "array": [5]}


def takes_it(reader: Reader[Any], value: Any) -> bool:
    try:
        reader(value)
    except (ValueError, ExpressionError):
        return False
    return True


@pytest.mark.parametrize(("name", "reader", "is_text"), list(described_readers()))
def test_the_bounds_of_a_schema_are_those_that_hold(name: str, reader: Reader[Any], is_text: bool) -> None:
    schema = reader.schema["items"] if reader.is_repeatable else reader.schema
    validator = jsonschema.Draft202012Validator(schema)
    wrong = WRONG.get(schema.get("type", "string"), []) + (["none-of-these"] if "enum" in schema else [])
    for value in [*boundaries(schema), *wrong]:
        given = text_of(value) if is_text else value
        assert takes_it(reader, given) == validator.is_valid(value), f"{name}: {value!r}"


def text_of(value: Any) -> str:
    """As it stands in a query string."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)


def test_a_bound_that_is_written_wrongly_is_found() -> None:
    from hms_ops.http.parameters import whole_number

    planted = Reader(whole_number(1, 10).read, {"type": "integer", "minimum": 1, "maximum": 11})
    with pytest.raises(AssertionError, match="11"):
        test_the_bounds_of_a_schema_are_those_that_hold("planted", planted, True)


def test_a_parameter_that_must_be_given_is_missed_by_name() -> None:
    with serving() as site:
        for endpoint_path, operation in ((path, one["get"]) for path, one in DOCUMENT["paths"].items() if "get" in one):
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query" and parameter["required"] and endpoint_path.startswith("/v1/"):
                    answer = site.get(endpoint_path)
                    assert answer.status_code == 400
                    assert repr(parameter["name"]) in answer.json()["detail"]


def test_every_operation_of_the_api_refuses_a_parameter_that_it_does_not_read() -> None:
    with serving() as site:
        for method, path, _ in operations():
            if path.startswith("/v1/") and path != "/v1/csp-reports":
                url = re.sub("{[a-z_]+}", "x", path)
                answer = site.client.request(method, url, params={"planted": "1"}, content=b"{}")
                assert answer.status_code == 400, f"{method} {path}: {answer.text[:200]}"
                assert "'planted'" in answer.json()["detail"]
                check_answer(Call(method, path), answer)


# ---- the page


class Page(HTMLParser):
    """Headings, tables, links, ids and landmarks of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def answer() -> Iterator[httpx.Response]:
    with serving() as site:
        yield site.get("/docs")


@pytest.fixture(scope="module")
def page(answer: httpx.Response) -> Page:
    read = Page()
    read.feed(answer.text)
    return read


def test_the_page_has_every_endpoint_schema_and_problem(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, path, operation in operations():
        assert operation["operationId"] in ids
        assert path in page.text
        assert operation["x-codeSamples"][0]["source"] in page.text
    for name in DOCUMENT["components"]["schemas"]:
        assert f"schema-{name}" in ids
    for endpoint in DOCS.values():
        for refusal in endpoint.refusals:
            assert refusal.kind in page.text


def test_every_link_of_the_page_leads_somewhere(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(attributes["href"]) for attributes in page.all("a")]
    assert [link for link in links if link.startswith("#") and link[1:] not in ids] == []
    assert {link for link in links if not link.startswith("#")} == {"/openapi.json", "/"}


def test_the_page_has_landmarks_and_tables_that_say_what_they_are(page: Page) -> None:
    names = [name for name, _ in page.tags]
    assert [names.count(one) for one in ("main", "nav", "header", "footer", "h1")] == [1, 1, 1, 1, 1]
    assert names.count("caption") == names.count("table") > 100
    assert page.all("a")[0] == {"class": "skip", "href": "#main"}
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))


def test_the_page_needs_no_script_and_nothing_from_elsewhere(answer: httpx.Response, page: Page) -> None:
    assert page.all("script") == page.all("img") == page.all("style") == []
    assert [attributes["href"] for attributes in page.all("link")] == ["/docs/style.css"]
    assert not any(
        "style" in attributes or any(key.startswith("on") for key in attributes) for _, attributes in page.tags
    )
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    with serving() as site:
        style = site.get("/docs/style.css")
        assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert "prefers-color-scheme: dark" in style.text
        assert "url(" not in style.text


def test_the_page_escapes_what_it_shows() -> None:
    from hms_ops.http.docspage import marked, table
    from hms_ops.http.schematext import type_text

    hostile = "<script>alert(1)</script>"
    assert "<script" not in marked(f"`{hostile}` {hostile}")
    assert "<script" not in table(hostile, [hostile], [])
    assert "<script" not in type_text({"enum": [hostile]}) + type_text({"$ref": "x/" + hostile}) + type_text(
        {"const": hostile}
    )
    assert "<script" not in type_text({"title": hostile})


# ---- problems


def raised() -> Iterator[tuple[str, int, str]]:
    """(module, status, kind) of every problem that the code of http/ names."""
    for path in sorted(Path(hms_ops.http.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem" and len(node.args) >= 2:
                status, kind = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(kind, ast.Constant):
                    yield path.stem, status.value, kind.value


def told() -> set[tuple[int, str]]:
    """(status, kind) of every problem that the document speaks of."""
    return {
        (int(status), problem["kind"])
        for _, _, operation in operations()
        for status in operation["responses"]
        for problem in response_of(operation, int(status)).get("x-problems", ())
    }


# Of connections, before there is a request; of paths and methods that are none; and of a client that has left.
OF_NO_OPERATION = {
    (400, "malformed"),
    (400, "pipelined"),
    (400, "client-left"),
    (404, "no-such-path"),
    (405, "method"),
    (500, "engine"),
    (503, "connections"),
}


def test_every_problem_of_the_code_is_told_somewhere() -> None:
    found = list(raised())
    assert len(found) > 40
    known = told() | OF_NO_OPERATION
    assert [one for one in found if one[1:] not in known] == []


def test_docs_http_md_speaks_of_every_path_and_problem() -> None:
    text = (Path(__file__).parent.parent / "docs" / "http.md").read_text()
    assert [path for _, path, _ in operations() if f"`{path}`" not in text and f" {path}`" not in text] == []
    assert [kind for _, kind in sorted(told() | OF_NO_OPERATION) if f"`{kind}`" not in text] == []


def test_every_bound_that_is_told_is_counted_from_the_start() -> None:
    text = (Path(__file__).parent.parent / "docs" / "http.md").read_text()
    rows = [line for line in text[text.index("## Bounds") :].splitlines() if line.startswith("| ")]
    reasons = {reason for row in rows for reason in re.findall("`([a-z-]+)`", row.split("|")[3])}
    assert len(reasons) >= 12
    assert reasons - set(REFUSALS) == set()
