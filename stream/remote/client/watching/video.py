"""The video track that a viewer receives: each picture with the RTP timestamp that it was sent with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from stream.remote.transport.incoming import IncomingVideo
from stream.types import Array

JOIN_SECONDS = 1.0


class VideoReader:
    """Decodes a track on a thread of its own and gives the newest pictures to the event loop.

    :param incoming: the track; nobody else reads it.
    :param deliver: called on the event loop with (H, W, 3) uint8 RGB and the RTP timestamp.
    """

    def __init__(self, incoming: IncomingVideo, deliver: Callable[[Array, int], None]) -> None:
        self._incoming = incoming
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, name="prosopon-video", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop reading."""
        self._incoming.interrupt()
        await asyncio.to_thread(self._thread.join, JOIN_SECONDS)

    def _read(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            while (picture := self._incoming.wait()) is not None:
                self._loop.call_soon_threadsafe(self._deliver, picture.image, picture.rtp)
