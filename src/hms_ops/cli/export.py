"""`export`: stored history as text, of a running engine or of a data directory."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from hms_ops.cli.options import DURATION, Damage, data_dir_option, json_option, show_json, stored, url_option
from hms_ops.cli.reach import pieces
from hms_ops.cli.series import checked

TIERS: Final = ("10s", "1m", "1h", "all")
FORMATS: Final = ("csv", "openmetrics")
READ_SECONDS: Final = 600.0  # until the next piece comes


@click.command()
@click.argument("selector", required=False)
@click.option("--since", type=DURATION, help="From so long ago; without it, all there is.")
@click.option("--until", type=DURATION, help="Up to so long ago; without it, up to now.")
@click.option("--tier", type=click.Choice(TIERS), default="10s", show_default=True, help="Rows of which step.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of standard output."
)
@url_option
@data_dir_option
@json_option
def export(
    selector: str | None,
    since: float | None,
    until: float | None,
    tier: str,
    format_: str,
    output: Path | None,
    url: str,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Write the rows on disk of all series, or those of SELECTOR, as text that import reads.

    Every column comes back exactly. OpenMetrics has one tier to a file. What an engine has not written yet, the last
    seconds, is not there; nor are percentiles. Exits 1 when there are no rows, or when --data-dir is damaged: what can
    be read is written all the same, what is damaged is set aside. An export that did not get whole is removed.

    \b
    Examples:
      hms-ops-engine export 'finance.api_ms{agency="irs"}' --since 1h > irs.csv
      hms-ops-engine export --tier 1h --format openmetrics -o year.om
      hms-ops-engine export --data-dir /var/lib/hms-ops --tier all -o all.csv
    """
    if as_json and output is None:
        raise click.UsageError("--json needs -o FILE: standard output has the rows")
    if format_ == "openmetrics" and tier == "all":
        raise click.UsageError("openmetrics takes one tier: 10s, 1m or 1h")
    checked(selector)
    now = time.time()
    start, end = (None if ago is None else now - ago for ago in (since, until))
    given = {"match": selector, "start": start, "end": end, "tier": tier, "format": format_}
    damage = Damage()
    read = from_engine(url, given) if data_dir is None else from_directory(data_dir, given, damage)
    with written(output) as file:
        rows = copied(read, file)
    rows -= format_ == "csv"  # the header
    if as_json:
        show_json({"rows": rows, "file": str(output), **({} if data_dir is None else {"damaged": damage.parts})})
    if not rows:
        click.echo("nothing found", err=True)
    if data_dir is not None:
        damage.warn(data_dir)
    return int(not rows or damage.parts > 0)


def from_engine(url: str, given: dict[str, Any]) -> Iterator[bytes]:
    return pieces(url, "/v1/export", timeout_seconds=READ_SECONDS, **given)


def from_directory(data_dir: Path, given: dict[str, Any], damage: Damage) -> Iterator[bytes]:
    from hms_ops.alert.selection import EVERYTHING, parse_selection
    from hms_ops.operations import tiers_of
    from hms_ops.storage.exchange import exported

    selection = parse_selection(given["match"]) if given["match"] else EVERYTHING
    start, end = int(given["start"] or 0), int(given["end"] or time.time() + 1)
    with stored(data_dir, damage=damage) as storage:
        catalogue = storage.catalogue
        names = selection.metrics(catalogue.names())
        tiers = tiers_of(given["tier"])
        for text in exported(storage.history, catalogue, names, selection.accepts, tiers, start, end, given["format"]):
            yield text.encode()


def copied(read: Iterable[bytes], file: BinaryIO) -> int:
    """The lines copied, comments not counted."""
    rows, is_fresh = 0, True
    for piece in read:
        file.write(piece)
        rows += piece.count(b"\n") - piece.count(b"\n#") - (is_fresh and piece.startswith(b"#"))
        is_fresh = piece.endswith(b"\n")
    return rows


@contextmanager
def written(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is there only when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(output.name + ".part")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(output)
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
