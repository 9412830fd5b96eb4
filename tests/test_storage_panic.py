"""After a failed write of a meta page LMDB refuses all until it is opened again: it is, once the disk is well."""

from pathlib import Path

import lmdb
import pytest
from tests.histories import NO_LIMITS, START, one

from hms_ops import kinds
from hms_ops.errors import StorageError
from hms_ops.series import SeriesInfo
from hms_ops.storage.environment import Environment, EnvironmentClosed
from hms_ops.storage.history import History
from hms_ops.storage.store import open_storage


def put(environment: Environment, key: bytes, value: bytes) -> None:
    environment.commit(lambda transaction: transaction.put(key, value))


def get(environment: Environment, key: bytes) -> bytes | None:
    with environment.read() as transaction:
        value = transaction.get(key)
        return None if value is None else bytes(value)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A closed environment of one key."""
    environment = Environment(tmp_path / "filled")
    put(environment, b"short", b"value")
    environment.close()
    return tmp_path / "filled"


def panic(environment: Environment) -> None:
    """As after a failed write of a meta page."""

    def write(transaction: object) -> None:
        raise lmdb.PanicError("test")

    with pytest.raises(StorageError, match="test"):
        environment.commit(write)


def refuse_readers_file(path: Path) -> None:
    """LMDB's lock.mdb cannot be opened until `allow_readers_file`."""
    (path / "lock.mdb").rename(path / "kept")
    (path / "lock.mdb").mkdir()


def allow_readers_file(path: Path) -> None:
    (path / "lock.mdb").rmdir()
    (path / "kept").rename(path / "lock.mdb")


def test_one_that_cannot_be_opened_again_after_a_panic_can_be_when_the_disk_is_well(filled):
    environment = Environment(filled)
    panic(environment)
    refuse_readers_file(filled)
    for use in (lambda: get(environment, b"short"), lambda: put(environment, b"short", b"longer")) * 2:
        with pytest.raises(StorageError) as refused:
            use()
        assert not isinstance(refused.value, EnvironmentClosed)
    allow_readers_file(filled)
    assert get(environment, b"short") == b"value"
    put(environment, b"short", b"longer")
    assert get(environment, b"short") == b"longer"
    environment.close()


def test_after_a_panic_nobody_waits_for_a_reader_for_long(filled, monkeypatch):
    monkeypatch.setattr("hms_ops.storage.environment.REOPEN_SECONDS_MAX", 0.01)
    environment = Environment(filled)
    with environment.read() as transaction:
        panic(environment)
        assert transaction.get(b"short") == b"value"
        with pytest.raises(StorageError, match="is being read"):
            put(environment, b"short", b"longer")
    put(environment, b"short", b"longer")
    environment.close()


def test_a_copy_that_panics_raises_and_does_not_wait_for_itself(filled, tmp_path):
    class Panicking:
        def copy(self, *_: object) -> None:
            raise lmdb.PanicError("test")

    environment = Environment(filled)
    with environment.read() as transaction:
        real, environment._lmdb = environment._lmdb, Panicking()
        with pytest.raises(StorageError, match="test"):
            environment.copy(transaction, tmp_path)
        environment._lmdb = real
    assert get(environment, b"short") == b"value"
    environment.close()


def test_catalogue_and_state_go_on_after_a_panic(tmp_path):
    storage = open_storage(tmp_path)
    cpu = SeriesInfo("cpu", {}, kinds.GAUGE)
    assert storage.catalogue.ids_for([cpu], 1).tolist() == [1]
    for environment in (storage.catalogue.environment, storage.state):
        panic(environment)
    assert storage.catalogue.ids_for([cpu, SeriesInfo("mem", {}, kinds.GAUGE)], 2).tolist() == [1, 2]
    storage.cursors.put("a", {"at": 1})
    storage.journal.append({"time_ns": 1, "kind": "test"})
    assert storage.cursors.get("a") == {"at": 1}
    assert len(storage.journal.tail(5)) == 1
    storage.close()


def test_history_goes_on_after_a_panic_and_a_disk_that_refused(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    history.append(0, START, one(1.0))
    ((path, environment),) = history.environments()
    panic(environment)
    refuse_readers_file(tmp_path / path)
    for use in (lambda: history.append(0, START + 10, one(2.0)), lambda: history.read_columns(0, [1], 0, 1 << 40)):
        with pytest.raises(StorageError):
            use()
    allow_readers_file(tmp_path / path)
    history.append(0, START + 10, one(2.0))
    assert history.read_columns(0, [1], 0, 1 << 40)[2][1].tolist() == [1.0, 2.0]
    history.close()


def test_a_reader_gives_up_on_an_environment_that_stays_closed(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    history.append(0, START, one(1.0))
    ((_, environment),) = history.environments()
    environment.close()
    with pytest.raises(EnvironmentClosed):
        history.read_columns(0, [1], START, START + 10)
    history.close()
