"""How far each remote has been sent: a small record under its name, in the state environment.

The remotes' threads read it once and put it after what they sent was accepted. Keys are names, at most NAME_BYTES_MAX
bytes; values are records (record.py). A damaged one counts as none: its remote begins anew, which is harmless.
Errors: StorageError when the disk fails, ValueError for a name that is too long.
"""

from collections.abc import Mapping
from typing import Any, Final

from hms_ops.storage.environment import Database, Environment
from hms_ops.storage.record import RecordDamaged, pack_record, unpack_record

NAME_BYTES_MAX: Final = 200


class Cursors:
    """The cursors of one data directory. Threads: any, each with names of its own."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        environment.database(b"cursors")

    def get(self, name: str) -> dict[str, Any] | None:
        """What was put last; None when there is nothing, or nothing that can be read."""
        with self.environment.read() as transaction:
            data = transaction.get(_key(name), db=self._cursors)
            try:
                return None if data is None else unpack_record(data)
            except RecordDamaged:
                return None

    def put(self, name: str, position: Mapping[str, Any]) -> None:
        """On disk when this returns."""
        key, data = _key(name), pack_record(position)
        self.environment.commit(lambda transaction: transaction.put(key, data, db=self._cursors))

    @property
    def _cursors(self) -> Database:
        return self.environment.database(b"cursors")


def _key(name: str) -> bytes:
    key = name.encode()
    if not 0 < len(key) <= NAME_BYTES_MAX:
        raise ValueError(f"a cursor's name has 1 to {NAME_BYTES_MAX} bytes; {name[:50]!r} has {len(key)}")
    return key
