"""`run`: the daemon. Builds the engine, says when it is ready, waits for signals, stops it.

SIGTERM and SIGINT stop it, drained and flushed, within STOP_SECONDS; if something hangs longer, it prints where
each thread stands and exits 1. SIGHUP reloads rules, tokens and certificate; a bad file keeps the old ones and says
why. Under systemd: sockets by LISTEN_FDS, READY, STATUS, STOPPING, and WATCHDOG as long as listeners and tick are
alive: an engine that stands still is restarted, and the sockets that systemd holds lose nothing meanwhile.
"""

import faulthandler
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import hms_ops
from hms_ops.cli.options import ADDRESS, json_option, show_json
from hms_ops.cli.signals import Signals, interrupt
from hms_ops.errors import ConfigError, HmsOpsError, StartError
from hms_ops.quantity import Address

if TYPE_CHECKING:
    from hms_ops.collector.listener import Listener
    from hms_ops.config import Config
    from hms_ops.engine import Engine

# Five seconds are promised; the rest is for printing where it hangs.
STOP_SECONDS: Final = 4.5

log = logging.getLogger("hms_ops.cli")


@click.command()
@click.option("-c", "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="engine.yaml")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where history is kept.")
@click.option("--udp", type=ADDRESS, help="Where to listen for datagrams; port 0 takes a free one.")
@click.option("--http", type=ADDRESS, help="Where to answer HTTP; port 0 takes a free one.")
@json_option
def run(
    config_file: Path | None, data_dir: Path | None, udp: Address | None, http: Address | None, as_json: bool
) -> None:
    """Run the engine until SIGTERM. Options win over the configuration file.

    With --json, one line on standard output says when it is receiving:
    {"event": "ready", "udp": "127.0.0.1:8125", "http": "127.0.0.1:8126", …}

    receiving_ms and ready_ms in it are counted from the start of the process; receive_buffer_bytes is what the kernel
    granted (the smallest of all listeners), stall_ms how long the engine may stall at full load before the kernel
    drops, memory_bound_bytes what limits.series may cost at most.

    \b
    Examples:
      hms-ops-engine run
      hms-ops-engine run -c /etc/hms-ops/engine.yaml
      hms-ops-engine run --udp 127.0.0.1:0 --http 127.0.0.1:0 --data-dir /tmp/data --json
    """
    from hms_ops.config import load
    from hms_ops.logs import configure

    config = load(config_file)
    configure(config.log.format, config.log.level, in_journal="JOURNAL_STREAM" in os.environ)
    # Until the engine is up, SIGTERM unwinds like Ctrl-C: whatever was started is stopped on the way out.
    signal.signal(signal.SIGTERM, interrupt)
    engine = started(config, data_dir, udp, http)
    try:
        # Before it is announced: whoever waits for "ready" may answer with a signal at once.
        with Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            announce(engine, config, data_dir, as_json)
            serve(engine, signals)
    finally:
        stop(engine)


def started(config: "Config", data_dir: Path | None, udp: Address | None, http: Address | None) -> "Engine":
    """An engine that receives; nothing is left behind when it cannot start."""
    from hms_ops.engine import Engine

    options: dict[str, Any] = {
        "config": config,
        "host_metrics": config.host_metrics,
        "self_metrics": config.self_metrics,
    }
    options["udp"] = [str(address) for address in ((udp,) if udp else config.udp)]
    options["http"] = str(http or config.http) if http or config.http else None
    options["data_dir"] = data_dir or config.data_dir
    if sockets := inherited_sockets():
        options["sockets"] = sockets
    engine = Engine(**options)
    try:
        engine.start()
    except BaseException:
        engine.stop()
        raise
    return engine


def inherited_sockets() -> list[Any]:
    from hms_ops.systemd import inherited

    try:
        return inherited()
    except (ValueError, OSError) as error:
        raise StartError(f"cannot take the sockets that were handed over: {error}; see the .socket unit") from None


def announce(engine: "Engine", config: "Config", data_dir: Path | None, as_json: bool) -> None:
    """Say that it is receiving: to systemd, and to whoever started it."""
    from hms_ops.systemd import notify

    udp, http = address_text(engine.udp_address), address_text(engine.http_address)
    scheme = "https" if config.http_tls is not None else "http"
    directory = data_dir or config.data_dir
    notify(f"READY=1\nSTATUS=receiving on {udp}")
    if as_json:
        show_json(
            {
                "event": "ready",
                "udp": udp,
                "http": http,
                "tls": config.http_tls is not None,
                "pid": os.getpid(),
                "version": hms_ops.__version__,
                "data_dir": None if directory is None else str(directory),
                **start_times(engine),
                **bounds(engine),
            }
        )
        return
    lines = [
        f"HMS-OPS {hms_ops.__version__}, pid {os.getpid()}",
        f"  datagrams  {udp or 'none'}",
        f"  HTTP       {f'{scheme}://{http}/' if http else 'none'}",
        f"  history    {directory or 'in memory only'}",
        *(f"  buffer     {buffer_text(listener)}" for listener in engine.listeners()),
        f"  memory     {memory_text(engine)}",
    ]
    click.echo("\n".join(lines), err=True)


def bounds(engine: "Engine") -> dict[str, Any]:
    """What holds until datagrams are lost, and what memory there is to be; None for a buffer where nothing listens."""
    listeners = engine.listeners()
    return {
        "receive_buffer_bytes": min((listener.buffer_bytes() for listener in listeners), default=None),
        "stall_ms": min((round(listener.stall_ms(), 1) for listener in listeners), default=None),
        "memory_bound_bytes": engine.store.bytes_reserved,
    }


def buffer_text(listener: "Listener") -> str:
    granted_mib = listener.buffer_bytes() / (1 << 20)
    return f"{listener.name}: {granted_mib:.1f} MiB granted, covers a stall of {listener.stall_ms():.0f} ms"


def memory_text(engine: "Engine") -> str:
    return f"at most {engine.store.bytes_reserved / 1e9:.2f} GB for {engine.config.limits.series:,} series"


def start_times(engine: "Engine") -> dict[str, float]:
    """How long after the start of the process it received, and was ready (now), in ms."""
    ready_ms = process_age_ms()
    receiving_ms = ready_ms - (engine.clock.now_ns() - engine.receiving_ns) / 1e6
    return {"receiving_ms": round(receiving_ms, 1), "ready_ms": round(ready_ms, 1)}


def process_age_ms() -> float:
    """Since this process was started, exact to a clock tick of 10 ms. Source: starttime in proc(5)."""
    # Behind the last bracket: the program's name, the second field, may hold blanks and brackets itself.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started_seconds = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return (time.clock_gettime(time.CLOCK_BOOTTIME) - started_seconds) * 1e3


def address_text(address: tuple[str, int] | None) -> str | None:
    return None if address is None else str(Address(*address))


def serve(engine: "Engine", signals: Signals) -> None:
    """Until a signal ends it: reload on SIGHUP, feed systemd's watchdog."""
    from hms_ops.systemd import watchdog_seconds

    feed_seconds = watchdog_seconds()
    while True:
        received = signals.wait(feed_seconds)
        if signal.SIGTERM in received or signal.SIGINT in received:
            return
        if signal.SIGHUP in received:
            reload(engine)
        if feed_seconds is not None:
            feed_watchdog(engine)


def feed_watchdog(engine: "Engine") -> None:
    """Tell systemd that all is well, unless something stands still that only a restart would mend."""
    from hms_ops.systemd import notify

    if stalls := engine.stalls():
        log.error("the watchdog is not fed: %s", "; ".join(stalls))
        notify(f"STATUS={stalls[0]}")
    else:
        notify("WATCHDOG=1")


def reload(engine: "Engine") -> None:
    """New rules and tokens, or the old ones and why."""
    try:
        engine.reload()
    except ConfigError as error:
        log.error("reload refused, the rules in force stay; problems: %d", len(error.problems))
        for problem in error.problems:
            log.error("%s", problem)
    except HmsOpsError as error:
        log.error("reload failed, the rules in force stay: %s", error)
    else:
        log.info("rules reloaded")


def stop(engine: "Engine") -> None:
    """Drain, flush, end; a second signal meanwhile, or STOP_SECONDS, end it at once."""
    from hms_ops.systemd import notify

    notify("STOPPING=1")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # Its own thread in C needs no GIL, so it also ends a process that hangs inside a native loop.
    faulthandler.dump_traceback_later(STOP_SECONDS, exit=True)
    engine.stop()
    faulthandler.cancel_dump_traceback_later()
