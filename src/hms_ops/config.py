"""The engine's configuration: `config/engine.yaml`, or a dict with its keys, as one frozen `Config`.

`load()` is called by the composition root and by `check-config`; everything else is handed the section it needs. Each
field below carries its default and its `Kind`: how to read it, how to word what is wanted, how to show it. A key nobody
knows, a value of the wrong type or out of range is a problem `file:line: what, why, what to do`; all problems of a file
come in one ConfigError, so that one run mends them all.

Secrets: `${env:NAME}` and `${file:PATH}` are replaced in `receivers`, `remote`, `actions.url` and `http_tokens` when
the file is read; `effective()` shows them as `***`, see `secret.py`. Of tokens only hashes are kept: `http/token.py`.

Paths: `rules` and `${file:…}` are relative to the file they stand in; `data_dir` and `unix` to the working directory,
as on the command line. What a rule or a receiver means is not decided here: see `alert/`.
"""

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from hms_ops.alert.notification import Profile
from hms_ops.alert.rulefile import RuleFile, load_rules
from hms_ops.clock import SECOND_NS, WallAnchor
from hms_ops.errors import ConfigError
from hms_ops.heartbeat import HeartbeatConfig
from hms_ops.http.access import NAMES, ORIGINS
from hms_ops.http.tls import TLS, TlsFiles, tls_warnings
from hms_ops.http.token import TOKENS, Token, token_warnings
from hms_ops.profiles import RECEIVERS, Receiver, template_warnings
from hms_ops.quantity import Address, clear_text, duration_text, is_address, is_loopback, reachable_text
from hms_ops.remote.settings import REMOTES, RemoteConfig
from hms_ops.secret import SECRET_TEXT, Secret, without_secrets
from hms_ops.setting import (
    ADDRESS,
    ADDRESSES,
    PATH,
    TRUTH,
    UNIX_PATH,
    Kind,
    choice,
    duration,
    node_of,
    power_of_two,
    quoted,
    read_section,
    section,
    setting,
    show_section,
    size,
    whole,
)
from hms_ops.statuspage.settings import StatusPage
from hms_ops.yamlfile import Node, load_file

NOT_SENT: Final = "nothing is sent to `remote`, it is asked only: what is sent is read from disk; give a data_dir"


@dataclass(frozen=True)
class RuleSources:
    """Where rules come from: `patterns` of files, and rules written inline, as nodes that know their line."""

    patterns: tuple[str, ...] = ()
    inline: tuple[Node, ...] = ()


def is_pattern(node: Node) -> bool:
    """A path or glob of rule files; text that begins as the language's sentences do is a rule."""
    return isinstance(node.value, str) and SENTENCE.match(node.value) is None


def read_rules(node: Node, path: str, base: Path) -> RuleSources:
    elements = [node] if isinstance(node.value, str) else list(node.elements())
    for element in elements:
        if not isinstance(element.value, str | dict) or not element.value:
            raise ConfigError(element.expected("a path of a rule file, or a rule, in the list of rules"))
    patterns = tuple(str(base / element.value) for element in elements if is_pattern(element))
    return RuleSources(patterns, tuple(element for element in elements if not is_pattern(element)))


def read_inline(node: Node, path: str, base: Path) -> tuple[Node, ...]:
    return tuple(node.elements())


def show_inline(nodes: tuple[Node, ...]) -> list[Any]:
    return [shown(node.value) for node in nodes]


def shown(value: Any) -> Any:
    """A value with the URLs in its texts as people may see them."""
    if isinstance(value, dict):
        return {key: shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shown(one) for one in value]
    return without_secrets(value) if isinstance(value, str) else value


def read_folders(node: Node, path: str, base: Path) -> tuple[Path, ...]:
    """Folders that have to be there: a misspelt one would show no dashboard and say nothing."""
    folders: list[Path] = []
    for element in [node] if isinstance(node.value, str) else node.elements():
        if not isinstance(element.value, str) or not (base / element.value).is_dir():
            raise ConfigError(element.problem(f"{path}: {quoted(element.value)} is no folder; make it, or correct it"))
        folders.append(base / element.value)
    return tuple(folders)


FOLDERS: Final = Kind(read_folders, lambda folders: [str(folder) for folder in folders])


class Unset(Enum):
    """An argument that was not given, where None means something."""

    UNSET = 0


UNSET: Final = Unset.UNSET

# ALERT name WHEN condition …, or WHEN condition …
SENTENCE: Final = re.compile(r"\s*(ALERT|WHEN)\s", re.IGNORECASE)
RULES: Final = Kind(read_rules, lambda rules: [*rules.patterns, *show_inline(rules.inline)])
INLINE: Final = Kind(read_inline, show_inline)


@dataclass(frozen=True)
class Limits:
    """What is bounded, and where: each bound has a counter in the ledger or in `engine.*`."""

    series: int = setting(100_000, whole(1, 16_000_000))
    ring_samples: int = setting(64, power_of_two(2, 65_536))
    datagram_bytes: int = setting(65_507, whole(512, 65_507))
    late_samples: int = setting(65_536, whole(1, 16_777_216))
    subscription_queue: int = setting(65_536, whole(1, 16_777_216))
    sketch_bytes: int = setting(512 * 1024**2, size(1024**2, 1024**4))


@dataclass(frozen=True)
class Statsd:
    """The dialect of StatsD that is spoken to us."""

    gauge_sign: str = setting("delta", choice("delta", "absolute"))


@dataclass(frozen=True)
class Actions:
    """The action service and its stop switch; `run` are inline actions, as in a rule file."""

    url: Secret | None = setting(None, SECRET_TEXT)
    stop: bool = setting(False, TRUTH)
    run: tuple[Node, ...] = setting((), INLINE)


@dataclass(frozen=True)
class History:
    """How much closed history stays on disk: of each tier by time, of all of them by bytes."""

    retention_seconds: float = setting(172_800.0, duration("1h", "3650d"), key="retention")
    retention_1m_seconds: float = setting(2_592_000.0, duration("1h", "3650d"), key="retention_1m")
    retention_1h_seconds: float = setting(34_560_000.0, duration("1h", "3650d"), key="retention_1h")
    bytes_max: int = setting(48 * 1024**3, size(64 * 1024**2, 1024**5), key="bytes")
    disk_free_min: int = setting(1024**3, size(0, 1024**5), key="disk_free")


def read_history(node: Node, path: str, base: Path) -> History:
    """A tier must not be kept longer than the next coarser one: queries by long steps read only that."""
    history: History = read_section(node, History, f"{path}.", base)
    problems = []
    for finer, coarser in pairwise(("retention", "retention_1m", "retention_1h")):
        kept, kept_coarser = (getattr(history, f"{key}_seconds") for key in (finer, coarser))
        if kept > kept_coarser:
            place = node.get(finer) or node.get(coarser) or node
            problems.append(
                place.problem(
                    f"{path}.{finer} is {duration_text(kept)}, longer than {path}.{coarser}, "
                    f"{duration_text(kept_coarser)}; queries by longer steps read the coarser tier and would miss what "
                    f"only the finer one keeps: give {coarser} {duration_text(kept)} or more, or {finer} less"
                )
            )
    if problems:
        raise ConfigError(*problems)
    return history


HISTORY: Final = Kind(read_history, show_section)


def read_heartbeat(node: Node, path: str, base: Path) -> HeartbeatConfig:
    heartbeat: HeartbeatConfig = read_section(node, HeartbeatConfig, f"{path}.", base)
    if problem := heartbeat.problem():
        raise ConfigError((node.get("url") or node).problem(f"{path}: {problem}"))
    return heartbeat


HEARTBEAT: Final = Kind(read_heartbeat, show_section)


@dataclass(frozen=True)
class Log:
    """What the daemon writes to standard error."""

    format: str = setting("text", choice("text", "json"))
    level: str = setting("info", choice("debug", "info", "warning", "error"))


@dataclass(frozen=True)
class Config:
    """All settings; `base` is the directory of the file they came from, `file` that file, `given` the keys in it."""

    udp: tuple[Address, ...] = setting((Address("127.0.0.1", 8125),), ADDRESSES)
    listeners: int = setting(1, whole(1, 64))
    unix: Path | None = setting(None, UNIX_PATH)
    receive_buffer_bytes: int = setting(64 * 1024**2, size(4096, 1024**3), key="receive_buffer")
    statsd: Statsd = setting(Statsd(), section(Statsd))
    http: Address | None = setting(Address("127.0.0.1", 8126), ADDRESS)
    http_names: tuple[str, ...] = setting((), NAMES)
    http_origins: tuple[str, ...] = setting((), ORIGINS)
    http_tokens: tuple[Token, ...] = setting((), TOKENS)
    http_tls: TlsFiles | None = setting(None, TLS)
    http_insecure: bool = setting(False, TRUTH)
    dashboards: tuple[Path, ...] = setting((), FOLDERS)
    status: StatusPage = setting(StatusPage(), section(StatusPage))
    data_dir: Path | None = setting(Path("data"), PATH)
    history: History = setting(History(), HISTORY)
    limits: Limits = setting(Limits(), section(Limits))
    rules: RuleSources = setting(RuleSources(), RULES)
    anomalies: tuple[Node, ...] = setting((), INLINE)
    slos: tuple[Node, ...] = setting((), INLINE)
    routes: tuple[Node, ...] = setting((), INLINE)
    inhibitions: tuple[Node, ...] = setting((), INLINE)
    mute_times: tuple[Node, ...] = setting((), INLINE)
    policies: tuple[Node, ...] = setting((), INLINE)
    receivers: tuple[Receiver, ...] = setting((), RECEIVERS)
    self_watch: bool = setting(True, TRUTH)
    heartbeat: HeartbeatConfig = setting(HeartbeatConfig(), HEARTBEAT)
    actions: Actions = setting(Actions(), section(Actions))
    remote: tuple[RemoteConfig, ...] = setting((), REMOTES)
    host_metrics: bool = setting(True, TRUTH)
    self_metrics: bool = setting(True, TRUTH)
    log: Log = setting(Log(), section(Log))
    base: Path = field(default=Path(), compare=False)
    file: Path | None = field(default=None, compare=False)
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def choose(self, key: str, argument: Any, default: Any) -> Any:
        """An argument that was given; otherwise what the file or dict says under `key`; otherwise `default`."""
        if argument is not UNSET:
            return argument
        return getattr(self, key) if key in self.given else default

    def profiles(self) -> dict[str, Profile]:
        """The receivers' profiles by name, as the outbox wants them."""
        return {receiver.name: receiver.profile for receiver in self.receivers}

    def action_url(self) -> str:
        """The base of the action service, "" when none is configured."""
        return self.actions.url.value if self.actions.url else ""

    def warnings(self, root: Node) -> list[str]:
        """What loads, but not as its author may think, `file:line: …` each. root: of the file."""
        told = template_warnings(self.receivers)
        if self.remote and self.data_dir is None:
            told.append((root.get("remote") or root).problem(NOT_SENT))
        now = WallAnchor().now_ns() / SECOND_NS
        told += token_warnings(self.http_tokens, now)
        if self.http_tls is not None:
            place = root.get("http_tls") or root
            told += map(place.problem, tls_warnings(self.http_tls, now))
        return told

    def rule_files(self) -> tuple[Path, ...]:
        """The files the patterns name now, each once; ConfigError for a pattern that names none."""
        found: dict[Path, None] = {}
        for pattern in self.rules.patterns:
            paths = sorted(glob.glob(pattern, recursive=True))
            if not paths:
                raise ConfigError(f"{pattern}:1: no such rule file; correct `rules`, or remove it there")
            found.update(dict.fromkeys(map(Path, paths)))
        return tuple(found)

    def load_rules(self) -> RuleFile:
        """The rules of all files and those written inline, as the files are now; ConfigError with all problems."""
        inline = {
            "rules": self.rules.inline,
            "anomalies": self.anomalies,
            "actions": self.actions.run,
            "slos": self.slos,
            "routes": self.routes,
            "inhibitions": self.inhibitions,
            "mute_times": self.mute_times,
            "policies": self.policies,
        }
        return load_rules(self.rule_files(), mapping_of(inline))


def mapping_of(sections: Mapping[str, tuple[Node, ...]]) -> Node:
    """Inline rules as the root of a rule file; each entry keeps its own line."""
    lists = {key: Node("", 1, [node.value for node in nodes], list(nodes)) for key, nodes in sections.items()}
    return Node("", 1, {key: node.value for key, node in lists.items()}, lists)


def load(source: str | Path | Mapping[str, Any] | None = None) -> Config:
    """The configuration of a file, of a dict with the file's keys, or the defaults; ConfigError holds every problem."""
    if source is None:
        return Config()
    if isinstance(source, Mapping):
        return load_mapping(source)
    path = Path(source).absolute()  # it is read again at a reload, wherever the program is by then
    config = load_node(load_file(Path(source)), Path(source).parent)
    object.__setattr__(config, "file", path)
    return config


def load_mapping(source: Mapping[str, Any]) -> Config:
    try:
        return load_node(node_of(source, "config"), Path())
    except ConfigError as error:
        # A dict has no lines: the key in the text is the place.
        raise ConfigError(*(problem.replace("config:1: ", "config: ", 1) for problem in error.problems)) from None


def load_node(root: Node, base: Path) -> Config:
    config: Config = read_section(root, Config, "", base)
    if (http := root.get("http")) is not None and (problem := open_problem(config)):
        raise ConfigError(http.problem(problem))
    object.__setattr__(config, "base", base)
    object.__setattr__(config, "given", frozenset(key for key, _ in root.items()))
    return config


def open_problem(config: Config) -> str:
    """Why HTTP is not opened on an address others can reach: no tokens, or no TLS. What a name stands for is known at
    the start only."""
    host = config.http.host if config.http is not None else "localhost"
    if not is_address(host) or is_loopback(host):
        return ""
    if not config.http_tokens:
        return reachable_text(host)
    return "" if config.http_tls is not None or config.http_insecure else clear_text(host)


def effective(config: Config) -> dict[str, Any]:
    """Every key with the value that holds, as the file would write it, secrets as `***`."""
    return show_section(config)
