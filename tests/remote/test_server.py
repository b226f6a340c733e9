"""The HTTP server as a whole: what every answer has, what it survives, how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from remote.fake_hub import OFFER, FakeHub, serving

from stream.errors import ConfigError, ModelError
from stream.remote import event_loop
from stream.remote.server.http import connection, limits
from stream.remote.server.http import server as server_module
from stream.remote.server.http.server import RemoteServer
from stream.remote.settings import ServeSettings

SDP = {"Content-Type": "application/sdp"}


async def talk(server: RemoteServer, *parts: bytes, seconds: float = 5.0) -> bytes:
    """What the server says to these bytes until it closes the connection."""
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_every_answer_has_the_security_headers() -> None:
    async def run() -> None:
        async with serving(publish_token="camera") as (server, _, client):
            for path in ("/", "/nowhere", "/healthz", "/sessions", "/whip"):
                async with client.get(path) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
                    assert answer.headers["Permissions-Policy"].startswith("camera=(self)")
                    assert answer.headers["Server"] == "prosopon"
                    assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
                host = server.url.removeprefix("http://")
                assert f"connect-src 'self' blob: ws://{host} wss://{host};" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert "*" not in policy
            broken = await talk(server, b"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n")
            assert broken.split()[1] == b"400"
            assert b"nosniff" in broken

    asyncio.run(run())


@pytest.mark.parametrize("host", [b"evil.example", b"", b"a b", b"127.0.0.1.evil.example:80"])
def test_other_names_are_not_answered(host: bytes) -> None:
    async def run() -> None:
        async with serving() as (server, _, _):
            request = b"GET /sessions HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
            answer = await talk(server, request)
            assert answer.split()[1] in (b"400", b"421")
            assert b"sessions" not in answer

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /?token=hush HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer hush\r\nbroken\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 200 + b"\r\n",
        b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400_and_not_logged(
    request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with serving() as (server, hub, client):
            answer = await talk(server, request_bytes)
            assert answer.split()[1] == b"400"
            assert b"hush" not in answer
            assert b"Traceback" not in answer
            async with client.get("/healthz") as well:
                assert well.status == 200
            assert not hub.offers

    asyncio.run(run())
    assert "hush" not in caplog.text


def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)

    async def run() -> None:
        async with serving() as (server, hub, _):
            head = b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n"
            chunk = b"4000\r\n" + b"v" * 0x4000 + b"\r\n"
            answer = await talk(server, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 5)
            assert answer.startswith(b"HTTP/1.1 413")
            answer = await talk(server, head + b"Content-Length: 999999999\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 413")
            assert not hub.offers

    asyncio.run(run())


def test_those_who_drip_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(connection, "KEEP_ALIVE_SECONDS", 0.3)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.05)

    async def run() -> None:
        async with serving() as (server, _, client):
            begun = time.monotonic()
            header, body, silent = await asyncio.gather(
                talk(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "),
                talk(
                    server,
                    b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n"
                    b"Content-Length: 100\r\n\r\nv=0",
                ),
                talk(server),
            )
            assert time.monotonic() - begun < 10
            assert header == silent == b""
            assert body.startswith(b"HTTP/1.1 408")
            async with client.get("/healthz") as well:
                assert well.status == 200

    asyncio.run(run())


@pytest.mark.parametrize("runner", [asyncio.run, event_loop.run], ids=["asyncio", "uvloop"])
def test_one_address_has_a_bounded_number_of_connections(
    runner: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "CONNECTIONS", 3)
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

    async def run() -> None:
        async with serving() as (server, _, _):
            port = int(server.url.rpartition(":")[2])
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            assert await talk(server, request) == b""
            for _, writer in held:
                writer.close()
                await writer.wait_closed()
            for _ in range(20):  # the server learns of the end a moment later
                if answer := await talk(server, request):
                    break
            assert answer.startswith(b"HTTP/1.1 200")

    runner(run())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_until_the_models_are_loaded_cameras_are_asked_to_come_back() -> None:
    async def run() -> None:
        hub = FakeHub()
        hub.opening.clear()
        server = RemoteServer(ServeSettings(port=0), hub)  # type: ignore[arg-type]
        starting = asyncio.create_task(server.start())
        while server._listening is None:
            await asyncio.sleep(0)
        async with aiohttp.ClientSession(server.url) as client:
            async with client.get("/healthz") as answer:
                assert answer.status == 200
            async with client.get("/readyz") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            async with client.post("/whip", data=OFFER, headers=SDP) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            hub.opening.set()
            await starting
            async with client.get("/readyz") as answer:
                assert answer.status == 200
        await server.stop()
        await server.stop()
        assert hub.closed == 1

    asyncio.run(run())


def test_a_hub_that_cannot_open_leaves_nothing_open() -> None:
    class BrokenHub(FakeHub):
        async def open(self) -> None:
            raise ModelError("The model is missing.")

    async def run() -> None:
        hub = BrokenHub()
        server = RemoteServer(ServeSettings(port=0), hub)  # type: ignore[arg-type]
        with pytest.raises(ModelError):
            await server.start()
        assert hub.closed == 1
        assert server._listening is None

    asyncio.run(run())


def test_a_taken_port_is_a_sentence() -> None:
    async def run() -> None:
        async with serving() as (server, _, _):
            port = int(server.url.rpartition(":")[2])
            with pytest.raises(ConfigError, match="--port"):
                await RemoteServer(ServeSettings(port=port), FakeHub()).start()  # type: ignore[arg-type]

    asyncio.run(run())


def test_it_ends_at_once_with_requests_and_sockets_open() -> None:
    async def run() -> None:
        async with serving() as (server, hub, client):
            await hub.publish(OFFER, "ada")
            socket = await client.ws_connect("/ws/ada")
            idle = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            begun = time.monotonic()
            await server.stop()
            assert time.monotonic() - begun < 10, "it waits for neither"
            assert (await socket.receive(timeout=10)).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
            )
            idle[1].close()

    asyncio.run(run())


def test_log_lines_hold_no_tokens_and_no_sdp(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with serving(publish_token="camera") as (_, hub, client):
            headers = {**SDP, "Authorization": "Bearer camera"}
            async with client.post("/whip?session=ada&token=hush", data="v=0 hush", headers=headers):
                pass
            async with client.get("/hush", headers={"Authorization": "Bearer hush"}):
                pass
            hub.refusal = RuntimeError("broken")
            async with client.post("/whip", data="v=0 hush", headers=headers) as answer:
                assert answer.status == 500

    asyncio.run(run())
    shown = caplog.text + repr([vars(record) for record in caplog.records])
    assert "hush" not in shown
    assert "Bearer camera" not in shown
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    first = vars(lines[0])
    assert (first["method"], first["path"], first["status"], first["session"]) == (
        "POST",
        "/whip",
        201,
        "ada",
    )
    assert first["ms"] >= 0
    assert "client" not in first
    assert vars(lines[1])["path"] == "-"


def test_tls_serves_and_plain_http_does_not(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip

    async def run() -> None:
        async with serving(tls_certificate=certificate, tls_key=key) as (server, _, client):
            assert server.url.startswith("https://127.0.0.1:")
            async with client.get("/healthz") as answer:
                assert answer.status == 200
            host = server.url.removeprefix("https://")
            async with client.get("/config", headers={"Origin": f"http://{host}"}) as answer:
                assert answer.status == 403
            assert await talk(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == b""
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]), ssl=old)

    asyncio.run(run())


def test_a_certificate_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "none.pem"
    file.write_text("nothing")
    for path in (file, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match="PEM"):
            RemoteServer(ServeSettings(tls_certificate=path, tls_key=path), FakeHub())  # type: ignore[arg-type]


def test_others_are_not_let_in_unasked() -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        RemoteServer(ServeSettings(host="0.0.0.0"), FakeHub())  # type: ignore[arg-type]
