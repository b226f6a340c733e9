"""A whole session over a bad network: the real server, and the real Python viewer behind a lossy relay."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from mesh.wire_samples import real_shots
from remote.session_helpers import Camera, FakeModels, Finder
from remote.stalls import undisturbed
from remote.udp_relay import UdpRelay

from stream.pipeline.source import Source
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.viewer import RemoteViewer
from stream.remote.server.http.server import RemoteServer
from stream.remote.server.sessions.hub import SessionHub
from stream.remote.settings import ServeSettings
from stream.types import Frame, Person

SECONDS = 5.0


class ClipModels(FakeModels):
    """Finds in every picture the next frame of the sample clip, in full size."""

    def finder(self, source: Source, fail: bool) -> Source:
        return Clip(source, fail)


class Clip(Finder):
    """Puts the sample clip's faces and surfaces into whatever comes."""

    gives = ("face", "surface")

    def open(self) -> None:
        self.places = itertools.cycle(real_shots())

    def person(self, frame: Frame) -> Person:
        shot = next(self.places)
        return Person(shot.face, surface=shot.surface)


@asynccontextmanager
async def behind(url: str, relay: UdpRelay) -> AsyncIterator[str]:
    """The address of an HTTP proxy that rewrites offers and answers so that media take the relay."""

    async def forward(request: web.Request) -> web.Response:
        body, offers = await request.text(), request.method == "POST"
        if offers:
            body = relay.offer(body)
        kind = {"Content-Type": request.headers["Content-Type"]} if body else {}
        async with client.request(
            request.method, f"{url}{request.path_qs}", data=body, headers=kind
        ) as answer:
            text = await answer.text()
            if offers and answer.status == 201:
                text = relay.answer(text)
            kept = {name: answer.headers[name] for name in ("Location", "ETag") if name in answer.headers}
            kept["Content-Type"] = answer.content_type
            return web.Response(status=answer.status, text=text, headers=kept)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    async with aiohttp.ClientSession() as client:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def collect(viewer: RemoteViewer, seconds: float) -> list[RemoteFrame]:
    frames: list[RemoteFrame] = []
    try:
        async with asyncio.timeout(seconds):
            async for frame in viewer:
                frames.append(frame)  # noqa: PERF401 (a timeout would lose a comprehension's frames)
    except TimeoutError:
        pass
    return frames


@pytest.mark.parametrize(
    ("loss", "least_rate", "longest_gap"), [(0.01, 8.0, 1.5), (0.05, 5.0, 2.0), (0.25, 0.6, 4.0)]
)
def test_a_viewer_stays_fresh(loss: float, least_rate: float, longest_gap: float) -> None:
    """Typical on two busy cores: 24, 21 and 5 meshes a second; the bounds leave room."""
    real_shots()

    async def run() -> list[RemoteFrame]:
        settings = ServeSettings(port=0)
        hub = SessionHub(settings, ClipModels())
        server = RemoteServer(settings, hub)
        await server.start()
        camera = Camera()
        try:
            await camera.publish(hub, "lossy")
            async with UdpRelay(seed=7) as relay, behind(server.url, relay) as address:
                async with RemoteViewer(address, session="lossy", transport="webrtc") as viewer:
                    await asyncio.wait_for(viewer.next_frame(), 10)
                    relay.impair(loss)
                    frames = await collect(viewer, SECONDS)
                    figures = viewer.figures
                assert relay.to_offerer.dropped > 0
        finally:
            await camera.close()
            await server.stop()
        assert figures.reconnections == 0
        captured = [frame.surface.captured for frame in frames]
        assert captured == sorted(set(captured)), "never an older mesh after a newer one"
        return frames

    frames = undisturbed(run)
    arrived = [frame.arrived for frame in frames]
    gaps = [after - before for before, after in itertools.pairwise(arrived)]
    print(loss, len(frames) / SECONDS, max(gaps), sorted(f.latency or 0 for f in frames)[len(frames) // 2])
    assert len(frames) / SECONDS >= least_rate
    assert max(gaps) <= longest_gap
