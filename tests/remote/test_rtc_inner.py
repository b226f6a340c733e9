"""The private parts of aiortc that we lean on are there, and hostile peers cannot make it keep much."""

import asyncio
import inspect
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pylibsrtp
import pytest
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, rtcrtpreceiver, rtcrtpsender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceTransport
from aiortc.rtcsctptransport import RTCSctpTransport
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from stream.remote.peers import rtc_inner
from stream.remote.peers.rtc_inner import Connection, hear_requests, prefer_codec


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aiortc") == "1.16.0", "read peers/rtc_inner.py against the new version first"


def test_the_parts_are_there() -> None:
    async def parts() -> None:
        rtc = RTCPeerConnection()
        transceiver = rtc.addTransceiver("video")
        receiver, sender = transceiver.receiver, transceiver.sender
        for name in ("jitter_buffer", "decoder_queue", "nack_generator", "codecs"):
            assert hasattr(receiver, f"_RTCRtpReceiver__{name}")
        for name in ("packet_count", "rtp_timestamp"):
            assert hasattr(sender, f"_RTCRtpSender__{name}")
        assert transceiver._codecs == []
        ice = receiver.transport.transport
        assert ice._connection is ice.iceGatherer._connection
        assert callable(ice._recv)
        assert callable(ice._send)
        await rtc.close()

    asyncio.run(parts())
    for owner, name in [
        (RTCPeerConnection, "_RTCPeerConnection__createDtlsTransport"),
        (RTCPeerConnection, "_RTCPeerConnection__createSctpTransport"),
        (RTCRtpReceiver, "_handle_rtcp_packet"),
        (RTCRtpReceiver, "_send_rtcp_pli"),
        (RTCRtpSender, "_retransmit"),
        (RTCRtpSender, "_send_keyframe"),
        (RTCDtlsTransport, "_setup_srtp"),
        (RTCSctpTransport, "_receive_data_chunk"),
        (RTCSctpTransport, "_data_channel_receive"),
    ]:
        assert callable(getattr(owner, name)), name


def test_aiortc_still_calls_them() -> None:
    """What we replace on an instance is looked up there, by these names."""
    receiver = inspect.getsource(rtcrtpreceiver)
    for call in ("self.__jitter_buffer.add(packet)", "self.__nack_generator.add(packet)"):
        assert call in receiver
    assert "self.__decoder_queue.put(None)" in receiver
    assert "task = input_q.get()" in receiver
    sender = inspect.getsource(rtcrtpsender)
    for call in ("await self._retransmit(seq)", "self._send_keyframe()", "self.__encoder.pack(data)"):
        assert call in sender
    transport = inspect.getsource(RTCIceTransport)
    for call in ("self._connection.connect()", "self._connection.get_event()", "self._connection.close()"):
        assert call in transport
    dtls = inspect.getsource(RTCDtlsTransport)
    for call in ("self._setup_srtp()", "self._rx_srtp.unprotect(data)", "self.transport._recv()"):
        assert call in dtls


def test_a_peer_can_send_few_streams_only() -> None:
    taken: list[bytes] = []
    session = SimpleNamespace(
        unprotect=lambda data: taken.append(data) or data, unprotect_rtcp=lambda data: data
    )
    bound = rtc_inner._BoundSession(session)
    for ssrc in range(rtc_inner.MAX_SSRCS):
        bound.unprotect(bytes(8) + ssrc.to_bytes(4, "big"))
    with pytest.raises(pylibsrtp.Error):
        bound.unprotect(bytes(8) + b"\xff\xff\xff\xff")
    with pytest.raises(pylibsrtp.Error):
        bound.unprotect_rtcp(bytes(4) + b"\xff\xff\xff\xff")
    bound.unprotect(bytes(12))
    assert len(taken) == rtc_inner.MAX_SSRCS + 1


def test_a_stream_that_is_not_authentic_takes_no_place() -> None:
    def refuse(data: bytes) -> bytes:
        raise pylibsrtp.Error

    bound = rtc_inner._BoundSession(SimpleNamespace(unprotect=refuse, unprotect_rtcp=refuse))
    for ssrc in range(100):
        with pytest.raises(pylibsrtp.Error):
            bound.unprotect(bytes(8) + ssrc.to_bytes(4, "big"))
    assert bound._known == set()


def test_a_peer_that_sends_more_than_its_window_is_cut_off() -> None:
    async def flood() -> None:
        rtc = Connection([])
        rtc.createDataChannel("x")
        sctp: Any = rtc.sctp
        sctp._last_received_tsn = 0
        sctp._inbound_streams_max = 10
        first = SimpleNamespace(tsn=2, stream_id=1, stream_seq=0, flags=2, protocol=53, user_data=bytes(1000))
        await sctp._receive_data_chunk(first)
        with pytest.raises(ConnectionError):  # noqa: PT012
            for tsn in range(3, 3000):
                await sctp._receive_data_chunk(SimpleNamespace(**{**vars(first), "tsn": tsn, "flags": 0}))
        held = sum(len(chunk.user_data) for chunk in sctp._inbound_streams[1].reassembly)
        assert held < 1_100_000
        await rtc.close()

    asyncio.run(flood())


def test_a_peer_opens_few_channels_only() -> None:
    async def open_many() -> None:
        rtc = Connection([])
        rtc.createDataChannel("x")
        sctp: Any = rtc.sctp
        for stream in range(1, 100, 2):
            await sctp._data_channel_receive(stream, 50, b"\x03" + bytes(11))
        assert len(sctp._data_channels) == rtc_inner.MAX_CHANNELS
        await rtc.close()

    asyncio.run(open_many())


def test_what_is_sent_again_is_bounded() -> None:
    async def ask() -> int:
        rtc = Connection([])
        sender = rtc.addTransceiver("video").sender
        resent: list[int] = []

        async def resend(number: int) -> None:
            resent.append(number)

        sender._retransmit = resend
        hear_requests(sender, lambda: None)
        nack = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender._ssrc, lost=[7] * 5000)
        await sender._handle_rtcp_packet(nack)
        await rtc.close()
        return len(resent)

    assert rtc_inner.RESENT_PER_SECOND <= asyncio.run(ask()) < 2 * rtc_inner.RESENT_PER_SECOND


def test_a_preferred_codec_comes_first_with_its_retransmission() -> None:
    def codec(name: str, number: int, **parameters: int) -> SimpleNamespace:
        return SimpleNamespace(name=name, payloadType=number, parameters=parameters)

    codecs = [codec("H264", 1), codec("rtx", 2, apt=1), codec("VP8", 3), codec("rtx", 4, apt=3)]
    transceiver = SimpleNamespace(_codecs=codecs)
    prefer_codec(transceiver, "VP8")  # type: ignore[arg-type]
    assert [found.payloadType for found in transceiver._codecs] == [3, 4, 1, 2]
