"""The HTTP server as the engine sees it: bind, start, stop.

`start` binds in the caller's thread, so that a port in use is an error there and port 0 has its number at once; then
uvicorn runs in a thread of its own, `hms-http`, without signal handlers, beside the workers of `site.py`.
`stop` lets answers under way finish for half of its deadline, then cuts every connection: a client that does not read
cannot hold the engine. The engine reaches uvicorn and starlette only through this module, imported when it has one.

`renew` takes other tokens and reads the certificate again, while it serves.

Bounds: connections, heads, times in `connection.py`; bodies in `ingest.py`; waiting calls in `site.py`; who may ask in
`guard.py` and `scopes.py`; handshakes in `tls.py`. What they turn away is in `tally`, and in /metrics as
hms_ops_http_refused_total.
"""

import asyncio
import errno
import logging
import os
import socket
from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn

from hms_ops.clock import SECOND_NS
from hms_ops.errors import StartError
from hms_ops.http.access import Access, access_of
from hms_ops.http.connection import CONNECTIONS_MAX, KEEP_ALIVE_SECONDS, Connection
from hms_ops.http.entrance import Entrance
from hms_ops.http.guard import Guard, shared_with
from hms_ops.http.routes import application
from hms_ops.http.site import site_for
from hms_ops.http.tls import Handshake, Tls, TlsFiles, certificate_ends, context_of, ending_text
from hms_ops.http.token import Token, token_warnings
from hms_ops.quantity import Address
from hms_ops.threads import StartThread

if TYPE_CHECKING:
    from threading import Thread

    from hms_ops.engine import Engine

BACKLOG: Final = 1024

log = logging.getLogger("hms_ops.http")


class Server:
    """One HTTP server of one engine; started once, stopped once. is_insecure: an address that others reach may be
    served without TLS. names: host names it is asked for by, besides its own. origins: other pages' that may ask."""

    def __init__(
        self,
        engine: "Engine",
        host: str,
        port: int,
        tokens: tuple[Token, ...] = (),
        tls: TlsFiles | None = None,
        is_insecure: bool = False,
        names: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
    ) -> None:
        self.site = site_for(engine)
        self.tally = self.site.tally
        self._asked = Address(host, port)
        self._tokens = tokens
        self._is_insecure = is_insecure
        self._names = names
        self._origins = origins
        self._files = tls
        self._tls: Tls | None = None
        self._bound_host = ""
        self.entrance = Entrance(Access(), lambda: engine.clock.now_ns() / SECOND_NS)
        self._socket: socket.socket | None = None
        self._uvicorn: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def start(self, start_thread: StartThread) -> tuple[str, int]:
        """Bind and serve; returns the bound (host, port). StartError: nothing was started."""
        listener = bound(self._asked)
        self._bound_host, port = listener.getsockname()[:2]
        try:
            self.entrance.access = self._access(self._tokens)
            self._tls = tls_of(self._files, self.tally)
        except StartError:
            listener.close()
            raise
        self._socket = listener
        guarded = Guard(application(self.site), self.entrance, self.tally)
        self._uvicorn = Served(self._tls, config_of(shared_with(guarded, self._origins), self))
        self._say()
        self.site.start(start_thread)
        self._thread = start_thread("hms-http", self._serve)
        return self._bound_host, port

    @property
    def has_tls(self) -> bool:
        return self._files is not None

    @property
    def insecure(self) -> str:
        """What there is to say of an address that others reach without TLS; "" where all is well."""
        return self.entrance.access.insecure

    def renew(self, tokens: tuple[Token, ...], tls: TlsFiles | None) -> None:
        """Take these tokens, and the certificate as its files are now. StartError: all stays as it was.

        Sessions of tokens that are gone end. TLS is not begun or ended while it serves.
        """
        if (tls is None) != (self._files is None):
            raise StartError("http_tls was put in or taken out: that needs a restart")
        access, renewed = self._access(tokens), tls_of(tls, self.tally)
        if self._tls is not None and renewed is not None:
            self._tls.files, self._tls.context, self._tls.ends = renewed.files, renewed.context, renewed.ends
        self.entrance.access = access
        self._say()

    def problems(self) -> list[str]:
        """What is not well with tokens, certificate, address and live streams, one line each."""
        tls = self._tls
        ending = ending_text(tls.files, tls.ends, self.entrance.now()) if tls is not None else ""
        return self.entrance.problems() + ([ending] if ending else []) + self.site.streams.problems()

    def counters(self) -> dict[str, int]:
        """Tokens, sessions, log-ins."""
        return self.entrance.counters()

    def _access(self, tokens: tuple[Token, ...]) -> Access:
        name = socket.gethostname()
        return access_of(
            self._asked.host,
            self._bound_host,
            name,
            tokens,
            names=self._names,
            origins=self._origins,
            has_tls=self._files is not None,
            is_insecure=self._is_insecure,
        )

    def _say(self) -> None:
        told = token_warnings(self.entrance.access.tokens, self.entrance.now())
        for problem in dict.fromkeys([*told, *self.problems()]):
            log.warning("%s", problem)

    def stop(self, deadline_seconds: float) -> None:
        """End within the deadline: answers under way get half of it."""
        if self._uvicorn is None or self._thread is None:
            return
        self._uvicorn.should_exit = True
        self.site.refuse_reads()
        are_ended = self.site.streams.stop(deadline_seconds / 8)
        self._thread.join(deadline_seconds / 2)
        if self._thread.is_alive():
            self.site.refuse()
            self._cut()
            self._thread.join(deadline_seconds / 4)
        ended = [worker.stop(deadline_seconds / 8) for worker in self.site.workers]
        if self._thread.is_alive() or not (are_ended and all(ended)):
            log.warning("HTTP did not end within %.1f s; its threads are left behind", deadline_seconds)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's sockets, whose event loop shares its epoll with ours.

        They are replaced by /dev/null, not closed: their numbers stay taken for whoever still holds the objects.
        """
        sockets = [self._socket, *(open_.transport.get_extra_info("socket") for open_ in self._connections())]
        sockets += [shaking.raw.get_extra_info("socket") for shaking in self._handshakes() if shaking.raw is not None]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for known in sockets:
            if known is not None and known.fileno() >= 0:
                os.dup2(null, known.fileno(), inheritable=False)
        os.close(null)

    def _serve(self) -> None:
        assert self._uvicorn is not None
        assert self._socket is not None
        try:
            self._uvicorn.run(sockets=[self._socket])
        except Exception:
            log.exception("HTTP has ended")
        finally:
            self._socket.close()

    def _cut(self) -> None:
        """Make uvicorn stop waiting, and every connection end, whatever its client does."""
        assert self._uvicorn is not None
        self._uvicorn.force_exit = True
        for connection in self._connections():
            connection.cut_from_outside()
        for shaking in self._handshakes():
            shaking.cut_from_outside()

    def _handshakes(self) -> list[Handshake]:
        """The TLS side of all connections, those without a handshake too."""
        return list(self._tls.open) if self._tls is not None else []

    def protocol(self, **uvicorn_arguments: Any) -> asyncio.BaseProtocol:
        """What answers a new connection: for each one uvicorn asks anew."""
        connection = Connection(tally=self.tally, **uvicorn_arguments)
        if self._tls is None:
            return connection
        return Handshake(self._tls, connection, asyncio.get_running_loop())

    def _connections(self) -> list[Connection]:
        return cast("list[Connection]", list(self._uvicorn.server_state.connections) if self._uvicorn else [])


class Served(uvicorn.Server):
    """uvicorn, which knows connections from the end of their handshake on only; those that wait for it end here."""

    def __init__(self, tls: Tls | None, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._tls = tls

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before, since asyncio waits for them from Python 3.12 on; after, for who came meanwhile.
        await self._cut(is_shaken=False)
        await super().shutdown(sockets)
        await self._cut(is_shaken=True)

    async def _cut(self, is_shaken: bool) -> None:
        for shaking in list(self._tls.open) if self._tls is not None else []:
            if is_shaken or not shaking.is_shaken:
                shaking.cut()
        await asyncio.sleep(0)  # asyncio tells of the end, and closes the socket, in the loop's next round
        await asyncio.sleep(0)


def config_of(app: Any, server: Server) -> uvicorn.Config:
    """uvicorn's settings. It configures no logging: its loggers may be the host program's own."""
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=cast(Any, server.protocol),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=True,  # False would silence the host's access log; `Connection` writes none
        proxy_headers=False,  # nobody may say whose request it is
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def tls_of(files: TlsFiles | None, tally: Counter[str]) -> Tls | None:
    """StartError where the files cannot be used."""
    if files is None:
        return None
    try:
        return Tls(files, context_of(files), certificate_ends(files.certificate), CONNECTIONS_MAX, tally)
    except ValueError as error:
        raise StartError(f"http_tls: {error}") from None


def resolved(address: Address) -> list[tuple[str, int]]:
    """What the host name stands for, each once; StartError when it stands for nothing."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartError(f"http {address}: {error}; name an address of this host") from None
    return list(dict.fromkeys((str(place[0]), int(place[1])) for *_, place in found))


def bound(asked: Address) -> socket.socket:
    """A listening socket on the first address of `asked` that this host has; StartError when none can be had."""
    problem: OSError | None = None
    for host, port in resolved(asked):
        try:
            return listening(host, port)
        except OSError as error:
            problem = problem or error
    why = (problem and problem.strerror) or str(problem)
    remedy = REMEDIES.get((problem and problem.errno) or 0, "choose another address with --http HOST:PORT")
    raise StartError(f"http {asked}: {why}; {remedy}")


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to an IP address, with its backlog open; OSError."""
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    # The protocol is named because asyncio switches Nagle off only where it is: 50 ms an answer otherwise.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port that only waits for stragglers of the last run is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


REMEDIES: Final = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another address with --http HOST:PORT",
    errno.EACCES: "not allowed for this user; choose a port above 1023",
    errno.EADDRNOTAVAIL: "no address of this host; choose one that `ip address` shows",
}
