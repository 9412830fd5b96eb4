"""`verify`: every block and record of a data directory or a backup."""

import sys
from pathlib import Path

import click

from hms_ops.cli.options import json_option, show_json
from hms_ops.escape import printable


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def verify(path: Path, as_json: bool) -> int:
    """Read all of PATH, a backup or the data directory of an engine that does not run, and list what is damaged.

    Another process reads, so that no damage can end this one. Nothing is changed. Exits 1 when something is wrong.

    \b
    Examples:
      hms-ops-engine verify /backup/hms-ops-2026-11-23
      hms-ops-engine verify /var/lib/hms-ops --json
    """
    from hms_ops.storage.verify import verify as verified

    is_shown = sys.stderr.isatty()

    def progress(at: str) -> None:
        if is_shown:
            click.echo(f"\r\x1b[K{printable(at)}", nl=False, err=True)

    found = verified(path, progress)
    if is_shown:
        click.echo("\r\x1b[K", nl=False, err=True)
    if as_json:
        show_json({"path": str(path), "problems": found.problems, "counts": dict(found.counts)})
    else:
        for problem in found.problems:
            click.echo(printable(problem))
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(found.counts.items()))
        click.echo(f"{len(found.problems):,} problems in {counts or 'nothing that could be read'}")
    return int(bool(found.problems))
