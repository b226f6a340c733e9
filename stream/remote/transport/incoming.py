"""A received video track: its packets are drained at once, the newest picture is decoded by who reads it."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.rtp import RtpPacket
from av.video.reformatter import VideoReformatter

from stream.remote.transport.assembly import KEY_SECONDS, PATIENCE, Assembler, EncodedPicture
from stream.remote.transport.rtc_inner import ask_key_frame, divert, forget_missing
from stream.remote.transport.rtp_clock import RtpClock
from stream.types import Array

log = logging.getLogger(__name__)

MAX_WAITING = 120
"""Encoded pictures that wait for a reader who is busy. They have to be decoded in order, each after the one
it builds on."""

MAX_WAITING_BYTES = 4_000_000

MAX_AGE = 1.0
"""Seconds after which what waits is given up for the next key frame: decoding is slower than the stream."""

MAX_PIXELS = 4096 * 2304
"""Larger pictures are not decoded: a packet of a few bytes could ask for a gigabyte."""

DECODERS = {"VP8": "libvpx", "H264": "h264"}


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A decoded picture.

    :ivar image: (H, W, 3) uint8 RGB, C-contiguous.
    :ivar rtp: its absolute RTP timestamp, modulo 2^32.
    :ivar captured: when it was taken, seconds of `time.monotonic` (`stream.remote.transport.rtp_clock`).
    :ivar arrival: when its first packet came, same clock.
    :ivar index: counts the pictures that came, those that nobody took included.
    """

    image: Array
    rtp: int
    captured: float
    arrival: float
    index: int


class IncomingVideo:
    """A received track. Made on the event loop before the connection is up; `wait` is for one other thread.

    While nobody reads, encoded pictures wait in a bounded queue, where a key frame replaces all before it;
    when it is full, all are dropped and the reader begins with the next key frame, which it asks for.
    Only a reader's own thread decodes.

    :ivar news: told of everything that comes; a reader who waits for other things too waits for it (`rest`).
    :ivar dropped: pictures that nobody took.
    :ivar clock: knows when pictures were taken; it can be told what the publisher says of the track.
    """

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.dropped = 0
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.news = threading.Condition()
        self._queue: deque[EncodedPicture] = deque()
        self._bytes = 0
        self._given = 0
        self._skipping_since: float | None = None
        self._asked = float("-inf")
        self._ended = self._interrupted = False
        self._ssrc = 0
        self._assembler = Assembler(self._arrived)
        self.clock = RtpClock()
        self._decoder = _Decoder()
        divert(receiver, self)

    def wait(self) -> DecodedPicture | None:
        """The newest picture, waiting for one; None once the track has ended or `interrupt` was called."""
        while True:
            with self.news:
                while not (self._queue or self.over):
                    self.rest()
                if self._interrupted or not self._queue:
                    return None
            picture = self.newest()
            if picture is not None:
                return picture

    def newest(self) -> DecodedPicture | None:
        """As `wait`, without waiting: None where nothing came that can be decoded."""
        with self.news:
            batch, self._bytes = list(self._queue), 0
            self._queue.clear()
        return self._decode(batch)

    @property
    def waits(self) -> bool:
        """Whether something came that `newest` would decode; asked with ``news`` held."""
        return bool(self._queue)

    @property
    def over(self) -> bool:
        """Whether nothing will come any more, or `interrupt` was called."""
        return self._ended or self._interrupted

    def rest(self, seconds: float | None = None) -> None:
        """Wait for ``news``, which is held, that long at most; asks for a key frame where one is needed."""
        if self._skipping_since is not None:
            self._want_key()
            seconds = KEY_SECONDS if seconds is None else min(seconds, KEY_SECONDS)
        self.news.wait(seconds)

    def interrupt(self) -> None:
        """From any thread: make a waiting and every later `wait` return None."""
        with self.news:
            self._interrupted = True
            self.news.notify_all()

    def resume(self) -> None:
        """Let `wait` give pictures again after an `interrupt`: another reader takes over, and counts anew."""
        with self.news:
            self._interrupted = False
            self._given = self.dropped = 0

    # What the receiver tells, on the event loop (`stream.remote.transport.rtc_inner.FrameSink`).

    def packet(self, packet: RtpPacket, codec: str) -> bool:
        """A packet of the track; whether a key frame should be asked for."""
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._assembler.restart()
        given_up = self._assembler.given_up
        wants_key = self._assembler.add(packet, codec, time.monotonic())
        if self._assembler.given_up > given_up:
            with self.news:
                self.dropped += self._assembler.given_up - given_up
            forget_missing(self._receiver)
        return wants_key

    def missing(self) -> bool:
        """Whether packets should be asked for again."""
        return self._assembler.missing(time.monotonic())

    def report(self, ntp: int, rtp: int) -> None:
        """A sender report came."""
        self.clock.report(ntp, rtp)

    def ended(self) -> None:
        """The track is over: the other side is gone or said so."""
        with self.news:
            self._ended = True
            self.news.notify_all()

    def _arrived(self, picture: EncodedPicture) -> None:
        """A whole encoded picture came."""
        with self.news:
            if picture.key:
                self._drop()
                self._skipping_since = None
            elif self._passes_over(picture):
                self.dropped += 1
                return
            self._queue.append(picture)
            self._bytes += len(picture.data)
            late = picture.arrival - self._queue[0].arrival > MAX_AGE
            if late or len(self._queue) > MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
                self._drop()
                self._skipping_since = picture.arrival
            else:
                self.news.notify_all()

    def _passes_over(self, picture: EncodedPicture) -> bool:
        """Whether the picture cannot be decoded, for one that it builds on was dropped."""
        if self._skipping_since is None:
            return False
        if picture.codec != "VP8" and picture.arrival - self._skipping_since > PATIENCE:
            self._skipping_since = None  # an encoder without key frames: it mends bit by bit
            return False
        return True

    def _drop(self) -> None:
        self.dropped += len(self._queue)
        self._queue.clear()
        self._bytes = 0

    def _decode(self, batch: list[EncodedPicture]) -> DecodedPicture | None:
        """Decode in order and give the last, on the reader's thread."""
        newest: tuple[av.VideoFrame, EncodedPicture] | None = None
        for encoded in batch:
            try:
                frame = self._decoder.decode(encoded)
            except av.FFmpegError as error:
                log.debug("A received picture cannot be decoded: %s", error)
                self._broken(encoded)
                frame = None
            if frame is None or newest is not None:
                with self.news:
                    self.dropped += 1
            if frame is not None:
                newest = (frame, encoded)
        if newest is None:
            return None
        frame, encoded = newest
        with self.news:
            index = self._given + self.dropped
            self._given += 1
        captured = self.clock.captured(encoded.rtp, encoded.arrival)
        return DecodedPicture(self._decoder.rgb(frame), encoded.rtp, captured, encoded.arrival, index)

    def _broken(self, encoded: EncodedPicture) -> None:
        with self.news:
            self._skipping_since = encoded.arrival
            self._want_key()

    def _want_key(self) -> None:
        """Ask for a key frame, from the reader's thread; not too often."""
        now = time.monotonic()
        if now - self._asked >= KEY_SECONDS and not self._ended:
            self._asked = now
            try:
                self._loop.call_soon_threadsafe(self._ask)
            except RuntimeError:  # the loop is closed: the track is as good as ended
                self._ended = True

    def _ask(self) -> None:
        task = self._loop.create_task(ask_key_frame(self._receiver, self._ssrc))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Decoder:
    """Decodes one stream; the codec and the size may change at any key frame."""

    def __init__(self) -> None:
        self._codec = ""
        self._context: Any = None
        self._reformatter = VideoReformatter()

    def decode(self, encoded: EncodedPicture) -> av.VideoFrame | None:
        """The picture, or None where the codec gives none yet.

        :raises av.FFmpegError: it is damaged.
        """
        if encoded.codec != self._codec:
            self._codec = encoded.codec
            self._context = av.CodecContext.create(DECODERS[encoded.codec], "r")
            self._context.options = {"max_pixels": str(MAX_PIXELS), "flags": "low_delay"}
            self._context.thread_count = 1
        if encoded.codec == "VP8" and _vp8_pixels(encoded.data) > MAX_PIXELS:
            raise av.InvalidDataError(errno.EINVAL, "the picture is too large")
        frames = self._context.decode(av.Packet(encoded.data))
        return frames[-1] if frames else None

    def rgb(self, frame: av.VideoFrame) -> Array:
        """(H, W, 3) uint8, C-contiguous."""
        shown = self._reformatter.reformat(frame, format="rgb24")
        return np.ascontiguousarray(shown.to_ndarray())


def _vp8_pixels(data: bytes) -> int:
    """How large a key frame says it is (RFC 6386, 9.1); libvpx makes room for it before FFmpeg looks."""
    if len(data) < 10 or data[0] & 1:
        return 0
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return width * height
