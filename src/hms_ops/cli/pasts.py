"""The past, for a command that reads it as the engine does: of a data directory no engine has open, or of a running
engine, whose rows are fetched into a directory of their own first.

    stored directory ─────────────────────────────┐
    engine ──/v1/export, all tiers──► temporary ──┴──► Storage ──► Recorder (writes nothing) ──► Past

Errors: StartError for a directory that is none or in use; those of reach.py; ClickException for what is no export. An
export has rows but no sketches, so percentiles of a running engine's past are unknown here.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from hms_ops.cli.known import Running
from hms_ops.cli.options import Damage, stored
from hms_ops.cli.reach import pieces

if TYPE_CHECKING:
    from hms_ops.alert.language.units import UnitLookup
    from hms_ops.past import Past
    from hms_ops.storage.store import Storage

READ_SECONDS: Final = 600.0  # until the next piece of an export comes


class Known(NamedTuple):
    """A past, and the units that its metrics are described with."""

    past: "Past"
    unit: "UnitLookup"


@contextmanager
def past_of_directory(data_dir: Path, damage: Damage) -> Iterator[Known]:
    """What is on disk there; `damage` tells afterwards what of it could not be read."""
    with stored(data_dir, damage=damage) as storage:
        yield Known(past_of(storage), lambda metric: str(storage.catalogue.description(metric)["unit"]) or None)


@contextmanager
def past_of_engine(url: str, metrics: Iterable[str], start: int, end: int) -> Iterator[Known]:
    """The rows that an engine has on disk of some metrics."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="hms-ops-") as directory, stored(Path(directory), is_new=True) as storage:
        for metric in metrics:
            fetch(storage, url, metric, start, end)
        yield Known(past_of(storage), Running(url).unit)


def past_of(storage: "Storage") -> "Past":
    from hms_ops._ring import Store
    from hms_ops.past import Past
    from hms_ops.recorder import Recorder

    recorder = Recorder(Store(1, now_ns=time.time_ns()))  # it lives now, and nothing lives in it
    recorder.open(storage)
    return Past(recorder)


def fetch(storage: "Storage", url: str, metric: str, start: int, end: int) -> None:
    """One metric's rows of all tiers."""
    from hms_ops.alert.language.tokens import quoted
    from hms_ops.storage.exchange import Importer, RowsReader, Touched, read_into
    from hms_ops.storage.intake import Tally
    from hms_ops.storage.tier import TIERS

    now, tally = int(time.time()), Tally()
    settled = [now - now % tier.step_seconds for tier in TIERS]
    storage.history.sealable(now)  # so it knows which blocks are over
    importer = Importer(storage.history, storage.catalogue, tally, now * 10**9, settled, Touched())
    given = {"match": quoted(metric), "start": start, "end": end, "tier": "all", "format": "csv"}
    try:
        read_into(importer, RowsReader(tally, settled), pieces(url, "/v1/export", READ_SECONDS, **given))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
