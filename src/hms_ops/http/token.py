"""A bearer token as the engine knows it: the SHA-256 of it, a name, what it may do and until when.

    http_tokens:
      - ${env:OPS_TOKEN}                                     a secret in full: may do everything, for ever
      - {name: grafana, sha256: "9f86…", scopes: [read], expires: 2027-06-30}

`read_tokens` reads that list for config.py; a secret in full is hashed at once, so that memory holds no token.
`expires` is a date, the token's last day in UTC, or a time as 2027-06-30T12:00:00Z. `token new` of the command line
makes both the token and its entry.

Why one round of SHA-256 and no salt, where passwords want scrypt: a slow hash buys time against guessing what people
choose. `new_text` draws 256 bits; at 10^12 guesses a second half of them take 10^57 years, and no table of them can be
made. A slow hash would cost each request milliseconds and buy nothing. So nothing weaker is to be hashed: `weakness`
says why a text is no such token. (It can tell what is short or repeats itself, not what a person made up.)

Comparison: the digest of what is presented with all digests there are, each by `compare_digest`, none left out.
Source: NIST SP 800-63B section 5.1.1 and 5.1.4, RFC 6750.
"""

import math
import re
import secrets
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from hms_ops.errors import ConfigError
from hms_ops.secret import HIDDEN, read_secret
from hms_ops.setting import Kind, quoted
from hms_ops.yamlfile import Node, unknown_keys

SCOPES: Final = ("ingest", "read", "silence", "admin")
EVERYTHING: Final = frozenset(SCOPES)
TOKENS_MAX: Final = 256
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
SENDABLE: Final = re.compile(r"[!-~]{1,4096}\Z")
DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
KEYS: Final = ("name", "sha256", "scopes", "expires")
# Told from other secrets by eye, and by what looks for secrets in repositories.
PREFIX: Final = "hmsops_"
RANDOM_BYTES: Final = 32
# What weakness() wants at least: 43 letters of base64url, or 64 hexadecimal digits, come to 180 bits and more.
CHARS_MIN: Final = 43
SPREAD_BITS_MIN: Final = 160.0
DEFLATE_BYTES: Final = 8  # head and checksum of what zlib makes
PLAIN_CHARS_MIN: Final = 20  # of a secret in full: shorter ones load, with a warning
SOON_SECONDS: Final = 14 * 86_400.0

NO_NAME: Final = "give a name of up to 64 letters, digits and ._@-, as in grafana"
NO_DIGEST: Final = "give the SHA-256 of a token, 64 hexadecimal digits, as hms-ops-engine token new prints it"
NO_SCOPES: Final = f"give a list of {', '.join(SCOPES)}"
NO_TIME: Final = "give the last day as 2027-06-30, or a time as 2027-06-30T12:00:00Z"
NO_HEADER: Final = "the token is empty or not plain ASCII without blanks, so nobody can send it; generate another"


@dataclass(frozen=True, slots=True)
class Token:
    """digest: SHA-256 of the token. name: "" for a secret in full. expires: Unix seconds, None for never."""

    digest: bytes = field(repr=False)
    name: str = ""
    scopes: frozenset[str] = EVERYTHING
    expires: float | None = None
    shown: Any = field(default=HIDDEN, repr=False, compare=False)
    is_short: bool = field(default=False, compare=False)
    where: str = field(default="", compare=False)

    def is_over(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def is_ending(self, now: float) -> bool:
        """Whether it ends within SOON_SECONDS."""
        return self.expires is not None and now < self.expires <= now + SOON_SECONDS

    @property
    def said(self) -> str:
        """How a message names it."""
        return f"the token {self.name}" if self.name else "a token without a name"


def digest_of(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def find_token(tokens: Sequence[Token], presented: str) -> Token | None:
    """The token of that text. All are compared, so that the time says nothing about which one was near."""
    digest, found = digest_of(presented), None
    for token in tokens:
        if compare_digest(digest, token.digest):
            found = token
    return found


def expiry_text(expires: float | None) -> str:
    return "never" if expires is None else f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%dT%H:%M:%SZ}"


# ---- made anew


def new_text() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def weakness(text: str) -> str:
    """Why a text is not to be hashed as a token; "" when it looks like 256 random bits."""
    if not SENDABLE.match(text):
        return NO_HEADER
    spread = min(spread_bits(text.removeprefix(PREFIX)), packed_bits(text.removeprefix(PREFIX)))
    if len(text.removeprefix(PREFIX)) < CHARS_MIN or spread < SPREAD_BITS_MIN:
        return (
            f"{len(text)} characters of at most {spread:.0f} bits can be guessed from their hash; "
            "take the one that hms-ops-engine token new makes"
        )
    return ""


def spread_bits(text: str) -> float:
    """The length times the entropy of the characters: more than this the text cannot hold if each is drawn alone."""
    counts = Counter(text).values()
    return sum(count * math.log2(len(text) / count) for count in counts)


def packed_bits(text: str) -> float:
    """What is left of it without its repetitions, as deflate finds them."""
    return 8.0 * (len(zlib.compress(text.encode(), 9)) - DEFLATE_BYTES)


# ---- read from engine.yaml


def read_tokens(node: Node, path: str, base: Path) -> tuple[Token, ...]:
    """The list of engine.yaml; ConfigError has all that is wrong with it."""
    tokens: list[Token] = []
    problems: list[str] = []
    for number, element in enumerate(node.elements(), 1):
        place = f"{path}[{number}]"
        try:
            read = read_entry if isinstance(element.value, dict) else read_plain
            tokens.append(read(element, place, base))
        except ConfigError as error:
            problems += error.problems
    problems += [node.problem(f"{path}: {problem}") for problem in clashes(tokens)]
    if problems:
        raise ConfigError(*problems)
    return tuple(tokens)


def clashes(tokens: Sequence[Token]) -> list[str]:
    """Names and tokens that stand there twice: which scopes held would be a matter of order."""
    found = [f"more than {TOKENS_MAX} tokens; remove those nobody uses"] if len(tokens) > TOKENS_MAX else []
    found += [f"the name {name} is given to {n} tokens; choose others" for name, n in twice(t.name for t in tokens)]
    if any(twice(token.digest for token in tokens)):
        found.append("the same token stands there twice; remove one")
    return found


def twice(values: Iterable[Any]) -> list[tuple[Any, int]]:
    return [(value, count) for value, count in Counter(filter(None, values)).items() if count > 1]


def read_plain(node: Node, path: str, base: Path) -> Token:
    """A secret in full: a text, ${env:NAME} or ${file:PATH}."""
    secret = read_secret(node, path, base, is_secret=True)
    if not SENDABLE.match(secret.value):
        raise ConfigError(node.problem(f"{path}: {NO_HEADER}"))
    return plain_token(secret.value, node.where)


def plain_token(text: str, where: str = "") -> Token:
    return Token(digest_of(text), is_short=len(text) < PLAIN_CHARS_MIN, where=where)


def read_entry(node: Node, path: str, base: Path) -> Token:
    problems = unknown_keys(node, KEYS)
    read: dict[str, Any] = {}
    for key, reader in READERS.items():
        child = node.get(key)
        try:
            read[key] = reader(child if child is not None else Node(node.name, node.line, None), f"{path}.{key}", base)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    digest, shown = read["sha256"]
    listed = [scope for scope in SCOPES if scope in read["scopes"]]
    written = {"name": read["name"], "sha256": shown, "scopes": listed, "expires": expiry_shown(read["expires"])}
    return Token(
        digest, read["name"], read["scopes"], read["expires"], {k: v for k, v in written.items() if v}, where=node.where
    )


def read_name(node: Node, path: str, base: Path) -> str:
    if not isinstance(node.value, str) or not NAME.match(node.value):
        raise ConfigError(node.problem(f"{path} is {quoted(node.value)}; {NO_NAME}"))
    return node.value


def read_digest(node: Node, path: str, base: Path) -> tuple[bytes, str]:
    """The digest, and how it is shown. It is no secret: nothing can be done with it here, or learnt from it."""
    if not isinstance(node.value, str):
        raise ConfigError(node.problem(f"{path} is {quoted(node.value)}; {NO_DIGEST}"))
    secret = read_secret(node, path, base)
    if not DIGEST.match(secret.value):
        raise ConfigError(node.problem(f"{path} is no SHA-256; {NO_DIGEST}"))
    return bytes.fromhex(secret.value), secret.shown


def read_scopes(node: Node, path: str, base: Path) -> frozenset[str]:
    given = node.value
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one in SCOPES for one in given):
        raise ConfigError(node.problem(f"{path} is {quoted(given)}; {NO_SCOPES}"))
    return EVERYTHING if "admin" in given else frozenset(given)


def read_expiry(node: Node, path: str, base: Path) -> float | None:
    """Unix seconds from which on the token is refused; None where nothing is given."""
    if node.value is None:
        return None
    try:
        return parse_expiry(node.value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(node.problem(f"{path} is {quoted(node.value)}; {NO_TIME}")) from None


def parse_expiry(text: str) -> float:
    """The end of a day in UTC, or a moment that names its zone; ValueError."""
    if len(text) == len("2027-06-30"):
        day = date.fromisoformat(text) + timedelta(days=1)
        return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.timestamp()


def expiry_shown(expires: float | None) -> str | None:
    """As engine.yaml has it: a date where it is the end of one."""
    if expires is None:
        return None
    if expires % 86_400 == 0:
        return f"{datetime.fromtimestamp(expires - 1, UTC):%Y-%m-%d}"
    return expiry_text(expires)


READERS: Final = {"name": read_name, "sha256": read_digest, "scopes": read_scopes, "expires": read_expiry}
TOKENS: Final = Kind(read_tokens, lambda tokens: [token.shown for token in tokens])


def token_warnings(tokens: Iterable[Token], now: float) -> list[str]:
    """What loads and is not well, `file:line: …` each."""
    said = []
    for token in tokens:
        if token.is_short:
            said.append(
                f"{token.where}: a token of less than {PLAIN_CHARS_MIN} characters can be guessed; "
                "make one with hms-ops-engine token new"
            )
        if token.is_over(now) or token.is_ending(now):
            said.append(f"{token.where}: {ending_text(token, now)}")
    return said


def ending_text(token: Token, now: float) -> str:
    """What health() and the log say of a token that ends soon or has ended."""
    verb = "has expired:" if token.is_over(now) else "expires"
    remedy = "make another with hms-ops-engine token new, and reload"
    return f"{token.said} {verb} {expiry_text(token.expires)}; {remedy}"
