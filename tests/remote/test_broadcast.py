"""A session's captures, encoded once for all who want them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from stream.errors import InputError
from stream.expression.arkit import ARKIT_NAMES
from stream.protocol.clock import wall_micros
from stream.protocol.expression_codec import decode_expression
from stream.protocol.fragments import MAX_BODY, Kind
from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder
from stream.protocol.textures import HEADER, encode_texture
from stream.remote.server.sessions import broadcast as broadcast_module
from stream.remote.server.sessions.broadcast import KEY_PAUSE, LATE_SECONDS, UNDELIVERED, Broadcast
from stream.remote.server.sessions.mailbox import Packet, Tier
from stream.remote.server.sessions.viewer import Wants
from stream.remote.settings import SendSettings
from stream.types import Capture, Crop, Expression, Face, Frame, Intrinsics, Person, Surface

SIZE = 32


class Listener:
    def __init__(self, wants: Wants) -> None:
        self.wants = wants
        self.packets: list[Packet] = []
        self.late = False

    def offer(self, packets: Sequence[Packet], late: bool) -> None:
        self.late = late
        self.packets += [packet for packet in packets if self.wants.includes(packet)]


def a_capture(index: int, faces: int = 1, shape: tuple[int, int] = (48, 64)) -> Capture:
    y, x = (np.mgrid[0:SIZE, 0:SIZE] * 2 + 1) / SIZE - 1
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 640
    camera = Intrinsics(620.0, 620.0, 31.5, 23.5, 64, 48)
    surface = Surface(
        ((0.4 + 0.01 * index) * (x**2 + y**2)).astype(np.float32), (x**2 + y**2 < 0.64).astype(np.float32)
    )
    face = Face(3, np.zeros((478, 3), np.float32), pose, Crop(32.0, 24.0, 20.0, 0.1), camera)
    expression = Expression(np.full(len(ARKIT_NAMES), 0.25, np.float32))
    frame = Frame(np.full((*shape, 3), 90, np.uint8), 100 + index / 30, index, "test")
    person = Person(face, surface=surface, expression=expression)
    return Capture(frame).adding(("face", "surface", "expression"), (person,) * faces)


def on_thread(function: Callable[..., Any], *args: Any) -> Any:
    return asyncio.to_thread(function, *args)


async def played(wants: list[Wants], captures: list[Capture]) -> list[Listener]:
    """Who got what of these captures."""
    broadcast = Broadcast(SendSettings(size=SIZE))
    listeners = [Listener(want) for want in wants]
    for listener in listeners:
        broadcast.join(listener)
    for capture in captures:
        await on_thread(broadcast.send_capture, capture)
        await on_thread(broadcast.send_picture, capture.frame.image, capture.frame.index, 5)
    return listeners


def decoded(packets: list[Packet]) -> list[Any]:
    decoder = MeshDecoder()
    return [decoder.decode(packet.message.sequence, packet.message.body) for packet in packets]


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often which number of bits was encoded."""
    counted: Counter[int] = Counter()
    encode = MeshEncoder.encode

    def counting(self: MeshEncoder, *args: Any) -> Any:
        counted[self._precision.bits] += 1
        return encode(self, *args)

    monkeypatch.setattr(MeshEncoder, "encode", counting)
    return counted


def test_each_tier_in_use_is_encoded_once_for_all(encodings: Counter[int]) -> None:
    full, coarse = Wants(Tier.FULL), Wants(Tier.COARSE)
    listeners = asyncio.run(played([full, full, full, coarse], [a_capture(index) for index in range(3)]))
    assert encodings == {11: 3, 10: 3}
    assert [len(listener.packets) for listener in listeners] == [3, 3, 3, 3]
    assert listeners[0].packets[0] is listeners[2].packets[0]
    numbers = [packet.message.sequence for packet in (*listeners[0].packets, *listeners[3].packets)]
    assert len(set(numbers)) == 6


def test_nothing_is_encoded_for_nobody(encodings: Counter[int]) -> None:
    (listener,) = asyncio.run(played([Wants()], [a_capture(0)]))
    assert not encodings
    assert not listener.packets


def test_a_viewer_gets_the_surface_the_face_and_the_time() -> None:
    capture = a_capture(7, faces=2)
    (listener,) = asyncio.run(played([Wants(Tier.FULL)], [capture]))
    assert [packet.place for packet in listener.packets] == [(Kind.MESH, 0), (Kind.MESH, 1)]
    (frame,) = decoded(listener.packets[:1])
    assert (frame.index, frame.captured, frame.track) == (7, wall_micros(capture.frame.captured), 3)
    surface = capture.people[0].surface
    assert surface is not None
    solid = surface.alpha > 0
    assert (np.isfinite(frame.depth) == solid).all()
    np.testing.assert_allclose(frame.depth[solid], surface.depth[solid], atol=1.25 / 2**10)


def test_the_lowest_tier_has_half_the_size() -> None:
    (listener,) = asyncio.run(played([Wants(Tier.HALF)], [a_capture(0)]))
    (frame,) = decoded(listener.packets)
    assert frame.depth.shape == (SIZE // 2, SIZE // 2)


def test_only_who_looked_knows_how_many_faces_there_are() -> None:
    async def run() -> list[tuple[int, int]]:
        broadcast, counted = Broadcast(SendSettings(size=SIZE)), []
        looked, not_looked = a_capture(0, faces=2), Capture(a_capture(1).frame)
        nobody = not_looked.adding("face", ())
        for capture in (looked, not_looked, nobody, looked):  # the last is of an earlier moment
            await on_thread(broadcast.send_capture, capture)
            counted.append((broadcast.faces, broadcast.captures))
        return counted

    assert asyncio.run(run()) == [(2, 1), (2, 2), (0, 2), (2, 2)]


def test_a_person_of_whom_less_is_known_keeps_its_lane() -> None:
    capture = a_capture(3, faces=3)
    first, second, third = capture.people
    people = (replace(first, surface=None), second, replace(third, expression=None))
    (listener,) = asyncio.run(played([Wants(Tier.FULL, expression=True)], [replace(capture, people=people)]))
    assert [packet.place for packet in listener.packets] == [
        (Kind.MESH, 1),
        (Kind.MESH, 2),
        (Kind.EXPRESSION, 0),
        (Kind.EXPRESSION, 1),
    ]


def test_expressions_go_to_those_who_want_them() -> None:
    capture = a_capture(2, faces=2)
    both, mesh = asyncio.run(played([Wants(Tier.FULL, expression=True), Wants(Tier.FULL)], [capture]))
    assert [packet.place for packet in both.packets if packet.message.kind is Kind.EXPRESSION] == [
        (Kind.EXPRESSION, 0),
        (Kind.EXPRESSION, 1),
    ]
    assert len(mesh.packets) == 2
    frame = decode_expression(both.packets[-1].message.body)
    assert (frame.index, frame.track) == (2, 3)
    np.testing.assert_allclose(frame.coefficients, 0.25, atol=1e-4)


def test_pictures_go_as_jpegs_to_those_who_want_them() -> None:
    capture = a_capture(4, shape=(600, 1280))
    listener, none = asyncio.run(played([Wants(texture=True), Wants(Tier.FULL)], [capture]))
    (packet,) = listener.packets
    index, captured, width, height = HEADER.unpack_from(packet.message.body)
    assert (index, captured, width, height) == (4, 5, 640, 300)
    picture = cv2.imdecode(np.frombuffer(packet.message.body[HEADER.size :], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (300, 640, 3)
    assert abs(int(picture.mean()) - 90) <= 2
    assert all(packet.message.kind is Kind.MESH for packet in none.packets)


def test_a_key_frame_that_was_asked_for_is_the_next_one_but_not_every_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 50.0
    monkeypatch.setattr(broadcast_module, "time", SimpleNamespace(monotonic=lambda: now))
    still = [replace(a_capture(0), frame=a_capture(index).frame) for index in range(8)]

    async def run() -> list[bool]:
        nonlocal now
        broadcast, listener = Broadcast(SendSettings(size=SIZE)), Listener(Wants(Tier.FULL))
        broadcast.join(listener)
        for number, capture in enumerate(still):
            if number in (2, 3, 4):
                broadcast.request_key(Tier.FULL)
            if number == 6:
                now += KEY_PAUSE
            broadcast.request_key(Tier.COARSE)  # another tier's
            await on_thread(broadcast.send_capture, capture)
        return [not packet.reference for packet in listener.packets]

    assert asyncio.run(run()) == [True, False, True, False, False, False, True, False]


def test_a_busy_event_loop_gets_the_newest_and_the_rest_is_counted() -> None:
    async def run() -> tuple[Listener, Broadcast]:
        broadcast, listener = Broadcast(SendSettings(size=SIZE)), Listener(Wants(Tier.FULL))
        broadcast.join(listener)
        worker = threading.Thread(
            target=lambda: [broadcast.send_capture(a_capture(index)) for index in range(UNDELIVERED + 3)]
        )
        worker.start()
        worker.join(20)  # the event loop is busy with this
        time.sleep(LATE_SECONDS)
        await asyncio.sleep(0)
        return listener, broadcast

    listener, broadcast = asyncio.run(run())
    assert broadcast.dropped == 3
    assert len(listener.packets) == UNDELIVERED
    assert listener.packets[-1].message.sequence == UNDELIVERED + 3
    assert broadcast.mesh_rate < 40, "less is worked out while the loop is behind"


def test_who_has_left_gets_nothing_more() -> None:
    async def run() -> list[int]:
        broadcast = Broadcast(SendSettings(size=SIZE))
        listeners = [Listener(Wants(Tier.FULL)) for _ in range(2)]
        for listener in listeners:
            broadcast.join(listener)
        await on_thread(broadcast.send_capture, a_capture(0))
        broadcast.leave(listeners[0])
        broadcast.leave(listeners[0])
        await on_thread(broadcast.send_capture, a_capture(1))
        return [len(listener.packets) for listener in listeners]

    assert asyncio.run(run()) == [1, 2]


def test_what_comes_after_the_loops_end_is_harmless() -> None:
    async def make() -> Broadcast:
        broadcast = Broadcast(SendSettings(size=SIZE))
        broadcast.join(Listener(Wants(Tier.FULL)))
        return broadcast

    asyncio.run(make()).send_capture(a_capture(0))


def test_a_noisy_picture_still_fits_a_message() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3)).astype(np.uint8)
    assert 200_000 < len(encode_texture(noise, 1000, 0, 0)) <= MAX_BODY
    with pytest.raises(InputError, match="fits a message"):
        encode_texture(np.tile(noise, (2, 2, 1)), 2000, 0, 0)


def test_pictures_that_are_none_are_refused() -> None:
    grey, floats = np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)
    for image in (grey, floats, np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="uint8 RGB"):
            encode_texture(image, 640, 0, 0)
