"""The processes of a remote measurement: a server, cameras that show the time, viewers that read it.

Each runs in a process of its own, as in life: a viewer in the server's process would share its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any, TypeVar
from urllib.parse import urljoin

import aiohttp
import av
import psutil
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from stream.errors import RemoteError
from stream.evaluation.clock_strip import read_clock, with_clock
from stream.protocol.clock import MEDIA_RATE, wall_micros
from stream.remote.event_loop import run
from stream.remote.settings import ServeSettings
from stream.sources.sample import bounce
from stream.types import Array

ResultT = TypeVar("ResultT")

START_SECONDS = 60.0
"""How long a server may take to load its models, or a session to come alive."""


def in_process(function: Callable[..., ResultT], *args: Any) -> Future[ResultT]:
    """Run a function of a module in a fresh process; its result, or its error, comes back."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    future = pool.submit(function, *args)
    pool.shutdown(wait=False)
    return future


class Server:
    """A server in a process of its own, from ``with`` to its end.

    :ivar url: where it listens.
    :ivar process: to watch its memory.
    """

    def __init__(self, settings: ServeSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe()
        self._worker = context.Process(target=_serve, args=(settings, self._theirs), daemon=True)
        self.url = ""

    def __enter__(self) -> Server:
        self._worker.start()
        self._theirs.close()
        self.url = str(self._answer(START_SECONDS))
        self.process = psutil.Process(self._worker.pid)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._worker.join(10)
        self._worker.kill()

    def metrics(self) -> dict[str, dict[str, Any]]:
        """`Metrics.snapshot` of each session by name."""
        self._pipe.send("metrics")
        found = self._answer(5.0)
        assert isinstance(found, dict)
        return found

    def _answer(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise RemoteError(f"The server did not answer in {seconds:g} s; is the machine overloaded?")
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise RemoteError("The server's process has ended; try prosopon serve to see why.") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(settings: ServeSettings, pipe: Connection) -> None:
    run(_serving(settings, pipe))


async def _serving(settings: ServeSettings, pipe: Connection) -> None:
    from stream.remote.server.http.server import RemoteServer
    from stream.remote.server.sessions.hub import SessionHub

    try:
        hub = SessionHub(settings)
        server = RemoteServer(settings, hub)
        await server.start()
    except Exception as error:
        pipe.send(error)
        return
    pipe.send(server.url)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv) != "stop":
        pipe.send({name: metrics.snapshot() for name, metrics in hub.metrics().items()})
    await server.stop()


class ClockCamera(VideoStreamTrack):
    """Plays a source's pictures at ``rate``, each with the time at which it was "taken" below it.

    Like a camera it drops the pictures that were not fetched in time.

    :ivar taken: pictures given.
    """

    def __init__(self, pictures: list[Array], rate: float) -> None:
        super().__init__()
        self._pictures, self._rate = pictures, rate
        self._begun: float | None = None
        self._place = -1
        self.taken = 0

    async def recv(self) -> av.VideoFrame:
        """The next picture, at its time."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now
        self._place = max(self._place + 1, int((now - self._begun) * self._rate))
        due = self._begun + self._place / self._rate
        if due > now:
            await asyncio.sleep(due - now)
        captured = time.monotonic()
        picture = self._pictures[bounce(self._place, len(self._pictures))]
        frame = av.VideoFrame.from_ndarray(with_clock(picture, wall_micros(captured)), format="rgb24")
        frame.pts = round((captured - self._begun) * MEDIA_RATE)
        frame.time_base = Fraction(1, MEDIA_RATE)
        self.taken += 1
        return frame


def pictures_of(source: str, count: int = 120) -> list[Array]:
    """The first pictures of a source, (H, W, 3) uint8 RGB each.

    :raises ProsoponError: it cannot be read.
    """
    from stream.sources.factory import open_source

    opened = open_source(source, size=(640, 480), fast=True, loop=True)
    opened.open()
    try:
        frames = [opened.read() for _ in range(count)]
    finally:
        opened.close()
    return [frame.image for frame in frames if frame is not None]


def run_camera(url: str, session: str, source: str, rate: float, seconds: float) -> int:
    """Publish a source by WHIP for so long, or until the server ends; how many pictures were taken.

    :raises RemoteError: the server refuses.
    """
    return run(_camera(url, session, pictures_of(source), rate, seconds))


async def _camera(url: str, session: str, pictures: list[Array], rate: float, seconds: float) -> int:
    peer, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), ClockCamera(pictures, rate)
    peer.addTrack(track)
    async with published(url, session, peer) as ended:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
        return track.taken


@contextlib.asynccontextmanager
async def published(url: str, session: str, peer: RTCPeerConnection) -> AsyncIterator[asyncio.Event]:
    """Publish what the peer has to send, by WHIP; the event is set when the server ends it.

    :raises RemoteError: the server refuses.
    """
    ended = asyncio.Event()

    @peer.on("connectionstatechange")
    def changed() -> None:
        if peer.connectionState in ("closed", "failed"):
            ended.set()

    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession() as http:
        request = http.post(
            f"{url}/whip?session={session}",
            data=peer.localDescription.sdp,
            headers={"Content-Type": "application/sdp"},
        )
        async with request as response:
            text = await response.text()
            if response.status != 201:
                raise RemoteError(f"The server refused the camera with {response.status}: {text[:200]}")
            location = response.headers["Location"]
        await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        try:
            yield ended
        finally:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.delete(urljoin(url, location)):
                    pass
            await peer.close()


@dataclass(frozen=True, slots=True)
class ViewerRecord:
    """What a viewer saw; times are microseconds since 1970 on the machine's one clock.

    :ivar rows: of each mesh its index, ``captured`` by its header, when it arrived, when it was ready with
        its picture, and what the picture's strip shows (0: not legible, or the picture was another one).
    :ivar seconds: how long was watched, after the warm-up.
    :ivar mesh_bytes, bytes: received for meshes (bodies), and of everything on the transport.
    :ivar pictures, skipped, lost: as in `stream.remote.client.watching.viewer.ViewerFigures`.
    """

    rows: list[tuple[int, int, int, int, int]]
    seconds: float
    mesh_bytes: int
    bytes: int
    pictures: int
    skipped: int
    lost: int


def run_viewer(url: str, session: str, warmup: float, seconds: float) -> ViewerRecord:
    """Watch a session with its video and note everything.

    :raises RemoteError: it cannot be watched.
    """
    return run(_viewer(url, session, warmup, seconds))


async def _viewer(url: str, session: str, warmup: float, seconds: float) -> ViewerRecord:
    from stream.remote.client.watching.viewer import RemoteViewer

    await wait_alive(url, session)
    async with RemoteViewer(url, session=session) as viewer:
        await viewer.next_frame()  # the first takes longer: what decodes it is loaded
        await _watch(viewer, warmup)
        begun, before = time.monotonic(), await viewer.traffic()
        rows = await _watch(viewer, seconds)
        figures, after = viewer.figures, await viewer.traffic()
        return ViewerRecord(
            rows,
            time.monotonic() - begun,
            after[0] - before[0],
            after[1] - before[1],
            figures.pictures,
            figures.skipped,
            figures.lost,
        )


async def _watch(viewer: Any, seconds: float) -> list[tuple[int, int, int, int, int]]:
    rows = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            frame = await asyncio.wait_for(viewer.next_frame(), left)
        except TimeoutError:
            break
        if frame is None:
            break
        ready = wall_micros(time.monotonic())
        shown = read_clock(frame.picture) if frame.exact and frame.picture is not None else None
        surface = frame.surface
        rows.append((surface.index, surface.captured, wall_micros(frame.arrived), ready, shown or 0))
    return rows


async def wait_alive(url: str, session: str) -> None:
    """Wait until the session has a face.

    :raises RemoteError: it does not get one.
    """
    end = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/sessions") as response:
                listed = (await response.json())["sessions"]
            if any(entry["name"] == session and entry["faces"] for entry in listed):
                return
            if time.monotonic() > end:
                raise RemoteError("No face came through the server; look at its log.")
            await asyncio.sleep(0.2)
