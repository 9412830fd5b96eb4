"""`email:cio@agency.gov`: a mail through the SMTP server of the profile `email`.

    receivers:
      email:
        email: {host: smtp.agency.gov, from: ops@agency.gov, user: ops, password: "${env:SMTP_PASSWORD}"}

`tls` is `starttls`, `tls` (from the first byte), or `none`. Without it: `tls` on port 465, `none` on loopback, else
`starttls`, which is demanded and not merely tried: a server that does not offer it gets no mail. `none` elsewhere has
to be asked for, and then no password is sent. `ca` is a file of certificates, trusted instead of the system's.

A mail is text and a small HTML. Message-ID is made of the idempotency key, so that what a broken connection sent twice
is one mail to who looks; all mails of an episode refer to one thread. Answers of 5xx are dead, those of 4xx come again,
as do broken connections, wrong certificates, and a server without STARTTLS. Source: RFC 5321.

One deadline for the whole dialogue (MAIL_SECONDS_MAX), DIALOGUE_BYTES_MAX of answers; a server that drips or talks
without end gets no more. Not bounded: resolving the host's name, as in `post`.
"""

import contextlib
import html
import io
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final

from hms_ops.alert.notification import Dead, Delivered, Notification, Outcome, Profile, Retry
from hms_ops.alert.receivers.message import Message, message_of
from hms_ops.alert.receivers.post import REAL_TIME, REASON_CHARS_MAX, DeadlineReader, one_line, remaining_seconds
from hms_ops.alert.receivers.section import FILE
from hms_ops.clock import SECOND_NS
from hms_ops.quantity import is_loopback
from hms_ops.secret import HIDDEN_TEXT, Secret
from hms_ops.setting import choice, plain, setting, whole

MAIL_SECONDS_MAX: Final = 15.0  # a dialogue has a dozen round trips, and servers that greet late on purpose
DIALOGUE_BYTES_MAX: Final = 64 * 1024
TLS_PORT: Final = 465
SUBMISSION_PORT: Final = 587
RELAY_PORT: Final = 25

# What a mailbox may look like here: no quoted names, no comments, nothing that could begin an option or a header.
MAILBOX: Final = re.compile(
    r"[A-Za-z0-9_+=][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{0,63}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})\Z"
)


def convert_mailbox(value: Any) -> str:
    if not isinstance(value, str) or not MAILBOX.match(value):
        raise ValueError
    return value


def convert_host(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,255}", value):
        raise ValueError
    return value


@dataclass(frozen=True)
class MailServer:
    """The section `email` of a profile. `port` 0 is the usual one of its `tls`."""

    host: str = setting("", plain("a host, as in smtp.agency.gov", convert_host))
    port: int = setting(0, whole(1, 65_535))
    sender: str = setting("", plain("an address, as in ops@agency.gov", convert_mailbox), key="from")
    user: Secret | None = setting(None, HIDDEN_TEXT)
    password: Secret | None = setting(None, HIDDEN_TEXT)
    tls: str = setting("", choice("starttls", "tls", "none"))
    ca: str = setting("", FILE)

    @property
    def security(self) -> str:
        usual = "none" if is_loopback(self.host) else "starttls"
        return self.tls or ("tls" if self.port == TLS_PORT else usual)

    @property
    def port_used(self) -> int:
        return self.port or {"tls": TLS_PORT, "starttls": SUBMISSION_PORT}.get(self.security, RELAY_PORT)

    def problem(self, url: str) -> str:
        """What is wrong with the section as a whole, or ""."""
        if not self.host or not self.sender:
            return f"has no {'from' if self.host else 'host'}; give both host and from"
        if (self.user is None) != (self.password is None):
            return "has only one of user and password; give both or none"
        if self.password is not None and self.security == "none" and not is_loopback(self.host):
            return "would send its password without TLS; set tls: starttls or tls"
        return ""


def send(address: str, notification: Notification, profile: Profile | None) -> Outcome:
    """Hand one mail for `address` to the server."""
    server = profile.options.get("email") if profile else None
    if not isinstance(server, MailServer):
        return Dead("no mail server is configured; set receivers.email.email")
    mail = mail_of(address, server.sender, notification, message_of(notification, profile))
    return outcome_of(lambda: deliver(server, address, mail))


def mail_of(address: str, sender: str, notification: Notification, message: Message) -> EmailMessage:
    domain = sender.partition("@")[2]
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = Address("HMS-OPS", addr_spec=sender)
    mail["To"] = Address(addr_spec=address)
    mail["Date"] = formatdate(notification.created or REAL_TIME.now_ns() / SECOND_NS)
    mail["Message-ID"] = f"<{notification.idempotency_key}@{domain}>"
    mail["References"] = mail["In-Reply-To"] = f"<{notification.dedup_key}.episode@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday answers, please
    mail["X-Idempotency-Key"] = notification.idempotency_key
    mail.set_content(message.text)
    mail.add_alternative(page(message), subtype="html")
    return mail


def page(message: Message) -> str:
    """The text as HTML: paragraphs where it has empty lines, nothing that loads or runs."""
    parts = (html.escape(part).replace("\n", "<br>\n") for part in message.text.split("\n\n"))
    paragraphs = "\n".join(f"<p>{part}</p>" for part in parts)
    return f"<html><body>\n<h3>{html.escape(message.title)}</h3>\n{paragraphs}\n</body></html>\n"


def outcome_of(act: Callable[[], str]) -> Outcome:
    """Every way a dialogue can end, as an outcome."""
    try:
        return Delivered(act())
    except smtplib.SMTPRecipientsRefused as refused:
        code, said = next(iter(refused.recipients.values()))
        return refusal(code, said)
    except smtplib.SMTPResponseException as error:
        return refusal(error.smtp_code, error.smtp_error)
    except (OSError, smtplib.SMTPException) as error:  # smtplib's own are OSErrors too; named, for that is an accident
        return Retry(f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX])
    except ValueError as error:
        return Dead(f"the mail cannot be written: {error}"[:REASON_CHARS_MAX])


def refusal(code: int, said: bytes | str) -> Outcome:
    """What the server said no with: 5xx is for ever; -1 is an answer that is none."""
    text = one_line(said if isinstance(said, bytes) else said.encode("utf-8", "replace"))
    reason = f"SMTP {code} {text}".strip()[:REASON_CHARS_MAX]
    return Dead(reason) if 500 <= code < 600 else Retry(reason)


def deliver(server: MailServer, address: str, mail: EmailMessage) -> str:
    """The whole dialogue; returns what the server said when it took the mail."""
    session = Session(server)
    try:
        session.begin()
        if server.password is not None and server.user is not None:
            session.login(server.user.value, server.password.value)
        session.send_message(mail, server.sender, [address])
        said = session.accepted
        # It has taken the mail: how it says good-bye changes nothing.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            session.quit()
        return said
    finally:
        session.close()


class Session(smtplib.SMTP):
    """An SMTP dialogue that ends by one deadline. `accepted`: the answer to the mail's data."""

    def __init__(self, server: MailServer) -> None:
        self.server = server
        self.deadline_ns = REAL_TIME.now_ns() + int(MAIL_SECONDS_MAX * SECOND_NS)
        self.accepted = ""
        self.heard_bytes = 0
        # The default asks a resolver for our own name, which can take longer than the mail.
        super().__init__(local_hostname=socket.gethostname() or "localhost")
        self._host = server.host  # whom STARTTLS has to prove itself as; smtplib sets it only where it connects at once

    def begin(self) -> None:
        """Connect, greet, and secure the connection as the configuration says."""
        code, said = self.connect(self.server.host, self.server.port_used)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self.server.security == "starttls":
            self.ehlo_or_helo_if_needed()
            self.restart_clock()
            self.starttls(context=tls_context(self.server.ca))
        self.ehlo_or_helo_if_needed()

    def restart_clock(self) -> None:
        """Give the socket what is left: smtplib's own calls know one timeout for each read."""
        assert self.sock is not None
        self.sock.settimeout(remaining_seconds(self.deadline_ns))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain_socket = socket.create_connection((host, port), remaining_seconds(self.deadline_ns))
        plain_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a mail waits 40 ms for nothing
        if self.server.security != "tls":
            return plain_socket
        try:
            plain_socket.settimeout(remaining_seconds(self.deadline_ns))
            return tls_context(self.server.ca).wrap_socket(plain_socket, server_hostname=host)
        except BaseException:
            plain_socket.close()
            raise

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.restart_clock()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(BoundedReader(self, self.sock))
        return super().getreply()

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, said = super().data(msg)
        self.accepted = f"SMTP {code} {one_line(said)}".strip()[:REASON_CHARS_MAX]
        return code, said


class BoundedReader(DeadlineReader):
    """What the server says, until the deadline and up to DIALOGUE_BYTES_MAX in all."""

    def __init__(self, session: Session, plain: socket.socket) -> None:
        super().__init__(plain, session.deadline_ns)
        self.session = session

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.session.heard_bytes += count
        if self.session.heard_bytes > DIALOGUE_BYTES_MAX:
            raise OSError(f"the server said more than {DIALOGUE_BYTES_MAX:,} bytes")
        return count


def tls_context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca or None)
