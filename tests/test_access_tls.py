"""TLS: real handshakes with a private authority, its bounds, a certificate that is renewed, our own clients over it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from click.testing import CliRunner
from tests.serving import Serving, server_of, serving

from hms_ops.cli import reach
from hms_ops.cli.main import commands
from hms_ops.client import Client, Unreachable
from hms_ops.clock import ManualClock
from hms_ops.config import load
from hms_ops.engine import Engine
from hms_ops.errors import ConfigError, StartError
from hms_ops.errors import Unreachable as NoEngine
from hms_ops.http import tls as module
from hms_ops.http.caller import COOKIE, COOKIE_SECURE
from hms_ops.http.server import Server
from hms_ops.http.tls import TlsFiles, certificate_ends, context_of
from hms_ops.http.token import plain_token

TOKEN = "a-token-that-is-long-enough"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Pki:
    """An authority of one's own, a certificate of it for this host, and where both are."""

    authority: trustme.CA
    directory: Path

    @property
    def files(self) -> TlsFiles:
        return TlsFiles(self.directory / "tls.pem", self.directory / "tls.key")

    @property
    def root(self) -> str:
        return str(self.directory / "ca.pem")

    def write(self, **given: Any) -> trustme.LeafCert:
        """A new certificate in the place of the old one."""
        made = self.authority.issue_cert("127.0.0.1", "localhost", "ops-1", **given)
        self.files.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        self.files.key.write_bytes(made.private_key_pem.bytes())
        self.files.key.chmod(0o600)
        return made

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.root)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(trustme.CA(), tmp_path_factory.mktemp("pki"))
    made.authority.cert_pem.write_to_path(made.root)
    made.write()
    return made


@pytest.fixture(scope="module")
def site() -> Iterator[Serving]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def over_tls(site: Serving, pki: Pki) -> Iterator[tuple[Server, str]]:
    with server_of(site.engine, tokens=(TOKEN,), tls=pki.files) as made:
        yield made


@pytest.fixture
def client(over_tls: tuple[Server, str], pki: Pki) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=over_tls[1], verify=pki.context(), trust_env=False) as made:
        yield made


def port_of(url: str) -> int:
    return httpx.URL(url).port or 0


# ---- it serves


def test_the_api_answers_over_tls(client: httpx.Client, site: Serving) -> None:
    assert client.get("/v1/ledger", headers=BEARER).json() == site.engine.ledger()
    assert client.get("/v1/ledger").status_code == 401
    assert client.post("/v1/ingest", content=b"tls.a:1|c", headers=BEARER).status_code == 200
    assert client.post("/v1/ingest", content=b"x" * 3_000_000, headers=BEARER).status_code == 400


def test_large_answers_come_whole(client: httpx.Client, site: Serving) -> None:
    site.engine.ingest(b"\n".join(b"tls.many,host=h%d:1|c" % n for n in range(3_000)))
    site.engine.advance(1)
    answer = client.get("/v1/series?prefix=tls.many&limit=10000", headers=BEARER)
    assert len(answer.json()["series"]) == 3_000


def test_a_client_that_does_not_know_the_authority_does_not_get_in(over_tls: tuple[Server, str]) -> None:
    server, url = over_tls
    before = server.tally["tls"]
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{url}/healthz", trust_env=False)
    assert server.tally["tls"] >= before


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_are_refused(over_tls: tuple[Server, str], version: str) -> None:
    assert context_of(over_tls[0]._tls.files).minimum_version == ssl.TLSVersion.TLSv1_2  # type: ignore[union-attr]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with (
        socket.create_connection(("127.0.0.1", port_of(over_tls[1])), 10) as raw,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(raw).close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_new_versions_are_spoken_with_strong_ciphers(over_tls: tuple[Server, str], pki: Pki, version: str) -> None:
    context = pki.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", port_of(over_tls[1])), 10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        cipher = wrapped.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        assert wrapped.compression() is None
        assert wrapped.selected_alpn_protocol() == "http/1.1"


def test_weak_ciphers_are_refused(over_tls: tuple[Server, str], pki: Pki) -> None:
    context = pki.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES256-SHA:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", port_of(over_tls[1])), 10) as raw, pytest.raises(ssl.SSLError):
        context.wrap_socket(raw, server_hostname="localhost").close()


# ---- cookies, origins, HSTS


def test_under_tls_the_cookie_is_secure_and_this_hosts_own(client: httpx.Client, over_tls: tuple[Server, str]) -> None:
    origin = {"Origin": over_tls[1]}
    answer = client.post("/v1/session", json={"token": TOKEN}, headers=origin)
    line = answer.headers["set-cookie"]
    assert line.startswith(f"{COOKIE_SECURE}=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(line.split("; "))
    assert "domain" not in line.lower()
    assert client.get("/v1/ledger").status_code == 200
    id = client.cookies[COOKIE_SECURE]
    client.cookies.clear()
    # A cookie that a neighbour or a network could have set for this host does not count.
    assert client.get("/v1/ledger", headers={"Cookie": f"{COOKIE}={id}"}).status_code == 401


@pytest.mark.parametrize("origin", ["http://127.0.0.1:PORT", "null", "https://127.0.0.1", "https://127.0.0.1:1"])
def test_a_page_that_came_in_clear_is_not_ours(client: httpx.Client, over_tls: tuple[Server, str], origin: str) -> None:
    given = {"Origin": origin.replace("PORT", str(port_of(over_tls[1])))}
    assert client.get("/v1/ledger", headers=BEARER | given).json()["type"] == "urn:hms-ops:problem:origin"
    assert client.get("/healthz", headers={"Host": "evil.example"}).json()["type"] == "urn:hms-ops:problem:host"


def test_browsers_are_told_to_stay_with_tls_except_on_loopback(site: Serving, pki: Pki) -> None:
    name = socket.gethostname()
    with (
        server_of(site.engine, "0.0.0.0", (TOKEN,), pki.files, is_insecure=False) as (_, url),
        httpx.Client(base_url=url, verify=pki.context(), trust_env=False) as client,
    ):
        said = client.get("/healthz", headers={"Host": name}).headers
        assert said["strict-transport-security"] == "max-age=31536000"
        for host in ("localhost", "127.0.0.1", "10.0.0.5:8126"):
            assert "strict-transport-security" not in client.get("/healthz", headers={"Host": host}).headers
    assert "strict-transport-security" not in site.get("/healthz").headers


# ---- bounds of handshakes


def test_a_client_that_never_shakes_hands_is_cut(
    site: Serving, pki: Pki, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.3)
    with server_of(site.engine, tls=pki.files) as (server, url):
        with socket.create_connection(("127.0.0.1", port_of(url)), 10) as silent:
            assert silent.recv(100) == b""
        wait_until(lambda: server.tally["tls"] == 1)
        assert server._tls is not None
        assert len(server._tls.open) == 0


def test_connections_without_a_handshake_count_with_the_others_and_make_room(
    site: Serving, pki: Pki, wait_until: Callable[..., None]
) -> None:
    with server_of(site.engine, tls=pki.files) as (server, url):
        assert server._tls is not None
        server._tls.connections_max = 5
        place = ("127.0.0.1", port_of(url))
        held = [socket.create_connection(place, 10) for _ in range(8)]
        wait_until(lambda: server.tally["made-room"] == 3)
        assert len(server._tls.open) == 5
        assert httpx.get(f"{url}/readyz", verify=pki.context(), trust_env=False).status_code == 200, "a probe gets in"
        for one in held:
            one.close()
        wait_until(lambda: server._tls is not None and not server._tls.open)
        assert httpx.get(f"{url}/readyz", verify=pki.context(), trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 300, b"\0", b"\x80\x2e\x01" * 9],
)
def test_what_is_no_tls_is_counted_and_costs_nobody_else(
    over_tls: tuple[Server, str], client: httpx.Client, sent: bytes, wait_until: Callable[..., None]
) -> None:
    server, url = over_tls
    before = server.tally["tls"]
    with socket.create_connection(("127.0.0.1", port_of(url)), 10) as raw:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200" not in raw.recv(65_536)
    wait_until(lambda: server.tally["tls"] == before + 1)
    assert client.get("/readyz").status_code == 200


def test_a_stop_cuts_handshakes_that_wait(site: Serving, pki: Pki) -> None:
    with server_of(site.engine, tls=pki.files) as (_, url):
        waiting = [socket.create_connection(("127.0.0.1", port_of(url)), 10) for _ in range(3)]
    for one in waiting:
        one.close()


def test_a_head_that_never_ends_is_cut_under_tls_too(site: Serving, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    from hms_ops.http import connection

    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    with server_of(site.engine, tls=pki.files) as (server, url):
        with (
            socket.create_connection(("127.0.0.1", port_of(url)), 10) as raw,
            pki.context().wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            wrapped.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            with suppress(ssl.SSLEOFError, ConnectionError):
                assert wrapped.recv(100) == b""
        assert server.tally["head-timeout"] == 1


# ---- a certificate that is renewed


def serial_of(url: str, pki: Pki) -> Any:
    with (
        socket.create_connection(("127.0.0.1", port_of(url)), 10) as raw,
        pki.context().wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        return (wrapped.getpeercert() or {})["serialNumber"]


def test_a_new_certificate_is_taken_while_connections_go_on(site: Serving, tmp_path: Path) -> None:
    own = Pki(trustme.CA(), tmp_path)
    own.authority.cert_pem.write_to_path(own.root)
    own.write()
    with (
        server_of(site.engine, tokens=(TOKEN,), tls=own.files) as (server, url),
        httpx.Client(base_url=url, verify=own.context(), trust_env=False) as client,
    ):
        first = serial_of(url, own)
        assert client.get("/readyz").status_code == 200
        own.write()
        server.renew((plain_token(TOKEN),), own.files)
        assert serial_of(url, own) != first
        assert client.get("/readyz").status_code == 200
        own.files.key.write_text("broken")
        second = serial_of(url, own)
        with pytest.raises(StartError, match="holds no private key in PEM"):
            server.renew((), own.files)
        assert serial_of(url, own) == second
        assert client.get("/v1/ledger").status_code == 401  # the tokens stayed as they were, too
        with pytest.raises(StartError, match="needs a restart"):
            server.renew((plain_token(TOKEN),), None)


@pytest.mark.parametrize("days", [-1, 3, 400])
def test_the_end_of_a_certificate_is_known_and_told(site: Serving, tmp_path: Path, days: int) -> None:
    own = Pki(trustme.CA(), tmp_path)
    now = datetime.fromtimestamp(site.engine.clock.now_ns() / 1e9, UTC)
    ends = (now + timedelta(days=days)).replace(microsecond=0)
    own.write(not_before=now - timedelta(days=10), not_after=ends)
    assert certificate_ends(own.files.certificate) == ends.timestamp()
    with server_of(site.engine, tls=own.files) as (server, _):
        said = server.problems()
    assert len(said) == (days < 14)
    if said:
        assert ("has expired: " if days < 0 else "expires ") in said[0]
        assert f"{ends:%Y-%m-%dT%H:%M:%SZ}" in said[0]


def test_check_config_warns_of_a_key_that_others_read_and_of_the_end(tmp_path: Path) -> None:
    own = Pki(trustme.CA(), tmp_path)
    own.write(not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC))
    own.files.key.chmod(0o644)
    file = tmp_path / "engine.yaml"
    file.write_text("http_tls: {certificate: tls.pem, key: tls.key}\n")
    done = CliRunner().invoke(commands, ["check-config", str(file)])
    assert done.exit_code == 0
    assert f"warning: {file}:1: the key '{own.files.key}' can be read or changed by others on this host" in done.stderr
    assert f"warning: {file}:1: the TLS certificate '{own.files.certificate}' has expired: 2021-01-01" in done.stderr
    own.write()
    assert "warning" not in CliRunner().invoke(commands, ["check-config", str(file)]).stderr


@pytest.mark.parametrize("year", [1999, 2049, 2050, 2300])
def test_both_forms_of_a_date_are_read(tmp_path: Path, year: int) -> None:
    """RFC 5280: UTCTime to 2049, GeneralizedTime from 2050 on."""
    own = Pki(trustme.CA(), tmp_path)
    ends = datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC)
    own.write(not_before=datetime(1990, 1, 1, tzinfo=UTC), not_after=ends)
    assert certificate_ends(own.files.certificate) == ends.timestamp()


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", b"\xff"])
def test_a_date_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert certificate_ends(tmp_path / "x") is None


# ---- what is wrong with the files


def spoilt(pki: Pki, directory: Path, what: str) -> TlsFiles:
    """A pair of which one file is not as it should be."""
    certificate, key = directory / "tls.pem", directory / "tls.key"
    certificate.write_bytes(pki.files.certificate.read_bytes())
    key.write_bytes(pki.files.key.read_bytes())
    other = pki.authority.issue_cert("localhost")
    if what == "encrypted":
        subprocess.run(
            ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", directory / "enc"], check=True
        )
        key = directory / "enc"
    elif what == "another's":
        key.write_bytes(other.private_key_pem.bytes())
    elif what == "swapped":
        certificate, key = key, certificate
    elif what == "missing":
        key.unlink()
    elif what == "empty":
        certificate.write_bytes(b"")
    elif what == "directory":
        certificate = directory
    elif what == "broken":
        head, *lines, end = certificate.read_bytes().splitlines(keepends=True)
        certificate.write_bytes(b"".join([head, *reversed(lines), end]))
    return TlsFiles(certificate, key)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("encrypted", "is encrypted; write it without"),
        ("another's", "is not that of the certificate"),
        ("swapped", "holds no certificate in PEM"),
        ("missing", "cannot read the key"),
        ("empty", "holds no certificate in PEM"),
        ("directory", "cannot read the certificate"),
        ("broken", "cannot be used"),
    ],
)
def test_a_pair_that_cannot_be_used_names_the_file_and_what_to_do(
    site: Serving, pki: Pki, tmp_path: Path, what: str, why: str
) -> None:
    files = spoilt(pki, tmp_path, what)
    with pytest.raises(ValueError, match=why) as refused:
        context_of(files)
    assert str(tmp_path) in str(refused.value)
    with pytest.raises(StartError, match=why), server_of(site.engine, tls=files):
        pytest.fail("it started")
    config = tmp_path / "engine.yaml"
    config.write_text(f"\nhttp_tls: {{certificate: {files.certificate.name or '.'}, key: {files.key.name}}}\n")
    if what != "directory":
        with pytest.raises(ConfigError, match=why) as told:
            load(config)
        assert told.value.problems[0].startswith(f"{config}:2: http_tls: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http_tls: {certificate: tls.pem}", "http_tls.key is empty; give the path of a PEM file"),
        ("http_tls: {key: tls.key}", "http_tls.certificate is empty; give"),
        ("http_tls: {certificate: 7, key: tls.key}", "http_tls.certificate is 7; give"),
        ("http_tls: {certificate: tls.pem, key: tls.key, ca: x}", "unknown key 'ca'"),
        ("http_tls: yes", "expected keys with values"),
        ("http_insecure: 1", "http_insecure is 1; give true or false"),
    ],
)
def test_settings_that_are_none_are_told_with_their_line(tmp_path: Path, pki: Pki, text: str, why: str) -> None:
    (tmp_path / "engine.yaml").write_text(text + "\n")
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "engine.yaml")
    assert why in refused.value.problems[0]
    assert refused.value.problems[0].startswith(f"{tmp_path}/engine.yaml:1: ")


# ---- an address that others reach


def test_without_tls_an_open_address_needs_to_be_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given: dict[str, Any] = {"http": "0.0.0.0:0", "http_tokens": [TOKEN], "udp": None}
    with pytest.raises(ConfigError, match="tokens would go there in clear; set http_tls, or http_insecure: true"):
        load(given)
    data_dir = tmp_path / "data"
    with Engine(config=load(given | {"http_insecure": True}), data_dir=data_dir, clock=ManualClock()) as engine:
        said = "HTTP on 0.0.0.0 is served without TLS (http_insecure): tokens go over it in clear"
        assert engine.health() == [said]
        assert said in [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        (record,) = [one for one in engine.audit_log(10) if one["what"] == "http-insecure"]
        assert record["detail"]["comment"] == said
    with Engine(config=load(given | {"http_insecure": True}), data_dir=data_dir, clock=ManualClock()) as engine:
        assert len([one for one in engine.audit_log(10) if one["what"] == "http-insecure"]) == 2


def test_a_host_that_only_the_start_resolves_is_refused_there(site: Serving) -> None:
    refused = pytest.raises(StartError, match="http_insecure: true")
    with refused, server_of(site.engine, "0.0.0.0", (TOKEN,), is_insecure=False):
        pytest.fail("it started")


def test_with_tls_an_open_address_is_well(pki: Pki) -> None:
    tls = {"certificate": str(pki.files.certificate), "key": str(pki.files.key)}
    given: dict[str, Any] = {"http": "0.0.0.0:0", "http_tokens": [TOKEN], "udp": None, "http_tls": tls}
    with Engine(config=given, data_dir=None, clock=ManualClock()) as engine:
        assert engine.health() == []
        assert engine.http_address is not None
        url = f"https://127.0.0.1:{engine.http_address[1]}"
        assert httpx.get(f"{url}/readyz", verify=pki.context(), trust_env=False).json() == {"status": "ready"}


# ---- our own clients


def test_the_command_line_reaches_it_with_an_authority_and_a_token(
    over_tls: tuple[Server, str], pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMS_OPS_TOKEN", TOKEN)
    with pytest.raises(NoEngine, match=r"is not trusted: .*; set HMS_OPS_CA to its CA's file"):
        reach.get(over_tls[1], "/v1/ledger")
    monkeypatch.setenv("HMS_OPS_CA", pki.root)
    assert "received" in reach.get(over_tls[1], "/v1/ledger")
    monkeypatch.setenv("HMS_OPS_CA", "/nowhere.pem")
    with pytest.raises(NoEngine, match="HMS_OPS_CA is '/nowhere"):
        reach.get(over_tls[1], "/v1/ledger")


def test_the_client_library_reaches_it_too(
    over_tls: tuple[Server, str], pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HMS_OPS_CA", pki.root)
    with Client("udp://127.0.0.1:9", http=over_tls[1], token=TOKEN) as client:
        client.alert_now("tls.fired")
    monkeypatch.setenv("HMS_OPS_TOKEN", TOKEN)
    with Client("udp://127.0.0.1:9", http=over_tls[1]) as client:
        client.alert_now("tls.fired")
    monkeypatch.delenv("HMS_OPS_CA")
    with Client("udp://127.0.0.1:9", http=over_tls[1]) as client, pytest.raises(Unreachable, match="set HMS_OPS_CA"):
        client.alert_now("tls.fired")
    plain = over_tls[1].replace("https://", "http://")
    with Client("udp://127.0.0.1:9", http=plain) as client, pytest.raises(Unreachable, match="ask it by https://"):
        client.alert_now("tls.fired")


def test_no_client_takes_its_token_to_where_it_is_sent_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMS_OPS_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as elsewhere, socket.create_server(("127.0.0.1", 0)) as first:
        elsewhere.settimeout(0.3)
        target = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        child = subprocess.Popen(
            [sys.executable, "-m", "hms_ops", "alerts", "list", "--url", f"http://127.0.0.1:{first.getsockname()[1]}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        taken, _ = first.accept()
        with taken:
            taken.recv(65_536)
            taken.sendall(answer.encode())
        said, _ = child.communicate(timeout=30)
        assert child.returncode == 1, said
        with pytest.raises(TimeoutError):
            elsewhere.accept()


# ---- the daemon


def test_the_daemon_serves_tls_and_sighup_takes_certificate_and_tokens(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    own = Pki(trustme.CA(), tmp_path)
    own.authority.cert_pem.write_to_path(own.root)
    own.write()
    config = tmp_path / "engine.yaml"
    text = "udp: null\nhttp: 127.0.0.1:0\ndata_dir: null\nhttp_tls: {certificate: tls.pem, key: tls.key}\n"
    text += "http_tokens: [%s]\n"
    config.write_text(text % TOKEN)
    said = tmp_path / "stderr"
    with said.open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "hms_ops", "run", "-c", config, "--json"],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        assert daemon.stdout is not None
        ready = json.loads(daemon.stdout.readline())
        assert ready["tls"] is True
        url = f"https://{ready['http']}"
        assert ask(url, own, TOKEN) == 200
        first = serial_of(url, own)
        own.write()
        config.write_text(text % "another-token-for-everybody")
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: "rules reloaded" in said.read_text())
        assert (ask(url, own, TOKEN), ask(url, own, "another-token-for-everybody")) == (401, 200)
        assert serial_of(url, own) != first
        config.write_text(text % "''")
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: "the token is empty" in said.read_text())
        assert ask(url, own, "another-token-for-everybody") == 200
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=10)
    assert daemon.returncode == 0, said.read_text()


def ask(url: str, pki: Pki, text: str) -> int:
    given = {"Authorization": f"Bearer {text}"}
    return httpx.get(f"{url}/v1/ledger", headers=given, verify=pki.context(), trust_env=False).status_code
