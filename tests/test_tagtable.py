"""Tags as columns against the plain test of each series' tags; and the kernel that lays members out, against numpy."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops.alert.language.grammar import parse_query
from hms_ops.alert.language.tags import accepts
from hms_ops.alert.source import group_key
from hms_ops.alert.tagtable import TagTable, tags_in
from hms_ops.kernels.layout import place_members

NONE = np.zeros(0, np.int32)
VALUES = st.sampled_from(["", "irs", "ssa", "va", "i.s", "%"])
TAGS = st.dictionaries(st.sampled_from(["agency", "zone", "host"]), VALUES, max_size=3)
WORLDS = st.dictionaries(st.integers(0, 30), TAGS, max_size=12)
WHERES = [
    "",
    "{agency='irs'}",
    "{agency!='irs', zone=~'i.*'}",
    "{host!~'s.*'} WHERE agency IN (irs, ssa)",
    " WHERE NOT (agency = irs OR zone LIKE 'i%') AND host NOT IN (va)",
    " WHERE agency = never",
]
GROUPS = [(), ("agency",), ("zone", "host"), ("*",)]


def read(world: Mapping[int, Mapping[str, str]], slot: int) -> Mapping[str, str] | None:
    return world.get(slot)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORLDS, min_size=1, max_size=5), st.sampled_from(WHERES), st.sampled_from(GROUPS))
def test_columns_choose_and_group_as_the_tags_do(
    worlds: list[dict[int, dict[str, str]]], text: str, group_by: tuple[str, ...]
) -> None:
    query = parse_query("x" + text)
    matchers = getattr(query.expression, "matchers", ())
    test = accepts(matchers, query.where)
    table = TagTable()
    before: dict[int, dict[str, str]] = {}
    for world in worlds:
        slots = np.array(sorted(world), np.int32)
        stale = np.array([slot for slot in world if before.get(slot) != world[slot]], np.int32)
        table.follow(slots, stale, partial(read, world))
        table.want(tags_in(matchers, query.where), group_by, partial(group_key, group_by), partial(read, world))
        expected = [test is None or test(world[slot]) for slot in slots.tolist()]
        assert table.chosen(matchers, query.where).tolist() == expected
        keys, numbers = table.groups(group_by) if group_by else ([()], np.zeros(len(slots), np.int32))
        assert [keys[n] for n in numbers.tolist()] == [group_key(group_by, world[slot]) for slot in slots.tolist()]
        before = world


def test_a_series_that_is_gone_while_it_is_read_is_left_out() -> None:
    table = TagTable()
    table.follow(np.array([1, 2], np.int32), NONE, lambda slot: None)
    table.want({"zone"}, (), None, lambda slot: {"zone": "a"} if slot == 1 else None)
    there = table.is_there()
    assert there is not None
    assert there.tolist() == [True, False]


def test_tags_are_read_once_however_many_columns_there_are() -> None:
    world = {slot: {"zone": str(slot % 3), "host": str(slot)} for slot in range(50)}
    reads: list[int] = []

    def counted(slot: int) -> Mapping[str, str] | None:
        reads.append(slot)
        return world.get(slot)

    table = TagTable()
    table.follow(np.arange(50, dtype=np.int32), NONE, counted)
    assert reads == [], "nobody has asked for a tag"
    table.want({"zone", "host"}, ("zone",), partial(group_key, ("zone",)), counted)
    assert len(reads) == 50
    table.want({"zone"}, ("zone",), partial(group_key, ("zone",)), counted)
    world[50] = {"zone": "new"}
    table.follow(np.arange(51, dtype=np.int32), NONE, counted)
    assert reads[50:] == [50]


def test_numbers_of_series_long_gone_are_given_out_anew() -> None:
    table = TagTable()
    table.want(set(), ("*",), partial(group_key, ("*",)), lambda slot: None)
    for n in range(2_000):
        world = {n: {"host": str(n)}}
        table.follow(np.array([n], np.int32), NONE, partial(read, world))
    keys, numbers = table.groups(("*",))
    assert keys[numbers[0]] == (("host", "1999"),)
    assert len(keys) < 100


@pytest.mark.parametrize("base", [0, 1000])
@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_members_are_placed_as_numpy_places_them(count: int, base: int) -> None:
    member = np.random.default_rng(count).integers(0, 300, count).astype(np.int32)
    union, place = np.unique(member, return_inverse=True)
    got, out = member.copy(), np.empty(300, np.int32)
    parts = np.array([0, count // 3, count])
    assert place_members(got, parts[:-1], parts[1:], np.zeros(300, np.int32), out, base) == len(union)
    np.testing.assert_array_equal(out[: len(union)], union)
    np.testing.assert_array_equal(got, place.reshape(-1) + base)
