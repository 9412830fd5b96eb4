"""One request to a running engine over HTTP, for the commands that ask it something.

Errors: Unreachable when nobody answers or what answers is no engine; RequestRefused with the engine's own words and its
status. No proxies of the environment: an engine is on this host or on a private network. `HMS_OPS_TOKEN` is sent as a
bearer token where it is set; over https the engine's certificate is checked, with the authorities in the PEM file
`HMS_OPS_CA` where that is set. Redirects are not followed: they would take the token along.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from hms_ops.errors import HmsOpsError, Unreachable

TIMEOUT_SECONDS: Final = 5.0
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
PIECE_BYTES: Final = 256 * 1024

# Longer ones first. A test looks whether all that the engine's refusals name are here.
COMMANDS: Final = {
    "DELETE /v1/silences/ID": "alerts unsilence ID",
    "GET /v1/silences": "alerts silences",
    "GET /v1/dead-letters": "alerts dead-letters",
    "GET /v1/alerts": "alerts list",
}


class RequestRefused(HmsOpsError):
    """The engine said no; `status` is HTTP's, `body` its answer as parsed JSON or text."""

    def __init__(self, status: int, body: Any) -> None:
        said = body.get("detail") if isinstance(body, dict) else body
        super().__init__(in_commands(str(said)) if said else f"the engine answered HTTP {status}")
        self.status = status
        self.body = body


def in_commands(text: str) -> str:
    """An engine's words with the commands in place of the requests it advises."""
    for asked, command in COMMANDS.items():
        text = text.replace(asked, f"`hms-ops-engine {command}`")
    return text


def get(url: str, path: str, timeout_seconds: float = TIMEOUT_SECONDS, **parameters: object) -> Any:
    """The parsed JSON answer of GET; parameters that are None are left out."""
    given = {key: value for key, value in parameters.items() if value is not None}
    return request(url, path + ("?" + urlencode(given) if given else ""), None, timeout_seconds)


def post(url: str, path: str, body: object, timeout_seconds: float = TIMEOUT_SECONDS) -> Any:
    """The parsed JSON answer of POST with a JSON body."""
    return request(url, path, json.dumps(body, allow_nan=False).encode(), timeout_seconds)


def delete(url: str, path: str, timeout_seconds: float = TIMEOUT_SECONDS, **parameters: str) -> Any:
    """The parsed JSON answer of DELETE."""
    return request(url, f"{path}?{urlencode(parameters)}", None, timeout_seconds, "DELETE")


def request(url: str, path: str, data: bytes | None, timeout_seconds: float, method: str | None = None) -> Any:
    with opened(url, path, data, timeout_seconds, method) as response:
        return parsed(response.read(ANSWER_BYTES_MAX), address_of(url))


def pieces(url: str, path: str, timeout_seconds: float = TIMEOUT_SECONDS, **parameters: object) -> Iterator[bytes]:
    """The body of a GET as it comes; parameters that are None are left out. HmsOpsError when it ends too early."""
    given = urlencode({key: value for key, value in parameters.items() if value is not None})
    with opened(url, f"{path}?{given}", None, timeout_seconds, None) as response:
        while piece := response.read1(PIECE_BYTES):
            yield piece


@contextmanager
def opened(url: str, path: str, data: bytes | None, timeout_seconds: float, method: str | None) -> Iterator[Any]:
    """The answer, to be read inside."""
    from http.client import HTTPException, IncompleteRead
    from urllib.error import HTTPError
    from urllib.request import Request

    from hms_ops.client.http import opener

    address = address_of(url)
    try:
        asked = Request(address + path, data, headers(data), method=method)
        with opener(address).open(asked, timeout=timeout_seconds) as response:
            yield response
    except HTTPError as error:
        with error:
            raise RequestRefused(error.code, refusal(error.read(100_000))) from None
    except IncompleteRead:
        raise HmsOpsError(f"the engine at {address} broke its answer off; its log says why") from None
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(unreached(address, getattr(error, "reason", error))) from None


def unreached(address: str, reason: Any) -> str:
    """What is wrong, and what to do about it."""
    from hms_ops.client.http import mismatch

    said = f"no engine answers at {address}: {reason}; start one with hms-ops-engine run"
    return mismatch(address, reason) or said


def address_of(url: str) -> str:
    return url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}"


def headers(data: bytes | None) -> dict[str, str]:
    made = {"Accept": "application/json"}
    if data is not None:
        made["Content-Type"] = "application/json"
    if token := os.environ.get("HMS_OPS_TOKEN"):
        made["Authorization"] = f"Bearer {token}"
    return made


def parsed(answer: bytes, address: str) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        raise Unreachable(f"what answers at {address} is no engine; give its address with --url") from None


def refusal(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace").strip()
