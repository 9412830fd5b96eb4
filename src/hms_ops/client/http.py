"""One HTTP request to an engine: JSON out, JSON back.

One request, one connection: nothing to share between threads or to break at a fork. Proxies of the environment are not
asked: an engine is on this host or in a private network. Over https the engine's certificate is checked, with the
authorities in the PEM file HMS_OPS_CA where that is set. Redirects are not followed: they would take the token along.
Raises Unreachable and RequestError, and ValueError for a number that JSON does not have (NaN, infinity).
"""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException, RemoteDisconnected
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from hms_ops.client.api import RequestError, Unreachable

# By OpenSSL's X509_V_ERR_…: what no other authority mends.
_OTHER_NAME: Final = "ask by a name that it is for, or have one made for this address"
ADVICE: Final = {9: "look at both clocks", 10: "have it renewed", 62: _OTHER_NAME, 64: _OTHER_NAME}
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
        with opener(address).open(asked, timeout=timeout_seconds) as response:
            return _parsed(response.read(ANSWER_BYTES_MAX + 1))
    except HTTPError as error:
        with error:
            raise RequestError(error.code, error.read(REFUSAL_BYTES_MAX).decode(errors="replace").strip()) from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that is none
        reason = getattr(error, "reason", error)
        raise Unreachable(address, reason, mismatch(address, reason)) from error


def mismatch(address: str, reason: object) -> str:
    """What is wrong with the address, its certificate or HMS_OPS_CA, and what to do; "" where it is none of these."""
    import ssl

    if isinstance(reason, NoAuthorities):
        return str(reason)
    if isinstance(reason, ssl.SSLCertVerificationError):
        advice = ADVICE.get(reason.verify_code, "set HMS_OPS_CA to its CA's file")
        return f"the certificate of {address} is not trusted: {reason.verify_message}; {advice}"
    if isinstance(reason, ssl.SSLError):
        return f"{address} speaks no TLS ({reason}); ask it by http://"
    if address.startswith("http://") and isinstance(reason, ConnectionResetError | RemoteDisconnected):
        return f"what listens at {address} broke the connection off; if it serves TLS, ask it by https://"
    return ""


class NoAuthorities(ValueError):
    """HMS_OPS_CA names no file of certificates."""


class _Stay(HTTPRedirectHandler):
    """Takes a redirect for the refusal that it is."""

    def redirect_request(self, *answer: Any) -> None:
        return None


def opener(address: str) -> OpenerDirector:
    """What asks an engine at this address; NoAuthorities where HMS_OPS_CA is no use."""
    direct: list[Any] = [ProxyHandler({}), _Stay()]
    if not address.startswith("https://"):
        return build_opener(*direct)
    import ssl

    authorities = os.environ.get("HMS_OPS_CA") or None
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise NoAuthorities(f"HMS_OPS_CA is {authorities!r}: {error}; give a PEM file of authorities") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return build_opener(*direct, HTTPSHandler(context=context))


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
