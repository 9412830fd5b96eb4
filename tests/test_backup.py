"""Backups: whole and of one moment, checked before anything is restored, and gone again when they do not succeed."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.stocked import BEGIN, END, SERIES, random_rows, stock, stored
from tests.test_exchange import ALL, text_of

from hms_ops.errors import StorageError
from hms_ops.storage import backup
from hms_ops.storage._crc32c import crc32c
from hms_ops.storage.backup import MANIFEST, back_up, read_manifest, restore
from hms_ops.storage.store import Storage
from hms_ops.storage.tier import TEN_SECONDS

NOW_NS = END * 10**9


@pytest.fixture(scope="module")
def data_dir(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(stocked, tmp_path_factory.mktemp("stocked") / "data")


@pytest.fixture(scope="module")
def backed_up(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("backup") / "today"
    with stored(data_dir) as storage:
        back_up(storage, target, NOW_NS)
    return target


@pytest.fixture
def copy(backed_up: Path, tmp_path: Path) -> Path:
    return shutil.copytree(backed_up, tmp_path / "copy")


def described(storage: Storage) -> tuple[str, list[dict[str, object]]]:
    return text_of(storage, ALL), storage.journal.tail(10)


def test_what_is_restored_is_what_was_there(data_dir: Path, tmp_path: Path) -> None:
    with stored(data_dir) as storage:
        storage.journal.append({"time_ns": 1, "kind": "start"})
        before = described(storage)
        made = back_up(storage, tmp_path / "deep" / "backup", NOW_NS)
    assert made == read_manifest(tmp_path / "deep" / "backup")
    assert restore(tmp_path / "deep" / "backup", tmp_path / "new") == made
    assert made.time == END
    assert {Path(file.path).parts[0] for file in made.files} == {"history", "catalogue", "state"}
    assert made.size_bytes == sum(file.stat().st_size for file in (tmp_path / "new").rglob("*") if file.is_file())
    with stored(tmp_path / "new") as storage:
        assert described(storage) == before


def test_a_backup_of_nothing_can_be_restored(tmp_path: Path) -> None:
    with stored(tmp_path / "data") as storage:
        back_up(storage, tmp_path / "backup", NOW_NS)
    restore(tmp_path / "backup", tmp_path / "new")
    with stored(tmp_path / "new") as storage:
        assert text_of(storage, ALL).count("\n") == 1


def test_a_backup_is_of_one_moment_while_steps_are_written_and_blocks_are_sealed(tmp_path: Path) -> None:
    """Whatever step is in the backup, all before it are: for each series, in whichever form the block is by then."""
    data_dir = tmp_path / "data"
    stock(data_dir, hours=1, is_sealed=False)
    with stored(data_dir) as storage:
        ids, rng, is_done = storage.catalogue.ids_for(SERIES, 1), np.random.default_rng(2), threading.Event()
        columns = random_rows(rng, ids)
        columns[0, ids] = 1

        def write() -> None:
            for step in range(BEGIN + 3600, BEGIN + 4 * 3600, 10):
                if is_done.is_set():
                    return
                storage.history.append(TEN_SECONDS, step, columns)
                for tier, block in storage.history.sealable(step - 400):
                    storage.history.seal(tier, block)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(4):
                back_up(storage, tmp_path / f"backup{number}", NOW_NS)
        finally:
            is_done.set()
            writer.join(30)
    for number in range(4):
        restore(tmp_path / f"backup{number}", tmp_path / f"new{number}")
        with stored(tmp_path / f"new{number}") as restored:
            steps, places, _ = restored.history.read_columns(TEN_SECONDS, ids, BEGIN + 3600, BEGIN + 10**6)
            last = restored.history.last_step(TEN_SECONDS)
            assert last is not None
            for place in range(len(ids)):
                assert steps[places == place].tolist() == list(range(BEGIN + 3600, last + 1, 10))


def test_free_pages_are_left_out(data_dir: Path, tmp_path: Path) -> None:
    with stored(shutil.copytree(data_dir, tmp_path / "data")) as storage:
        for n in range(50):
            storage.journal.append(*({"time_ns": n, "kind": "x", "text": "y" * 3000} for _ in range(20)))
        storage.journal.events_max = 10
        storage.journal.append({"time_ns": 99, "kind": "x"})
        back_up(storage, tmp_path / "backup", NOW_NS)
        copied = tmp_path / "backup" / "state" / "data.mdb"
        assert copied.stat().st_size < storage.state.file_bytes() / 2


# ---- what goes wrong while one is made


def test_a_directory_that_is_not_empty_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with stored(data_dir) as storage, pytest.raises(StorageError, match="is not empty; name a new directory"):
        back_up(storage, tmp_path, NOW_NS)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    with stored(data_dir) as storage, pytest.raises(StorageError, match="is not empty"):
        back_up(storage, tmp_path / "precious", NOW_NS)
    with pytest.raises(StorageError, match="is no backup"):
        restore(tmp_path, tmp_path / "new")


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "empty"])
def test_a_stopped_backup_leaves_nothing_behind(data_dir: Path, tmp_path: Path, is_there: bool) -> None:
    target = tmp_path / "backup"
    if is_there:
        target.mkdir()
    answers = iter([False, False, True])
    with stored(data_dir) as storage:
        with pytest.raises(StorageError, match="the engine stops"):
            back_up(storage, target, NOW_NS, lambda: next(answers))
        assert target.exists() == is_there
        assert not is_there or not any(target.iterdir())
        back_up(storage, target, NOW_NS)
        storage.history.retain(NOW_NS)


def test_a_place_that_cannot_be_written_is_named(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with stored(data_dir) as storage, pytest.raises(StorageError, match="file/backup"):
        back_up(storage, tmp_path / "file" / "backup", NOW_NS)


# ---- what is wrong with one that is restored


def damage_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("what", ["byte", "cut", "longer", "gone", "empty"])
def test_a_damaged_file_is_named_and_nothing_is_restored(copy: Path, tmp_path: Path, what: str) -> None:
    file = next(iter(sorted(copy.glob("history/1m/tiles/*/data.mdb"))), None) or copy / "catalogue" / "data.mdb"
    size = file.stat().st_size
    if what == "byte":
        damage_byte(file, size // 2)
    elif what == "cut":
        file.write_bytes(file.read_bytes()[: size // 2])
    elif what == "longer":
        file.write_bytes(file.read_bytes() + b"x")
    elif what == "gone":
        file.unlink()
    else:
        file.write_bytes(b"")
    with pytest.raises(StorageError, match="nothing was restored") as caught:
        restore(copy, tmp_path / "new")
    assert str(file) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_every_byte_of_the_manifest_is_summed(copy: Path, tmp_path: Path) -> None:
    size = (copy / MANIFEST).stat().st_size
    for at in (*range(0, size, max(1, size // 20)), size - 1):
        damage_byte(copy / MANIFEST, at)
        with pytest.raises(StorageError):
            restore(copy, tmp_path / "new")
        damage_byte(copy / MANIFEST, at)
    restore(copy, tmp_path / "new")


def rewritten(copy: Path, change: dict[str, object]) -> None:
    """A manifest of somebody who knows how to sum."""
    document = json.loads((copy / MANIFEST).read_bytes().rpartition(b"crc32c")[0]) | change
    text = json.dumps(document).encode() + b"\n"
    (copy / MANIFEST).write_bytes(text + b"crc32c %08x\n" % crc32c(text))


@pytest.mark.parametrize(
    "path",
    [
        "../outside/data.mdb",
        "/tmp/outside/data.mdb",
        "history/../../data.mdb",
        "history/10s/evil.so",
        "engine.lock",
        "",
    ],
)
def test_a_manifest_leads_nowhere_else(copy: Path, tmp_path: Path, path: str) -> None:
    rewritten(copy, {"files": [{"path": path, "bytes": 0, "crc32c": "00000000"}]})
    with pytest.raises(StorageError, match="which no backup has"):
        restore(copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2, this release reads 1; install a newer release"),
        ({"format": "x"}, "is no manifest"),
        ({"files": 5}, "is no manifest"),
        ({"files": [{"path": "state/data.mdb"}]}, "is no manifest"),
        ({"time": None}, "is no manifest"),
    ],
)
def test_a_manifest_that_is_none_or_newer_is_refused(
    copy: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    rewritten(copy, change)
    with pytest.raises(StorageError, match=said):
        restore(copy, tmp_path / "new")


def test_a_directory_in_use_is_not_restored_into(backed_up: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "engine.lock").write_text("")
    with pytest.raises(StorageError, match="is not empty"):
        restore(backed_up, tmp_path / "new")
    (tmp_path / "new" / "engine.lock").unlink()
    restore(backed_up, tmp_path / "new")


def test_a_file_that_changes_while_it_is_copied_is_noticed(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = backup.problems_of

    def then_damage(source: Path, manifest: backup.Manifest) -> list[str]:
        found = real(source, manifest)
        damage_byte(copy / "catalogue" / "data.mdb", 9000)
        return found

    monkeypatch.setattr(backup, "problems_of", then_damage)
    with pytest.raises(StorageError, match="does not match its checksum; nothing was restored"):
        restore(copy, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]
