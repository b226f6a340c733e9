"""One viewer: what it is sent and told, and what it may not do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from stream.errors import RemoteError
from stream.pipeline.metrics import Metrics
from stream.protocol.clock import wall_micros
from stream.protocol.fragments import Kind, Message
from stream.protocol.messages import KeyRequest, Ping, Pong, State, Subscribe, read_message, write_message
from stream.remote.server.sessions import viewer as viewer_module
from stream.remote.server.sessions.adapt import LEVELS
from stream.remote.server.sessions.control import RATE
from stream.remote.server.sessions.mailbox import Packet, Tier
from stream.remote.server.sessions.viewer import SEND, Viewer, Wants


class FakeLink:
    """Takes messages while it is `open`; `ready` waits for that."""

    transport = "none"
    on_closed: Callable[[], None]

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.messages: list[Message] = []
        self.texts: list[Any] = []
        self.change = asyncio.Event()
        self.broken = False

    async def ready(self) -> None:
        await self.open.wait()

    async def send(self, message: Message) -> None:
        if self.broken:
            raise RemoteError("gone")
        self.messages.append(message)
        self.change.set()

    def tell(self, text: str) -> bool:
        self.texts.append(read_message(text))
        self.change.set()
        return not self.broken

    async def close(self) -> None: ...

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.change.clear()
                await self.change.wait()

    @property
    def numbers(self) -> list[int]:
        return [message.sequence for message in self.messages]


class Scene:
    """A viewer that runs, its link, and the key frames it asked for."""

    def __init__(self) -> None:
        self.link, self.metrics, self.keys = FakeLink(), Metrics(), list[Tier]()
        self.viewer = Viewer("v", "s", self.link, self.metrics, self.keys.append, textures=True)
        self.running = asyncio.create_task(self.viewer.run())

    async def end(self) -> None:
        self.viewer.end()
        async with asyncio.timeout(5):
            await self.running


def mesh(sequence: int, reference: int = 0, tier: Tier = Tier.FULL) -> Packet:
    return Packet(Message(Kind.MESH, 0, sequence, b"x"), tier, reference, wall_micros(time.monotonic()))


def on_scene(test: Callable[[Scene], Any]) -> Callable[[], None]:
    def run() -> None:
        async def play() -> None:
            scene = Scene()
            await test(scene)
            await scene.end()

        asyncio.run(play())

    run.__name__ = test.__name__
    return run


@on_scene
async def test_meshes_go_out_once_there_is_a_way(scene: Scene) -> None:
    assert scene.viewer.wants == Wants()
    scene.viewer.heard(write_message(Subscribe(expression=True)))
    assert scene.viewer.wants == Wants()
    scene.viewer.begin()
    assert scene.viewer.wants == Wants(Tier.FULL, expression=True)
    assert scene.keys == [Tier.FULL]
    scene.viewer.offer([mesh(1), mesh(2, 1, Tier.COARSE), Packet(Message(Kind.TEXTURE, 0, 3, b"x"))])
    await scene.link.until(lambda: len(scene.link.messages) == 1)
    assert scene.link.numbers == [1]
    assert scene.metrics.totals()[0][SEND].count == 1
    assert scene.metrics.totals()[1][SEND].count == 1  # its latency


@on_scene
async def test_a_blocked_link_gets_the_newest_afterwards_and_drops_are_counted(scene: Scene) -> None:
    scene.viewer.begin()
    scene.link.open.clear()
    scene.viewer.offer([mesh(1)])
    await asyncio.sleep(0)
    for sequence in range(2, 12):
        scene.viewer.offer([mesh(sequence)])
        await asyncio.sleep(0)
    scene.link.open.set()
    await scene.link.until(lambda: bool(scene.link.messages))
    assert scene.link.numbers == [11]
    assert scene.metrics.totals()[0][SEND].drops == 10


@on_scene
async def test_a_delta_whose_key_frame_was_not_sent_makes_it_ask(scene: Scene) -> None:
    scene.viewer.begin()
    scene.keys.clear()
    scene.viewer.offer([mesh(5, 4)])
    assert scene.keys == [Tier.FULL]
    scene.viewer.offer([mesh(6)])
    scene.viewer.offer([mesh(7, 6)])
    await scene.link.until(lambda: len(scene.link.messages) == 2)
    assert scene.link.numbers == [6, 7]


def test_one_that_falls_behind_gets_a_lower_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    async def play() -> None:
        nonlocal now
        monkeypatch.setattr(viewer_module, "time", SimpleNamespace(monotonic=lambda: now))
        scene = Scene()
        scene.viewer.begin()
        scene.link.open.clear()
        for sequence in range(1, 120):
            now += 1 / 30
            scene.viewer.offer([mesh(sequence, tier=scene.viewer.wants.mesh or Tier.FULL)])
        assert scene.viewer.wants.mesh is LEVELS[-1].tier is Tier.HALF
        assert scene.keys == [Tier.FULL, Tier.COARSE, Tier.HALF]
        await scene.end()

    asyncio.run(play())


def test_a_server_that_is_behind_sends_less(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0

    async def play() -> None:
        nonlocal now
        monkeypatch.setattr(viewer_module, "time", SimpleNamespace(monotonic=lambda: now))
        scene = Scene()
        scene.viewer.begin()
        for sequence in range(1, 30):
            now += 1 / 30
            scene.viewer.offer([mesh(sequence, tier=scene.viewer.wants.mesh or Tier.FULL)], late=True)
            for _ in range(5):  # it is sent at once, unless the tier has changed
                await asyncio.sleep(0)
        assert scene.viewer.wants.mesh is Tier.COARSE
        assert scene.metrics.totals()[0][SEND].drops == 0
        await scene.end()

    asyncio.run(play())


@on_scene
async def test_it_says_what_it_wants(scene: Scene) -> None:
    scene.viewer.begin()
    scene.viewer.heard(write_message(Subscribe(mesh=False, expression=True, texture=True)))
    assert scene.viewer.wants == Wants(None, expression=True, texture=True)
    scene.viewer.offer([mesh(1), Packet(Message(Kind.EXPRESSION, 0, 2, b"x"))])
    await scene.link.until(lambda: bool(scene.link.messages))
    assert scene.link.numbers == [2]
    scene.viewer.heard(write_message(Subscribe()))
    assert scene.viewer.wants == Wants(Tier.FULL)
    assert scene.keys == [Tier.FULL, Tier.FULL]


@on_scene
async def test_its_questions_are_answered(scene: Scene) -> None:
    scene.viewer.heard(write_message(Ping(time=4.0)))
    scene.viewer.heard("nonsense")
    scene.viewer.heard(write_message(KeyRequest()))  # of what? it gets no meshes yet
    scene.viewer.begin()
    scene.viewer.heard(write_message(KeyRequest()))
    scene.viewer.tell(State(state="live", faces=1, viewers=2))
    await scene.link.until(lambda: len(scene.link.texts) == 2)
    pong, state = scene.link.texts
    assert isinstance(pong, Pong)
    assert pong.time == 4.0
    assert state == State(state="live", faces=1, viewers=2)
    assert scene.keys == [Tier.FULL, Tier.FULL]


@on_scene
async def test_a_flood_of_messages_ends_it(scene: Scene) -> None:
    for _ in range(RATE + 1):
        scene.viewer.heard(write_message(KeyRequest()))
    async with asyncio.timeout(5):
        await scene.running
    assert scene.viewer.fault == "The viewer sends too many control messages."


@on_scene
async def test_one_that_takes_no_messages_is_let_go(scene: Scene) -> None:
    scene.link.broken = True
    scene.viewer.tell(State(state="live", faces=1, viewers=0))
    async with asyncio.timeout(5):
        await scene.running
    assert scene.viewer.fault == "The viewer does not take its control messages."


@on_scene
async def test_the_last_words_are_said(scene: Scene) -> None:
    over = State(state="ended", faces=0, viewers=0)
    scene.viewer.tell(over)
    await scene.end()
    assert scene.link.texts == [over]
    assert scene.viewer.fault is None


@on_scene
async def test_a_link_that_breaks_ends_it(scene: Scene) -> None:
    scene.viewer.begin()
    scene.link.broken = True
    scene.viewer.offer([mesh(1)])
    async with asyncio.timeout(5):
        await scene.running
    assert scene.viewer.wants == Wants()


def test_a_link_that_takes_nothing_for_long_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer_module, "STALL_SECONDS", 0.05)

    async def play() -> None:
        scene = Scene()
        scene.viewer.begin()
        scene.link.open.clear()
        scene.viewer.offer([mesh(1)])
        async with asyncio.timeout(5):
            await scene.running

    asyncio.run(play())
