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
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from stream.remote.transport import rtc_inner
from stream.remote.transport.rtc_inner import PeerConnection, hear_requests, prefer_codec


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
        (RTCRtpSender, "_handle_rtcp_packet"),
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


@pytest.mark.parametrize("step", [129, 20_000, 32_767])
def test_numbers_that_jump_are_not_walked_through(step: int) -> None:
    async def jump() -> None:
        rtc = PeerConnection([])
        receiver: Any = rtc.addTransceiver("video", "recvonly").receiver
        rtc_inner.divert(receiver, SimpleNamespace(missing=lambda: False))
        nack = receiver._RTCRtpReceiver__nack_generator
        asked: list[int] = []

        class Missing(set[int]):
            def add(self, number: int) -> None:
                asked.append(number)

        nack.missing = Missing()
        for count in range(10):
            number = count * step % 2**16
            assert not nack.add(SimpleNamespace(sequence_number=number))
            assert nack.max_seq == number
        assert asked == []
        await rtc.close()

    asyncio.run(jump())


def test_packets_that_are_missing_are_asked_for() -> None:
    async def miss() -> None:
        rtc = PeerConnection([])
        receiver: Any = rtc.addTransceiver("video", "recvonly").receiver
        rtc_inner.divert(receiver, SimpleNamespace(missing=lambda: False))
        nack = receiver._RTCRtpReceiver__nack_generator
        for number in (65_530, 65_531, 3, 100):
            nack.add(SimpleNamespace(sequence_number=number))
        assert nack.missing == {*range(65_532, 65_536), *range(3), *range(4, 100)}
        await rtc.close()

    asyncio.run(miss())


def test_what_is_sent_again_is_bounded() -> None:
    async def ask() -> int:
        rtc = PeerConnection([])
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

    assert asyncio.run(ask()) == rtc_inner.RESENT_PER_SECOND


def test_a_preferred_codec_comes_first_with_its_retransmission() -> None:
    def codec(name: str, number: int, **parameters: int) -> SimpleNamespace:
        return SimpleNamespace(name=name, payloadType=number, parameters=parameters)

    codecs = [codec("H264", 1), codec("rtx", 2, apt=1), codec("VP8", 3), codec("rtx", 4, apt=3)]
    transceiver = SimpleNamespace(_codecs=codecs)
    prefer_codec(transceiver, "VP8")
    assert [found.payloadType for found in transceiver._codecs] == [3, 4, 1, 2]
