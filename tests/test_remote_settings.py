"""The section `remote:` of a configuration: what may stand there, what is shown of it, and where queries go."""

import socket
from pathlib import Path
from typing import Any

import pytest

from hms_ops.cli.check_config import check
from hms_ops.config import Config, effective, load
from hms_ops.errors import ConfigError
from hms_ops.remote.settings import RemoteConfig, remote_from

URL = "http://127.0.0.1:8428/api/v1/write"


def one(**given: Any) -> RemoteConfig:
    (remote,) = load({"remote": {"vm": {"url": URL, **given}}}).remote
    return remote


def test_without_anything_written_there_is_no_remote() -> None:
    assert Config().remote == ()
    assert load({"remote": None}).remote == ()


def test_a_url_is_enough() -> None:
    remote = one()
    assert (remote.name, remote.url.value, remote.tier, remote.tier_number) == ("vm", URL, "1m", 1)
    assert remote.fixed_labels() == {"engine": socket.gethostname()}
    assert str(remote) == "remote vm"


def test_several_remotes_stand_beside_each_other() -> None:
    config = load({"remote": {"a": {"url": URL}, "b": {"url": f"{URL}/b", "tier": "1h"}}})
    assert [(remote.name, remote.tier) for remote in config.remote] == [("a", "1m"), ("b", "1h")]


def test_no_credential_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("REMOTE_PASSWORD", "passw0rd")
    path = tmp_path / "engine.yaml"
    path.write_text(
        "remote:\n"
        "  a: {url: 'https://u:s3cret@host/api/v1/write', headers: {X-Key: k3y, Accept: any}}\n"
        "  b: {url: 'http://host/api/v1/push', bearer_token: '${file:token}', tenant: 7}\n"
        "  c: {url: 'http://host/api/v1/push', username: me, password: '${env:REMOTE_PASSWORD}'}\n"
    )
    config = load(path)
    assert config.remote[0].request_headers() == {"X-Key": "k3y", "Accept": "any"}
    assert config.remote[1].request_headers() == {"Authorization": "Bearer t0ken", "X-Scope-OrgID": "7"}
    shown = effective(config)["remote"]
    for secret in ("s3cret", "k3y", "t0ken", "passw0rd"):
        assert secret not in str(shown)
        assert secret not in repr(config.remote)
    assert shown["a"]["headers"] == {"X-Key": "***", "Accept": "any"}
    assert (shown["b"]["bearer_token"], shown["c"]["password"]) == ("***", "***")


def test_what_is_shown_can_be_read_again() -> None:
    config = load({"remote": {"vm": {"url": URL, "labels": {"dc": "east"}, "delay": "5s"}, "x": {"url": URL}}})
    assert load(effective(config)).remote == config.remote


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"vm": {}}, "remote.vm has no url"),
        ({"vm": {"ulr": URL}}, "unknown key 'ulr', did you mean 'url'?"),
        ({"vm": {"url": "127.0.0.1:8428"}}, "give http://HOST"),
        ({"vm": {"url": URL, "teir": "1m"}}, "teir"),
        ({"vm": {"url": URL, "tier": "5m"}}, "give 10s or 1m or 1h"),
        ({"vm": {"url": URL, "batch_samples": 10}}, "from 100 to 1,000,000"),
        ({"vm": {"url": URL, "delay": 10}}, "a duration with its unit"),
        ({"vm": {"url": URL, "labels": {"a-b": "x"}}}, "a name of a label"),
        ({"vm": {"url": URL, "labels": {"le": "x"}}}, "a name of a label"),
        ({"vm": {"url": URL, "labels": {"a": 1}}}, "give text"),
        ({"vm": {"url": URL, "bearer_token": "a", "username": "b"}}, "give one of"),
        ({"vm": {"url": URL, "bearer_token": "a", "headers": {"authorization": "b"}}}, "give one of"),
        ({"vm": {"url": URL, "password": "b"}}, "password needs a username"),
        ({"vm": {"url": URL, "bearer_token": "${env:NO_SUCH_VARIABLE}"}}, "the environment has no variable"),
        ({"vm": {"url": URL, "tenant": True}}, "give text"),
        ({"vm": {"url": URL, "tenant": "a\nb"}}, "give text"),
        ({"a b": {"url": URL}}, "a remote's name has letters"),
        ({f"r{n}": {"url": URL} for n in range(17)}, "16 are allowed"),
        ([URL], "expected"),
    ],
)
def test_what_is_wrong_is_named(given: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load({"remote": given})
    assert problem in str(raised.value)


SAME = {"engine": socket.gethostname()}


@pytest.mark.parametrize(
    ("first", "second"),
    [({}, {}), ({"labels": SAME}, {}), ({"labels": {"a": "x", "b": "y"}}, {"labels": {"b": "y", "a": "x"}})],
)
def test_two_tiers_to_one_place_under_the_same_labels_are_refused(first: Any, second: Any) -> None:
    given = {"a": {"url": URL, **first}, "b": {"url": URL, "tier": "1h", **second}}
    with pytest.raises(ConfigError) as raised:
        load({"remote": given})
    (problem,) = raised.value.problems
    assert "remote.b sends 1h to the url of remote.a, which sends 1m, under the same labels" in problem


@pytest.mark.parametrize(
    "second",
    [
        {"tier": "1m"},
        {"tier": "1h", "labels": {"tier": "1h"}},
        {"tier": "1h", "labels": {}},
        {"tier": "1h", "tenant": "long"},
        {"tier": "1h", "url": URL + "?extra_label=a=b"},
    ],
)
def test_two_remotes_that_can_be_told_apart_or_send_the_same_are_fine(second: Any) -> None:
    assert len(load({"remote": {"a": {"url": URL}, "b": {"url": URL, **second}}}).remote) == 2


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load({"remote": {"a": {"url": "x"}, "b": {"tier": "1m"}, "c": {"url": URL, "tier": "2m"}}})
    assert len(raised.value.problems) == 3


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://vm:8428/api/v1/write", "http://vm:8428"),
        ("http://vm:8428/api/v1/write?extra_label=a=b", "http://vm:8428"),
        ("http://vm:8428/prefix/api/v1/write", "http://vm:8428/prefix"),
        ("http://insert:8480/insert/7/prometheus/api/v1/write", "http://insert:8480/select/7/prometheus"),
        ("http://insert:8480/insert/7:3/prometheus/", "http://insert:8480/select/7:3/prometheus"),
        ("https://mimir/api/v1/push", "https://mimir/prometheus"),
    ],
)
def test_queries_go_where_the_server_has_them(url: str, base: str) -> None:
    assert remote_from("vm", {"url": url}).query_base() == base


def test_queries_go_elsewhere_when_that_is_written() -> None:
    given = {"url": "http://insert:8480/insert/7/prometheus", "query_url": "http://select:8481/select/7/prometheus/"}
    assert remote_from("vm", given).query_base() == "http://select:8481/select/7/prometheus"


@pytest.mark.parametrize(("data_dir", "expected"), [("null", 1), ("data", 0)])
def test_a_remote_without_a_data_directory_is_warned_of(tmp_path: Path, data_dir: str, expected: int) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(f"data_dir: {data_dir}\nremote:\n  vm: {{url: {URL}}}\n")
    checked = check(path)
    assert (checked.problems, len(checked.warnings)) == ((), expected)
    assert all(w.startswith(f"{path}:2: nothing is sent to `remote`") for w in checked.warnings)
