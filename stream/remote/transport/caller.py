"""One WebRTC connection that makes the offer: a client's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiortc import RTCIceServer, RTCSessionDescription

from stream.errors import RemoteError
from stream.protocol.messages import CONTROL, MESH
from stream.remote.transport.ice import STUN, TURN
from stream.remote.transport.incoming import IncomingVideo
from stream.remote.transport.rtc_link import RtcLink
from stream.remote.transport.video import VideoFeed


class Caller(RtcLink):
    """Offers both data channels and video one way, or none. Its end is that of either channel, too.

    A server can make it keep and do as little as a client can a server.

    :param servers: as RTCPeerConnection takes them in browsers; unusable ones are passed over.
    :param receive: take the server's video.
    :param send: what to send instead.
    """

    def __init__(
        self, servers: list[dict[str, Any]], *, receive: bool = False, send: VideoFeed | None = None
    ) -> None:
        super().__init__(_usable(servers))
        # Before any channel: a bundle begins with its first part.
        if send is not None:
            self._rtc.addTransceiver(send, direction="sendonly")
            self._feed = send
        elif receive:
            video = self._rtc.addTransceiver("video", direction="recvonly")
            self._incoming = IncomingVideo(video.receiver)
        self._take(self._rtc.createDataChannel(CONTROL))
        self._take(self._rtc.createDataChannel(MESH, ordered=False, maxRetransmits=0))
        for channel in self._channels.values():
            channel.on("open", self._change.set)

    async def offer(self) -> str:
        """The offer, SDP, with all its candidates."""
        await self._rtc.setLocalDescription(await self._rtc.createOffer())
        return str(self._rtc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the server's answer.

        :raises RemoteError: it is no answer to our offer.
        """
        try:
            await self._rtc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except Exception as error:  # aiortc's parser raises whatever its own lines happen to
            raise RemoteError(
                "The server's answer cannot be used; is it a Prosopon of another version?"
            ) from error
        if self._feed is not None:
            self._feed.bind(self._transceiver())

    async def opened(self, seconds: float) -> bool:
        """Whether both channels open within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._closing is None and not self._open:
                    self._change.clear()
                    await self._change.wait()
        return self._closing is None and self._open

    @property
    def _open(self) -> bool:
        return all(channel.readyState == "open" for channel in self._channels.values())

    def _channel_closed(self) -> None:
        self.end()


def _usable(servers: list[dict[str, Any]]) -> list[RTCIceServer]:
    usable = []
    for server in servers:
        urls, user, secret = (server.get(key) for key in ("urls", "username", "credential"))
        usable += [
            RTCIceServer(urls=url, username=user, credential=secret)
            for url in (urls if isinstance(urls, list) else [urls])
            if isinstance(url, str) and (STUN.fullmatch(url) or TURN.fullmatch(url))
        ]
    return usable
