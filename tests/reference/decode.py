"""The three decoders in plain Python: bytes to samples and counts by reason, as DESIGN's wire formats say.

Slow and obvious twins of collector/_statsd, _json and _msgpack; they share no code with them. `decode` judges what one
datagram says and nothing that takes a store (kinds of known metrics, age of a timestamp): that is `cells.py`.

Of a rejected document only that it is rejected is defined here, not the reason: where two faults meet, either is right.
"""

import json
import math
import re
import struct
from collections import Counter
from dataclasses import dataclass, field

NAME_BYTES_MAX = 200
TAGS_BYTES_MAX = 4096
TAGS_MAX = 32
DEPTH_MAX = 16
MAGNITUDE_MAX = 1e150
RATE_MIN = 1e-12
TIME_MAX = 1e11
KINDS = {b"counter": 1, b"gauge": 2, b"timer": 3, b"histogram": 4, b"distribution": 5, b"set": 6}
LETTERS = {b"c": 1, b"g": 2, b"ms": 3, b"h": 4, b"d": 5, b"s": 6}
SPELLED = KINDS | LETTERS
GAUGE, SET = 2, 6

Tags = list[tuple[bytes, bytes]]


class Rejected(Exception):
    """The document can't be read."""


class Bad(Exception):
    """One value can't be taken; the argument is the reason."""


@dataclass
class Sample:
    """`tags` as the wire spelled them; `tags_bad` is what the store will say when it reads them."""

    name: bytes
    value: float = 0.0
    member: bytes | None = None
    kind: int = 0
    tags: Tags = field(default_factory=list)
    tags_bad: str = ""
    weight: float = 1.0
    time: float | None = None
    is_delta: bool = False


@dataclass
class Decoded:
    is_rejected: bool = False
    samples: list[Sample] = field(default_factory=list)
    bad: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)


def decode(data: bytes, signs_are_deltas: bool = True) -> Decoded:
    found = Decoded()
    if not data:
        return Decoded(is_rejected=True)
    try:
        if data[0] in b"{[":
            JsonReader(data, found).document()
        elif 0x80 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF:
            PackReader(data, found).document()
        else:
            for line in data.split(b"\n"):
                statsd_line(line.removesuffix(b"\r"), signs_are_deltas, found)
    except Rejected:
        return Decoded(is_rejected=True)
    return found


# ---- numbers, names and tags ----

DIGITS = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
EXPONENT = re.compile(rb"[eE][+-]?[0-9]+")


def number(text: bytes) -> float:
    """The value as Python reads it, or Bad."""
    digits = DIGITS.match(text)
    if digits is None:
        word = text.removeprefix(b"-").removeprefix(b"+") if text[:1] in b"+-" else text
        word = word.removeprefix(b".").lower()
        raise Bad("nan" if word.startswith(b"nan") else "infinite" if word.startswith(b"inf") else "number")
    end = digits.end()
    if text[end : end + 1] in (b"e", b"E"):
        exponent = EXPONENT.match(text, end)
        if exponent is None:
            raise Bad("number")
        end = exponent.end()
    value = float(text[:end])
    if abs(value) > MAGNITUDE_MAX:
        raise Bad("magnitude")
    if end != len(text):
        raise Bad("number")
    return value


def weight_of(rate: float) -> float:
    if not RATE_MIN <= rate <= 1.0:
        raise Bad("rate")
    return 1.0 / rate


def text_fault(text: bytes) -> str:
    """Why a name, a tag's key or its value is no text."""
    if any(byte < 0x20 or byte == 0x7F for byte in text):
        return "control_byte"
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        # A control byte behind broken UTF-8 is a control byte all the same, one in it (C1) is not looked for.
        return "utf8"
    return "control_byte" if any(0x80 <= ord(c) < 0xA0 for c in decoded) else ""


def tag_fault(key: bytes, value: bytes) -> str:
    if not key:
        return "tag"
    if key.startswith(b"__"):
        return "tag_reserved"
    return text_fault(key) or text_fault(value)


def canonical(sample: Sample) -> dict[bytes, bytes]:
    """The tags that name the series; Bad for a name or tags that can name none."""
    fault = text_fault(sample.name) or sample.tags_bad
    if not fault and len(sample.tags) > TAGS_MAX:
        fault = "too_many_tags"
    fault = fault or next(filter(None, (tag_fault(*tag) for tag in sample.tags)), "")
    if fault:
        raise Bad(fault)
    tags = dict(sample.tags)
    if sum(len(key) + len(value) + 2 for key, value in tags.items()) > TAGS_BYTES_MAX:
        raise Bad("tags_too_long")
    return tags


# ---- StatsD ----


def statsd_line(line: bytes, signs_are_deltas: bool, found: Decoded) -> None:
    if line.startswith(b"_sc|"):
        found.ignored["check"] += 1
    elif line.startswith(b"_e{") and b":" in line:
        found.ignored["event"] += 1
    elif line:
        try:
            statsd_values(line, signs_are_deltas, found)
        except Bad as bad:
            found.bad[str(bad)] += 1


def statsd_values(line: bytes, signs_are_deltas: bool, found: Decoded) -> None:
    name, colon, rest = line.partition(b":")
    if not colon:
        raise Bad("syntax")
    if not name:
        raise Bad("name_empty")
    if len(name) > NAME_BYTES_MAX:
        raise Bad("name_too_long")
    values, bar, sections = rest.partition(b"|")
    if not bar:
        raise Bad("syntax")
    shape = statsd_shape(name, sections.split(b"|"), found)
    for piece in values.split(b":"):
        sample = Sample(name, kind=shape.kind, tags=shape.tags, weight=shape.weight, time=shape.time)
        try:
            statsd_value(sample, piece, signs_are_deltas)
        except Bad as bad:
            found.bad[str(bad)] += 1
        else:
            found.samples.append(sample)


def statsd_shape(name: bytes, sections: list[bytes], found: Decoded) -> Sample:
    """What all values of the line share."""
    shape = Sample(name, kind=LETTERS.get(sections[0], 0))
    if sections[0] and not shape.kind:
        raise Bad("kind")
    for section in sections[1:]:
        statsd_section(shape, section, found)
    if not shape.kind:
        raise Bad("kind")
    return shape


def statsd_section(shape: Sample, section: bytes, found: Decoded) -> None:
    if not section:
        raise Bad("syntax")
    if section.startswith(b"#"):
        if len(section) - 1 > TAGS_BYTES_MAX:
            raise Bad("tags_too_long")
        shape.tags = [(key, value) for key, _, value in (t.partition(b":") for t in section[1:].split(b",") if t)]
    elif section.startswith(b"@"):
        shape.weight = weight_of(number_or(section[1:], "rate"))
    elif section.startswith(b"T"):
        shape.time = number_or(section[1:], "time")
        if not 0 < shape.time < TIME_MAX:
            raise Bad("time")
    elif section[:2] not in (b"c:", b"e:"):
        found.ignored["section"] += 1


def number_or(text: bytes, reason: str) -> float:
    try:
        return number(text)
    except Bad:
        raise Bad(reason) from None


def statsd_value(sample: Sample, piece: bytes, signs_are_deltas: bool) -> None:
    if sample.kind == SET:
        if not piece:
            raise Bad("set_member")
        sample.member = piece
        return
    sample.value = number(piece)
    sample.is_delta = sample.kind == GAUGE and signs_are_deltas and piece[:1] in (b"+", b"-")


# ---- the members of JSON and msgpack ----

MEMBERS = {b"metric": "name", b"name": "name", b"value": "value", b"kind": "kind", b"tags": "tags", b"time": "time",
           b"rate": "rate"}  # fmt: skip


@dataclass
class Element:
    """One object's members; `bad` is the last thing found wrong, which is the one that counts."""

    name: bytes | None = None
    value: float | None = None
    text: bytes = b""
    kind: int = 0
    tags: Tags = field(default_factory=list)
    tags_bytes: int = 0
    tags_bad: str = ""
    time: float | None = None
    weight: float = 1.0
    seen: set[str] = field(default_factory=set)
    bad: str = ""

    def sample(self) -> Sample:
        """The element as a sample, or Bad."""
        checks = (
            (self.bad, self.bad),
            ("name" not in self.seen, "name_missing"),
            ("value" not in self.seen, "value_missing"),
            (not self.name, "name_empty"),
            (len(self.name or b"") > NAME_BYTES_MAX, "name_too_long"),
            (self.tags_bytes > TAGS_BYTES_MAX, "tags_too_long"),
            (self.value is None and self.kind != SET, "number"),
            (self.kind == SET and not self.text, "set_member"),
            (not -TIME_MAX < (self.time or 0.0) < TIME_MAX, "time"),
        )
        for is_bad, reason in checks:
            if is_bad:
                raise Bad(reason)
        assert self.name is not None
        member = self.text if self.kind == SET else None
        value = 0.0 if self.value is None else self.value
        return Sample(self.name, value, member, self.kind, self.tags, self.tags_bad, self.weight, self.time)

    def emit(self, found: Decoded) -> None:
        try:
            found.samples.append(self.sample())
        except Bad as bad:
            found.bad[str(bad)] += 1


# ---- JSON ----

STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
BLANKS = re.compile(rb"[ \t\r\n]*")
WORDS = (b"true", b"false", b"null")
UNKNOWN_MAX = 64


class JsonReader:
    """A recursive descent over the bytes; every method moves `at`."""

    def __init__(self, data: bytes, found: Decoded) -> None:
        self.data = data
        self.found = found
        self.at = 0

    def peek(self) -> bytes:
        return self.data[self.at : self.at + 1]

    def take(self, byte: bytes) -> bool:
        """Past blanks and `byte`, if it is there."""
        self.blanks()
        if self.peek() != byte:
            return False
        self.at += 1
        return True

    def want(self, byte: bytes) -> None:
        if not self.take(byte):
            raise Rejected

    def blanks(self) -> None:
        match = BLANKS.match(self.data, self.at)
        assert match is not None
        self.at = match.end()

    def match(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self.data, self.at)
        if match is None:
            raise Rejected
        self.at = match.end()
        return match[0]

    def string(self) -> bytes:
        try:
            return str(json.loads(self.match(STRING).decode())).encode()
        except (UnicodeDecodeError, UnicodeEncodeError):  # no UTF-8, or half a surrogate pair
            raise Rejected from None

    def document(self) -> None:
        if self.take(b"{"):
            self.element(1)
        elif self.take(b"[") and not self.take(b"]"):
            self.item()
            while self.take(b","):
                self.item()
            self.want(b"]")
        self.blanks()
        if self.at != len(self.data):
            raise Rejected

    def item(self) -> None:
        if self.take(b"{"):
            self.element(2)
        else:
            self.skip(1)
            self.found.bad["element"] += 1

    def skip(self, depth: int) -> None:
        """Any value inside `depth` containers."""
        self.blanks()
        if self.peek() == b'"':
            self.string()
        elif self.peek() in (b"{", b"["):
            if depth >= DEPTH_MAX:
                raise Rejected
            self.skip_container(depth + 1)
        elif not self.word():
            self.match(JSON_NUMBER)

    def word(self) -> bool:
        for word in WORDS:
            if self.data.startswith(word, self.at):
                self.at += len(word)
                return True
        return False

    def skip_container(self, depth: int) -> None:
        if self.take(b"["):
            if not self.take(b"]"):
                self.skip(depth)
                while self.take(b","):
                    self.skip(depth)
                self.want(b"]")
            return
        keys: list[bytes] = []
        for key in self.keys():
            note(keys, key, UNKNOWN_MAX)
            self.skip(depth)

    def keys(self):  # type: ignore[no-untyped-def]
        """Each key of an object; the caller reads its value."""
        self.take(b"{")
        if self.take(b"}"):
            return
        while True:
            self.blanks()
            key = self.string()
            self.want(b":")
            self.blanks()
            yield key
            if not self.take(b","):
                break
        self.want(b"}")

    def element(self, depth: int) -> None:
        self.at -= 1
        element = Element()
        unknown: list[bytes] = []
        for key in self.keys():
            member = MEMBERS.get(key)
            if member is None:
                self.found.ignored["member"] += 1
                note(unknown, key, UNKNOWN_MAX)
                self.skip(depth)
                continue
            if member in element.seen:
                raise Rejected
            element.seen.add(member)
            getattr(self, member)(element, depth)
        element.emit(self.found)

    def name(self, element: Element, depth: int) -> None:
        if self.peek() == b'"':
            element.name = self.string()
        else:
            element.bad = "name_missing"
            self.skip(depth)

    def value(self, element: Element, depth: int) -> None:
        if self.peek() == b'"':
            element.text = self.string()
        elif self.peek() in b"-0123456789" and self.peek():
            element.text = self.match(JSON_NUMBER)
            element.value = float(element.text)
            if abs(element.value) > MAGNITUDE_MAX:
                element.bad = "magnitude"
        else:
            element.bad = "number"
            self.skip(depth)

    def kind(self, element: Element, depth: int) -> None:
        if self.peek() == b'"':
            element.kind = SPELLED.get(self.string(), 0)
            element.bad = element.bad if element.kind else "kind"
        else:
            self.skip_as(element, "kind", depth)

    def skip_as(self, element: Element, reason: str, depth: int) -> None:
        if self.peek() != b"n":
            element.bad = reason
        self.skip(depth)

    def tags(self, element: Element, depth: int) -> None:
        if self.peek() != b"{":
            self.skip_as(element, "tag", depth)
            return
        start = self.at
        keys: list[bytes] = []
        for key in self.keys():
            if len(keys) == TAGS_MAX:
                element.bad = "too_many_tags"
            else:
                note(keys, key, TAGS_MAX)
            if self.peek() in (b"{", b"[", b"n"):
                element.bad = "tag"
            value_at = self.at
            text = self.string() if self.peek() == b'"' else None
            if text is None:
                self.skip(depth + 1)
                text = self.data[value_at : self.at]
            element.tags.append((key, text))
        element.tags_bytes = self.at - start if element.tags else 0

    def time(self, element: Element, depth: int) -> None:
        self.time_or_rate(element, "time", depth)

    def rate(self, element: Element, depth: int) -> None:
        self.time_or_rate(element, "rate", depth)

    def time_or_rate(self, element: Element, member: str, depth: int) -> None:
        if not self.peek() or self.peek() not in b"-0123456789":
            self.skip_as(element, member, depth)
            return
        try:
            value = number(self.match(JSON_NUMBER))
            if member == "time":
                element.time = value
            else:
                element.weight = weight_of(value)
        except Bad:
            element.bad = member


def note(keys: list[bytes], key: bytes, keys_max: int) -> None:
    if key in keys or len(keys) == keys_max:
        raise Rejected
    keys.append(key)


# ---- msgpack ----

Token = tuple[str, object]  # ("map" | "array", elements), ("number", int | float), ("string", bytes) …


class PackReader:
    """One header after the other, as the specification's table lists them."""

    def __init__(self, data: bytes, found: Decoded) -> None:
        self.data = data
        self.found = found
        self.at = 0

    def bytes(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            raise Rejected
        self.at += n
        return self.data[self.at - n : self.at]

    def unsigned(self, width: int) -> int:
        return int.from_bytes(self.bytes(width), "big")

    def container(self, name: str, n: int) -> Token:
        if n * (2 if name == "map" else 1) > len(self.data) - self.at:
            raise Rejected
        return name, n

    def token(self) -> Token:
        head = self.unsigned(1)
        if head < 0x80 or head >= 0xE0:
            return "number", head - 256 if head >= 0xE0 else head
        if head < 0x90:
            return self.container("map", head & 15)
        if head < 0xA0:
            return self.container("array", head & 15)
        if head < 0xC0:
            return "string", self.bytes(head & 31)
        if head in (0xC0, 0xC2, 0xC3):
            return ("nil", None) if head == 0xC0 else ("bool", head == 0xC3)
        return self.wide_token(head)

    def wide_token(self, head: int) -> Token:
        if 0xCC <= head <= 0xD3:
            return "number", int.from_bytes(self.bytes(1 << (head & 3)), "big", signed=head >= 0xD0)
        if head in (0xCA, 0xCB):
            return "number", struct.unpack(">f" if head == 0xCA else ">d", self.bytes(4 if head == 0xCA else 8))[0]
        if 0xD9 <= head <= 0xDB:
            return "string", self.bytes(self.unsigned(1 << (head - 0xD9)))
        if 0xC4 <= head <= 0xC6:
            return "binary", self.bytes(self.unsigned(1 << (head - 0xC4)))
        if 0xDC <= head <= 0xDF:
            return self.container("array" if head < 0xDE else "map", self.unsigned(4 if head & 1 else 2))
        if 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8:
            n = self.unsigned(1 << (head - 0xC7)) if head < 0xD0 else 1 << (head - 0xD4)
            return "extension", (self.bytes(1), self.bytes(n))
        raise Rejected

    def skip_contents(self, token: Token, depth: int) -> None:
        kind, n = token
        if kind not in ("map", "array"):
            return
        if depth >= DEPTH_MAX:
            raise Rejected
        assert isinstance(n, int)
        for _ in range(2 * n if kind == "map" else n):
            self.skip_contents(self.token(), depth + 1)

    def document(self) -> None:
        kind, n = self.token()
        assert isinstance(n, int)
        if kind == "map":
            self.element(n, 1)
        else:
            for _ in range(n):
                self.item()
        if self.at != len(self.data):
            raise Rejected

    def item(self) -> None:
        kind, n = token = self.token()
        if kind == "map":
            assert isinstance(n, int)
            self.element(n, 2)
        else:
            self.skip_contents(token, 1)
            self.found.bad["element"] += 1

    def element(self, pairs: int, depth: int) -> None:
        element = Element()
        for _ in range(pairs):
            key = self.token()
            member = MEMBERS.get(key[1]) if key[0] == "string" else None  # type: ignore[call-overload]
            if member is None:
                self.found.ignored["member"] += 1
                self.skip_contents(key, depth)
                self.skip_contents(self.token(), depth)
                continue
            if member in element.seen:
                raise Rejected
            element.seen.add(member)
            self.member(element, member, depth)
        if element.kind == SET and element.value is not None:
            element.text = b"%.17g" % element.value
        element.emit(self.found)

    def member(self, element: Element, member: str, depth: int) -> None:
        start = self.at
        token = self.token()
        if token[0] == "nil" and member not in ("value", "name"):
            return
        if member == "tags" and token[0] == "map":
            self.tags(element, token, start, depth)
            return
        if member == "tags":
            element.bad = "tag"
        else:
            getattr(self, member)(element, *token)
        self.skip_contents(token, depth)

    def tags(self, element: Element, token: Token, start: int, depth: int) -> None:
        body = self.at
        self.skip_contents(token, depth)
        element.tags_bytes = self.at - start if token[1] else 0
        end, self.at = self.at, body
        assert isinstance(token[1], int)
        for i in range(token[1]):
            key, value = self.token(), self.token() if self.at < end else ("nil", None)
            fault = "" if key[0] == "string" and value[0] in ("string", "number", "bool") else "tag"
            fault = fault or ("too_many_tags" if i == TAGS_MAX else "")
            if fault:
                element.tags_bad = fault
                break
            element.tags.append((key[1], spell(value)))  # type: ignore[arg-type]
        self.at = end

    def name(self, element: Element, kind: str, value: object) -> None:
        if kind == "string":
            element.name = value  # type: ignore[assignment]
        else:
            element.bad = "name_missing"

    def value(self, element: Element, kind: str, value: object) -> None:
        if kind == "string":
            element.text = value  # type: ignore[assignment]
        elif kind == "number":
            element.value = float(value)  # type: ignore[arg-type]
            if math.isnan(element.value):
                element.bad = "nan"
            elif math.isinf(element.value):
                element.bad = "infinite"
            elif abs(element.value) > MAGNITUDE_MAX:
                element.bad = "magnitude"
        else:
            element.bad = "number"

    def kind(self, element: Element, kind: str, value: object) -> None:
        element.kind = SPELLED.get(value, 0) if kind == "string" else 0  # type: ignore[call-overload]
        element.bad = element.bad if element.kind else "kind"

    def time(self, element: Element, kind: str, value: object) -> None:
        seconds = float(value) if kind == "number" else timestamp(value) if kind == "extension" else math.inf  # type: ignore[arg-type]
        if -TIME_MAX < seconds < TIME_MAX:
            element.time = seconds
        else:
            element.bad = "time"

    def rate(self, element: Element, kind: str, value: object) -> None:
        try:
            if kind != "number":
                raise Bad("rate")
            element.weight = weight_of(float(value))  # type: ignore[arg-type]
        except Bad:
            element.bad = "rate"


def spell(token: Token) -> bytes:
    """A tag's value: numbers in decimal."""
    kind, value = token
    if kind == "string":
        assert isinstance(value, bytes)
        return value
    if kind == "bool":
        return b"true" if value else b"false"
    if isinstance(value, int) and value < 1 << 63:
        return b"%d" % value
    number = float(value)  # type: ignore[arg-type]
    return b"-nan" if math.isnan(number) and math.copysign(1, number) < 0 else b"%.17g" % number


def timestamp(extension: tuple[bytes, bytes]) -> float:
    """The timestamp extension's three forms in seconds; infinite for any other extension."""
    kind, body = extension
    if kind != b"\xff" or len(body) not in (4, 8, 12):
        return math.inf
    if len(body) == 4:
        return float(int.from_bytes(body, "big"))
    if len(body) == 8:
        packed = int.from_bytes(body, "big")
        return float(packed & (1 << 34) - 1) + float(packed >> 34) * 1e-9
    return float(int.from_bytes(body[4:], "big", signed=True)) + float(int.from_bytes(body[:4], "big")) * 1e-9
