"""docs/alerts.md: every example is read by the engine, and compiles; what it names is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from hms_ops.alert.language.explaining import words_of
from hms_ops.alert.language.functions import function_named
from hms_ops.alert.language.grammar import parse_statement
from hms_ops.alert.language.lint import lint
from hms_ops.alert.language.tokens import KEYWORDS
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.rule import rule_from_sentence
from hms_ops.alert.rulefile import read_roots
from hms_ops.cli.main import COMMANDS
from hms_ops.prometheus.run import outcomes_of
from hms_ops.yamlfile import load_text

TEXT = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text("utf-8")
BLOCKS = re.findall(r"^```([a-z ]+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SENTENCES = [line for kind, block in BLOCKS if kind == "alert" for line in block.splitlines()]


def test_there_are_ten_sentences() -> None:
    assert len(SENTENCES) == 10
    assert {kind for kind, _ in BLOCKS} == {"alert", "yaml", "yaml test"}
    assert len(TEXT.splitlines()) <= 250


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_is_a_rule_without_a_warning(sentence: str) -> None:
    assert parse_statement(sentence).name
    rule, problems = rule_from_sentence(sentence, "docs/alerts.md:1")
    assert problems == []
    assert rule is not None
    compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text)
    assert lint([rule]) == []
    assert all(words_of(rule))


def test_the_examples_use_the_whole_language() -> None:
    words = set(re.findall(r"[A-Z]+", re.sub(r"'[^']*'|\"[^\"]*\"", "", " ".join(SENTENCES) + TEXT)))
    assert words >= KEYWORDS


def test_the_files_load_together() -> None:
    loaded = read_roots([load_text(block, "alerts.md") for kind, block in BLOCKS if kind == "yaml"], [])
    assert (len(loaded.rules), len(loaded.anomalies), len(loaded.actions), len(loaded.slos)) == (2, 1, 2, 1)
    assert (len(loaded.routes), len(loaded.inhibitions), len(loaded.mute_times), len(loaded.policies)) == (1, 1, 2, 1)
    policies = {policy.name for policy in loaded.policies}
    assert lint(loaded.rules, policies=policies) == []


def test_the_unit_test_passes(tmp_path: Path) -> None:
    file = tmp_path / "alerts.test.yaml"
    file.write_text(next(block for kind, block in BLOCKS if kind == "yaml test"))
    assert {outcome.result for outcome in outcomes_of(file)} == {"passed"}


def test_the_commands_that_are_named_are_there() -> None:
    named = re.findall(r"`(alerts|audit|actions|slo|rules) ([a-z-]+)[^`]*`", TEXT)
    assert len(named) >= 20
    for group, command in named:
        module, attribute, _ = COMMANDS[group]
        found = getattr(import_module(f"hms_ops.cli.{module}"), attribute)
        assert command in found.commands, f"{group} {command}"


def test_the_functions_and_commands_that_are_named_are_there() -> None:
    (table,) = re.findall(r"\| functions \|.*?\n\n", TEXT, re.DOTALL)
    for code in re.findall(r"`([^`]+)`", table):
        for name in re.findall(r"[a-z_][a-z_0-9.]*(?=\()", code) or re.findall(r"[a-z_]+[0-9.]*", code):
            assert function_named(name) is not None, name
    (tools,) = re.findall(r"## Tools\n.*?\n\nA unit test", TEXT, re.DOTALL)
    first = [words.split()[0] for words in re.findall(r"^\| `(?:hms-ops-engine )?([^`]+)`", tools, re.MULTILINE)]
    assert first
    assert set(first) <= set(COMMANDS)
