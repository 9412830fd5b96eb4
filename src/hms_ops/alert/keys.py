"""Keys and values of a rule, an anomaly or an action, read through a table of one reader per key.

A reader takes the plain value and returns what it means, or raises ValueError or ExpressionError with what is wrong;
all problems of a mapping are gathered, each with its key, so that a rule file can place it on the key's line and
`engine.alert` can name the argument.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from hms_ops.alert.language.grammar import parse_duration
from hms_ops.alert.receivers import parse_target
from hms_ops.errors import ExpressionError
from hms_ops.reader import Reader, takes
from hms_ops.yamlfile import nearest

NAME_BYTES_MAX: Final = 200
RECEIVERS_MAX: Final = 32
TAGS_MAX: Final = 32
TAG_CHARS_MAX: Final = 200

Read = Callable[[Any], Any]

NOT_BLANK: Final = r"\S"
DURATION: Final = r"^\s*[0-9]+(\.[0-9]+)?(ms|s|m|h|d|w)\s*$"


class KeyProblem(NamedTuple):
    """What is wrong with the value of `key`; "" when it is wrong as a whole."""

    key: str
    message: str


def read_keys(
    given: Mapping[str, Any], readers: Mapping[str, Read], required: Collection[str] = ()
) -> tuple[dict[str, Any], list[KeyProblem]]:
    """What the keys mean, and all that is wrong with them. A key without a value counts as not given."""
    values: dict[str, Any] = {}
    problems = [KeyProblem("", f"the key {key!r} is missing") for key in required if given.get(key) is None]
    for key, value in given.items():
        if key not in readers:
            problems.append(KeyProblem(key, f"unknown key {key!r}, {nearest(key, readers)}"))
        elif value is not None:
            try:
                values[key] = readers[key](value)
            except (ValueError, ExpressionError) as error:
                problems.append(KeyProblem(key, str(error)))
    return values, problems


@takes(type="string", pattern=NOT_BLANK)
def read_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected text, found {value!r}")
    return value.strip()


@takes(type="string", pattern=r"^\S+$", maxLength=NAME_BYTES_MAX)
def read_name(value: Any) -> str:
    """The name of an alert or a metric: printable, without blanks, as it becomes a series of its own."""
    name = read_text(value)
    if len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX or not name.isprintable() or " " in name:
        raise ValueError(f"the name {name[:60]!r} holds blanks, control characters, or over {NAME_BYTES_MAX} bytes")
    return name


@takes(type="boolean")
def read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")
    return value


@takes(title="a duration", oneOf=[{"type": "string", "pattern": DURATION}, {"const": 0}])
def read_duration(value: Any) -> float:
    """Seconds of `3m`; a bare 0 needs no unit."""
    if isinstance(value, str):
        return float(parse_duration(value))
    if value == 0 and not isinstance(value, bool):
        return 0.0
    raise ValueError(f"expected a duration such as 500ms, 10s, 3m or 1h, found {value!r}")


def read_seconds(value: Any) -> float:
    """Seconds of a duration, or a number of them; the caller says which are allowed."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else read_duration(value)


def cut(chars: int) -> Reader[str]:
    """A reader of texts of which so many characters are kept."""
    return Reader(lambda value: read_text(value)[:chars], read_text.schema)


def duration_from(low_seconds: float) -> Reader[float]:
    """A reader of durations that are at least this long."""

    @takes(title="a duration", type="string", pattern=DURATION)
    def read(value: Any) -> float:
        seconds = read_duration(value)
        if seconds < low_seconds:
            raise ValueError(f"{value} is shorter than {low_seconds:g}s")
        return seconds

    return read


def number_from(low: float, *, above: bool = False, whole: bool = False) -> Reader[float]:
    """A reader of finite numbers from `low` on, or above it."""

    @takes(**{"type": "integer" if whole else "number", "exclusiveMinimum" if above else "minimum": low})
    def read(value: Any) -> float:
        kinds = (int,) if whole else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"expected a {'whole ' if whole else ''}number, found {value!r}")
        if value < low or (above and value == low):
            raise ValueError(f"{value} is too small: {'above' if above else 'at least'} {low:g} is wanted")
        return value

    return read


def at_most(high: float, read: Reader[Any]) -> Reader[Any]:
    """The same reader, of numbers (of durations: seconds) up to `high`."""

    is_number = read.schema.get("type") in ("integer", "number")

    @takes(**read.schema, **({"maximum": high} if is_number else {}))
    def read_bounded(value: Any) -> Any:
        found = read(value)
        if found > high:
            raise ValueError(f"{value} is too large: at most {high:g} is wanted")
        return found

    return read_bounded


def one_of(choices: Collection[str]) -> Reader[str]:
    """A reader of one word out of a few, in any case."""

    @takes(type="string", enum=list(choices))
    def read(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return value.lower()

    return read


@takes(type="object")
def read_mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected keys with values, found {value!r}")
    return value


@takes(
    type="object",
    maxProperties=TAGS_MAX,
    propertyNames=read_name.schema,
    additionalProperties=read_text.schema,
)
def read_tags(value: Any) -> dict[str, str]:
    """Of an alert or an event: what is longer than TAG_CHARS_MAX is cut."""
    tags = read_mapping(value)
    if len(tags) > TAGS_MAX:
        raise ValueError(f"{len(tags)} tags are more than {TAGS_MAX}")
    return {read_name(tag): read_text(text)[:TAG_CHARS_MAX] for tag, text in tags.items()}


@takes(
    oneOf=[
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "maxItems": RECEIVERS_MAX},
    ]
)
def read_receivers(value: Any) -> tuple[str, ...]:
    """One receiver's URL or a list of them, each checked, without repeats."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"expected a receiver such as sms:+1-555-0100, or a list of them, found {value!r}")
    if len(texts) > RECEIVERS_MAX:
        raise ValueError(f"{len(texts)} receivers are more than {RECEIVERS_MAX}")
    for text in texts:
        parse_target(text)
    return tuple(dict.fromkeys(texts))
