"""Mail servers on loopback: aiosmtpd, with TLS and logins, and one that says what a test wants, line by line."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mail:
    """One mail as the server took it."""

    sender: str
    receivers: list[str]
    message: EmailMessage
    was_secured: bool
    user: str


@dataclass
class Mailing:
    """The server: what it took, and what it answers to whom; "" takes the mail."""

    port: int
    mails: list[Mail] = field(default_factory=list)
    to_receiver: str = ""
    to_data: str = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if not self.to_receiver:
            envelope.rcpt_tos.append(address)
        return self.to_receiver or "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        user = session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else ""
        secured = session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None
        if not self.to_data:
            self.mails.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), message, secured, user))
        return self.to_data or "250 taken"


def knows(server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
    is_right = login == LoginPassword(b"ops", b"pass word")
    return AuthResult(success=is_right, handled=False, auth_data=login)


@dataclass(frozen=True)
class Certified:
    """A certificate for localhost, and the file of who signed it."""

    context: ssl.SSLContext
    ca: str


def certified(directory: Path, *names: str) -> Certified:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    path = directory / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return Certified(context, str(path))


@contextmanager
def mailing(
    starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, wants_login: bool = False
) -> Iterator[Mailing]:
    """A real SMTP server in a thread, on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = Mailing(listener.getsockname()[1])
    loop = asyncio.new_event_loop()
    made: list[SMTP] = []

    def protocol() -> SMTP:
        made.append(
            SMTP(
                served,
                hostname="localhost",
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=knows,
                auth_required=wants_login,
                auth_require_tls=starttls is not None,
                loop=loop,
            )
        )
        return made[-1]

    server = loop.run_until_complete(loop.create_server(protocol, sock=listener, ssl=tls))
    thread = threading.Thread(target=loop.run_forever, name="mailing")
    thread.start()

    async def end() -> None:
        server.close()
        for one in made:
            if one.transport is not None:
                one.transport.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    try:
        yield served
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@contextmanager
def talking(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server whose one connection is handed to `talk`, with an event that is set when the test is over."""
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # the client may leave
                talk(connection, released)

        thread = threading.Thread(target=serve, name="talking")
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            released.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def scripted(*answers: str) -> Callable[[socket.socket, threading.Event], None]:
    """Greets with the first answer and gives each next one to the next line; then hangs up."""

    def talk(connection: socket.socket, released: threading.Event) -> None:
        with connection.makefile("rb") as lines:
            for answer in answers:
                connection.sendall(answer.encode() + b"\r\n")
                if not lines.readline():
                    return

    return talk
