"""The parts of a viewer by themselves: the matching of pictures, the decoding."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote.fake_server import CAMERA, CROP, face, surface

from stream.errors import ProtocolError
from stream.protocol.clock import media_time
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import MeshEncoder, SurfaceFrame
from stream.protocol.textures import HEADER
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.meshes import MeshReceiver
from stream.remote.client.watching.pictures import PATIENCE, PictureMatcher, ReceivedPicture, decode_texture


class Times:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def mesh(sequence: int, captured: int, lane: int = 0) -> RemoteFrame:
    pose = np.eye(4, dtype=np.float32)
    empty = np.zeros((2, 2), np.float32)
    return RemoteFrame(
        SurfaceFrame(sequence, captured, 1, CROP, CAMERA, pose, empty, 0.1), lane, sequence, 0.0
    )


def image(number: int) -> ReceivedPicture:
    return ReceivedPicture(None, np.full((2, 2, 3), number, np.uint8))


def timed(number: int, captured: int) -> ReceivedPicture:
    return replace(image(number), media=media_time(captured))


FRAME = 33_333
NEAR_WRAP = 2**32 * 100 // 9 * 7 - 3 * FRAME


@pytest.mark.parametrize("start", [10**15, NEAR_WRAP])
def test_a_mesh_waits_for_its_own_picture(start: int) -> None:
    times = Times()
    matcher = PictureMatcher(times)
    matcher.picture(timed(0, start))
    for number in range(1, 6):
        matcher.mesh(mesh(number, start + number * FRAME))
        assert matcher.ready() == []
        times.now += 0.02
        matcher.picture(timed(number, start + number * FRAME))
        (found,) = matcher.ready()
        assert found.exact
        assert found.sequence == number
        assert found.picture is not None
        assert found.picture[0, 0, 0] == number
    assert matcher.skipped == 0
    assert matcher.due is None


def test_a_mesh_whose_picture_was_lost_takes_the_nearest_once_a_later_one_came() -> None:
    matcher = PictureMatcher(Times())
    matcher.picture(timed(0, 10**15))
    matcher.mesh(mesh(1, 10**15 + FRAME))
    assert matcher.ready() == []
    matcher.picture(timed(3, 10**15 + 3 * FRAME))
    (found,) = matcher.ready()
    assert (found.exact, found.picture is not None and found.picture[0, 0, 0]) == (False, 0)


def test_patience_ends_and_newer_ones_win() -> None:
    times = Times()
    matcher = PictureMatcher(times)
    matcher.picture(timed(0, 10**15))
    for number in (1, 2, 3):
        matcher.mesh(mesh(number, 10**15 + number * FRAME))
    assert matcher.due == times.now + PATIENCE
    times.now += PATIENCE
    (found,) = matcher.ready()
    assert (found.sequence, found.exact, matcher.skipped) == (3, False, 2)


def test_where_every_second_mesh_has_a_picture_all_are_given() -> None:
    """As over a WebSocket, whose pictures come at half the rate, 15 ms after their meshes."""
    times = Times()
    matcher = PictureMatcher(times)
    given_out: list[tuple[int, bool]] = []

    def give() -> None:
        given_out.extend((found.sequence, found.exact) for found in matcher.ready())

    for number in range(1, 201):
        matcher.mesh(mesh(number, 10**15 + number * FRAME))
        give()
        begun = times.now
        for step in range(1, 34):
            times.now = begun + step / 1000
            if step == 15 and number % 2:
                matcher.picture(timed(number % 100, 10**15 + number * FRAME))
                give()
            elif matcher.due is not None and times.now >= matcher.due:
                give()
    assert matcher.patience == pytest.approx(0.025, abs=0.002)
    late = [one for one in given_out if one[0] > 120]
    assert [number for number, _ in late] == list(range(121, 201))
    assert all(exact == bool(number % 2) for number, exact in late)


def test_patience_follows_most_pictures_not_the_odd_one_and_has_a_bound() -> None:
    times = Times()
    matcher = PictureMatcher(times)

    def late(behind: float, count: int) -> None:
        for number in range(count):
            captured = 10**15 + round(times.now * 1e6) + number
            matcher.mesh(mesh(1, captured))
            times.now += behind
            matcher.ready()  # given with another picture, perhaps, but its own still tells how late it was
            matcher.picture(timed(0, captured))

    late(0.001, 30)
    assert matcher.patience == pytest.approx(0.011, abs=1e-6)
    late(0.3, 2)
    assert matcher.patience == pytest.approx(0.011, abs=1e-6)
    late(0.04, 15)
    assert matcher.patience == pytest.approx(0.05, abs=1e-6)
    late(0.3, 15)
    assert matcher.patience == PATIENCE


def test_without_pictures_or_their_times_nobody_waits() -> None:
    times = Times()
    matcher = PictureMatcher(times)
    matcher.mesh(mesh(1, 10**15))
    assert [found.picture for found in matcher.ready()] == [None]
    matcher.picture(image(7))  # the clock message has not come yet
    matcher.mesh(mesh(2, 10**15 + FRAME))
    (found,) = matcher.ready()
    assert (found.exact, found.picture is not None and found.picture[0, 0, 0]) == (False, 7)
    matcher.picture(timed(0, 10**15))
    times.now += 2.0  # the video stalls
    matcher.mesh(mesh(3, 10**15 + 2 * FRAME))
    assert [found.picture for found in matcher.ready()] == [None]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(["mesh", "picture", "wait"]), st.integers(0, 2)), max_size=60))
def test_whatever_comes_no_older_mesh_follows_a_newer_one(events: list[tuple[str, int]]) -> None:
    times = Times()
    matcher = PictureMatcher(times)
    shown: dict[int, int] = {}
    sequence, number, given_out = 0, 0, 0
    for kind, value in events:
        if kind == "mesh":
            sequence += 1
            matcher.mesh(mesh(sequence, 10**15 + sequence * FRAME, lane=value))
        elif kind == "picture":
            number += value
            matcher.picture(timed(0, 10**15 + number * FRAME))
        else:
            times.now += 0.05 * value
        for found in matcher.ready():
            assert found.sequence > shown.get(found.lane, 0)
            shown[found.lane] = found.sequence
            given_out += 1
    assert given_out + matcher.skipped <= sequence
    assert sequence - given_out - matcher.skipped <= 3 * 8


def jpeg(width: int, height: int) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert done
    return bytes(data.tobytes())


def test_textures_are_checked_before_they_are_decoded() -> None:
    body = HEADER.pack(1, 10**15, 40, 30) + jpeg(40, 30)
    picture = decode_texture(body)
    assert picture.image.shape == (30, 40, 3)
    assert picture.media == media_time(10**15)
    for damaged in (
        b"",
        body[: HEADER.size],
        body[:60],
        HEADER.pack(1, 10**15, 41, 30) + jpeg(40, 30),
        HEADER.pack(1, 10**15, 0, 30) + jpeg(40, 30),
        HEADER.pack(1, 10**15, 5000, 30) + jpeg(5000, 30),
        HEADER.pack(1, 10**15, 40, 30) + b"GIF89a" + bytes(200),
    ):
        with pytest.raises(ProtocolError):
            decode_texture(damaged)


def encoded(count: int) -> list[Message]:
    encoder = MeshEncoder()
    messages = []
    for index in range(1, count + 1):
        one = encoder.encode(index, face(), surface(3), index, 10**15 + index)
        messages.append(Message(Kind.MESH, 0, index, one.body))
    return messages


def received(messages: list[Message]) -> tuple[list[int], MeshReceiver, int]:
    """Sequences delivered when all of these come at once, the receiver, and how often it asked for a key."""
    sequences: list[int] = []
    asked = []

    async def work() -> MeshReceiver:
        with ThreadPoolExecutor(1) as executor:
            receiver = MeshReceiver(
                executor, lambda one: sequences.append(one.sequence), lambda: asked.append(1)
            )
            for message in messages:
                receiver.accept(message)
            while receiver._task is not None and not receiver._task.done():
                await asyncio.sleep(0.001)
            await receiver.close()
            return receiver

    receiver = asyncio.run(work())
    return sequences, receiver, len(asked)


def test_of_meshes_that_wait_only_keys_and_the_newest_are_decoded() -> None:
    sequences, receiver, asked = received(encoded(6))
    assert sequences == [6]
    assert (receiver.skipped, receiver.lacking, asked) == (5, 0, 0)


def test_meshes_out_of_order_still_end_with_the_newest() -> None:
    messages = encoded(4)
    assert received([messages[2], messages[0], messages[3], messages[1]])[0] == [4]


def test_without_its_key_frame_a_delta_asks_for_one_once() -> None:
    sequences, receiver, asked = received(encoded(5)[1:])
    assert sequences == []
    assert (receiver.lacking, asked) == (1, 1)


def test_damaged_meshes_are_counted_and_the_rest_goes_on() -> None:
    good = encoded(2)
    sequences, receiver, _ = received(
        [good[0], Message(Kind.MESH, 0, 9, b"\x0b\x01" + bytes(200)), Message(Kind.MESH, 1, 3, b"x"), good[1]]
    )
    assert receiver.damaged == 2
    assert sequences == [1]
