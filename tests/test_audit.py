"""The audit log: records stay in their chain, whatever was done to it is found and named, bounds are counted."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hms_ops.errors import StorageError
from hms_ops.storage import audit as audit_module
from hms_ops.storage.audit import DETAIL_BYTES_MAX, HEAD_KEY, TEXT_CHARS_MAX, Audit
from hms_ops.storage.chain import NO_HASH, Head, Verified, check_lines, hash_of
from hms_ops.storage.environment import Environment
from hms_ops.storage.record import pack_record, unpack_record

Tamper = Callable[[Audit], None]


def opened(path: Path, **bounds: int) -> Audit:
    return Audit(Environment(path, databases=4), **bounds)


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    audit = opened(tmp_path / "state")
    yield audit
    audit.environment.close()


def fill(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.append(who=f"person {number}", what="silence", subject="db.*", time_ns=number, detail={"n": number})


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


def stored(audit: Audit, number: int) -> dict[str, Any]:
    with audit.environment.read() as transaction:
        return unpack_record(transaction.get(key(number), db=audit.environment.database(b"audit")))


def write(audit: Audit, number: int, record: dict[str, Any] | bytes | None, database: bytes = b"audit") -> None:
    """Behind the log's back; None takes the record away."""
    at = HEAD_KEY if database == b"audit_head" else key(number)

    def tamper(transaction: Any) -> None:
        if record is None:
            transaction.delete(at, db=audit.environment.database(database))
        else:
            data = record if isinstance(record, bytes) else pack_record(record)
            transaction.put(at, data, db=audit.environment.database(database))

    audit.environment.commit(tamper)


def rehashed(record: dict[str, Any], **changed: Any) -> dict[str, Any]:
    record = {**record, **changed}
    return {**record, "hash": hash_of(record)}


def test_who_did_what_comes_back_oldest_first_after_a_restart(tmp_path: Path) -> None:
    audit = opened(tmp_path / "state")
    audit.append(who="cio", what="acknowledge", subject="db.slow{agency=irs}", source="HTTP 127.0.0.1", time_ns=7)
    audit.append(who="engine", what="action", outcome="failed", detail={"template": "scale", "n": 2}, time_ns=9)
    audit.environment.close()
    audit = opened(tmp_path / "state")
    first, second = audit.tail(10)
    assert {name: first[name] for name in ("number", "time_ns", "who", "what", "subject", "outcome", "source")} == {
        "number": 0,
        "time_ns": 7,
        "who": "cio",
        "what": "acknowledge",
        "subject": "db.slow{agency=irs}",
        "outcome": "ok",
        "source": "HTTP 127.0.0.1",
    }
    assert (second["detail"], second["outcome"], second["prev"]) == (
        {"template": "scale", "n": 2},
        "failed",
        first["hash"],
    )
    assert (first["prev"], first["detail"]) == (NO_HASH, {})
    assert audit.tail(1) == [second]
    assert audit.verify() == Verified(2, last=1, head=second["hash"])
    audit.environment.close()


def test_the_hash_is_what_anybody_with_sha256_computes() -> None:
    record = {"number": 0, "who": "é", "detail": {"b": 1.5, "a": None}, "prev": NO_HASH, "hash": "left out"}
    text = f'{{"detail":{{"a":null,"b":1.5}},"number":0,"prev":"{NO_HASH}","who":"\\u00e9"}}'
    assert hash_of(record) == hashlib.sha256(text.encode()).hexdigest()


def test_an_empty_log_is_whole(audit: Audit) -> None:
    assert audit.verify() == Verified(0)
    assert list(audit.export()) == []
    assert check_lines([]) == Verified(0)


# ---- what is found


def alter(audit: Audit) -> None:
    write(audit, 3, {**stored(audit, 3), "who": "nobody"})


def alter_and_rehash(audit: Audit) -> None:
    write(audit, 3, rehashed(stored(audit, 3), who="nobody"))


def flip_a_byte(audit: Audit) -> None:
    data = bytearray(pack_record(stored(audit, 3)))
    data[20] ^= 1
    write(audit, 3, bytes(data))


def lose_one(audit: Audit) -> None:
    write(audit, 3, None)


def lose_the_first(audit: Audit) -> None:
    write(audit, 0, None)


def lose_the_last(audit: Audit) -> None:
    write(audit, 9, None)


def lose_all(audit: Audit) -> None:
    for number in range(10):
        write(audit, number, None)


def swap(audit: Audit) -> None:
    third, fourth = stored(audit, 3), stored(audit, 4)
    write(audit, 3, fourth)
    write(audit, 4, third)


def rewrite_the_last(audit: Audit) -> None:
    write(audit, 9, rehashed(stored(audit, 9), outcome="failed"))


def forge_one_more(audit: Audit) -> None:
    write(audit, 10, rehashed(stored(audit, 9), number=10, prev=stored(audit, 9)["hash"]))


def lose_the_head(audit: Audit) -> None:
    write(audit, 0, None, b"audit_head")


def truncate_and_lose_the_head(audit: Audit) -> None:
    lose_the_last(audit)
    lose_the_head(audit)


def write_what_json_cannot_say(audit: Audit) -> None:
    write(audit, 3, {**stored(audit, 3), "detail": {"x": float("nan"), "y": b"bytes"}})


def write_no_number(audit: Audit) -> None:
    write(audit, 3, {**stored(audit, 3), "number": "three"})


TAMPERED = [
    (alter, 3, "altered"),
    (alter_and_rehash, 3, "altered"),
    (flip_a_byte, 3, "altered"),
    (lose_one, 3, "missing"),
    (lose_the_first, 0, "missing"),
    (lose_the_last, 9, "truncated"),
    (lose_all, 0, "truncated"),
    (swap, 3, "reordered"),
    (rewrite_the_last, 9, "altered"),
    (forge_one_more, 10, "altered"),
    (lose_the_head, 10, "truncated"),
    (truncate_and_lose_the_head, 9, "truncated"),
    (write_what_json_cannot_say, 3, "altered"),
    (write_no_number, 3, "altered"),
]


@pytest.mark.parametrize(("tamper", "first_bad", "reason"), TAMPERED, ids=lambda case: getattr(case, "__name__", None))
def test_tampering_is_found_in_the_log_and_in_its_export(
    audit: Audit, tamper: Tamper, first_bad: int, reason: str
) -> None:
    fill(audit, 10)
    assert audit.verify().is_good
    tamper(audit)
    found = audit.verify()
    assert (found.first_bad, found.reason, found.is_good) == (first_bad, reason, False)
    exported = check_lines(audit.export())
    assert (exported.first_bad, exported.reason) == (first_bad, reason)


@pytest.mark.parametrize("tamper", [lose_the_head, truncate_and_lose_the_head, forge_one_more, lose_the_last])
def test_what_is_appended_behind_a_tampered_end_is_kept_and_does_not_hide_it(audit: Audit, tamper: Tamper) -> None:
    fill(audit, 10)
    tamper(audit)
    for _ in range(3):
        audit.append(who="cio", what="ack", time_ns=99)
    assert [record["who"] for record in audit.tail(3)] == ["cio"] * 3
    assert not audit.verify().is_good


def test_whoever_writes_all_anew_is_found_by_a_hash_that_was_kept_elsewhere(audit: Audit, tmp_path: Path) -> None:
    fill(audit, 10)
    kept = (7, audit.tail(3)[0]["hash"])
    assert audit.verify(kept).is_good
    fill(audit, 5)
    assert audit.verify(kept).is_good, "the log may go on"
    forged = opened(tmp_path / "forged")
    for number in range(15):
        forged.append(who="nobody", what="nothing", time_ns=number)
    assert forged.verify().is_good
    assert (forged.verify(kept).first_bad, forged.verify(kept).reason) == (7, "altered")
    assert check_lines(forged.export(), kept).reason == "altered"
    forged.environment.close()
    short = opened(tmp_path / "short")
    fill(short, 4)
    assert (short.verify(kept).first_bad, short.verify(kept).reason) == (4, "truncated")
    short.environment.close()


LINES_TAMPERED: list[tuple[str, Callable[[list[str]], list[str]], int, str]] = [
    ("altered", lambda lines: [line.replace("person 3", "person X") for line in lines], 3, "altered"),
    ("missing", lambda lines: lines[:4] + lines[5:], 3, "missing"),
    ("swapped", lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 3, "reordered"),
    ("doubled", lambda lines: [*lines[:5], lines[4], *lines[5:]], 4, "reordered"),
    ("cut", lambda lines: lines[:-2], 8, "truncated"),
    ("headless", lambda lines: lines[1:], 10, "truncated"),
    ("no JSON", lambda lines: [*lines[:4], "{", *lines[5:]], 3, "altered"),
    ("a list", lambda lines: [*lines[:4], "[3]", *lines[5:]], 3, "altered"),
    ("another head", lambda lines: [lines[0].replace('"next":10', '"next":true'), *lines[1:]], 0, "altered"),
]


@pytest.mark.parametrize(
    ("change", "first_bad", "reason"), [row[1:] for row in LINES_TAMPERED], ids=[row[0] for row in LINES_TAMPERED]
)
def test_tampering_with_an_export_is_found(
    audit: Audit, change: Callable[[list[str]], list[str]], first_bad: int, reason: str
) -> None:
    fill(audit, 10)
    lines = list(audit.export())
    assert check_lines(lines) == audit.verify()
    found = check_lines(change(lines))
    assert (found.first_bad, found.reason) == (first_bad, reason)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10), st.integers(0, 10_000), st.integers(1, 255))
def test_any_byte_of_an_export_that_changes_is_found(line: int, at: int, flip: int) -> None:
    lines = list(EXPORTED)
    data = bytearray(lines[line].rstrip("\n").encode())
    data[at % len(data)] ^= flip
    lines[line] = data.decode("latin-1")
    before, after = EXPORTED[line], lines[line]
    same = [json_or_none(text) for text in (before, after)]
    assert same[0] == same[1] or not check_lines(lines).is_good or only_bytes_differ(*same)


def json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def only_bytes_differ(before: Any, after: Any) -> bool:
    """The head's count of bytes is for its bound and says nothing about the chain."""
    return (
        isinstance(after, dict)
        and "head" in before
        and "head" in after
        and isinstance(after["head"], dict)
        and ({**before["head"], "bytes": 0} == {**after["head"], "bytes": 0})
    )


def exported_log() -> list[str]:
    lines, prev = [], NO_HASH
    for number in range(10):
        record = {"number": number, "time_ns": number, "who": f"person {number}", "detail": {"n": 1.5}, "prev": prev}
        prev = record["hash"] = hash_of(record)
        lines.append(json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n")
    head = {"head": asdict(Head(next=10, last=prev, bytes=1234))}
    return [json.dumps(head) + "\n", *lines]


EXPORTED = exported_log()


# ---- bounds


def test_beyond_the_bound_the_oldest_expire_and_the_chain_is_whole(tmp_path: Path) -> None:
    audit = opened(tmp_path / "state", records_max=5)
    fill(audit, 12)
    assert [record["number"] for record in audit.tail(100)] == [7, 8, 9, 10, 11]
    assert {"stored": 5, "appended": 12, "expired": 7}.items() <= audit.counters().items()
    assert audit.verify().count == 5
    assert audit.verify().is_good
    assert check_lines(audit.export()).is_good
    assert audit.verify((3, NO_HASH)).is_good, "what has expired cannot be compared"
    write(audit, 7, None)
    assert (audit.verify().first_bad, audit.verify().reason) == (7, "missing")
    audit.environment.close()


def test_beyond_the_bytes_the_oldest_expire_and_the_newest_stays(tmp_path: Path) -> None:
    audit = opened(tmp_path / "state", bytes_max=20_000)
    for number in range(40):
        audit.append(who="x" * 900, what="y", time_ns=number)
    counters = audit.counters()
    assert counters["bytes"] <= 20_000
    assert counters["expired"] == 40 - counters["stored"] > 0
    audit.environment.close()
    tiny = opened(tmp_path / "state", bytes_max=1)
    tiny.append(who="last", what="y", time_ns=50)
    assert [record["who"] for record in tiny.tail(10)] == ["last"]
    assert tiny.verify().is_good
    tiny.environment.close()


def test_what_is_too_long_is_cut_marked_and_counted(audit: Audit) -> None:
    audit.append(who="x" * (TEXT_CHARS_MAX + 1), what="w", time_ns=1)
    audit.append(who="w", what="w", detail={"text": "é" * DETAIL_BYTES_MAX}, time_ns=2)
    audit.append(who="x" * TEXT_CHARS_MAX, what="w", time_ns=3)
    long, wide, fits = audit.tail(3)
    assert (len(long["who"]), long["who"][-1]) == (TEXT_CHARS_MAX, "…")
    assert wide["detail"]["bytes"] > DETAIL_BYTES_MAX
    assert wide["detail"]["cut"].startswith('{"text": "é')
    assert len(fits["who"]) == TEXT_CHARS_MAX
    assert audit.counters()["cut"] == 2
    assert audit.verify().is_good


def test_a_detail_is_kept_as_json_has_it(audit: Audit) -> None:
    import numpy as np

    odd = {"nan": float("nan"), "inf": float("inf"), "big": 1 << 80, "set": {1}, "np": np.float64(2.5), 7: "key"}
    audit.append(who="a\ud800b", what="w", detail={**odd, "deep": [{"x": "\udfff"}]}, time_ns=1)
    (record,) = audit.tail(1)
    assert record["who"] == "a?b"
    assert record["detail"] == {
        "nan": None,
        "inf": None,
        "big": str(1 << 80),
        "set": "{1}",
        "np": 2.5,
        "7": "key",
        "deep": [{"x": "?"}],
    }
    assert audit.verify().is_good
    assert check_lines(audit.export()).is_good


@pytest.mark.parametrize("time_ns", [-1, 1 << 63])
def test_a_time_that_is_none_is_refused(audit: Audit, time_ns: int) -> None:
    with pytest.raises(ValueError, match="time_ns"):
        audit.append(who="a", what="b", time_ns=time_ns)
    assert audit.tail(1) == []


# ---- while others write


def test_an_export_is_of_one_moment_and_read_in_pieces(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "READ_AT_ONCE", 3)
    fill(audit, 10)
    lines = audit.export()
    taken = [next(lines) for _ in range(5)]
    fill(audit, 4)
    taken += list(lines)
    assert len(taken) == 11
    assert check_lines(taken) == Verified(10, last=9, head=json.loads(taken[-1])["hash"])


def test_records_that_expire_while_they_are_read_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "READ_AT_ONCE", 3)
    audit = opened(tmp_path / "state", records_max=10)
    fill(audit, 10)
    lines = audit.export()
    next(lines)
    fill(audit, 8)
    with pytest.raises(StorageError, match="expired"):
        list(lines)
    audit.environment.close()


def test_threads_append_to_one_chain(audit: Audit) -> None:
    def work(number: int) -> None:
        for place in range(15):
            audit.append(who=f"{number}", what=f"{place}", time_ns=place)
            assert audit.verify().is_good

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = audit.tail(100)
    assert [record["number"] for record in found] == list(range(60))
    assert all([r["what"] for r in found if r["who"] == f"{n}"] == [f"{p}" for p in range(15)] for n in range(4))
    assert audit.verify().count == 60


WRITER = """
import sys
from pathlib import Path
from hms_ops.storage.audit import Audit
from hms_ops.storage.environment import Environment
audit = Audit(Environment(Path(sys.argv[1]), databases=4), records_max=20)
while True:
    audit.append(who="child", what="append", time_ns=1)
    print(audit.tail(1)[0]["number"], flush=True)
"""


def test_a_kill_leaves_the_chain_whole(tmp_path: Path) -> None:
    for wanted in (3, 30, 1, 12):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "state")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(wanted)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        last = [int(line) for line in lines if line.endswith("\n")][-1]
        audit = opened(tmp_path / "state")
        assert audit.verify().is_good
        assert audit.tail(1)[0]["number"] in (last, last + 1)
        audit.environment.close()
