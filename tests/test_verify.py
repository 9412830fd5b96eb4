"""Verify finds every damage that is planted, names where it is, and survives what kills the process that reads."""

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stocked import BEGIN, END, JOURNAL_NS, SERIES, stored

from hms_ops.errors import StartError, StorageError
from hms_ops.storage import keys
from hms_ops.storage import verify as module
from hms_ops.storage.backup import back_up
from hms_ops.storage.environment import Environment
from hms_ops.storage.verify import Verified, verify

TILES = "history/10s/tiles"
# What a child of `verify` runs: as always, but one environment kills it as a mapped file that ends too early does.
DIES = """
import os, signal, hms_ops.storage.verify as verify
look = verify.check_environment
def check(root, path, report):
    if path == "history/1m/tiles/{name}":
        os.kill(os.getpid(), signal.SIGBUS)
    return look(root, path, report)
verify.check_environment = check
verify.main()
"""


@pytest.fixture
def data_dir(stocked: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stocked, tmp_path / "data")


def changed(path: Path, key: bytes, change: Callable[[bytes], bytes | None], database: bytes | None = None) -> None:
    """Change one value as LMDB does, so that only what is in it can tell."""
    environment = Environment(path, databases=16)
    handle = environment.database(database) if database else None
    try:
        with environment.read() as transaction:
            before = transaction.get(key, db=handle)
            assert before is not None
            value = change(bytes(before))
        if value is None:
            environment.commit(lambda writing: writing.delete(key, db=handle))
        else:
            environment.commit(lambda writing: writing.put(key, value, db=handle))
    finally:
        environment.close()


def flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]


def only_problem(found: Verified, where: Path, root: Path) -> str:
    assert len(found.problems) == 1, found.problems
    assert found.problems[0].startswith(where.relative_to(root).as_posix())
    return found.problems[0]


def test_a_good_directory_has_no_problems_and_every_row_is_counted(data_dir: Path) -> None:
    seen: list[str] = []
    found = verify(data_dir, seen.append)
    assert found.problems == []
    assert found.counts["environments"] == len(seen)
    assert seen[-2:] == ["catalogue", "state"]
    assert found.counts["slabs"] > 0
    assert found.counts["tiles"] > 0
    with stored(data_dir) as storage:
        ids = [storage.catalogue.find(info.name, info.tags)[0][0] for info in SERIES]
        rows = sum(len(storage.history.read_columns(tier, ids, 0, END)[0]) for tier in range(3))
    assert found.counts["rows"] == rows
    assert verify(data_dir).counts == found.counts, "nothing is changed by looking"


def test_a_backup_is_verified_with_its_manifest(stocked: Path, tmp_path: Path) -> None:
    with stored(stocked) as storage:
        back_up(storage, tmp_path / "backup", 1)
    assert verify(tmp_path / "backup").problems == []
    file = tmp_path / "backup" / "catalogue" / "FORMAT"
    file.write_text("hms-ops 1 \n")
    assert "FORMAT has 11 bytes" in "".join(verify(tmp_path / "backup").problems)
    (tmp_path / "backup" / "MANIFEST").write_bytes(b"{}")
    assert "MANIFEST is damaged" in verify(tmp_path / "backup").problems[0]


def test_a_flipped_bit_in_a_tile_is_named_with_its_key(data_dir: Path) -> None:
    where = min((data_dir / TILES).iterdir())
    key = keys.tile_key(BEGIN, 0)
    changed(where, key, flipped)
    assert key.hex() in only_problem(verify(data_dir), where, data_dir)


def test_a_flipped_bit_in_a_key_slab_is_found_there_and_in_what_refers_to_it(data_dir: Path) -> None:
    where = sorted((data_dir / "history/10s/slabs").iterdir())[-1]
    step = keys.partition_time(where.name)
    assert step is not None
    changed(where, keys.slab_key(step), flipped)
    assert len(verify(data_dir).problems) >= 1
    changed(where, keys.slab_key(step), lambda _: None)
    found = verify(data_dir).problems
    assert found
    assert all("key slab" in problem or "BlockDamaged" in problem for problem in found)


def test_a_tile_under_anothers_key_is_found(data_dir: Path) -> None:
    where = min((data_dir / TILES).iterdir())
    environment = Environment(where)
    with environment.read() as transaction:
        tile = bytes(transaction.get(keys.tile_key(BEGIN, 0)) or b"")
    environment.commit(lambda transaction: transaction.put(keys.tile_key(BEGIN + 3600, 7), tile))
    environment.close()
    assert any("another block or tile" in problem for problem in verify(data_dir).problems)


@pytest.mark.parametrize(
    ("path", "database", "key"),
    [
        ("catalogue", b"series", keys.id_key(1)),
        ("catalogue", b"metrics", b"hits"),
        ("state", b"journal", keys.time_key(JOURNAL_NS)),
    ],
)
def test_a_damaged_record_is_named(data_dir: Path, path: str, database: bytes, key: bytes) -> None:
    changed(data_dir / path, key, flipped, database)
    found = verify(data_dir).problems
    assert any(f"{path}: {database.decode()} {key.hex()}" in problem for problem in found)


def test_a_name_that_points_at_another_series_is_found(data_dir: Path) -> None:
    key = keys.series_key("hits", {})
    changed(data_dir / "catalogue", key, lambda _: keys.named_id(key, 1), b"ids")
    found = verify(data_dir).problems
    assert "its number is not that of a series" in found[0]
    assert "cannot be found by its name" in found[1]


def test_a_name_that_is_gone_is_found_by_its_record_and_a_deleted_one_is_not_missed(data_dir: Path) -> None:
    with stored(data_dir) as storage:
        storage.catalogue.delete(SERIES[:1], 1)
    assert verify(data_dir).problems == []
    changed(data_dir / "catalogue", keys.series_key("hits", {}), lambda _: None, b"ids")
    assert "cannot be found by its name" in only_problem(verify(data_dir), data_dir / "catalogue", data_dir)


def test_a_tile_or_a_marker_that_is_gone_is_missed(data_dir: Path) -> None:
    where = min((data_dir / TILES).iterdir())
    changed(where, keys.tile_key(BEGIN, 0), lambda _: None)
    assert "not those that it was sealed with" in only_problem(verify(data_dir), where, data_dir)
    changed(where, keys.tile_key(BEGIN, keys.MARKER), lambda _: None)
    assert verify(data_dir).problems == [], "nothing is left that tells of the block"


def test_tiles_without_a_marker_are_found_unless_their_slabs_are_there(data_dir: Path) -> None:
    where = min((data_dir / TILES).iterdir())
    changed(where, keys.tile_key(BEGIN, keys.MARKER), lambda _: None)
    assert "no marker, and no slabs" in only_problem(verify(data_dir), where, data_dir)


def test_a_slab_under_a_key_that_was_never_written_is_found(data_dir: Path) -> None:
    where = max((data_dir / "history/10s/slabs").iterdir())
    step = keys.partition_time(where.name)
    assert step is not None
    environment = Environment(where)
    with environment.read() as transaction:
        slab = bytes(transaction.get(keys.slab_key(step)) or b"")
    environment.commit(lambda transaction: transaction.put(keys.slab_key(step + 5), slab))
    environment.close()
    assert any("never written so" in problem for problem in verify(data_dir).problems)


@pytest.mark.parametrize("how", ["cut", "emptied", "zeroed", "gone", "foreign", "unmarked", "newer", "scribbled"])
@pytest.mark.parametrize("path", ["catalogue", "state", TILES])
def test_a_file_that_is_not_what_it_was_is_reported(data_dir: Path, path: str, how: str) -> None:
    where = data_dir / path if path != TILES else min((data_dir / TILES).iterdir())
    file = where / "data.mdb"
    data = file.read_bytes()
    if how == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif how == "emptied":
        file.write_bytes(b"")
    elif how == "zeroed":
        file.write_bytes(bytes(len(data)))
    elif how == "gone":
        file.unlink()
    elif how == "foreign":
        file.write_bytes(b"SQLite format 3\0" * (len(data) // 16))
    elif how == "unmarked":
        (where / "FORMAT").unlink()
    elif how == "newer":
        (where / "FORMAT").write_text("hms-ops 9\n")
    else:  # every page but the two that LMDB begins with
        file.write_bytes(data[:8192] + b"\xa5" * (len(data) - 8192))
    found = verify(data_dir)
    assert found.problems
    assert all(problem.startswith(where.relative_to(data_dir).as_posix()) for problem in found.problems)
    assert found.counts["environments"] >= 5, "the others were read all the same"


def test_a_file_that_kills_its_reader_is_damage_and_the_rest_is_read(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = verify(data_dir)
    where = min((data_dir / "history/1m/tiles").iterdir())
    monkeypatch.setattr(module, "CHILD", (sys.executable, "-c", DIES.format(name=where.name)))
    found = verify(data_dir)
    assert "reading it ended the process with SIGBUS" in only_problem(found, where, data_dir)
    assert found.counts["environments"] == whole.counts["environments"] - 1
    assert found.counts["records"] > 2


def test_a_child_that_cannot_even_start_is_an_error(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHILD", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(StorageError, match="cannot be verified: the process that reads it ended with exit code 3"):
        verify(data_dir)


def test_a_record_that_claims_more_than_there_is_is_found(data_dir: Path) -> None:
    """Whoever sums it runs off the end of the file."""
    where = min((data_dir / TILES).iterdir())
    data = bytearray((where / "data.mdb").read_bytes())
    key = keys.tile_key(BEGIN, keys.MARKER)
    at = data.find(key)
    assert at > 0
    while at > 0:
        if struct.unpack_from("<H", data, at - 2)[0] == len(key):
            struct.pack_into("<H", data, at - 6, 0x3FFF)
        at = data.find(key, at + 1)
    (where / "data.mdb").write_bytes(data)
    only_problem(verify(data_dir), where, data_dir)


def test_what_was_set_aside_is_a_problem_still(data_dir: Path) -> None:
    shutil.copytree(data_dir / "state", data_dir / "state.damaged-20260101T000000Z")
    assert "was damaged, and set aside" in only_problem(
        verify(data_dir), data_dir / "state.damaged-20260101T000000Z", data_dir
    )


def test_a_directory_that_an_engine_has_open_is_refused(data_dir: Path) -> None:
    with stored(data_dir), pytest.raises(StartError, match="is in use by an engine"):
        verify(data_dir)
    assert verify(data_dir).problems == []


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no data directory and no backup"):
        verify(tmp_path)
