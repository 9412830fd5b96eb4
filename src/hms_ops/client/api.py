"""Questions and orders to an engine over HTTP. Unlike emitting these wait for an answer, and they raise.

What is asked is here; how it travels is in `http`, which is imported with the first request: it costs 50 ms, and a
service that only emits never needs it.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

DEFAULT_HTTP: Final = "http://127.0.0.1:8126"


class Unreachable(Exception):
    """No engine answers at the address: refused, no such host, or silent for longer than the timeout; or the address
    or its certificate is not the right one: `mismatch` says so and what to do."""

    def __init__(self, address: str, reason: object, mismatch: str = "") -> None:
        super().__init__(mismatch or f"no engine answers at {address}: {reason}; is hms-ops-engine running there?")
        self.address = address


class RequestError(Exception):
    """The engine answered, and refused. `status` is HTTP's; `text` is what the engine said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.text = text


class Api:
    """The HTTP side of one engine; `address` None is HMS_OPS_HTTP and `token` None HMS_OPS_TOKEN, read with each
    request."""

    def __init__(self, address: str | None, token: str | None, timeout_seconds: float) -> None:
        if address is not None and not address.startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is not http://HOST:PORT or https://HOST:PORT")
        if not timeout_seconds > 0:
            raise ValueError(f"http_timeout_seconds is positive, not {timeout_seconds}")
        self._address = address
        self._token = token
        self._timeout_seconds = timeout_seconds

    def query(self, expr: str, start: float | None, end: float | None, step: float | str | None) -> dict[str, Any]:
        given = {"expr": expr, "start": start, "end": end, "step": step}
        answer: dict[str, Any] = self._request(("v1", "query"), parameters=_without_none(given))
        return answer

    def post_alert(self, rule: Mapping[str, str | Sequence[str] | None]) -> Any:
        return self._request(("v1", "alerts"), body=_without_none(rule))

    def fire(self, name: str, value: float | None) -> Any:
        return self._request(("v1", "alerts", name, "fire"), body=_without_none({"value": value}))

    def _request(self, path: tuple[str, ...], **what: Mapping[str, object]) -> Any:
        from hms_ops.client.http import request

        address = self._address or os.environ.get("HMS_OPS_HTTP") or DEFAULT_HTTP
        token = self._token or os.environ.get("HMS_OPS_TOKEN")
        return request(address, path, token=token, timeout_seconds=self._timeout_seconds, **what)


def _without_none(given: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in given.items() if value is not None}
