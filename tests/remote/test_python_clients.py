"""Publishers and viewers in Python with the real server between them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from remote.fake_server import FakeServer

from stream.errors import BackendError, RemoteError
from stream.evaluation.keep import KeepCaptures
from stream.live import LiveSession, LiveSettings
from stream.recipes import CaptureSettings
from stream.remote.client.publishing.publisher import RemotePublisher
from stream.remote.client.signalling import AccessError
from stream.remote.client.watching.view import ViewSession
from stream.remote.client.watching.viewer import RemoteViewer
from stream.remote.loop_thread import LoopThread
from stream.remote.refusals import UnknownSessionError
from stream.remote.server.http.server import RemoteServer
from stream.remote.server.sessions.hub import SessionHub
from stream.remote.server.sessions.models import SharedModels
from stream.remote.settings import ServeSettings
from stream.render.context import probe_context
from stream.session import Session
from stream.sources.sample import SampleSource
from stream.types import Capture

RATE = 25.0


@pytest.fixture(autouse=True)
def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    """Some frames of the sample with their faces and surfaces."""
    keep = KeepCaptures("surface")
    settings = CaptureSettings(inference="onnxruntime", compute="numba")
    Session(SampleSource(fast=True), [keep], settings, frames=12, settle=False).run()
    assert all(len(capture.people) == 1 for capture in keep.captures)
    return keep.captures


class NoModels(SharedModels):
    """In place of a server's models, which sessions of published meshes do not use."""

    def load(self) -> None: ...


def make_server(port: int = 0, token: str | None = None) -> RemoteServer:
    settings = ServeSettings(port=port, publish_token=token)
    models = NoModels(settings.capture, settings.send.size, 1)
    return RemoteServer(settings, SessionHub(settings, models))


async def publish(publisher: RemotePublisher, captures: list[Capture]) -> None:
    """Offer the captures over and over, as if they were taken now."""
    count = 0
    while True:
        capture = captures[count % len(captures)]
        frame = replace(capture.frame, captured=time.monotonic(), index=count)
        publisher.offer(replace(capture, frame=frame))
        count += 1
        await asyncio.sleep(1 / RATE)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_what_one_publishes_another_sees_and_both_survive_a_restart(
    captures: list[Capture], transport: Any
) -> None:
    async def work() -> None:
        server = make_server()
        await server.start()
        port = int(server.url.rpartition(":")[2])
        async with RemotePublisher(server.url, "studio") as publisher:
            offering = asyncio.create_task(publish(publisher, captures))
            async with RemoteViewer(server.url, transport=transport) as viewer:
                await see(viewer)
                began = time.monotonic()
                await server.stop()
                server = make_server(port)
                await server.start()
                await until(lambda: viewer.figures.reconnections > 0 and viewer.connected)
                assert await viewer.next_frame() is not None
                await see(viewer)
                assert time.monotonic() - began < 30  # of which `see` takes its time
                assert publisher.figures.reconnections >= 1
            offering.cancel()
        await server.stop()

    async def see(viewer: RemoteViewer) -> None:
        """Frames come, in order, with their own pictures, and show a head."""
        exact, last, total = 0, 0, 0
        began = time.monotonic()
        while exact < 8 and time.monotonic() - began < 20:
            frame = await viewer.next_frame()
            assert frame is not None
            assert frame.surface.captured > last
            last = frame.surface.captured
            total += 1
            exact += frame.exact
            solid = np.isfinite(frame.surface.depth)
            assert solid.shape == (128, 128)
            assert 0.2 < solid.mean() < 0.9
            if frame.captured is not None:
                assert -0.05 < frame.arrived - frame.captured < 30
        assert exact >= 8, f"{exact} of {total} frames had their own picture"

    asyncio.run(asyncio.wait_for(work(), 120))


@pytest.fixture
def studio(captures: list[Capture]) -> Iterator[str]:
    """The URL of a server with a session called studio."""
    thread = LoopThread("test-server")
    server = make_server()
    thread.submit(server.start()).result(10)
    publisher = RemotePublisher(server.url, "studio")
    thread.submit(publisher.open()).result(10)
    offering = thread.submit(publish(publisher, captures))
    try:
        yield server.url
    finally:
        offering.cancel()
        thread.submit(publisher.close()).result(5)
        thread.submit(server.stop()).result(5)
        thread.stop()


def test_the_drawn_picture_shows_the_face_that_was_published(studio: str, tmp_path: Path) -> None:
    try:
        probe_context("egl")
    except BackendError as error:
        pytest.skip(str(error))
    result = ViewSession(RemoteViewer(f"{studio}/whep/studio"), tmp_path / "face.png").run()
    assert len(result.written) == 1
    drawn = np.asarray(Image.open(result.written[0])).astype(int)
    red, green, blue = drawn[..., 0], drawn[..., 1], drawn[..., 2]
    skin = (red > 90) & (red > green + 10) & (green > blue)
    middle = skin[150:400, 150:360]
    assert middle.mean() > 0.6  # a face, in its colours
    assert skin[:40, :40].mean() < 0.01  # nothing in the corner
    assert drawn[150:400, 150:360].std() > 15  # with features


def test_names_and_tokens_that_do_not_fit_are_said_plainly(captures: list[Capture]) -> None:
    async def work() -> None:
        server = make_server(token="sesame")
        await server.start()
        try:
            with pytest.raises(AccessError, match="wants a token"):
                await RemotePublisher(server.url).open()
            with pytest.raises(AccessError, match="wants another token"):
                await RemoteViewer(server.url, "wrong", session="studio").open()
            with pytest.raises(UnknownSessionError, match="Nobody publishes"):
                await RemoteViewer(server.url, "sesame").open()
            with pytest.raises(UnknownSessionError, match="no such session"):
                await RemoteViewer(server.url, "sesame", session="other").open()
            async with RemotePublisher(server.url, "studio", "sesame") as publisher:
                offering = asyncio.create_task(publish(publisher, captures))
                async with RemoteViewer(server.url, "sesame", pictures=False) as viewer:
                    assert await viewer.next_frame() is not None
                offering.cancel()
        finally:
            await server.stop()

    asyncio.run(asyncio.wait_for(work(), 20))


def test_a_live_session_without_its_server_does_not_begin(tmp_path: Path) -> None:
    live = LiveSession(LiveSettings(source="sample", show="off", out=tmp_path, publish="http://127.0.0.1:9"))
    with pytest.raises(RemoteError, match="cannot be reached"):
        live.run()
    assert live.session.metrics.snapshot()["stages"]["source"]["count"] == 0


def test_a_live_session_publishes_what_it_captures(tmp_path: Path) -> None:
    fake, thread = FakeServer(), LoopThread("test-server")
    thread.submit(fake.start()).result(10)
    try:
        settings = LiveSettings(
            source="sample", show="off", out=tmp_path, publish=f"{fake.url}/#token=secret", session="studio"
        )
        assert "secret" not in settings.model_dump_json()
        live = LiveSession(settings)
        assert live.duration is None
        done: list[Any] = []
        running = threading.Thread(target=lambda: done.append(live.run()))
        running.start()
        until = time.monotonic() + 30
        while time.monotonic() < until and not any(len(one.surfaces) > 4 for one in fake.publishers):
            time.sleep(0.05)
        panel = live._panel()
        live.session.stop()
        running.join(10)
    finally:
        thread.submit(fake.stop()).result(10)
        thread.stop()
    surfaces = fake.publishers[-1].surfaces
    assert len(surfaces) > 4
    assert surfaces[0].depth.shape == (128, 128)
    assert len(fake.publishers[-1].expressions) > 0
    assert "published as studio" in panel
    published = done[0].published
    assert (published["session"], published["failed"]) == ("studio", 0)
    assert published["sent"] >= len(surfaces)
