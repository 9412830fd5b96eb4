"""Answers as JSON: long ones in pieces, and the same bytes as at once."""

import json
import threading
import time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_ops.http.answer import ENCODER, PIECE_ITEMS, Json, pieces

ATOM = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(), st.text(max_size=5))
VALUE = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=5),
        st.tuples(inner, inner),
        ATOM.map(lambda one: [one] * (PIECE_ITEMS + 1)),
    ),
    max_leaves=12,
)


@given(VALUE)
def test_pieces_are_the_bytes_of_the_whole(value: Any) -> None:
    is_same = Json(value).body == ENCODER.encode(value)
    assert is_same


@pytest.mark.parametrize("count", [0, 1, PIECE_ITEMS, PIECE_ITEMS + 1, 2 * PIECE_ITEMS, 5 * PIECE_ITEMS + 3])
def test_lists_of_any_length_are_whole(count: int) -> None:
    for item in (1, "a", None, {"a": [1]}, [1, 2], np.float64(2.5), msgspec.Raw(b"[1,2]")):
        value = {"rows": [item] * count, "of": {"more": [item] * count}, "kinds": {1: "x"}}
        assert Json(value).body == ENCODER.encode(value)
    assert json.loads(Json({"a": float("nan")}).body) == {"a": None}


def test_no_piece_is_long() -> None:
    row = {"metric": {"a": "b"}, "values": msgspec.Raw(b"[" + b"5," * 500 + b"5]")}
    value = {"status": "success", "data": {"resultType": "matrix", "result": [row] * 5_000}}
    assert max(map(len, pieces(value))) < 2_000
    assert max(map(len, pieces({"names": ["x" * 20] * 50_000}))) < 23 * (PIECE_ITEMS + 1)


def test_others_have_their_turns_while_much_is_encoded() -> None:
    value = {"result": [{"tags": {"a": str(n)}, "points": [(n, 0.5)] * 100} for n in range(10_000)]}
    turns: list[float] = []
    encoding = threading.Thread(target=lambda: Json(value))
    encoding.start()
    while encoding.is_alive():
        begun = time.perf_counter()
        time.sleep(0.001)
        turns.append(time.perf_counter() - begun)
    assert len(turns) > 5, "at once there is one turn, at the end"
