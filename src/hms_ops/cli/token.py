"""`token`: make a bearer token, hash one that another program made, list those of an engine.yaml.

The token is printed once and kept nowhere: engine.yaml has its hash only. Nothing here asks a running engine.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hms_ops.cli.options import json_option, show_json, show_table
from hms_ops.errors import HmsOpsError
from hms_ops.quantity import parse_duration

if TYPE_CHECKING:
    from hms_ops.http.token import Token

SCOPES: Final = ("ingest", "read", "silence", "admin")  # token.py's, which a test compares: --help imports nothing
EXPIRES_DEFAULT: Final = "365d"
EXPIRES_SECONDS_MAX: Final = 3660 * 86_400.0
NEVER: Final = "never"
ENDING: Final = 1
READ_CHARS_MAX: Final = 8192

Expiry = float | None


class ExpiryType(click.ParamType[Expiry]):
    """A duration from now, a date, a time, or never; as Unix seconds."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expiry:
        from hms_ops.http.token import parse_expiry

        now = time.time()
        if value == NEVER:
            return None
        try:
            ends = now + parse_duration(value) if value[-1:].isalpha() and value[-1] != "Z" else parse_expiry(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; give 90d, 2027-06-30, 2027-06-30T12:00:00Z or {NEVER}", param, ctx)
        if not now < ends < now + EXPIRES_SECONDS_MAX:
            self.fail(f"{value!r} is over already, or more than ten years away; say {NEVER}", param, ctx)
        # A duration of days ends with the last of them.
        return (ends // 86_400 + 1) * 86_400 if value[-1:] in ("d", "w") else float(int(ends))


class NameType(click.ParamType[str]):
    """A token's name."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from hms_ops.http.token import NAME, NO_NAME

        if not NAME.match(value):
            self.fail(f"{value!r} is no name; {NO_NAME}", param, ctx)
        return str(value)


@click.group()
def token() -> None:
    """Who may ask the engine over HTTP: make tokens, hash them, list them.

    \b
    Examples:
      hms-ops-engine token new --name grafana --scope read --expires 90d
      hms-ops-engine token list /etc/hms-ops/engine.yaml
    """


NAME_OPTION: Final = click.option(
    "--name", required=True, type=NameType(), help="Who will use it; stands in the audit log."
)
SCOPE_OPTION: Final = click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; several times for several. admin includes all.",
)
EXPIRES_OPTION: Final = click.option(
    "--expires",
    type=ExpiryType(),
    default=EXPIRES_DEFAULT,
    show_default=True,
    help="For how long (90d), the last day (2027-06-30), a time, or never.",
)


@token.command()
@NAME_OPTION
@SCOPE_OPTION
@EXPIRES_OPTION
@json_option
def new(name: str, scopes: tuple[str, ...], expires: Expiry, as_json: bool) -> None:
    """Make a token of 256 random bits: printed once, with the lines for engine.yaml that have only its hash.

    Put the lines under http_tokens, and reload the engine (systemctl reload, or SIGHUP).

    \b
    Examples:
      hms-ops-engine token new --name grafana --scope read --expires 90d
      hms-ops-engine token new --name ann --scope read --scope silence --expires 12h --json
    """
    from hms_ops.http.token import new_text

    text = new_text()
    entry = entry_of(text, name, scopes, expires)
    if as_json:
        show_json({"token": text, "entry": entry, "expires": expires})
        return
    click.echo("The token, which is shown only now:\n", err=True)
    click.echo(text)
    tell_entry(entry, to_stderr=True)


@token.command(name="hash")
@NAME_OPTION
@SCOPE_OPTION
@EXPIRES_OPTION
@json_option
def hash_(name: str, scopes: tuple[str, ...], expires: Expiry, as_json: bool) -> None:
    """Hash a token that another program made, read from standard input; exits 1 for one that can be guessed.

    A hash is as safe as the token is hard to guess, so only random ones of 256 bits are taken: 43 letters of
    base64, 64 hexadecimal digits, or more.

    \b
    Examples:
      openssl rand -hex 32 | tee token | hms-ops-engine token hash --name probe --scope read
      vault kv get -field=token secret/ops | hms-ops-engine token hash --name ci --scope ingest --expires never
    """
    from hms_ops.http.token import weakness

    text = sys.stdin.read(READ_CHARS_MAX).strip()
    if reason := weakness(text):
        raise HmsOpsError(f"the token is not hashed: {reason}")
    entry = entry_of(text, name, scopes, expires)
    if as_json:
        show_json({"entry": entry, "expires": expires})
        return
    tell_entry(entry, to_stderr=False)


def entry_of(text: str, name: str, scopes: tuple[str, ...], expires: Expiry) -> dict[str, Any]:
    from hms_ops.http.token import digest_of, expiry_shown

    entry: dict[str, Any] = {"name": name, "sha256": digest_of(text).hex(), "scopes": list(dict.fromkeys(scopes))}
    return entry if expires is None else {**entry, "expires": expiry_shown(expires)}


def tell_entry(entry: dict[str, Any], *, to_stderr: bool) -> None:
    """The lines for engine.yaml; on standard error where standard output has the token."""
    scopes = ", ".join(entry["scopes"])
    # In quotes: YAML takes a name of digits, and one hash in a great many, for a number.
    lines = [f'  - name: "{entry["name"]}"', f'    sha256: "{entry["sha256"]}"', f"    scopes: [{scopes}]"]
    if "expires" in entry:
        lines.append(f"    expires: {entry['expires']}")
    click.echo("\n".join(["\nFor engine.yaml:\n", "http_tokens:", *lines] if to_stderr else lines), err=to_stderr)


@token.command(name="list")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def list_(file: Path, as_json: bool) -> int:
    """List the tokens of an engine.yaml, with what they may do and how long; exits 1 when any has expired or will
    within two weeks.

    \b
    Examples:
      hms-ops-engine token list /etc/hms-ops/engine.yaml
      hms-ops-engine token list engine.yaml --json
    """
    from hms_ops.config import load

    now = time.time()
    found = [document(one, now) for one in load(file).http_tokens]
    if as_json:
        show_json({"tokens": found})
    elif found:
        header = ("NAME", "SCOPES", "EXPIRES", "STATE", "AT")
        show_table([header, *(row_of(one) for one in found)])
    else:
        click.echo("no tokens", err=True)
    return ENDING if any(one["state"] != "fine" for one in found) else 0


def document(one: "Token", now: float) -> dict[str, Any]:
    state = "expired" if one.is_over(now) else "ending" if one.is_ending(now) else "short" if one.is_short else "fine"
    scopes = [scope for scope in SCOPES if scope in one.scopes]
    return {"name": one.name, "scopes": scopes, "expires": one.expires, "state": state, "where": one.where}


def row_of(one: dict[str, Any]) -> tuple[str, ...]:
    from hms_ops.http.token import expiry_text

    scopes = "admin" if "admin" in one["scopes"] else " ".join(one["scopes"])
    return one["name"] or "(a secret in full)", scopes, expiry_text(one["expires"]), one["state"], one["where"]
