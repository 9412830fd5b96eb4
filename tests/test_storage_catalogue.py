"""The catalogue: numbers are given once and for good, names are found, and damage never gives an old row a new name."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops import kinds
from hms_ops.errors import StartError, StorageError
from hms_ops.series import SeriesInfo
from hms_ops.storage import keys, store
from hms_ops.storage.catalogue import Catalogue, open_catalogue
from hms_ops.storage.environment import Environment
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record
from hms_ops.storage.store import open_storage

API = SeriesInfo("finance.api_ms", {"agency": "irs", "host": "a"}, kinds.TIMER)
API_B = SeriesInfo("finance.api_ms", {"host": "b"}, kinds.TIMER)
PLAIN = SeriesInfo("finance.api_ms", {}, kinds.TIMER)
OTHER = SeriesInfo("finance.api_ms.errors", {}, kinds.COUNTER)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


def opened(data_dir: Path, highest: int = 0) -> Catalogue:
    return open_catalogue(data_dir, lambda: highest)[0]


@pytest.fixture
def catalogue(tmp_path):
    catalogue = opened(tmp_path)
    yield catalogue
    catalogue.close()


def test_numbers_ascend_by_name_and_tags_within_a_call_and_never_change(tmp_path):
    catalogue = opened(tmp_path)
    assert catalogue.ids_for([OTHER, API], 1).tolist() == [2, 1]
    assert catalogue.ids_for([API_B, API, OTHER, PLAIN], 2).tolist() == [4, 1, 2, 3]
    catalogue.close()
    catalogue = opened(tmp_path)
    numbers = catalogue.ids_for([API_B, SeriesInfo("new"), API], 3)
    assert numbers.dtype == np.uint32
    assert numbers.tolist() == [4, 5, 1]
    catalogue.close()


def test_the_order_of_tags_does_not_matter_and_a_series_twice_is_one(catalogue):
    turned = SeriesInfo(API.name, {"host": "a", "agency": "irs"}, API.kind)
    assert catalogue.ids_for([API, turned, API], 1).tolist() == [1, 1, 1]
    assert catalogue.series_count() == 1
    assert catalogue.ids_for([], 1).tolist() == []


def test_a_metric_is_found_with_all_its_series_or_the_one_with_these_tags(catalogue):
    catalogue.ids_for([API, OTHER, PLAIN, API_B], 1)
    assert sorted(catalogue.find("finance.api_ms"), key=lambda found: found[0]) == [(1, PLAIN), (2, API_B), (3, API)]
    assert catalogue.find("finance.api_ms", {"host": "b"}) == [(2, API_B)]
    assert catalogue.find("finance.api_ms", {}) == [(1, PLAIN)]
    assert catalogue.find("finance.api_ms", {"host": "c"}) == []
    assert catalogue.find("finance.api") == []
    assert catalogue.names() == ["finance.api_ms", "finance.api_ms.errors"]


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, st.dictionaries(TEXT, TEXT, max_size=4)), min_size=1, max_size=12))
def test_any_names_and_tags_get_their_own_number_and_come_back(tmp_path_factory, named):
    catalogue = opened(tmp_path_factory.mktemp("catalogue"))
    series = [SeriesInfo(name, tags, kinds.GAUGE) for name, tags in named]
    numbers = catalogue.ids_for(series, 1).tolist()
    for number, info in zip(numbers, series, strict=True):
        assert catalogue.find(info.name, info.tags) == [(number, info)]
    distinct = {(info.name, tuple(sorted(info.tags.items()))) for info in series}
    assert len(set(numbers)) == len(distinct) == catalogue.series_count()
    catalogue.close()


def test_a_deleted_series_is_found_no_more_and_its_number_is_never_given_again(tmp_path):
    catalogue = opened(tmp_path)
    catalogue.ids_for([API, API_B, OTHER], 1)
    assert catalogue.delete([API, OTHER, SeriesInfo("nobody")], 2) == 2
    assert catalogue.delete([API], 2) == 0
    assert catalogue.find("finance.api_ms") == [(1, API_B)]
    assert catalogue.names() == ["finance.api_ms"]
    catalogue.close()
    catalogue = opened(tmp_path)
    assert catalogue.ids_for([OTHER, API, API_B], 3).tolist() == [5, 4, 1]
    catalogue.close()


def test_a_metric_without_series_forgets_its_kind_but_not_what_people_wrote_of_it(catalogue):
    catalogue.ids_for([API, API_B, OTHER], 1)
    catalogue.describe(API.name, unit="ms")
    catalogue.delete([API, API_B, OTHER], 2)
    assert catalogue.names() == [API.name]
    assert catalogue.description(API.name) == {"kind": kinds.UNKNOWN, "unit": "ms", "help": ""}
    catalogue.ids_for([SeriesInfo(OTHER.name, {}, kinds.GAUGE)], 3)
    assert [info.kind for _, info in catalogue.find(OTHER.name)] == [kinds.GAUGE]


def test_numbers_asked_for_by_several_threads_at_once_are_given_once(catalogue):
    def ask(part: int) -> list[int]:
        return [int(catalogue.ids_for([SeriesInfo(f"m{part}.{n}")], 1)[0]) for n in range(20)]

    with ThreadPoolExecutor(4) as pool:
        given = [number for numbers in pool.map(ask, range(4)) for number in numbers]
    assert sorted(given) == list(range(1, 81))


def test_tags_longer_than_a_key_are_told_apart(catalogue):
    tags = {f"tag{number}": "x" * 200 for number in range(32)}
    series = [SeriesInfo("m" * 200, tags | {"tag31": "x" * 199 + end}, kinds.GAUGE) for end in "ab"]
    numbers = catalogue.ids_for(series, 1).tolist()
    assert sorted(numbers) == [1, 2]
    assert catalogue.find("m" * 200, series[1].tags) == [(numbers[1], series[1])]
    assert max(len(keys.series_key(info.name, info.tags)) for info in series) == keys.KEY_BYTES_MAX


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256, "é" * 128])
def test_a_name_that_cannot_be_one_is_refused(catalogue, name):
    with pytest.raises(ValueError, match="is not 1 to 255 bytes"):
        catalogue.ids_for([SeriesInfo(name)], 1)
    with pytest.raises(ValueError, match="is not 1 to 255 bytes"):
        catalogue.find(name)
    with pytest.raises(ValueError, match="is not 1 to 255 bytes"):
        catalogue.describe(name, unit="ms")
    assert catalogue.series_count() == 0


def test_the_first_explicit_kind_of_a_metric_settles_all_its_series(catalogue):
    catalogue.ids_for([SeriesInfo("m", {"a": "1"}), SeriesInfo("m", {"a": "2"})], 1)
    assert [info.kind for _, info in catalogue.find("m")] == [kinds.UNKNOWN] * 2
    catalogue.ids_for([SeriesInfo("m", {"a": "1"}, kinds.HISTOGRAM)], 2)
    assert [info.kind for _, info in catalogue.find("m")] == [kinds.HISTOGRAM] * 2
    catalogue.ids_for([SeriesInfo("m", {"a": "3"})], 3)
    assert [info.kind for _, info in catalogue.find("m")] == [kinds.HISTOGRAM] * 3


def test_unit_and_help_are_kept_with_the_metric_before_and_after_its_series(tmp_path):
    catalogue = opened(tmp_path)
    catalogue.describe("finance.api_ms", unit="ms")
    catalogue.ids_for([API], 1)
    catalogue.describe("finance.api_ms", help="API latency")
    catalogue.close()
    catalogue = opened(tmp_path)
    assert catalogue.description("finance.api_ms") == {"kind": kinds.TIMER, "unit": "ms", "help": "API latency"}
    assert catalogue.description("nobody.knows") == {"kind": kinds.UNKNOWN, "unit": "", "help": ""}
    catalogue.close()


def test_beyond_the_limit_series_get_no_number_and_are_counted(tmp_path):
    catalogue = Catalogue(Environment(tmp_path / "catalogue", databases=4), lambda: 0, series_max=2)
    assert catalogue.ids_for([SeriesInfo(name) for name in "abc"], 1).tolist() == [1, 2, 0]
    assert catalogue.ids_for([SeriesInfo(name) for name in "cb"], 2).tolist() == [0, 2]
    assert catalogue.counters()["refused"] == 2
    catalogue.close()


def test_a_damaged_record_is_skipped_and_counted(catalogue):
    catalogue.ids_for([API, API_B, OTHER], 1)
    series = catalogue.environment.database(b"series")
    catalogue.environment.commit(lambda transaction: transaction.put(keys.id_key(1), b"junk", db=series))
    assert catalogue.find("finance.api_ms") == [(2, API)]
    assert catalogue.counters()["damaged"] == 1


def test_a_number_that_points_at_another_metrics_record_finds_nothing(catalogue):
    catalogue.ids_for([API, OTHER], 1)
    ids = catalogue.environment.database(b"ids")
    key = keys.series_key(API.name, API.tags)
    catalogue.environment.commit(lambda transaction: transaction.put(key, keys.named_id(key, 2), db=ids))
    assert catalogue.find(API.name) == []


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_a_flipped_bit_in_a_number_is_counted_and_never_another_series(catalogue, bit):
    catalogue.ids_for([API, OTHER], 1)
    ids = catalogue.environment.database(b"ids")
    key = keys.series_key(API.name, API.tags)
    value = bytearray(keys.named_id(key, catalogue.find(API.name)[0][0]))
    value[bit // 8] ^= 1 << bit % 8
    catalogue.environment.commit(lambda transaction: transaction.put(key, bytes(value), db=ids))
    assert catalogue.find(API.name) == []
    assert catalogue.ids_for([API, OTHER], 2).tolist() == [3, next(number for number, _ in catalogue.find(OTHER.name))]
    assert catalogue.find(API.name) == [(3, API)]
    assert catalogue.counters()["damaged"] == 2


def test_a_metric_whose_name_is_no_text_any_more_is_counted_and_hides_no_other(catalogue):
    catalogue.ids_for([API, OTHER], 1)
    metrics = catalogue.environment.database(b"metrics")
    catalogue.environment.commit(lambda transaction: transaction.put(b"\xed9", b"", db=metrics))
    assert catalogue.names() == sorted({API.name, OTHER.name})
    assert catalogue.counters()["damaged"] == 1


def test_a_database_under_another_name_does_not_look_like_a_new_one(tmp_path):
    catalogue, _ = open_catalogue(tmp_path, lambda: 0)
    catalogue.ids_for([API], 1)
    catalogue.close()
    data = tmp_path / "catalogue" / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"series", b"serier"))
    catalogue, was_damaged = open_catalogue(tmp_path, lambda: 7)
    assert was_damaged
    assert catalogue.ids_for([API], 2).tolist() == [8]
    catalogue.close()
    assert len(list(tmp_path.glob("catalogue.damaged-*"))) == 1


def test_after_a_lost_catalogue_no_old_row_gets_a_new_name(tmp_path):
    storage = open_storage(tmp_path)
    numbers = storage.catalogue.ids_for([API, OTHER], 1)
    columns = np.ones((6, 3))
    columns[0, 0] = 0
    assert numbers.tolist() == [1, 2]
    storage.history.append(0, 1_700_000_000, columns)
    storage.close()
    (tmp_path / "catalogue" / "data.mdb").write_bytes(b"")
    storage = open_storage(tmp_path)
    assert storage.set_aside == ("catalogue",)
    assert storage.catalogue.ids_for([OTHER], 2).tolist() == [3]
    assert len(storage.history.read_columns(0, [3], 0, 1 << 40)[0]) == 0
    storage.close()
    assert len(list(tmp_path.glob("catalogue.damaged-*"))) == 1


def test_a_hundred_thousand_new_series_are_numbered_in_one_go(catalogue):
    series = [SeriesInfo(f"m{number % 50}", {"host": f"h{number}"}, kinds.GAUGE) for number in range(100_000)]
    start = time.perf_counter()
    numbers = catalogue.ids_for(series, 1)
    seconds = time.perf_counter() - start
    assert sorted(numbers.tolist()) == list(range(1, 100_001))
    assert np.ptp(numbers[7::50]) == 1_999, "the series of a metric are neighbours"
    assert len(catalogue.find("m7")) == 2000
    assert seconds < 5  # 0.6 s on two cores; the margin is for a busy machine


def test_a_forked_child_may_not_use_the_catalogue(catalogue):
    catalogue.ids_for([API], 1)
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (lambda: catalogue.ids_for([OTHER], 2), lambda: catalogue.find("finance.api_ms")):
            try:
                use()
            except StorageError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_records_read_back_and_numpys_numbers_become_pythons():
    record = {"a": 1, "b": "text", "c": [1.5, None], "d": np.int64(7), "e": np.float64(0.5), "f": Path("p")}
    assert unpack_record(pack_record(record)) == {**record, "f": "p"}


@pytest.mark.parametrize("bit", range(0, 8 * 12, 5))
def test_a_flipped_bit_in_a_record_is_noticed(bit):
    data = bytearray(pack_record({"name": "a"}))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    with pytest.raises(RecordDamaged):
        unpack_record(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"abc", bytes(20)])
def test_what_is_no_record_is_damaged(data):
    with pytest.raises(RecordDamaged):
        unpack_record(data)


def test_a_data_directory_is_open_once_and_whole_or_not_at_all(tmp_path):
    storage = open_storage(tmp_path / "data")
    with pytest.raises(StartError, match="in use by process"):
        open_storage(tmp_path / "data")
    assert set(storage.counters()) == {"history", "catalogue", "journal", "alerting", "audit"}
    storage.close()
    storage.close()
    (tmp_path / "data" / "state" / "FORMAT").write_text("hms-ops 9\n")
    with pytest.raises(StartError, match="format 9"):
        open_storage(tmp_path / "data")
    (tmp_path / "data" / "state" / "FORMAT").write_text("hms-ops 1\n")
    open_storage(tmp_path / "data").close()


def test_a_data_directory_is_free_again_whatever_went_wrong_at_opening_it(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError("none left")

    for name in ("open_catalogue", "Journal", "History"):
        with monkeypatch.context() as broken:
            broken.setattr(store, name, fail)
            with pytest.raises(MemoryError):
                open_storage(tmp_path)
        open_storage(tmp_path).close()


def test_a_catalogue_that_fails_while_it_is_opened_is_closed_again(tmp_path):
    def fail() -> int:
        raise MemoryError("none left")

    with pytest.raises(MemoryError):
        open_catalogue(tmp_path, fail)
    open_catalogue(tmp_path, lambda: 0)[0].close()


def test_ids_are_looked_up_in_bulk_with_the_kinds_of_their_metrics(tmp_path):
    catalogue = opened(tmp_path)
    series = [SeriesInfo("a_ms", {"n": str(n)}, kinds.TIMER) for n in range(3)] + [SeriesInfo("b", {}, kinds.GAUGE)]
    ids = catalogue.ids_for(series, 1)
    catalogue.delete(series[1:2], 1)
    assert catalogue.series_of(ids[::-1]) == [series[3], series[2], None, series[0]]
    assert catalogue.series_of(np.array([0, 999], np.uint32)) == [None, None]
    catalogue.close()
