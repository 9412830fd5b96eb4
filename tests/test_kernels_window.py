"""kernels.window and kernels.rollup against the twins that work from raw samples."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.reference import windows as twin

from hms_ops import kinds
from hms_ops.kernels.rollup import rollup_step
from hms_ops.kernels.window import DELTA, LAST, M2, MAX, SCRATCH_ROWS, SEEN, SUM, cover, cover_sketches, window_groups

FIRST = 1_700_000_000  # no whole minute: 1_699_999_980 is one
EVERYTHING = 0xFF
NAMES = ("COUNT", "SUM", "M2", "MIN", "MAX", "LAST", "DELTA", "SEEN")


def make_samples(rng: np.random.Generator, gap_seconds: float, start: int, end: int, weighted: bool) -> NDArray:
    """float64[n, 3] of one series: a sample every `gap_seconds` or so, several a second where that is below one."""
    second = np.sort(rng.integers(start, end, max(1, int((end - start) / gap_seconds))))
    weight = rng.choice([1.0, 10.0], len(second)) if weighted else np.ones(len(second))
    return np.column_stack([second, rng.normal(100, 30, len(second)), weight])


def make_fleet(end: int, weighted: bool = True) -> twin.Samples:
    """Busy, sparse and silent series; slot 5 was never seen, slot 7 went silent an hour ago."""
    rng = np.random.default_rng(end)
    gaps = {0: 0.5, 1: 1.0, 2: 7.0, 3: 45.0, 4: 290.0, 6: 1500.0}
    fleet = {slot: make_samples(rng, gap, FIRST, end, weighted) for slot, gap in gaps.items()}
    fleet[7] = make_samples(rng, 3.0, FIRST, max(FIRST + 1, end - 3700), weighted)
    return fleet


def run_window(
    columns: tuple[NDArray, ...],
    seconds: int,
    end: int,
    groups: Sequence[Sequence[int]],
    kind: int = kinds.GAUGE,
    mask: int = EVERYTHING,
    first_second: int = FIRST,
) -> NDArray:
    """stats float64[G, 8] of the window of `seconds` for groups of series slots."""
    tiers, slots, covered = cover(end - seconds, end, first_second)
    member = np.unique(np.concatenate([np.asarray(g, np.int32) for g in groups])).astype(np.int32)
    chosen = [np.searchsorted(member, g).astype(np.int32) for g in groups]
    stats = np.full((len(groups), 8), 1e300)
    window_groups(
        *columns,
        end,
        first_second,
        tiers,
        slots,
        np.array([0, len(tiers)]),
        np.array([covered]),
        np.array([mask]),
        member,
        np.array([0]),
        np.array([len(member)]),
        np.concatenate(chosen),
        np.cumsum([0, *map(len, groups)])[:-1],
        np.cumsum(list(map(len, groups))),
        np.zeros(len(groups), np.int64),
        np.full(len(groups), kind, np.int8),
        np.full((SCRATCH_ROWS, len(member)), np.nan),
        stats,
    )
    return stats


def assert_same(got: NDArray, want: Sequence[float], what: str) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-7, err_msg=f"{what}: {NAMES}")


# ---- cover ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [FIRST + 7200, FIRST + 7201, FIRST + 7219, FIRST + 7220, FIRST + 7999])
def test_cover_of_every_length_takes_stored_steps_without_gap_or_overlap(end: int) -> None:
    for seconds in range(1, 3601):
        tiers, slots, covered = cover(end - seconds, end, FIRST)
        start = twin.window_start(seconds, end, FIRST)
        want = [(twin.STEPS.index(stop - at), at // (stop - at) % 64) for at, stop in twin.steps(start, end)]
        assert list(zip(tiers, slots, strict=True)) == want
        assert covered == end - start
        assert all(at >= (end // (stop - at) - twin.STORED[t]) * (stop - at)
                   for t, (at, stop) in zip(tiers, twin.steps(start, end), strict=True))  # fmt: skip


@pytest.mark.parametrize("end", [FIRST + 7200, FIRST + 7201, FIRST + 7219, FIRST + 7999])
def test_a_cover_beside_sketches_begins_at_a_step_of_theirs(end: int) -> None:
    for seconds in range(1, 3601):
        tiers, slots, covered = cover_sketches(end - seconds, end, FIRST)
        step = 10 if seconds <= 600 else 60
        start = (end - seconds) // step * step
        want = [(twin.STEPS.index(stop - at), at // (stop - at) % 64) for at, stop in twin.steps(start, end)]
        assert (list(zip(tiers, slots, strict=True)), covered) == (want, end - start)


def test_a_minute_takes_fourteen_rows_on_average() -> None:
    rows = [len(cover(end - 60, end, 0)[0]) for end in range(FIRST, FIRST + 60)]
    assert np.mean(rows) < 15
    assert max(rows) <= 22


@pytest.mark.parametrize(("age", "rows"), [(1, 1), (10, 10), (60, 60), (61, 1), (599, 1), (3599, 1)])
def test_a_cover_reaches_back_to_the_first_second_only(age: int, rows: int) -> None:
    end = FIRST + 20_003
    tiers, slots, covered = cover(end - 3600, end, end - age)
    assert covered == age
    assert len(tiers) <= max(rows, 80)
    assert len(tiers) == len(slots)


@pytest.mark.parametrize("first_second", [FIRST, FIRST + 1, FIRST + 1000])
def test_nothing_is_covered_before_the_engine_started(first_second: int) -> None:
    tiers, slots, covered = cover(FIRST - 60, FIRST, first_second)
    assert (len(tiers), len(slots), covered) == (0, 0, 0)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 4), (0, 3601), (-1, 86400)])
def test_a_window_that_is_empty_or_longer_than_an_hour_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=f"{end - start} s is outside 1 to 3600 s"):
        cover(start, end, 0)


# ---- window_groups --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kinds.COUNTER, kinds.GAUGE, kinds.TIMER])
@pytest.mark.parametrize("end", [FIRST + 7200, FIRST + 7217, FIRST + 7221, FIRST + 1234, FIRST + 45])
def test_windows_of_every_length_equal_the_twin(end: int, kind: int) -> None:
    samples = make_fleet(end, weighted=kind != kinds.GAUGE)
    columns = twin.columns(samples, 9, end)
    groups = [[0, 1, 2, 3, 4, 5, 6, 7], [5], [7, 5], [2], [3, 4], [1, 6]]
    for seconds in [*range(1, 70), *range(71, 700, 13), *range(701, 3600, 97), 600, 3600]:
        got = run_window(columns, seconds, end, groups, kind)
        start = twin.window_start(seconds, end, FIRST)
        for g, members in enumerate(groups):
            want = twin.stats(samples, members, kinds.NAMES[kind], start, end)
            assert_same(got[g], want, f"{seconds} s before {end - FIRST}, {members}")


@pytest.mark.parametrize("seconds", [5, 50, 57, 60, 61, 70, 600])
def test_a_gauge_that_rises_by_one_a_second_changes_by_the_seconds_covered(seconds: int) -> None:
    second = np.arange(FIRST, FIRST + 7300, dtype=float)
    samples = {0: np.column_stack([second, second - FIRST, np.ones(len(second))])}
    for end in range(FIRST + 7230, FIRST + 7260):
        covered = end - twin.window_start(seconds, end, FIRST)
        delta = run_window(twin.columns(samples, 1, end), seconds, end, [[0]])[0, DELTA]
        assert covered - 1 <= delta <= covered


def test_a_rare_step_of_a_gauge_is_seen_in_full_whatever_the_alignment() -> None:
    for end in range(FIRST + 600, FIRST + 660):
        samples = {0: np.array([[end - 150, 5.0, 1.0], [end - 20, 50.0, 1.0]])}
        assert run_window(twin.columns(samples, 1, end), 60, end, [[0]])[0, DELTA] == 45.0


@pytest.mark.parametrize("members", [range(4096), range(3, 5000), range(0, 5000, 2), [0, 2047, 2048, 4999], [4999]])
def test_blocks_of_neighbours_and_of_scattered_members_agree_with_numpy(members: Sequence[int]) -> None:
    rng = np.random.default_rng(5)
    end = FIRST + 100
    cols = np.resize(np.array(twin.GARBAGE), (3, 6, 64, 5000))
    cols[:, 0] = 0.0
    count = rng.integers(0, 3, (10, 5000)).astype(float)
    value = rng.normal(0, 1, (10, 5000))
    for row, second in enumerate(range(end - 10, end)):
        cols[0, 0, second % 64] = count[row]
        for field, of_field in ((1, count[row] * value[row]), (2, 0 * value[row]), (3, value[row]), (4, value[row])):
            cols[0, field, second % 64] = np.where(count[row] > 0, of_field, cols[0, field, second % 64])
    seen = np.full(5000, end - 1)
    got = run_window((cols, np.zeros(5000), seen), 9, end, [members, list(members)[:1]], kinds.TIMER)[0]
    count, value = count[1:, list(members)], value[1:, list(members)]
    m2 = np.sum(count * (value - np.average(value, weights=count)) ** 2)
    want = [count.sum(), (count * value).sum(), m2, value[count > 0].min(), value[count > 0].max()]
    np.testing.assert_allclose(got[: MAX + 1], want, rtol=1e-9)
    assert got[SEEN] == len(members)


@pytest.mark.parametrize("field", range(1, DELTA + 1))
def test_a_field_that_is_not_asked_for_is_nan_and_the_others_stay(field: int) -> None:
    end = FIRST + 700
    columns = twin.columns(make_fleet(end), 9, end)
    everything = run_window(columns, 300, end, [[0, 2, 3]])[0]
    only = run_window(columns, 300, end, [[0, 2, 3]], mask=1 << field)[0]
    kept = [0, field, SEEN]
    np.testing.assert_array_equal(only[kept], everything[kept])
    assert np.isnan(np.delete(only, kept)).all()


def test_neighbours_of_a_member_do_not_matter_and_inputs_stay_unchanged() -> None:
    end = FIRST + 3000
    samples = make_fleet(end)
    columns = twin.columns(samples, 9, end)
    before = [a.copy() for a in columns]
    alone = run_window(columns, 700, end, [[2, 4]])
    for a, b in zip(columns, before, strict=True):
        np.testing.assert_array_equal(a, b)
    columns[0][..., [0, 1, 3, 5, 6, 7, 8]] = 1e300
    np.testing.assert_array_equal(run_window(columns, 700, end, [[2, 4]]), alone)


def test_the_variance_of_values_around_a_billion_is_exact() -> None:
    rng = np.random.default_rng(1)
    end = FIRST + 3600
    samples = {s: make_samples(rng, 0.3, FIRST, end, weighted=False) for s in range(3)}
    for one in samples.values():
        one[:, 1] = 1e9 + rng.normal(0, 1, len(one))
    for seconds in (7, 60, 600, 3600):
        start = twin.window_start(seconds, end, FIRST)
        values = np.concatenate([twin.between(one, start, end)[:, 1] for one in samples.values()])
        got = run_window(twin.columns(samples, 3, end), seconds, end, [[0, 1, 2]])[0]
        assert got[M2] / got[0] == pytest.approx(np.var(values - 1e9), rel=1e-6)


def test_one_huge_value_leaves_no_trace_after_it_left_the_window() -> None:
    second = np.arange(FIRST, FIRST + 300, dtype=float)
    plain = {0: np.column_stack([second, second % 7, np.ones(300)])}
    spiked = {0: plain[0].copy()}
    spiked[0][100, 1] = 1e150
    for end in (FIRST + 161, FIRST + 162, FIRST + 200):
        got = run_window(twin.columns(spiked, 1, end), 60, end, [[0]], mask=0x3F)
        np.testing.assert_array_equal(got, run_window(twin.columns(plain, 1, end), 60, end, [[0]], mask=0x3F))


def test_a_silent_gauge_keeps_its_last_value_for_five_minutes_and_no_longer() -> None:
    samples = {0: np.array([[FIRST + 10, 42.0, 1.0]])}
    for silent, want in ((1, 42.0), (299, 42.0), (300, 42.0), (301, np.nan)):
        end = FIRST + 10 + silent
        got = run_window(twin.columns(samples, 1, end), 5, end, [[0]])[0, LAST]
        np.testing.assert_equal(got, want)


# ---- rollup ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", [1, 2])
def test_a_rolled_up_step_equals_the_aggregates_of_its_samples(tier: int) -> None:
    end = FIRST // 60 * 60 + 1200
    samples = make_fleet(end)
    cols, _, _ = twin.columns(samples, 9, end)
    want = cols.copy()
    index = end // twin.STEPS[tier] - 1
    cols[tier, :, index % 64] = np.nan
    others = np.delete(cols, index % 64, axis=2).copy()
    rollup_step(cols, tier, index, 9)
    seen = want[tier, 0, index % 64] > 0
    np.testing.assert_allclose(cols[tier, :, index % 64][:, seen], want[tier, :, index % 64][:, seen], rtol=1e-9)
    assert (cols[tier, 0, index % 64][~seen] == 0).all()
    np.testing.assert_array_equal(np.delete(cols, index % 64, axis=2), others)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.floats(-1e6, 1e6), st.sampled_from([1.0, 2.0, 100.0])), min_size=1, max_size=80
    )
)
def test_merging_rollups_equals_the_rollup_of_all(drawn: list[tuple[int, float, float]]) -> None:
    minute = FIRST // 60
    drawn.sort(key=lambda sample: sample[0])
    samples = {1: np.array([[minute * 60 + s, value, weight] for s, value, weight in drawn])}
    cols, _, _ = twin.columns(samples, 3, minute * 60 + 60)
    cols[1:] = np.nan
    for step in range(6):
        rollup_step(cols, 1, minute * 6 + step, 3)
    rollup_step(cols, 2, minute, 3)
    scale = max(1.0, np.abs(samples[1][:, 1]).max())
    np.testing.assert_allclose(cols[2, :, minute % 64, 1], twin.aggregate(samples[1]), rtol=1e-9, atol=1e-6 * scale)
    assert (cols[2, 0, minute % 64, [0, 2]] == 0).all()


def test_series_beyond_the_high_water_mark_are_left_alone() -> None:
    cols = np.ones((3, 6, 64, 5000))
    rollup_step(cols, 1, 7, 3000)
    assert (cols[1, SUM, 7, :3000] == 10).all()
    assert (cols[1, :, 7, 3000:] == 1).all()
