"""The other side of a peer connection, for tests: a client that offers, on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc import RTCDataChannel, RTCSessionDescription

from stream.remote.settings import IceSettings
from stream.remote.transport.incoming import IncomingVideo
from stream.remote.transport.peer import Peer
from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.sdp import read_fragment
from stream.remote.transport.video import SharedVideo
from stream.types import Array

PATIENCE = 15.0


class Client:
    """Offers video one way and, if asked, a data channel."""

    def __init__(self) -> None:
        self.rtc = PeerConnection([])
        self.incoming: IncomingVideo | None = None

    def receives(self, codec: str = "VP8") -> None:
        from aiortc import RTCRtpReceiver

        transceiver = self.rtc.addTransceiver("video", "recvonly")
        known = RTCRtpReceiver.getCapabilities("video").codecs
        transceiver.setCodecPreferences([found for found in known if found.name in (codec, "rtx")])
        self.incoming = IncomingVideo(transceiver.receiver)

    def sends(self, shared: SharedVideo, codec: str = "VP8") -> Any:
        from aiortc import RTCRtpSender

        self.feed = shared.feed()
        transceiver = self.rtc.addTransceiver(self.feed, "sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([found for found in known if found.name in (codec, "rtx")])
        return self.feed

    def channel(self, label: str = "prosopon.control") -> RTCDataChannel:
        return self.rtc.createDataChannel(label)

    async def offer(self) -> str:
        await self.rtc.setLocalDescription(await self.rtc.createOffer())
        return str(self.rtc.localDescription.sdp)

    async def take(self, answer: str) -> None:
        await self.rtc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        for transceiver in self.rtc.getTransceivers():
            if transceiver.kind == "video" and transceiver.currentDirection == "sendonly":
                self.feed.bind(transceiver)

    async def restart(self, peer: Peer) -> None:
        """Restart ICE with new credentials and new sockets, as after a change of networks."""
        link = self.rtc.links[0]
        await link.renew()
        lines = [f"a=ice-ufrag:{link.local_username}", f"a=ice-pwd:{link.local_password}"]
        lines += ["m=video 9 UDP/TLS/RTP/SAVPF 97", "a=mid:0"]
        lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in link.local_candidates]
        told = read_fragment(await peer.restart(read_fragment("\r\n".join(lines) + "\r\n")))
        link.reconnect(told.ufrag, told.password)
        for candidate in told.candidates:
            await link.add_remote_candidate(candidate)

    async def close(self) -> None:
        if self.incoming is not None:
            self.incoming.interrupt()
        await self.rtc.close()


def make_peer(idle: float = 10.0) -> Peer:
    return Peer(IceSettings(), idle)


def echo(peer: Peer) -> Callable[[str | bytes], None]:
    """Says on the control channel what is heard there."""

    def heard(text: str | bytes) -> None:
        assert peer.tell(str(text))

    return heard


async def join(client: Client, peer: Peer, *, receive: bool, send: Any = None) -> None:
    """Offer, answer, and wait until both are connected."""
    await client.take(await peer.accept(await client.offer(), receive=receive, send=send))
    await until(lambda: peer.state == "connected" and client.rtc.connectionState == "connected")


async def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    async def poll() -> None:
        while not true():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), seconds)


def numbered(number: int, width: int = 192, height: int = 128) -> Array:
    """A picture that shows its number, 0 to 255, in bits: eight columns, black or white."""
    bits = [255 if number >> bit & 1 else 0 for bit in range(8)]
    row = np.repeat(np.array(bits, np.uint8), width // 8)
    return np.repeat(np.broadcast_to(row, (height, len(row)))[..., None], 3, axis=2).copy()


def number_of(image: Array) -> int:
    """The number that a `numbered` picture shows, after encoding and scaling."""
    columns = image.astype(float).mean(axis=(0, 2)).reshape(8, -1).mean(axis=1)
    return sum(int(value > 127) << bit for bit, value in enumerate(columns))
