"""`capture` and `replay`: datagrams with their timing, in a file.

The file is a run of msgpack values:

    {"format": "hms-ops-capture", "version": 1, "started_ns": Unix ns}
    [offset_ns, datagram]        offset_ns: int since started_ns, never falling; datagram: bin, 0 to 65,507 bytes
    …

`capture` binds a port of its own, writes down what arrives and passes it on with `--forward`; the engine then listens
elsewhere. A file that ends inside a datagram, because the disk was full or the machine stopped, replays up to there.
"""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import click

from hms_ops.cli.options import ADDRESS, DURATION, json_option, show_json
from hms_ops.cli.signals import interrupt
from hms_ops.errors import HmsOpsError, StartError
from hms_ops.escape import printable
from hms_ops.quantity import Address, parse_size

FORMAT: Final = "hms-ops-capture"
VERSION: Final = 1
DATAGRAM_BYTES_MAX: Final = 65_535
RECEIVE_BUFFER_BYTES: Final = 64 * 1024 * 1024


class Copied(NamedTuple):
    """What went through: datagrams and their bytes, those the forward did not take, and the seconds it took."""

    datagrams: int = 0
    bytes: int = 0
    dropped: int = 0
    seconds: float = 0.0


class Frame(NamedTuple):
    """One datagram and when it came, after the start of its capture."""

    offset_ns: int
    datagram: bytes


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--udp", type=ADDRESS, default="127.0.0.1:8125", show_default=True, help="Where to listen.")
@click.option("--forward", type=ADDRESS, help="Where to pass every datagram on to.")
@click.option("--seconds", type=click.FloatRange(0.01), help="Stop after so long; else at Ctrl-C.")
@click.option("--size", default="1GiB", show_default=True, help="Stop when the file has this size.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def capture(
    file: Path, udp: Address, forward: Address | None, seconds: float | None, size: str, force: bool, as_json: bool
) -> int:
    """Record the datagrams that arrive, with their timing, into FILE.

    \b
    Examples:
      hms-ops-engine run --udp 127.0.0.1:8135 &
      hms-ops-engine capture rush.cap --udp 127.0.0.1:8125 --forward 127.0.0.1:8135 --seconds 60
      hms-ops-engine replay rush.cap --speed 10
    """
    try:
        bytes_max = parse_size(size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--size") from None
    signal.signal(signal.SIGTERM, interrupt)
    with bound(udp) as listener, created(file, force) as out:
        host, port = listener.getsockname()[:2]
        if as_json:
            show_json({"event": "ready", "udp": str(Address(host, port))})
        else:
            click.echo(f"recording {Address(host, port)} into {printable(str(file))}; Ctrl-C ends it", err=True)
        copied = record(listener, out, forward, seconds, bytes_max)
    if as_json:
        show_json({"event": "done", "file": str(file), **copied._asdict()})
    else:
        click.echo(f"{copied.datagrams:,} datagrams, {copied.bytes:,} bytes in {copied.seconds:.1f} s")
        if copied.dropped:
            click.echo(f"{copied.dropped:,} were not taken by {forward}", err=True)
    return 0 if copied.datagrams else 1


def bound(address: Address) -> socket.socket:
    """A datagram socket on the address; StartError when it is not to be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise StartError(
            f"cannot listen on {address}: {reason}; stop what listens there, or give another --udp"
        ) from None
    return listener


def created(file: Path, force: bool) -> BinaryIO:
    try:
        return open(file, "wb" if force else "xb")
    except FileExistsError:
        raise HmsOpsError(f"{file} exists; give another name, or --force to replace it") from None
    except OSError as error:
        raise HmsOpsError(f"cannot write {file}: {error.strerror}") from None


def record(
    listener: socket.socket, out: BinaryIO, forward: Address | None, seconds: float | None, bytes_max: int
) -> Copied:
    """Copy datagrams from the listener to the file and on, until time, size or an interrupt ends it."""
    import msgpack

    packer = msgpack.Packer(use_bin_type=True)
    started_ns = time.monotonic_ns()
    written = out.write(packer.pack({"format": FORMAT, "version": VERSION, "started_ns": time.time_ns()}))
    datagrams = size = dropped = 0
    onward = contextlib.nullcontext() if forward is None else socket_to(forward)
    with contextlib.suppress(KeyboardInterrupt), onward as target:
        while written < bytes_max:
            elapsed_ns = time.monotonic_ns() - started_ns
            if seconds is not None and elapsed_ns >= seconds * 1e9:
                break
            listener.settimeout(None if seconds is None else max(0.001, seconds - elapsed_ns / 1e9))
            try:
                datagram = listener.recv(DATAGRAM_BYTES_MAX)
            except TimeoutError:
                break
            written += out.write(packer.pack([time.monotonic_ns() - started_ns, datagram]))
            datagrams += 1
            size += len(datagram)
            dropped += target is not None and not sent(target, datagram)
    return Copied(datagrams, size, dropped, (time.monotonic_ns() - started_ns) / 1e9)


def socket_to(address: Address) -> socket.socket:
    """A datagram socket connected to the address; HmsOpsError when there is no way to it."""
    target = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        target.connect(address)
    except OSError as error:
        target.close()
        raise HmsOpsError(f"cannot send to {address}: {error.strerror or error}") from None
    return target


def sent(target: socket.socket, datagram: bytes) -> bool:
    """False when nobody listened for the datagram before this one: the kernel says so with the next."""
    try:
        target.send(datagram)
    except OSError:
        return False
    return True


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--to", "target", type=ADDRESS, default="127.0.0.1:8125", show_default=True, help="Where to send.")
@click.option(
    "--speed", type=click.FloatRange(0), default=1.0, show_default=True, help="Times the recorded speed; 0: no pauses."
)
@click.option("--longest-pause", type=DURATION, help="Shorten pauses to this.")
@json_option
def replay(file: Path, target: Address, speed: float, longest_pause: float | None, as_json: bool) -> int:
    """Send the datagrams of FILE again, with their timing.

    \b
    Examples:
      hms-ops-engine replay rush.cap
      hms-ops-engine replay rush.cap --to 127.0.0.1:8125 --speed 10 --longest-pause 1s
    """
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with open(file, "rb") as source, socket_to(target) as sender:
            copied, is_cut = send_all(frames_of(source, str(file)), sender, speed, longest_pause)
    except OSError as error:
        raise HmsOpsError(f"cannot read {file}: {error.strerror}") from None
    if as_json:
        show_json({"to": str(target), "cut": is_cut, **copied._asdict()})
    else:
        click.echo(f"sent {copied.datagrams:,} datagrams, {copied.bytes:,} bytes in {copied.seconds:.1f} s to {target}")
    if is_cut:
        click.echo(f"{printable(str(file))} ends inside a datagram; what stands before it was sent", err=True)
    if copied.dropped:
        click.echo(f"{copied.dropped:,} found nobody at {target}", err=True)
    return 0 if copied.datagrams and not copied.dropped else 1


def frames_of(source: BinaryIO, name: str) -> Iterator[Frame | None]:
    """The frames of a capture, and a final None when it is cut off; HmsOpsError when it is no capture."""
    import msgpack

    unpacker = msgpack.Unpacker(source, raw=False, max_bin_len=DATAGRAM_BYTES_MAX, max_buffer_size=1 << 24)
    try:
        header = next(unpacker, None)
        check_header(header, name)
        for frame in unpacker:
            yield checked_frame(frame, name)
        if unpacker.tell() < source.tell():
            yield None
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise HmsOpsError(f"{name} is no capture, or it is damaged: {error or type(error).__name__}") from None


def check_header(header: Any, name: str) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise HmsOpsError(f"{name} is no capture; hms-ops-engine capture makes them")
    if header.get("version") != VERSION:
        raise HmsOpsError(f"{name} is a capture of version {header.get('version')!r}; this program reads {VERSION}")


def checked_frame(frame: Any, name: str) -> Frame:
    if not (isinstance(frame, list) and len(frame) == 2 and type(frame[0]) is int and isinstance(frame[1], bytes)):
        raise HmsOpsError(f"{name} is damaged: {repr(frame)[:60]} is no datagram with its time")
    return Frame(frame[0], frame[1])


def send_all(
    frames: Iterator[Frame | None], sender: socket.socket, speed: float, longest_pause: float | None
) -> tuple[Copied, bool]:
    """Send each frame at its time; (what was sent, whether the file was cut off)."""
    started = time.monotonic()
    datagrams = size = dropped = 0
    due_seconds, before_ns, is_cut = 0.0, 0, False
    with contextlib.suppress(KeyboardInterrupt):
        for frame in frames:
            if frame is None:
                is_cut = True
                break
            pause = max(0, frame.offset_ns - before_ns) / 1e9 / speed if speed else 0.0
            due_seconds += pause if longest_pause is None else min(pause, longest_pause)
            before_ns = frame.offset_ns
            ahead = started + due_seconds - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            if sent(sender, frame.datagram):
                datagrams += 1
                size += len(frame.datagram)
            else:
                dropped += 1
    return Copied(datagrams, size, dropped, time.monotonic() - started), is_cut
