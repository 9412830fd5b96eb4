"""An HTTP body as datagrams: what a datagram may be, and JSON lines besides.

JSON lines are told from one JSON document by what stands behind the first newline: a line that begins with `{` or `[`
after a line that did too, where the whole is no document by itself. Each line is then a datagram in the ledger; every
other body is one.
"""

from typing import Any

from hms_ops._ring import Store

OPENERS = (b"{", b"[")


def ingest_body(store: Store, data: bytes, input: int) -> dict[str, Any]:
    """Decode a body into the store; returns the counters of just this body."""
    total: dict[str, Any] = {"received": 0, "accepted": 0, "rejected": {}, "values": 0, "samples": 0, "bad": {}}
    for part in parts_of(data):
        add(total, store.ingest_tally(part, input))
    return total


def parts_of(data: bytes) -> list[bytes]:
    """The datagrams in a body."""
    lines = data.split(b"\n")
    is_lines = len(lines) > 1 and lines[0].rstrip().endswith((b"}", b"]")) and data.startswith(OPENERS)
    if not is_lines:
        return [data]
    found = [line for line in lines if line.strip()]
    return found if all(line.startswith(OPENERS) for line in found) else [data]


def add(total: dict[str, Any], tally: dict[str, Any]) -> None:
    for key, value in tally.items():
        if isinstance(value, dict):
            for reason, count in value.items():
                total[key][reason] = total[key].get(reason, 0) + count
        else:
            total[key] += value
