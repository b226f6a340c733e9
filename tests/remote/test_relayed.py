"""A publisher's messages as a source: put together, bounded, never trusted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from remote.session_helpers import a_surface

from stream.pipeline.metrics import Metrics, Totals
from stream.protocol.clock import monotonic_of, wall_micros
from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import MeshEncoder
from stream.remote.blank import GREY
from stream.remote.server.sessions import lanes, relayed
from stream.remote.server.sessions.relayed import RELAY, TOGETHER, RelayedSource
from stream.remote.server.sessions.sinks import TextureSink
from stream.remote.transport.incoming import DecodedPicture
from stream.types import Array, Capture

ALL = {"face", "surface", "expression"}


class FakeVideo:
    """What the source needs of a received track; pictures are there at once."""

    def __init__(self) -> None:
        self.news = threading.Condition()
        self.dropped = 0
        self.over = False
        self.pictures: deque[DecodedPicture] = deque()

    @property
    def waits(self) -> bool:
        return bool(self.pictures)

    def rest(self, seconds: float | None = None) -> None:
        self.news.wait(seconds)

    def newest(self) -> DecodedPicture | None:
        return self.pictures.popleft() if self.pictures else None

    def show(self, captured: float, level: int = 90) -> None:
        with self.news:
            image = np.full((24, 32, 3), level, np.uint8)
            self.pictures.append(DecodedPicture(image, 0, captured, captured, 0))
            self.news.notify_all()

    def interrupt(self) -> None:
        with self.news:
            self.over = True
            self.news.notify_all()


class Publisher:
    """Encodes and hands over what a publisher would send."""

    def __init__(self) -> None:
        self.video, self.metrics, self.asked = FakeVideo(), Metrics(), list[float]()
        video: Any = self.video
        self.source = RelayedSource(video, self.metrics, lambda: self.asked.append(time.monotonic()))
        self.encoders: dict[int, MeshEncoder] = {}
        self.sequence = 0

    def mesh(self, captured: int, lane: int = 0, bump: float = 0.4) -> Message:
        face, surface = a_surface(bump)
        self.sequence += 1
        encoder = self.encoders.setdefault(lane, MeshEncoder(11, 60.0))
        encoded = encoder.encode(self.sequence, face, surface, 7, captured)
        return Message(Kind.MESH, lane, encoded.sequence, encoded.body)

    def expression(self, captured: int, lane: int = 0, value: float = 0.5) -> Message:
        face, _ = a_surface()
        self.sequence += 1
        values = np.full(52, value, np.float32)
        frame = ExpressionFrame(7, captured, face.track_id, face.intrinsics, face.pose, values)
        return Message(Kind.EXPRESSION, lane, self.sequence, encode_expression(frame))

    def send(self, *messages: Message) -> None:
        for message in messages:
            for datagram in message.datagrams:
                self.source.datagram(datagram)

    async def read(self) -> Capture | None:
        async with asyncio.timeout(10):
            return await asyncio.to_thread(self.source.read)

    @property
    def totals(self) -> Totals:
        return self.metrics.totals()[0][RELAY]


def with_publisher(test: Callable[[Publisher], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def play() -> None:
            publisher = Publisher()
            try:
                await test(publisher)
            finally:
                publisher.source.interrupt()

        asyncio.run(play())

    run.__name__ = test.__name__
    return run


def now() -> int:
    return wall_micros(time.monotonic())


@with_publisher
async def test_what_belongs_to_one_picture_is_one_capture(publisher: Publisher) -> None:
    first = now()
    publisher.send(publisher.mesh(first))
    alone = await publisher.read()
    assert alone is not None
    assert alone.people[0].expression is None
    publisher.send(publisher.expression(first))
    late = await publisher.read()  # nobody knew yet that expressions come
    assert late is not None
    assert (late.people[0].surface, late.frame.captured) == (None, alone.frame.captured)
    second = now()
    publisher.send(publisher.mesh(second, bump=0.3), publisher.expression(second, value=0.25))
    both = await publisher.read()
    assert both is not None
    (person,) = both.people
    face, surface = a_surface(0.3)
    assert person.surface is not None
    assert person.expression is not None
    solid = surface.alpha > 0
    np.testing.assert_allclose(person.surface.depth[solid], surface.depth[solid], atol=2.5 / 2**11)
    np.testing.assert_allclose(person.expression.coefficients, 0.25, atol=1e-4)
    assert (person.track_id, person.face.intrinsics) == (face.track_id, face.intrinsics)
    assert both.known == ALL
    assert wall_micros(both.frame.captured) == second
    assert [alone.frame.index, late.frame.index, both.frame.index] == [0, 0, 1]
    assert (publisher.totals.count, publisher.totals.drops, publisher.totals.errors) == (4, 0, 0)


@with_publisher
async def test_nobody_waits_long_for_a_face_and_who_is_not_told_of_keeps_its_place(
    publisher: Publisher,
) -> None:
    captured = now()
    publisher.send(publisher.mesh(captured, lane=0), publisher.mesh(captured, lane=1))
    while (capture := await publisher.read()) is not None and len(capture.people) < 2:
        pass
    begun = time.monotonic()
    publisher.send(publisher.mesh(captured + 33_000, lane=1))
    capture = await publisher.read()
    assert capture is not None
    assert time.monotonic() - begun < TOGETHER + 0.1
    assert [person.surface is None for person in capture.people] == [True, False]
    publisher.send(publisher.mesh(captured + 66_000, lane=0), publisher.mesh(captured + 66_000, lane=1))
    capture = await publisher.read()
    assert capture is not None
    assert all(person.surface is not None for person in capture.people)


@with_publisher
async def test_the_next_picture_ends_the_wait(publisher: Publisher) -> None:
    captured = now()
    publisher.send(publisher.mesh(captured), publisher.expression(captured))
    for _ in range(2):  # both kinds are waited for from now on
        await publisher.read()
    begun = time.monotonic()
    publisher.send(publisher.mesh(captured + 33_000), publisher.mesh(captured + 66_000))
    seen: list[int] = []
    while not seen or seen[-1] != captured + 66_000:
        capture = await publisher.read()
        assert capture is not None
        seen.append(wall_micros(capture.frame.captured))
    assert seen == sorted(seen)
    assert time.monotonic() - begun < 1


@with_publisher
async def test_pictures_come_at_their_own_rate(publisher: Publisher) -> None:
    captured = time.monotonic()
    publisher.video.show(captured, 80)
    picture = await publisher.read()
    assert picture is not None
    assert (picture.known, picture.people, picture.frame.fresh) == (frozenset(), (), True)
    assert picture.frame.image[0, 0, 0] == 80
    publisher.send(publisher.mesh(wall_micros(captured)))
    people = await publisher.read()
    assert people is not None
    assert people.frame.image is picture.frame.image
    publisher.send(publisher.mesh(wall_micros(captured) + 33_000))
    ahead = await publisher.read()  # its picture takes longer
    assert ahead is not None
    assert np.unique(ahead.frame.image).tolist() == [GREY]
    assert ahead.frame.image.shape == (48, 64, 3)
    assert [one.frame.fresh for one in (people, ahead)] == [False, False]
    publisher.video.dropped = 5
    publisher.video.show(captured + 0.066)
    last = await publisher.read()
    assert last is not None
    assert publisher.metrics.totals()[0]["source"].drops == 5
    publisher.video.show(captured + 0.033)
    late = await publisher.read()
    assert late is not None
    indices = [one.frame.index for one in (picture, people, ahead, last, late)]
    assert indices == [0, 0, 1, 2, 1], "a picture and its people have one"

    offered: list[Array] = []

    class Video:
        def offer(self, image: Array, captured_micros: int) -> None:
            offered.append(image)

    class NoBroadcast:
        def send_picture(self, *_: Any) -> None: ...

    broadcast: Any = NoBroadcast()
    sink = TextureSink(broadcast, Video())
    for capture in (picture, people, ahead, last):
        sink(capture)
    assert [id(image) for image in offered] == [id(one.frame.image) for one in (picture, last)]


def test_faces_that_no_longer_come_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANE_SECONDS", 0.05)
    monkeypatch.setattr(relayed, "LANE_SECONDS", 0.05)

    @with_publisher
    async def play(publisher: Publisher) -> None:
        publisher.send(publisher.mesh(now()))
        assert await publisher.read() is not None
        gone = await publisher.read()
        assert gone is not None
        assert (gone.people, "face" in gone.known) == ((), True)
        waiting = asyncio.create_task(publisher.read())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        publisher.source.interrupt()
        assert await waiting is None

    play()


@with_publisher
async def test_what_is_damaged_is_counted_and_left_out(publisher: Publisher) -> None:
    for damaged in (b"", b"\x09" * 40, "text"):
        publisher.source.datagram(damaged)
    assert publisher.totals.errors == 3
    publisher.sequence = 5
    publisher.send(Message(Kind.MESH, 0, 1, b"\0" * 500), Message(Kind.EXPRESSION, 1, 2, b"\0" * 10))
    reading = asyncio.create_task(publisher.read())
    while publisher.totals.errors < 5:
        await asyncio.sleep(0.01)
    publisher.send(publisher.mesh(now()))
    capture = await reading
    assert capture is not None
    assert len(capture.people) == 1


@with_publisher
async def test_of_what_waits_the_newest_of_each_lane_wins(publisher: Publisher) -> None:
    captured = now()
    for number in range(6):
        publisher.encoders.clear()  # key frames all
        publisher.send(publisher.mesh(captured + 33_000 * number), publisher.expression(captured))
    capture = await publisher.read()
    assert capture is not None
    assert publisher.totals.drops == 10
    times = {wall_micros(capture.frame.captured)}
    if (second := await publisher.read()) is not None:
        times.add(wall_micros(second.frame.captured))
    assert times == {captured, captured + 165_000}


@with_publisher
async def test_a_missing_key_frame_is_asked_for_but_not_all_the_time(publisher: Publisher) -> None:
    captured = now()
    publisher.mesh(captured)  # was lost
    for number in range(1, 20):
        publisher.send(publisher.mesh(captured + number))
    assert len(publisher.asked) == 1
    assert publisher.totals.drops == 19


@with_publisher
async def test_times_that_cannot_be_are_not_believed(publisher: Publisher) -> None:
    for captured in (0, 1_000_000, 2**64 - 1, now() + 10_000_000, now() - 120_000_000):
        publisher.encoders.clear()
        publisher.send(publisher.mesh(captured))
        capture = await publisher.read()
        assert capture is not None
        assert abs(time.monotonic() - capture.frame.captured) < 1
    ahead = now() + 5000
    publisher.encoders.clear()
    publisher.send(publisher.mesh(ahead))
    capture = await publisher.read()
    assert capture is not None
    assert capture.frame.captured == monotonic_of(ahead)


@with_publisher
async def test_a_mistake_of_ours_is_counted_and_does_not_end_the_session(publisher: Publisher) -> None:
    publisher.send(publisher.mesh(now()))
    publisher.source._lanes.decode = None  # type: ignore[assignment, method-assign]
    reading = asyncio.create_task(publisher.read())
    while publisher.totals.errors < 1:
        await asyncio.sleep(0.01)
    del publisher.source._lanes.decode
    publisher.encoders.clear()
    publisher.send(publisher.mesh(now()))
    assert await reading is not None
