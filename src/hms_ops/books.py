"""The ledger as people and programs read it: the store's counters and the kernel's drops under the contract's keys.

    arrived = received + kernel_drops    received = accepted + Σ rejected    values = samples + Σ bad

The store counts per input, each batch in one hold of its mutex; the kernel counts what it dropped per socket.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hms_ops._ring import Store
from hms_ops.collector.listener import Listener, source_text

SUMMED: Final = ("arrived", "received", "kernel_drops", "accepted", "values", "samples")
BY_REASON: Final = ("rejected", "bad")
FROM_STORE: Final = ("received", "accepted", "rejected", "values", "samples", "bad")


def ledger_of(store: Store, listeners: Sequence[Listener]) -> dict[str, Any]:
    """Every datagram and value accounted for, in all and by input: DESIGN section 4, exactly its keys."""
    drops = {listener.name: listener.kernel_drops() for listener in listeners}
    rows = {name: ledger_row(row, drops.get(name, 0)) for name, row in store.ledger_rows().items()}
    return {**total_of(list(rows.values())), "inputs": rows}


def ledger_row(row: Mapping[str, Any], drops: int) -> dict[str, Any]:
    """One input's counters; events and unknown sections are no values and not among them."""
    kept = {key: row[key] for key in FROM_STORE}
    return {"arrived": row["received"] + drops, "kernel_drops": drops, **kept}


def total_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum over all inputs, reasons added up one by one."""
    total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in SUMMED}
    for key in BY_REASON:
        reasons = sorted({reason for row in rows for reason in row[key]})
        total[key] = {reason: sum(row[key].get(reason, 0) for row in rows) for reason in reasons}
    return total


def rejects_of(store: Store) -> list[dict[str, Any]]:
    """The last 100 rejects, newest first: time_ns, input, reason, source and the beginning of the text."""
    return [
        reject | {"source": source_text(reject["source"]), "text": printable_bytes(reject["text"])}
        for reject in store.rejects()
    ]


def printable_bytes(raw: bytes) -> str:
    """What strangers sent, as text; bytes that are no UTF-8 as escapes."""
    return raw.decode("utf-8", "backslashreplace")
