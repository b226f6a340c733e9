"""A client's WebRTC connection, made by WHIP or WHEP."""

from __future__ import annotations

import asyncio
from typing import Any

from stream.errors import RemoteError
from stream.remote.client.signalling import Signalling
from stream.remote.transport.caller import Caller
from stream.remote.transport.video import VideoFeed

CONNECT_SECONDS = 5.0
"""How long ICE, DTLS and the data channels may take."""


class IceError(RemoteError):
    """No way to the server's media ports was found; a WebSocket may work."""


class WebRtcLink(Caller):
    """A connection to a server (a `stream.remote.client.conversation.ServerLink`).

    :param servers, receive, send: as `Caller`.
    """

    def __init__(
        self,
        signalling: Signalling,
        servers: list[dict[str, Any]],
        *,
        receive: bool = False,
        send: VideoFeed | None = None,
    ) -> None:
        super().__init__(servers, receive=receive, send=send)
        self._signalling = signalling
        self._location = ""

    async def open(self, url: str, advice: str = "") -> str | None:
        """Connect; the name that the server gave, to a publisher.

        :param advice: what else to try where no connection comes about.
        :raises IceError: the server answered, but none did.
        :raises RemoteError: as `Signalling.offer`.
        """
        answer = await self._signalling.offer(url, await self.offer())
        self._location = answer.location
        await self.accept(answer.sdp)
        if not await self.opened(CONNECT_SECONDS):
            raise IceError(
                "The server answered, but no WebRTC connection came about: a firewall blocks UDP, or a TURN "
                f"server is needed{advice}."
            )
        return answer.name

    async def close(self) -> None:
        """Say goodbye and close."""
        await asyncio.gather(super().close(), self._signalling.leave(self._location))
