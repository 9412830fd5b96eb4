"""docs/receivers.md says what is so: its configuration loads, its tables name every receiver and every fact."""

import re
from pathlib import Path

import pytest

from hms_ops.alert.receivers import SCHEMES, parse_target, route
from hms_ops.alert.template import FACTS, MESSAGE_FACTS
from hms_ops.config import Config, load

TEXT = (Path(__file__).parent.parent / "docs" / "receivers.md").read_text()
WRITTEN = re.findall(r"`([a-z]+:[^`\s{]*)`", TEXT.partition("## Profiles")[0])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (block,) = re.findall(r"```yaml engine\n(.*?)```", TEXT, re.DOTALL)
    for name in re.findall(r"\$\{env:(\w+)\}", block):
        monkeypatch.setenv(name, "http://h/secret")
    (tmp_path / "smtp-password").write_text("secret")
    (tmp_path / "engine.yaml").write_text(block)
    return load(tmp_path / "engine.yaml")


def test_every_receiver_of_the_table_is_served_by_the_profiles_below_it(config: Config) -> None:
    profiles = {**config.profiles(), "night": config.profiles()["pagerduty"]}
    assert {target.partition(":")[0] for target in WRITTEN} == set(SCHEMES)
    assert [warning for target in WRITTEN if (warning := route(parse_target(target), profiles).warning)] == []


def test_the_tables_name_every_fact() -> None:
    named = set(re.findall(r"`\{([a-z_]+)\}`", TEXT))
    assert set(FACTS) | set(MESSAGE_FACTS) <= named
