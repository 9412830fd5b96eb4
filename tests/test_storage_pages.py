"""What LMDB is to map is looked at first: whatever a flipped bit does to its pages, no process dies of it."""

import os
import random
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from hms_ops.storage import _pages
from hms_ops.storage.pages import EnvironmentDamaged, check_pages

PAGE = 4096
SIZES = (0, 1, 50, 700, 3000, 20_000)

FOLLOW = """
import sys, lmdb
from pathlib import Path

def follow(environment):
    with environment.begin(write=True) as transaction:
        for key, value in transaction.cursor():
            sum(value[:10])
        for key, value in transaction.cursor(environment.open_db(b"named", transaction, create=False)):
            sum(value[-10:])
        transaction.put(b"zz-new", bytes(9000))

whole = Path(sys.argv[1], "data.mdb").read_bytes()
for bit in map(int, sys.stdin):
    data = bytearray(whole)
    data[bit // 8] ^= 1 << bit % 8
    Path(sys.argv[1], "data.mdb").write_bytes(data)
    print(bit, flush=True)
    try:
        with lmdb.open(sys.argv[1], max_dbs=4, lock=False, map_size=1 << 30) as environment:
            follow(environment)
    except lmdb.Error:
        pass  # LMDB has seen it
"""


def change(environment: lmdb.Environment, r: random.Random, named: object) -> None:
    """A transaction of random writes, which may come to nothing."""
    with environment.begin(write=True) as transaction:
        for _ in range(r.choice([1, 5, 100])):
            key = b"%0*d" % (r.choice([3, 8, 120]), r.randrange(300))
            db = r.choice([None, named])
            if r.random() < 0.4:
                transaction.delete(key, db=db)
            else:
                transaction.put(b"k" + key, os.urandom(r.choice(SIZES)), db=db)
        if r.random() < 0.1:
            transaction.abort()


@pytest.fixture
def environment(tmp_path: Path) -> lmdb.Environment:
    with lmdb.open(str(tmp_path / "env"), map_size=1 << 28, max_dbs=4) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(3))
def test_whatever_lmdb_writes_is_sound(environment: lmdb.Environment, tmp_path: Path, seed: int) -> None:
    """Deletes, overwrites, readers that hold old pages, named databases, copies: nothing sound is called damaged."""
    r, named, held = random.Random(seed), environment.open_db(b"named"), []
    data = tmp_path / "env" / "data.mdb"
    for _ in range(60):
        change(environment, r, named)
        check_pages(data)
        if r.random() < 0.2:
            held.append(environment.begin())
        elif r.random() < 0.3 and held:
            held.pop(0).abort()
    for transaction in held:
        transaction.abort()
    for compact in (False, True):
        (tmp_path / str(compact)).mkdir()
        environment.copy(str(tmp_path / str(compact)), compact=compact)
        check_pages(tmp_path / str(compact) / "data.mdb")


def flips(data: bytes, r: random.Random, number: int) -> list[int]:
    """Bits of the first two pages and of pages of trees; half of them in the first bytes of a page."""
    trees = [page for page in range(2, len(data) // PAGE) if data[page * PAGE + 10] in (1, 2)]
    found = []
    for _ in range(number):
        page = r.choice(r.choice([[0, 1], trees, trees]))
        found.append(8 * (page * PAGE + r.randrange(168 if page < 2 or r.random() < 0.5 else PAGE)) + r.randrange(8))
    return found


def passes(data: bytearray, path: Path, bit: int) -> bool:
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    data[bit // 8] ^= 1 << bit % 8
    try:
        check_pages(path)
    except EnvironmentDamaged:
        return False
    return True


def test_what_passes_with_a_flipped_bit_can_be_followed_and_written_to(
    environment: lmdb.Environment, tmp_path: Path
) -> None:
    r, named = random.Random(8), environment.open_db(b"named")
    for _ in range(40):
        change(environment, r, named)
    data = bytearray((tmp_path / "env" / "data.mdb").read_bytes())
    copy = tmp_path / "copy"
    copy.mkdir()
    chosen = flips(data, r, 400)
    passed = [bit for bit in chosen if passes(data, copy / "data.mdb", bit)]
    assert 0.1 < len(passed) / len(chosen) < 0.9
    (copy / "data.mdb").write_bytes(data)
    words = [sys.executable, "-c", FOLLOW, str(copy)]
    child = subprocess.run(words, input="\n".join(map(str, passed)), capture_output=True, text=True, check=False)
    assert child.returncode == 0, (child.stdout.split()[-1:], child.stderr)


@pytest.mark.parametrize("commits", [1, 2, 3, 4, 9])
def test_a_flipped_bit_of_a_transactions_id_does_not_bring_an_older_state_back(tmp_path: Path, commits: int) -> None:
    with lmdb.open(str(tmp_path), map_size=1 << 24) as environment:
        for number in range(commits):
            with environment.begin(write=True) as transaction:
                transaction.put(b"%d" % number, b"value")
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    ids = [8 * (page + 144) + bit for page in (0, PAGE) for bit in range(64)]
    assert [bit for bit in ids if passes(data, tmp_path / "copy", bit)] == []
    check_pages(tmp_path / "data.mdb")


def test_a_free_list_that_names_a_page_in_use_is_damage(environment: lmdb.Environment, tmp_path: Path) -> None:
    """LMDB would write over it."""
    for number in range(40):
        with environment.begin(write=True) as transaction:
            transaction.put(b"%02d" % number, bytes(3000))
    data = bytearray((tmp_path / "env" / "data.mdb").read_bytes())
    found = [offset for offset, size in free_list(tmp_path / "env" / "data.mdb") if size > 8]
    assert found
    leaf = next(page for page in range(2, len(data) // PAGE) if is_in_use(tmp_path / "env" / "data.mdb", page))
    data[found[-1] + 8 : found[-1] + 16] = leaf.to_bytes(8, "little")
    (tmp_path / "copy").write_bytes(data)
    with pytest.raises(EnvironmentDamaged, match="in use and free"):
        check_pages(tmp_path / "copy")


def roots(path: Path) -> list[tuple[int, int, int]]:
    """(root, depth, pages) of the free list and the main database, by the newer meta page."""
    data = path.read_bytes()
    at = max((0, PAGE), key=lambda page: int.from_bytes(data[page + 144 : page + 152], "little"))
    pages = int.from_bytes(data[at + 136 : at + 144], "little") + 1
    return [
        (
            int.from_bytes(data[at + tree + 40 : at + tree + 48], "little"),
            int.from_bytes(data[at + tree + 6 : at + tree + 8], "little"),
            pages,
        )
        for tree in (40, 88)
    ]


def walk(path: Path, tree: int) -> tuple[np.ndarray, np.ndarray]:
    root, depth, pages = roots(path)[tree]
    fd = os.open(path, os.O_RDONLY)
    try:
        problem, _, runs, values, _ = _pages.walk_tree(fd, PAGE, pages, 1 << 40, root, depth, tree == 0)
    finally:
        os.close(fd)
    assert problem == 0
    return runs, values


def free_list(path: Path) -> list[list[int]]:
    found: list[list[int]] = walk(path, 0)[1].tolist()
    return found


def is_in_use(path: Path, page: int) -> bool:
    return any(first <= page < first + length for first, length in walk(path, 1)[0].tolist())


@pytest.mark.parametrize(("depth", "page_bytes"), [(0, PAGE), (33, PAGE), (1, 128), (1, 1 << 17)])
def test_a_walk_with_a_depth_or_page_size_that_cannot_be_is_refused(depth: int, page_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"depth {depth}|page_bytes {page_bytes}"):
        _pages.walk_tree(0, page_bytes, 10, 10, 2, depth, False)
