"""Publishers and viewers on the loopback, and models that find a face in every picture at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from remote.rtc_pair import Client

from stream.expression.arkit import ARKIT_NAMES
from stream.pipeline.metrics import Metrics
from stream.pipeline.slot import Policy
from stream.pipeline.source import Source
from stream.pipeline.stage import Sink
from stream.protocol.clock import wall_micros
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder, SurfaceFrame
from stream.protocol.messages import CONTROL, MESH, AnyMessage, read_message, write_message
from stream.recipes import CaptureSettings
from stream.remote.server.sessions.hub import SessionHub
from stream.remote.server.sessions.models import SharedModels
from stream.remote.settings import IceSettings, SendSettings, ServeSettings
from stream.remote.transport.video import SharedVideo
from stream.session import Session
from stream.types import Capture, Crop, Expression, Face, Frame, Intrinsics, Person, Surface

SIZE = 32
PATIENCE = 15.0


def settings(**values: Any) -> ServeSettings:
    return ServeSettings(send=SendSettings(size=SIZE), ice=IceSettings(), **values)


def a_surface(bump: float = 0.4) -> tuple[Face, Surface]:
    y, x = (np.mgrid[0:SIZE, 0:SIZE] * 2 + 1) / SIZE - 1
    square = x**2 + y**2
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 640
    face = Face(
        3,
        np.zeros((478, 3), np.float32),
        pose,
        Crop(32.0, 24.0, 20.0, 0.1),
        Intrinsics(620.0, 620.0, 31.5, 23.5, 64, 48),
    )
    return face, Surface((bump * square).astype(np.float32), (square < 0.64).astype(np.float32))


class Finder:
    """Finds the same face in every picture of another source, which it stands for.

    :param fail: it cannot be opened.
    """

    gives: tuple[str, ...] = ("face", "surface", "expression")

    def __init__(self, source: Source, fail: bool = False) -> None:
        self.name, self.rate, self.paced = source.name, source.rate, source.paced
        self.interrupt, self.close = source.interrupt, source.close
        self._source, self._fail = source, fail

    def open(self) -> None:
        if self._fail:
            raise RuntimeError("this source cannot open")
        self._source.open()

    def read(self) -> Capture | None:
        frame = self._source.read()
        if frame is None:
            return None
        assert isinstance(frame, Frame)
        return Capture(frame).adding(self.gives, [self.person(frame)])

    def person(self, frame: Frame) -> Person:
        face, surface = a_surface(0.3 + 0.1 * float(np.sin(frame.index)))
        return Person(
            face, surface=surface, expression=Expression(np.full(len(ARKIT_NAMES), 0.5, np.float32))
        )


class FakeModels(SharedModels):
    """Nothing to load; sessions of cameras whose number is in ``failing`` cannot open."""

    def __init__(self, *failing: int) -> None:
        super().__init__(CaptureSettings(), SIZE, 1)
        self.loaded = False
        self.given = 0
        self._failing = failing

    def load(self) -> None:
        self.loaded = True

    def session(
        self,
        source: Source,
        sinks: Sequence[Sink],
        metrics: Metrics | None = None,
        frames: int | None = None,
        policy: Policy | None = None,
    ) -> Session:
        if not hasattr(source, "gives"):
            self.given += 1
            source = self.finder(source, self.given - 1 in self._failing)
        return super().session(source, sinks, metrics, frames, policy)

    def finder(self, source: Source, fail: bool) -> Source:
        return Finder(source, fail)

    def close(self) -> None:
        self.loaded = False


class Camera:
    """Publishes pictures of one grey, 30 a second, until it is closed.

    :ivar pictures: what it shows, over and over.
    """

    def __init__(self) -> None:
        self.pictures = [np.full((48, 64, 3), 120, np.uint8)]
        self.client = Client()
        self._video = SharedVideo(160, 300)
        self.client.sends(self._video)  # before any channel: a bundle begins with its first part
        self._playing: asyncio.Task[None] | None = None
        self.key = ""

    async def publish(self, hub: SessionHub, name: str | None = None) -> str:
        published = await hub.publish(await self.client.offer(), name)
        self.key = published.key
        await self.client.take(published.answer)
        self._playing = asyncio.create_task(self._play())
        return published.session

    async def _play(self) -> None:
        for image in itertools.cycle(self.pictures):
            self._video.offer(image, wall_micros(time.monotonic()))
            await asyncio.sleep(1 / 30)

    def pause(self) -> None:
        if self._playing is not None:
            self._playing.cancel()

    async def close(self) -> None:
        self.pause()
        self._video.close()
        await self.client.close()


class MeshPublisher(Camera):
    """Sends the video, and meshes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.control = self.client.channel(CONTROL)
        self.mesh = self.client.rtc.createDataChannel(MESH, ordered=False, maxRetransmits=0)
        self.encoder = MeshEncoder(11, 60.0)
        self.told: list[AnyMessage] = []
        self.control.on("message", lambda text: self.told.append(read_message(text)))
        self.sequence = 0

    def send(self, captured: int, bump: float = 0.4) -> None:
        face, surface = a_surface(bump)
        self.sequence += 1
        message = self.encoder.encode(self.sequence, face, surface, self.sequence, captured)
        self.send_message(Message(Kind.MESH, 0, message.sequence, message.body))

    def send_message(self, message: Message) -> None:
        for datagram in message.datagrams:
            self.mesh.send(datagram)


class Watcher:
    """A viewer by WebRTC that decodes what it gets."""

    def __init__(self, channels: bool = True) -> None:
        self.client = Client()
        self.told: list[AnyMessage] = []
        self.frames: list[SurfaceFrame] = []
        self.messages: list[Message] = []
        self.name = ""
        self._news = asyncio.Event()
        self._reassembler, self._decoder = Reassembler(), MeshDecoder()
        self.client.receives()
        if channels:
            self.control = self.client.channel(CONTROL)
            self.mesh = self.client.rtc.createDataChannel(MESH, ordered=False, maxRetransmits=0)
            self.control.on("message", self._hear)
            self.mesh.on("message", self._take)

    async def watch(self, hub: SessionHub, session: str) -> None:
        watched = await hub.watch(session, await self.client.offer())
        self.name = watched.key
        await self.client.take(watched.answer)

    def say(self, message: AnyMessage) -> None:
        self.control.send(write_message(message))

    def _hear(self, text: str) -> None:
        self.told.append(read_message(text))
        self._news.set()

    def _take(self, datagram: bytes) -> None:
        message = self._reassembler.accept(datagram)
        if message is None:
            return
        self.messages.append(message)
        if message.kind is Kind.MESH and (frame := self._decoder.decode(message.sequence, message.body)):
            self.frames.append(frame)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        await self.client.close()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)
