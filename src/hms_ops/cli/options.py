"""Options and types that several commands share, and how they print."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hms_ops.escape import printable
from hms_ops.quantity import Address, parse_address, parse_duration

if TYPE_CHECKING:
    from hms_ops.storage.store import Storage

CELL_CHARS_MAX = 120  # of a table: one overlong tag must not push the rest off the screen
UNREADABLE: Final = ("damaged", "set_aside", "too_new")  # counters of what a storage skipped
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_HTTP: Final = "http://127.0.0.1:8126"


class AddressType(click.ParamType[Address]):
    """`host:port`."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return value if isinstance(value, Address) else parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[float]):
    """`10s`, as float seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TagType(click.ParamType[tuple[str, str]]):
    """`key:value`, as a pair."""

    name = "key:value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, _, text = value.partition(":")
        if not key or key.startswith("__"):
            self.fail(f"{value!r} is no tag; write key:value, and no key that begins with __", param, ctx)
        return key, text


ADDRESS: Final = AddressType()
DURATION: Final = DurationType()
TAG: Final = TagType()


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def url_option(command: F) -> F:
    return click.option(
        "--url",
        default=lambda: os.environ.get("HMS_OPS_HTTP") or DEFAULT_HTTP,
        show_default=f"$HMS_OPS_HTTP or {DEFAULT_HTTP}",
        help="The engine to ask.",
    )(command)


def data_dir_option(command: F) -> F:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="The data directory of an engine that does not run, instead of --url.",
    )(command)


@dataclass
class Damage:
    """How many parts of a data directory could not be read: set aside, or skipped."""

    parts: int = 0

    def warn(self, data_dir: Path) -> None:
        """Say so on standard error, when there are any."""
        if self.parts:
            click.echo(
                f"damaged parts of {printable(str(data_dir))}, set aside or left out: {self.parts:,}; "
                "hms-ops-engine verify lists them",
                err=True,
            )


@contextmanager
def stored(data_dir: Path, is_new: bool = False, damage: Damage | None = None) -> "Iterator[Storage]":
    """A data directory that no engine has open. It keeps all that is in it, whatever the engine's configuration says;
    one that is not there is made when `is_new`. `damage` tells what could not be read, once it is closed. StartError.
    """
    from hms_ops.errors import StartError
    from hms_ops.storage.history import HistoryConfig
    from hms_ops.storage.store import open_storage

    if not is_new and not (data_dir / "history").is_dir():
        raise StartError(f"{data_dir} is no data directory: there is no history in it")
    storage = open_storage(data_dir, HistoryConfig(bytes_max=1 << 62))
    try:
        yield storage
        if damage is not None:
            met = [counts.get(name, 0) for counts in storage.counters().values() for name in UNREADABLE]
            damage.parts = len(storage.set_aside) + sum(met)
    finally:
        storage.close()


def show_json(value: Any) -> None:
    """One line of JSON, ASCII only, so that nothing in it reaches the terminal as a control."""
    click.echo(json.dumps(value, default=str))


def show_table(rows: list[tuple[str, ...]]) -> None:
    """Columns padded to their widest entry, everything escaped; what is longer than CELL_CHARS_MAX is cut."""
    escaped = [tuple(cut(printable(text)) for text in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    for row in escaped:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def cut(text: str) -> str:
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"


def series_text(metric: str, tags: dict[str, str]) -> str:
    """`finance.api_ms{agency=irs}`, tags sorted."""
    inside = ",".join(f"{key}={value}" for key, value in sorted(tags.items()))
    return f"{metric}{{{inside}}}" if inside else metric
