"""One encoder for all viewers: when it works, key frames, newest wins."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from remote.rtc_pair import number_of, numbered, until

from stream.protocol.clock import media_time
from stream.remote.transport import encoders, video
from stream.remote.transport.assembly import is_key
from stream.remote.transport.encoders import CODECS, VideoEncoder, fit
from stream.remote.transport.video import KEY_SECONDS, MAX_WAITING, SharedVideo, VideoFeed

DECODERS = {"VP8": "libvpx", "H264": "h264"}
NOW = 1_763_000_000_000_000


def transceiver(codec: str) -> Any:
    """As much of a transceiver as a feed looks at."""
    sender = SimpleNamespace(
        _handle_rtcp_packet=None, _RTCRtpSender__packet_count=0, _RTCRtpSender__rtp_timestamp=0
    )
    return SimpleNamespace(sender=sender, _codecs=[SimpleNamespace(name=codec)])


def bound(shared: SharedVideo, codec: str = "VP8") -> VideoFeed:
    feed = shared.feed()
    feed.bind(transceiver(codec))
    feed._wanted = True  # as if its connection had asked for the first packet
    feed._join()
    return feed


async def offered(shared: SharedVideo, feed: VideoFeed, number: int) -> bytes:
    """Offer a picture and take its packet."""
    shared.offer(numbered(number), NOW + number * 33_333)
    packet = await asyncio.wait_for(feed.recv(), 5)
    assert packet.pts == media_time(NOW + number * 33_333)
    return bytes(packet)


@pytest.mark.parametrize("codec", CODECS)
def test_each_picture_gives_its_packet_at_once(codec: str) -> None:
    encoder, decoder = VideoEncoder(codec, 800), av.CodecContext.create(DECODERS[codec], "r")
    decoder.options = {"flags": "low_delay"}
    for number in range(40):
        size = (192, 128) if number < 20 else (128, 192)  # turned over in the middle
        data, key = encoder.encode(fit(numbered(number, *size), 640), 1000 + number * 3000, number == 10)
        assert key == (number in (0, 10, 20)) == is_key(codec, data)
        (frame,) = decoder.decode(av.Packet(data))
        assert number_of(frame.to_ndarray(format="rgb24")) == number
        assert (frame.width, frame.height) == size


@pytest.mark.parametrize("codec", CODECS)
def test_the_bit_rate_is_kept(codec: str) -> None:
    encoder, noise = VideoEncoder(codec, 500), np.random.default_rng(0)
    total = 0
    for number in range(90):
        image = np.kron(noise.integers(0, 255, (30, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        total += len(encoder.encode(fit(image, 640), number * 3000, False)[0])
    assert 100 < total * 8 / 3 / 1000 < 700


@pytest.mark.parametrize(
    ("size", "fitted"), [((640, 480), (640, 480)), ((1280, 720), (320, 180)), ((641, 999), (204, 320))]
)
def test_pictures_are_scaled_down_to_even_sizes(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    side = 640 if size == (640, 480) else 320
    yuv = fit(np.zeros((size[1], size[0], 3), np.uint8), side)
    assert (yuv.shape[1], yuv.shape[0] * 2 // 3) == fitted


def test_nothing_is_encoded_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "fit", lambda *_: pytest.fail("encoded for nobody"))

    async def run() -> None:
        shared = SharedVideo(640, 800)
        shared.feed()  # made, but not bound to a connection yet
        shared.offer(numbered(1), NOW)
        assert shared._thread is None
        assert not shared._pictures._items
        shared.close()

    asyncio.run(run())


def test_one_encoder_serves_all_viewers_of_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counted(VideoEncoder):
        def __init__(self, codec: str, kbps: int) -> None:
            made.append(codec)
            super().__init__(codec, kbps)

    monkeypatch.setattr(video, "VideoEncoder", Counted)

    async def run() -> None:
        shared = SharedVideo(640, 800)
        feeds = [bound(shared, codec) for codec in ("VP8", "H264", "VP8", "VP8")]
        shared.offer(numbered(1), NOW)
        first, other, second, third = [bytes(await asyncio.wait_for(feed.recv(), 5)) for feed in feeds]
        assert first == second == third != other
        assert sorted(set(made)) == ["H264", "VP8"]
        feeds[1].stop()
        await offered(shared, feeds[0], 2)
        assert set(shared._encoders) == {"VP8"}
        shared.close()

    asyncio.run(run())


def test_a_new_viewer_begins_with_a_key_frame() -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        first = bound(shared)
        assert is_key("VP8", await offered(shared, first, 1))
        assert not is_key("VP8", await offered(shared, first, 2))
        shared._last_keys.clear()
        second = bound(shared)
        assert is_key("VP8", await offered(shared, first, 3))
        assert is_key("VP8", bytes(await second.recv()))
        shared.close()

    asyncio.run(run())


def test_asked_for_key_frames_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(video, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def run() -> int:
        shared = SharedVideo(640, 800)
        feed, keys = bound(shared), 0
        for number in range(60):  # two seconds in which every picture is asked to be a key frame
            feed._sender._send_keyframe()
            keys += is_key("VP8", await offered(shared, feed, number))
            now[0] += 1 / 30
        shared.close()
        return keys

    assert asyncio.run(run()) == pytest.approx(2 / KEY_SECONDS, abs=1)


def test_a_feed_that_does_not_take_its_packets_goes_on_with_a_key_frame() -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        quick, slow = bound(shared), bound(shared)
        shared._last_keys.clear()
        for number in range(MAX_WAITING + 1):
            await offered(shared, quick, number)
        await until(lambda: slow.dropped == MAX_WAITING + 1)
        assert not slow._queue
        shared._last_keys.clear()
        assert is_key("VP8", await offered(shared, quick, 50))
        packet = await asyncio.wait_for(slow.recv(), 5)
        assert is_key("VP8", bytes(packet))
        assert packet.pts == media_time(NOW + 50 * 33_333)
        shared.close()

    asyncio.run(run())


def test_a_viewer_that_never_connects_costs_the_others_nothing() -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        absent = shared.feed()
        absent.bind(transceiver("VP8"))  # answered, and never heard of again
        present = bound(shared)
        for number in range(3 * MAX_WAITING):
            assert is_key("VP8", await offered(shared, present, number)) == (number == 0)
        shared._last_keys.clear()
        assert not is_key("VP8", await offered(shared, present, 50)), "nobody asked for one"
        assert (absent.dropped, shared.unsent, shared.sent) == (0, 0, 3 * MAX_WAITING + 1)
        shared.close()

    asyncio.run(run())


def test_the_newest_picture_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        feed = bound(shared)
        with shared._pictures._changed:  # the encoder cannot take anything yet
            for number in range(5):
                shared.offer(numbered(number), NOW + number * 33_333)
        packet = await asyncio.wait_for(feed.recv(), 5)
        assert packet.pts == media_time(NOW + 4 * 33_333)
        assert shared.dropped == 4
        shared.close()

    asyncio.run(run())


def test_a_clock_that_is_set_back_and_a_broken_picture_do_no_harm() -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        feed = bound(shared)
        await offered(shared, feed, 9)
        assert is_key("VP8", await offered(shared, feed, 3)), "begun anew"
        shared.offer(np.zeros((4, 4), np.uint8), NOW + 10**9)
        await until(lambda: not shared._pictures._items and shared._last_ticks > NOW * 9 // 100 + 10**7)
        shared.offer(numbered(7), NOW + 2 * 10**9)
        assert (await asyncio.wait_for(feed.recv(), 5)).pts == media_time(NOW + 2 * 10**9)
        shared.close()

    asyncio.run(run())


def test_closing_ends_the_feeds_and_the_thread() -> None:
    async def run() -> None:
        shared = SharedVideo(640, 800)
        feed = bound(shared)
        waiting = asyncio.ensure_future(feed.recv())
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, shared.close)
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(waiting, 5)
        thread = shared._thread
        assert thread is not None
        thread.join(5)
        assert not thread.is_alive()
        late = bound(shared)
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(late.recv(), 5)

    begun = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begun < 3
    assert encoders.CODECS[0] == "VP8"
