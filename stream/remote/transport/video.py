"""A session's pictures as video for its viewers: encoded once per codec in use, however many watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
from aiortc import MediaStreamTrack, RTCRtpSender, RTCRtpTransceiver
from aiortc.mediastreams import MediaStreamError

from stream.pipeline.slot import Slot
from stream.protocol.clock import media_time
from stream.remote.transport.encoders import TIME_BASE, VideoEncoder, fit
from stream.remote.transport.rtc_inner import hear_requests, negotiated_codec, sent_timestamp
from stream.types import Array

log = logging.getLogger(__name__)

KEY_SECONDS = 0.5
"""Least time between two key frames that were asked for, whoever asked: each costs all viewers."""

MAX_WAITING = 5
"""Packets that a feed keeps for a sender that is late. One lost costs a key frame, hence not just one."""

LOG_SECONDS = 1.0
"""Between two messages about pictures that cannot be encoded."""


@dataclass(frozen=True, slots=True)
class _Packet:
    data: bytes
    media: int
    key: bool


class VideoFeed(MediaStreamTrack):
    """One viewer's track: encoded packets, from a key frame on. From `SharedVideo.feed`, on the event loop.

    A feed whose sender does not take its packets drops them all and goes on with the next key frame.

    :ivar dropped: packets that were not sent.
    """

    kind = "video"

    def __init__(self, shared: SharedVideo) -> None:
        super().__init__()
        self.dropped = 0
        self.codec: str | None = None
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._sender: RTCRtpSender | None = None
        self._queue: deque[_Packet] = deque()
        self._news = asyncio.Event()
        self._starved = True
        self._wanted = False
        self._sent: int | None = None
        self._offset: int | None = None

    def bind(self, transceiver: RTCRtpTransceiver) -> None:
        """The transceiver's codec is settled, and this is its sender's track."""
        self._sender = transceiver.sender
        self.codec = negotiated_codec(transceiver)
        hear_requests(transceiver.sender, self._ask_key)
        self._join()

    def rtp_offset(self) -> int | None:
        """RTP timestamps less `media_time`, modulo 2^32; None before the first picture was sent."""
        self._find_offset()
        return self._offset

    async def recv(self) -> av.Packet:
        """The next packet, for aiortc's sender.

        :raises MediaStreamError: the track has ended.
        """
        self._find_offset()
        if not self._wanted:
            self._wanted = True
            self._join()
        while not self._queue:
            if self.readyState != "live":
                raise MediaStreamError
            self._news.clear()
            await self._news.wait()
        packet = self._queue.popleft()
        self._sent = packet.media
        self._shared.sent += 1
        made = av.Packet(packet.data)
        made.pts, made.time_base = packet.media, TIME_BASE
        return made

    def stop(self) -> None:
        """End the track: it is not encoded for any more."""
        super().stop()
        self._shared._left(self)
        self._queue.clear()
        self._news.set()

    def _find_offset(self) -> None:
        """Compare what was sent with what was given; aiortc's sender adds a random number of its own.

        Its last timestamp is that of the last packet given once it comes for the next one.
        """
        if self._offset is None and self._sent is not None and self._sender is not None:
            timestamp = sent_timestamp(self._sender)
            if timestamp is not None:
                self._offset = (timestamp - self._sent) % 2**32

    def _join(self) -> None:
        """Have pictures encoded, once the connection is up and takes them: for a viewer that never connects,
        all others would get key frames again and again."""
        if self._wanted and self.codec is not None:
            self._shared._joined(self)

    def _ask_key(self) -> None:
        self._shared._ask_key(self.codec)

    def _take(self, packet: _Packet) -> None:
        """A packet was encoded; on the event loop."""
        if self.readyState != "live":
            return
        if len(self._queue) >= MAX_WAITING:
            self._lose(len(self._queue))
            self._queue.clear()
            self._starved = True
            self._ask_key()
        if self._starved and not packet.key:
            self._lose(1)
            return
        self._starved = False
        self._queue.append(packet)
        self._news.set()

    def _lose(self, packets: int) -> None:
        self.dropped += packets
        self._shared.unsent += packets


class SharedVideo:
    """Encodes pictures on a thread of its own, as long as there is a feed; each codec has one encoder.

    :param side: longer side of the video, pixels; smaller pictures are not enlarged.
    :param kbps: bit rate.
    :ivar dropped: pictures replaced by newer ones before they were encoded.
    :ivar sent, unsent: packets that feeds gave to their connections, and those they did not, all together.
    """

    def __init__(self, side: int, kbps: int) -> None:
        self.dropped = self.sent = self.unsent = 0
        self._side = side
        self._kbps = kbps
        self._pictures: Slot[tuple[Array, int]] = Slot("latest", self._overtaken)
        self._lock = threading.Lock()
        self._feeds: list[VideoFeed] = []
        self._keys: set[str] = set()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._encoders: dict[str, VideoEncoder] = {}
        self._last_keys: dict[str, float] = {}
        self._last_ticks = -1
        self._silent_until = float("-inf")

    def offer(self, image: Array, captured_micros: int) -> None:
        """Have a picture sent, from any thread; an older one that still waits is replaced.

        :param image: (H, W, 3) uint8 RGB, not written to any more.
        :param captured_micros: when it was taken (`stream.protocol.clock.wall_micros`).
        """
        if self._feeds and not self._closed:
            self._pictures.put((image, captured_micros))

    def feed(self) -> VideoFeed:
        """A track for one viewer; on the event loop."""
        return VideoFeed(self)

    def close(self) -> None:
        """End all feeds and the thread, from any thread; waits for neither."""
        with self._lock:
            self._closed = True
            feeds = list(self._feeds)
        self._pictures.close()
        for feed in feeds:
            _on_loop(feed, feed.stop)

    def _joined(self, feed: VideoFeed) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._feeds.append(feed)
                assert feed.codec is not None
                self._keys.add(feed.codec)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="prosopon-video", daemon=True)
                    self._thread.start()
        if closed:
            feed.stop()

    def _left(self, feed: VideoFeed) -> None:
        with self._lock:
            if feed in self._feeds:
                self._feeds.remove(feed)

    def _ask_key(self, codec: str | None) -> None:
        if codec is not None:
            with self._lock:
                self._keys.add(codec)

    def _run(self) -> None:
        while isinstance(picture := self._pictures.get(), tuple):
            try:
                self._encode(*picture)
            except Exception as error:  # the thread serves all viewers: one picture must not end it
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._encoders.clear()
        log.debug("A picture cannot be encoded.", exc_info=error)
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + LOG_SECONDS
            log.warning("A picture cannot be encoded as video: %s: %s", type(error).__name__, error)

    def _overtaken(self, picture: tuple[Array, int]) -> None:
        self.dropped += 1

    def _encode(self, image: Array, micros: int) -> None:
        ticks = micros * 9 // 100
        if ticks <= self._last_ticks:
            self._encoders.clear()  # the clock was set back, or a picture came twice: times must grow
        self._last_ticks = ticks
        feeds, keys = self._wanted()
        used = {feed.codec for feed in feeds if feed.codec is not None}
        self._encoders = {codec: made for codec, made in self._encoders.items() if codec in used}
        if not used:
            return
        yuv = fit(image, self._side)
        for codec in sorted(used):
            encoder = self._encoders.setdefault(codec, VideoEncoder(codec, self._kbps))
            data, key = encoder.encode(yuv, ticks, codec in keys)
            packet = _Packet(data, media_time(micros), key)
            for feed in feeds:
                if data and feed.codec == codec:
                    _on_loop(feed, feed._take, packet)

    def _wanted(self) -> tuple[list[VideoFeed], set[str]]:
        """The feeds, and the codecs whose next picture is to be a key frame.

        Requests are met by the picture that begins now; one that comes while it is encoded is for the next.
        """
        now = time.monotonic()
        with self._lock:
            due = {c for c in self._keys if now - self._last_keys.get(c, float("-inf")) >= KEY_SECONDS}
            self._keys -= due
            self._last_keys |= dict.fromkeys(due, now)
            return list(self._feeds), due


def _on_loop(feed: VideoFeed, call: Callable[..., None], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # the feed's event loop is closed
        feed._loop.call_soon_threadsafe(call, *args)
