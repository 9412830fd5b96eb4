"""A test file of either format, run: promtool's has `input_series` and so on, ours `series` and `expect`."""

from collections.abc import Iterator
from pathlib import Path

from hms_ops.prometheus.outcomes import Outcome
from hms_ops.prometheus.ownfile import is_own, read_own_file
from hms_ops.prometheus.owntests import run_own_tests
from hms_ops.prometheus.testfile import read_test_file
from hms_ops.prometheus.unittests import run_tests
from hms_ops.yamlfile import load_file


def outcomes_of(path: Path) -> Iterator[Outcome]:
    """The outcome of each expectation of a file; ConfigError for one that cannot be read."""
    root = load_file(path)
    if is_own(root):
        yield from run_own_tests(read_own_file(root, path))
    else:
        yield from run_tests(read_test_file(root, path))
