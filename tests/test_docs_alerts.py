"""docs/alerts.md: every example is read by the engine, and compiles."""

import re
from pathlib import Path

import pytest

from hms_ops import config
from hms_ops.alert.grammar import parse_statement
from hms_ops.alert.plan import compile_rule
from hms_ops.alert.rule import rule_from_sentence
from hms_ops.alert.rulefile import read_roots
from hms_ops.yamlfile import load_text

TEXT = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text("utf-8")
BLOCKS = re.findall(r"^```([a-z ]+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SENTENCES = [line for kind, block in BLOCKS if kind == "alert" for line in block.splitlines()]


def test_there_are_ten_sentences() -> None:
    assert len(SENTENCES) == 10
    assert {kind for kind, _ in BLOCKS} == {"alert", "yaml", "yaml engine"}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_sentence_is_a_rule(sentence: str) -> None:
    assert parse_statement(sentence).name
    rule, problems = rule_from_sentence(sentence, "docs/alerts.md:1")
    assert problems == []
    assert rule is not None
    compile_rule(rule.condition, rule.recover, rule.where, rule.group_by, text=rule.text)


def test_the_files_load() -> None:
    loaded = read_roots([load_text(block, "alerts.md") for kind, block in BLOCKS if kind == "yaml"], [])
    assert (len(loaded.rules), len(loaded.anomalies), len(loaded.actions)) == (2, 1, 1)
    (settings,) = [block for kind, block in BLOCKS if kind == "yaml engine"]
    profiles = config.load(load_text(settings, "engine.yaml").value).profiles()
    assert loaded.warnings(profiles, "http://127.0.0.1:1") == []
