"""Patches of sealed blocks: merged when there are many, of rows and of sketches, and each counted once."""

import numpy as np
from tests.histories import NO_LIMITS, START, Twin, one, seal_all

from hms_ops.storage import keys, patches
from hms_ops.storage.damage import BlockTooNew
from hms_ops.storage.history import History
from hms_ops.storage.merge import COUNT


def sealed(history: History) -> Twin:
    twin = Twin()
    twin.append(history, START, {1: [1.0], 64: [2.0]}, sketched=True)
    history.retain((START + 7_200) * 1_000_000_000)
    assert seal_all(history) == 1
    return twin


def parts(history: History, kind: int) -> int:
    """Of tile 0."""
    ((_, environment),) = history.environments()
    prefix = keys.tile_key(START, 0, kind)[: keys.TILE_PREFIX_BYTES]
    with environment.read() as transaction, transaction.cursor() as cursor:
        return sum(bytes(key).startswith(prefix) for key, _ in cursor)


def test_patches_of_rows_and_sketches_are_merged_when_they_are_many(tmp_path):
    history = History(tmp_path, NO_LIMITS)
    twin = sealed(history)
    for number in range(3 * patches.PATCHES_MAX):
        rows = {(START + 10 * (number % 7), 1): [float(number), 1.5], (START, 63): [2.0], (START, 64): [1.0]}
        twin.patch(history, rows, sketched=True)
        assert max(parts(history, kind) for kind in (keys.ROWS, keys.SKETCHES)) <= patches.PATCHES_MAX + 1
        if number % 31 == 0:
            twin.assert_same(history)
    twin.assert_same(history)
    history.close()
    history = History(tmp_path, NO_LIMITS)
    twin.assert_same(history)
    assert history.counters()["damaged"] == 0
    history.close()


def test_patches_that_an_older_release_could_not_merge_are_counted_once(tmp_path, monkeypatch):
    """It leaves more of them than PATCHES_MAX, and a gap below."""

    def newer(*_: object) -> None:
        raise BlockTooNew("a patch of a later release")

    history = History(tmp_path, NO_LIMITS)
    sealed(history)
    patch = (np.array([START]), np.array([1]), one(5.0)[:, 1:])
    given = 1
    for is_older in (False, True, False):
        with monkeypatch.context() as release:
            if is_older:
                release.setattr(patches.tile, "select", newer)
            for _ in range(40):
                history.append_patch(0, patch)
                given += 1
        assert history.read_columns(0, [1], START, START + 10)[2][COUNT] == [given]
    assert parts(history, keys.ROWS) < patches.PATCHES_MAX
    history.close()
