"""Credentials in a configuration: `${env:NAME}` and `${file:PATH}`, and how nobody gets to see them.

References are replaced when the file is read, so a missing one stops the start and not a page at night. What came from
a reference, the value under a key that names a credential, and passwords in URLs are shown as `***`, in `check-config`,
logs and reprs alike. Paths are relative to the file the reference stands in.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hms_ops.errors import ConfigError
from hms_ops.setting import Kind, quoted, show_optional
from hms_ops.yamlfile import Node

HIDDEN: Final = "***"
REFERENCE: Final = re.compile(r"\$\{(env|file):([^}]*)\}")
SECRET_KEY: Final = re.compile(r"pass(word|wd)?$|token|secret|api_?key|authorization|credential", re.IGNORECASE)
URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
# A reference into /dev/zero or a log by mistake must not fill the memory; no credential is longer.
SECRET_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True)
class Secret:
    """Text that may hold a credential: `value` for use, `shown` for people. Its repr shows the latter."""

    value: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown


def read_secret(node: Node, path: str, base: Path, is_secret: bool = False) -> Secret:
    """Text with its references replaced; all of it is hidden when `is_secret`, else only what was replaced."""
    if not isinstance(node.value, str):
        raise ConfigError(
            node.problem(f"{path} is {quoted(node.value)}; give text, or ${{env:NAME}} or ${{file:PATH}}")
        )
    try:
        value = REFERENCE.sub(lambda found: resolve(found[1], found[2], base), node.value)
    except ValueError as error:
        raise ConfigError(node.problem(f"{path}: {error}")) from None
    visible = URL_PASSWORD.sub(rf"\1:{HIDDEN}@", REFERENCE.sub(HIDDEN, node.value))
    return Secret(value, HIDDEN if is_secret else visible)


def resolve(source: str, name: str, base: Path) -> str:
    """What `${source:name}` stands for, a file's without its final newline; ValueError says what is missing."""
    if source == "env":
        if name not in os.environ:
            raise ValueError(f"the environment has no variable {name!r}; set it, or use ${{file:PATH}}")
        return os.environ[name]
    try:
        with open(base / name, "rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        if len(content) > SECRET_BYTES_MAX:
            raise ValueError(f"the file {name!r} is larger than {SECRET_BYTES_MAX:,} bytes; it holds no credential")
        return content.decode().removesuffix("\n")
    except OSError as error:
        raise ValueError(f"cannot read the file {name!r}: {error.strerror}; check its path and permissions") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {name!r} is not UTF-8 text") from None


def read_optional_secret(node: Node, path: str, base: Path) -> Secret | None:
    return None if node.value is None else read_secret(node, path, base)


def read_tokens(node: Node, path: str, base: Path) -> tuple[Secret, ...]:
    return tuple(read_secret(element, path, base, is_secret=True) for element in node.elements())


@dataclass(frozen=True)
class Profile:
    """A receiver's name and its settings, references replaced; `shown` is the same for people."""

    name: str
    settings: Mapping[str, Any] = field(repr=False)
    shown: Mapping[str, Any]


def read_profiles(node: Node, path: str, base: Path) -> tuple[Profile, ...]:
    return tuple(read_profile(name, child, f"{path}.{name}", base) for name, child in node.items())


def read_profile(name: str, node: Node, path: str, base: Path) -> Profile:
    settings, shown = {}, {}
    for key, child in node.items():
        settings[key], shown[key] = read_open(child, f"{path}.{key}", base, bool(SECRET_KEY.search(key)))
    return Profile(name, settings, shown)


def read_open(node: Node, path: str, base: Path, is_secret: bool) -> tuple[Any, Any]:
    """A value of any shape with the references in its texts replaced, and the same as it is shown."""
    if isinstance(node.value, dict):
        pairs = {
            key: read_open(child, f"{path}.{key}", base, is_secret or bool(SECRET_KEY.search(key)))
            for key, child in node.items()
        }
        return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}
    if isinstance(node.value, list):
        listed = [read_open(child, path, base, is_secret) for child in node.elements()]
        return [pair[0] for pair in listed], [pair[1] for pair in listed]
    if isinstance(node.value, str):
        secret = read_secret(node, path, base, is_secret)
        return secret.value, secret.shown
    return node.value, HIDDEN if is_secret else node.value


PROFILES: Final = Kind(read_profiles, lambda profiles: {profile.name: dict(profile.shown) for profile in profiles})
SECRET_TEXT: Final = Kind(read_optional_secret, show_optional)
TOKENS: Final = Kind(read_tokens, lambda tokens: list(map(str, tokens)))
