"""The configuration: what a file may say, and what each mistake in it is answered with."""

from dataclasses import FrozenInstanceError
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from hms_ops.config import Config, effective, load
from hms_ops.errors import ConfigError
from hms_ops.quantity import (
    Address,
    duration_text,
    parse_address,
    parse_duration,
    parse_size,
    size_text,
)

EXAMPLE = Path(__file__).parent.parent / "config" / "engine.yaml"


def problems_of(source: str | Path | dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(source)
    return caught.value.problems


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "engine.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_lists_every_key_with_its_default() -> None:
    assert load(EXAMPLE) == Config()
    assert yaml.safe_load(EXAMPLE.read_text()) == effective(Config())


def test_every_line_of_the_shipped_file_that_sets_something_has_a_comment() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if ":" in line and not line.startswith("#")]
    assert [line for line in lines if "#" not in line and not line.endswith(":")] == []


def test_an_empty_file_and_no_file_are_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == load(None) == load({}) == Config()


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().listeners = 2  # type: ignore[misc]


def test_a_dict_has_the_keys_of_the_file() -> None:
    config = load({"limits": {"series": 1_000_000}, "udp": ["127.0.0.1:1", "[::1]:2"], "data_dir": Path("/x")})
    assert config.limits.series == 1_000_000
    assert config.limits.ring_samples == 64
    assert config.udp == (Address("127.0.0.1", 1), Address("::1", 2))
    assert config.data_dir == Path("/x")


def test_null_switches_sockets_server_and_disk_off() -> None:
    config = load({"udp": None, "http": None, "data_dir": None})
    assert (config.udp, config.http, config.data_dir) == ((), None, None)


def test_what_is_shown_reads_back_as_the_same(tmp_path: Path) -> None:
    source = {"udp": ["a:1", "b:2"], "history": {"retention": "90m", "bytes": "1GB"}, "log": {"format": "json"}}
    config = load(source)
    assert load(effective(config)) == config
    assert load(written(tmp_path, yaml.safe_dump(effective(config)))) == config


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"listeners": 0}, "config: listeners is 0; give a whole number from 1 to 64"),
        ({"listeners": True}, "config: listeners is true; give"),
        ({"listeners": "4"}, "config: listeners is '4'; give"),
        ({"listeners": None}, "config: listeners is empty; give"),
        ({"limits": {"series": 0}}, "config: limits.series is 0; give a whole number from 1 to 16,000,000"),
        ({"limits": {"series": 1e6}}, "config: limits.series is 1000000.0; give a whole number"),
        ({"limits": {"ring_samples": 63}}, "config: limits.ring_samples is 63; give a power of two from 2 to 65,536"),
        ({"limits": {"ring_samples": 0}}, "config: limits.ring_samples is 0; give a power of two"),
        ({"limits": {"datagram_bytes": 65_508}}, "config: limits.datagram_bytes is 65508; give"),
        ({"limits": 3}, "config: expected keys with values, found a number 3"),
        ({"receive_buffer": "64 Mebi"}, "config: receive_buffer is '64 Mebi'; give a size from 4KiB to 1GiB"),
        ({"receive_buffer": -1}, "config: receive_buffer is -1; give a size"),
        ({"history": {"retention": 48}}, "config: history.retention is 48; give a duration with its unit"),
        ({"history": {"retention": "1s"}}, "config: history.retention is '1s'; give a duration with its unit from 1h"),
        ({"statsd": {"gauge_sign": "relative"}}, "config: statsd.gauge_sign is 'relative'; give delta or absolute"),
        ({"udp": "8125"}, "config: udp is '8125'; give host:port"),
        ({"udp": ["127.0.0.1:8125", "127.0.0.1:8125"]}, "config: udp is ["),
        ({"http": "localhost:65536"}, "config: http is 'localhost:65536'; give host:port"),
        ({"http": 8126}, "config: http is 8126; give host:port"),
        ({"unix": "x" * 108}, "config: unix is '"),
        ({"data_dir": ""}, "config: data_dir is ''; give a directory"),
        ({"data_dir": "a\0b"}, "config: data_dir is 'a\\x00b'; give"),
        ({"host_metrics": "yes"}, "config: host_metrics is 'yes'; give true or false"),
        ({"log": {"level": "loud"}}, "config: log.level is 'loud'; give debug or info or warning or error"),
        ({"rules": [3]}, "config: expected a path of a rule file, or a rule, in the list of rules, found a number 3"),
        ({"actions": {"url": 3}}, "config: actions.url is 3; give text"),
        ({"receivers": {"pager": "webhook:x"}}, "config: expected keys with values, found text 'webhook:x'"),
    ],
)
def test_a_wrong_value_is_quoted_with_what_is_wanted(setting: dict[str, Any], expected: str) -> None:
    (problem,) = problems_of(setting)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ({"retention": "60d"}, "history.retention is 60d, longer than history.retention_1m, 30d; queries by longer"),
        ({"retention_1m": "1d"}, "history.retention is 48h, longer than history.retention_1m, 24h; "),
        ({"retention_1m": "500d"}, "history.retention_1m is 500d, longer than history.retention_1h, 400d; "),
        ({"retention_1h": "20d"}, "history.retention_1m is 30d, longer than history.retention_1h, 20d; "),
    ],
)
def test_a_tier_that_is_kept_longer_than_a_coarser_one_is_refused(history: dict[str, str], expected: str) -> None:
    (problem,) = problems_of({"history": history})
    assert problem.startswith(f"config: {expected}")
    assert "or more" in problem


def test_tiers_kept_equally_long_are_fine(tmp_path: Path) -> None:
    path = written(tmp_path, "history:\n  retention: 9d\n  retention_1m: 9d\n  retention_1h: 9d\n")
    assert load(path).history.retention_seconds == 9 * 86_400
    path = written(tmp_path, "history:\n  bytes: 1GB\n  retention: 9d\n  retention_1m: 8d\n  retention_1h: 7d\n")
    assert [problem.split(": ")[0] for problem in problems_of(path)] == [f"{path}:3", f"{path}:4"]


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [({"limit": {}}, "limits"), ({"limits": {"serie": 3}}, "series"), ({"Log": {"format": "json"}}, "log")],
)
def test_an_unknown_key_proposes_the_nearest(setting: dict[str, Any], nearest: str) -> None:
    (problem,) = problems_of(setting)
    assert f"did you mean {nearest!r}?" in problem


def test_all_problems_of_a_file_come_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "listeners: 0\n\nlimits:\n  series: none\n  rings: 3\nlog: {format: xml}\n")
    problems = problems_of(path)
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:{line}" for line in (1, 5, 4, 6)]


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "none.yaml")
    assert "none.yaml:1: cannot read the file: No such file or directory" in problem


def test_rule_files_are_found_beside_the_configuration_and_inline_rules_keep_their_line(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / "rules" / name).touch()
    config = load(written(tmp_path, "rules:\n  - rules/*.yaml\n  - rules/a.yaml\n  - {alert: x, if: y > 1}\n"))
    assert [path.name for path in config.rule_files()] == ["a.yaml", "b.yaml"]
    (rule,) = config.rules.inline
    assert (rule.line, rule.value) == (4, {"alert": "x", "if": "y > 1"})


def test_rules_of_files_and_inline_rules_load_as_one(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("rules: [ALERT a.slow WHEN avg(a.ms) > 1]\n")
    text = """
rules:
  - more.yaml
  - ALERT b.slow WHEN avg(b.ms) > 2 FOR 3m
  - {alert: c.slow, if: avg(c.ms) > 3}
anomalies: [{anomaly: c.anomaly, metric: c.ms}]
actions: {url: "http://127.0.0.1:1", run: [{on: c.anomaly, act: {template: t}}]}
"""
    rules = load(written(tmp_path, text)).load_rules()
    assert [rule.name for rule in rules.rules] == ["a.slow", "b.slow", "c.slow"]
    assert rules.rules[2].source == f"{tmp_path / 'engine.yaml'}:5"
    assert [rule.name for rule in rules.anomalies] == ["c.anomaly"]
    assert [rule.on for rule in rules.actions] == ["c.anomaly"]


def test_a_wrong_inline_rule_names_its_line(tmp_path: Path) -> None:
    config = load(written(tmp_path, "rules:\n  - alert: x\n    if: avg(x > 1\n"))
    with pytest.raises(ConfigError, match=r"engine\.yaml:3: if: "):
        config.load_rules()


def test_a_pattern_that_names_no_rule_file_is_refused(tmp_path: Path) -> None:
    config = load(written(tmp_path, "rules: [none/*.yaml]\n"))
    with pytest.raises(ConfigError, match="no such rule file"):
        config.rule_files()


def test_credentials_come_from_the_environment_and_files_and_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_TOKEN", "tok-1")
    (tmp_path / "key").write_text("key-2\n")
    text = """
receivers:
  pager: {url: "https://me:pw-3@pager/x?k=${env:PAGER_TOKEN}", headers: {X-Key: "${file:key}", X-Plain: plain-4}}
actions: {url: "http://host/${env:PAGER_TOKEN}"}
http_tokens: [plain-5]
"""
    config = load(written(tmp_path, text))
    pager = config.profiles()["pager"]
    assert pager.url == "https://me:pw-3@pager/x?k=tok-1"
    assert pager.headers == {"X-Key": "key-2", "X-Plain": "plain-4"}
    assert config.actions.url is not None
    assert config.actions.url.value == "http://host/tok-1"
    assert config.http_tokens[0].digest == sha256(b"plain-5").digest()
    shown = effective(config)
    assert shown["receivers"]["pager"] == {
        "url": "https://me:***@pager/x?***",
        "headers": {"X-Key": "***", "X-Plain": "***"},
    }
    for secret in ("tok-1", "key-2", "pw-3", "plain-4", "plain-5"):
        assert secret not in repr(config)
        assert secret not in repr(shown)


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({}, "receivers.pager has no url"),
        ({"url": "ftp://x"}, "receivers.pager.url is 'ftp://x'; give http://HOST"),
        ({"url": 3}, "receivers.pager.url is 3; give text"),
        ({"url": "http://x/", "header": {}}, "unknown key 'header', did you mean 'headers'?"),
        ({"url": "http://x/", "headers": {"a": 1}}, "receivers.pager.headers.a is 1; give text"),
    ],
)
def test_a_wrong_profile_is_refused(profile: dict[str, Any], why: str) -> None:
    (problem,) = problems_of({"receivers": {"pager": profile}})
    assert why in problem


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("${env:HMS_OPS_NOT_SET}", "the environment has no variable 'HMS_OPS_NOT_SET'"),
        ("${file:none}", "cannot read the file 'none': No such file"),
        ("${file:/dev/zero}", "is larger than 65,536 bytes"),
    ],
)
def test_a_credential_that_is_missing_stops_the_start(tmp_path: Path, url: str, why: str) -> None:
    (problem,) = problems_of(written(tmp_path, f'receivers: {{pager: {{url: "{url}"}}}}\n'))
    assert "engine.yaml:1: receivers.pager.url: " in problem
    assert why in problem


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("10s", 10), ("3m", 180), ("1.5h", 5400), ("7d", 604_800), ("1w", 604_800)]
)
def test_a_duration_is_read_in_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1e3s", "10 seconds", "1h30m", "nan s", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64MiB", 64 << 20), ("1.5KiB", 1536), ("10 GB", 10**10)])
def test_a_size_is_read_in_its_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1mib", "1M", "0x10", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize("seconds", [0.25, 1, 59, 60, 5400, 172_800, 604_800, 3e7])
def test_a_duration_reads_back_as_it_is_shown(seconds: float) -> None:
    assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 65_507, 64 << 20, 10 << 30, 1 << 40])
def test_a_size_reads_back_as_it_is_shown(size: int) -> None:
    assert parse_size(size_text(size)) == size


@pytest.mark.parametrize("text", ["127.0.0.1:8125", "[::1]:8125", "localhost:0", "host.gov:65535"])
def test_an_address_reads_back_as_it_is_shown(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["", ":", "8125", ":8125", "host:", "host:x", "host:65536", "host:-1", "::1:80", "a b:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        parse_address(text)


def test_what_is_printed_has_no_passwords_and_no_queries(tmp_path: Path) -> None:
    text = """
receivers: {ops: {url: "http://u:secret1@127.0.0.1:9/ok?token=secret2"}}
rules:
  - ALERT hot WHEN last(heat) > 1 NOTIFY 'webhook:http://u:secret3@h/p?tok=secret4'
  - {alert: cold, if: last(heat) < 1, notify: ["webhook:https://h/p?tok=secret5", "log:"]}
"""
    shown = str(effective(load(written(tmp_path, text))))
    assert "secret" not in shown
    assert "http://u:***@127.0.0.1:9/ok?***" in shown
    assert "log:" in shown
