"""Tiers read as one: whatever the step, across restarts and kills, each sealed sample counts once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recording import FIRST, Recording, counted, expected_counts

from hms_ops import _sketch

HOUR = FIRST - FIRST % 3_600


def assert_exact(recording: Recording, steps=(10, 60, 120, 600, 3_600)) -> None:
    end = recording.now - recording.now % 3_600 + 3_600
    for step in steps:
        expected = expected_counts(recording.given, "depth", HOUR - 3_600, recording.now, step)
        assert counted(recording.past, "depth", HOUR - 3_600, end, step) == expected, f"by {step} s"


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("late"), st.integers(1, 3_000)),
        st.tuples(st.just("advance"), st.integers(1, 150)),
        st.tuples(st.just("hour"), st.just(0)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("seal"), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 4_000)),
        st.tuples(st.just("kill"), st.integers(0, 4_000)),
    ),
    max_size=30,
)


@given(operations=OPERATIONS)
@settings(deadline=None, max_examples=25)
def test_every_sample_counts_once_in_every_tier_at_any_moment(tmp_path_factory, operations):
    data_dir = tmp_path_factory.mktemp("data")
    recording = Recording(data_dir, is_written=False)
    for operation, number in operations:
        if operation == "add":
            recording.add("depth", 1.0, tags=("host:b", "host:a", "")[number])
        elif operation == "late":
            # The store has no place for the seconds of its first step that were before it.
            if recording.now - number not in range(recording.first - recording.first % 10, recording.first):
                for tags in ("host:c", "host:a", "host:b"):  # slots that do not ascend as the numbers on disk do
                    recording.add("depth", 2.0, tags=tags, ago=number)
            recording.advance(1)
        elif operation == "advance":
            recording.advance(number)
        elif operation == "hour":
            pass_an_hour(recording)
        elif operation == "write":
            assert recording.recorder.write_waiting()
        elif operation == "seal":
            recording.sealer.seal_due()
        elif operation == "restart":
            recording.advance(1)
            recording.close()
            recording = Recording(data_dir, recording.now + number, is_written=False, given=recording.given)
        else:
            recording = killed(recording, number)
        assert_exact(recording)
    recording.close()


def pass_an_hour(recording: Recording) -> None:
    """Up to a little behind the next full hour, writing as the writer does."""
    end = recording.now - recording.now % 3_600 + 3_605
    while recording.now < end:
        recording.advance(min(600, end - recording.now))
        assert recording.recorder.write_waiting()


def killed(recording: Recording, seconds: int) -> Recording:
    """A new engine on what is on disk when the old one is killed right after a step was written."""
    recording.advance(10 - recording.now % 10)
    assert recording.recorder.write_waiting()
    kept = [sample for sample in recording.given if sample[0] < recording.now]
    recording.storage.close()
    return Recording(recording.data_dir, recording.now + seconds, is_written=False, given=kept)


def test_an_hour_is_read_from_one_row_a_series(tmp_path):
    with Recording(tmp_path, first=HOUR, is_written=False) as recording:
        for _ in range(2 * 3_600 // 30):
            recording.add("depth", 1.0)
            recording.advance(30)
            recording.recorder.write_waiting()
        recording.advance(20)
        recording.recorder.write_waiting()
        known = recording.past.known("depth")
        steps, _, columns = recording.past.rows(known, HOUR, HOUR + 7_200, 3_600)
        assert steps.tolist() == [HOUR, HOUR + 3_600]
        assert columns[0].tolist() == [120.0, 120.0]
        steps, _, _ = recording.past.rows(known, HOUR, HOUR + 7_200, 60)
        assert np.array_equal(steps, np.arange(HOUR, HOUR + 7_200, 60))


@pytest.mark.parametrize(("start", "step"), [(0, 10), (-200_000, 60), (-4_000_000, 3_600)])
def test_the_finest_step_is_the_shortest_in_which_all_since_a_start_is_kept(tmp_path, start, step):
    with Recording(tmp_path, first=HOUR) as recording:
        recording.add("depth", 1.0)
        recording.advance(70)
        ids = recording.recorder.roster.ids_of(recording.store.slots("depth").astype(np.int64)).astype(np.int64)
        columns = np.ones((6, 1))
        for tier, ago in ((1, 200_000), (2, 4_000_000)):
            seconds = (10, 60, 3_600)[tier]
            old = np.array([HOUR - ago]) // seconds * seconds
            recording.storage.history.append_patch(tier, (old, ids, columns))
        assert recording.past.finest_step(HOUR + start) == step
        if step > 10:
            with pytest.raises(ValueError, match=f"is kept by {step} s"):
                recording.past.read("depth", None, HOUR + start, HOUR + 60, 10)


# ---- sketches


def quantile(recording: Recording, step: int, q: float) -> dict[int, float]:
    """By step, from the sketches of all series of api_ms; every sample counts."""
    known = recording.past.known("api_ms")
    found = recording.past.sketches(known, HOUR, recording.now - recording.now % 3_600 + 3_600, step)
    blobs: dict[int, list[bytes]] = {}
    for i in range(len(found)):
        at = int(found.steps[i])
        blobs.setdefault(at - at % step, []).append(found.blob(i))
    return {at: float(_sketch.quantiles(_sketch.merge(blobs[at]), np.array([q]))[0]) for at in sorted(blobs)}


def assert_quantiles(recording: Recording, step: int) -> None:
    samples: dict[int, list[float]] = {}
    for second, _, _, _, value, _ in recording.given:
        if second < recording.now:
            samples.setdefault(second - second % step, []).append(value)
    for q in (0.5, 0.99):
        found = quantile(recording, step, q)
        assert found.keys() == samples.keys(), f"by {step} s"
        for at, value in found.items():
            assert value == pytest.approx(np.quantile(samples[at], q), rel=0.022)


def test_percentiles_are_of_all_samples_in_every_step_across_a_restart_and_late_ones(tmp_path):
    rng = np.random.default_rng(3)
    recording = Recording(tmp_path, first=HOUR + 3, is_written=False)
    for minute in range(130):
        for _ in range(3):
            recording.add("api_ms", float(rng.lognormal(4, 0.6)), "ms", tags=rng.choice(["host:a", "host:b"]))
        if minute % 20 == 7:
            recording.add("api_ms", 400.0, "ms", tags="host:a", ago=min(1_500, recording.now - recording.first))
        recording.advance(60)
        assert recording.recorder.write_waiting()
        if minute == 70:
            recording.close()
            recording = Recording(tmp_path, recording.now + 4, is_written=False, given=recording.given)
        if minute % 40 == 39:
            assert_quantiles(recording, 60)
            assert_quantiles(recording, 3_600)
    assert_quantiles(recording, 60)
    assert_quantiles(recording, 120)
    assert_quantiles(recording, 3_600)
    recording.sealer.seal_due()
    assert_quantiles(recording, 3_600)
    recording.close()


def test_memory_has_percentiles_of_an_hour(tmp_path):
    recording = Recording(first=HOUR)
    for minute in range(50):
        recording.add("api_ms", float(minute + 1), "ms")
        recording.advance(60)
    assert_quantiles(recording, 60)
    assert_quantiles(recording, 3_600)


def test_a_late_sample_is_the_last_of_no_step_that_had_samples_in_time(tmp_path):
    with Recording(tmp_path, first=HOUR, is_written=False) as recording:
        for _ in range(75 * 60 // 5):
            recording.add("depth", float(recording.now - HOUR))
            recording.advance(5)
            assert recording.recorder.write_waiting()
        for ago in (30, 400, 1_800):
            recording.add("depth", 9_999.0, ago=ago)
        recording.advance(15)
        assert recording.recorder.write_waiting()
        for step, last in ((60, 55.0), (3_600, 3_595.0)):
            rows = recording.past.read("depth", None, HOUR, recording.now, step)
            assert rows["last"].max() < 9_999.0
            assert rows["last"][0] == last
        hour = recording.past.read("depth", None, HOUR, HOUR + 3_600, 3_600)
        assert (hour["count"].tolist(), hour["max"].tolist()) == ([721.0], [9_999.0])
