"""Mail through real SMTP servers on loopback: what arrives, how it is secured, and what becomes of every refusal."""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.mailing import certified, mailing, scripted, talking

from hms_ops.alert.notification import Alert, Dead, Delivered, Notification, Profile, Retry
from hms_ops.alert.receivers import mail
from hms_ops.alert.receivers.mail import MailServer
from hms_ops.alert.receivers.message import Template
from hms_ops.secret import Secret

ALERT = Alert(
    "finance.latency_high",
    "firing",
    215.4,
    {"agency": "irs"},
    since=1_700_000_000.0,
    episode=7,
    rule_text="avg(finance.api_ms) > 200",
    annotations={"summary": "{agency} is slow", "runbook": "https://wiki/<{agency}>"},
)
FIRING = Notification((ALERT,), "email:cio@agency.gov", "k" * 32, created=1_700_000_100.0)


def profile_of(port: int, template: Template | None = None, **settings: Any) -> Profile:
    server = MailServer("127.0.0.1", port, "ops@agency.gov", **settings)
    return Profile(options={"email": server} | ({"template": template} if template else {}))


def login(password: str = "pass word") -> dict[str, Secret]:
    return {"user": Secret("ops", "***"), "password": Secret(password, "***")}


# ---- what arrives


def test_a_mail_has_a_text_and_a_page_and_names_its_episode() -> None:
    with mailing() as server:
        assert mail.send("cio@agency.gov", FIRING, profile_of(server.port)) == Delivered("SMTP 250 taken")
    (got,) = server.mails
    message = got.message
    assert (got.sender, got.receivers) == ("ops@agency.gov", ["cio@agency.gov"])
    assert (message["From"], message["To"]) == ("HMS-OPS <ops@agency.gov>", "cio@agency.gov")
    assert message["Subject"] == "FIRING irs is slow"
    assert message["Message-ID"] == f"<{'k' * 32}@agency.gov>"
    assert message["References"] == message["In-Reply-To"] == f"<{FIRING.dedup_key}.episode@agency.gov>"
    assert message["Date"] == "Tue, 14 Nov 2023 22:15:00 -0000"
    assert message["Auto-Submitted"] == "auto-generated"
    text, page = message.iter_parts()
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    lines = text.get_content().splitlines()
    assert "  condition: avg(finance.api_ms) > 200" in lines
    assert "  runbook: https://wiki/<irs>" in lines
    assert "https://wiki/&lt;irs&gt;" in page.get_content()


def test_all_mails_of_an_episode_are_one_thread_and_each_is_a_mail_of_its_own() -> None:
    resolved = replace(FIRING, alerts=(replace(ALERT, state="resolved"),), idempotency_key="r" * 32)
    with mailing() as server:
        for notification in (FIRING, resolved):
            mail.send("cio@agency.gov", notification, profile_of(server.port))
    first, second = (got.message for got in server.mails)
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]
    assert second["Subject"] == "RESOLVED irs is slow"


def test_a_template_words_the_mail_and_no_tag_can_forge_a_header() -> None:
    sly = replace(ALERT, tags={"agency": "irs\r\nBcc: all@agency.gov\r\n\r\nhello"})
    template = Template("{agency}\nsays", "{count} alert\n{agency}")
    with mailing() as server:
        outcome = mail.send("a@b.gov", replace(FIRING, alerts=(sly,)), profile_of(server.port, template))
    assert isinstance(outcome, Delivered)
    message = server.mails[0].message
    assert message["Subject"] == "irs\\x0d\\x0aBcc: all@agency.gov\\x0d\\x0a\\x0d\\x0ahello says"
    assert message["Bcc"] is None
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[0] == "1 alert"


def test_a_subject_in_any_alphabet_arrives() -> None:
    named = replace(ALERT, tags={"agency": "Σ Агентство 🚨"})
    with mailing() as server:
        mail.send("a@b.gov", replace(FIRING, alerts=(named,)), profile_of(server.port))
    assert server.mails[0].message["Subject"] == "FIRING Σ Агентство 🚨 is slow"


# ---- how it is secured


def test_starttls_with_a_login(tmp_path: Path) -> None:
    trusted = certified(tmp_path)
    with mailing(starttls=trusted.context, wants_login=True) as server:
        profile = profile_of(server.port, tls="starttls", ca=trusted.ca, **login())
        assert isinstance(mail.send("a@b.gov", FIRING, profile), Delivered)
    assert (server.mails[0].was_secured, server.mails[0].user) == (True, "ops")


def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    trusted = certified(tmp_path)
    with mailing(tls=trusted.context) as server:
        outcome = mail.send("a@b.gov", FIRING, profile_of(server.port, tls="tls", ca=trusted.ca))
    assert isinstance(outcome, Delivered)
    assert server.mails[0].was_secured


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_gets_no_mail(tls: str, tmp_path: Path) -> None:
    context = certified(tmp_path).context
    with mailing(**{tls: context}) as server:
        outcome = mail.send("a@b.gov", FIRING, profile_of(server.port, tls=tls))
    assert isinstance(outcome, Retry)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    assert server.mails == []


def test_a_certificate_of_another_host_gets_no_mail(tmp_path: Path) -> None:
    other = certified(tmp_path, "elsewhere.gov")
    with mailing(starttls=other.context) as server:
        outcome = mail.send("a@b.gov", FIRING, profile_of(server.port, tls="starttls", ca=other.ca))
    assert isinstance(outcome, Retry)
    assert server.mails == []


def test_a_server_without_starttls_gets_neither_mail_nor_password() -> None:
    with mailing() as server:
        outcome = mail.send("a@b.gov", FIRING, profile_of(server.port, tls="starttls", **login()))
    assert isinstance(outcome, Retry)
    assert "STARTTLS" in outcome.reason
    assert server.mails == []


def test_a_wrong_password_is_dead_and_not_told(tmp_path: Path) -> None:
    trusted = certified(tmp_path)
    with mailing(starttls=trusted.context, wants_login=True) as server:
        profile = profile_of(server.port, tls="starttls", ca=trusted.ca, **login("secret-9"))
        outcome = mail.send("a@b.gov", FIRING, profile)
    assert isinstance(outcome, Dead)
    assert outcome.reason.startswith("SMTP 535 ")
    assert "secret-9" not in outcome.reason + repr(profile)


@pytest.mark.parametrize(
    ("server", "security", "port"),
    [
        (MailServer("smtp.gov"), "starttls", 587),
        (MailServer("smtp.gov", 465), "tls", 465),
        (MailServer("smtp.gov", tls="tls"), "tls", 465),
        (MailServer("smtp.gov", 25), "starttls", 25),
        (MailServer("smtp.gov", tls="none"), "none", 25),
        (MailServer("localhost"), "none", 25),
        (MailServer("127.0.0.1", tls="starttls"), "starttls", 587),
        (MailServer("::1", 2525), "none", 2525),
    ],
)
def test_mail_is_secured_unless_it_stays_here_or_that_was_asked_for(
    server: MailServer, security: str, port: int
) -> None:
    assert (server.security, server.port_used) == (security, port)


# ---- what becomes of refusals


@pytest.mark.parametrize(
    ("to_receiver", "to_data", "expected"),
    [
        ("550 no such user", "", Dead("SMTP 550 no such user")),
        ("450 busy, come back", "", Retry("SMTP 450 busy, come back")),
        ("", "552 too much", Dead("SMTP 552 too much")),
        ("", "451 disk full", Retry("SMTP 451 disk full")),
    ],
)
def test_5xx_is_for_ever_and_4xx_comes_again(to_receiver: str, to_data: str, expected: Dead | Retry) -> None:
    with mailing() as server:
        server.to_receiver, server.to_data = to_receiver, to_data
        assert mail.send("a@b.gov", FIRING, profile_of(server.port)) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["421 closing"], Retry("SMTP 421 closing")),
        (["554 not you"], Dead("SMTP 554 not you")),
        (["220 hello", "550 no", "550 no"], Dead("SMTP 550 no")),
        (["220 hello", "250 hi", "530 login first"], Dead("SMTP 530 login first")),
        (["220 hello", "250 hi", "421 going down"], Retry("SMTP 421 going down")),
        (["220 hello", "250 hi", "250 ok", "250 ok", "554 no data"], Dead("SMTP 554 no data")),
    ],
)
def test_a_refusal_at_any_step_is_taken_by_its_code(answers: list[str], expected: Dead | Retry) -> None:
    with talking(scripted(*answers)) as port:
        assert mail.send("a@b.gov", FIRING, profile_of(port)) == expected


@pytest.mark.parametrize(
    "answers", [["nonsense"], ["220 hello"], ["220 hello", "250 hi", "250 ok", "250 ok", "354 go"]]
)
def test_a_dialogue_that_breaks_off_comes_again(answers: list[str]) -> None:
    with talking(scripted(*answers)) as port:
        assert isinstance(mail.send("a@b.gov", FIRING, profile_of(port)), Retry)


def test_a_mail_that_was_taken_is_delivered_however_the_server_says_good_bye() -> None:
    def talk(connection: socket.socket, released: threading.Event) -> None:
        with connection.makefile("rb") as lines:
            for answer in (b"220 hello", b"250 hi", b"250 ok", b"250 ok", b"354 go"):
                connection.sendall(answer + b"\r\n")
                lines.readline()
            while lines.readline() != b".\r\n":
                pass
            connection.sendall(b"250 taken\r\n")

    with talking(talk) as port:
        assert mail.send("a@b.gov", FIRING, profile_of(port)) == Delivered("SMTP 250 taken")


def hang(connection: socket.socket, released: threading.Event) -> None:
    released.wait(30)


def drip(connection: socket.socket, released: threading.Event) -> None:
    while not released.wait(0.02):
        connection.sendall(b"2")


def talk_on(connection: socket.socket, released: threading.Event) -> None:
    while not released.is_set():
        connection.sendall(b"220-and another thing\r\n" * 100)


def stop_reading(connection: socket.socket, released: threading.Event) -> None:
    """Greets and takes everything up to the mail's data, then reads no more."""
    connection.sendall(b"220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 go\r\n")
    released.wait(30)


@pytest.mark.parametrize("talk", [hang, drip, talk_on, stop_reading])
def test_a_server_that_never_ends_costs_no_more_than_the_deadline(
    talk: Callable[[socket.socket, threading.Event], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "MAIL_SECONDS_MAX", 0.4)
    big = replace(FIRING, alerts=(replace(ALERT, reason="x" * 5000),))
    with talking(talk) as port:
        began = time.monotonic()
        outcome = mail.send("a@b.gov", big, profile_of(port))
        assert time.monotonic() - began < 5
    assert isinstance(outcome, Retry)


def test_an_endless_answer_is_read_up_to_a_bound() -> None:
    with talking(talk_on) as port:
        outcome = mail.send("a@b.gov", FIRING, profile_of(port))
    assert isinstance(outcome, Retry)
    assert f"the server said more than {mail.DIALOGUE_BYTES_MAX:,} bytes" in outcome.reason


def test_nobody_listening_comes_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = mail.send("a@b.gov", FIRING, profile_of(taken.getsockname()[1]))
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("ConnectionRefusedError: ")


def test_a_profile_that_is_none_is_dead() -> None:
    assert isinstance(mail.send("a@b.gov", FIRING, None), Dead)
    assert isinstance(mail.send("a@b.gov", FIRING, Profile("http://h/")), Dead)
