"""The `receivers:` of a configuration: sections, templates, secrets nobody sees, and mistakes with their line."""

from pathlib import Path
from typing import Any

import pytest

from hms_ops.alert.notification import Profile
from hms_ops.alert.receivers import parse_target, route
from hms_ops.alert.receivers.mail import MailServer
from hms_ops.alert.receivers.message import Template
from hms_ops.alert.receivers.slack import SlackAccount
from hms_ops.config import effective, load
from hms_ops.errors import ConfigError
from hms_ops.profiles import template_warnings

TEXT = """
receivers:
  ops: {url: "https://me:pw-1@pager/x", headers: {X-Key: key-2}, template: {title: "{state}: {name}"}}
  email:
    email: {host: smtp.gov, port: 2525, from: ops@agency.gov, tls: tls, ca: ca.pem, user: user-3,
            password: "${env:MAIL}"}
  slack: {slack: {token: "${file:token}"}}
  hook: {url: "https://hooks.slack.com/services/url-6", slack: {}}
"""
SECRETS = ("pw-1", "key-2", "user-3", "password-4", "token-5", "url-6")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAIL", "password-4")
    (tmp_path / "token").write_text("token-5\n")
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "engine.yaml").write_text(TEXT)
    return tmp_path / "engine.yaml"


def problems_of(receivers: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load({"receivers": receivers})
    return list(raised.value.problems)


def test_sections_are_read_with_their_references(written: Path) -> None:
    profiles = load(written).profiles()
    server = profiles["email"].options["email"]
    assert isinstance(server, MailServer)
    assert (server.host, server.port, server.sender, server.security) == ("smtp.gov", 2525, "ops@agency.gov", "tls")
    assert server.password is not None
    assert server.password.value == "password-4"
    assert server.ca == str(written.parent / "ca.pem")
    account = profiles["slack"].options["slack"]
    assert isinstance(account, SlackAccount)
    assert account.token is not None
    assert account.token.value == "token-5"
    assert profiles["ops"].options["template"] == Template("{state}: {name}")
    assert profiles["ops"].url == "https://me:pw-1@pager/x"


def test_nothing_secret_is_shown(written: Path) -> None:
    config = load(written)
    shown = effective(config)["receivers"]
    assert shown["ops"] == {
        "url": "https://me:***@pager/x",
        "headers": {"X-Key": "***"},
        "template": {"title": "{state}: {name}"},
    }
    assert (shown["email"]["email"]["user"], shown["email"]["email"]["password"]) == ("***", "***")
    assert shown["email"]["email"]["host"] == "smtp.gov"
    assert shown["slack"] == {"slack": {"token": "***"}}
    assert shown["hook"] == {"url": "***", "slack": {"token": None}}
    told = repr(config) + repr(shown) + repr(config.profiles())
    assert [secret for secret in SECRETS if secret in told] == []


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "receivers.x has no url"),
    ({"url": "ftp://x"}, "receivers.x.url is 'ftp://x'; give http://HOST"),
    ({"emial": {}}, "unknown key 'emial', did you mean 'email'?"),
    ({"email": {}}, "receivers.x.email has no host"),
    ({"email": {"host": "h"}}, "receivers.x.email has no from"),
    ({"email": {"host": "h", "from": "me"}}, "receivers.x.email.from is 'me'; give an address"),
    ({"email": {"host": "a b", "from": "a@b"}}, "receivers.x.email.host is 'a b'; give a host"),
    ({"email": {"host": "h", "from": "a@b", "port": 0}}, "receivers.x.email.port is 0; give a whole number from 1"),
    ({"email": {"host": "h", "from": "a@b", "tls": "yes"}}, "give starttls or tls or none"),
    ({"email": {"host": "h", "from": "a@b", "user": "u"}}, "has only one of user and password"),
    (
        {"email": {"host": "h", "from": "a@b", "user": "u", "password": "p", "tls": "none"}},
        "would send its password without TLS",
    ),
    ({"email": {"host": "h", "from": "a@b", "ca": "/nowhere/ca.pem"}}, "there is no file '/nowhere/ca.pem'"),
    ({"email": {"host": "h", "from": "a@b", "password": "${env:NOWHERE_1}"}}, "no variable 'NOWHERE_1'"),
    ({"slack": {}}, "receivers.x.slack has neither a token nor a url"),
    ({"slack": {"token": 3}}, "receivers.x.slack.token is 3; give text"),
    ({"slack": {"token": "t"}, "email": {"host": "h", "from": "a@b"}}, "has slack and email; a profile is for one"),
    ({"url": "http://h", "template": {"titel": "x"}}, "unknown key 'titel', did you mean 'title'?"),
    ({"url": "http://h", "template": {"title": 3}}, "receivers.x.template.title is 3; give text"),
    ({"url": "http://h", "template": "x"}, "expected keys with values"),
]


@pytest.mark.parametrize(("profile", "why"), WRONG)
def test_a_wrong_profile_is_refused(profile: dict[str, Any], why: str) -> None:
    assert [problem for problem in problems_of({"x": profile}) if why in problem] != []


def test_all_mistakes_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text("receivers:\n  a:\n    email:\n      host: h\n      port: x\n  b: {url: 3}\n")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert [problem.partition(": receivers")[0] for problem in raised.value.problems] == [f"{path}:5", f"{path}:6"]


def test_a_password_may_stay_on_this_machine_without_tls() -> None:
    given = {"host": "127.0.0.1", "from": "a@b.gov", "user": "u", "password": "p", "tls": "none"}
    assert "email" in load({"receivers": {"email": {"email": given}}}).profiles()["email"].options


def test_a_profile_for_another_receiver_is_a_warning_and_the_log() -> None:
    profiles = load({"receivers": {"ops": {"email": {"host": "h", "from": "a@b.gov"}}}}).profiles()
    served_by = route(parse_target("webhook:ops"), profiles)
    assert served_by.warning == "webhook:ops: its profile is for email; its notifications go to the log"
    assert "its profile has only a url" in route(parse_target("email:a@b.gov"), {"email": Profile("http://h/")}).warning


def test_a_name_in_a_template_that_nearly_is_a_facts_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(
        "receivers:\n  ops:\n    url: http://h/\n"
        "    template: {title: '{state} {sate}', text: '{agency} {counts} {sate}'}\n"
    )
    assert template_warnings(load(path).receivers) == [
        f"{path}:2: the template of receivers.ops takes {{sate}} for a tag; did you mean {{state}}?",
        f"{path}:2: the template of receivers.ops takes {{counts}} for a tag; did you mean {{count}}?",
    ]
