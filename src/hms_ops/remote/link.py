"""A connection to one remote: requests one after another over HTTP/1.1, kept open for as long as there is something to
send.

`post` and `get` block for at most the timeout a read and raise nothing: what went wrong stands in the Answer. Redirects
are not followed, an answer is read up to a bound. `abort` may be called from any thread and ends what is under way.
Not here: what becomes of an answer (sender.py), TLS settings other than the system's.
"""

import contextlib
import http.client
import socket
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import hms_ops
from hms_ops.alert.receivers.post import (
    PASSING_STATUS,
    Answer,
    authorization,
    describe,
    request_path,
    retry_after_seconds,
    tls_context,
)

SAID_BYTES_MAX: Final = 4096
PIECE_BYTES: Final = 65_536
MENDED_STATUS: Final = frozenset({401, 403, 404, 405, 407})


class Link:
    """One place to send to. `url` may hold user and password; `headers` win over them."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> None:
        self._place = urlsplit(url)
        agent = {"User-Agent": f"hms-ops/{hms_ops.__version__}"}
        self._headers = {**agent, **authorization(self._place), **headers}
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None
        self._guard = threading.Lock()
        self._unsent: Answer | None = None
        self._is_aborted = False

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST to the URL as it was given."""
        self.send(body, headers)
        return self.receive()

    def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """The first half of `post`: `receive` has to follow, there may be one on its way."""
        self._unsent = self._request("POST", request_path(self._place), body, headers)

    def receive(self) -> Answer:
        """The answer to what was sent, or why it could not be."""
        return self._answer(SAID_BYTES_MAX)[0] if self._unsent is None else self._unsent

    def get(self, path: str, bytes_max: int) -> tuple[Answer, bytes]:
        """GET of a path below the URL's own; the body, or b"" with an error when it is longer than `bytes_max`."""
        failed = self._request("GET", self._place.path.rstrip("/") + path, None, {})
        return self._answer(bytes_max) if failed is None else (failed, b"")

    def close(self) -> None:
        """Let the connection go; the next request opens one."""
        with self._guard:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """End what is under way and refuse what comes; from any thread."""
        with self._guard:
            self._is_aborted = True
            connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer | None:
        """None when it is on its way."""
        try:
            connection = self._opened()
        except OSError as error:
            return Answer(error=f"cannot connect: {describe(error)}", sent=False)
        try:
            connection.request(method, path, body, {**self._headers, **headers})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(error=f"no answer: {describe(error)}")
        except ValueError as error:
            self.close()
            return Answer(400, f"the URL or a header is wrong: {error}", sent=False)
        return None

    def _answer(self, bytes_max: int) -> tuple[Answer, bytes]:
        with self._guard:
            connection = self._connection
        if connection is None:
            return Answer(error="no answer: the connection is closed"), b""
        try:
            response = connection.getresponse()
            content = read_at_most(response, bytes_max)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(error=f"no answer: {describe(error)}"), b""
        if content is None:
            self.close()
            return Answer(error=f"the answer is longer than {bytes_max:,} bytes"), b""
        answer = Answer(response.status, said(content), retry_after_seconds=retry_after_seconds(response.headers))
        return answer, content

    def _opened(self) -> http.client.HTTPConnection:
        with self._guard:
            if self._is_aborted:
                raise OSError("it is being stopped")
            if self._connection is None:
                self._connection = self._new()
            connection = self._connection
        if connection.sock is None:
            try:
                connection.connect()
            except OSError:
                self.close()
                raise
        return connection

    def _new(self) -> http.client.HTTPConnection:
        place = self._place
        host = place.hostname or ""
        if place.scheme == "https":
            return http.client.HTTPSConnection(
                host, place.port or 443, timeout=self._timeout_seconds, context=tls_context()
            )
        return http.client.HTTPConnection(host, place.port or 80, timeout=self._timeout_seconds)


def read_at_most(response: http.client.HTTPResponse, bytes_max: int) -> bytes | None:
    """The whole body, so that the connection can be used again; None beyond the bound."""
    pieces = []
    size = 0
    while piece := response.read(PIECE_BYTES):
        size += len(piece)
        if size > bytes_max:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def said(content: bytes) -> str:
    """The beginning of an answer in one line of printable text."""
    words = content[:SAID_BYTES_MAX].decode("utf-8", "replace").split()
    return "".join(char if char.isprintable() else "?" for char in " ".join(words))[:200]


def is_wrong_place(answer: Answer) -> bool:
    """Whether no request can be taken before somebody mends the credentials or the URL, here or there."""
    return answer.status in MENDED_STATUS or 300 <= answer.status < 400 or (answer.status == 400 and not answer.sent)


def is_refusal(answer: Answer) -> bool:
    """Whether this request will never be taken, while others may be."""
    return 400 <= answer.status < 500 and answer.status not in PASSING_STATUS and not is_wrong_place(answer)
