"""Tokens: as engine.yaml has them, made anew, hashed, compared, ending."""

import json
import math
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.datastructures import Headers
from tests.serving import Serving, server_of, serving

from hms_ops.cli import token as command
from hms_ops.cli.main import commands
from hms_ops.config import Config, effective, load
from hms_ops.errors import ConfigError, HmsOpsError
from hms_ops.http import token as module
from hms_ops.http.access import Access
from hms_ops.http.entrance import Entrance
from hms_ops.http.token import (
    EVERYTHING,
    SCOPES,
    SOON_SECONDS,
    TOKENS_MAX,
    Token,
    digest_of,
    find_token,
    new_text,
    parse_expiry,
    weakness,
)

DIGEST = sha256(b"x").hexdigest()
DAY = 86_400.0


def tokens_of(directory: Path, text: str) -> tuple[Token, ...]:
    file = directory / "engine.yaml"
    file.write_text(f"http_tokens:\n{text}\n")
    return load(file).http_tokens


def told(directory: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        tokens_of(directory, text)
    return refused.value.problems


# ---- engine.yaml


def test_a_token_with_a_name_scopes_and_an_end(tmp_path: Path) -> None:
    (token,) = tokens_of(tmp_path, f"- {{name: grafana, sha256: {DIGEST}, scopes: [read], expires: 2027-06-30}}")
    assert (token.name, token.digest.hex(), token.scopes) == ("grafana", DIGEST, frozenset(["read"]))
    assert token.expires == datetime(2027, 7, 1, tzinfo=UTC).timestamp()
    assert find_token([token], "x") is token


def test_admin_includes_all(tmp_path: Path) -> None:
    (token,) = tokens_of(tmp_path, f"- {{name: a, sha256: {DIGEST}, scopes: [admin]}}")
    assert (token.scopes, token.expires) == (EVERYTHING, None)


def test_a_secret_in_full_is_hashed_at_once_and_may_do_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_TOKEN", "from-the-environment")
    (tmp_path / "secret").write_text("from-a-file-here\n")
    found = tokens_of(tmp_path, "- plain-in-the-file\n- ${env:OPS_TOKEN}\n- ${file:secret}")
    texts = ("plain-in-the-file", "from-the-environment", "from-a-file-here")
    assert [find_token(found, text) for text in texts] == list(found)
    assert {token.scopes for token in found} == {EVERYTHING}
    for text in texts:
        assert text not in repr(found)
        assert text not in repr(load(tmp_path / "engine.yaml"))
        assert text.encode() not in b"".join(token.digest for token in found)


def test_a_hash_may_be_a_reference(tmp_path: Path) -> None:
    (tmp_path / "hash").write_text(DIGEST + "\n")
    (token,) = tokens_of(tmp_path, '- {name: a, sha256: "${file:hash}", scopes: [read]}')
    assert token.digest.hex() == DIGEST


def test_what_holds_is_shown_with_hashes_and_without_secrets(tmp_path: Path) -> None:
    entry = {"name": "grafana", "sha256": DIGEST, "scopes": ["ingest", "read"], "expires": "2027-06-30"}
    file = tmp_path / "engine.yaml"
    file.write_text(f"http_tokens:\n  - a-secret-in-full\n  - {json.dumps(entry)}\n")
    shown = effective(load(file))["http_tokens"]
    assert shown == ["***", entry]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- {name: a, sha256: DIGEST}", "scopes is empty; give a list of ingest, read, silence, admin"),
        ("- {name: a, sha256: DIGEST, scopes: []}", "scopes is []; give"),
        ("- {name: a, sha256: DIGEST, scopes: read}", "scopes is 'read'; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read, write]}", "scopes is ['read', 'write']; give"),
        ("- {name: a, sha256: DIGEST, scopes: [[read]]}", "scopes is [['read']]; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read], scope: 1}", "unknown key 'scope', did you mean 'scopes'?"),
        ("- {sha256: DIGEST, scopes: [read]}", "name is empty; give a name"),
        ("- {name: 'two words', sha256: DIGEST, scopes: [read]}", "name is 'two words'; give a name"),
        ('- {name: "a\\nb", sha256: DIGEST, scopes: [read]}', "; give a name"),
        ("- {name: 7, sha256: DIGEST, scopes: [read]}", "name is 7; give a name"),
        ("- {name: a, sha256: '', scopes: [read]}", "sha256 is no SHA-256"),
        ("- {name: a, sha256: hmsops_abc, scopes: [read]}", "sha256 is no SHA-256"),
        ("- {name: a, sha256: 12, scopes: [read]}", "sha256 is 12; give the SHA-256"),
        ("- {name: a, sha256: '${env:NOT_SET_ANYWHERE}', scopes: [read]}", "no variable"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: tomorrow}", "expires is 'tomorrow'; give the last day"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: 2027-02-30}", "expires is '2027-02-30'; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: 90d}", "expires is '90d'; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: 9999-12-31}", "expires is '9999-12-31'; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: 1700000000}", "expires is 1700000000; give"),
        ("- {name: a, sha256: DIGEST, scopes: [read], expires: 2027-06-30T12:00:00}", "; give the last day"),
        ("- ''", "the token is empty or not plain ASCII"),
        ("- two words", "the token is empty or not plain ASCII"),
        ("- naïve-token-of-mine", "the token is empty or not plain ASCII"),
        ("- 12345", "give text"),
        ("- [a]", "give text"),
        ("- null", "give text"),
        ("  a: b", "expected a list"),
        ("- same-token-for-two\n- same-token-for-two", "the same token stands there twice"),
        ("- {name: a, sha256: DIGEST, scopes: [read]}\n- x", "the same token stands there twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_without_the_secret(tmp_path: Path, text: str, why: str) -> None:
    (problem,) = told(tmp_path, text.replace("DIGEST", DIGEST))
    assert why in problem
    assert problem.startswith(f"{tmp_path}/engine.yaml:")
    assert "naïve-token-of-mine" not in problem
    assert "hmsops_abc" not in problem


def test_two_tokens_cannot_have_one_name(tmp_path: Path) -> None:
    other = sha256(b"y").hexdigest()
    text = f"- {{name: a, sha256: {DIGEST}, scopes: [read]}}\n- {{name: a, sha256: {other}, scopes: [read]}}"
    assert "the name a is given to 2 tokens" in told(tmp_path, text)[0]


def test_all_mistakes_of_a_list_are_told_at_once(tmp_path: Path) -> None:
    problems = told(tmp_path, "- ''\n- {name: a}\n- {name: 'b b', sha256: 1, scopes: x, expires: y, more: z}")
    assert len(problems) == 1 + 2 + 5
    assert {problem.split(":")[1] for problem in problems} == {"2", "3", "4"}


def test_tokens_are_bounded(tmp_path: Path) -> None:
    tokens_of(tmp_path, "\n".join(f"- token-number-{n}-of-many" for n in range(TOKENS_MAX)))
    (problem,) = told(tmp_path, "\n".join(f"- token-number-{n}-of-many" for n in range(TOKENS_MAX + 1)))
    assert f"more than {TOKENS_MAX} tokens" in problem


def test_short_secrets_and_tokens_that_end_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    gone = f"{{name: old, sha256: {DIGEST}, scopes: [read], expires: 2020-01-01}}"
    file.write_text(f"http_tokens:\n  - swordfish\n  - {gone}\n")
    done = run("check-config", str(file))
    assert done.exit_code == 0
    assert f"{file}:2: a token of less than 20 characters can be guessed" in done.stderr
    assert f"{file}:3: the token old has expired: 2020-01-02T00:00:00Z" in done.stderr
    assert "swordfish" not in done.output


# ---- when it ends


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-06-30", datetime(2027, 7, 1, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 3, 1, tzinfo=UTC)),
        ("2027-06-30T12:00:00Z", datetime(2027, 6, 30, 12, tzinfo=UTC)),
        ("2027-06-30T12:00:00+02:00", datetime(2027, 6, 30, 10, tzinfo=UTC)),
    ],
)
def test_a_day_lasts_to_its_end_in_utc(text: str, at: datetime) -> None:
    assert parse_expiry(text) == at.timestamp()


def test_a_token_is_over_from_its_end_on() -> None:
    token = Token(b"", expires=100.0)
    assert [token.is_over(now) for now in (99.999, 100.0, 101.0)] == [False, True, True]
    assert not Token(b"").is_over(math.inf)


def test_two_weeks_before_its_end_health_and_log_say_so(caplog: pytest.LogCaptureFixture) -> None:
    now = [1_000.0]
    token = Token(digest_of("a-token"), "grafana", EVERYTHING, expires=1_000.0 + SOON_SECONDS + 1)
    entrance = Entrance(Access(tokens=(token,)), lambda: now[0])
    given = Headers({"authorization": "Bearer a-token"})
    assert entrance.identify(given, False).name == "grafana"
    assert entrance.problems() == []
    now[0] += 2
    for _ in range(3):
        assert entrance.identify(given, False).name == "grafana"
    assert "the token grafana expires 1970-01-15T00:16:41Z" in entrance.problems()[0]
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [entrance.problems()[0].split(";")[0]]
    assert entrance.counters() | {"tokens_ending": 1} == entrance.counters()
    now[0] = token.expires or 0.0
    assert (entrance.identify(given, False).kind, entrance.counters()["tokens_expired"]) == ("token-expired", 1)
    assert "has expired" in entrance.problems()[0]
    assert len(caplog.records) == 2


def test_only_its_owner_learns_that_a_token_has_expired() -> None:
    with serving() as site:
        now = site.engine.clock.now_ns() / 1e9
        tokens = (Token(digest_of("an-old-token"), "old", EVERYTHING, expires=now - 1), Token(b"\1" * 32, "new"))
        with server_of(site.engine, tokens=tokens) as (server, url):
            owner = answer(site, url, "an-old-token")
            assert owner[:2] == (401, "urn:hms-ops:problem:token-expired")
            assert owner[2].startswith("the token old has expired: 2023-11-14T22:13:19Z")
            assert answer(site, url, "another-token")[:2] == (401, "urn:hms-ops:problem:token")
            assert "old" not in answer(site, url, "another-token")[2]
            assert (server.tally["token-expired"], server.tally["token"]) == (1, 2)


def answer(site: Serving, url: str, text: str) -> tuple[int, str, str]:
    got = site.client.get(f"{url}/v1/ledger", headers={"Authorization": f"Bearer {text}"})
    return got.status_code, got.json()["type"], got.json()["detail"]


# ---- comparison


@pytest.mark.parametrize("presented", ["token-0", "token-5", "token-9", "nobody's", "", "x" * 4096, "naïve ☃"])
def test_a_token_is_compared_with_all_whichever_it_is(monkeypatch: pytest.MonkeyPatch, presented: str) -> None:
    """No early end, and nothing but digests of one length in compare_digest: what time tells is how many there are."""
    compared: list[tuple[int, int]] = []

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(module, "compare_digest", noted)
    tokens = [Token(digest_of(f"token-{n}")) for n in range(10)]
    found = find_token(tokens, presented)
    assert compared == [(32, 32)] * 10
    assert (found is not None) == presented.startswith("token-")


def test_a_character_that_no_header_holds_is_not_taken_for_another() -> None:
    assert find_token([Token(digest_of("a?b"))], "a?b") is not None
    assert find_token([Token(digest_of("a?b"))], "a\xe9b") is None
    assert find_token([Token(digest_of("a?b"))], "a\u2603b") is None


# ---- made anew


def test_a_new_token_is_256_random_bits_and_strong() -> None:
    made = {new_text() for _ in range(2_000)}
    assert len(made) == 2_000
    assert {weakness(text) for text in made} == {""}
    assert {len(text) for text in made} == {len("hmsops_") + 43}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "swordfish",
        "correct-horse-battery-staple",
        "a" * 64,
        "ab" * 32,
        "0123456789" * 6,
        "hmsops_",
        "hmsops_" + "a" * 43,
        "hmsops_short",
        "two words " * 6,
        "password-password-password-password-password",
        "2027-06-30",
    ],
)
def test_what_can_be_guessed_is_not_hashed(text: str) -> None:
    assert weakness(text)
    done = run("token", "hash", "--name", "a", "--scope", "read", stdin=text)
    assert isinstance(done.exception, HmsOpsError)
    assert "sha256" not in done.output


def test_random_digits_of_others_are_hashed() -> None:
    text = sha256(b"seed").hexdigest()
    done = run("token", "hash", "--name", "a", "--scope", "read", "--expires", "never", stdin=text + "\n")
    assert done.stdout == f'  - name: "a"\n    sha256: "{sha256(text.encode()).hexdigest()}"\n    scopes: [read]\n'


# ---- the command


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(commands, arguments, input=stdin)


def test_a_new_token_and_the_lines_for_it_fit_together(tmp_path: Path) -> None:
    done = run("token", "new", "--name", "grafana", "--scope", "read", "--scope", "ingest", "--expires", "90d")
    text = done.stdout.strip()
    lines = done.stderr[done.stderr.index("http_tokens:") :]
    assert text not in lines
    (tmp_path / "engine.yaml").write_text(lines)
    (token,) = load(tmp_path / "engine.yaml").http_tokens
    assert find_token([token], text) is token
    assert (token.name, token.scopes) == ("grafana", frozenset(["read", "ingest"]))
    assert token.expires is not None
    assert token.expires % DAY == 0


@pytest.mark.parametrize("name", ["123", "true", "null", "1e5", "0x10", "a.b_c-d@e"])
def test_any_name_is_read_back_as_it_was_given(tmp_path: Path, name: str) -> None:
    done = run("token", "new", "--name", name, "--scope", "admin")
    (tmp_path / "engine.yaml").write_text(done.stderr[done.stderr.index("http_tokens:") :])
    assert load(tmp_path / "engine.yaml").http_tokens[0].name == name


def test_as_json_it_has_stable_keys() -> None:
    made = json.loads(run("token", "new", "--name", "a", "--scope", "read", "--json").stdout)
    assert made.keys() == {"token", "entry", "expires"}
    assert made["entry"]["sha256"] == sha256(made["token"].encode()).hexdigest()
    config: Config = load({"http_tokens": [made["entry"]]})
    assert config.http_tokens[0].expires == made["expires"]
    never = json.loads(run("token", "new", "--name", "a", "--scope", "read", "--expires", "never", "--json").stdout)
    assert (never["expires"], "expires" in never["entry"]) == (None, False)


@pytest.mark.parametrize("expires", ["", "x", "90", "2020-01-01", "-1d", "99999999999d", "2027-13-01"])
def test_an_end_that_is_none_is_wrong_usage(expires: str) -> None:
    done = run("token", "new", "--name", "a", "--scope", "read", "--expires", expires)
    assert done.exit_code == 2
    assert "hmsops_" not in done.output


def test_tokens_are_listed_with_what_ails_them(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    gone = f"{{name: old, sha256: {DIGEST}, scopes: [read, silence], expires: 2020-01-01}}"
    file.write_text(f"http_tokens:\n  - swordfish\n  - {gone}\n")
    done = run("token", "list", str(file), "--json")
    listed = json.loads(done.stdout)["tokens"]
    assert [(one["name"], one["state"], one["scopes"]) for one in listed] == [
        ("", "short", list(SCOPES)),
        ("old", "expired", ["read", "silence"]),
    ]
    table = run("token", "list", str(file)).stdout
    assert "2020-01-02T00:00:00Z" in table
    assert "swordfish" not in table


def test_the_commands_scopes_are_the_engines() -> None:
    assert command.SCOPES == SCOPES
