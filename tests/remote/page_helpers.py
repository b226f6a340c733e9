"""For the page's tests: a browser, a camera that plays a clip, a session that plays prepared messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from aiohttp import WSMsgType, web
from remote.fake_hub import FakeHub
from shared_folder import SHARED

from stream.expression.arkit import ARKIT_NAMES
from stream.mesh.build import surface_of
from stream.protocol import messages
from stream.protocol.clock import wall_micros
from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import MeshEncoder
from stream.sources.sample import SampleSource
from stream.types import Array, Capture, Depth, Face, Surface

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
)

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

SIDE = 96
"""Of the prepared surfaces, pixels."""

CLIP_SIZE = 480, 360
CLIP_SECONDS = 8
CLIP_RATE = 30


def need_browser() -> None:
    """Skip the test where there is no browser to drive."""
    pytest.importorskip("playwright.async_api", reason="install playwright to test the page")
    if not CHROMIUM.exists():
        pytest.skip("no /usr/bin/chromium here; install it with: apt-get install chromium")


@contextlib.asynccontextmanager
async def browser(camera: Path | None = None) -> AsyncIterator[Any]:
    """Chromium; its camera plays the y4m file, where one is given."""
    from playwright.async_api import async_playwright

    file = () if camera is None else (f"--use-file-for-fake-video-capture={camera}",)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS, *file])
        try:
            yield chromium
        finally:
            await chromium.close()


async def probe(page: Any, part: str = "view") -> dict[str, Any]:
    """What `window.prosopon` tells."""
    return await page.evaluate(f"window.prosopon.{part}")


async def until(page: Any, condition: str, seconds: float = 20.0) -> None:
    """Wait until a JavaScript expression over ``view`` and ``send`` is true."""
    script = f"() => {{ const {{view, send}} = window.prosopon; return {condition}; }}"
    await page.wait_for_function(script, timeout=seconds * 1e3, polling=50)


def in_order(frames: list[dict[str, Any]]) -> bool:
    """No picture is shown after a newer one, connection by connection."""
    for connection in {frame["connection"] for frame in frames}:
        indices = [frame["index"] for frame in frames if frame["connection"] == connection]
        if indices != sorted(set(indices)):
            return False
    return True


async def picture(page: Any, path: Path | None = None, of: str = "#stage") -> Array:
    """A screenshot of an element (H, W, 3) uint8 RGB; kept as a file where a path is given."""
    png = await page.locator(of).screenshot()
    if path is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png)
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def skin(image: Array) -> Array:
    """(H, W) bool: pixels of a colour that skin has, bright or dark (in YCrCb; Chai and Ngan, 1999)."""
    _, cr, cb = np.moveaxis(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb), 2, 0)
    return (cr >= 133) & (cr <= 173) & (cb >= 77) & (cb <= 127)


def write_clip(path: Path) -> Path:
    """A y4m file of a real face for Chromium's fake camera: the shared clip, or the sample."""
    clip = None if SHARED is None else SHARED / "data" / "videos" / "single_face.mp4"
    frames = _clip_frames(clip) if clip is not None and clip.exists() else _sample_frames()
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (*CLIP_SIZE, CLIP_RATE))
        for frame, _ in zip(frames, range(CLIP_SECONDS * CLIP_RATE), strict=False):
            picture = av.VideoFrame.from_ndarray(_cropped(frame)).reformat(*CLIP_SIZE, format="yuv420p")
            file.write(b"FRAME\n" + picture.to_ndarray().tobytes())
    return path


def _clip_frames(path: Path) -> Any:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def _sample_frames() -> Any:
    source = SampleSource(size=CLIP_SIZE)
    source.open()
    try:
        while (frame := source.read()) is not None:
            yield frame.image
    finally:
        source.close()


def _cropped(image: Array) -> Array:
    """The middle of a picture, in the clip's shape."""
    height, width = image.shape[:2]
    scale = min(width / CLIP_SIZE[0], height / CLIP_SIZE[1])
    w, h = int(CLIP_SIZE[0] * scale), int(CLIP_SIZE[1] * scale)
    x, y = (width - w) // 2, (height - h) // 2
    return np.ascontiguousarray(image[y : y + h, x : x + w])


@cache
def portrait() -> Capture:
    """A captured face: an astronaut's portrait, as the shipped network sees it."""
    from skimage.data import astronaut

    from stream.still import capture_image

    return capture_image(np.ascontiguousarray(astronaut()))


class PlayedHub(FakeHub):
    """One session, "astronaut", watched by WebSocket: the portrait, again and again, as new pictures.

    :ivar lanes: how many faces there are, all of them the same, side by side.
    :ivar held: no picture comes while it is set.
    :ivar heard: the control messages that viewers sent, by type.
    """

    def __init__(self, lanes: int = 1) -> None:
        super().__init__()
        self.lanes = lanes
        self.held = False
        self.heard: dict[str, list[Any]] = {}
        self._sequence = 0

    def listing(self) -> list[dict[str, Any]]:
        entry = {"state": "live", "faces": self.lanes, "viewers": 1, "fps": 30.0, "seconds": 1.0}
        return [{"name": "astronaut", **entry}]

    async def watch_socket(self, session: str, socket: web.WebSocketResponse) -> None:
        hello = messages.Hello(
            protocol=1, session=session, size=SIDE, key_seconds=2.0, expressions=list(ARKIT_NAMES)
        )
        await socket.send_str(messages.write_message(hello))
        state = messages.State(state="live", faces=self.lanes, viewers=1)
        await socket.send_str(messages.write_message(state))
        playing = asyncio.create_task(self._play(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(socket, messages.read_message(message.data))
        finally:
            playing.cancel()

    async def _hear(self, socket: web.WebSocketResponse, message: messages.AnyMessage) -> None:
        self.heard.setdefault(message.type, []).append(message)
        if isinstance(message, messages.Ping):
            pong = messages.Pong(time=message.time, server=wall_micros(time.monotonic()))
            await socket.send_str(messages.write_message(pong))

    async def _play(self, socket: web.WebSocketResponse) -> None:
        encoders = [MeshEncoder() for _ in range(self.lanes)]
        surface, jpeg = prepared()
        for index in range(1_000_000):
            await asyncio.sleep(1 / 30)
            if self.held:
                continue
            captured = wall_micros(time.monotonic())
            for message in self._frame(index, captured, encoders, surface, jpeg):
                await socket.send_bytes(message.whole)

    def _frame(
        self, index: int, captured: int, encoders: list[MeshEncoder], surface: Surface, jpeg: bytes
    ) -> list[Message]:
        face = portrait().people[0].face
        wants = self.heard.get("subscribe", [messages.Subscribe()])[-1]
        size = face.intrinsics.width, face.intrinsics.height
        sent: list[tuple[Kind, int, bytes]] = []
        if wants.texture:
            head = np.array([index], "<u4").tobytes() + np.array([captured], "<u8").tobytes()
            sent.append((Kind.TEXTURE, 0, head + np.array(size, "<u2").tobytes() + jpeg))
        for lane, encoder in enumerate(encoders):
            moved = beside(face, lane)
            if wants.mesh:
                encoded = encoder.encode(self._sequence + len(sent) + 1, moved, surface, index, captured)
                sent.append((Kind.MESH, lane, encoded.body))
            if wants.expression:
                sent.append((Kind.EXPRESSION, lane, encode_expression(grimace(moved, index, captured))))
        start, self._sequence = self._sequence, self._sequence + len(sent)
        return [Message(kind, lane, start + n + 1, body) for n, (kind, lane, body) in enumerate(sent)]


@cache
def prepared() -> tuple[Surface, bytes]:
    """The portrait's surface, `SIDE` pixels wide, and its picture as JPEG."""
    depth = portrait().people[0].depth
    assert depth is not None
    shrunk = [
        cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for each in (depth.map, depth.mask)
    ]
    bgr = cv2.cvtColor(portrait().frame.image, cv2.COLOR_RGB2BGR)
    return surface_of(Depth(*shrunk)), cv2.imencode(".jpg", bgr)[1].tobytes()


def beside(face: Face, lane: int) -> Face:
    """The face again, further to the right: the camera's middle moves, the picture's part does not."""
    pose = face.pose.copy()
    pose[0, 3] += 170.0 * lane
    camera = face.intrinsics
    shift = 170.0 * lane / pose[2, 3] * camera.fx
    return replace(face, pose=pose, intrinsics=replace(camera, cx=camera.cx - shift))


def grimace(face: Face, index: int, captured: int) -> ExpressionFrame:
    """The jaw opens and closes once a second."""
    coefficients = np.zeros(len(ARKIT_NAMES), np.float32)
    coefficients[ARKIT_NAMES.index("jawOpen")] = 0.5 - 0.5 * np.cos(index * 2 * np.pi / 30)
    return ExpressionFrame(index, captured, 1, face.intrinsics, face.pose, coefficients)


def rig(path: Path) -> Path:
    """A GLB of a red egg whose morph target ``jawOpen`` stretches it downwards."""
    import trimesh

    egg = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    moved = np.where(egg.vertices[:, 1:2] < 0, [[0.0, -0.05, 0.0]], 0.0).astype("<f4")
    parts = [egg.vertices.astype("<f4"), moved, egg.faces.astype("<u4").ravel()]
    blob = b"".join(part.tobytes() for part in parts)
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    at = 0
    for part, kind, number in zip(parts, ("VEC3", "VEC3", "SCALAR"), (5126, 5126, 5125), strict=True):
        views.append({"buffer": 0, "byteOffset": at, "byteLength": part.nbytes})
        accessor = {"bufferView": len(accessors), "componentType": number, "count": len(part), "type": kind}
        limits = {"min": part.min(0).tolist(), "max": part.max(0).tolist()} if kind == "VEC3" else {}
        accessors.append({**accessor, **limits})
        at += part.nbytes
    red = {"pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.1, 0.1, 1.0], "metallicFactor": 0.0}}
    primitive = {"attributes": {"POSITION": 0}, "indices": 2, "material": 0, "targets": [{"POSITION": 1}]}
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive], "extras": {"targetNames": ["jawOpen"]}}],
        "materials": [red],
        "buffers": [{"byteLength": len(blob)}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    )
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
    return path
