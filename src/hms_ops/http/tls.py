"""TLS of the HTTP server: the certificate and its key as a context, and the handshake with its bounds.

    http_tls: {certificate: /etc/hms-ops/tls.pem, key: /etc/hms-ops/tls.key}

The certificate's file holds the chain, the host's own first. TLS 1.2 and 1.3 with the ciphers of
`ssl.create_default_context`; no compression, no renegotiation, HTTP/1.1 only. Paths are relative to engine.yaml.

uvicorn would let asyncio take connections that never finish their handshake, any number for a minute each, before
`Connection` hears of them. So each connection is a `Handshake`, counted with the others from its first byte and cut
after HANDSHAKE_SECONDS; and each new one takes the context of now, which a reload may have replaced.

Source: RFC 8446, RFC 5246, NIST SP 800-52 rev. 2; X.509 (RFC 5280, section 4.1) for the date a certificate ends.
"""

import asyncio
import re
import ssl
import stat
from asyncio.sslproto import SSLProtocol
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from hms_ops.errors import ConfigError
from hms_ops.setting import Kind, quoted
from hms_ops.yamlfile import Node, unknown_keys

if TYPE_CHECKING:
    from hms_ops.http.connection import Connection

HANDSHAKE_SECONDS: Final = 10
SHUTDOWN_SECONDS: Final = 5
SOON_SECONDS: Final = 14 * 86_400.0
KEYS: Final = ("certificate", "key")
PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class TlsFiles:
    """Where certificate and key are."""

    certificate: Path
    key: Path


def read_tls(node: Node, path: str, base: Path) -> TlsFiles | None:
    """`{certificate, key}` of engine.yaml with files that can be used, None for null."""
    if node.value is None:
        return None
    problems = unknown_keys(node, KEYS)
    found: dict[str, Path] = {}
    for key in KEYS:
        child = node.get(key)
        value = child.value if child is not None else None
        if isinstance(value, str) and value and "\0" not in value:
            found[key] = base / value
        else:
            problems.append((child or node).problem(f"{path}.{key} is {quoted(value)}; give the path of a PEM file"))
    if not problems:
        try:
            context_of(files := TlsFiles(**found))
            return files
        except ValueError as error:
            problems.append(node.problem(f"{path}: {error}"))
    raise ConfigError(*problems)


def show_tls(files: TlsFiles | None) -> dict[str, str] | None:
    return None if files is None else {"certificate": str(files.certificate), "key": str(files.key)}


TLS: Final[Kind[TlsFiles | None]] = Kind(read_tls, show_tls)


# ---- the context


def context_of(files: TlsFiles) -> ssl.SSLContext:
    """The server's context; ValueError says which file is wrong and what to do."""
    for name, path in (("certificate", files.certificate), ("key", files.key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ValueError(
                f"cannot read the {name} {str(path)!r}: {error.strerror}; check its path and permissions"
            ) from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password here OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(files.certificate, files.key, password=refuse_password)
    except EncryptedKey:
        raise ValueError(
            f"the key {str(files.key)!r} is encrypted; write it without: openssl pkey -in FILE -out FILE.open"
        ) from None
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ValueError(load_text(files, error)) from None
    return context


class EncryptedKey(Exception):
    pass


def refuse_password() -> str:
    raise EncryptedKey


def load_text(files: TlsFiles, error: Exception) -> str:
    """OpenSSL's words for a pair that cannot be loaded, with the file they are about."""
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key {str(files.key)!r} is not that of the certificate {str(files.certificate)!r}; give its own"
    if not PEM.search(files.certificate.read_bytes()):
        return (
            f"{str(files.certificate)!r} holds no certificate in PEM; give the chain, the host's own certificate first"
        )
    if b"PRIVATE KEY-----" not in files.key.read_bytes():
        return f"{str(files.key)!r} holds no private key in PEM; give the key of the certificate"
    return f"{str(files.certificate)!r} with {str(files.key)!r} cannot be used: {reason}; make the pair again"


def key_warning(files: TlsFiles) -> str:
    """What is wrong with who may read the key; "" where nothing is."""
    try:
        mode = files.key.stat().st_mode
    except OSError:
        return ""
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP) == 0:
        return ""
    return f"the key {str(files.key)!r} can be read or changed by others on this host; chmod 600 it"


def tls_warnings(files: TlsFiles, now: float) -> list[str]:
    """What loads and is not well."""
    return list(filter(None, (key_warning(files), ending_text(files, certificate_ends(files.certificate), now))))


# ---- when it ends


def certificate_ends(path: Path) -> float | None:
    """Unix seconds at which the first certificate of a file ends; None where that cannot be told."""
    found = PEM.search(path.read_bytes())
    try:
        return None if found is None else not_after(ssl.PEM_cert_to_DER_cert(found[0].decode()))
    except (ValueError, IndexError):
        return None


def not_after(der: bytes) -> float:
    """Certificate → tbsCertificate → [version] serial signature issuer validity → notAfter."""
    body = inside(der, inside(der, 0)[0])
    place = body[0]
    for skipped in range(4 if der[place] == 0xA0 else 3):
        del skipped
        place = inside(der, place)[1]
    begins = inside(der, place)[0]
    start, end = inside(der, inside(der, begins)[1])
    text = der[start:end].decode("ascii")
    # UTCTime has two digits for the year, of which 50 to 99 are of the last century.
    full = text if len(text) > 13 else ("19" if text >= "50" else "20") + text
    return datetime.strptime(full, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def inside(der: bytes, place: int) -> tuple[int, int]:
    """(start, end) of the content of the DER value at a place."""
    first = der[place + 1]
    if first < 0x80:
        return place + 2, place + 2 + first
    count = first & 0x7F
    start = place + 2 + count
    return start, start + int.from_bytes(der[place + 2 : start], "big")


def ending_text(files: TlsFiles, ends: float | None, now: float) -> str:
    """What there is to say of a certificate that has ended or ends soon; "" where it is fine."""
    if ends is None or ends > now + SOON_SECONDS:
        return ""
    verb = "has expired:" if ends <= now else "expires"
    when = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"the TLS certificate {str(files.certificate)!r} {verb} {when}; put a new one in its place, and reload"


# ---- connections


@dataclass
class Tls:
    """What all connections of one server share. context, ends: replaced by a reload; open: the event loop's only. ends:
    of the certificate that is in use, so that health() reads no file."""

    files: TlsFiles
    context: ssl.SSLContext
    ends: float | None
    connections_max: int
    tally: MutableMapping[str, int]
    open: set["Handshake"] = field(default_factory=set)


class Handshake(SSLProtocol):
    """The TLS side of one connection, from its first byte to its last; `app` is told once the handshake is done."""

    def __init__(self, tls: Tls, app: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            loop,
            app,
            tls.context,
            cast(Any, None),
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self.raw: asyncio.Transport | None = None
        self._tls = tls
        self._app = app
        self._why = "tls"  # what it is counted under when it ends without a handshake
        self._began = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.raw = cast(asyncio.Transport, transport)
        self._tls.open.add(self)
        if len(self._tls.open) > self._tls.connections_max and not self._make_room():
            # There is nothing to say in clear to a client that waits for a handshake.
            self._why = "connections"
            self.raw.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._tls.open.discard(self)
        if not self.is_shaken:
            self._tls.tally[self._why] += 1
        super().connection_lost(exc)

    def _make_room(self) -> bool:
        """As `Connection` makes room: cut the one that has asked for nothing the longest, be it for a handshake."""
        others = [one for one in self._tls.open if one is not self and one.waits_since() is not None]
        if not others:
            return False
        longest = min(others, key=lambda one: one.waits_since() or 0.0)
        self._tls.open.discard(longest)
        longest.make_room()
        return True

    def waits_since(self) -> float | None:
        """The loop's time since when it has asked for nothing; None while it is at work."""
        if not self.is_shaken:
            return self._began
        app = cast("Connection", self._app)
        return app.idle_since if app.asks_nothing() else None

    def make_room(self) -> None:
        if self.is_shaken:
            cast("Connection", self._app).cut("made-room")
        else:
            self._why = "made-room"
            self.cut()

    @property
    def is_shaken(self) -> bool:
        """Whether the handshake is done, and the connection told."""
        return getattr(self._app, "transport", None) is not None

    def cut(self) -> None:
        if self.raw is not None:
            self.raw.abort()

    def cut_from_outside(self) -> None:
        """Cut it now, whatever is under way; from any thread."""
        self._loop.call_soon_threadsafe(self.cut)
