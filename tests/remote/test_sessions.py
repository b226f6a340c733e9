"""Sessions from an offer to their end, over WebRTC on the loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from remote.session_helpers import Camera, FakeModels, MeshPublisher, Watcher, a_surface, eventually, settings

from stream.errors import ProtocolError, RemoteError
from stream.protocol.clock import wall_micros
from stream.protocol.expression_codec import decode_expression
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.protocol.messages import (
    Clock,
    Hello,
    KeyRequest,
    Ping,
    Pong,
    State,
    Subscribe,
    read_message,
    write_message,
)
from stream.remote.refusals import NameTakenError, ServerFullError, UnknownSessionError
from stream.remote.server.sessions import session as session_module
from stream.remote.server.sessions.hub import SessionHub
from stream.remote.server.sessions.viewer import SEND
from stream.remote.transport.peer import Peer


@asynccontextmanager
async def a_hub(*failing: int, **values: Any) -> AsyncIterator[SessionHub]:
    hub = SessionHub(settings(**values), FakeModels(*failing))
    await hub.open()
    try:
        yield hub
    finally:
        async with asyncio.timeout(15):
            await hub.close()


def on_hub(*failing: int, **values: Any) -> Callable[[Callable[[SessionHub], Any]], Callable[[], None]]:
    def decorate(test: Callable[[SessionHub], Any]) -> Callable[[], None]:
        def run() -> None:
            async def play() -> None:
                async with a_hub(*failing, **values) as hub:
                    await test(hub)

            asyncio.run(play())

        run.__name__ = test.__name__
        return run

    return decorate


@on_hub()
async def test_a_camera_becomes_meshes_for_its_viewers(hub: SessionHub) -> None:
    camera, first, second = Camera(), Watcher(), Watcher()
    name = await camera.publish(hub)
    assert len(name) == 16
    await first.watch(hub, name)
    await second.watch(hub, name)
    for viewer in (first, second):
        await viewer.until(lambda viewer=viewer: len(viewer.frames) > 10)  # type: ignore[misc]
        frame = viewer.frames[-1]
        solid = a_surface()[1].alpha > 0
        assert (np.isfinite(frame.depth) == solid).all()
        assert frame.track == 3
        hello = viewer.told[0]
        assert isinstance(hello, Hello)
        assert (hello.session, hello.size) == (name, 32)
        await viewer.until(lambda viewer=viewer: any(isinstance(told, Clock) for told in viewer.told))  # type: ignore[misc]
        await viewer.until(lambda viewer=viewer: State(state="live", faces=1, viewers=2) in viewer.told)  # type: ignore[misc]
        indices = [frame.index for frame in viewer.frames]
        assert indices == sorted(set(indices))
    shown = {"name": name, "state": "live", "faces": 1, "viewers": 2}
    await eventually(lambda: shown.items() <= hub.listing()[0].items())
    totals = hub.metrics()[name].totals()[0]
    assert totals["source"].count >= 10
    assert totals[SEND].count >= 20
    await first.close()
    await eventually(lambda: hub.listing()[0]["viewers"] == 1)
    await camera.close()
    await second.until(lambda: second.told[-1] == State(state="ended", faces=0, viewers=1))
    await eventually(lambda: not hub.listing())
    assert not hub.metrics()
    await second.close()


@on_hub()
async def test_a_viewer_gets_what_it_subscribes_to(hub: SessionHub) -> None:
    camera, viewer = Camera(), Watcher()
    name = await camera.publish(hub, "mine")
    assert name == "mine"
    await viewer.watch(hub, name)
    await viewer.until(lambda: bool(viewer.frames))
    viewer.say(Subscribe(mesh=False, expression=True))
    viewer.say(Ping(time=5.0))
    await viewer.until(lambda: any(message.kind is Kind.EXPRESSION for message in viewer.messages))
    body = next(message.body for message in viewer.messages if message.kind is Kind.EXPRESSION)
    np.testing.assert_allclose(decode_expression(body).coefficients, 0.5, atol=1e-4)
    await viewer.until(lambda: any(isinstance(told, Pong) and told.time == 5.0 for told in viewer.told))
    await camera.close()
    await viewer.close()


@on_hub()
async def test_a_publishers_meshes_are_checked_and_passed_on(hub: SessionHub) -> None:
    publisher, viewer = MeshPublisher(), Watcher()
    name = await publisher.publish(hub, "relayed")
    await viewer.watch(hub, name)
    await eventually(lambda: publisher.mesh.readyState == "open")
    publisher.control.send(write_message(Clock(rtp=123)))
    publisher.control.send(write_message(Ping(time=1.0)))
    await eventually(lambda: len(publisher.told) > 2)
    hello = publisher.told[0]
    assert isinstance(hello, Hello)
    captured = wall_micros(asyncio.get_running_loop().time())
    sent = 0

    def sent_until(count: int) -> Callable[[], bool]:
        nonlocal sent
        sent += 1
        publisher.send(captured + sent, 0.3 + 0.002 * sent)
        return lambda: len(viewer.frames) >= count

    for damaged in (b"", b"\x09" * 40, "text"):
        publisher.mesh.send(damaged)
    publisher.send_message(Message(Kind.MESH, 0, 10_000, b"\0" * 500))  # a message, but no mesh
    publisher.sequence = 10_000
    async with asyncio.timeout(15):
        while not sent_until(5)():
            await asyncio.sleep(0.03)
    frame = viewer.frames[-1]
    solid = a_surface()[1].alpha > 0
    assert captured < frame.captured <= captured + sent
    bump = 0.3 + 0.002 * (frame.captured - captured)
    wanted = a_surface(bump)[1].depth[solid]
    np.testing.assert_allclose(frame.depth[solid], wanted, atol=2.5 / 2**11 + 1e-4)
    relay = hub.metrics()[name].totals()[0]["relay"]
    assert relay.errors >= 3
    assert hub._models.given == 0  # type: ignore[attr-defined]
    await publisher.close()
    await viewer.close()


@on_hub()
async def test_a_publishers_pictures_and_meshes_do_not_take_each_others_place(hub: SessionHub) -> None:
    publisher, viewer = MeshPublisher(), Watcher()
    await publisher.publish(hub, "relayed")
    await viewer.watch(hub, "relayed")
    await eventually(lambda: publisher.mesh.readyState == "open")
    await eventually(lambda: "texture" in hub.metrics()["relayed"].totals()[0])
    await eventually(lambda: hub.metrics()["relayed"].totals()[0]["texture"].count > 0)
    for _ in range(90):
        publisher.send(wall_micros(time.monotonic()))
        await asyncio.sleep(1 / 30)  # as fast as pictures come
    totals = hub.metrics()["relayed"].totals()[0]
    assert (totals["encode"].drops, totals["texture"].drops) == (0, 0)
    assert totals["relay"].count > 30
    await viewer.until(lambda: len(viewer.frames) > 20)
    await publisher.close()
    await viewer.close()


@on_hub()
async def test_a_publisher_whose_key_frame_was_lost_is_asked_for_one(hub: SessionHub) -> None:
    publisher = MeshPublisher()
    await publisher.publish(hub, "relayed")
    await eventually(lambda: publisher.mesh.readyState == "open")
    face, surface = a_surface()
    publisher.encoder.encode(1, face, surface, 1, 1_000_000)
    publisher.sequence = 1
    publisher.send(1_000_001)
    await eventually(lambda: KeyRequest() in publisher.told)
    await publisher.close()


def test_a_mesh_channel_that_comes_late_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "GRACE", 0.0)

    async def play() -> None:
        async with a_hub() as hub:
            publisher, viewer = MeshPublisher(), Watcher()
            await publisher.publish(hub, "late")
            await viewer.watch(hub, "late")
            await eventually(lambda: publisher.mesh.readyState == "open")
            await eventually(lambda: "relay" in hub.metrics()["late"].totals()[0])
            captured = wall_micros(asyncio.get_running_loop().time())
            async with asyncio.timeout(15):
                while not viewer.frames or viewer.frames[-1].index < 5:
                    publisher.send(captured)
                    await asyncio.sleep(0.03)
            pictures = hub.metrics()["late"].totals()[0]["texture"].count
            await eventually(lambda: hub.metrics()["late"].totals()[0]["texture"].count > pictures + 3)
            await publisher.close()
            await viewer.close()

    asyncio.run(play())


@on_hub(1, max_sessions=3)
async def test_a_session_that_fails_ends_alone(hub: SessionHub) -> None:
    good, bad, viewer = Camera(), Camera(), Watcher()
    await good.publish(hub, "good")
    await viewer.watch(hub, "good")
    await viewer.until(lambda: bool(viewer.frames))
    await bad.publish(hub, "bad")
    await eventually(lambda: [entry["name"] for entry in hub.listing()] == ["good"])
    seen = len(viewer.frames)
    await viewer.until(lambda: len(viewer.frames) > seen + 5)
    for party in (good, bad, viewer):
        await party.close()


@on_hub(max_sessions=1, max_viewers=1)
async def test_a_full_server_and_a_full_session_say_so(hub: SessionHub) -> None:
    camera, viewer = Camera(), Watcher()
    await camera.publish(hub, "one")
    with pytest.raises(ServerFullError) as full:
        await Camera().publish(hub, "two")
    assert full.value.retry_after > 0
    await viewer.watch(hub, "one")
    with pytest.raises(ServerFullError):
        await Watcher(channels=False).watch(hub, "one")
    hub.end("one", camera.key)
    with pytest.raises(UnknownSessionError):
        await Watcher().watch(hub, "one")
    again = Camera()
    await eventually(lambda: not hub._ending)
    await again.publish(hub, "two")
    for party in (camera, viewer, again):
        await party.close()


@on_hub()
async def test_names_are_checked_and_taken(hub: SessionHub) -> None:
    camera = Camera()
    await camera.publish(hub, "name-1")
    for wrong in ("Name", "a" * 65, "", "a/b", "a\n"):
        with pytest.raises(ProtocolError, match="name"):
            await hub.publish("v=0", wrong)
    with pytest.raises(NameTakenError):
        await Camera().publish(hub, "name-1")
    with pytest.raises(ProtocolError):
        await hub.publish("this is no offer", "name-2")
    assert [entry["name"] for entry in hub.listing()] == ["name-1"]
    await camera.close()


def test_a_publisher_that_comes_back_takes_its_name_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LOST_SECONDS", 0.3)

    async def play() -> None:
        async with a_hub(max_sessions=1) as hub:
            crashed, again, viewer = Camera(), Camera(), Watcher()
            await crashed.publish(hub, "name")
            await viewer.watch(hub, "name")
            await viewer.until(lambda: bool(viewer.frames))
            await viewer.until(lambda: State(state="live", faces=1, viewers=1) in viewer.told)
            crashed.pause()
            before = hub._sessions["name"].peer
            await eventually(lambda: hub._sessions["name"].lost)
            with pytest.raises(ProtocolError):
                await hub.publish("v=0", "name")
            assert hub.publisher("name", crashed.key) is before
            await again.publish(hub, "name")
            with pytest.raises(UnknownSessionError):
                hub.end("name", crashed.key)
            assert hub.publisher("name", again.key) is not before
            await viewer.until(lambda: any(isinstance(t, State) and t.state == "ended" for t in viewer.told))
            await eventually(lambda: hub.listing()[0]["state"] == "live")
            for party in (crashed, again, viewer):
                await party.close()

    asyncio.run(play())


@on_hub()
async def test_a_session_without_pictures_waits_and_then_ends(hub: SessionHub) -> None:
    camera, viewer = Camera(), Watcher()
    await camera.publish(hub, "quiet")
    await viewer.watch(hub, "quiet")
    await viewer.until(lambda: bool(viewer.frames))
    session = hub._sessions["quiet"]
    session._settings = session._settings.model_copy(update={"idle_seconds": 1.0})
    camera.pause()
    await viewer.until(lambda: viewer.told[-1] == State(state="ended", faces=0, viewers=1))
    await eventually(lambda: not hub.listing())
    await camera.close()
    await viewer.close()


@on_hub()
async def test_viewers_can_be_found_and_let_go(hub: SessionHub) -> None:
    camera, viewer, standard = Camera(), Watcher(), Watcher(channels=False)
    await camera.publish(hub, "s")
    await viewer.watch(hub, "s")
    await standard.watch(hub, "s")
    await viewer.until(lambda: bool(viewer.frames))
    assert hub.viewer("s", viewer.name).state == "connected"
    hub.viewer("s", viewer.name).end()
    await eventually(lambda: hub.listing()[0]["viewers"] == 1)
    picture = await asyncio.to_thread(standard.client.incoming.wait)
    assert picture is not None
    await eventually(lambda: hub.metrics()["s"].totals()[0]["video"].count > 0)
    for unknown in (("s", viewer.name), ("s", "nobody"), ("nothing", camera.key)):
        for look in (hub.viewer, hub.publisher, hub.end):
            with pytest.raises(UnknownSessionError):
                look(*unknown)
    for party in (camera, viewer, standard):
        await party.close()


@asynccontextmanager
async def served(handler: Any) -> AsyncIterator[str]:
    """An HTTP server with one address on the loopback."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@on_hub()
async def test_a_session_that_ends_while_it_is_answered_asks_for_no_models(hub: SessionHub) -> None:
    camera, accept = Camera(), Peer.accept

    async def slow(peer: Peer, offer: str, **options: Any) -> str:
        answer = await accept(peer, offer, **options)
        hub.end("s", hub._sessions["s"].key)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Peer, "accept", slow)
        await camera.publish(hub, "s")
    await eventually(lambda: not hub._ending)
    assert isinstance(hub._models, FakeModels)
    assert hub._models.given == 0  # they may be gone: the server may be stopping
    await camera.close()


@on_hub(max_viewers=1)
async def test_a_viewer_by_websocket_gets_meshes_and_pictures(hub: SessionHub) -> None:
    camera, outcomes = Camera(), list[Exception | None]()
    await camera.publish(hub, "s")

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        try:
            await hub.watch_socket("s", websocket)
        except (RemoteError, ProtocolError) as error:
            outcomes.append(error)
        else:
            outcomes.append(None)
        await websocket.close()
        return websocket

    async with served(handler) as address, aiohttp.ClientSession() as http:
        async with http.ws_connect(address) as first, http.ws_connect(address) as second:
            assert isinstance(read_message(await first.receive_str(timeout=10)), Hello)
            assert (await second.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
            assert isinstance(outcomes.pop(), ServerFullError)
            await first.send_str(write_message(Subscribe(texture=True)))
            kinds, reassembler = set[Kind](), Reassembler(whole=True)
            while kinds != {Kind.MESH, Kind.TEXTURE}:
                received = await first.receive(timeout=10)
                if received.type is aiohttp.WSMsgType.BINARY:
                    message = reassembler.accept(received.data)
                    assert message is not None
                    kinds.add(message.kind)
        await eventually(lambda: outcomes == [None])
        assert hub.listing()[0]["viewers"] == 0
        async with http.ws_connect(address) as third:
            assert isinstance(read_message(await third.receive_str(timeout=10)), Hello)
            hub.end("s", camera.key)
            texts = [m.data async for m in third if m.type is aiohttp.WSMsgType.TEXT]
            assert read_message(texts[-1]) == State(state="ended", faces=0, viewers=1)
        await eventually(lambda: isinstance(outcomes[-1], UnknownSessionError))
    await camera.close()


def test_nothing_begins_before_the_models_are_loaded() -> None:
    async def play() -> None:
        hub = SessionHub(settings(), FakeModels())
        assert not hub.ready
        with pytest.raises(ServerFullError):
            await hub.publish("v=0", None)
        await hub.open()
        assert hub.ready
        await hub.close()
        assert not hub.ready

    asyncio.run(play())
