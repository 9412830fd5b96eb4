"""The section `remote:` of the configuration: servers that take what happened, by Prometheus remote write 1.0.

    remote:
      vm: {url: "http://127.0.0.1:8428/api/v1/write"}
      mimir: {url: "https://mimir/api/v1/push", tier: 1m, tenant: fleet, bearer_token: "${file:token}"}

The name in front is the cursor's: a remote that is renamed begins anew, with the oldest that is kept here.
Credentials are shown as `***`; only one way of authorization may be given, and none in headers beside it.
"""

import base64
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from hms_ops.alert.receivers import is_http
from hms_ops.errors import ConfigError
from hms_ops.remote.labels import outer_tag
from hms_ops.secret import PLAIN_HEADERS, Secret, read_secret
from hms_ops.setting import (
    TRUTH,
    Kind,
    choice,
    duration,
    quoted,
    read_section,
    setting,
    settings_of,
    show_section,
    whole,
)
from hms_ops.storage.tier import TIERS
from hms_ops.yamlfile import Node, unknown_keys

NAME: Final = re.compile(r"[A-Za-z_][\w-]{0,63}\Z", re.ASCII)
REMOTES_MAX: Final = 16
ENGINE_LABEL: Final = "engine"


def read_url(node: Node, path: str, base: Path) -> Secret:
    url = read_secret(node, path, base)
    if not is_http(url.value):
        raise ConfigError(node.problem(f"{path} is {quoted(url.shown)}; give http://HOST/… or https://HOST/…"))
    return url


def read_hidden(node: Node, path: str, base: Path) -> Secret | None:
    return None if node.value is None else read_secret(node, path, base, is_secret=True)


def read_optional_url(node: Node, path: str, base: Path) -> Secret | None:
    return None if node.value is None else read_url(node, path, base)


def read_headers(node: Node, path: str, base: Path) -> tuple[tuple[str, Secret], ...]:
    """Any header may carry a credential, so none is shown unless it is a plain name of a type."""
    return tuple(
        (name, read_secret(child, f"{path}.{name}", base, is_secret=name.lower() not in PLAIN_HEADERS))
        for name, child in node.items()
    )


def read_labels(node: Node, path: str, base: Path) -> tuple[tuple[str, str], ...] | None:
    if node.value is None:
        return None
    for name, child in node.items():
        if not isinstance(child.value, str) or outer_tag(name) != name:
            raise ConfigError(
                child.problem(f"{path}.{name} is {quoted(child.value)}; give text, and a name of a label")
            )
    return tuple((name, str(child.value)) for name, child in node.items())


def show_secret(secret: Secret | None) -> str | None:
    return None if secret is None else str(secret)


def show_pairs(pairs: tuple[tuple[str, object], ...]) -> dict[str, str]:
    return {name: str(value) for name, value in pairs}


def read_text(node: Node, path: str, base: Path) -> str | None:
    if node.value is None:
        return None
    if not isinstance(node.value, str | int) or isinstance(node.value, bool) or not str(node.value).isprintable():
        raise ConfigError(node.problem(f"{path} is {quoted(node.value)}; give text"))
    return str(node.value)


URL: Final[Kind[Secret]] = Kind(read_url, show_secret)
TEXT: Final[Kind[str | None]] = Kind(read_text, lambda text: text)
OPTIONAL_URL: Final = Kind(read_optional_url, show_secret)
HIDDEN: Final = Kind(read_hidden, show_secret)
HEADERS: Final = Kind(read_headers, show_pairs)
LABELS: Final[Kind[tuple[tuple[str, str], ...] | None]] = Kind(
    read_labels, lambda pairs: None if pairs is None else show_pairs(pairs)
)
NO_URL: Final = Secret("", "")


@dataclass(frozen=True)
class RemoteConfig:
    """One remote. url: where to post; query_url: the base of its query API, "" is made from url; tier: whose rows are
    sent; labels: on every series, None is engine: this host's name; delay_seconds: how long after its end a step is
    sent, so that late samples are in it; batch_samples: in one request, about."""

    url: Secret = setting(NO_URL, URL)
    query_url: Secret | None = setting(None, OPTIONAL_URL)
    tier: str = setting("1m", choice(*(tier.name for tier in TIERS)))
    username: str | None = setting(None, TEXT)
    password: Secret | None = setting(None, HIDDEN)
    bearer_token: Secret | None = setting(None, HIDDEN)
    tenant: str | None = setting(None, TEXT)
    headers: tuple[tuple[str, Secret], ...] = setting((), HEADERS)
    labels: tuple[tuple[str, str], ...] | None = setting(None, LABELS)
    dotted_names: bool = setting(False, TRUTH)
    delay_seconds: float = setting(10.0, duration("0s", "1h"), key="delay")
    timeout_seconds: float = setting(30.0, duration("1s", "10m"), key="timeout")
    batch_samples: int = setting(50_000, whole(100, 1_000_000))
    name: str = field(default="", metadata={})

    def __str__(self) -> str:
        return f"remote {self.name}"

    @property
    def tier_number(self) -> int:
        return [tier.name for tier in TIERS].index(self.tier)

    def fixed_labels(self) -> dict[str, str]:
        """What tells this engine's series from another's."""
        return {ENGINE_LABEL: socket.gethostname()} if self.labels is None else dict(self.labels)

    def request_headers(self) -> dict[str, str]:
        """Authorization, tenant, and what was written out; the last wins."""
        headers: dict[str, str] = {}
        if self.bearer_token is not None:
            headers["Authorization"] = f"Bearer {self.bearer_token.value}"
        elif self.username is not None:
            pair = f"{self.username}:{self.password.value if self.password else ''}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        if self.tenant is not None:
            headers["X-Scope-OrgID"] = self.tenant
        return headers | {name: value.value for name, value in self.headers}

    def query_base(self) -> str:
        """The base that `/api/v1/query_range` stands below: query_url, or url without what is for writing."""
        if self.query_url is not None:
            return self.query_url.value.rstrip("/")
        place = urlsplit(self.url.value)
        path = place.path
        for ending, replacement in QUERY_PATHS:
            if ending.search(path):
                path = ending.sub(replacement, path)
                break
        return urlunsplit(place._replace(path=path.rstrip("/"), query=""))


# VictoriaMetrics single and Prometheus; its cluster's vminsert (vmselect has another port: then query_url); Mimir.
QUERY_PATHS: Final = (
    (re.compile(r"/insert/([^/]+)/prometheus(?:/api/v1/write|/api/v1/push)?/?\Z"), r"/select/\1/prometheus"),
    (re.compile(r"/api/v1/push/?\Z"), "/prometheus"),
    (re.compile(r"/api/v1/write/?\Z"), ""),
)


def read_remotes(node: Node, path: str, base: Path) -> tuple[RemoteConfig, ...]:
    """All remotes; ConfigError gathers the problems of all."""
    problems: list[str] = []
    found = []
    for name, child in node.items():
        try:
            found.append(read_remote(name, child, f"{path}.{name}", base))
        except ConfigError as error:
            problems.extend(error.problems)
    if len(found) > REMOTES_MAX:
        problems.append(node.problem(f"{path} has {len(found)} remotes; {REMOTES_MAX} are allowed"))
    problems.extend(doubled(node, path, found))
    if problems:
        raise ConfigError(*problems)
    return tuple(found)


def doubled(node: Node, path: str, remotes: Sequence[RemoteConfig]) -> Iterator[str]:
    """The remotes that would send another tier to where one before them sends, under the same labels."""
    first: dict[Any, RemoteConfig] = {}
    for remote in remotes:
        # Another header may mean another tenant, and so another database.
        headers, labels = remote.request_headers(), remote.fixed_labels()
        place = remote.url.value, tuple(sorted(headers.items())), tuple(sorted(labels.items()))
        before = first.setdefault(place, remote)
        if before.tier != remote.tier:
            yield (node.get(remote.name) or node).problem(
                f"{path}.{remote.name} sends {remote.tier} to the url of {path}.{before.name}, which sends "
                f"{before.tier}, under the same labels: everything would count twice there; give other labels, as in "
                f"{{tier: {remote.tier}}}, or another url"
            )


def read_remote(name: str, node: Node, path: str, base: Path) -> RemoteConfig:
    if NAME.match(name) is None:
        raise ConfigError(node.problem(f"{path}: a remote's name has letters, digits, _ and -, at most 64"))
    if node.get("url") is None:
        missing = node.problem(f"{path} has no url; give the address to post to, as in {EXAMPLE}")
        raise ConfigError(*unknown_keys(node, settings_of(RemoteConfig).keys()), missing)
    config = read_section(node, RemoteConfig, f"{path}.", base)
    ways = [
        config.bearer_token,
        config.username,
        next((v for n, v in config.headers if n.lower() == "authorization"), None),
    ]
    if sum(way is not None for way in ways) > 1:
        raise ConfigError(node.problem(f"{path}: give one of bearer_token, username or a header Authorization"))
    if config.password is not None and config.username is None:
        raise ConfigError(node.problem(f"{path}.password needs a username"))
    object.__setattr__(config, "name", name)
    return config


EXAMPLE: Final = "http://127.0.0.1:8428/api/v1/write"


def show_remotes(remotes: tuple[RemoteConfig, ...]) -> dict[str, Any]:
    return {remote.name: show_section(remote) for remote in remotes}


REMOTES: Final = Kind(read_remotes, show_remotes)


def remote_from(name: str, given: Mapping[str, Any]) -> RemoteConfig:
    """A remote from the keys of the file, for programs; ConfigError."""
    from hms_ops.setting import node_of

    return read_remote(name, node_of(given, "remote"), f"remote.{name}", Path())
