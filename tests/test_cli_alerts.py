"""`alerts` against a running engine: what is printed, in JSON too, and the exit codes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.answering import OK, answering, status
from tests.engines import manual

from hms_ops import Engine
from hms_ops.cli.main import call

NOBODY = "http://127.0.0.1:1"
POLICY = {"policy": "own", "match": {"team": "db"}, "levels": [{"after": "15m", "notify": ["log:"]}]}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One on a manual clock whose address the commands find, with an alert that fires."""
    with manual(http="127.0.0.1:0", config={"policies": [POLICY]}) as made:
        assert made.http_address is not None
        monkeypatch.setenv("HMS_OPS_HTTP", "{}:{}".format(*made.http_address))
        made.alert_now("db.slow", 240.0, tags={"agency": "irs", "team": "db"})
        made.duty.keeper.settle()
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = call(["alerts", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def told(answer: tuple[int, str, str]) -> Any:
    """The JSON of an answer whose exit code is 0."""
    assert answer[0] == 0
    return json.loads(answer[1])


def test_alerts_are_listed_with_how_they_stand(engine: Engine, run: Run) -> None:
    code, out, _ = run("list")
    head, line = out.splitlines()
    assert (code, head.split()) == (0, ["STATE", "ALERT", "VALUE", "SINCE", "STANDS"])
    assert line.split()[:4] == ["firing", "db.slow{agency=irs,team=db}", "240", "2023-11-14T22:13:20Z"]
    assert line.endswith("level 1 of own at 2023-11-14T22:28:20Z")
    assert run("list", "--firing")[0] == 1
    engine.advance(400)
    assert run("list", "--firing")[:2] == (0, "no alert is firing\n")


def test_an_alert_is_acknowledged_and_given_back(engine: Engine, run: Run) -> None:
    code, out, _ = run("ack", "db.slow", "--who", "ann", "-m", "on it", "--for", "2h")
    assert (code, out) == (0, "1 alert acknowledged by ann\n")
    assert [one["who"] for one in engine.duty.keeper.ask(lambda dispatcher: dispatcher.acks())] == ["ann"]
    assert "acknowledged by ann" in run("list")[1]
    assert run("unack", "db.slow", "--tag", "agency:irs")[:2] == (0, "1 alert not acknowledged any more\n")
    assert told(run("ack", "db.slow", "--who", "bob", "--json")) == {
        "name": "db.slow",
        "alerts": 1,
        "who": "bob",
        "until": None,
    }


def test_what_does_not_fire_cannot_be_acknowledged(engine: Engine, run: Run) -> None:
    code, out, err = run("ack", "db.slow", "--tag", "agency:va")
    assert (code, out) == (1, "")
    assert "no alert 'db.slow' with these tags fires" in err
    code, out, _ = run("unack", "nobody", "--json")
    assert (code, json.loads(out)["exit_code"]) == (1, 1)


def test_alerts_are_silenced_by_name_and_by_what_matches(engine: Engine, run: Run) -> None:
    assert run("silences")[:2] == (1, "nothing is silenced\n")
    code, out, _ = run("silence", "db.slow", "--for", "2h", "--tag", "agency:irs", "--who", "ann", "-m", "known")
    assert code == 0
    assert out.startswith("silence ")
    assert out.endswith(' of {alertname="db.slow", agency="irs"} for 2h, until 2023-11-15T00:13:20Z\n')
    any_of = told(run("silence", "--match", 'host=~"db-.*"', "--for", "30m", "--json"))
    assert any_of["match"] == '{host=~"db-.*"}'
    lines = run("silences")[1].splitlines()
    assert len(lines) == 3
    assert lines[1].split()[0] == "active"
    assert [line.endswith("known") for line in lines[1:]].count(True) == 1
    code, out, _ = run("unsilence", "db.slow")
    assert (code, out.startswith("ended: ")) == (0, True)
    assert run("unsilence", any_of["id"])[:2] == (0, f"ended: {any_of['id']}\n")
    code, _, err = run("unsilence", "db.slow")
    assert (code, "no silence 'db.slow' lasts" in err) == (1, True)
    assert run("silences")[0] == 1
    assert len(told(run("silences", "--all", "--json"))["silences"]) == 2


def test_why_somebody_was_told_is_explained(engine: Engine, run: Run) -> None:
    code, out, _ = run("explain", "db.slow")
    first, head, line = out.splitlines()
    assert code == 0
    assert first == "firing now: db.slow{agency=irs,team=db}: level 1 of own at 2023-11-14T22:28:20Z"
    assert head.split() == ["TIME", "STATE", "ALERT", "DECISION", "WHY", "RECEIVER"]
    assert line.split() == [
        "2023-11-14T22:13:20Z",
        "firing",
        "db.slow{agency=irs,team=db}",
        "escalation",
        "left",
        "to",
        "policy",
        "own",
    ]
    assert run("explain", "db.slow", "--tag", "agency:ssa")[0] == 1
    assert len(told(run("explain", "db.slow", "--tag", "agency:irs", "--json"))["decisions"]) == 1
    code, out, err = run("explain", "nobody")
    assert (code, out) == (1, "")
    assert "no rule is named 'nobody'" in err


def test_dead_letters_are_listed_and_sent_again(engine: Engine, run: Run, wait_until: Callable[..., None]) -> None:
    assert run("dead-letters")[:2] == (0, "every notification has arrived or is on its way\n")
    with answering(status(400), OK) as receiver:
        engine.alert("dead", if_="avg(dead_ms, 5s) > 1", notify=[f"webhook:{receiver.url}"])
        engine.ingest(b"dead_ms:5|ms")
        engine.advance(2)
        wait_until(engine.dead_letters)
        code, out, _ = run("dead-letters", "--json")
        (letter,) = json.loads(out)["dead_letters"]
        assert code == 1
        assert letter["id"] in run("dead-letters")[1]
        assert run("resend", letter["id"])[:2] == (0, f"{letter['id']} is on its way again\n")
        wait_until(lambda: len(receiver.requests) == 2)
    assert run("resend", "nothing")[0] == 1


def test_a_receiver_is_tried(engine: Engine, run: Run) -> None:
    with answering(OK, status(400)) as receiver:
        code, out, _ = run("test-notify", f"webhook:{receiver.url}")
        assert (code, "delivered" in out) == (0, True)
        code, out, _ = run("test-notify", f"webhook:{receiver.url}", "--json")
        assert (code, json.loads(out)["outcome"]) == (1, "dead")
    assert run("test-notify", "pigeon:x")[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("silence", "--for", "1h"),
        ("silence", "db.slow"),
        ("silence", "--match", "a=b", "--tag", "a:b", "--for", "1h"),
        ("silence", "db.slow", "--for", "soon"),
        ("ack",),
        ("ack", "db.slow", "--tag", "__own:tag"),
        ("nothing",),
    ],
    ids=str,
)
def test_wrong_usage_says_so(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("ack", "a"),
        ("unack", "a"),
        ("silence", "a", "--for", "1h"),
        ("unsilence", "a"),
        ("silences",),
        ("explain", "a"),
        ("dead-letters",),
        ("resend", "a"),
        ("test-notify", "log:"),
    ],
    ids=str,
)
def test_without_an_engine_the_exit_code_is_four(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, _ = run(*arguments, "--url", NOBODY, "--json")
    assert (code, json.loads(out)["exit_code"]) == (4, 4)


def test_names_and_tags_with_odd_letters_find_their_way(engine: Engine, run: Run) -> None:
    engine.alert_now("odd/näme", tags={"path": 'a"b\\c, d=e'})
    engine.duty.keeper.settle()
    assert run("ack", "odd/näme", "--who", "ann")[0] == 0
    assert len(told(run("explain", "odd/näme", "--tag", 'path:a"b\\c, d=e', "--json"))["decisions"]) == 2
