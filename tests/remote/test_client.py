"""A viewer and a small server that keeps to the protocol: what arrives, is refused, and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from remote.fake_server import AHEAD, FakeServer, level

from stream.errors import RemoteError
from stream.protocol.messages import KeyRequest, Report
from stream.remote.client import silence, webrtc
from stream.remote.client.signalling import AccessError, WaitError
from stream.remote.client.watching.viewer import RemoteFrame, RemoteViewer
from stream.remote.refusals import ServerFullError, UnknownSessionError


@pytest.fixture(autouse=True)
def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 25))


async def take(viewer: RemoteViewer, count: int) -> list[RemoteFrame]:
    frames = []
    async for frame in viewer:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def check_frames(server: FakeServer, frames: list[RemoteFrame]) -> None:
    """Surfaces are those that were sent, each newer than the one before."""
    for frame in frames:
        sent = server.sent_surfaces[frame.surface.index]
        assert np.array_equal(np.isnan(frame.surface.depth), np.isnan(sent))
        assert np.nanmax(np.abs(frame.surface.depth - sent)) < 1.3 * 2.5 / 2**11 / 2
        assert (frame.surface.track, frame.lane) == (3, 0)
    indices = [frame.surface.index for frame in frames]
    assert indices == sorted(set(indices))


def test_meshes_come_over_webrtc_each_with_its_picture() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemoteViewer(server.url) as viewer:
            await take(viewer, 15)  # the clock message needs a picture first
            frames = await take(viewer, 20)
            check_frames(server, frames)
            exact = [frame for frame in frames if frame.exact]
            assert len(exact) >= 15
            for frame in exact:
                assert frame.picture is not None
                assert frame.picture.shape == (240, 320, 3)
                assert abs(float(frame.picture.mean()) - level(frame.surface.index)) < 3
            assert viewer.figures.transport == "webrtc"
            assert viewer.hello is not None
            assert viewer.hello.session == "studio"
            assert viewer.state is not None
            assert viewer.state.state == "live"
            said = server.viewers[0].said
            await until(lambda: any(isinstance(m, Report) and m.received > 5 for m in said))
            report = next(m for m in said if isinstance(m, Report) and m.received > 5)
            assert report.lost <= 2  # deltas that were sent before the first key frame
            assert report.shown > 0
            assert viewer.figures.kbps > 1
        assert server.left == ["/whep/studio/1"]

    run(work())


def test_capture_times_are_told_in_the_programs_own_clock() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemoteViewer(server.url, pictures=False) as viewer:
            frames = (await take(viewer, 12))[6:]
            assert all(frame.picture is None for frame in frames)
            latencies = [frame.latency for frame in frames]
            assert -0.02 < min(latency for latency in latencies if latency is not None) < 0.25
            assert None not in latencies
            assert AHEAD > 1e6
            assert all(abs(time.monotonic() - (frame.captured or 0)) < 30 for frame in frames)

    run(work())


def test_a_websocket_carries_the_same_with_textures_and_expressions() -> None:
    async def work() -> None:
        async with (
            FakeServer() as server,
            RemoteViewer(f"{server.url}/#session=studio", transport="websocket", expressions=True) as viewer,
        ):
            await take(viewer, 4)
            frames = await take(viewer, 8)
            check_frames(server, frames)
            assert viewer.figures.transport == "websocket"
            assert sum(frame.exact for frame in frames) >= 6
            for frame in frames:
                if frame.exact:
                    assert frame.picture is not None
                    assert abs(float(frame.picture.mean()) - level(frame.surface.index)) < 3
            expression = viewer.expressions[0]
            assert expression.coefficients == pytest.approx((expression.index % 20) / 20, abs=1e-4)

    run(work())


def test_where_ice_fails_a_websocket_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webrtc, "CONNECT_SECONDS", 0.5)

    async def work() -> None:
        async with FakeServer() as server:
            server.broken_ice = True
            async with RemoteViewer(server.url) as viewer:
                check_frames(server, await take(viewer, 3))
                assert viewer.figures.transport == "websocket"
            with pytest.raises(RemoteError, match="--transport websocket"):
                await RemoteViewer(server.url, transport="webrtc").open()

    run(work())


def test_a_lost_key_frame_is_asked_for_again() -> None:
    async def work() -> None:
        async with FakeServer() as server:
            server.skip_keys = 1
            async with RemoteViewer(server.url, pictures=False) as viewer:
                check_frames(server, await take(viewer, 5))
                assert viewer.figures.lost >= 1
                assert server.viewers[0].count(KeyRequest) >= 1

    run(work())


def test_a_slow_program_gets_the_newest_frame_and_the_rest_is_counted() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemoteViewer(server.url, pictures=False) as viewer:
            await take(viewer, 2)
            sent = viewer.figures.frames
            await until(lambda: viewer.figures.frames >= sent + 6)
            newest = max(server.sent_surfaces)
            frame = (await take(viewer, 1))[0]
            assert frame.surface.index >= newest - 2
            assert viewer.figures.skipped >= 4

    run(work())


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_a_restarted_server_is_found_again_within_five_seconds(transport: Any) -> None:
    async def work() -> None:
        async with FakeServer() as server, RemoteViewer(server.url, transport=transport) as viewer:
            await take(viewer, 3)
            await server.stop()
            await until(lambda: not viewer.connected)
            began = time.monotonic()
            await server.start()
            await until(lambda: viewer.connected)
            before = viewer.figures.frames
            await until(lambda: viewer.figures.frames > before + 3)
            assert time.monotonic() - began < 15
            assert viewer.figures.reconnections == 1
            check_frames(server, (await take(viewer, 4))[1:])

    run(work())


def test_a_server_that_falls_silent_is_left_and_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 0.7)

    async def work() -> None:
        async with FakeServer() as server, RemoteViewer(server.url, pictures=False) as viewer:
            await take(viewer, 2)
            silent = server.viewers.pop()
            silent.heard = lambda text: None  # type: ignore[method-assign]
            silent.control.remove_all_listeners("message")
            await until(lambda: viewer.figures.reconnections == 1)
            check_frames(server, (await take(viewer, 4))[1:])

    run(work())


def test_patience_ends_with_the_sentence_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        server = FakeServer()
        await server.start()
        viewer = RemoteViewer(server.url, transport="websocket", patience=0.5)
        await viewer.open()
        await take(viewer, 1)
        await server.stop()
        with pytest.raises(RemoteError, match="cannot be reached"):
            await take(viewer, 100)
        await viewer.close()

    run(work())


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, AccessError, "--token or PROSOPON_TOKEN"),
        (403, AccessError, "right role"),
        (404, UnknownSessionError, "no such session"),
        (429, WaitError, "again in 3 s"),
        (503, ServerFullError, "again in 3 s"),
        (500, RemoteError, "No, for a reason"),
    ],
)
@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_refusals_are_one_sentence_with_what_to_do(
    status: int, kind: type[RemoteError], words: str, transport: Any
) -> None:
    if (status, transport) == (500, "websocket"):
        words = "status 500"  # a refused handshake's text is not given

    async def work() -> None:
        async with FakeServer() as server:
            server.refuse = {"whep": status, "ws": status}
            with pytest.raises(kind, match=words) as refused:
                await RemoteViewer(server.url, transport=transport).open()
            assert "\n" not in str(refused.value)

    run(work())


def test_tokens_are_sent_and_never_shown() -> None:
    async def work() -> None:
        async with FakeServer() as server:
            server.tokens = {"sesame"}
            with pytest.raises(AccessError, match="wants a token"):
                await RemoteViewer(server.url).open()
            with pytest.raises(AccessError, match="wants another token") as refused:
                await RemoteViewer(server.url, token="opensaysme").open()
            assert "opensaysme" not in str(refused.value)
            for transport in ("webrtc", "websocket"):
                url = f"{server.url}/#session=studio&token=sesame"
                async with RemoteViewer(url, transport=transport) as viewer:
                    assert "sesame" not in repr(viewer.address)
                    await take(viewer, 1)

    run(work())


def test_nobody_at_the_address_is_said_plainly() -> None:
    async def work() -> None:
        async with FakeServer() as server:
            url = server.url
        with pytest.raises(RemoteError, match=r"cannot be reached.*is the server running"):
            await RemoteViewer(url).open()

    run(work())
