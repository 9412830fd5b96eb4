"""A chain of records, each with the SHA-256 of the one before: what it is made of, and whether it is whole.

    0 ── hash ──► 1 ── hash ──► 2 ── … ──► n          a head, apart: {first, before, next, last, bytes, rebuilt}

A record is a map of

    number      int, from 0, without gaps
    time_ns     int, Unix
    who what subject outcome source     text
    detail      a map of plain values
    prev        64 hex digits: `hash` of the record before; 64 zeros for number 0
    hash        64 hex digits: SHA-256 of the record without `hash`, as JSON with sorted keys, no blanks, ASCII only

An export is {"head": …} and the records, a line of JSON each, so that whoever has SHA-256 can check it without us;
`check_lines` does. What a chain cannot do: who may write the files can compute all of it anew. An export, or the number
and hash of one record, kept elsewhere is what finds that out: `expected`.

Made by audit.py, checked there and by `hms-ops-engine audit verify`. Pure: nothing waits here or reads a disk, and
nothing that is read raises; it is found wrong.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

NO_HASH: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    """What the chain is, kept apart from it. first: the number of the oldest record kept, and `before` the hash of the
    one before that; next: the number the next will have, and `last` the hash of the newest; bytes: of all records;
    rebuilt: the number of the record before whose appending the head had been lost, -1 for never."""

    first: int = 0
    before: str = NO_HASH
    next: int = 0
    last: str = NO_HASH
    bytes: int = 0
    rebuilt: int = -1


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found. count: records that were looked at; first_bad: the number of the first that is wrong, None
    when all is well; reason: altered, missing, reordered or truncated, "" when all is well; text: it said in a line;
    last, head: number and hash of the newest that is good, to be kept elsewhere; -1 for none."""

    count: int
    first_bad: int | None = None
    reason: str = ""
    text: str = ""
    last: int = -1
    head: str = NO_HASH

    @property
    def is_good(self) -> bool:
        return not self.reason


def canonical(record: Mapping[str, Any]) -> str:
    """The one JSON text of a record: keys sorted, no blanks, ASCII only."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record, of all but its `hash`, as 64 hex digits."""
    return hashlib.sha256(canonical({k: v for k, v in record.items() if k != "hash"}).encode()).hexdigest()


def hash_or_none(record: Mapping[str, Any]) -> str | None:
    """None for what was never written so, since JSON cannot say it."""
    try:
        return hash_of(record)
    except (ValueError, TypeError, RecursionError):
        return None


def line_of(number: int, record: Mapping[str, Any] | None) -> str:
    """A record as an export has it."""
    if record is None or hash_or_none(record) is None:
        return canonical({"damaged": number})
    return canonical(record)


Link = tuple[int, Mapping[str, Any] | None]  # a number by its place; the record there, None when it cannot be read


def follow(links: Iterable[Link], head: Head | None, expected: tuple[int, str] | None = None) -> Verified:
    """Follow a chain, in the order of its places. Without a head it begins where it begins, and whether its end is
    missing cannot be told: a lost head is `truncated`. The first thing that is wrong counts."""
    count, at, prev = 0, head.first if head else None, head.before if head else None
    found = ""
    for number, record in links:
        wrong = wrong_link(number, record, at, prev)
        if wrong is not None or record is None:
            return verdict(count, wrong, at, prev)
        count, at, prev = count + 1, number + 1, str(record["hash"])
        if expected is not None and number == expected[0]:
            found = prev
    wrong = wrong_end(count, at, prev, head) or wrong_expectation(at or 0, expected, found, head)
    return verdict(count, wrong, at, prev)


Wrong = tuple[int, str, str]  # first_bad, reason, text


def verdict(count: int, wrong: Wrong | None, at: int | None, prev: str | None) -> Verified:
    first_bad, reason, text = wrong or (None, "", "")
    return Verified(count, first_bad, reason, text, at - 1 if count and at else -1, prev or NO_HASH)


def wrong_link(number: int, record: Mapping[str, Any] | None, at: int | None, prev: str | None) -> Wrong | None:
    """What is wrong with the record at this place, None when nothing is."""
    if at is not None and number != at:
        return at, "missing", f"record {at:,} is missing: the next that is there is {number:,}"
    if record is None or not isinstance(record.get("number"), int):
        return number, "altered", f"record {number:,} cannot be read"
    if hash_or_none(record) != record.get("hash"):
        return number, "altered", f"record {number:,} is not what was written: its hash is another"
    if record["number"] != number:
        return number, "reordered", f"in the place of record {number:,} stands record {record['number']:,}"
    if prev is not None and record.get("prev") != prev:
        before = max(0, number - 1)
        return before, "altered", f"record {before:,} was written anew: record {number:,} holds another hash of it"
    return None


def wrong_end(count: int, at: int | None, prev: str | None, head: Head | None) -> Wrong | None:
    if head is None or at is None:
        text = "the head of the audit log is lost: whether records are missing at its end cannot be told"
        return (at or 0, "truncated", text) if count else None
    if at < head.next:
        return at, "truncated", f"the log ends before record {at:,}; there were {head.next:,}"
    if at > head.next:
        return head.next, "altered", f"record {head.next:,} was not appended by the engine: its head does not know it"
    if prev != head.last:
        last = max(0, head.next - 1)
        return last, "altered", f"record {last:,} was written anew: the head holds another hash of it"
    if head.rebuilt >= head.first:
        text = f"the head was lost before record {head.rebuilt:,}: whether records are missing there cannot be told"
        return head.rebuilt, "truncated", text
    return None


def wrong_expectation(at: int, expected: tuple[int, str] | None, found: str, head: Head | None) -> Wrong | None:
    """What a number and hash that were kept elsewhere say against the log; a record that has expired says nothing."""
    if expected is None or (head is not None and expected[0] < head.first):
        return None
    number, wanted = expected
    if number >= at:
        return at, "truncated", f"the log ends before record {number:,}, which was there once"
    if found != wanted:
        return number, "altered", f"record {number:,} has the hash {found[:16]}…, expected was {wanted[:16]}…"
    return None


def check_lines(lines: Iterable[str], expected: tuple[int, str] | None = None) -> Verified:
    """`verify` for an export; one line is held at a time."""
    rest = iter(lines)
    first = next(rest, "")
    head = head_of(_members(first).get("head"))
    if head is None and first:
        rest = chain([first], rest)
    return follow(links_of(rest, head.first if head else None), head, expected)


def links_of(lines: Iterator[str], at: int | None) -> Iterator[Link]:
    """The places of an export's lines. A number that is not the next is reordered when the next comes later or it has
    been there, missing when not; which of both is told by the lines behind it."""
    for line in lines:
        record = _members(line)
        number = record.get("number", record.get("damaged"))
        if not isinstance(number, int):
            yield at or 0, None
            return
        is_moved = at is not None and number != at and (number < at or at in map(_line_number, lines))
        at = number if at is None or not is_moved else at
        yield at, record if isinstance(record.get("hash"), str) else None
        at += 1


def _line_number(line: str) -> int:
    number = _members(line).get("number")
    return number if isinstance(number, int) else -1


def _members(line: str) -> dict[str, Any]:
    """A line's members, none when it is no JSON object."""
    try:
        members = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


def head_of(members: object) -> Head | None:
    """A head from what was read; None for anything else."""
    if not isinstance(members, Mapping):
        return None
    numbers = [members.get(name) for name in ("first", "next", "bytes", "rebuilt")]
    hashes = [members.get(name) for name in ("before", "last")]
    if not all(type(number) is int for number in numbers) or not all(isinstance(one, str) for one in hashes):
        return None
    return Head(**{name: members[name] for name in ("first", "before", "next", "last", "bytes", "rebuilt")})
