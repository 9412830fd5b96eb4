"""YAML files whose every value knows its `file:line`, so that a mistake is reported where it stands.

`config.py` and `alert/rulefile.py` read their files through it. `load_file` and `load_text` give the root `Node`; a
node's `value` is plain Python (dict, list, str, int, float, bool, None), its children are nodes again.

Which YAML: the 1.2 core schema, not YAML 1.1. `on:`, `no` and `12:30` stay text, so `on: finance.anomaly` is a key
named "on" and not True; keys are always text. Only the standard tags are known, so nothing is ever constructed from a
file. One document a file. Refused, each with its line: duplicate keys, merge keys (`<<`), keys that are no scalars,
other tags, aliases of themselves, numbers past the range of a float.

Limits: `TEXT_BYTES_MAX`, `DEPTH_MAX`, and `NODES_MAX` counted with aliases written out (a "billion laughs" file stops
there). The tree is built from parser events with a stack of our own: depth costs no recursion.

Errors: one `ConfigError` with all problems of the file; broken syntax ends the reading, so it comes alone. What the
keys mean is their readers' affair; `unknown_keys` and `Node.expected` word the most common refusals the same way for
all of them.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from hms_ops.errors import ConfigError

TEXT_BYTES_MAX: Final = 4 * 1024 * 1024
DEPTH_MAX: Final = 32
NODES_MAX: Final = 200_000

# libyaml where PyYAML was built with it: ten times faster, and the same events.
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node:
    """One value of a file. `line` counts from 1; a value under a key has the key's line, where a reader looks first.

    `where` is `file:line`. `value` is the plain Python value of this node and all below it.
    """

    __slots__ = ("_children", "line", "name", "node_count", "value")

    def __init__(self, name: str, line: int, value: Any, children: Any = None, node_count: int = 1) -> None:
        self.name = name
        self.line = line
        self.value = value
        self.node_count = node_count
        self._children = children

    def __repr__(self) -> str:
        return f"Node({self.where}, {self.value!r})"

    @property
    def where(self) -> str:
        return f"{self.name}:{self.line}"

    @property
    def kind(self) -> str:
        """What the value is, in the words of a message: "a mapping", "a list", "text", "a number", …"""
        return next(words for kind, words in KIND_WORDS if isinstance(self.value, kind))

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """Keys and nodes in the order of the file; ConfigError where this is no mapping. An empty value has none."""
        return iter(self._mapping().items())

    def elements(self) -> Iterator["Node"]:
        """The nodes of a list; ConfigError where this is none. An empty value has none."""
        if self.value is not None and not isinstance(self.value, list):
            raise ConfigError(self.expected("a list"))
        return iter(self._children or ())

    def get(self, key: str) -> "Node | None":
        """The node under `key`, or None; ConfigError where this is no mapping."""
        return self._mapping().get(key)

    def problem(self, message: str) -> str:
        """`file:line: message`, one entry of a ConfigError."""
        return f"{self.where}: {message}"

    def expected(self, words: str) -> str:
        """The problem text `file:line: expected {words}, found {what is here}`."""
        shown = f" {self.value!r}" if isinstance(self.value, str | int | float) else ""
        return self.problem(f"expected {words}, found {self.kind}{shown[:80]}")

    def at_line(self, line: int) -> "Node":
        """The same node seen from another line: a key's, or an alias's."""
        return Node(self.name, line, self.value, self._children, self.node_count)

    def _mapping(self) -> dict[str, "Node"]:
        if self.value is not None and not isinstance(self.value, dict):
            raise ConfigError(self.expected("keys with values"))
        return self._children or {}


KIND_WORDS: Final[tuple[tuple[type, str], ...]] = (
    (dict, "a mapping"),
    (list, "a list"),
    (str, "text"),
    (bool, "a truth value"),
    (int, "a number"),
    (float, "a number"),
    (type(None), "nothing"),
)


def load_file(path: str | Path) -> Node:
    """The root node of a YAML file; ConfigError when it cannot be read or holds a mistake."""
    try:
        with open(path, "rb") as file:
            content = file.read(TEXT_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}:1: cannot read the file: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    return load_text(text, str(path))


def load_text(text: str, name: str) -> Node:
    """The root node of YAML text; `name` stands for the file in messages. Empty text gives a node of None."""
    if len(text) > TEXT_BYTES_MAX:
        raise ConfigError(f"{name}:1: the text is longer than {TEXT_BYTES_MAX:,} bytes; split the file")
    tree = Tree(name)
    try:
        for event in yaml.parse(text, Loader=LOADER):
            tree.take(event)
    except yaml.MarkedYAMLError as error:
        said = f"broken YAML: {error.problem or error.context}"
        tree.refuse(error.problem_mark, said + quote_hint(text, error.problem_mark))
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0)
        tree.problems.append(f"{name}:{text.count(chr(10), 0, position) + 1}: broken YAML: {first_line(error)}")
    except StopReading:
        pass
    if tree.problems:
        raise ConfigError(*tree.problems)
    return tree.root or Node(name, 1, None)


def unknown_keys(node: Node, allowed: Collection[str]) -> list[str]:
    """A problem text for every key of the mapping that is not allowed, with the nearest that is; [] when all are."""
    unknown = [(key, child) for key, child in node.items() if key not in allowed]
    return [child.problem(f"unknown key {key!r}, {nearest(key, allowed)}") for key, child in unknown]


def nearest(word: str, known: Collection[str]) -> str:
    """`did you mean 'for'?`, or the list of what is known when nothing is near."""
    near = difflib.get_close_matches(word.lower(), sorted(known), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


# In a list in brackets: `log:` before a comma or the end.
COLON_WORD: Final = re.compile(r"[\[,]\s*([A-Za-z][\w.-]{0,99}:)(?=[,\]])")
SENTENCE_LINE: Final = re.compile(r"\s*-\s+ALERT\s.*:(?:\s|$)", re.IGNORECASE)  # a rule's, in a list


class StopReading(Exception):
    """A limit was hit: the problem is noted, and reading on could only cost."""


class Tree:
    """Builds nodes from parser events; `problems` gathers what is wrong on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.root: Node | None = None
        self.open: list[OpenCollection] = []
        self.anchors: dict[str, Node] = {}
        self.documents = 0
        self.node_count = 0

    def refuse(self, mark: Any, message: str) -> None:
        self.problems.append(f"{self.name}:{mark.line + 1 if mark else 1}: {message}")

    def stop(self, mark: Any, message: str) -> None:
        self.refuse(mark, message)
        raise StopReading

    def take(self, event: yaml.Event) -> None:
        handle = HANDLERS.get(type(event))
        if handle is not None:
            handle(self, event)

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(event.start_mark, "a second document begins here ('---'); put it into a file of its own")

    def collection(self, event: Any) -> None:
        if len(self.open) == DEPTH_MAX:
            self.stop(event.start_mark, f"nested deeper than {DEPTH_MAX} levels")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", MAPPING_TAG if is_mapping else SEQUENCE_TAG):
            self.refuse(event.start_mark, f"unknown tag {event.tag!r}; remove it")
        self.open.append(OpenCollection(is_mapping, event))

    def close(self, event: Any) -> None:
        done = self.open.pop()
        self.put(done.node(self.name), done.event)

    def alias(self, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            # libyaml has checked that the anchor exists, so it is one that encloses this alias.
            self.stop(event.start_mark, f"alias *{event.anchor} refers to nothing that is complete")
        else:
            self.put(node.at_line(event.start_mark.line + 1), event, is_alias=True)

    def scalar(self, event: Any) -> None:
        if self.open and self.open[-1].wants_key:
            self.open[-1].begin(event.value, event.start_mark.line + 1, self)
            return
        try:
            value = scalar_value(event)
        except ValueError as error:
            self.refuse(event.start_mark, str(error))
            value = None
        self.put(Node(self.name, event.start_mark.line + 1, value), event)

    def put(self, node: Node, event: Any, is_alias: bool = False) -> None:
        """Hand a finished node to the collection that is open, or make it the root."""
        self.node_count += 1
        if max(node.node_count, self.node_count) > NODES_MAX:
            self.stop(event.start_mark, f"more than {NODES_MAX:,} values, aliases written out; split the file")
        if event.anchor and not is_alias:
            self.anchors[event.anchor] = node
        if not self.open:
            self.root = node
        elif self.open[-1].wants_key:
            self.refuse(event.start_mark, "a key has to be plain text")
            self.open[-1].begin(f"({event.start_mark.line}:{event.start_mark.column})", node.line, self)
        else:
            self.open[-1].add(node)


class OpenCollection:
    """A mapping or list that is still being read."""

    __slots__ = ("event", "is_mapping", "key", "key_line", "line", "mapping", "sequence")

    def __init__(self, is_mapping: bool, event: Any) -> None:
        self.is_mapping = is_mapping
        self.event = event
        self.line = event.start_mark.line + 1
        self.key: str | None = None
        self.key_line = self.line
        self.mapping: dict[str, Node] = {}
        self.sequence: list[Node] = []

    @property
    def wants_key(self) -> bool:
        return self.is_mapping and self.key is None

    def begin(self, key: str, line: int, tree: Tree) -> None:
        self.key, self.key_line = key, line
        if key in self.mapping:
            first = self.mapping[key].line
            tree.problems.append(f"{tree.name}:{line}: key {key!r} was given in line {first} already; remove one")
        elif key == "<<":
            tree.problems.append(f"{tree.name}:{line}: merge keys ('<<') are not supported; write the keys out")

    def add(self, node: Node) -> None:
        if self.key is None:
            self.sequence.append(node)
        else:
            self.mapping[self.key] = node.at_line(self.key_line)
            self.key = None

    def node(self, name: str) -> Node:
        if self.is_mapping:
            value: Any = {key: node.value for key, node in self.mapping.items()}
            return Node(name, self.line, value, self.mapping, 1 + count_nodes(self.mapping.values()))
        value = [node.value for node in self.sequence]
        return Node(name, self.line, value, self.sequence, 1 + count_nodes(self.sequence))


def count_nodes(nodes: Iterable[Node]) -> int:
    return sum(node.node_count for node in nodes)


Handler = Callable[[Tree, Any], None]
HANDLERS: Final[dict[type, Handler]] = {
    yaml.DocumentStartEvent: Tree.document,
    yaml.MappingStartEvent: Tree.collection,
    yaml.SequenceStartEvent: Tree.collection,
    yaml.MappingEndEvent: Tree.close,
    yaml.SequenceEndEvent: Tree.close,
    yaml.AliasEvent: Tree.alias,
    yaml.ScalarEvent: Tree.scalar,
}

MAPPING_TAG: Final = "tag:yaml.org,2002:map"
SEQUENCE_TAG: Final = "tag:yaml.org,2002:seq"
TEXT_TAGS: Final = ("tag:yaml.org,2002:str", "!")
TYPED_TAGS: Final = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))

# YAML 1.2, section 10.3.2, without .inf and .nan: no setting wants them, and as text they meet a clear refusal.
CORE_SCHEMA: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r"(?:null|Null|NULL|~|)\Z"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE)\Z"), lambda text: True),
    (re.compile(r"(?:false|False|FALSE)\Z"), lambda text: False),
    (re.compile(r"[-+]?[0-9]{1,300}\Z"), int),
    (re.compile(r"0o[0-7]{1,300}\Z"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,300}\Z"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"), float),
)


def scalar_value(event: yaml.ScalarEvent) -> Any:
    """A scalar as Python; quoted and block scalars are text. ValueError for other tags and endless numbers."""
    if event.tag in TEXT_TAGS or (event.tag is None and event.style):
        return event.value
    if event.tag is not None and event.tag not in TYPED_TAGS:
        raise ValueError(f"unknown tag {event.tag!r}; remove it")
    return plain_value(event.value)


def plain_value(text: str) -> Any:
    for pattern, convert in CORE_SCHEMA:
        if pattern.match(text):
            value = convert(text)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"the number {text[:40]} is out of range")
            return value
    return text


def quote_hint(text: str, mark: Any) -> str:
    """For the line of a mistake that holds `[log:]`: a word that ends in a colon is text in a list only when quoted,
    and so is `- ALERT … NOTIFY log: …`."""
    lines = text.splitlines()
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if found := COLON_WORD.search(line):
        return f'; quote what ends in a colon: ["{found[1]}"]'
    return "; quote a sentence with such a colon whole: - 'ALERT …'" if SENTENCE_LINE.match(line) else ""


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
