"""Credentials in a configuration: `${env:NAME}` and `${file:PATH}`, and how nobody gets to see them.

References are replaced when the file is read, so a missing one stops the start and not a page at night. What came from
a reference, headers, tokens and passwords in URLs are shown as `***`, in `check-config`, logs and reprs alike. Paths
are relative to the file the reference stands in.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hms_ops.errors import ConfigError
from hms_ops.setting import Kind, quoted, show_optional
from hms_ops.yamlfile import Node

HIDDEN: Final = "***"
REFERENCE: Final = re.compile(r"\$\{(env|file):([^}]*)\}")
PLAIN_HEADERS: Final = ("accept", "content-type", "user-agent")
URL_PASSWORD: Final = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")
URL_QUERY: Final = re.compile(r"(https?://[^\s?#,\"'\]}]+)\?[^\s#,\"'\]}]+")
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
    return Secret(value, HIDDEN if is_secret else without_secrets(REFERENCE.sub(HIDDEN, node.value)))


def without_secrets(text: str) -> str:
    """A text whose URLs have no password and no query: either may be a secret."""
    return URL_QUERY.sub(rf"\1?{HIDDEN}", URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text))


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


def read_hidden(node: Node, path: str, base: Path) -> Secret | None:
    return None if node.value is None else read_secret(node, path, base, is_secret=True)


SECRET_TEXT: Final = Kind(read_optional_secret, show_optional)
HIDDEN_TEXT: Final = Kind(read_hidden, show_optional)
