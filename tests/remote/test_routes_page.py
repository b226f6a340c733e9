"""The page's files: those that were there at the start, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from remote.fake_hub import serving

from stream.errors import ConfigError
from stream.remote.server.http import routes_page, server
from stream.remote.server.http.routes_page import read_assets

SCRIPT = "console.log('hello');\n" * 100


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets" / "deep").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Prosopon</title>")
    (folder / "assets" / "app.js").write_text(SCRIPT)
    (folder / "assets" / "deep" / "avatar.glb").write_bytes(b"glTF\x02")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "assets" / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(server, "read_assets", lambda: read_assets(folder))
    return folder


def test_the_page_and_its_files_are_served(dist: Path) -> None:
    async def run() -> None:
        async with serving(publish_token="camera") as (_, _, client):
            async with client.get("/") as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                assert "Prosopon" in await answer.text()
            async with client.get("/assets/app.js", headers={"Accept-Encoding": "identity"}) as answer:
                assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
                assert answer.headers["Cache-Control"] == "no-cache"
                assert "Content-Encoding" not in answer.headers
                assert await answer.text() == SCRIPT
                known = answer.headers["ETag"]
            async with client.get("/assets/app.js", headers={"If-None-Match": f"W/{known}"}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
            async with client.get("/assets/app.js") as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                assert await answer.text() == SCRIPT
            async with client.head("/assets/deep/avatar.glb") as answer:
                assert answer.headers["Content-Type"] == "model/gltf-binary"
                assert answer.headers["Content-Length"] == "5"
            async with client.post("/", data="x") as answer:
                assert answer.status == 405

    asyncio.run(run())


@pytest.mark.parametrize(
    "path",
    [
        "/assets/", "/assets", "/assets/deep", "/assets/deep/", "/assets/index.html", "/index.html",
        "/dist/index.html", "/assets/../index.html", "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/%5c..%5csecret.txt", "/assets/link.txt",
        "/assets//app.js", "/assets/app.js/", "/assets/app.js%00", "/assets/later.js", "//etc/passwd",
        "/assets/%ff",
    ],
)  # fmt: skip
def test_nothing_else_is(dist: Path, path: str) -> None:
    async def run() -> None:
        async with serving() as (started, _, _):
            (dist / "assets" / "later.js").write_text("secret")
            port = int(started.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.split()[1] in (b"404", b"400")
            assert b"secret" not in answer

    asyncio.run(run())


def test_without_a_built_page_programs_are_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_assets(tmp_path / "none") == {}
    assert "not built" in caplog.text


def test_a_folder_that_is_no_page_is_refused(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_page, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="MiB"):
        read_assets(dist)


def test_packed_files_are_the_same_each_time(dist: Path) -> None:
    packed = read_assets(dist)["assets/app.js"].packed
    assert packed is not None
    assert packed == read_assets(dist)["assets/app.js"].packed
    assert gzip.decompress(packed).decode() == SCRIPT
    assert read_assets(dist)["assets/deep/avatar.glb"].packed is None
