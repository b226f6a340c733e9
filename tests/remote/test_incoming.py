"""A received track: newest wins, bounded, right after drops, whatever size and codec come."""

import asyncio
import struct
import threading
import time
from collections import deque
from typing import Any

import av
import numpy as np
import psutil
import pytest
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket
from remote.rtc_pair import number_of, numbered, until

from stream.protocol.clock import media_time, wall_micros
from stream.remote.server.sessions.webrtc import WebRtcSource
from stream.remote.transport.assembly import EncodedPicture
from stream.remote.transport.encoders import VideoEncoder, fit
from stream.remote.transport.incoming import MAX_WAITING, IncomingVideo, _Decoder
from stream.remote.transport.rtc_inner import PeerConnection

SIZES = [(192, 128), (640, 480), (128, 192), (480, 360)]


class Track:
    """A track without a network: what its assembler would give is given by the test."""

    def __init__(self, codec: str = "VP8") -> None:
        self.rtc = PeerConnection([])
        self.receiver: Any = self.rtc.addTransceiver("video", "recvonly").receiver
        self.incoming = IncomingVideo(self.receiver)
        self.asked: list[int] = []
        self.codec = codec
        self.encoder = VideoEncoder(codec, 1000)
        self.ticks = 1000

        async def asked(ssrc: int) -> None:
            self.asked.append(ssrc)

        self.receiver._send_rtcp_pli = asked

    def give(self, number: int, size: tuple[int, int] = (192, 128), key: bool = False) -> None:
        self.ticks += 3000
        data, is_key = self.encoder.encode(fit(numbered(number, *size), 640), self.ticks, key)
        picture = EncodedPicture(self.codec, data, self.ticks % 2**32, time.monotonic(), is_key)
        self.incoming._arrived(picture)

    async def read(self) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, self.incoming.wait)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_size_and_rotation_may_change_at_any_time(codec: str) -> None:
    async def run() -> None:
        track = Track(codec)
        source = WebRtcSource(track.incoming)
        source.open()
        for number in range(40):
            size = SIZES[number // 10]
            track.give(number, size)
            frame = source.read()
            assert frame is not None
            assert frame.image.shape == (size[1], size[0], 3)
            assert frame.image.flags.c_contiguous
            assert (number_of(frame.image), frame.index, frame.source) == (number, number, "webrtc")
        assert track.incoming.dropped == 0
        await track.rtc.close()

    asyncio.run(run())


def test_the_codec_may_change_too() -> None:
    async def run() -> None:
        track = Track("VP8")
        track.give(3)
        assert number_of((await track.read()).image) == 3
        track.codec, track.encoder = "H264", VideoEncoder("H264", 1000)
        track.give(4)
        assert number_of((await track.read()).image) == 4
        await track.rtc.close()

    asyncio.run(run())


def test_the_colours_are_right() -> None:
    async def run() -> None:
        track = Track()
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :32], image[:, 32:64], image[:, 64:] = (200, 40, 30), (30, 180, 60), (40, 60, 220)
        data, _ = track.encoder.encode(fit(image, 640), 1000, True)
        track.incoming._arrived(EncodedPicture("VP8", data, 1, time.monotonic(), True))
        seen = (await track.read()).image
        for x in (16, 48, 80):
            assert np.abs(seen[32, x].astype(int) - image[32, x]).max() <= 8
        await track.rtc.close()

    asyncio.run(run())


def test_the_newest_wins_and_the_others_are_counted() -> None:
    async def run() -> None:
        track = Track()
        for number in range(6):
            track.give(number)
        picture = await track.read()
        assert (number_of(picture.image), picture.index, track.incoming.dropped) == (5, 5, 5)
        track.give(6)
        assert (await track.read()).index == 6
        await track.rtc.close()

    asyncio.run(run())


def test_a_key_frame_takes_the_place_of_all_before_it() -> None:
    async def run() -> None:
        track = Track()
        for number in range(6):
            track.give(number, key=number == 4)
        assert len(track.incoming._queue) == 2
        assert number_of((await track.read()).image) == 5
        assert track.incoming.dropped == 5
        await track.rtc.close()

    asyncio.run(run())


def test_a_reader_that_sleeps_costs_bounded_memory_and_goes_on_with_a_key_frame() -> None:
    async def run() -> None:
        track = Track()
        for number in range(3 * MAX_WAITING):
            track.give(number % 256)
            assert len(track.incoming._queue) <= MAX_WAITING
        assert track.incoming.dropped == 3 * MAX_WAITING
        assert track.asked == [], "nobody reads: nobody asks"
        reading = asyncio.ensure_future(track.read())
        for _ in range(200):
            await asyncio.sleep(0.005)
            if track.asked:
                break
        track.give(99)
        assert not reading.done(), "a picture that builds on lost ones is not decoded"
        track.give(7, key=True)
        picture = await asyncio.wait_for(reading, 5)
        assert (number_of(picture.image), picture.index) == (7, 3 * MAX_WAITING + 1)
        assert len(track.asked) >= 1
        await track.rtc.close()

    asyncio.run(run())


def test_a_damaged_picture_is_left_out_and_a_key_frame_asked_for() -> None:
    async def run() -> None:
        track = Track()
        track.give(1)
        await track.read()
        track.incoming._arrived(EncodedPicture("VP8", b"\x01", 5, time.monotonic(), False))
        reading = asyncio.ensure_future(track.read())
        for _ in range(200):
            await asyncio.sleep(0.005)
            if track.asked:
                break
        assert track.asked == [0]
        track.give(8, key=True)
        assert number_of((await asyncio.wait_for(reading, 5)).image) == 8
        await track.rtc.close()

    asyncio.run(run())


def test_a_picture_too_large_is_not_decoded() -> None:
    """Sixteen bytes that announce 16383 x 16383 pixels: 400 MB."""
    data = bytes([0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A]) + struct.pack("<HH", 16383, 16383) + bytes(6)

    async def run() -> None:
        track = Track()
        track.incoming._arrived(EncodedPicture("VP8", data, 5, time.monotonic(), True))
        track.incoming.ended()
        assert await track.read() is None
        assert track.incoming.dropped == 1
        await track.rtc.close()

    asyncio.run(run())


def test_sender_reports_reach_the_clock() -> None:
    async def run() -> None:
        track = Track()
        micros = wall_micros(time.monotonic() - 0.25)
        ntp = int((micros / 1e6 + 2_208_988_800) * 2**32)
        info = RtcpSenderInfo(ntp_timestamp=ntp, rtp_timestamp=4000, packet_count=1, octet_count=1)
        await track.receiver._handle_rtcp_packet(RtcpSrPacket(ssrc=1, sender_info=info))
        track.give(1)  # its timestamp is 4000
        picture = await track.read()
        assert picture.arrival - picture.captured == pytest.approx(0.25, abs=0.1)
        track.incoming.clock.offset = (7000 - media_time(micros)) % 2**32
        track.give(2)
        picture = await track.read()
        assert abs(wall_micros(picture.captured) - micros) < 120, "not before the one before it, else exact"
        await track.rtc.close()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["ended", "interrupt"])
def test_a_waiting_reader_is_woken(how: str) -> None:
    async def run() -> None:
        track = Track()
        source, given = WebRtcSource(track.incoming), []
        thread = threading.Thread(target=lambda: given.append(source.read()))
        thread.start()
        getattr(track.incoming, how)()
        thread.join(5)
        assert given == [None]
        assert source.read() is None
        await track.rtc.close()

    asyncio.run(run())


def test_a_second_reader_counts_anew() -> None:
    async def run() -> None:
        track = Track()
        for number in range(5):
            track.give(number)
        assert (await track.read()).index == 4
        track.incoming.interrupt()
        assert await track.read() is None
        track.incoming.resume()
        track.give(7)
        picture = await track.read()
        assert (number_of(picture.image), picture.index, track.incoming.dropped) == (7, 0, 0)
        await track.rtc.close()

    asyncio.run(run())


def test_a_small_frame_that_says_it_is_huge_is_not_decoded() -> None:
    async def run() -> None:
        track = Track()
        data, _ = track.encoder.encode(fit(numbered(3), 640), 1000, True)
        huge = data[:6] + (16_383).to_bytes(2, "little") * 2 + data[10:]
        memory = psutil.Process().memory_info().rss
        track.incoming._arrived(EncodedPicture("VP8", huge, 1, time.monotonic(), True))
        track.give(4)
        track.give(5, key=True)
        assert number_of((await track.read()).image) == 5
        decoder = _Decoder()
        for _ in range(3):
            with pytest.raises(av.InvalidDataError, match="too large"):
                decoder.decode(EncodedPicture("VP8", huge, 1, 0.0, True))
        assert psutil.Process().memory_info().rss - memory < 100e6, "libvpx would take 800 MB"
        await track.rtc.close()

    asyncio.run(run())


def test_what_waits_too_long_is_given_up_for_a_key_frame() -> None:
    async def run() -> None:
        track = Track()
        begun = time.monotonic()
        for number in range(40):  # nobody reads
            track.ticks += 3000
            data, key = track.encoder.encode(fit(numbered(number), 640), track.ticks, False)
            picture = EncodedPicture("VP8", data, track.ticks, begun + number / 30, key)
            track.incoming._arrived(picture)
        assert track.incoming._queue == deque()
        assert track.incoming.dropped == 40
        waiting = asyncio.ensure_future(track.read())
        await until(lambda: bool(track.asked))
        track.give(99, key=True)
        assert number_of((await waiting).image) == 99
        await track.rtc.close()

    asyncio.run(run())


def test_what_came_before_the_end_is_still_given() -> None:
    async def run() -> None:
        track = Track()
        track.give(1)
        track.incoming.ended()
        assert number_of((await track.read()).image) == 1
        assert await track.read() is None
        await track.rtc.close()

    asyncio.run(run())
