"""The private parts of aiortc 1.16.0 that we use, all of them here.

Its public interface has no way to restart ICE, to see absolute RTP timestamps or sender reports, to bound
its decoder's queue, to ask for key frames or to hear that they are asked for, and no limits on what a
hostile peer makes it keep. `tests/remote/test_rtc_inner.py` fails when one of these parts changes. Those of
its SCTP are in `sctp_inner`, those of aioice in `ice_path`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pylibsrtp
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcicetransport import connection_kwargs
from aiortc.rtcrtpreceiver import RTP_HISTORY_SIZE
from aiortc.rtp import RtcpRtpfbPacket, RtcpSrPacket, RtpPacket

from stream.remote.transport.ice_link import IceLink
from stream.remote.transport.sctp_inner import BoundSctp

log = logging.getLogger(__name__)

MAX_SSRCS = 16
"""Streams that one peer may send; libsrtp and aiortc keep something of each for ever."""

RESENT_PER_SECOND = 400
"""Packets sent again for one peer; aiortc would resend all that a few bytes ask for."""


class PeerConnection(RTCPeerConnection):
    """A peer connection whose ICE can be restarted and whose peer cannot make it keep what it likes.

    There is no way to hand it transports of one's own classes: theirs are changed once they are made.

    :param servers: STUN and TURN servers; none are asked without.
    :ivar links: the ICE connections, one where everything is bundled.
    """

    def __init__(self, servers: list[RTCIceServer]) -> None:
        super().__init__(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.links: list[IceLink] = []
        self._link_servers = connection_kwargs(servers)

    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None:  # noqa: N802
        """As the base class, but candidates of all sections count: everything is bundled."""
        told = RTCSessionDescription(_candidates_last(sessionDescription.sdp), sessionDescription.type)
        await super().setRemoteDescription(told)

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:  # noqa: N802
        dtls = super()._RTCPeerConnection__createDtlsTransport()
        ice = dtls.transport
        link = IceLink(ice_controlling=ice._connection.ice_controlling, **self._link_servers)
        ice.iceGatherer._connection = ice._connection = link
        ice._recv, ice._send = link.recv, link.send
        self.links.append(link)
        dtls.__class__ = _BoundDtls
        return dtls

    def _RTCPeerConnection__createSctpTransport(self) -> None:  # noqa: N802
        super()._RTCPeerConnection__createSctpTransport()
        self.sctp.__class__ = BoundSctp


def _candidates_last(sdp: str) -> str:
    """All candidates in the last section: aiortc takes those of one section, the last of a transport's, and
    browsers write them into the first."""
    lines = sdp.splitlines()
    found = dict.fromkeys(line for line in lines if line.startswith("a=candidate:"))
    return "\r\n".join([*(line for line in lines if line not in found), *found]) + "\r\n"


class _BoundSession:
    """An SRTP session that knows at most `MAX_SSRCS` streams."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._known: set[bytes] = set()

    def unprotect(self, data: bytes) -> bytes:
        return bytes(self._checked(data[8:12], self._session.unprotect, data))

    def unprotect_rtcp(self, data: bytes) -> bytes:
        return bytes(self._checked(data[4:8], self._session.unprotect_rtcp, data))

    def _checked(self, ssrc: bytes, unprotect: Callable[[bytes], bytes], data: bytes) -> bytes:
        if ssrc not in self._known and len(self._known) >= MAX_SSRCS:
            raise pylibsrtp.Error("too many streams")
        plain = unprotect(data)
        self._known.add(ssrc)
        return plain


class _BoundDtls(RTCDtlsTransport):
    """A DTLS transport whose SRTP session is a `_BoundSession`."""

    _rx_srtp: Any

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        if self._rx_srtp is not None:
            self._rx_srtp = _BoundSession(self._rx_srtp)


class FrameSink(Protocol):
    """What gets a receiver's packets and what they mean, on the event loop."""

    def packet(self, packet: RtpPacket, codec: str) -> bool:
        """A packet of video with its payload parsed; whether a key frame should be asked for."""

    def missing(self) -> bool:
        """Whether packets that are known to be missing should be asked for again."""

    def report(self, ntp: int, rtp: int) -> None:
        """A sender report: this NTP time (32.32 bits) was that RTP timestamp."""

    def ended(self) -> None:
        """The stream is over."""


class _Packets(JitterBuffer):
    """In the place of the jitter buffer: hands packets on; frames are put together elsewhere."""

    def __init__(self, sink: FrameSink, codecs: dict[int, Any]) -> None:
        super().__init__(capacity=1, is_video=True)
        self._sink = sink
        self._codecs = codecs

    def add(self, packet: RtpPacket) -> tuple[bool, None]:
        codec = self._codecs.get(packet.payload_type)
        return (codec is not None and self._sink.packet(packet, codec.name)), None


class _Unqueued:
    """In the place of the decoder's queue: aiortc's decoder thread ends at once, and the end is told."""

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink

    def get(self) -> None:
        return None

    def put(self, item: object) -> None:
        if item is None:
            self._sink.ended()


def divert(receiver: RTCRtpReceiver, sink: FrameSink) -> None:
    """Give a video receiver's packets to ``sink``; nothing is queued or decoded by aiortc any more.

    Before the connection is up. RTCP, NACK and retransmission stay with aiortc.
    """
    receiver._RTCRtpReceiver__jitter_buffer = _Packets(sink, receiver._RTCRtpReceiver__codecs)
    receiver._RTCRtpReceiver__decoder_queue = _Unqueued(sink)
    nack, handle = receiver._RTCRtpReceiver__nack_generator, receiver._handle_rtcp_packet
    add = nack.add

    def add_again(packet: RtpPacket) -> bool:
        last = nack.max_seq
        if last is not None and RTP_HISTORY_SIZE < (packet.sequence_number - last) % 2**16 < 2**15:
            # Too many to be asked for; aiortc would walk through all of them first.
            nack.missing.clear()
            nack.max_seq = packet.sequence_number
            return False
        missed: bool = add(packet)
        return missed or (bool(nack.missing) and sink.missing())

    async def handle_report(packet: Any) -> None:
        if isinstance(packet, RtcpSrPacket):
            sink.report(packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await handle(packet)

    nack.add = add_again
    receiver._handle_rtcp_packet = handle_report


def forget_missing(receiver: RTCRtpReceiver) -> None:
    """Ask no more for packets of pictures that were given up."""
    receiver._RTCRtpReceiver__nack_generator.missing.clear()


async def ask_key_frame(receiver: RTCRtpReceiver, ssrc: int) -> None:
    """Send a picture loss indication (RFC 4585 section 6.3.1)."""
    await receiver._send_rtcp_pli(ssrc)


def negotiated_codec(transceiver: RTCRtpTransceiver) -> str:
    """Name of the codec that the transceiver sends: ``VP8`` or ``H264``."""
    return str(transceiver._codecs[0].name)


def prefer_codec(transceiver: RTCRtpTransceiver, name: str) -> None:
    """Put one of the codecs that both sides know first; before the answer is made."""
    transceiver._codecs = sorted(transceiver._codecs, key=lambda codec: _base(transceiver, codec) != name)


def _base(transceiver: RTCRtpTransceiver, codec: Any) -> str:
    """The codec's name; for retransmission, that of what is sent again."""
    if codec.name != "rtx":
        return str(codec.name)
    apt = codec.parameters.get("apt")
    return next((str(c.name) for c in transceiver._codecs if c.payloadType == apt), "")


def hear_requests(sender: RTCRtpSender, on_key: Callable[[], None]) -> None:
    """Call ``on_key`` when the other side asks for a key frame; bound what it can have sent again."""
    handle: Callable[[Any], Awaitable[None]] = sender._handle_rtcp_packet
    budget, refilled = float(RESENT_PER_SECOND), time.monotonic()

    async def bounded(packet: Any) -> None:
        nonlocal budget, refilled
        if isinstance(packet, RtcpRtpfbPacket):
            now = time.monotonic()
            budget = min(RESENT_PER_SECOND, budget + (now - refilled) * RESENT_PER_SECOND)
            refilled = now
            packet.lost = packet.lost[: int(budget)]  # one packet can name thousands
            budget -= len(packet.lost)
        await handle(packet)

    sender._handle_rtcp_packet = bounded
    sender._send_keyframe = on_key


def sent_timestamp(sender: RTCRtpSender) -> int | None:
    """RTP timestamp of the packet sent last; None before the first."""
    if not sender._RTCRtpSender__packet_count:
        return None
    return int(sender._RTCRtpSender__rtp_timestamp)
