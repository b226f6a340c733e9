"""A small server that keeps to docs/protocol.md, to test clients without the real one."""

from __future__ import annotations

import asyncio
import re
import time
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiohttp import WSMsgType, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from stream.expression.arkit import ARKIT_NAMES
from stream.protocol.clock import media_time
from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder, SurfaceFrame
from stream.protocol.messages import (
    Clock,
    Hello,
    KeyRequest,
    Ping,
    Pong,
    Report,
    State,
    Subscribe,
    read_message,
    write_message,
)
from stream.protocol.textures import encode_texture
from stream.types import Array, Crop, Face, Intrinsics, Surface

CAMERA = Intrinsics(300.0, 300.0, 159.5, 119.5, 320, 240)
CROP = Crop(165.0, 118.0, 70.0, 0.1)
SIZE = 32
AHEAD = 7_000_000
"""Microseconds by which the fake's clock is ahead of this machine's: a client has to find out."""


def server_micros() -> int:
    return round(time.monotonic() * 1e6) + 10**15 + AHEAD


def face(track: int = 3) -> Face:
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 600.0
    return Face(track, np.empty((0, 3), np.float32), pose, CROP, CAMERA)


def surface(index: int) -> Surface:
    """A dome whose depth at its middle tells the index."""
    y, x = (np.mgrid[0:SIZE, 0:SIZE] * 2 + 1) / SIZE - 1
    square = x**2 + y**2
    depth = (0.5 * square - 0.5 + 0.01 * (index % 20)).astype(np.float32)
    return Surface(depth, (square < 0.64).astype(np.float32))


def picture(index: int, side: tuple[int, int] = (320, 240)) -> Array:
    """A plain picture whose grey tells the index."""
    return np.full((side[1], side[0], 3), level(index), np.uint8)


def level(index: int) -> int:
    return 40 + 8 * (index % 20)


class FakeTrack(VideoStreamTrack):
    """Plays what the server's `tick` puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[tuple[int, Array]] = asyncio.Queue()
        self.sent: int | None = None

    async def recv(self) -> Any:
        ticks, image = await self.frames.get()
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = ticks, Fraction(1, 90_000)
        self.sent = ticks
        return frame


class FakeViewer:
    """What the fake knows of one viewer."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.control: Any = None
        self.mesh: Any = None
        self.socket: web.WebSocketResponse | None = None
        self.track: FakeTrack | None = None
        self.sender: Any = None
        self.told_clock = False
        self.wants = Subscribe()
        self.tasks: set[asyncio.Future[None]] = set()

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def say(self, message: Any) -> None:
        text = write_message(message)
        if self.socket is not None:
            self.spawn(self.socket.send_str(text))
        elif self.control is not None and self.control.readyState == "open":
            self.control.send(text)

    def heard(self, text: str) -> None:
        message = read_message(text)
        self.said.append(message)
        if isinstance(message, Ping):
            self.say(Pong(time=message.time, server=server_micros()))
        elif isinstance(message, Subscribe):
            self.wants = message
            self.say(
                Hello(protocol=1, session="studio", size=SIZE, key_seconds=2.0, expressions=list(ARKIT_NAMES))
            )
            self.say(State(state="live", faces=1, viewers=1))

    def send(self, message: Message) -> None:
        if self.socket is not None:
            self.spawn(self.socket.send_bytes(message.whole))
        elif self.mesh is not None and self.mesh.readyState == "open":
            for datagram in message.datagrams:
                self.mesh.send(datagram)

    def count(self, kind: type) -> int:
        return sum(isinstance(message, kind) for message in self.said)


class FakeServer:
    """One session called studio, at 20 pictures a second; `publishers` are what came to POST /whip.

    :ivar refuse: path's first part to status, for requests to be refused with it.
    :ivar skip_keys: leave out that many mesh messages that are key frames.
    """

    def __init__(self, rate: float = 20.0) -> None:
        self.rate, self.port = rate, 0
        self.viewers: list[FakeViewer] = []
        self.publishers: list[FakePublisher] = []
        self.refuse: dict[str, int] = {}
        self.skip_keys = 0
        self.broken_ice = False
        self.tokens: set[str] | None = None
        self.sent_surfaces: dict[int, Array] = {}
        self.left: list[str] = []
        self._peers: set[RTCPeerConnection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> FakeServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/sessions", self._sessions),
                web.get("/config", self._config),
                web.post("/whep/{session}", self._whep),
                web.post("/whip", self._whip),
                web.delete("/whip/{session}", self._delete),
                web.delete("/whep/{session}/{viewer}", self._delete),
                web.get("/ws/{session}", self._ws),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._encoder, self._sequence, self._index = MeshEncoder(), 0, 0
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def stop(self) -> None:
        self._ticking.cancel()
        for viewer in self.viewers:
            if viewer.socket is not None:
                await viewer.socket.close()
        await asyncio.gather(*(peer.close() for peer in self._peers))
        self._peers.clear()
        self.viewers.clear()
        await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.tokens is not None:
            shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if shown not in self.tokens:
                return web.Response(status=401, text="A token is needed.")
        if status := self.refuse.get(request.path.split("/")[1]):
            return web.Response(status=status, text="No, for a reason.", headers={"Retry-After": "3"})
        return await handler(request)

    async def _sessions(self, request: web.Request) -> web.Response:
        return web.json_response({"sessions": [{"name": "studio", "state": "live"}]})

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"protocol": 1, "ice_servers": [], "publish": True})

    async def _delete(self, request: web.Request) -> web.Response:
        self.left.append(request.path)
        return web.Response()

    async def _answer(self, peer: RTCPeerConnection, request: web.Request, location: str) -> web.Response:
        self._peers.add(peer)
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        if self.broken_ice:
            sdp = re.sub("a=ice-pwd:.*", "a=ice-pwd:" + "0" * 22, sdp)
        headers = {"Location": location, "ETag": '"1"'}
        return web.Response(status=201, text=sdp, content_type="application/sdp", headers=headers)

    async def _whep(self, request: web.Request) -> web.Response:
        if request.match_info["session"] != "studio":
            return web.Response(status=404, text="No such session.")
        peer, viewer = RTCPeerConnection(RTCConfiguration(iceServers=[])), FakeViewer()
        if "m=video" in await request.text():
            viewer.track = FakeTrack()
            viewer.sender = peer.addTrack(viewer.track)

        @peer.on("datachannel")
        def opened(channel: Any) -> None:
            if channel.label == "prosopon.control":
                viewer.control = channel
                channel.on("message", viewer.heard)
            else:
                viewer.mesh = channel

        self.viewers.append(viewer)
        return await self._answer(peer, request, f"/whep/studio/{len(self.viewers)}")

    async def _whip(self, request: web.Request) -> web.Response:
        name = request.query.get("session", "assigned")
        peer, publisher = RTCPeerConnection(RTCConfiguration(iceServers=[])), FakePublisher()

        @peer.on("datachannel")
        def opened(channel: Any) -> None:
            if channel.label == "prosopon.control":
                publisher.control = channel
                channel.on("message", publisher.heard)
            else:
                channel.on("message", publisher.datagram)

        @peer.on("track")
        def track(incoming: Any) -> None:
            publisher.watch(peer.getReceivers()[0], incoming)

        publisher.name = name
        self.publishers.append(publisher)
        return await self._answer(peer, request, f"/whip/{name}")

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("prosopon.v1",))
        await socket.prepare(request)
        viewer = FakeViewer()
        viewer.socket = socket
        self.viewers.append(viewer)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                viewer.heard(message.data)
        return socket

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1 / self.rate)
            self.send_frame()

    def send_frame(self) -> None:
        """Send a mesh, its expression and its picture to all viewers."""
        self._index += 1
        index, captured = self._index, server_micros()
        if any(viewer.count(KeyRequest) for viewer in self.viewers):
            self._encoder.request_key()
        shown = surface(index)
        encoded = self._encoder.encode(self._take(), face(), shown, index, captured)
        self.sent_surfaces[index] = np.where(shown.alpha > 0, shown.depth, np.nan)
        lost = encoded.key and self.skip_keys > 0
        self.skip_keys -= lost
        for viewer in self.viewers:
            if viewer.wants.mesh and not lost:
                viewer.send(Message(Kind.MESH, 0, encoded.sequence, encoded.body))
            if viewer.wants.expression:
                viewer.send(Message(Kind.EXPRESSION, 0, self._take(), expression(index, captured)))
            if viewer.wants.texture:
                viewer.send(Message(Kind.TEXTURE, 0, self._take(), texture(index, captured)))
            if viewer.track is not None:
                self._send_picture(viewer, index, captured)

    def _send_picture(self, viewer: FakeViewer, index: int, captured: int) -> None:
        track, sender = viewer.track, viewer.sender
        assert track is not None
        rtp = sender._RTCRtpSender__rtp_timestamp
        if rtp and track.sent is not None and not viewer.told_clock and track.frames.empty():
            viewer.told_clock = True
            viewer.say(Clock(rtp=(rtp - track.sent) & 0xFFFFFFFF))
        track.frames.put_nowait((media_time(captured), picture(index)))

    def _take(self) -> int:
        self._sequence += 1
        return self._sequence


class FakePublisher:
    """What the fake hears from one publisher of meshes."""

    def __init__(self) -> None:
        self.name = ""
        self.control: Any = None
        self.rtp: int | None = None
        self.surfaces: list[SurfaceFrame] = []
        self.expressions: list[bytes] = []
        self.pictures: list[tuple[int, Array]] = []
        self._decoders: dict[int, Any] = {}
        self._reassembler = Reassembler()
        self._task: asyncio.Task[None] | None = None

    def heard(self, text: str) -> None:
        message = read_message(text)
        if isinstance(message, Ping):
            self.control.send(write_message(Pong(time=message.time, server=server_micros())))
        elif isinstance(message, Clock):
            self.rtp = message.rtp
        assert not isinstance(message, Report)

    def datagram(self, data: bytes) -> None:
        message = self._reassembler.accept(data)
        if message is not None and message.kind is Kind.MESH:
            decoder = self._decoders.setdefault(message.lane, MeshDecoder())
            if (frame := decoder.decode(message.sequence, message.body)) is not None:
                self.surfaces.append(frame)
        elif message is not None:
            self.expressions.append(message.body)

    def watch(self, receiver: Any, track: Any) -> None:
        async def read() -> None:
            while True:
                frame = await track.recv()
                rtp = (frame.pts + receiver._RTCRtpReceiver__timestamp_mapper._origin) & 0xFFFFFFFF
                self.pictures.append((rtp, frame.to_ndarray(format="rgb24")))

        self._task = asyncio.ensure_future(read())


def expression(index: int, captured: int) -> bytes:
    coefficients = np.full(52, (index % 20) / 20, np.float32)
    return encode_expression(ExpressionFrame(index, captured, 3, CAMERA, face().pose, coefficients))


def texture(index: int, captured: int) -> bytes:
    return encode_texture(picture(index), 320, index, captured)
