"""Kinds of settings that the sections of receivers' profiles have: `email: {…}`, `mcp: {…}` and their like.

Each receiver's module declares its section as a small frozen dataclass of `setting.setting`s, with a method
`problem(url)` that says what is wrong with it as a whole; `profiles.py` reads them.
"""

from pathlib import Path
from typing import Any, Final, Protocol

from hms_ops.errors import ConfigError
from hms_ops.secret import HIDDEN, Secret, read_secret
from hms_ops.setting import Kind, convert_text, plain
from hms_ops.yamlfile import Node

LIST_MAX: Final = 64


class Section(Protocol):
    """What `profiles.py` asks of a section."""

    def problem(self, url: str) -> str:
        """What is wrong with the values together, url being the profile's ("" for none); "" when nothing is."""


def read_file(node: Node, path: str, base: Path) -> str:
    """The path of a file that is there, relative to the file it is named in."""
    if not isinstance(node.value, str) or not node.value:
        raise ConfigError(node.expected(f"the path of a file for {path}"))
    if not (base / node.value).is_file():
        raise ConfigError(node.problem(f"{path}: there is no file {node.value!r}"))
    return str(base / node.value)


def read_secrets(node: Node, path: str, base: Path) -> tuple[Secret, ...]:
    return read_list(node, path, base, is_secret=True)


def read_words(node: Node, path: str, base: Path) -> tuple[Secret, ...]:
    return read_list(node, path, base, is_secret=False)


def read_list(node: Node, path: str, base: Path, is_secret: bool) -> tuple[Secret, ...]:
    """One text or a list of them, references replaced."""
    elements = [node] if isinstance(node.value, str) else list(node.elements())
    if not 1 <= len(elements) <= LIST_MAX:
        raise ConfigError(node.problem(f"{path} has {len(elements)} entries; give 1 to {LIST_MAX}"))
    return tuple(read_secret(element, path, base, is_secret=is_secret) for element in elements)


def read_secret_map(node: Node, path: str, base: Path) -> tuple[tuple[str, Secret], ...]:
    items = list(node.items())
    if len(items) > LIST_MAX:
        raise ConfigError(node.problem(f"{path} has {len(items)} entries; give {LIST_MAX} at most"))
    return tuple((key, read_secret(child, f"{path}.{key}", base, is_secret=True)) for key, child in items)


def show_list(values: tuple[Secret, ...]) -> list[str]:
    return list(map(str, values))


def show_map(values: tuple[tuple[str, Secret], ...]) -> dict[str, Any]:
    return {key: HIDDEN for key, _ in values}


LINE: Final = plain("text", convert_text)
FILE: Final = Kind(read_file, str)
HIDDEN_TEXTS: Final = Kind(read_secrets, show_list)
WORDS: Final = Kind(read_words, show_list)
HIDDEN_MAP: Final = Kind(read_secret_map, show_map)
