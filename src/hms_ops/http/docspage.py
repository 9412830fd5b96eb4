"""`GET /docs`: the API as a page, written on the server from the OpenAPI document; no script, nothing from elsewhere.

Everything that comes from the document is escaped where it is put in; the policy allows the one stylesheet and nothing
else. Made once per server, at the first question.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hms_ops.http.endpoint import Docs, Endpoint, Media
from hms_ops.http.languagepage import EXAMPLES
from hms_ops.http.openapi import ANY, PROBLEM_MEDIA
from hms_ops.http.schematext import linked, type_text
from hms_ops.http.scopes import ALLOWS

POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} HTTP API</title>
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<a class="skip" href="#main">Skip to the endpoints</a>
<header>
<h1>{title} HTTP API</h1>
<p>{about}</p>
<ul><li>API version {version}</li><li><a href="/openapi.json">openapi.json</a></li>
<li><a href="/">Dashboard</a></li></ul>
</header>
<div class="frame">
<nav aria-labelledby="contents"><h2 id="contents">Endpoints</h2>
{contents}</nav>
<main id="main" tabindex="-1">
{body}</main>
</div>
<footer>Made from the tables that check each request; works without a network.</footer>
</body>
</html>
"""

Operation = tuple[str, str, Mapping[str, Any]]  # method, path, what the document says of it


def page_of(document: Mapping[str, Any]) -> str:
    groups = [(tag, operations_of(document, tag["name"])) for tag in document["tags"]]
    body = [
        access_section(),
        language_section(),
        *(group_section(document, tag, those) for tag, those in groups),
        schemas_section(document),
    ]
    info = document["info"]
    return PAGE.format(
        title=escape(info["title"]),
        about=escape(info["description"]),
        version=escape(info["version"]),
        contents="".join(contents_of(groups)),
        body="".join(body),
    )


def operations_of(document: Mapping[str, Any], group: str) -> list[Operation]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == [group]
    ]


def contents_of(groups: Iterable[tuple[Mapping[str, Any], Sequence[Operation]]]) -> Iterator[str]:
    for tag, operations in groups:
        links = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{escape(operation["summary"])}</a></li>'
            for _, _, operation in operations
        )
        yield f"<h3>{escape(tag['name'])}</h3><ul>{links}</ul>\n"
    yield '<h3>Reference</h3><ul><li><a href="#access">Access and refusals</a></li>'
    yield '<li><a href="#language">Expressions</a></li>'
    yield '<li><a href="#schemas">Schemas</a></li></ul>\n'


def access_section() -> str:
    """What holds for all of them."""
    scopes = table("Scopes", ("Scope", "Allows"), [(code(name), escape(about)) for name, about in ALLOWS.items()])
    problems = table(
        "Problems that any request may meet",
        ("Status", "Kind", "Why"),
        [(str(one.status), code(one.kind), marked(one.about)) for one in ANY],
    )
    return (
        '<section aria-labelledby="access"><h2 id="access">Access and refusals</h2>'
        "<p>On loopback nothing is needed, unless tokens are configured. Elsewhere send "
        f"{code('Authorization: Bearer TOKEN')}, or use a browser's session. Every refusal is "
        f"{code('application/problem+json')}, a {linked('ProblemDocument')}.</p>{scopes}{problems}</section>\n"
    )


def language_section() -> str:
    """What queries, rules and charts are asked in."""
    rows = [(code(example), escape(meaning)) for example, meaning in EXAMPLES]
    return (
        '<section aria-labelledby="language"><h2 id="language">Expressions</h2>'
        f"<p>What {code('expr')} of a query, a rule's {code('if')} and a dashboard's panel take.</p>"
        f"{table('The language in examples', ('Expression', 'What it says'), rows)}</section>\n"
    )


def group_section(document: Mapping[str, Any], tag: Mapping[str, Any], operations: Sequence[Operation]) -> str:
    key = "group-" + "".join(filter(str.isalnum, tag["name"].lower()))
    articles = "".join(article(document, *operation) for operation in operations)
    heading = f'<h2 id="{key}">{escape(tag["name"])}</h2><p>{escape(tag["description"])}</p>'
    return f'<section aria-labelledby="{key}">{heading}\n{articles}</section>\n'


def article(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    key, scope = escape(operation["operationId"]), operation["x-scope"]
    example = escape(operation["x-codeSamples"][0]["source"])
    needs = "public" if scope == "public" else f"needs the scope {scope}"
    parts = [
        f'<article id="{key}" aria-labelledby="{key}-h"><h3 id="{key}-h">{escape(operation["summary"])}</h3>',
        f'<p class="call"><span class="method {method}">{method.upper()}</span> {code(path)}',
        f' <span class="scope">{needs}</span></p>',
        f"<p>{marked(operation['description'])}</p>" if "description" in operation else "",
        f'<pre role="group" aria-label="Example with curl"><code>{example}</code></pre>',
        parameters_table(operation.get("parameters", ())),
        *body_parts(operation.get("requestBody", {}).get("content", {})),
        answers_table(document, operation["responses"]),
        problems_table(document, operation["responses"]),
        "</article>\n",
    ]
    return "".join(parts)


def parameters_table(parameters: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            code(one["name"])
            + must(one["required"])
            + (f' <span class="quiet">in {one["in"]}</span>' if one["in"] != "query" else ""),
            type_text(one["schema"]),
            said(one.get("description", ""), one["schema"].get("default"), one.get("example")),
        )
        for one in parameters
    ]
    return table("Parameters", ("Name", "Takes", "What it is for"), rows) if rows else ""


def body_parts(content: Mapping[str, Any]) -> Iterator[str]:
    """A table of a JSON body's keys; a line for any other."""
    others = []
    for media_type, one in content.items():
        schema = one["schema"]
        if "properties" in schema:
            yield members_table(f"Body, {media_type}", schema)
        elif "$ref" in schema:
            others.append((code(media_type), type_text(schema)))
        else:
            others.append((code(media_type), escape(schema.get("description", ""))))
    if others:
        yield table("Body", ("Media type", "Holds"), others)


def members_table(caption: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            code(name) + must(name in required and schema.get("additionalProperties") is False),
            type_text(one),
            said(one.get("description", ""), one.get("default"), (one.get("examples") or [None])[0]),
        )
        for name, one in schema["properties"].items()
    ]
    return table(caption, ("Key", "Takes", "What it is for"), rows)


def answers_table(document: Mapping[str, Any], responses: Mapping[str, Any]) -> str:
    rows = []
    for status, response in responses.items():
        found = resolved(document, response)
        for media_type, one in found.get("content", {}).items():
            if media_type == PROBLEM_MEDIA:
                continue
            schema = one["schema"]
            holds = type_text(schema) if "$ref" in schema else escape(schema.get("description", ""))
            rows.append((status, code(media_type), holds))
        if not found.get("content"):
            rows.append((status, "", escape(found["description"])))
    return table("Answers", ("Status", "Media type", "Holds"), rows)


def problems_table(document: Mapping[str, Any], responses: Mapping[str, Any]) -> str:
    """Those that not every request may meet."""
    common = {(one.status, one.kind) for one in ANY}
    rows = [
        (status, code(problem["kind"]), marked(problem["about"]))
        for status, response in responses.items()
        for problem in resolved(document, response).get("x-problems", ())
        if (int(status), problem["kind"]) not in common
    ]
    return table("Problems", ("Status", "Kind", "Why"), rows) if rows else ""


def resolved(document: Mapping[str, Any], response: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in response:
        return response
    found: Mapping[str, Any] = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def schemas_section(document: Mapping[str, Any]) -> str:
    parts = [
        f'<article id="schema-{escape(name)}" aria-labelledby="schema-{escape(name)}-h">'
        f'<h3 id="schema-{escape(name)}-h">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        + (members_table(f"Members of {name}", schema) if schema.get("properties") else f"<p>{type_text(schema)}</p>")
        + "</article>\n"
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return f'<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>{"".join(parts)}</section>\n'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are markup already. The roles are said because narrow screens show its rows as blocks, which
    takes them away."""
    head = "".join(f'<th scope="col" role="columnheader">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr role="row"><th scope="row" role="rowheader">{row[0]}</th>{cells(row[1:])}</tr>' for row in rows
    )
    return (
        f'<table role="table"><caption>{escape(caption)}</caption><thead role="rowgroup"><tr role="row">{head}</tr>'
        f'</thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def cells(row: Iterable[str]) -> str:
    return "".join(f'<td role="cell">{cell}</td>' for cell in row)


def said(about: str, default: Any, example: Any) -> str:
    parts = [marked(about)] if about else []
    parts += [] if default is None or default == "" else [f"Default {code(text_of(default))}."]
    parts += [] if example is None else [f"As in {code(text_of(example))}."]
    return " ".join(parts)


def text_of(value: Any) -> str:
    from hms_ops.http.answer import ENCODER

    return value if isinstance(value, str) else ENCODER.encode(value).decode()


def marked(text: str) -> str:
    """Words between backticks as code."""
    parts = text.split("`")
    return "".join(code(part) if n % 2 else escape(part) for n, part in enumerate(parts))


def must(is_required: bool) -> str:
    return ' <span class="must">required</span>' if is_required else ""


def code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


@cache
def style_text() -> bytes:
    return (files("hms_ops.http") / "docs" / "style.css").read_bytes()


async def docs(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "docs_page"):
        state.docs_page = page_of(state.openapi())
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "public, no-cache"}
    return Response(state.docs_page, headers=headers, media_type="text/html")


async def style(request: Request) -> Response:
    return Response(style_text(), headers={"Cache-Control": "public, no-cache"}, media_type="text/css")


DOCS: Final[Docs] = {
    docs: Endpoint("Engine", "This page", Media("text/html", "the API, for people")),
    style: Endpoint("Engine", "This page's style", Media("text/css", "a stylesheet")),
}
ROUTES: Final = (Route("/docs", docs), Route("/docs/style.css", style))
