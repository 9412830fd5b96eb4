"""`audit`: who did what, and whether the log of it is whole."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hms_ops.cli.export import READ_SECONDS, copied, written
from hms_ops.cli.options import data_dir_option, json_option, show_json, show_table, url_option
from hms_ops.cli.reach import get, pieces
from hms_ops.escape import printable

if TYPE_CHECKING:
    from hms_ops.storage.chain import Verified

LISTED: Final = 50
LISTED_MAX: Final = 10_000
HASH_DIGITS: Final = 64

Expected = tuple[int, str]


class ExpectedType(click.ParamType[Expected]):
    """`1234:9f86…`: a record's number and its hash."""

    name = "number:hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Expected:
        if isinstance(value, tuple):
            return value
        number, _, digest = value.partition(":")
        is_hash = len(digest) == HASH_DIGITS and set(digest) <= set("0123456789abcdef")
        if not (number.isascii() and number.isdecimal() and is_hash):
            self.fail(f"{value!r} is no number:hash, as audit verify prints it", param, ctx)
        return int(number), digest


@click.group()
def audit() -> None:
    """Who did what, when, from where, and what came of it; and whether the log of it is whole.

    \b
    Examples:
      hms-ops-engine audit list
      hms-ops-engine audit verify --data-dir /var/lib/hms-ops
      hms-ops-engine audit export -o audit.jsonl
    """


@audit.command(name="list")
@click.option("--limit", type=click.IntRange(1, LISTED_MAX), default=LISTED, show_default=True)
@url_option
@data_dir_option
@json_option
def list_(limit: int, url: str, data_dir: Path | None, as_json: bool) -> int:
    """List the newest records, oldest first. Exits 1 when there are none.

    \b
    Examples:
      hms-ops-engine audit list --limit 10
      hms-ops-engine audit list --data-dir /var/lib/hms-ops --json
    """
    if data_dir is None:
        found = get(url, "/v1/audit", limit=limit)["audit"]
    else:
        from hms_ops.storage.audit import audit_in

        with audit_in(data_dir) as log:
            found = [{"time": record["time_ns"] / 1e9, **record} for record in log.tail(limit)]
    if as_json:
        show_json({"audit": found})
    elif found:
        show_table([("NUMBER", "TIME", "WHO", "WHAT", "SUBJECT", "OUTCOME", "FROM"), *map(row_of, found)])
    else:
        click.echo("nothing found", err=True)
    return int(not found)


@audit.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--expect", type=ExpectedType(), help="A record kept elsewhere: it must still be there, unchanged.")
@url_option
@data_dir_option
@json_option
def verify(file: Path | None, expect: Expected | None, url: str, data_dir: Path | None, as_json: bool) -> int:
    """Check that no record was altered, taken away or moved: of a running engine, a directory, or FILE, an export.

    Each record holds the SHA-256 of the one before, so a change shows, unless all behind it is computed anew. Against
    who can do that, keep what this prints somewhere else and give it back with --expect. Exits 1 when something is
    wrong.

    \b
    Examples:
      hms-ops-engine audit verify
      hms-ops-engine audit verify audit.jsonl
      hms-ops-engine audit verify --data-dir /backup/hms-ops --expect "$(cat /safe/newest)"
    """
    if file is not None and data_dir is not None:
        raise click.UsageError("give FILE or --data-dir")
    found = verified(file, data_dir, url, expect)
    newest = f"{found.last}:{found.head}" if found.last >= 0 else None
    if as_json:
        facts = {"records": found.count, "first_bad": found.first_bad, "reason": found.reason, "text": found.text}
        show_json({"is_good": found.is_good, **facts, "newest": newest})
    elif found.is_good:
        click.echo(
            f"{found.count:,} records, none altered, missing or moved" + (f"; newest {newest}" if newest else "")
        )
    else:
        click.echo(f"{found.reason}: {found.text}; {found.count:,} records before it are good")
    for name in set_aside(data_dir):
        click.echo(f"warning: {printable(name)} was damaged and set aside; records in it are not in this log", err=True)
    return int(not found.is_good)


@audit.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file, not standard output.")
@url_option
@data_dir_option
@json_option
def export(output: Path | None, url: str, data_dir: Path | None, as_json: bool) -> int:
    """Write all records as JSON lines, the head of the chain first, as audit verify FILE reads them.

    Exits 1 when there are none. An export that did not get whole is removed.

    \b
    Examples:
      hms-ops-engine audit export -o audit.jsonl
      hms-ops-engine audit export --data-dir /var/lib/hms-ops | jq .who
    """
    if as_json and output is None:
        raise click.UsageError("--json needs -o FILE: standard output has the records")
    with lines_of(data_dir, url) as lines, written(output) as file:
        count = copied((line.encode() for line in lines), file)
    records = max(0, count - 1)  # the head
    if as_json:
        show_json({"records": records, "file": str(output)})
    if not records:
        click.echo("nothing found", err=True)
    return int(not records)


def set_aside(data_dir: Path | None) -> list[str]:
    from hms_ops.storage.audit import aside_of

    return [] if data_dir is None else aside_of(data_dir / "state")


def verified(file: Path | None, data_dir: Path | None, url: str, expect: Expected | None) -> "Verified":
    """What the lines of a file or an engine, or the log of a directory, come to."""
    from hms_ops.storage.chain import check_lines

    if file is not None:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return check_lines(lines, expect)
    if data_dir is None:
        with lines_of(None, url) as lines:
            return check_lines(lines, expect)
    from hms_ops.storage.audit import audit_in

    with audit_in(data_dir) as log:
        return log.verify(expect)


@contextmanager
def lines_of(data_dir: Path | None, url: str) -> Iterator[Iterable[str]]:
    """An export's lines."""
    if data_dir is None:
        yield split_lines(pieces(url, "/v1/audit/export", timeout_seconds=READ_SECONDS))
        return
    from hms_ops.storage.audit import audit_in

    with audit_in(data_dir) as log:
        yield log.export()


def split_lines(read: Iterable[bytes]) -> Iterator[str]:
    """Whole lines of what comes in pieces, with their ends; a last one without."""
    rest = b""
    for piece in read:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") + "\n" for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")


def row_of(record: dict[str, Any]) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record["time"]))
    return (
        str(record["number"]),
        when,
        *(str(record[name]) for name in ("who", "what", "subject", "outcome", "source")),
    )
