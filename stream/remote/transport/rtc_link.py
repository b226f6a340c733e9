"""A WebRTC connection as a link: two data channels, video one way, and one end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiortc import RTCDataChannel, RTCIceServer, RTCRtpTransceiver

from stream.errors import RemoteError
from stream.protocol.fragments import Message
from stream.protocol.messages import CONTROL, MESH
from stream.remote.transport.incoming import IncomingVideo
from stream.remote.transport.link import MOST_TEXT, nothing
from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.video import VideoFeed

log = logging.getLogger(__name__)

LOW = 2200
"""Bytes that may still wait in the mesh channel when the next message is given to it: two datagrams."""

BURST = 8
"""Datagrams given to a channel before other tasks have their turn: each holds the loop about 0.1 ms."""

CLOSE_SECONDS = 1.5
"""How long `close` waits for aiortc."""


class RtcLink:
    """A peer connection on our side (a `stream.remote.transport.link.Link`); each channel may be missing.

    All of it on the event loop; the callbacks, too. Set them before the connection is negotiated.

    :param servers: STUN and TURN servers; no others are asked.
    :ivar on_channel: called with the label, `CONTROL` or `MESH`, of each channel that the other side opens.
    :ivar on_text, on_datagram: called with what comes on the one and on the other.
    :ivar on_closed: called once, however the connection ended.
    """

    transport = "webrtc"

    def __init__(self, servers: list[RTCIceServer]) -> None:
        self.on_channel: Callable[[str], None] = nothing
        self.on_text: Callable[[str | bytes], None] = nothing
        self.on_datagram: Callable[[str | bytes], None] = nothing
        self.on_closed: Callable[[], None] = nothing
        self._rtc = PeerConnection(servers)
        self._rtc.on("datachannel", self._take)
        self._rtc.on("connectionstatechange", self._changed)
        self._incoming: IncomingVideo | None = None
        self._feed: VideoFeed | None = None
        self._channels: dict[str, RTCDataChannel] = {}
        self._change = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._failed = False

    def tell(self, text: str) -> bool:
        """See `Link.tell`."""
        control = self._channels.get(CONTROL)
        if control is None or control.readyState != "open":
            return True
        if control.bufferedAmount > MOST_TEXT:
            return False
        control.send(text)
        return True

    async def ready(self) -> None:
        """See `Link.ready`; waits for the mesh channel, too."""
        while MESH not in self._channels or self._mesh().bufferedAmount > LOW:
            self._change.clear()
            await self._change.wait()

    async def send(self, message: Message) -> None:
        """See `Link.send`."""
        for number, datagram in enumerate(message.datagrams):
            if number and number % BURST == 0:
                await asyncio.sleep(0)
            self._mesh().send(datagram)

    @property
    def waiting(self) -> int:
        """Bytes that wait in the mesh channel."""
        return sum(channel.bufferedAmount for label, channel in self._channels.items() if label == MESH)

    async def received(self) -> int:
        """Bytes that came so far, messages, video and all the rest."""
        stats = await self._rtc.getStats()
        return sum(int(one.bytesReceived) for one in stats.values() if one.type == "transport")

    @property
    def video(self) -> IncomingVideo:
        """What is received, where video is."""
        assert self._incoming is not None, "no video was negotiated"
        return self._incoming

    def rtp_offset(self) -> int | None:
        """Of the video track that we send (`messages.Clock.rtp`); None before its first picture was sent."""
        return self._feed.rtp_offset() if self._feed is not None else None

    async def close(self) -> None:
        """See `Link.close`."""
        await asyncio.shield(self.end())

    def _mesh(self) -> RTCDataChannel:
        """The mesh channel.

        :raises RemoteError: it is not there, or the other side closed one of the channels.
        """
        if MESH not in self._channels or any(one.readyState != "open" for one in self._channels.values()):
            raise RemoteError("A data channel is closed.")
        return self._channels[MESH]

    def _take(self, channel: RTCDataChannel) -> None:
        """Hear a channel, if it is the first of its kind; any other is closed."""
        if channel.label in self._channels or channel.label not in (CONTROL, MESH):
            channel.close()
            return
        self._channels[channel.label] = channel
        channel.on("close", self._channel_closed)
        if channel.label == CONTROL:
            channel.on("message", lambda text: self.on_text(text))
        else:
            channel.on("message", lambda data: self.on_datagram(data))
            channel.bufferedAmountLowThreshold = LOW
            channel.on("bufferedamountlow", self._change.set)
        self._change.set()
        self.on_channel(channel.label)

    def _channel_closed(self) -> None:
        self._change.set()

    def _transceiver(self) -> RTCRtpTransceiver:
        """The video's."""
        return next(found for found in self._rtc.getTransceivers() if found.kind == "video")

    def _changed(self) -> None:
        state = self._rtc.connectionState
        if state in ("failed", "closed"):
            self.end(failed=state == "failed")

    def end(self, failed: bool = False) -> asyncio.Task[None]:
        """Close without waiting.

        :param failed: something went wrong.
        """
        if self._closing is None:
            self._failed = failed
            self._closing = asyncio.ensure_future(self._close())
        return self._closing

    async def _close(self) -> None:
        self._change.set()
        self.on_closed()
        if self._incoming is not None:
            self._incoming.ended()
        if self._feed is not None:
            self._feed.stop()
        closing = asyncio.ensure_future(self._rtc.close())
        done, _ = await asyncio.wait([closing], timeout=CLOSE_SECONDS)
        if not done:
            log.warning("A peer connection takes long to close; it is left to itself.")
        elif closing.exception() is not None:
            log.debug("A peer connection was closed with an error: %r", closing.exception())
