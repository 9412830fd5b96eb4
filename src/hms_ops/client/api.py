"""Questions and orders to an engine over HTTP. Unlike emitting these wait for an answer, and they raise.

One request, one connection: nothing to share between threads or to break at a fork. Proxies of the environment are not
asked: an engine is on this host or on a private network. JSON in both directions.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

DEFAULT_HTTP: Final = "http://127.0.0.1:8126"
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024


class Unreachable(Exception):
    """No engine answers at the address: refused, no such host, or silent for longer than the timeout."""

    def __init__(self, address: str, reason: object) -> None:
        super().__init__(f"no engine answers at {address}: {reason}; is hms-ops-engine running there?")
        self.address = address


class RequestError(Exception):
    """The engine answered, and refused. `status` is HTTP's; the text is what the engine said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.text = text


class Api:
    """The HTTP side of one engine; `address` None is HMS_OPS_HTTP, read with each request."""

    def __init__(self, address: str | None, token: str | None, timeout_seconds: float) -> None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is not http://HOST:PORT")
        if not timeout_seconds > 0:
            raise ValueError(f"http_timeout_seconds is positive, not {timeout_seconds}")
        self._address = address
        self._token = token
        self._timeout_seconds = timeout_seconds

    def query(self, expr: str, start: float | None, end: float | None, step: float | str | None) -> dict[str, Any]:
        given = {"expr": expr, "start": start, "end": end, "step": step}
        parameters = {key: value for key, value in given.items() if value is not None}
        answer: dict[str, Any] = self._request("GET", "/v1/query?" + urlencode(parameters))
        return answer

    def post_alert(self, rule: Mapping[str, str | Sequence[str] | None]) -> Any:
        return self._request("POST", "/v1/alerts", {key: value for key, value in rule.items() if value is not None})

    def fire(self, name: str, value: float | None) -> Any:
        body = {} if value is None else {"value": value}
        return self._request("POST", f"/v1/alerts/{quote(name, safe='')}/fire", body)

    def _request(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer, None where it is empty; Unreachable or RequestError."""
        # These take 50 ms to import, and a service that only emits never needs them.
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import ProxyHandler, Request, build_opener

        address = (self._address or os.environ.get("HMS_OPS_HTTP", DEFAULT_HTTP)).rstrip("/")
        data = None if body is None else json.dumps(body, allow_nan=False).encode()
        try:
            request = Request(address + path, data, self._headers(), method=method)
            with build_opener(ProxyHandler({})).open(request, timeout=self._timeout_seconds) as response:
                answer = response.read(ANSWER_BYTES_MAX + 1)
        except HTTPError as error:
            with error:
                raise RequestError(error.code, error.read(10_000).decode(errors="replace").strip()) from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
            raise Unreachable(address, getattr(error, "reason", error)) from error
        return _parsed(answer)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return headers | {"Authorization": f"Bearer {self._token}"} if self._token else headers


def _parsed(answer: bytes) -> Any:
    if len(answer) > ANSWER_BYTES_MAX:
        raise RequestError(200, f"the answer has more than {ANSWER_BYTES_MAX} bytes; ask for a larger step")
    try:
        return json.loads(answer) if answer.strip() else None
    except ValueError as error:
        raise RequestError(200, f"the answer is not JSON ({error}); is this an HMS-OPS engine?") from None
