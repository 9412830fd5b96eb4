"""Cursors of remotes: kept over a restart, each under its own name."""

from pathlib import Path

import pytest

from hms_ops.storage.cursors import Cursors
from hms_ops.storage.environment import Environment


def test_a_cursor_is_what_was_put_last_also_after_a_restart(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "state", databases=4)
    cursors = Cursors(environment)
    assert cursors.get("vm 1m") is None
    cursors.put("vm 1m", {"step": 10, "tile": 0})
    cursors.put("vm 1m", {"step": 20, "tile": 3})
    cursors.put("other 1m", {"step": 5})
    environment.close()
    environment = Environment(tmp_path / "state", databases=4)
    assert Cursors(environment).get("vm 1m") == {"step": 20, "tile": 3}
    environment.close()


def test_a_damaged_cursor_counts_as_none(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "state", databases=4)
    cursors = Cursors(environment)
    database = environment.database(b"cursors")
    environment.commit(lambda transaction: transaction.put(b"vm", b"rubbish of some length", db=database))
    assert cursors.get("vm") is None
    environment.close()


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    environment = Environment(tmp_path / "state", databases=4)
    with pytest.raises(ValueError, match="1 to 200 bytes"):
        Cursors(environment).put(name, {})
    environment.close()
