"""A viewer's connection by itself, over a link that carries nothing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from remote.fake_server import face, surface

from stream.protocol.clock import media_time
from stream.protocol.fragments import Kind, Message, whole
from stream.protocol.mesh_codec import MeshEncoder
from stream.protocol.messages import Subscribe
from stream.remote.client import silence
from stream.remote.client.watching.connection import WatchConnection
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.links import peer_connection
from stream.remote.client.watching.pictures import ReceivedPicture

CAPTURED = 10**15


class SilentLink:
    """A link whose other side says nothing."""

    transport = "none"

    async def received(self) -> int:
        return 0

    def send(self, text: str) -> None:
        pass

    async def close(self) -> None:
        pass


def test_the_time_that_connecting_took_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 0.2)

    async def work() -> None:
        connection = WatchConnection(Subscribe(), lambda frame: None)
        await asyncio.sleep(0.3)
        connection.start(SilentLink())
        async with asyncio.timeout(5):
            began = asyncio.get_running_loop().time()
            await connection.lost.wait()
            assert asyncio.get_running_loop().time() - began >= 0.2
        await connection.close()

    asyncio.run(work())


def test_what_was_being_decoded_at_the_end_is_not_given_later() -> None:
    given: list[RemoteFrame] = []

    async def work() -> None:
        connection = WatchConnection(Subscribe(), given.append, whole=True)
        connection.start(SilentLink())
        # A picture of another time makes meshes wait for theirs, up to `PATIENCE`.
        image = np.zeros((240, 320, 3), np.uint8)
        connection.picture(ReceivedPicture(media_time(CAPTURED - 40_000), image))
        body = MeshEncoder().encode(1, face(), surface(3), 1, CAPTURED).body
        connection.datagram(whole(Message(Kind.MESH, 0, 1, body)))
        await connection.close()
        await asyncio.sleep(0.2)

    asyncio.run(work())
    assert given == []


@pytest.mark.parametrize("urls", ["http://host", "stun:", ["turn:host", 3], "stun:host:99999999", 7])
def test_ice_servers_that_are_none_are_passed_over(urls: object) -> None:
    async def work() -> None:
        peer = peer_connection([{"urls": urls}, {"urls": "stun:127.0.0.1:9", "username": 5}])
        try:
            peer.createDataChannel("test")
        finally:
            await peer.close()

    asyncio.run(work())
