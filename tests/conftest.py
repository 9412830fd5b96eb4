"""What every test may ask for."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engines import forget_threads


def pytest_runtest_setup() -> None:
    forget_threads()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(lambda: …)` returns when the condition holds, and fails the test after `deadline_seconds`."""

    def wait(condition: Callable[[], object], deadline_seconds: float = 30.0) -> None:
        end = time.monotonic() + deadline_seconds
        while not condition():
            assert time.monotonic() < end, f"the condition did not hold within {deadline_seconds:g} s"
            time.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with history in all tiers (stocked.py), to be copied or read, not to be changed."""
    from tests.stocked import stock

    data_dir = tmp_path_factory.mktemp("stocked") / "data"
    stock(data_dir)
    return data_dir
