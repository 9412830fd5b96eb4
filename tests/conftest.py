"""What every test may ask for."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(lambda: …)` returns when the condition holds, and fails the test after `deadline_seconds`."""

    def wait(condition: Callable[[], object], deadline_seconds: float = 10.0) -> None:
        end = time.monotonic() + deadline_seconds
        while not condition():
            assert time.monotonic() < end, f"the condition did not hold within {deadline_seconds:g} s"
            time.sleep(0.005)

    return wait
