"""One setting of a configuration file: how it is read, how what is wanted is worded, how it is shown again.

`config.py` declares its dataclasses with `setting(default, kind)`; `read_section` turns a mapping of the file into such
a dataclass and gathers the problems of all keys, `show_section` turns it back. A `Kind` is made by `whole`, `size`,
`duration`, `choice` and their like below; `plain` makes more.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from hms_ops.errors import ConfigError
from hms_ops.quantity import Address, duration_text, parse_address, parse_duration, parse_size, size_text
from hms_ops.yamlfile import Node, unknown_keys

T = TypeVar("T")

# sockaddr_un.sun_path holds 108 bytes with the terminating zero.
UNIX_PATH_BYTES_MAX: Final = 107


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How one setting is read from its node and shown again; `read` gets the directory of its file too."""

    read: Callable[[Node, str, Path], T]
    show: Callable[[T], Any]


def setting(default: T, kind: Kind[T], key: str = "") -> T:
    """A dataclass field with its default and its kind; `key` where the file does not name it as the field."""
    made: T = field(default=default, metadata={"kind": kind, "key": key})
    return made


def plain(wanted: str, convert: Callable[[Any], T], show: Callable[[T], Any] = lambda value: value) -> Kind[T]:
    """A kind of one value: `convert` raises ValueError or TypeError, `wanted` completes "give …"."""

    def read(node: Node, path: str, base: Path) -> T:
        try:
            return convert(node.value)
        except (ValueError, TypeError):
            raise ConfigError(node.problem(f"{path} is {quoted(node.value)}; give {wanted}")) from None

    return Kind(read, show)


def quoted(value: Any) -> str:
    """A value as a message shows it: YAML's words for what has one, cut at 80 characters."""
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else repr(value)[:80]


def convert_text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def convert_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def bounded(value: int | float, low: float, high: float) -> int | float:
    if not low <= value <= high:
        raise ValueError
    return value


def whole(low: int, high: int) -> Kind[int]:
    def convert(value: Any) -> int:
        if type(value) is not int:
            raise TypeError
        return int(bounded(value, low, high))

    return plain(f"a whole number from {low:,} to {high:,}", convert)


def power_of_two(low: int, high: int) -> Kind[int]:
    def convert(value: Any) -> int:
        if type(value) is not int or value & (value - 1):
            raise ValueError
        return int(bounded(value, low, high))

    return plain(f"a power of two from {low:,} to {high:,}", convert)


def size(low: int, high: int) -> Kind[int]:
    def convert(value: Any) -> int:
        amount = value if type(value) is int else parse_size(convert_text(value))
        return int(bounded(amount, low, high))

    return plain(f"a size from {size_text(low)} to {size_text(high)}, as in 64MiB", convert, size_text)


def duration(low: str, high: str) -> Kind[float]:
    def convert(value: Any) -> float:
        return bounded(parse_duration(convert_text(value)), parse_duration(low), parse_duration(high))

    return plain(f"a duration with its unit from {low} to {high}, as in 10s", convert, duration_text)


def choice(*names: str) -> Kind[str]:
    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return plain(" or ".join(names), convert)


def optional(value: Any, convert: Callable[[Any], T]) -> T | None:
    return None if value is None else convert(value)


def convert_address(value: Any) -> Address:
    return parse_address(convert_text(value))


def convert_addresses(value: Any) -> tuple[Address, ...]:
    """One address, a list of them, or nothing for no socket."""
    listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
    addresses = tuple(map(convert_address, listed))
    if len({address for address in addresses if address.port}) < sum(1 for address in addresses if address.port):
        raise ValueError
    return addresses


def show_addresses(addresses: tuple[Address, ...]) -> str | list[str] | None:
    texts = list(map(str, addresses))
    if len(texts) > 1:
        return texts
    return texts[0] if texts else None


def convert_path(value: Any) -> Path:
    return value if isinstance(value, Path) else Path(convert_text(value))


def convert_unix_path(value: Any) -> Path:
    path = convert_path(value)
    bounded(len(os.fsencode(path)), 1, UNIX_PATH_BYTES_MAX)
    return path


def show_optional(value: object) -> str | None:
    return None if value is None else str(value)


TRUTH: Final = plain("true or false", convert_truth)
ADDRESSES: Final = plain(
    "host:port, as in 127.0.0.1:8125, a list of different ones, or null for no socket",
    convert_addresses,
    show_addresses,
)
ADDRESS: Final[Kind[Address | None]] = plain(
    "host:port, as in 127.0.0.1:8126, or null for no server",
    lambda value: optional(value, convert_address),
    show_optional,
)
PATH: Final[Kind[Path | None]] = plain(
    "a directory, or null to keep nothing on disk", lambda value: optional(value, convert_path), show_optional
)
UNIX_PATH: Final[Kind[Path | None]] = plain(
    f"a path of at most {UNIX_PATH_BYTES_MAX} bytes, or null for none",
    lambda value: optional(value, convert_unix_path),
    show_optional,
)


def section(cls: type[T]) -> Kind[T]:
    """A mapping that is itself a dataclass of settings."""
    return Kind(lambda node, path, base: read_section(node, cls, f"{path}.", base), show_section)


def settings_of(cls: type[Any]) -> dict[str, tuple[str, Kind[Any]]]:
    """Key of the file → (field, kind), in the order of the class."""
    made = {}
    for entry in fields(cls):
        if "kind" in entry.metadata:
            made[entry.metadata["key"] or entry.name] = (entry.name, entry.metadata["kind"])
    return made


def read_section(node: Node, cls: type[T], prefix: str, base: Path) -> T:
    """A mapping as its dataclass; ConfigError gathers the problems of all its keys."""
    known = settings_of(cls)
    problems = unknown_keys(node, known.keys())
    values = {}
    for key, child in node.items():
        if key in known:
            name, kind = known[key]
            try:
                values[name] = kind.read(child, f"{prefix}{key}", base)
            except ConfigError as error:
                problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return cls(**values)


def show_section(values: Any) -> dict[str, Any]:
    return {key: kind.show(getattr(values, name)) for key, (name, kind) in settings_of(type(values)).items()}


def node_of(value: Any, name: str) -> Node:
    """A Python value as the node its YAML would give."""
    if isinstance(value, Mapping):
        children: Any = {str(key): node_of(child, name) for key, child in value.items()}
        return Node(name, 1, {key: child.value for key, child in children.items()}, children)
    if isinstance(value, list | tuple):
        children = [node_of(child, name) for child in value]
        return Node(name, 1, [child.value for child in children], children)
    return Node(name, 1, value)
