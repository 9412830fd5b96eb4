"""What `actions list` says of a run, without an engine."""

from typing import Any

import pytest

from hms_ops.cli.actions import row_of


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({}, "HTTP 200"),
        ({"verified": "", "verify_until": 2e9}, "HTTP 200, not verified yet"),
        ({"verified": "not cleared within 10 s", "verify_until": 2e9}, "HTTP 200, not cleared within 10 s"),
    ],
)
def test_a_run_that_succeeded_says_whether_it_helped(more: dict[str, Any], outcome: str) -> None:
    run = {"time": 0, "action": "scale", "state": "succeeded", "outcome": "HTTP 200", **more}
    assert row_of(run) == ("1970-01-01T00:00:00Z", "scale", "succeeded", outcome)
