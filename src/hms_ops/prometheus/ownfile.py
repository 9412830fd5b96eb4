"""Our own unit tests of rules: series as they are sent, and what the rules then do, in states, events and values.

    rules: [../config/rules/finance.yaml]            files beside this one, or rules as a rule file has them
    tests:
    - name: latency pages when it was high for three minutes
      series:
      - {metric: finance.api_ms, kind: timer, tags: {agency: irs}, every: 1s, values: 120x59 240x400}
      expect:
      - {at: 59s, query: avg(finance.api_ms), value: 120}
      - {at: 2m, alert: finance.latency_high, state: pending}
      - {at: 5m, alert: finance.latency_high, state: firing, value: 240, tags: {}}
      - {alert: finance.latency_high, events: [pending 1m40s, firing 4m40s]}

A test without `tests` has `series` and `expect` beside `rules`. `values` are promtool's (inputseries.py), but for a
counter they are what was sent, its increments. Rules are judged every second, as the engine does, or every `judge`.
`state` is inactive, pending or firing; without `tags` any instance will do, and inactive means that none is anything
else. `events` are all that the rule's instances (of these tags) told in the whole test, in their order.

Errors: ConfigError with the line of every mistake. Not here: running them (owntests.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, Final

from hms_ops import kinds
from hms_ops.alert.language.grammar import parse_duration, parse_query
from hms_ops.alert.language.tree import Query
from hms_ops.alert.rule import Rule
from hms_ops.alert.rulefile import read_roots
from hms_ops.errors import ConfigError, ExpressionError
from hms_ops.prometheus.inputseries import read_values
from hms_ops.prometheus.world import JUDGE_SECONDS_MIN, TEST_SECONDS_MAX, Feed
from hms_ops.yamlfile import Node, load_file, unknown_keys

FILE_KEYS: Final = ("rules", "tests", "series", "expect", "judge", "name")
TEST_KEYS: Final = ("name", "series", "expect", "judge")
SERIES_KEYS: Final = ("metric", "kind", "tags", "every", "from", "values")
EXPECT_KEYS: Final = ("at", "alert", "query", "state", "value", "tags", "events", "within")
STATES: Final = ("inactive", "pending", "firing")
EVENTS: Final = ("pending", "firing", "resolved")


@dataclass(frozen=True, slots=True)
class Expectation:
    """seconds: None for events of the whole test. tags: None for those of any instance. within: of the value."""

    source: str
    seconds: float | None = None
    alert: str = ""
    query: Query | None = None
    state: str = ""
    value: float | None = None
    tags: Mapping[str, str] | None = None
    events: tuple[tuple[str, float], ...] = ()
    within: float | None = None


@dataclass(frozen=True, slots=True)
class OwnTest:
    name: str
    judge_seconds: float
    feeds: tuple[Feed, ...]
    expectations: tuple[Expectation, ...]

    @property
    def end_seconds(self) -> float:
        """When nothing can happen any more that is asked about."""
        times = [one.seconds or 0.0 for one in self.expectations]
        times += [time for one in self.expectations for _, time in one.events]
        fed = [feed.samples[-1][0] for feed in self.feeds if feed.samples]
        return max([*times, *(fed if any(one.seconds is None for one in self.expectations) else [])], default=0.0)


@dataclass(frozen=True, slots=True)
class OwnFile:
    rules: tuple[Rule, ...]
    tests: tuple[OwnTest, ...]


def is_own(root: Node) -> bool:
    """Whether a file is one of ours, by its keys."""
    return isinstance(root.value, dict) and bool({"rules", "series", "expect"} & root.value.keys())


def read_own_file(root: Node, path: Path) -> OwnFile:
    problems = unknown_keys(root, FILE_KEYS)
    rules = read_rules(root, path, problems)
    listed = root.get("tests")
    nodes = [] if listed is None else list(listed.elements())
    if root.get("expect") is not None:
        nodes.insert(0, root)
    else:
        problems += [] if nodes else [root.problem("nothing is expected: write tests, or series and expect")]
    tests = [read_test(node, node is root, problems) for node in nodes]
    names = {rule.name for rule in rules}
    problems += [
        f"{one.source}: no rule is named {one.alert!r}"
        for test in tests
        for one in test.expectations
        if one.alert and one.alert not in names
    ]
    if problems:
        raise ConfigError(*problems)
    return OwnFile(rules, tuple(tests))


def read_rules(root: Node, path: Path, problems: list[str]) -> tuple[Rule, ...]:
    """Rules in the file itself, and those of the files it names."""
    section = root.get("rules")
    roots = [Node(root.name, root.line, {"rules": []}, {})]
    written = []
    for node in section.elements() if section is not None else ():
        if isinstance(node.value, str) and node.value.endswith((".yaml", ".yml")):
            found = sorted(glob(str(path.parent / node.value)))
            problems += [] if found else [node.problem(f"no rule file {node.value}")]
            roots += map(load_file, found)
        else:
            written.append(node)
    inline = Node(root.name, root.line, [node.value for node in written], written)
    roots[0] = Node(root.name, root.line, {"rules": inline.value}, {"rules": inline})
    return read_roots(roots, []).rules


def read_test(node: Node, is_root: bool, problems: list[str]) -> OwnTest:
    if not is_root:
        problems += unknown_keys(node, TEST_KEYS)
    name, judge = node.get("name"), node.get("judge")
    feeds = gathered(problems, node.get("series"), read_feed)
    before = len(problems)
    expectations = gathered(problems, node.get("expect"), read_expectation)
    if not expectations and len(problems) == before:
        problems.append(node.problem("nothing is expected: a test without `expect` would always pass"))
    seconds = (
        JUDGE_SECONDS_MIN if judge is None else next(iter(gathered(problems, judge, seconds_of)), JUDGE_SECONDS_MIN)
    )
    return OwnTest(
        "" if name is None else str(name.value), max(JUDGE_SECONDS_MIN, seconds), tuple(feeds), tuple(expectations)
    )


def gathered(problems: list[str], node: Node | None, read: Any) -> list[Any]:
    """What each element of a list says, or the node itself where it is none."""
    found = []
    for one in () if node is None else node.elements() if isinstance(node.value, list) else (node,):
        try:
            found.append(read(one))
        except (ValueError, ExpressionError) as error:
            problems.append(one.problem(str(error)))
        except ConfigError as error:
            problems += error.problems
    return found


def seconds_of(node: Node) -> float:
    if node.value == 0:
        return 0.0
    if not isinstance(node.value, str):
        raise ValueError(f"expected a duration such as 10s or 3m, found {node.value!r}")
    return bounded(parse_duration(node.value))


def bounded(seconds: float) -> float:
    if seconds > TEST_SECONDS_MAX:
        raise ValueError(f"a test lasts {TEST_SECONDS_MAX / 86_400:g} days at most")
    return seconds


def read_feed(node: Node) -> Feed:
    refuse_unknown(node, SERIES_KEYS)
    metric, kind_node = text_at(node, "metric"), node.get("kind")
    kind = "gauge" if kind_node is None else str(kind_node.value)
    if kind not in kinds.NUMBERS or kind in ("unknown", "set"):
        raise ValueError(f"kind: {kind!r} is none of counter, gauge, timer, histogram, distribution")
    every, start = seconds_at(node, "every", 1.0), seconds_at(node, "from", 0.0)
    values = read_values(text_at(node, "values")).samples
    bounded(start + len(values) * every)
    samples = tuple((start + n * every, value) for n, value in enumerate(values) if value is not None)
    return Feed(metric, tags_at(node) or {}, kinds.NUMBERS[kind], samples)


def read_expectation(node: Node) -> Expectation:
    refuse_unknown(node, EXPECT_KEYS)
    values: Mapping[str, Any] = node.value
    alert, query = str(values.get("alert") or ""), values.get("query")
    if bool(alert) == bool(query):
        raise ValueError("an expectation has one of alert and query")
    events = values.get("events")
    if events is None and "at" not in values:
        raise ValueError("the key 'at' is missing")
    state = str(values.get("state") or "")
    if state and state not in STATES:
        raise ValueError(f"state: {state!r} is none of {', '.join(STATES)}")
    if not state and events is None and "value" not in values:
        raise ValueError("an expectation needs state, events or value")
    return Expectation(
        node.where,
        None if events is not None else seconds_at(node, "at", 0.0),
        alert,
        None if query is None else parse_query(str(query)),
        state,
        number_at(values, "value"),
        tags_at(node),
        tuple(read_event(one) for one in events or ()),
        number_at(values, "within"),
    )


def read_event(text: Any) -> tuple[str, float]:
    """`firing 3m`."""
    word, _, time = str(text).partition(" ")
    if word not in EVENTS:
        raise ValueError(f"events: {text!r} is not {', '.join(EVENTS)} with a time, such as firing 3m")
    return word, 0.0 if time.strip() == "0" else bounded(parse_duration(time))


def refuse_unknown(node: Node, keys: tuple[str, ...]) -> None:
    if problems := unknown_keys(node, keys):
        raise ConfigError(*problems)


def text_at(node: Node, key: str) -> str:
    child = node.get(key)
    if child is None or child.value is None:
        raise ValueError(f"the key {key!r} is missing")
    return str(child.value)


def seconds_at(node: Node, key: str, default: float) -> float:
    child = node.get(key)
    return default if child is None else seconds_of(child)


def number_at(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{key}: expected a number, found {value!r}")
    return None if value is None else float(value)


def tags_at(node: Node) -> dict[str, str] | None:
    child = node.get("tags")
    return None if child is None else {key: str(one.value) for key, one in child.items()}
