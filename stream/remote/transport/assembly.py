"""Encoded pictures out of RTP packets, as soon as their last packet is there.

aiortc's jitter buffer gives a picture only when the next one begins, and waits for a lost packet until 512
others came: several seconds of video. Here the marker bit ends a picture (RFC 7741 section 4.1, RFC 6184
section 5.1), and a picture that lacks a packet is given up after `GIVE_UP` seconds; then the next key frame
begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

GIVE_UP = 0.3
"""How long, seconds, a missing packet may hold up the picture: time to be asked for and sent again."""

ASK_AGAIN = 0.06
"""Seconds between two requests for the same missing packets."""

KEY_SECONDS = 0.5
"""Seconds between two requests for a key frame."""

PATIENCE = 5.0
"""After so long without a key frame, H264 begins at any picture: some encoders refresh bit by bit instead."""

MAX_PACKETS = 1024
"""Packets kept; a picture of more cannot be received."""

MAX_BACK = 4096
"""A packet further behind than this is not late, but of a stream that began anew."""

_IDR = re.compile(rb"\x00\x00\x01[\x05\x25\x45\x65]")
_IDR_OR_SPS = re.compile(rb"\x00\x00\x01[\x05\x07\x25\x27\x45\x47\x65\x67]")


class MediaPacket(Protocol):
    """What is used of an RTP packet; ``_data`` is the payload that aiortc parsed, Annex B for H264."""

    sequence_number: int
    timestamp: int
    marker: int
    payload: bytes
    _data: bytes


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture as it was sent.

    :ivar codec: ``VP8`` or ``H264``.
    :ivar rtp: its RTP timestamp.
    :ivar arrival: of its first packet, seconds of `time.monotonic`.
    :ivar key: it can be decoded without others.
    """

    codec: str
    data: bytes
    rtp: int
    arrival: float
    key: bool


def is_key(codec: str, data: bytes) -> bool:
    """Whether an encoded picture is a key frame."""
    if codec == "VP8":
        return bool(data) and not data[0] & 1
    return _IDR.search(data) is not None


def _begins_key(codec: str, packet: MediaPacket) -> bool:
    """Whether a packet is the first of a key frame (VP8: that of partition 0, RFC 7741 section 4.2)."""
    if codec == "VP8":
        first = bool(packet.payload) and packet.payload[0] & 0x17 == 0x10
        return first and is_key(codec, packet._data)
    return _IDR_OR_SPS.search(packet._data) is not None


class Assembler:
    """Puts the packets of one video stream in order and together.

    :param give: called with each picture, in order.
    :ivar given_up: how often a picture lacked packets for too long.
    """

    def __init__(self, give: Callable[[EncodedPicture], None]) -> None:
        self._give = give
        self._packets: dict[int, tuple[MediaPacket, float]] = {}
        self._highest: int | None = None
        self._next: int | None = None
        self._seeking_since: float | None = None
        self._held_since: float | None = None
        self._asked_key = self._asked_packets = float("-inf")
        self._done_rtp: int | None = None
        self._codec = ""
        self.given_up = 0

    def add(self, packet: MediaPacket, codec: str, now: float) -> bool:
        """Take a packet; whether a key frame should be asked for."""
        number = self._unwrap(packet.sequence_number)
        if codec != self._codec or self._far(number):
            self.restart()
            self._codec = codec
        if self._next is None or number >= self._next:
            self._packets[number] = (packet, now)
        if self._next is None:
            self._seek([number], now)
        while self._next is not None and self._one():
            pass
        self._give_up(now)
        return self._wants_key(now)

    def restart(self) -> None:
        """Forget what waits; another stream begins."""
        self._packets.clear()
        self._next = self._held_since = self._done_rtp = None

    def missing(self, now: float) -> bool:
        """Whether to ask again for packets: some are missing, and the last request is a while ago."""
        if self._held_since is None or now - self._asked_packets < ASK_AGAIN:
            return False
        self._asked_packets = now
        return True

    def _unwrap(self, number: int) -> int:
        """The 16-bit number with what is above them, counted on from the highest."""
        if self._highest is None:
            self._highest = number
        ahead = (number - self._highest + 2**15) % 2**16 - 2**15
        number = self._highest + ahead
        self._highest = max(self._highest, number)
        return number

    def _far(self, number: int) -> bool:
        """Whether the number cannot belong to the stream so far."""
        return self._next is not None and not -MAX_BACK < number - self._next < MAX_PACKETS

    def _seek(self, numbers: list[int], now: float) -> None:
        """Begin at the first of these packets that begins a key frame."""
        if self._seeking_since is None:
            self._seeking_since = now
        anything = self._codec != "VP8" and now - self._seeking_since > PATIENCE
        for number in numbers:
            if _begins_key(self._codec, self._packets[number][0]) or (anything and self._after_end(number)):
                self._next, self._seeking_since = number, None
                self._packets = {n: kept for n, kept in self._packets.items() if n >= number}
                return
        while len(self._packets) > MAX_PACKETS // 2:
            del self._packets[min(self._packets)]

    def _after_end(self, number: int) -> bool:
        before = self._packets.get(number - 1)
        return before is not None and bool(before[0].marker)

    def _one(self) -> bool:
        """Give the next picture if all its packets are there; whether it was one."""
        assert self._next is not None
        last = self._next
        if last not in self._packets:
            return False
        first, arrival = self._packets[last]
        while True:
            packet = self._packets[last][0]
            if packet.marker or (not packet._data and packet.timestamp == self._done_rtp):
                break  # the end, or padding behind it
            following = self._packets.get(last + 1)
            if following is None:
                return False
            if following[0].timestamp != first.timestamp:
                break
            last += 1
        numbers = range(self._next, last + 1)
        data = b"".join(self._packets.pop(number)[0]._data for number in numbers)
        self._next, self._held_since, self._done_rtp = last + 1, None, first.timestamp
        if data:
            self._give(EncodedPicture(self._codec, data, first.timestamp, arrival, is_key(self._codec, data)))
        return True

    def _give_up(self, now: float) -> None:
        """Begin anew where a packet is missing for too long."""
        if self._next is None or not self._gap():
            self._held_since = None
            return
        if self._held_since is None:
            self._held_since = now
        if now - self._held_since < GIVE_UP and len(self._packets) < MAX_PACKETS:
            return
        self.given_up += 1
        self._packets.pop(self._next, None)  # or the broken key frame would be found again
        self._next = self._held_since = None
        self._seek(sorted(self._packets), now)

    def _gap(self) -> bool:
        """Whether packets came after one that did not."""
        assert self._next is not None
        return bool(self._packets) and max(self._packets) - self._next >= len(self._packets)

    def _wants_key(self, now: float) -> bool:
        if self._next is not None or now - self._asked_key < KEY_SECONDS:
            return False
        self._asked_key = now
        return True
