"""A publisher of meshes and a small server that keeps to the protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesh.mesh_samples import CAMERA, dome, sample_face
from remote.fake_server import FakeServer, level, server_micros

from stream.depth.maps import resized_depth
from stream.errors import RemoteError
from stream.mesh.build import surface_of
from stream.protocol.clock import media_time
from stream.protocol.expression_codec import decode_expression
from stream.remote.client import silence
from stream.remote.client.publishing import link as publish_link
from stream.remote.client.publishing import sink as publish_stage
from stream.remote.client.publishing.publisher import RemotePublisher
from stream.remote.client.publishing.sink import PublishStage
from stream.remote.client.signalling import AccessError
from stream.remote.loop_thread import LoopThread
from stream.remote.transport.caller import Caller
from stream.types import Capture, Expression, Frame, Person


@pytest.fixture(autouse=True)
def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)


def capture(index: int, faces: int = 1, size: int = 48) -> Capture:
    image = np.full((480, 640, 3), level(index), np.uint8)
    expression = Expression(np.full(52, 0.25, np.float32))
    surface = surface_of(dome(size))
    people = [
        Person(sample_face(track), surface=surface, expression=expression) for track in range(1, faces + 1)
    ]
    frame = Frame(image, time.monotonic(), index, "test")
    return Capture(frame).adding(("face", "surface", "expression"), people)


def with_pose(whole: Capture, pose: Any) -> Capture:
    (person,) = whole.people
    return replace(whole, people=(replace(person, face=replace(person.face, pose=pose)),))


async def offer_until(publisher: RemotePublisher, done: Callable[[], object], rate: float = 40.0) -> int:
    """Offer captures until something is so; how many there were."""
    async with asyncio.timeout(15):
        index = 0
        while not done():
            index += 1
            publisher.offer(capture(index))
            await asyncio.sleep(1 / rate)
    return index


def test_meshes_expressions_and_the_picture_arrive_on_the_servers_clock() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url, "studio") as publisher:
            began = server_micros()
            got = server.publishers[0]

            def known() -> list[tuple[int, Any]]:
                """The pictures of the meshes that came, each with its index."""
                if got.rtp is None:
                    return []
                times = {media_time(frame.captured): frame.index for frame in got.surfaces}
                matched = [((rtp - got.rtp) % 2**32, image) for rtp, image in got.pictures]
                return [(times[media], image) for media, image in matched if media in times]

            await offer_until(publisher, lambda: len(got.surfaces) > 20 and len(known()) >= 10)
            ended = server_micros()
            assert (publisher.session, got.name) == ("studio", "studio")
            surface = surface_of(dome(48))
            for frame in got.surfaces:
                assert np.array_equal(np.isfinite(frame.depth), surface.alpha > 0.5)
                assert np.nanmax(np.abs(frame.depth - surface.depth)) < 1.3 * 2.5 / 2**11 / 2
                assert frame.intrinsics == CAMERA
                assert began - 50_000 < frame.captured < ended
            indices = [frame.index for frame in got.surfaces]
            assert indices == sorted(set(indices))
            decoded = decode_expression(got.expressions[-1])
            assert decoded.coefficients == pytest.approx(0.25, abs=1e-4)
            for index, image in known():
                assert image.shape == (480, 640, 3)
                assert abs(float(image.mean()) - level(index)) < 3
            assert publisher.figures.sent >= 20
            assert publisher.figures.failed == 0

    asyncio.run(work())


def test_the_server_may_choose_the_name_and_each_face_has_its_lane() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            assert publisher.session == "assigned"
            got = server.publishers[0]
            async with asyncio.timeout(10):
                while {frame.track for frame in got.surfaces} != {1, 2}:
                    publisher.offer(capture(1, faces=2))
                    await asyncio.sleep(0.03)
            tracks = [frame.track for frame in got.surfaces]
            assert abs(tracks.count(1) - tracks.count(2)) <= 1

    asyncio.run(work())


def test_maps_finer_than_live_ones_are_shrunk() -> None:
    fine = dome(192)
    before = surface_of(resized_depth(fine, 128))

    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            got = server.publishers[0]
            async with asyncio.timeout(10):
                while not got.surfaces:
                    publisher.offer(capture(1, size=192))
                    await asyncio.sleep(0.03)
            sent = got.surfaces[0].depth
            assert sent.shape == (128, 128)
            both = np.isfinite(sent) & (before.alpha > 0.5)
            assert both.sum() > 0.97 * (before.alpha > 0.5).sum()
            assert np.isfinite(sent).sum() < 1.03 * (before.alpha > 0.5).sum()
            assert np.abs(sent - before.depth)[both].max() < 0.01

    asyncio.run(work())


def test_a_congested_line_gets_fewer_meshes_never_queued_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish_link.PublishLink, "room", lambda self: False)

    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            offered = await offer_until(publisher, lambda: len(server.publishers[0].pictures) > 5)
            assert publisher.figures.sent == 0
            assert publisher.figures.dropped >= offered - 2
            assert not server.publishers[0].surfaces

    asyncio.run(work())


def test_captures_that_cannot_be_encoded_are_counted_and_the_rest_goes_on() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            bad = with_pose(capture(1), np.full((4, 4), np.nan, np.float32))
            async with asyncio.timeout(10):
                while publisher.figures.failed < 2:
                    publisher.offer(bad)
                    await asyncio.sleep(0.02)
            await offer_until(publisher, lambda: server.publishers[0].surfaces)

    asyncio.run(work())


def test_it_comes_back_to_a_restarted_server_under_the_same_name() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            await offer_until(publisher, lambda: server.publishers[0].surfaces)
            await server.stop()
            began = time.monotonic()
            await server.start()
            await offer_until(publisher, lambda: len(server.publishers) > 1 and server.publishers[1].surfaces)
            assert time.monotonic() - began < 15
            assert server.publishers[1].name == "assigned"
            assert publisher.figures.reconnections == 1

    asyncio.run(work())


@pytest.mark.parametrize(("status", "words"), [(401, "--token"), (409, "another name"), (503, "nobody now")])
def test_refusals_are_one_sentence_with_what_to_do(status: int, words: str) -> None:
    async def work() -> None:
        async with FakeServer() as server:
            server.refuse = {"whip": status}
            with pytest.raises(RemoteError, match=words):
                await RemotePublisher(server.url).open()

    asyncio.run(work())


def test_a_token_taken_away_ends_publishing_with_a_reason() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url) as publisher:
            server.tokens = {"new"}
            await server.stop()
            await server.start()
            async with asyncio.timeout(10):
                while publisher.error is None:
                    await asyncio.sleep(0.02)
            assert isinstance(publisher.error, AccessError)

    asyncio.run(work())


def test_the_sink_publishes_from_a_pipelines_thread() -> None:
    server, thread = FakeServer(), LoopThread("test-server")
    thread.submit(server.start()).result(10)
    stage = PublishStage(server.url, "studio")
    try:
        stage.open()
        until = time.monotonic() + 10
        while not server.publishers[0].surfaces and time.monotonic() < until:
            given = capture(1)
            assert stage(given) is given
            time.sleep(0.03)
        assert server.publishers[0].surfaces
        assert stage.panel()[0] == "published as studio"
    finally:
        stage.close()
        thread.submit(server.stop()).result(10)
        thread.stop()
    assert server.left == ["/whip/studio"]


def test_a_sink_that_cannot_connect_says_so_and_closes() -> None:
    stage: Any = PublishStage("http://127.0.0.1:9", "studio")
    with pytest.raises(RemoteError, match="cannot be reached"):
        stage.open()
    stage.close()


def test_the_time_that_connecting_took_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 1.0)
    accept = Caller.accept

    async def slowly(caller: Caller, answer: str) -> None:
        await asyncio.sleep(1.2)
        await accept(caller, answer)

    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url, "studio") as publisher:
            await offer_until(publisher, lambda: server.publishers[0].surfaces)

    monkeypatch.setattr(Caller, "accept", slowly)
    asyncio.run(work())


def test_a_sink_whose_farewell_takes_too_long_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: RemotePublisher) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(RemotePublisher, "open", lambda self: asyncio.sleep(0))
    monkeypatch.setattr(RemotePublisher, "close", never)
    monkeypatch.setattr(publish_stage, "CLOSE_SECONDS", 0.05)
    stage = PublishStage("http://127.0.0.1:9", "studio")
    stage.open()
    stage.close()


def test_a_capture_of_a_program_that_is_none_does_not_end_publishing() -> None:
    async def work() -> None:
        async with FakeServer() as server, RemotePublisher(server.url, "studio") as publisher:
            publisher.offer(with_pose(capture(1), None))
            async with asyncio.timeout(5):
                while publisher.figures.failed == 0:
                    await asyncio.sleep(0.01)
            await offer_until(publisher, lambda: server.publishers[0].surfaces)

    asyncio.run(work())
