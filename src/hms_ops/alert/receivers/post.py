"""One HTTP request with a deadline for the whole exchange, its answer made an outcome.

The receivers, the heartbeat and the action service go through here. A timeout of a socket bounds one read, so a server
that drips a byte a second would hold a worker for ever; here every read gets only what is left until the deadline.
Answers are read up to `ANSWER_BYTES_MAX`; `body` is their beginning as one line for people, `content` all that was
read. Redirects are not followed: an alert with its credentials stays with the host configured.

Not bounded: resolving a host's name, which the C library does in its own time; a worker of one receiver waits there
for nobody else. Errors: none is raised; what went wrong stands in the answer, without a piece of the URL or of a
header: these hold tokens, and reasons go to logs, `health()`, the journal and dead letters. `sent` tells whether the
request may have reached the server, for callers that must not send twice.
"""

import base64
import email.utils
import functools
import http.client
import io
import json
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from hms_ops.alert.notification import Dead, Delivered, Outcome, Retry
from hms_ops.clock import SECOND_NS, WallAnchor
from hms_ops.escape import printable

POST_SECONDS_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 16_384
REASON_CHARS_MAX: Final = 200

# Answers from 400 to 499 that time can cure; all others are permanent.
PASSING_STATUS: Final = frozenset({408, 425, 429})

# What of a request http.client lets pass. Its own refusals quote what they refuse.
PATH: Final = re.compile(r"[!-~]+")
HEADER: Final = re.compile(r"[!-9;-~]+:[\t -~\x80-\xff]*")
WRONG_URL: Final = "the URL is wrong: give http or https, a host and a port that can be"

REAL_TIME: Final = WallAnchor()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `status` is 0 when no answer came, and then `error` says why."""

    status: int = 0
    body: str = ""
    error: str = ""
    sent: bool = True
    retry_after_seconds: float | None = None
    content: bytes = field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        said = f"HTTP {self.status} {self.body}".strip() if self.status else self.error
        return said[:REASON_CHARS_MAX]


def outcome_of(answer: Answer) -> Outcome:
    """2xx is delivered; no answer, 5xx, 408, 425 and 429 come again; the rest, redirects included, is dead at once."""
    if answer.is_success:
        return Delivered(str(answer))
    if answer.status == 0 or answer.status >= 500 or answer.status in PASSING_STATUS:
        return Retry(str(answer), answer.retry_after_seconds)
    return Dead(str(answer))


def post_json(url: str, document: Any, headers: Mapping[str, str], seconds_max: float = POST_SECONDS_MAX) -> Answer:
    """POST a document as JSON to an http or https URL; user and password in it become basic authorization."""
    send = {"Content-Type": "application/json", **headers}
    return request("POST", url, json.dumps(document).encode(), send, seconds_max)


def request(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], seconds_max: float = POST_SECONDS_MAX
) -> Answer:
    """Any request, with the deadline and the bounds of all."""
    try:
        place = urlsplit(url)
        send = {"User-Agent": "hms-ops", **authorization(place), **headers}
        connection = Connection(place, seconds_max)
    except (ValueError, http.client.InvalidURL):
        return Answer(400, WRONG_URL, sent=False)
    path = request_path(place)
    try:
        problem = problem_of(path, send)
        return Answer(400, problem, sent=False) if problem else exchange(connection, method, path, body, send)
    finally:
        connection.hang_up()


def problem_of(path: str, headers: Mapping[str, str]) -> str:
    """What http.client would refuse, quoting it; without the quotes."""
    if not PATH.fullmatch(path):
        return "the URL is wrong: its path or query holds a blank, a control character or one beyond ASCII"
    wrong = [name for name, value in headers.items() if not HEADER.fullmatch(f"{name}:{value}")]
    return f"the header {printable(wrong[0])[:50]!r} is wrong: it holds a character that none may have" if wrong else ""


def exchange(
    connection: "Connection", method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> Answer:
    try:
        connection.connect()
    except OSError as error:
        return Answer(error=f"cannot connect: {describe(error)}", sent=False)
    except UnicodeError:  # a host that can be no name
        return Answer(400, WRONG_URL, sent=False)
    try:
        connection.request(method, path, body, {**headers, "Connection": "close"})
        response = connection.getresponse()
    except (ValueError, http.client.InvalidURL):  # nothing is sent yet
        return Answer(400, "the URL or a header is wrong", sent=False)
    except (OSError, http.client.HTTPException) as error:
        return Answer(error=f"no answer: {describe(error)}")
    content = read_content(response)
    after_seconds = retry_after_seconds(response.headers)
    return Answer(response.status, one_line(content), retry_after_seconds=after_seconds, content=content)


def read_content(response: http.client.HTTPResponse) -> bytes:
    """The beginning of the answer; the status has decided already, so a broken body changes nothing."""
    try:
        return response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException):
        return b""


def one_line(content: bytes) -> str:
    """The beginning of an answer as people read it."""
    words = content[: REASON_CHARS_MAX * 8].decode("utf-8", "replace").split()
    return "".join(char if char.isprintable() else "?" for char in " ".join(words))[:REASON_CHARS_MAX]


def retry_after_seconds(headers: Message) -> float | None:
    """Retry-After in seconds; a date counts from the answer's own Date, so no clock needs to agree with another."""
    wanted = headers.get("Retry-After", "").strip()
    if wanted.isascii() and wanted.isdigit():
        return float(wanted[:9])
    try:
        until = email.utils.parsedate_to_datetime(wanted)
        answered = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - answered).total_seconds())
    except (ValueError, TypeError):
        return None


def request_path(place: SplitResult) -> str:
    return (place.path or "/") + (f"?{place.query}" if place.query else "")


def authorization(place: SplitResult) -> dict[str, str]:
    if place.username is None:
        return {}
    pair = f"{unquote(place.username)}:{unquote(place.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return f"{error}" or type(error).__name__


class Connection(http.client.HTTPConnection):
    """An HTTP or HTTPS connection whose sends and reads all end by one deadline."""

    def __init__(self, place: SplitResult, seconds_max: float) -> None:
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError("not an http or https URL with a host")
        self.tls = place.scheme == "https"
        self.deadline_ns = REAL_TIME.now_ns() + int(seconds_max * SECOND_NS)
        self.open_socket: socket.socket | None = None
        super().__init__(place.hostname, place.port or (443 if self.tls else 80))

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), remaining_seconds(self.deadline_ns))
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(remaining_seconds(self.deadline_ns))
            secured = tls_context().wrap_socket(plain, server_hostname=self.host) if self.tls else plain
        except BaseException:
            plain.close()
            raise
        # http.client only calls sendall, makefile and close of its socket.
        self.open_socket = secured
        self.sock = DeadlineSocket(secured, self.deadline_ns)

    def hang_up(self) -> None:
        """Close the socket itself: http.client closes it once it has the headers, when the body is still to be read."""
        self.close()
        if self.open_socket is not None:
            self.open_socket.close()


def remaining_seconds(deadline_ns: int) -> float:
    """What is left, as a socket's timeout; TimeoutError when nothing is (0 would mean non-blocking)."""
    left = (deadline_ns - REAL_TIME.now_ns()) / SECOND_NS
    if left <= 0:
        raise TimeoutError
    return left


class DeadlineSocket:
    """The three calls http.client makes of a socket, each with the time that is left."""

    def __init__(self, plain: socket.socket, deadline_ns: int) -> None:
        self.plain = plain
        self.deadline_ns = deadline_ns

    def sendall(self, data: bytes) -> None:
        self.plain.settimeout(remaining_seconds(self.deadline_ns))
        self.plain.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(DeadlineReader(self.plain, self.deadline_ns))

    def close(self) -> None:
        """Not yet: see `Connection.hang_up`."""


class DeadlineReader(io.RawIOBase):
    def __init__(self, plain: socket.socket, deadline_ns: int) -> None:
        self.plain = plain
        self.deadline_ns = deadline_ns

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.plain.settimeout(remaining_seconds(self.deadline_ns))
        return self.plain.recv_into(buffer)


@functools.cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


Post = Callable[[str, Any, Mapping[str, str]], Answer]
