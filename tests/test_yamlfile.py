"""YAML with line numbers: what is read, where it stands, and everything that is refused with its line."""

from pathlib import Path

import pytest

from hms_ops.errors import ConfigError
from hms_ops.yamlfile import Node, load_file, load_text, unknown_keys

RULES = """\
rules:
  - alert: finance.latency_high
    if: avg(finance.api_ms) > 200
    for: 3m
    notify: [sms:+1-555-0100, log]
actions:
  - on: finance.anomaly
"""


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml")
    return caught.value.problems


def first_rule() -> Node:
    rules = load_text(RULES, "f.yaml").get("rules")
    assert rules is not None
    return next(rules.elements())


def test_values_are_plain_python() -> None:
    assert load_text(RULES, "f.yaml").value == {
        "rules": [
            {
                "alert": "finance.latency_high",
                "if": "avg(finance.api_ms) > 200",
                "for": "3m",
                "notify": ["sms:+1-555-0100", "log"],
            }
        ],
        "actions": [{"on": "finance.anomaly"}],
    }


def test_a_value_stands_in_the_line_of_its_key() -> None:
    assert {key: node.where for key, node in first_rule().items()} == {
        "alert": "f.yaml:2",
        "if": "f.yaml:3",
        "for": "f.yaml:4",
        "notify": "f.yaml:5",
    }


def test_a_block_text_stands_in_the_line_of_its_key() -> None:
    node = load_text("a: 1\nif: >\n  avg(x)\n  > 200\n", "f.yaml").get("if")
    assert node is not None
    assert (node.line, node.value) == (2, "avg(x) > 200\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing but a comment", None),
        ("~", None),
        ("a:", {"a": None}),
        ("on: off", {"on": "off"}),
        ("y: yes", {"y": "yes"}),
        ("t: 12:30:45", {"t": "12:30:45"}),
        ("d: 2024-01-31", {"d": "2024-01-31"}),
        ("a: true", {"a": True}),
        ("a: [1, -2, +3, 010, 0o17, 0x1F]", {"a": [1, -2, 3, 10, 15, 31]}),
        ("a: [1.5, .5, 1., 1e3, -2.5E-3]", {"a": [1.5, 0.5, 1.0, 1000.0, -0.0025]}),
        ("a: [.nan, .inf, 1_000, 0b1]", {"a": [".nan", ".inf", "1_000", "0b1"]}),
        ("a: '200'", {"a": "200"}),
        ("a: !!str 200", {"a": "200"}),
        ("1: x", {"1": "x"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("\ufeffa: 1", {"a": 1}),
        ("---\na: 1\n...\n", {"a": 1}),
    ],
)
def test_the_core_schema_is_read(text: str, value: object) -> None:
    assert load_text(text, "f.yaml").value == value


LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "f.yaml:2: key 'a' was given in line 1 already"),
        ("x:\n  a: 1\n  a: 2", "f.yaml:3: key 'a' was given in line 2 already"),
        ("a: [", "f.yaml:2: broken YAML"),
        ("a:\n  notify: [log:]", "f.yaml:2: broken YAML: found unexpected ':'; quote what ends in a colon: [\"log:\"]"),
        (
            "rules:\n  - ALERT n WHEN x > 3 NOTIFY log: , webhook: ops",
            "f.yaml:2: broken YAML: did not find expected node content; "
            "quote a sentence with such a colon whole: - 'ALERT …'",
        ),
        ("a: 1\n\tb: 2", "f.yaml:2: broken YAML"),
        ("a: 'x", "f.yaml:1: broken YAML"),
        ("a: 1\nb: \x07", "f.yaml:2: broken YAML"),
        ("a: 1\n---\nb: 2", "f.yaml:2: a second document begins here"),
        ("a: &x [*x]", "f.yaml:1: alias *x refers to nothing"),
        ("b: 1\na: *nobody", "f.yaml:2: alias *nobody refers to nothing"),
        ("a: !!python/object/apply:os.system [ls]", "f.yaml:1: unknown tag"),
        ("a: !!timestamp 2024-01-01", "f.yaml:1: unknown tag"),
        ("a: !secret x", "f.yaml:1: unknown tag"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "f.yaml:3: merge keys"),
        ("? [1]\n: 2", "f.yaml:1: a key has to be plain text"),
        ("a: 1e999", "f.yaml:1: the number 1e999 is out of range"),
        ("[" * 60_000, "f.yaml:1: nested deeper than 32 levels"),
        ("- " * 60_000, "f.yaml:1: nested deeper than 32 levels"),
        ("{a: " * 60_000, "f.yaml:1: nested deeper than 32 levels"),
        (LAUGHS, "f.yaml:7: more than 200,000 values"),
        ("- 1\n" * 300_000, "f.yaml:200001: more than 200,000 values"),
        ("#" * (4 * 1024 * 1024 + 1), "f.yaml:1: the text is longer than 4,194,304 bytes"),
    ],
    ids=range(23),
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, expected: str) -> None:
    assert problems_of(text)[0].startswith(expected)


def test_all_duplicates_of_a_file_are_told_at_once() -> None:
    assert [problem.split(":")[1] for problem in problems_of("a: 1\na: 2\nb: 1\nb: !x 2")] == ["2", "4", "4"]


def test_an_unknown_key_proposes_the_nearest() -> None:
    node = load_text("alert: x\nfro: 3m\nzzz: 1\n", "f.yaml")
    assert unknown_keys(node, ("alert", "for", "if")) == [
        "f.yaml:2: unknown key 'fro', did you mean 'for'?",
        "f.yaml:3: unknown key 'zzz', known are alert, for, if",
    ]


def test_an_empty_value_has_neither_keys_nor_elements() -> None:
    node = load_text("", "f.yaml")
    assert (list(node.items()), list(node.elements()), node.get("rules")) == ([], [], None)


def test_the_wrong_shape_says_what_was_found() -> None:
    rules = load_text(RULES, "f.yaml").get("rules")
    assert rules is not None
    with pytest.raises(ConfigError, match=r"f\.yaml:1: expected keys with values, found a list"):
        rules.get("alert")
    with pytest.raises(ConfigError, match=r"f\.yaml:2: expected a list, found a mapping"):
        next(first_rule().elements())
    assert first_rule().get("for").expected("a number") == "f.yaml:4: expected a number, found text '3m'"  # type: ignore[union-attr]


def test_a_file_names_itself_in_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a: 1\nb: [\n")
    with pytest.raises(ConfigError, match=r"rules\.yaml:3: broken YAML"):
        load_file(path)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the file: No such file"):
        load_file(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot read the file: Is a directory"):
        load_file(tmp_path)


def test_a_file_that_is_not_utf8_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: not UTF-8 text \(byte 11\)"):
        load_file(path)
