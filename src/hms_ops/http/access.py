"""Which address may be served how: pure, decided once at the start and again at a reload.

loopback                  nothing is needed; tokens hold where there are any
any other, no tokens      refused
any other, no TLS         refused, unless `http_insecure: true` says that it is meant: tokens go over the wire in clear
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hms_ops.errors import StartError
from hms_ops.http.token import Token
from hms_ops.quantity import clear_text, is_loopback, reachable_text
from hms_ops.setting import Kind, plain

NAMES_MAX: Final = 64
HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\Z")


def convert_names(value: Any) -> tuple[str, ...]:
    """Host names in lower case, without ports."""
    if not isinstance(value, list) or len(value) > NAMES_MAX or not all(isinstance(name, str) for name in value):
        raise ValueError
    names = tuple(name.lower() for name in value)
    if not all(HOST_NAME.match(name) for name in names):
        raise ValueError
    return names


NAMES: Final[Kind[tuple[str, ...]]] = plain(
    f"a list of at most {NAMES_MAX} host names without ports, as in [ops.agency.gov]", convert_names, list
)


ORIGIN: Final = re.compile(r"https?://[a-z0-9_.\[\]:-]{1,261}\Z")


def convert_origins(value: Any) -> tuple[str, ...]:
    """Origins as browsers write them, in lower case."""
    if not isinstance(value, list) or len(value) > NAMES_MAX or not all(isinstance(one, str) for one in value):
        raise ValueError
    origins = tuple(one.lower() for one in value)
    if not all(ORIGIN.match(one) for one in origins):
        raise ValueError
    return origins


ORIGINS: Final[Kind[tuple[str, ...]]] = plain(
    f"a list of at most {NAMES_MAX} origins without a path, as in [https://portal.agency.gov]", convert_origins, list
)


@dataclass(frozen=True, slots=True)
class Access:
    """hosts: names and addresses of ours, lower case, loopback ones need not be listed. with_addresses: any literal
    IP address may stand in Host (only a name can be rebound). tokens: () asks for none. origins: of other pages that
    may ask, with a token. insecure: what health() says of an address that others reach without TLS, "" where all is
    well."""

    hosts: frozenset[str] = frozenset()
    with_addresses: bool = False
    tokens: tuple[Token, ...] = ()
    origins: frozenset[str] = frozenset()
    insecure: str = ""


def access_of(
    host: str,
    bound_host: str,
    machine_name: str,
    tokens: Sequence[Token],
    *,
    names: Sequence[str] = (),
    origins: Sequence[str] = (),
    has_tls: bool = False,
    is_insecure: bool = False,
) -> Access:
    """The access for a bound address; StartError when it can be reached from elsewhere without tokens, or without TLS.

    host: as configured. bound_host: the address it resolved to. names: others that it is asked for by, behind a proxy
    or by an alias. origins: of other pages that may ask. is_insecure: it is to be served without TLS.
    """
    if origins and not tokens:
        raise StartError(
            "http_origins needs http_tokens: pages of other origins have to say who asks; make one for them"
        )
    allowed = frozenset(origins)
    if is_loopback(bound_host):
        return Access(frozenset({host.lower(), *names}), tokens=tuple(tokens), origins=allowed)
    if not tokens:
        raise StartError(reachable_text(host))
    if not has_tls and not is_insecure:
        raise StartError(clear_text(host))
    insecure = "" if has_tls else f"HTTP on {host} is served without TLS (http_insecure): tokens go over it in clear"
    return Access(frozenset({host.lower(), machine_name.lower(), *names}), True, tuple(tokens), allowed, insecure)
