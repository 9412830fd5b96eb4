"""Samples as bytes: DogStatsD lines, and how lines become datagrams.

    finance.api_ms:240.5|ms|@0.1|#agency:irs,region:east
    name          :value|kind|@rate|#tag:value,…

Lines are joined by newlines into datagrams. StatsD has no kindless line, so a metric without a kind gets the engine's
own inference: `_ms` at the end is a timer, anything else a gauge. StatsD also reads `-5|g` as "five less", so a gauge
below zero travels as a JSON document, `{"metric":"outside","value":-5,"kind":"gauge"}`; documents that follow each
other share a datagram as an array, and never share one with lines, because the engine tells formats apart by the first
byte. The order of samples is kept.

Characters that would break a line become `_`: control characters and `: | # @ {` in names, `: , |` in tag keys,
`, |` in tag values. What the engine would reject is refused here, where its author can see it: ValueError or TypeError,
which `emit` turns into a count. Pure functions, no state.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Final, NamedTuple

VALUE_MAX: Final = 1e150
NAME_BYTES_MAX: Final = 200
TAGS_MAX: Final = 32

Tags = Mapping[str, str | int | float | bool]

CODES: Final = {"counter": "c", "gauge": "g", "timer": "ms", "histogram": "h", "distribution": "d", "set": "s"}

_SMALLEST_POSITIVE = 5e-324
_CONTROLS = dict.fromkeys((*range(0x20), 0x7F), "_")
_NAME_TABLE = _CONTROLS | dict.fromkeys(map(ord, ":|#@{"), "_")
_TAG_KEY_TABLE = _CONTROLS | dict.fromkeys(map(ord, ":,|"), "_")
_TAG_VALUE_TABLE = _CONTROLS | dict.fromkeys(map(ord, ",|"), "_")
_MEMBER_TABLE = _CONTROLS | dict.fromkeys(map(ord, ":|"), "_")

# A datagram that begins with one of these bytes would be read as JSON or msgpack.
_FORMAT_BYTES = frozenset((*b"{[", *range(0x80, 0xA0), *range(0xDC, 0xE0)))


class Frame(NamedTuple):
    """What is the same in every line of one series: `head + value + tail`.

    A value in [`low`, VALUE_MAX] goes into the line as it is. `low` of a gauge is the smallest positive float, so that
    one comparison finds all values that need a second look: below zero, too large, NaN.
    """

    head: str
    tail: str
    low: float


def frame(name: str, kind: str | None, tags: Tags | None, rate: float) -> Frame:
    """The frame of a series; ValueError or TypeError if the engine would reject every line of it."""
    kind = kind_of(name, kind)
    rate_part = "" if rate == 1 else f"|@{number(rate)!r}"
    tag_part = "|#" + ",".join(f"{key}:{value}" for key, value in clean_tags(tags)) if tags else ""
    low = _SMALLEST_POSITIVE if kind == "gauge" else -VALUE_MAX
    return Frame(f"{clean_name(name)}:", f"|{CODES[kind]}{rate_part}{tag_part}", low)


def kind_of(name: str, kind: str | None) -> str:
    """The kind, inferred from the name where None."""
    if kind is None:
        return "timer" if name.endswith("_ms") else "gauge"
    if kind not in CODES:
        raise ValueError(f"kind {kind!r} is none of {', '.join(CODES)}")
    return kind


def clean_name(name: str) -> str:
    """The name as it may stand in a line: at most 200 bytes, first byte not that of another format."""
    cleaned = _text(name).translate(_NAME_TABLE)
    encoded = cleaned.encode()
    if not encoded or len(encoded) > NAME_BYTES_MAX:
        raise ValueError(f"a name has 1 to {NAME_BYTES_MAX} bytes, not {len(encoded)}: {name[:50]!r}")
    return "_" + cleaned if encoded[0] in _FORMAT_BYTES else cleaned


def clean_tags(tags: Tags) -> list[tuple[str, str]]:
    """The tags, sorted by key so that one series has one spelling; values are strings, numbers or booleans."""
    if len(tags) > TAGS_MAX:
        raise ValueError(f"{len(tags)} tags, at most {TAGS_MAX}")
    return sorted((_clean_tag_key(key), _clean_tag_value(value)) for key, value in tags.items())


def _clean_tag_key(key: str) -> str:
    cleaned = _text(key).translate(_TAG_KEY_TABLE)
    if not cleaned or cleaned.startswith("__"):
        raise ValueError(f"tag key {key!r} is empty or begins with __, which is reserved")
    return cleaned


def _clean_tag_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise TypeError(f"a tag's value is a string, a number or a boolean, not {type(value).__name__}")
    return _text(value).translate(_TAG_VALUE_TABLE)


def _text(value: str) -> str:
    """A plain str that can be encoded; str.__str__ because str(member) of a str Enum is the member's name."""
    return str.__str__(value).encode(errors="replace").decode()


def number(value: object) -> float | int:
    """A plain int or float within ±1e150 of anything that is a number (bool, numpy scalar, Decimal)."""
    if hasattr(value, "__index__"):
        value = int(value)
    elif hasattr(value, "__float__"):
        value = float(value)
    else:
        raise TypeError(f"{type(value).__name__} is not a number")
    if not -VALUE_MAX <= value <= VALUE_MAX:
        raise ValueError("a value is finite and within ±1e150")
    return value


def member(value: object) -> str:
    """The member of a set as it may stand in a line: a string, or a number in its shortest form."""
    text = _text(value).translate(_MEMBER_TABLE) if isinstance(value, str) else repr(number(value))
    if not text:
        raise ValueError("the member of a set is empty")
    return text


def gauge_document(name: str, value: float, tags: Tags | None, rate: float) -> str:
    """A gauge below zero, which no StatsD line can say."""
    import json  # few services have a gauge below zero, all pay for an import

    document: dict[str, object] = {"metric": clean_name(name), "value": value, "kind": "gauge"}
    if tags:
        document["tags"] = dict(clean_tags(tags))
    if rate != 1:
        document["rate"] = number(rate)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


class Datagrams(NamedTuple):
    """`parts`: (datagram, samples in it). `oversize`: samples whose line fits into no datagram."""

    parts: list[tuple[bytes, int]]
    oversize: int


def cut(block: bytes, bytes_max: int) -> Datagrams:
    """Cut newline-joined lines and documents into datagrams of at most `bytes_max` bytes, in order."""
    if not block.startswith(b"{") and b"\n{" not in block:
        return _cut_lines(block, bytes_max)
    parts = []
    oversize = 0
    for is_document, group in groupby(block.split(b"\n"), lambda line: line.startswith(b"{")):
        lines = list(group)
        some = _cut_documents(lines, bytes_max) if is_document else _cut_lines(b"\n".join(lines), bytes_max)
        parts += some.parts
        oversize += some.oversize
    return Datagrams(parts, oversize)


def _cut_lines(block: bytes, bytes_max: int) -> Datagrams:
    """One search per datagram, not per line: the last newline that still fits."""
    parts = []
    oversize = start = 0
    length = len(block)
    while start < length:
        end = length if length - start <= bytes_max else block.rfind(b"\n", start, start + bytes_max + 1)
        if end >= 0:
            parts.append((block[start:end], block.count(b"\n", start, end) + 1))
        else:
            end = block.find(b"\n", start)
            end = length if end < 0 else end
            oversize += 1
        start = end + 1
    return Datagrams(parts, oversize)


def _cut_documents(documents: list[bytes], bytes_max: int) -> Datagrams:
    parts = []
    oversize = 0
    open_documents: list[bytes] = []
    open_bytes = 1  # "[" here, then each document with its "," or "]"
    for document in documents:
        if len(document) + 2 > bytes_max:
            oversize += 1
            continue
        if open_bytes + len(document) + 1 > bytes_max:
            parts.append(_array(open_documents))
            open_documents, open_bytes = [], 1
        open_documents.append(document)
        open_bytes += len(document) + 1
    if open_documents:
        parts.append(_array(open_documents))
    return Datagrams(parts, oversize)


def _array(documents: list[bytes]) -> tuple[bytes, int]:
    return b"[" + b",".join(documents) + b"]", len(documents)
