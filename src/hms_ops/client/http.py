"""One HTTP request to an engine: JSON out, JSON back.

One request, one connection: nothing to share between threads or to break at a fork. Proxies of the environment are not
asked: an engine is on this host or in a private network. Raises Unreachable and RequestError, and ValueError for a
number that JSON does not have (NaN, infinity).
"""

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from hms_ops.client.api import RequestError, Unreachable

ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
REFUSAL_BYTES_MAX: Final = 10_000


def request(
    address: str,
    path: tuple[str, ...],
    *,
    parameters: Mapping[str, object] | None = None,
    body: Mapping[str, object] | None = None,
    token: str | None,
    timeout_seconds: float,
) -> Any:
    """GET, or POST where there is a body. Returns the parsed answer, None if it is empty."""
    url = f"{address.rstrip('/')}/{'/'.join(quote(segment, safe='') for segment in path)}"
    if parameters:
        url += "?" + urlencode(parameters)
    data = None if body is None else json.dumps(body, allow_nan=False).encode()
    try:
        asked = Request(url, data, _headers(token))
        with build_opener(ProxyHandler({})).open(asked, timeout=timeout_seconds) as response:
            return _parsed(response.read(ANSWER_BYTES_MAX + 1))
    except HTTPError as error:
        with error:
            raise RequestError(error.code, error.read(REFUSAL_BYTES_MAX).decode(errors="replace").strip()) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
        raise Unreachable(address, getattr(error, "reason", error)) from error


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return headers | {"Authorization": f"Bearer {token}"} if token else headers


def _parsed(answer: bytes) -> Any:
    if len(answer) > ANSWER_BYTES_MAX:
        raise RequestError(200, f"the answer has more than {ANSWER_BYTES_MAX} bytes; ask for a larger step")
    try:
        return json.loads(answer) if answer.strip() else None
    except ValueError as error:
        raise RequestError(200, f"the answer is not JSON ({error}); is this an HMS-OPS engine?") from None
