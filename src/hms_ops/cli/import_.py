"""`import`: what export wrote, into a running engine or a data directory."""

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from hms_ops.cli.options import data_dir_option, json_option, show_json, stored, url_option
from hms_ops.cli.reach import RequestRefused, get, post, request

BODY_BYTES: Final = 4 << 20
LINE_BYTES: Final = 1 << 16  # a longer line is several, and none of them a row
POST_SECONDS: Final = 600.0
ERRORS_SHOWN: Final = 20
LINE: Final = re.compile(r"\Aline ([0-9]+)")


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@url_option
@data_dir_option
@json_option
def import_(file: Path, url: str, data_dir: Path | None, as_json: bool) -> int:
    """Take in FILE (- for standard input), CSV or OpenMetrics as export writes it.

    A row whose series has one in that step already is left out, so the same file may be imported again. The coarser
    tiers are filled where they have nothing. A line that is wrong costs itself; exits 1 when any was.

    \b
    Examples:
      hms-ops-engine import irs.csv
      hms-ops-engine export --data-dir old --tier all | hms-ops-engine import - --data-dir new
    """
    with opened(file) as source:
        answer = into_engine(url, source) if data_dir is None else into_directory(data_dir, source)
    bad = sum(answer["bad"].values())
    if as_json:
        show_json(answer)
    else:
        click.echo(
            f"{answer['written']:,} rows written, {answer['present']:,} were there, {bad:,} refused; "
            f"{answer['filled']:,} filled in coarser tiers"
        )
    for reason, count in sorted(answer["bad"].items()):
        click.echo(f"refused for {reason}: {count:,}", err=True)
    for text in answer["errors"][:ERRORS_SHOWN]:
        click.echo(text, err=True)
    return int(bad > 0)


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as source:
            yield source
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None


def into_directory(data_dir: Path, source: BinaryIO) -> dict[str, Any]:
    """Through a data directory that no engine has open, made when it is not there."""
    from hms_ops.storage.exchange import Importer, RowsReader, Touched, read_into, roll_due
    from hms_ops.storage.intake import Tally
    from hms_ops.storage.tier import TIERS

    now, tally = int(time.time()), Tally()
    settled = [now - now % tier.step_seconds for tier in TIERS]
    with stored(data_dir, is_new=True) as storage:
        storage.history.sealable(now)  # so it knows which blocks are over
        roll_due(storage.history, now)
        importer = Importer(storage.history, storage.catalogue, tally, now * 10**9, settled, Touched())
        reader = RowsReader(tally, settled)
        with readable():
            read_into(importer, reader, iter(lambda: source.read(BODY_BYTES), b""))
        importer.describe(reader.described)
        return tally.document() | {"filled": importer.fill()}


def into_engine(url: str, source: BinaryIO) -> dict[str, Any]:
    """By posts of some megabytes each; the last one has the coarser tiers filled."""
    total: dict[str, Any] = {"rows": 0, "written": 0, "present": 0, "bad": {}, "errors": [], "filled": 0}
    with readable():
        waiting: tuple[int, bytes] | None = None
        for body in bodies(url, source, total):
            if waiting is not None:
                add(total, sent(url, waiting[1], is_last=False), waiting[0])
            waiting = body
        if waiting is not None:
            add(total, sent(url, waiting[1], is_last=True), waiting[0])
    return total


def bodies(url: str, source: BinaryIO, total: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    """CSV of at most BODY_BYTES with a header each, and how many lines of the file stand before its first row."""
    from hms_ops.storage.csvrows import HEADER

    header = f"{HEADER}\n".encode()
    first = source.readline(LINE_BYTES)
    is_csv = first.strip() == header.strip()
    lines = iter(lambda: source.readline(LINE_BYTES), b"") if is_csv else as_csv(url, first, source, total)
    before, number, parts, size = 1, 1, [header], len(header)
    for line in lines:
        if size + len(line) > BODY_BYTES:
            yield before, b"".join(parts)
            before, parts, size = number, [header], len(header)
        parts.append(line)
        size += len(line)
        number += 1
    yield before, b"".join(parts)


def as_csv(url: str, first: bytes, source: BinaryIO, total: dict[str, Any]) -> Iterator[bytes]:
    """The rows of an OpenMetrics file as lines of CSV; what is wrong in it goes to `total`."""
    from hms_ops.storage.csvrows import lines
    from hms_ops.storage.exchange import RowsReader
    from hms_ops.storage.intake import Batch, Tally

    def written(batches: list[Batch]) -> Iterator[bytes]:
        for batch in batches:
            for place in sorted(set(batch.places.tolist())):
                is_its = batch.places == place
                for line in lines(batch.series[place], batch.tier, batch.steps[is_its], batch.columns[:, is_its]):
                    yield line.encode()

    tally = Tally()
    reader = RowsReader(tally, [int(time.time())] * 3)
    reader.feed(first)
    for piece in iter(lambda: source.read(BODY_BYTES), b""):
        reader.feed(piece)
        yield from written(reader.take(100_000))
    reader.finish()
    yield from written(reader.take())
    describe(url, reader.described)
    add(total, tally.document() | {"rows": tally.bad.total(), "filled": 0}, 0)


def describe(url: str, described: list[tuple[str, str, str]]) -> None:
    """Tell the engine unit and help of metrics that it knows none of."""
    for name, unit, text in described:
        found = get(url, "/v1/series", match=json.dumps(name, ensure_ascii=False), limit=1)["series"]
        known = found[0] if found else {"unit": "", "help": ""}
        given = {"unit": unit if not known["unit"] else "", "help": text if not known["help"] else ""}
        if any(given.values()):
            post(url, "/v1/describe", {"metric": name, **{key: value for key, value in given.items() if value}})


def sent(url: str, body: bytes, is_last: bool) -> dict[str, Any]:
    """What the engine says became of the rows."""
    try:
        path = "/v1/import" if is_last else "/v1/import?fill=false"
        answer: dict[str, Any] = request(url, path, body, POST_SECONDS)
    except RequestRefused as refused:
        if not isinstance(refused.body, dict) or "ledger" not in refused.body:
            raise
        answer = refused.body["ledger"]
    return answer


def add(total: dict[str, Any], answer: dict[str, Any], lines_before: int) -> None:
    """Sum an answer; its line 2 is the one behind `lines_before` lines of the file."""

    def in_file(match: re.Match[str]) -> str:
        return f"line {int(match[1]) - 1 + lines_before}"

    for key in ("rows", "written", "present", "filled"):
        total[key] += answer[key]
    for reason, count in answer["bad"].items():
        total["bad"][reason] = total["bad"].get(reason, 0) + count
    for text in answer["errors"][: max(0, ERRORS_SHOWN - len(total["errors"]))]:
        total["errors"].append(LINE.sub(in_file, text, count=1) if lines_before else text)


@contextmanager
def readable() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise click.ClickException(str(error)) from None
