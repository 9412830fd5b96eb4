"""Which rules cannot do their work, as screens and `alerts list` tell it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serving import Serving, serving

from hms_ops import Engine
from hms_ops.clock import ManualClock
from hms_ops.rulehealth import RuleHealth


@pytest.fixture
def site() -> Iterator[Serving]:
    with serving() as made:
        made.engine.metric("db.write_ms", 3.0, tags={"agency": "irs"})
        made.engine.advance(1)
        yield made


def health(engine: Engine) -> dict[str, str]:
    engine._parts.health._good_until_ns = 0  # not what was found a moment ago
    return {name: found.problem for name, found in engine.rule_health().items() if found.state == "never matched"}


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("avg(db.wriet_ms) > 1", "no metric 'db.wriet_ms' was ever seen"),
        ('avg(db.write_ms{agency="ssa"}) > 1', 'no series was ever seen of db.write_ms{agency="ssa"}'),
        ("avg(db.write_ms) > 1 AND x > 1", "no metric 'x' was ever seen"),
        ("x > 1 OR y > 1", "no metric 'x' was ever seen"),
        ("x > 1 UNLESS avg(db.write_ms) > 1", "no metric 'x' was ever seen"),
        ("avg(db.write_ms) > 1", ""),
        ('avg(db.write_ms{agency="irs"}) > 1', ""),
        ("avg(db.write_ms) > 1 OR x > 1", ""),
        ("avg(db.write_ms) > 1 UNLESS x > 1", ""),
        ("ABSENT(x)", ""),
        ("coalesce(x, 0) < 1", ""),
    ],
)
def test_a_rule_that_cannot_fire_has_never_matched(site: Serving, condition: str, problem: str) -> None:
    site.engine.alert("r", if_=condition)
    assert health(site.engine).get("r", "") == problem


def test_where_counts_and_the_first_sample_ends_it(site: Serving) -> None:
    site.engine.alert("r", if_="avg(db.write_ms) > 1", where="agency = ssa")
    assert health(site.engine) == {"r": 'no series was ever seen of db.write_ms WHERE agency = "ssa"'}
    site.engine.metric("db.write_ms", 3.0, tags={"agency": "ssa"})
    site.engine.advance(1)
    assert health(site.engine) == {}


def test_a_rule_that_takes_silence_for_a_breach_needs_nothing(site: Serving) -> None:
    site.engine.alert("r", if_="avg(x) > 1", nodata="alert")
    assert health(site.engine) == {}


def test_what_was_sent_before_a_restart_was_seen(tmp_path: Path) -> None:
    with Engine(udp=None, data_dir=tmp_path, clock=ManualClock(1_700_000_000)) as engine:
        engine.metric("db.write_ms", 3.0, tags={"agency": "irs"})
        engine.advance(20)
    with Engine(udp=None, data_dir=tmp_path, clock=ManualClock(1_700_000_100)) as engine:
        engine.alert("r", if_='avg(db.write_ms{agency="irs"}) > 1')
        engine.alert("s", if_='avg(db.write_ms{agency="ssa"}) > 1')
        assert set(health(engine)) == {"s"}


def test_it_is_told_over_http_beside_the_rule(site: Serving) -> None:
    site.engine.alert("r", if_="avg(x) > 1")
    site.engine.alert("calm", if_="avg(db.write_ms) > 1000")
    told = {rule["alert"]: (rule["state"], rule["problem"]) for rule in site.get("/v1/alerts").json()["rules"]}
    assert told == {"r": ("never matched", "no metric 'x' was ever seen"), "calm": ("watching", "")}
    assert site.engine.rule_health()["r"] == RuleHealth("never matched", "no metric 'x' was ever seen")
