"""`backup` and `restore`: a data directory as one whole, out and in."""

import time
from pathlib import Path
from typing import Any, Final

import click

from hms_ops.cli.options import Damage, data_dir_option, json_option, show_json, stored, url_option
from hms_ops.cli.reach import post

BACKUP_SECONDS: Final = 24 * 3600.0


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@url_option
@data_dir_option
@json_option
def backup(directory: Path, url: str, data_dir: Path | None, as_json: bool) -> int:
    """Copy history, catalogue and state into DIRECTORY, new or empty, as of one moment.

    A running engine on this host writes it itself, and goes on receiving, alerting and storing meanwhile; DIRECTORY
    must be one that it may write. It is complete when MANIFEST is there. Exits 1 when --data-dir is damaged: the backup
    has the rest, and what is damaged is set aside there.

    \b
    Examples:
      hms-ops-engine backup /backup/hms-ops-$(date +%F)
      hms-ops-engine backup /backup/before-upgrade --data-dir /var/lib/hms-ops
    """
    target, damage = directory.absolute(), Damage()
    made = by_engine(url, target) if data_dir is None else of_directory(data_dir, target, damage)
    if as_json:
        show_json(made)
    else:
        click.echo(f"{made['files']:,} files, {made['bytes']:,} bytes in {made['directory']}")
    if data_dir is not None:
        damage.warn(data_dir)
    return int(damage.parts > 0)


def by_engine(url: str, directory: Path) -> dict[str, Any]:
    answer: dict[str, Any] = post(url, "/v1/backup", {"directory": str(directory)}, BACKUP_SECONDS)
    return answer


def of_directory(data_dir: Path, directory: Path, damage: Damage) -> dict[str, Any]:
    from hms_ops.storage.backup import back_up

    with stored(data_dir, damage=damage) as storage:
        manifest = back_up(storage, directory, time.time_ns())
    return {
        "directory": str(directory),
        "files": len(manifest.files),
        "bytes": manifest.size_bytes,
        "damaged": damage.parts,
    }


@click.command()
@click.argument("backup", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--data-dir", required=True, type=click.Path(path_type=Path, file_okay=False), help="A new or empty directory."
)
@json_option
def restore(backup: Path, data_dir: Path, as_json: bool) -> None:
    """Make a data directory of BACKUP, once every file of it was found to be what was written.

    \b
    Example:
      hms-ops-engine restore /backup/hms-ops-2026-11-23 --data-dir /var/lib/hms-ops
    """
    from hms_ops.storage.backup import restore as made_of

    manifest = made_of(backup, data_dir)
    if as_json:
        show_json({"data_dir": str(data_dir), "files": len(manifest.files), "bytes": manifest.size_bytes})
    else:
        click.echo(f"{len(manifest.files):,} files, {manifest.size_bytes:,} bytes in {data_dir}")
