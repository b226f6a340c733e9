"""The mesh protocol's messages in datagrams: split, put together again, given up when too late."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from stream.errors import ProtocolError

VERSION = 1
"""The protocol's version, the first byte of every datagram."""

HEADER = struct.Struct("<BBBxIHH")
"""version, kind, lane, 0; sequence; fragment, fragments. Little-endian: 12 bytes."""

MAX_DATAGRAM = 1100
"""Bytes of a datagram with its header: with SCTP, DTLS and UDP around it, it passes where 1,200 do."""

MAX_FRAGMENTS = 512
"""So that a message has at most 557 kB."""

MAX_BODY = MAX_FRAGMENTS * (MAX_DATAGRAM - HEADER.size)

MAX_LANES = 16
"""Faces that one session can send side by side; a face's lane is its place in `Capture.faces`."""

WAITING = 8
"""The newest messages of one kind and lane of which fragments are taken, completed ones counted: a quarter of
a second at 30 frames a second. Older ones are given up."""

WAITING_BYTES = 4 * 2**20
"""Bytes kept of all incomplete messages together, beyond which the oldest are given up; honest peers need a
third of it for 16 faces. Without it, forged headers would make a receiver keep 214 MB."""


class Kind(IntEnum):
    """What a message is; texture is for WebSockets only, elsewhere the video track is the texture."""

    MESH = 1
    EXPRESSION = 2
    TEXTURE = 3


@dataclass(frozen=True)
class Message:
    """A whole message.

    :ivar sequence: grows from message to message within a session, all kinds and lanes together.
    """

    kind: Kind
    lane: int
    sequence: int
    body: bytes

    @cached_property
    def datagrams(self) -> list[bytes]:
        """The message as datagrams of at most `MAX_DATAGRAM` bytes; split once for all who get them.

        :raises ProtocolError: it is empty or longer than `MAX_BODY`.
        """
        room = MAX_DATAGRAM - HEADER.size
        count = -(-len(self._sound_body) // room)
        return [
            self._header(number, count) + self.body[number * room : (number + 1) * room]
            for number in range(count)
        ]

    @cached_property
    def whole(self) -> bytes:
        """The message as one datagram, for a WebSocket, which splits by itself.

        :raises ProtocolError: it is empty or longer than `MAX_BODY`.
        """
        return self._header(0, 1) + self._sound_body

    @property
    def _sound_body(self) -> bytes:
        if not 1 <= len(self.body) <= MAX_BODY:
            raise ProtocolError(f"A message of {len(self.body)} bytes cannot be sent; 1 to {MAX_BODY} can.")
        return self.body

    def _header(self, number: int, count: int) -> bytes:
        return HEADER.pack(VERSION, self.kind, self.lane, self.sequence, number, count)


class _Partial:
    """A message of which fragments are missing."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.parts: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return sum(map(len, self.parts.values()))


@dataclass(slots=True)
class _Lane:
    """What is known of one kind and lane.

    :ivar waiting: by sequence; None where it was completed.
    :ivar horizon: this sequence and those below were given up.
    """

    waiting: dict[int, _Partial | None] = field(default_factory=dict)
    horizon: int = 0


class Reassembler:
    """Puts datagrams together, in whatever order, repeated or not at all; nothing in them is trusted.

    Of each kind and lane the `WAITING` newest messages are kept, of all together `WAITING_BYTES`. What comes
    of older ones, or of one that was completed before, is dropped. A sender's sequence only grows: a new
    connection needs a new reassembler.

    :param whole: datagrams are whole messages, of up to `MAX_BODY` bytes (a WebSocket).
    :ivar given_up: messages that lacked fragments when newer ones took their place.
    """

    def __init__(self, whole: bool = False) -> None:
        self.given_up = 0
        self._whole = whole
        self._lanes: dict[tuple[int, int], _Lane] = {}
        self._bytes = 0

    def accept(self, datagram: bytes) -> Message | None:
        """Take a datagram; the message that it completes, if it does.

        Messages of a lane can come out of order: a reader that shows them drops older ones
        (`stream.protocol.mesh_codec.MeshDecoder` does, but learns from late key frames).

        :raises ProtocolError: the datagram is damaged; what waits is kept.
        """
        kind, place, sequence, number, count = self._check(datagram)
        lane = self._lanes.setdefault((kind, place), _Lane())
        if sequence <= lane.horizon:
            return None
        if sequence not in lane.waiting:
            lane.waiting[sequence] = _Partial(count)
            while len(lane.waiting) > WAITING:
                self._give_up(lane)
        partial = lane.waiting.get(sequence)
        if partial is None:  # completed before, or too old to be kept
            return None
        if partial.count != count:
            raise ProtocolError("The fragments of a message do not agree on how many they are.")
        if number not in partial.parts:
            partial.parts[number] = datagram[HEADER.size :]
            self._bytes += len(datagram) - HEADER.size
        if len(partial.parts) < count:
            self._bound()
            return None
        lane.waiting[sequence] = None
        body = b"".join(partial.parts[part] for part in range(count))
        self._bytes -= len(body)
        return Message(kind, place, sequence, body)

    def _check(self, datagram: bytes) -> tuple[Kind, int, int, int, int]:
        most = HEADER.size + MAX_BODY if self._whole else MAX_DATAGRAM
        if not HEADER.size < len(datagram) <= most:
            raise ProtocolError(f"A datagram of {len(datagram)} bytes cannot be of this protocol.")
        version, kind, lane, sequence, number, count = HEADER.unpack_from(datagram)
        if version != VERSION:
            raise ProtocolError(f"The peer speaks version {version} of the mesh protocol, not {VERSION}.")
        most_fragments = 1 if self._whole else MAX_FRAGMENTS
        known = kind in Kind._value2member_map_ and lane < MAX_LANES and datagram[3] == 0
        if not (known and sequence > 0 and number < count <= most_fragments):
            raise ProtocolError("A datagram's header holds values that cannot be.")
        full = len(datagram) == MAX_DATAGRAM
        if number < count - 1 and not full:
            raise ProtocolError("A fragment that is not the last must be full.")
        return Kind(kind), lane, sequence, number, count

    def _bound(self) -> None:
        """Keep to `WAITING_BYTES`: the sequence, common to all lanes, says which message is the oldest."""
        while self._bytes > WAITING_BYTES:
            self._give_up(min((lane for lane in self._lanes.values() if lane.waiting), key=_oldest))

    def _give_up(self, lane: _Lane) -> None:
        lane.horizon = _oldest(lane)
        partial = lane.waiting.pop(lane.horizon)
        if partial is not None:
            self.given_up += 1
            self._bytes -= partial.size


def _oldest(lane: _Lane) -> int:
    return min(lane.waiting)
