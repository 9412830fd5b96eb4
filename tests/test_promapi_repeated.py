"""Parts that stand in a PromQL query more than once: calculated once, charged each time; none is taken for another."""

import json
from typing import Any

import pytest
from tests.engines import NOW, manual

from hms_ops import Engine
from hms_ops.http.answer import Json
from hms_ops.prometheus.query import budget, given, rates
from hms_ops.prometheus.query.answer import instant_answer
from hms_ops.prometheus.query.budget import Budget
from hms_ops.prometheus.query.known import Known
from hms_ops.prometheus.query.parsing import parsed
from hms_ops.prometheus.query.reader import Reader
from hms_ops.prometheus.query.refused import Refused
from hms_ops.prometheus.query.repeated import Repeated

RATE = "rate(orders_total[1m])"


@pytest.fixture(scope="module")
def engine() -> Any:
    one = manual().start()
    series = [one.series("orders", kind="counter", tags={"host": f"h{n}", "zone": f"z{n % 2}"}) for n in range(6)]
    for second in range(90):
        for number, each in enumerate(series):
            each.add(number + second % 3)
        one.advance(1)
    yield one
    one.stop()


def ask(engine: Engine, query: str) -> tuple[Any, Budget]:
    engine.store.flush()
    names = Known().names(engine.past, engine.operations.descriptions)
    reader = Reader(engine.past, names, engine.described_unit, Budget(30))
    asked = given.instant({"query": [query], "time": [str(NOW + 90)]}, NOW + 90.0)
    return json.loads(Json(instant_answer(asked, reader)).body)["result"], reader.budget


def values(engine: Engine, query: str) -> dict[Any, float]:
    found, _ = ask(engine, query)
    return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}


def test_equal_parts_are_calculated_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    once, added = values(engine, RATE), rates.added
    calculated: list[Any] = []

    def counted(*given: Any) -> Any:
        calculated.append(given)
        return added(*given)

    monkeypatch.setattr(rates, "added", counted)
    many = values(engine, " + ".join([RATE] * 20))
    assert len(calculated) == 1
    assert many == pytest.approx({labels: 20 * one for labels, one in once.items()})
    calculated.clear()
    assert values(engine, f"({RATE} - {RATE}) + (sum({RATE}) - sum({RATE}))") == {}
    assert values(engine, f"({RATE} or {RATE}) unless (-{RATE} < 0)") == pytest.approx(
        {labels: one for labels, one in once.items() if one == 0}
    )
    assert len(calculated) == 3, "with every query anew, and apart where buckets would be summed as they are read"


def test_a_part_costs_its_budget_each_time_it_stands_there(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = ask(engine, RATE)
    monkeypatch.setattr(budget, "WORK_MAX", 3 * one._work)
    ask(engine, f"{RATE} + {RATE} + {RATE}")
    with pytest.raises(Refused, match="samples together"):
        ask(engine, f"{RATE} + {RATE} + {RATE} + {RATE}")


LOOK_ALIKES = [
    ("rate(x[1m500ms])", "rate(x[1m])"),
    ("rate(x[1m])", "irate(x[1m])"),
    ("x offset 1m500ms", "x offset 1m"),
    ("x offset -1m", "x offset 1m"),
    ('x{a="b"}', 'x{a=~"b"}'),
    ('x{a="b"}', 'x{a="b",c=""}'),
    ("x > bool 1", "x > 1"),
    ("x + on (b) y", "x + ignoring (b) y"),
    ("x + on () y", "x + y"),
    ("sum by (a) (x)", "sum without (a) (x)"),
    ("sum by (a) (x)", "sum (x)"),
    ("topk(3, x)", "topk(4, x)"),
    ("quantile(0.5, x)", "topk(0.5, x)"),
    ("-x", "(x)"),
    ("x - (y - x)", "x - y - x"),
    ("1", "1.0000000000000002"),
    ("0", "-0.0"),
]


@pytest.mark.parametrize(("one", "other"), LOOK_ALIKES)
def test_what_looks_alike_is_told_apart(one: str, other: str) -> None:
    looked = Repeated(Budget(30))
    apart, alike = parsed(f"({one}) + ({other})"), parsed(f"({one}) + ({one})")
    looked.look(apart)
    assert looked._numbers[id(apart.lhs)] != looked._numbers[id(apart.rhs)]
    looked.look(alike)
    assert looked._numbers[id(alike.lhs)] == looked._numbers[id(alike.rhs)]
