"""Rows of history: what is appended is read back, merged exactly, from slabs and tiles, across restarts."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.histories import (
    NO_LIMITS,
    START,
    Twin,
    columns_of,
    dense_of,
    directories,
    one,
    patch_of,
    seal_all,
    sketches_of,
)

from hms_ops.errors import StorageError
from hms_ops.storage.history import History
from hms_ops.storage.tier import HOUR, MINUTE, TEN_SECONDS, TIERS

IDS = (1, 2, 63, 64, 65, 511, 512, 700)
SAMPLES = st.lists(st.integers(-4000, 4000).map(lambda value: value / 4), min_size=1, max_size=4)
BY_ID = st.dictionaries(st.sampled_from(IDS), SAMPLES, min_size=1, max_size=4)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.tuples(st.sampled_from([0, 1, 1, 2, 200]), BY_ID)),
        st.tuples(
            st.just("patch"), st.dictionaries(st.tuples(st.integers(0, 900), st.sampled_from(IDS)), SAMPLES, max_size=5)
        ),
        st.tuples(st.just("seal"), st.just(None)),
        st.tuples(st.just("retain"), st.just(None)),
        st.tuples(st.just("restart"), st.just(None)),
    ),
    max_size=20,
)


@pytest.fixture
def history(tmp_path):
    opened = History(tmp_path, NO_LIMITS)
    yield opened
    opened.close()


@pytest.mark.parametrize("tier", [TEN_SECONDS, MINUTE, HOUR])
@given(operations=OPERATIONS)
@example(
    operations=[
        ("patch", {(73, 1): [0.0]}),
        ("append", (200, {1: [0.0]})),
        ("patch", {(0, 1): [0.0], (105, 1): [0.0], (273, 1): [0.0]}),
    ]
)
@settings(deadline=None, max_examples=20)
def test_whatever_was_written_is_read_merged_whenever_it_was_sealed(tmp_path_factory, tier, operations):
    data_dir = tmp_path_factory.mktemp("history")
    history, twin, now = History(data_dir, NO_LIMITS), Twin(tier), START
    seconds = TIERS[tier].step_seconds
    for operation, what in operations:
        if operation == "append":
            now += what[0] * seconds
            twin.append(history, now - now % seconds, what[1], sketched=tier > 0)
        elif operation == "patch":
            begin = now - now % seconds
            rows = {(begin - ago * seconds, series_id): values for (ago, series_id), values in what.items()}
            twin.patch(history, rows, sketched=tier > 0)
        elif operation == "seal":
            seal_all(history, now)
        elif operation == "retain":
            history.retain(now * 1_000_000_000)
        else:
            history.close()
            history = History(data_dir, NO_LIMITS)
    twin.assert_same(history)
    twin.assert_same(history, now - 700 * seconds, now - 3 * seconds, [2, 64, 65, 700])
    seal_all(history)
    twin.assert_same(history)
    assert history.first_step(tier) == min((step for step, _ in twin.rows), default=None)
    assert history.last_step(tier) == max((step for step, _ in twin.rows), default=None)
    assert history.highest_id() >= max((series_id for _, series_id in twin.rows), default=0)
    assert history.counters()["damaged"] == 0
    history.close()


def test_an_empty_history_answers_with_nothing(history):
    for tier in range(3):
        assert (history.first_step(tier), history.last_step(tier)) == (None, None)
        assert [len(part) for part in history.read_columns(tier, [4, 2], 0, START)[:2]] == [0, 0]
        assert len(history.read_sketches(tier, [4, 2], 0, START)) == 0
        assert history.steps(tier, 0, START) == []
        assert history.blocks(tier) == []
    assert history.highest_id() == 0
    assert history.retain(START) == 0
    assert history.sealable(START) == []
    assert history.read_columns(0, [], 0, START)[2].shape == (6, 0)


def test_a_range_holds_its_first_second_and_not_its_last(history):
    for step in range(START, START + 60, 10):
        history.append(0, step, one(step))

    def last(start: int, end: int) -> list[float]:
        return history.read_columns(0, [1], start, end)[2][5].tolist()

    assert last(START + 10, START + 30) == [START + 10, START + 20]
    assert last(START + 11, START + 31) == [START + 20, START + 30]
    assert last(START + 30, START + 30) == last(START + 30, START) == []


def test_reads_go_across_blocks_and_partitions_sealed_or_not(history):
    twin = Twin()
    first = START + 21_600 - 7_200
    for step in range(first, first + 14_400, 10):
        twin.append(history, step, {1: [1.0], 2: [2.0, float(step)], 600: [0.25]})
    assert seal_all(history, first + 10_900) == 3
    assert directories(history.data_dir, 0, "tiles") == ["2023-11-12T00", "2023-11-12T06"]
    assert directories(history.data_dir, 0, "slabs") == ["2023-11-12T07"]
    twin.assert_same(history)
    assert [block.is_sealed for block in history.blocks(0)] == [True, True, True, False]


def test_a_step_appended_twice_is_merged_and_the_later_write_is_last(history):
    twin = Twin()
    twin.append(history, START, {1: [10.0, 20.0], 2: [5.0]})
    twin.append(history, START + 10, {1: [1.0]})
    twin.append(history, START, {1: [40.0], 3: [7.0]})
    twin.patch(history, {(START, 1): [30.0], (START + 10, 3): [1.0]})
    twin.assert_same(history)
    counters = history.counters()
    assert (counters["slabs"], counters["patches"], counters["rows"]) == (3, 1, 7)


def test_rows_without_samples_or_number_are_left_out(history):
    columns = dense_of({0: [9.0], 4: [1.0], 5: [3.0]})
    columns[0, 5] = 0
    columns[1:, 5] = np.nan  # the store says nothing of these where the count is 0
    assert history.append(0, START, columns) == 1
    patch = (np.array([START] * 2), np.array([0, 4]), columns_of([[9.0], [2.0]]))
    assert history.append_patch(0, patch) == 2
    steps, places, found = history.read_columns(0, [0, 4, 5], START, START + 10)
    assert (steps.tolist(), places.tolist()) == ([START], [1])
    assert found[0, 0] == 2
    empty = np.zeros((6, 3))
    assert history.append(0, START + 10, empty) == 0
    assert history.last_step(0) == START


@pytest.mark.parametrize(("tier", "start"), [(0, START + 1), (0, -10), (1, START + 10), (2, START + 60)])
def test_a_step_that_begins_elsewhere_is_refused(history, tier, start):
    with pytest.raises(ValueError, match="begin"):
        history.append(tier, start, one(1.0))
    with pytest.raises(ValueError, match="begin"):
        history.append_patch(tier, patch_of({(start, 1): [1.0]}))
    assert history.last_step(tier) is None


def test_a_patch_whose_steps_do_not_ascend_is_refused(history):
    steps, ids, columns = patch_of({(START, 1): [1.0], (START + 10, 1): [2.0]})
    with pytest.raises(ValueError, match="ascend"):
        history.append_patch(0, (steps[::-1], ids, columns))


def test_an_hour_is_rolled_from_minutes_sealed_or_not_with_patches_and_sketches(tmp_path):
    for sealed in (False, True):
        history = History(tmp_path / str(sealed), NO_LIMITS)
        minutes, hours = Twin(MINUTE), Twin(HOUR)
        rng = np.random.default_rng(3)
        for step in range(START, START + 21_600, 60):
            by_id = {int(i): rng.integers(-9, 9, 3).tolist() for i in rng.choice(IDS, 3, replace=False)}
            minutes.append(history, step, by_id, sketched=True)
        if sealed:
            assert seal_all(history) == 1
        minutes.patch(history, {(START + 3_660, 1): [100.0], (START + 3_600, 70): [3.0]}, sketched=True)
        for step, series_id in sorted(minutes.rows):
            hour = step - step % 3_600
            hours.add({(hour, series_id): minutes.rows[step, series_id]}, sketched=True)
        for hour in range(START, START + 21_600, 3_600):
            assert history.roll(HOUR, hour) == sum(key[0] == hour for key in hours.rows)
        hours.assert_same(history)
        minutes.assert_same(history)
        history.close()


def test_a_minute_is_rolled_from_ten_seconds_with_the_sketches_of_its_own(history):
    tens, minutes = Twin(TEN_SECONDS), Twin(MINUTE)
    for step in range(START, START + 120, 10):
        tens.append(history, step, {1: [float(step % 7)], 65: [2.5, 1.0]})
    for (step, series_id), values in sorted(tens.rows.items()):
        minutes.add({(step - step % 60, series_id): values}, sketched=True)
    for minute in (START, START + 60):
        rows = {key: values for key, values in minutes.rows.items() if key[0] == minute}
        assert history.roll(MINUTE, minute, sketches_of(rows)) == 2
    minutes.assert_same(history)
    assert history.roll(MINUTE, START + 120) == 0
    with pytest.raises(ValueError, match="no finer"):
        history.roll(TEN_SECONDS, START)


def test_steps_of_open_blocks_and_tiles_of_sealed_ones_hold_every_row_once(history):
    twin = Twin()
    for step in range(START, START + 7_200, 50):
        twin.append(history, step, {1: [1.0], 64: [float(step)], 700: [0.5]})
    twin.patch(history, {(START + 100, 64): [3.0], (START + 7_000, 5): [4.0]})
    seal_all(history, START + 3_600 + 100)
    twin.patch(history, {(START + 100, 63): [8.0]})
    found: dict[tuple[int, int], float] = {}
    assert history.steps(0, START, START + 7_200) == list(range(START + 3_600, START + 7_200, 50))
    for step in history.steps(0, START, START + 7_200):
        ids, columns = history.read_step(0, step)
        found |= {(step, int(series_id)): count for series_id, count in zip(ids, columns[0], strict=True)}
    assert history.tile_numbers(0, START) == [0, 1, 10]
    assert history.tile_numbers(0, START + 3_600) == history.tile_numbers(0, START + 7_200) == []
    for number in history.tile_numbers(0, START):
        steps, ids, columns = history.read_tile(0, START, number)
        assert (np.diff(steps) >= 0).all()
        for step, series_id, count in zip(steps.tolist(), ids.tolist(), columns[0], strict=True):
            found[step, series_id] = count
    assert found == {key: len(values) for key, values in twin.rows.items()}
    ids, columns = history.read_step(0, START + 100)
    assert (ids.tolist(), columns[0].tolist()) == ([1, 63, 64, 700], [1.0, 1.0, 2.0, 1.0])


def test_old_rows_that_are_imported_are_tiles_at_once(history):
    history.retain(START * 1_000_000_000)
    twin = Twin()
    old = START - 10 * 86_400
    rows = {(old + at, series_id): [float(at)] for at in range(0, 90_000, 1_000) for series_id in (1, 77)}
    twin.patch(history, rows)
    twin.patch(history, {(START, 3): [1.0]})
    assert directories(history.data_dir, 0, "slabs") == ["2023-11-12T00"]
    assert len(directories(history.data_dir, 0, "tiles")) == 5
    twin.assert_same(history)
    history.close()
    reopened = History(history.data_dir, NO_LIMITS)
    twin.assert_same(reopened)
    assert reopened.first_step(0) == old
    reopened.close()


def test_a_clock_set_back_an_hour_adds_to_the_sealed_block(history):
    twin = Twin()
    for step in range(START, START + 7_200, 10):
        twin.append(history, step, {1: [1.0], 2: [2.0]})
    seal_all(history, START + 3_700)
    history.retain((START + 3_600) * 1_000_000_000)
    for step in range(START + 3_000, START + 7_300, 10):
        twin.append(history, step, {1: [3.0], 66: [4.0]})
    twin.assert_same(history)
    seal_all(history)
    twin.assert_same(history)
    history.close()
    reopened = History(history.data_dir, NO_LIMITS)
    twin.assert_same(reopened)
    reopened.close()


def test_many_patches_of_a_tile_are_merged_into_one(history):
    twin = Twin()
    twin.append(history, START, {1: [1.0]})
    seal_all(history)
    for number in range(100):
        twin.patch(history, {(START + number % 7 * 10, 1 + number % 3): [float(number)]})
    twin.assert_same(history)
    ((_, environment),) = history.environments()
    with environment.read() as transaction:
        assert transaction.stat()["entries"] < 40


def test_an_unreleased_layout_is_refused_with_one_clear_line(tmp_path):
    (tmp_path / "history" / "10s" / "2023-11-14T18").mkdir(parents=True)
    with pytest.raises(StorageError, match="unreleased"):
        History(tmp_path)


def test_foreign_entries_beside_the_environments_are_left_alone(tmp_path):
    root = tmp_path / "history" / "10s" / "tiles"
    for name in ("notes", "2023-11-14", "2023-11-14T17", "2023-13-99T00"):
        (root / name).mkdir(parents=True)
    history = History(tmp_path)
    assert history.first_step(0) is None
    history.retain(10 * START * 1_000_000_000)
    assert len(list(root.iterdir())) == 4
    history.close()
