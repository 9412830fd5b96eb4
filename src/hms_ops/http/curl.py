"""A route as curl asks it: the example in /openapi.json and /docs, made of what the route says of itself."""

from typing import Final

from hms_ops.http.endpoint import Endpoint
from hms_ops.http.scopes import PUBLIC

SAMPLE_HOST: Final = "http://127.0.0.1:8126"


def sample(method: str, path: str, endpoint: Endpoint, scope: str) -> str:
    """The route as curl asks it; a token only where one may be needed."""
    for name, reader in endpoint.path.items():
        path = path.replace(f"{{{name}}}", str(reader.schema.get("examples", [name])[0]))
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    words += [] if scope == PUBLIC else ["-H", '"Authorization: Bearer $TOKEN"']
    words += ["-d", quoted(endpoint.sent)] if endpoint.sent else []
    return " ".join([*words, quoted(SAMPLE_HOST + path + endpoint.query)])


def quoted(text: str) -> str:
    """As a shell takes it: single quotes, which hold anything but themselves."""
    return "'" + text.replace("'", "'\\''") + "'"
