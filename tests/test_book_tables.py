"""What an alert tells, second by second, as tables: missing data, keeping, edits, and other engines' examples."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ticking import Ticked, rule

from hms_ops.alert.rule import Rule
from hms_ops.alert.states.instance import Key

Told = list[tuple[int, str]]


class Row(NamedTuple):
    """What a rule tells of one instance, one sign a second from second 0."""

    name: str
    rule: Rule
    signs: str
    told: Told


MINUTE = "T" * 60

ROWS = [
    Row("firing, inactive, firing", rule(), "TFT", [(0, "firing"), (1, "resolved"), (2, "firing")]),
    Row("the founding example: true for three minutes", rule(for_="3m"), MINUTE * 4, [(0, "pending"), (180, "firing")]),
    Row(
        "pending, no data, firing: the gap does not count", rule(for_="3s"), "TNNNNTTT", [(0, "pending"), (7, "firing")]
    ),
    Row("pending, series gone, firing", rule(for_="3s"), "TxxxxTTT", [(0, "pending"), (7, "firing")]),
    Row("pending, no data, calm", rule(for_="3s"), "TTNNF", [(0, "pending")]),
    Row("firing, keep, firing: one page", rule(keep="3s"), "TFFTFFFF", [(0, "firing"), (7, "resolved")]),
    Row(
        "no data while it keeps: the clock stands still", rule(keep="3s"), "TFNNNFFF", [(0, "firing"), (7, "resolved")]
    ),
    Row("firing, no data: resolves nothing", rule(), "TNNNNNNNNNN", [(0, "firing")]),
    Row("hysteresis: the band keeps it", rule(recover="< 150"), "bTbbFb", [(0 + 1, "firing"), (4, "resolved")]),
    Row("judged every five seconds", rule(every="5s"), "FTTTTTFFFFF", [(5, "firing"), (10, "resolved")]),
    Row("for counts between judgements too", rule(every="5s", for_="7s"), "T" * 16, [(0, "pending"), (10, "firing")]),
    Row("what is true between judgements only", rule(every="5s"), "FTTTTFTTTTF", []),
    # Grafana's missing series: firing, and its series stops.
    Row("missing series, keep: it goes on", rule(), "TTxxxxxxT", [(0, "firing")]),
    Row("missing series, ok: resolved", rule(nodata="ok"), "TTxx", [(0, "firing"), (2, "resolved")]),
    Row("missing series, ok after a while", rule(nodata="ok", keep="2s"), "TTxxxx", [(0, "firing"), (4, "resolved")]),
    Row("missing series, alert: it goes on", rule(nodata="alert"), "TTxxxF", [(0, "firing"), (5, "resolved")]),
    Row(
        "missing series, alert: pending fires", rule(nodata="alert", for_="3s"), "Txxx", [(0, "pending"), (3, "firing")]
    ),
    Row("missing series: what never was does not fire", rule(nodata="alert"), "Fxxx", []),
    Row("no data, alert: fires", rule(nodata="alert"), "FFN", [(2, "firing")]),
    Row("missing series is back calm", rule(), "TxxF", [(0, "firing"), (3, "resolved")]),
    Row("missing series while it keeps", rule(keep="2s"), "TFxxxFFF", [(0, "firing"), (6, "resolved")]),
    # Netdata: `delay: up 10s down 15m`, an alarm at seconds 1, clear at 5, at 6, clear at 7. It sends four delayed
    # notifications there, the last after 45 minutes; here nobody is told, since it was never true for ten seconds.
    Row(
        "Netdata's delays: too brief to tell",
        rule(for_="10s", keep="15m"),
        "FTTTTFTFF" + "F" * 900,
        [(1, "pending"), (6, "pending")],
    ),
    Row(
        "Netdata's delays: raised for good, back and forth within the delay, one clear after it",
        rule(for_="10s", keep="15m"),
        "F" + "T" * 12 + "FTFTF" + "F" * 901,
        [(1, "pending"), (11, "firing"), (917, "resolved")],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_sequence_of_ticks_tells_this(row: Row) -> None:
    assert Ticked(row.rule).run(row.signs).words == row.told


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_and_the_same_when_it_restarts_at_every_tick(row: Row) -> None:
    ticked = Ticked(row.rule)
    for sign in row.signs:
        ticked.tick(sign)
        ticked.restart()
    assert ticked.words == row.told


# ---- rules edited while the alert is there


EDITS = [
    ("longer for, younger: pending again", "TT", rule(for_="5s"), "TTTT", ["firing", "resolved", "firing"]),
    ("longer for, older: goes on", "TTTTTT", rule(for_="3s"), "T", ["firing"]),
    ("another condition: ends", "T", rule(condition="avg(a) > 300"), "T", ["firing", "resolved", "firing"]),
    ("another recovery: ends", "T", rule(recover="< 150"), "F", ["firing", "resolved"]),
    ("other tags: ends", "T", rule(where="agency = irs"), "F", ["firing", "resolved"]),
    (
        "another severity, receiver, policy: goes on",
        "T",
        rule(severity="ticket", policy="p"),
        "TF",
        ["firing", "resolved"],
    ),
    ("longer keep: goes on", "T", rule(keep="2s"), "FFF", ["firing", "resolved"]),
    ("no data means ok from now on", "TN", rule(nodata="ok"), "N", ["firing", "resolved"]),
]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["reloaded", "restarted"])
@pytest.mark.parametrize(("name", "before", "edited", "after", "told"), EDITS, ids=[edit[0] for edit in EDITS])
def test_an_edited_rule(name: str, before: str, edited: Rule, after: str, told: list[str], is_restarted: bool) -> None:
    ticked = Ticked().run(before)
    if is_restarted:
        ticked.restart(0, edited)
    else:
        ticked.hear(ticked.book.replace_rules([edited], ticked.second))
    ticked.run(after)
    assert [state for _, state in ticked.words] == told


@pytest.mark.parametrize("is_restarted", [False, True], ids=["reloaded", "restarted"])
def test_what_is_told_of_a_removed_rule_names_its_receivers(is_restarted: bool) -> None:
    ticked = Ticked(rule(notify=["sms:+15550100"], policy="night", tags={"team": "db"}, severity="ticket")).run("T")
    if is_restarted:
        ticked.restart(0, rule("other"))
    else:
        ticked.hear(ticked.book.replace_rules([rule("other")], ticked.second))
    ended = ticked.told[-1]
    assert (ended.state, ended.reason, ended.rule_text) == ("resolved", "the rule was removed", "avg(a) > 200")
    assert (ended.notify, ended.policy, ended.severity) == (("sms:+15550100",), "night", "ticket")
    assert ended.rule_tags == {"team": "db"}
    assert ended.episode == ticked.told[0].episode


def test_an_alert_says_what_its_rule_says() -> None:
    told = rule(notify=["log:"], policy="p", tags={"team": "db"}, annotations={"title": "{value} is slow"})
    (fired,) = Ticked(told).tick("T")
    assert (fired.notify, fired.policy, fired.rule_tags) == (("log:",), "p", {"team": "db"})
    assert fired.annotations == {"title": "{value} is slow"}
    assert fired.labels == {"team": "db", "alertname": "slow", "severity": "page"}


# ---- properties, of any rules and ticks


signs = st.text("TTFNbx", min_size=1, max_size=60)
rules = st.builds(
    lambda for_, keep, nodata, band: rule(
        for_=f"{for_}s", keep=f"{keep}s", nodata=nodata, **({"recover": "< 150"} if band else {})
    ),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from(["keep", "ok", "alert"]),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(rules, signs)
def test_there_are_never_two_firing_events_of_an_episode_without_a_resolve_between(watched: Rule, ticks: str) -> None:
    log = [(state, episode) for _, _, state, episode in Ticked(watched).run(ticks).log if state != "pending"]
    assert [state for state, _ in log] == (["firing", "resolved"] * len(log))[: len(log)]
    episodes = [episode for state, episode in log if state == "firing"]
    assert episodes == sorted(set(episodes))
    assert [episode for state, episode in log if state == "resolved"] == episodes[: len(log) // 2]


@settings(max_examples=200, deadline=None)
@given(rules.filter(lambda watched: watched.nodata == "keep"), signs, st.integers(1, 90))
def test_null_never_resolves_nor_fires(watched: Rule, ticks: str, gap: int) -> None:
    ticked = Ticked(watched).run(ticks)
    before = ticked.states
    told = len(ticked.log)
    ticked.run("Nx" * gap)
    assert (ticked.states, len(ticked.log)) == (before, told)


@settings(max_examples=100, deadline=None)
@given(st.text("bNx", max_size=200), st.integers(0, 3))
def test_noise_within_the_hysteresis_band_makes_no_chatter(noise: str, keep: int) -> None:
    assert Ticked(rule(recover="< 150", keep=f"{keep}s")).run("T" + noise).words == [(0, "firing")]
    assert Ticked(rule(recover="< 150")).run(noise).words == []


@settings(max_examples=100, deadline=None)
@given(rules, st.lists(signs, min_size=2, max_size=4))
def test_instances_of_one_rule_do_not_touch_each_other(watched: Rule, columns: Sequence[str]) -> None:
    length = min(map(len, columns))
    columns = [column[:length] for column in columns]
    keys: list[Key] = [("slow", (("host", str(n)),)) for n in range(len(columns))]
    together = Ticked(watched, keys=keys).run(*columns)
    for key, column in zip(keys, columns, strict=True):
        alone = Ticked(watched, keys=[key]).run(column)
        assert [alert for alert in together.told if alert.group == key[1]] == alone.told
