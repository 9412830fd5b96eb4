"""`hms-ops-engine demo`: an engine, its world on loopback and its services, one performance of the refund rush.

Started in the order in which they need each other: gateway and action service (their addresses stand in the engine's
configuration), engine, services; ended in the reverse order, whatever happened. The data directory is a fresh temporary
one, removed at the end, unless one was given. After the engine has stopped, the history and the journal are read back
from disk, so that the last line says what is in LMDB and not what was in memory.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from hms_ops.cli.signals import Signals, interrupt
from hms_ops.demo.actions import action_service
from hms_ops.demo.cast import Cast
from hms_ops.demo.direction import Direction
from hms_ops.demo.gateway import gateway
from hms_ops.demo.screen import Screen, screen
from hms_ops.errors import StartError
from hms_ops.quantity import Address

if TYPE_CHECKING:
    from hms_ops.engine import Engine

RULES: Final = Path(__file__).with_name("demo.yaml")
BOARD: Final = Path(__file__).with_name("board.yaml")
STATUS: Final = {
    "title": "Tax services",
    "services": [
        {"name": "refunds", "label": "Refund payments", "outage": ["db.write_slow"], "degraded": ["db.anomaly"]},
        {"name": "accounts", "label": "Your tax account", "degraded": ["db.write_slow"]},
    ],
}
HOST: Final = "127.0.0.1"
UDP_PORT: Final = 8125
HTTP_PORT: Final = 8126
HEADLESS_SECONDS: Final = 60.0
STEP_SECONDS: Final = 0.1
PAST_SECONDS: Final = 60.0


def run(*, headless: bool, seconds: float | None, as_json: bool, data_dir: Path | None = None) -> int:
    """The exit code: 0 if the whole story happened, within `seconds` where they are given, and is on disk; else 1.

    headless: end with the story, after 60 s at the latest. Otherwise go on until `seconds`, or Ctrl-C.
    """
    from hms_ops.logs import configure

    # A notification to the log is the story itself, which the screen tells.
    configure("text", "warning").addFilter(lambda record: not hasattr(record, "alert"))
    signal.signal(signal.SIGTERM, interrupt)
    limit = seconds if seconds is not None else HEADLESS_SECONDS if headless else float("inf")
    direction = Direction(screen(as_json))
    with directory(data_dir) as place:
        ending = perform(direction, place, limit, headless)
        return judge(direction, place, ending)


@contextmanager
def directory(given: Path | None) -> Iterator[Path]:
    """The data directory: the given one, or a new one that goes again."""
    if given is not None:
        yield given
        return
    with TemporaryDirectory(prefix="hms-ops-demo-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def perform(direction: Direction, place: Path, limit_seconds: float, headless: bool) -> str:
    """Set the stage, play, clear it; returns why it ended."""
    with ExitStack() as stage:
        direction.screen.live("starting the engine; on a new machine its kernels are compiled first, up to 20 s")
        sms_url = stage.enter_context(gateway(direction.page))
        actions_url = stage.enter_context(action_service(direction.scale))
        engine = started(sms_url, actions_url, place)
        stage.callback(engine.stop)
        stage.callback(engine.watch(direction.report))
        # Read as values from here on: Ctrl-C ends the play between two steps.
        with Signals(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            direction.begin(engine, stage.enter_context(Cast(address_text(engine.udp_address))))
            announce(direction.screen, engine, place)
            if not headless:
                show_dashboard(f"http://{address_text(engine.http_address)}/")
            return play(direction, signals, limit_seconds, headless)


def started(sms_url: str, actions_url: str, place: Path) -> "Engine":
    """An engine on the default ports, or on free ones where they are taken, with a past and a dashboard of its own."""
    with past_of(place):
        from hms_ops.engine import Engine
        from hms_ops.http import server  # noqa: F401  the slow ones are loaded meanwhile
        from hms_ops.tick import Tick  # noqa: F401

    config: dict[str, Any] = {
        "rules": [str(RULES)],
        "dashboards": [str(boards_in(place))],
        "status": STATUS,
        "receivers": {"sms": {"url": sms_url}},
        "actions": {"url": actions_url},
    }
    engine = Engine(
        udp=address_or_any(UDP_PORT, socket.SOCK_DGRAM),
        http=address_or_any(HTTP_PORT, socket.SOCK_STREAM),
        data_dir=str(place),
        config=config,
        host_metrics=True,
        self_metrics=True,
    )
    try:
        engine.start()
    except BaseException:
        engine.stop()
        raise
    return engine


@contextmanager
def past_of(place: Path) -> Iterator[None]:
    """A new directory gets a day of history, by a process beside what the block does: numba alone takes a second."""
    if (place / "history").exists():
        yield
        return
    writing = subprocess.Popen([sys.executable, "-m", "hms_ops.demo.past", str(place)])
    try:
        yield
        code = writing.wait(PAST_SECONDS)
    finally:
        writing.kill()
        writing.wait()
    if code:
        raise StartError(f"the demo's day of history could not be written to {place} (exit code {code})")


def boards_in(place: Path) -> Path:
    """The folder of the demo's dashboards, where they can be edited."""
    boards = place / "dashboards"
    boards.mkdir(parents=True, exist_ok=True)
    if not (copy := boards / "refund-rush.yaml").exists():
        copy.write_text(BOARD.read_text("utf-8"), "utf-8")
    return boards


def address_or_any(port: int, kind: socket.SocketKind) -> str:
    """The port on loopback, or a free one if somebody has it."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # as the server does: connections of a demo just ended are no obstacle
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return f"{HOST}:0"
    return f"{HOST}:{port}"


def announce(screen: Screen, engine: "Engine", place: Path) -> None:
    screen.say("HMS-OPS: the refund rush")
    url = f"http://{address_text(engine.http_address)}"
    screen.say(f"  dashboard  {url}/")
    screen.say(f"  status     {url}/status, as citizens see it; the API is at {url}/docs")
    screen.say(f"  datagrams  {address_text(engine.udp_address)}, UDP: StatsD, JSON and msgpack on one port")
    screen.say(f"  history    {place}")
    for word, wanted, address in (
        ("UDP", UDP_PORT, engine.udp_address),
        ("HTTP", HTTP_PORT, engine.http_address),
    ):
        if address is not None and address[1] != wanted:
            screen.remark(f"  {word} port {wanted} is taken, so this demo has {address[1]}")
    screen.say("")
    screen.note(0.0, "finance, db, portal and a fleet of six others send 780 samples a second; all is quiet at 120 ms")


def show_dashboard(url: str) -> None:
    """In the browser of whoever sits before this screen; elsewhere the address is printed, and that is it."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        import webbrowser

        webbrowser.open(url)


def address_text(address: tuple[str, int] | None) -> str:
    return str(Address(*address)) if address is not None else "none"


def play(direction: Direction, signals: Signals, limit_seconds: float, headless: bool) -> str:
    """Step until the story, the time or somebody ends it; returns which."""
    is_told = False
    while True:
        received = signals.wait(STEP_SECONDS)
        if received:
            return f"{signal.Signals(received[0]).name} after {direction.t:.0f} s"
        if direction.t > limit_seconds:
            return f"the {limit_seconds:g} s are over"
        gone = direction.cast.gone()
        if gone is not None:
            return gone
        direction.step()
        if direction.story.missing() or is_told:
            continue
        if headless:
            return "the story is told"
        is_told = True
        direction.screen.say("\nThe story is told. The engine goes on; Ctrl-C ends it.\n")


def judge(direction: Direction, place: Path, ending: str) -> int:
    """Say what is on disk, and what is missing; the exit code."""
    from hms_ops.demo.kept import kept_in

    kept = kept_in(place, direction.began_at)
    direction.screen.remark(f"on disk: {kept}")
    missing = direction.story.missing()
    if missing:
        print(f"hms-ops-engine: {ending}, and the story lacks {', '.join(missing)}", file=sys.stderr)
    elif not kept.steps or not kept.events:
        print("hms-ops-engine: the story was told, but history or journal on disk are empty", file=sys.stderr)
    else:
        return 0
    return 1
