"""A viewer's connection by itself, over a link that carries nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from remote.fake_server import face, surface

from stream.protocol.clock import media_time
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import MeshEncoder
from stream.protocol.messages import Clock, Subscribe, write_message
from stream.remote.client import silence
from stream.remote.client.watching.connection import WatchConnection
from stream.remote.client.watching.frame import RemoteFrame

CAPTURED = 10**15


class SilentLink:
    """A link whose other side says nothing."""

    transport = "none"
    on_text: Callable[[str | bytes], None]
    on_datagram: Callable[[str | bytes], None]
    on_closed: Callable[[], None]

    async def ready(self) -> None: ...

    async def received(self) -> int:
        return 0

    async def send(self, message: Message) -> None: ...

    def tell(self, text: str) -> bool:
        return True

    async def close(self) -> None: ...


def test_the_time_that_connecting_took_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 0.2)

    async def work() -> None:
        connection = WatchConnection(SilentLink(), Subscribe(), lambda frame: None)
        await asyncio.sleep(0.3)
        connection.start()
        async with asyncio.timeout(5):
            began = asyncio.get_running_loop().time()
            await connection.lost.wait()
            assert asyncio.get_running_loop().time() - began >= 0.2
        await connection.close()

    asyncio.run(work())


def test_what_was_being_decoded_at_the_end_is_not_given_later() -> None:
    given: list[RemoteFrame] = []

    async def work() -> None:
        link = SilentLink()
        connection = WatchConnection(link, Subscribe(), given.append, whole=True)
        connection.start()
        link.on_text(write_message(Clock(rtp=5)))
        # A picture of another time makes meshes wait for theirs, up to `PATIENCE`.
        image = np.zeros((240, 320, 3), np.uint8)
        connection._track_picture(image, media_time(CAPTURED - 40_000) + 5)
        body = MeshEncoder().encode(1, face(), surface(3), 1, CAPTURED).body
        link.on_datagram(Message(Kind.MESH, 0, 1, body).whole)
        await connection.close()
        await asyncio.sleep(0.2)

    asyncio.run(work())
    assert given == []
