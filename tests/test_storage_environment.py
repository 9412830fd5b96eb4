"""Opening LMDB: what is taken, refused and set aside; growing, forking and a full disk hurt nobody."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hms_ops.errors import StartError, StorageError
from hms_ops.storage.environment import DirectoryLock, Environment, open_or_set_aside
from hms_ops.storage.pages import EnvironmentDamaged, check_pages

DATA = "data.mdb"


def put(environment: Environment, key: bytes, value: bytes) -> None:
    environment.commit(lambda transaction: transaction.put(key, value))


def get(environment: Environment, key: bytes) -> bytes | None:
    with environment.read() as transaction:
        value = transaction.get(key)
        return None if value is None else bytes(value)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A closed environment of 200 keys with values of 5,000 bytes, and one short one."""
    path = tmp_path / "filled"
    environment = Environment(path)
    for number in range(200):
        put(environment, b"%03d" % number, bytes([number]) * 5000)
    put(environment, b"short", b"value")
    environment.close()
    return path


def in_child(body: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", body, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_committed_is_there_after_opening_again(filled):
    environment = Environment(filled)
    assert get(environment, b"short") == b"value"
    assert get(environment, b"199") == bytes([199]) * 5000
    environment.close()


def test_a_full_map_grows_and_the_write_is_repeated(tmp_path):
    environment = Environment(tmp_path / "small", map_bytes=1 << 15)
    for number in range(20):
        put(environment, b"%d" % number, bytes(100_000))
    assert get(environment, b"19") == bytes(100_000)
    assert environment.file_bytes() > 2_000_000
    environment.close()


def test_a_map_grows_only_between_the_transactions_of_readers(tmp_path):
    environment = Environment(tmp_path / "small", map_bytes=1 << 15)
    put(environment, b"key", b"before")
    is_reading, may_end = threading.Event(), threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        with environment.read() as transaction:
            is_reading.set()
            assert may_end.wait(10)
            seen.append(bytes(transaction.get(b"key")))

    reader = threading.Thread(target=read)
    writer = threading.Thread(target=put, args=(environment, b"key", bytes(200_000)))
    reader.start()
    assert is_reading.wait(10)
    writer.start()
    may_end.set()
    for thread in (reader, writer):
        thread.join(10)
        assert not thread.is_alive()
    assert seen == [b"before"]
    assert get(environment, b"key") == bytes(200_000)
    environment.close()


def test_a_write_that_raises_leaves_nothing(tmp_path):
    environment = Environment(tmp_path / "env")

    def write(transaction: object) -> None:
        transaction.put(b"key", b"value")
        raise RuntimeError("after the put")

    with pytest.raises(RuntimeError):
        environment.commit(write)
    assert get(environment, b"key") is None
    put(environment, b"key", b"again")
    assert get(environment, b"key") == b"again"
    environment.close()


def test_a_closed_environment_says_so_and_closing_twice_is_fine(tmp_path):
    environment = Environment(tmp_path / "env")
    environment.close()
    environment.close()
    with pytest.raises(StorageError, match="closed"):
        put(environment, b"key", b"value")
    with pytest.raises(StorageError, match="closed"), environment.read():
        pass


@pytest.mark.parametrize("fill", [b"", None], ids=["emptied", "removed"])
def test_a_data_file_that_was_lost_does_not_look_like_a_fresh_start(filled, fill):
    if fill is None:
        (filled / DATA).unlink()
    else:
        (filled / DATA).write_bytes(fill)
    with pytest.raises(EnvironmentDamaged, match="it was not before"):
        Environment(filled)


@pytest.mark.parametrize(
    "content", [bytes(8192), b"x" * 8192, b"short", b"\xde\xc0\xef\xbe" * 2048], ids=["zeros", "text", "short", "magic"]
)
def test_a_file_that_is_not_lmdbs_is_damaged(filled, content):
    (filled / DATA).write_bytes(content)
    with pytest.raises(EnvironmentDamaged):
        Environment(filled)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9])
def test_a_cut_file_is_seen_before_it_is_mapped(filled, kept):
    data = filled / DATA
    os.truncate(data, int(data.stat().st_size * kept))
    with pytest.raises(EnvironmentDamaged, match="cut"):
        Environment(filled)


def test_a_file_without_its_last_page_is_cut(filled):
    data = filled / DATA
    os.truncate(data, data.stat().st_size - 1)
    with pytest.raises(EnvironmentDamaged, match="cut"):
        check_pages(data)


def test_pages_that_were_freed_before_they_were_written_may_be_missing(tmp_path):
    """LMDB counts a page it handed out and took back in one transaction, and never writes it: a sound, short file."""
    environment = Environment(tmp_path / "env")

    def write_and_remove(transaction: object) -> None:
        for number in range(40):
            transaction.put(b"%03d" % number, bytes(20_000))
        for number in range(40):
            transaction.delete(b"%03d" % number)

    put(environment, b"kept", b"value")
    environment.commit(write_and_remove)
    environment.close()
    environment = Environment(tmp_path / "env")
    assert get(environment, b"kept") == b"value"
    environment.close()


def test_a_damaged_environment_is_set_aside_with_all_it_holds_and_begun_anew(filled):
    os.truncate(filled / DATA, 4096 * 3)
    environment, was_damaged = open_or_set_aside(filled)
    assert was_damaged
    assert get(environment, b"short") is None
    environment.close()
    (aside,) = filled.parent.glob("filled.damaged-*")
    assert (aside / DATA).stat().st_size == 4096 * 3


def test_damage_twice_in_a_second_is_set_aside_under_two_names(filled):
    for _ in range(2):
        (filled / DATA).write_bytes(b"junk" * 4096)
        os.utime(filled, (1_700_000_000, 1_700_000_000))
        open_or_set_aside(filled)[0].close()
    names = sorted(path.name for path in filled.parent.glob("filled.damaged-*"))
    assert names == ["filled.damaged-20231114T221320Z", "filled.damaged-20231114T221320Z.2"]


def test_a_newer_format_is_refused_and_left_alone(filled):
    (filled / "FORMAT").write_text("hms-ops 2\n")
    with pytest.raises(StorageError, match=r"format 2.*reads 1.*newer") as caught:
        open_or_set_aside(filled)
    assert not isinstance(caught.value, EnvironmentDamaged)
    assert not list(filled.parent.glob("*.damaged-*"))


@pytest.mark.parametrize("marker", [b"", b"\0" * 10, b"another 1\n", b"hms-ops one\n"])
def test_a_marker_that_was_never_written_so_is_damage(filled, marker):
    (filled / "FORMAT").write_bytes(marker)
    with pytest.raises(EnvironmentDamaged, match="FORMAT"):
        Environment(filled)


def test_a_creation_that_was_cut_short_is_taken_up_again(tmp_path):
    path = tmp_path / "half"
    path.mkdir()
    (path / DATA).touch()
    environment = Environment(path)
    put(environment, b"key", b"value")
    environment.close()
    assert (path / "FORMAT").read_text() == "hms-ops 1\n"


def test_a_forked_child_may_not_use_it_and_the_parent_goes_on(tmp_path):
    environment = Environment(tmp_path / "env")
    put(environment, b"key", b"parent")
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (lambda: get(environment, b"key"), lambda: put(environment, b"key", b"child")):
            try:
                use()
            except StorageError:
                refused += 1
        environment.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    put(environment, b"key2", b"still")
    assert get(environment, b"key") == b"parent"
    environment.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from hms_ops.errors import StorageError
from hms_ops.storage.environment import Environment
environment = Environment(Path(sys.argv[1]))
put = lambda key, size: environment.commit(lambda transaction: transaction.put(key, bytes(size)))
put(b"before", 10_000)
no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, no_limit[1]))
failed = 0
for number in range(5):
    try:
        put(b"large%d" % number, 300_000)
    except StorageError as error:
        failed += 1
assert failed == 5, failed
put(b"small", 100)
resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
put(b"after", 300_000)
with environment.read() as transaction:
    sizes = {bytes(key): len(value) for key, value in transaction.cursor()}
assert sizes == {b"before": 10_000, b"small": 100, b"after": 300_000}, sizes
environment.close()
print("resumed")
"""


def test_a_full_disk_fails_the_write_alone_and_the_next_one_works_again(tmp_path):
    child = in_child(FULL_DISK, tmp_path / "env")
    assert (child.returncode, child.stdout, child.stderr) == (0, "resumed\n", "")
    environment = Environment(tmp_path / "env")
    assert get(environment, b"after") == bytes(300_000)
    environment.close()


def test_one_directory_belongs_to_one_engine_at_a_time(tmp_path):
    lock = DirectoryLock(tmp_path / "data")
    with pytest.raises(StartError, match=rf"in use by process {os.getpid()}; stop it"):
        DirectoryLock(tmp_path / "data")
    lock.release()
    lock.release()
    DirectoryLock(tmp_path / "data").release()


def test_a_directory_another_process_uses_is_refused_with_its_pid(tmp_path):
    lock = DirectoryLock(tmp_path)
    body = "import sys; from pathlib import Path; from hms_ops.storage.environment import DirectoryLock as L"
    child = in_child(body + "\nL(Path(sys.argv[1]))", tmp_path)
    assert child.returncode == 1
    assert f"in use by process {os.getpid()}" in child.stderr
    lock.release()


def test_the_children_of_a_dead_engine_do_not_keep_its_directory(tmp_path):
    """The parent forks a child that waits, then dies at once; only the parent's death may count."""
    body = """
import os, sys
from pathlib import Path
from hms_ops.storage.environment import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
os._exit(0)
"""
    words = [sys.executable, "-c", body, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as parent:
        assert parent.wait(30) == 0
        DirectoryLock(tmp_path).release()


def unwritable(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").write_text("in the way")
    return [tmp_path / "file", tmp_path / "file" / "below", Path("/proc/hms-ops-data")]


@pytest.mark.parametrize("number", range(3), ids=["a file", "below a file", "a read-only file system"])
def test_a_directory_that_cannot_be_written_is_one_clear_line(tmp_path, number):
    path = unwritable(tmp_path)[number]
    with pytest.raises(StartError) as caught:
        DirectoryLock(path)
    assert str(caught.value).startswith(f"data directory {path} cannot be written: ")
    assert "\n" not in str(caught.value)
