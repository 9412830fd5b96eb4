"""promtool's unit test files, read as they are, with the line of every mistake.

    rule_files: [web.rules.yaml]          ours or Prometheus', globs beside the file
    evaluation_interval: 1m
    tests:
    - interval: 1m
      input_series: [{series: 'up{job="web"}', values: "1x5 0x10"}]
      alert_rule_test: [{eval_time: 12m, alertname: Down, exp_alerts: [{exp_labels: {job: web}}]}]
      promql_expr_test: [{expr: sum(up), eval_time: 6m, exp_samples: [{labels: "{}", value: 0}]}]

`group_eval_order` changes nothing here: recording rules are read by their expressions, so none waits for another.
External labels and URL only show in templates. Errors: ConfigError with all problems that are found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, Final, TypeVar

from hms_ops.errors import ConfigError
from hms_ops.prometheus.durations import seconds_of
from hms_ops.prometheus.inputseries import Values, read_series, read_values
from hms_ops.prometheus.world import JUDGE_SECONDS_MIN, TEST_SECONDS_MAX
from hms_ops.yamlfile import Node, unknown_keys

FILE_KEYS: Final = (
    "rule_files",
    "evaluation_interval",
    "group_eval_order",
    "tests",
    "fuzzy_compare",
    "start_timestamp",
)
TEST_KEYS: Final = (
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
)
MINUTE: Final = 60.0

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class InputSeries:
    metric: str
    labels: Mapping[str, str]
    values: Values
    source: str


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """labels, annotations: None where the test does not say."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class AlertTest:
    alert: str
    seconds: float
    expected: tuple[ExpectedAlert, ...]
    source: str


@dataclass(frozen=True, slots=True)
class ExpressionTest:
    """expected: (metric, labels, value) of each element."""

    expr: str
    seconds: float
    expected: tuple[tuple[str, Mapping[str, str], float], ...]
    source: str


@dataclass(frozen=True, slots=True)
class TestGroup:
    name: str
    interval_seconds: float
    series: tuple[InputSeries, ...]
    alert_tests: tuple[AlertTest, ...]
    expression_tests: tuple[ExpressionTest, ...]

    __test__ = False  # for pytest: no test of ours

    @property
    def end_seconds(self) -> float:
        times = [test.seconds for test in self.alert_tests] + [test.seconds for test in self.expression_tests]
        return max(times, default=0.0)


@dataclass(frozen=True, slots=True)
class TestFile:
    path: Path
    rule_files: tuple[Path, ...]
    evaluation_seconds: float
    groups: tuple[TestGroup, ...]

    __test__ = False


def read_test_file(root: Node, path: Path) -> TestFile:
    """The tests of a file; ConfigError for what promtool would not read either."""
    problems = unknown_keys(root, FILE_KEYS)
    every = taken(problems, root.get("evaluation_interval"), seconds_at, MINUTE) or MINUTE
    if every < JUDGE_SECONDS_MIN:
        problems.append(root.problem("evaluation_interval: rules are judged once a second at most"))
    rule_files: list[Path] = []
    for node in elements(root.get("rule_files")):
        found = sorted(glob(str(path.parent / str(node.value))))
        if not found:
            problems.append(node.problem(f"no rule file {node.value}"))
        rule_files += map(Path, found)
    groups = [read_group(node, every, problems) for node in elements(root.get("tests"))]
    if not problems and not any(group.alert_tests or group.expression_tests for group in groups):
        problems.append(root.problem("nothing is expected: write tests with alert_rule_test or promql_expr_test"))
    if problems:
        raise ConfigError(*problems)
    return TestFile(path, tuple(rule_files), every, tuple(groups))


def read_group(node: Node, every: float, problems: list[str]) -> TestGroup:
    problems += unknown_keys(node, TEST_KEYS)
    name = node.get("name")
    return TestGroup(
        name="" if name is None else str(name.value),
        interval_seconds=taken(problems, node.get("interval"), seconds_at, every) or every,
        series=gathered(problems, node.get("input_series"), read_input),
        alert_tests=gathered(problems, node.get("alert_rule_test"), read_alert_test),
        expression_tests=gathered(problems, node.get("promql_expr_test"), read_expression_test),
    )


def read_input(node: Node) -> InputSeries:
    metric, labels = read_series(required(node, "series"))
    if not metric:
        raise ValueError("a series needs a metric")
    return InputSeries(metric, labels, read_values(required(node, "values")), node.where)


def read_alert_test(node: Node) -> AlertTest:
    expected = tuple(
        ExpectedAlert(
            mapping(one.get("exp_labels")) or {},
            mapping(one.get("exp_annotations")),
        )
        for one in elements(node.get("exp_alerts"))
    )
    return AlertTest(required(node, "alertname"), time_at(node), expected, node.where)


def read_expression_test(node: Node) -> ExpressionTest:
    expected = []
    for one in elements(node.get("exp_samples")):
        labels, value = one.get("labels"), one.get("value")
        metric, tags = read_series("" if labels is None else str(labels.value or ""))
        expected.append((metric, tags, 0.0 if value is None else float(value.value)))
    return ExpressionTest(required(node, "expr"), time_at(node), tuple(expected), node.where)


def time_at(node: Node) -> float:
    """When something is expected, in seconds of the test."""
    seconds = seconds_of(required(node, "eval_time"))
    if seconds > TEST_SECONDS_MAX:
        raise ValueError(f"a test lasts {TEST_SECONDS_MAX / 86_400:g} days at most")
    return seconds


# ---- values of nodes


def elements(node: Node | None) -> list[Node]:
    return [] if node is None else list(node.elements())


def required(node: Node, key: str) -> str:
    child = node.get(key)
    if child is None or child.value is None:
        raise ValueError(f"the key {key!r} is missing")
    return str(child.value)


def mapping(node: Node | None) -> dict[str, str] | None:
    """Texts by name; a name without a text is not there, as for Prometheus."""
    if node is None or node.value is None:
        return None
    return {key: str(child.value) for key, child in node.items() if child.value not in (None, "")}


def seconds_at(node: Node) -> float:
    return seconds_of(str(node.value))


def taken(problems: list[str], node: Node | None, read: Callable[[Node], Read], default: Read) -> Read:
    """What a node says, the default without one; what is wrong with it is added to the problems."""
    if node is None:
        return default
    try:
        return read(node)
    except (ValueError, TypeError) as error:
        problems.append(node.problem(str(error)))
    except ConfigError as error:
        problems += error.problems
    return default


def gathered(problems: list[str], node: Node | None, read: Callable[[Node], Read]) -> tuple[Read, ...]:
    found: list[Any] = [taken(problems, one, read, None) for one in elements(node)]
    return tuple(one for one in found if one is not None)
