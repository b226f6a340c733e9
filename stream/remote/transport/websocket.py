"""A WebSocket as a link, of either side."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator

from aiohttp import ClientWebSocketResponse, web

from stream.errors import RemoteError
from stream.protocol.fragments import Message
from stream.remote.transport.link import nothing

log = logging.getLogger(__name__)

UNSENT = 16_384
"""Bytes that may wait in the program, and (on Linux) as many in the kernel."""

WAITING_TEXTS = 64
"""Control messages that may wait to be sent."""

STALL_SECONDS = 10.0
"""How long another side may take no control message at all before the connection counts as over."""

LAST_WORDS_SECONDS, CLOSE_SECONDS = 0.2, 2.0


class SocketLink:
    """A WebSocket, whose queues are kept short: in a kernel's usual ones, seconds of frames would wait.

    A `stream.remote.transport.link.Link`.

    :param websocket: connected; somebody else reads it.
    :ivar on_closed: see `Link`; also for who reads it to call.
    """

    transport = "websocket"

    def __init__(self, websocket: web.WebSocketResponse | ClientWebSocketResponse) -> None:
        self.on_closed: Callable[[], None] = nothing
        self._websocket = websocket
        self._texts: deque[str] = deque()
        self._telling: asyncio.Task[None] | None = None
        # aiohttp does not say what waits, and itself waits only after each 64 KiB: hence its own parts.
        writer = websocket._writer
        assert writer is not None, "a WebSocket must be prepared first"
        self._protocol = writer.protocol
        writer.transport.set_write_buffer_limits(high=UNSENT)
        endpoint = websocket.get_extra_info("socket")
        if endpoint is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    def tell(self, text: str) -> bool:
        """See `Link.tell`."""
        if len(self._texts) >= WAITING_TEXTS:
            return False
        self._texts.append(text)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell())
        return True

    async def ready(self) -> None:
        """See `Link.ready`."""
        with _gone():
            if self._protocol._paused:
                await self._protocol._drain_helper()

    async def send(self, message: Message) -> None:
        """See `Link.send`."""
        with _gone():
            await self._websocket.send_bytes(message.whole)

    async def flush(self) -> None:
        """Wait until what was told is sent, 0.2 s at the longest; the rest is not sent any more."""
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=LAST_WORDS_SECONDS)
            self._telling.cancel()

    async def close(self) -> None:
        """See `Link.close`."""
        await self.flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close()

    async def _tell(self) -> None:
        try:
            while self._texts:
                async with asyncio.timeout(STALL_SECONDS):
                    await self.ready()
                    with _gone():
                        await self._websocket.send_str(self._texts.popleft())
        except (RemoteError, TimeoutError) as error:
            log.debug("A WebSocket takes nothing any more: %s", error or "it stalls")
            self.on_closed()


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A closed WebSocket's errors, whatever aiohttp makes of them, as ours."""
    try:
        yield
    except (ConnectionError, RuntimeError) as error:
        raise RemoteError("The WebSocket is closed.") from error
