"""Sessions whose publisher captures faces itself and sends meshes: checked, encoded anew, passed on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import numpy as np

from stream.errors import ProsoponError, ProtocolError
from stream.expression.codec import decode_expression
from stream.mesh.codec import MeshDecoder, SurfaceFrame
from stream.pipeline.metrics import CHAIN, Metrics
from stream.pipeline.worker import Worker
from stream.remote.sessions.broadcast import Broadcast
from stream.remote.sessions.mailbox import Mailbox, Packet
from stream.remote.wire.clock import monotonic_of
from stream.remote.wire.fragments import Kind, Message, Reassembler
from stream.types import Depth, Face

log = logging.getLogger(__name__)

RELAY = "relay"
"""The metrics' name of what decodes a publisher's messages."""

LANE_SECONDS = 0.5
"""How long a face counts after its last message."""

KEY_SECONDS = 0.5
"""Seconds between two requests for key frames."""

NO_LANDMARKS = np.zeros((0, 3), np.float32)
"""A surface from elsewhere comes without them."""


class Relay:
    """Takes a publisher's datagrams on the event loop and works on them on a thread of its own.

    Nothing in them is trusted: what does not decode is counted as an error of `RELAY` and left out. Where
    the thread is busy, newer messages replace older ones of their kind and lane.

    :param request_key: asks the publisher for key frames.
    """

    def __init__(self, broadcast: Broadcast, metrics: Metrics, request_key: Callable[[], None]) -> None:
        self._broadcast, self._metrics, self._request_key = broadcast, metrics, request_key
        metrics.add_stage(RELAY)
        self._reassembler = Reassembler()
        self._mailbox = Mailbox()
        self._arrived = asyncio.Event()
        self._decoders: dict[int, MeshDecoder] = {}
        self._newest: dict[int, int] = {}
        self._seen: dict[int, float] = {}
        self._index = -1
        self._key_asked = 0.0
        self._failed = False

    @property
    def incomplete(self) -> int:
        """Messages whose datagrams did not all come."""
        return self._reassembler.given_up

    @property
    def faces(self) -> int:
        """How many came lately; from any thread."""
        now = time.monotonic()
        return sum(now - seen < LANE_SECONDS for seen in tuple(self._seen.values()))

    def datagram(self, data: bytes | str) -> None:
        """Take what came on the mesh channel; on the event loop."""
        try:
            if isinstance(data, str):
                raise ProtocolError("Meshes are binary messages.")
            message = self._reassembler.accept(data)
        except ProtocolError:
            self._metrics.error(RELAY)
            return
        if message is not None and message.kind is not Kind.TEXTURE:
            if replaced := self._mailbox.put(Packet(message, reference=_reference(message))):
                self._metrics.drop(RELAY, replaced)
            self._arrived.set()
        if self._mailbox.lacks_key:
            self._mailbox.lacks_key = False
            self._ask_for_keys()

    async def run(self) -> None:
        """Work on what comes, until cancelled."""
        worker = Worker(RELAY)
        try:
            while True:
                packet = self._mailbox.take(time.monotonic())
                if packet is None:
                    self._arrived.clear()
                    await self._arrived.wait()
                elif await asyncio.wrap_future(worker.submit(self._work, packet.message)):
                    self._ask_for_keys()
        finally:
            worker.stop()

    def _ask_for_keys(self) -> None:
        now = time.monotonic()
        if now - self._key_asked >= KEY_SECONDS:
            self._key_asked = now
            self._request_key()

    # On the worker thread

    def _work(self, message: Message) -> bool:
        """Decode and send a message; whether the publisher must be asked for a key frame."""
        begun = time.perf_counter()
        try:
            packets = self._mesh(message) if message.kind is Kind.MESH else self._expression(message)
        except Exception as error:
            # One that is not ours must not end the relay unseen; the first of them says what to mend.
            level = logging.DEBUG if isinstance(error, ProsoponError) or self._failed else logging.ERROR
            self._failed |= not isinstance(error, ProsoponError)
            log.log(level, "A message of a publisher is left out: %s", error, exc_info=level == logging.ERROR)
            self._metrics.error(RELAY)
            return False
        if packets is None:
            self._metrics.drop(RELAY)
        else:
            self._broadcast.send(packets)
            self._metrics.done(RELAY, time.perf_counter() - begun)
        decoder = self._decoders.get(message.lane)
        return decoder is not None and decoder.needs_key

    def _mesh(self, message: Message) -> list[Packet] | None:
        """What to send; None where it came too late, or without the key frame that it needs."""
        decoder = self._decoders.setdefault(message.lane, MeshDecoder())
        frame = decoder.decode(message.sequence, message.body)
        if frame is None:
            return None
        self._count(message.lane, frame.index, frame.captured)
        face = Face(frame.track, NO_LANDMARKS, frame.pose, frame.crop, frame.intrinsics)
        return self._broadcast.meshes(message.lane, face, _surface(frame), frame.index, frame.captured)

    def _expression(self, message: Message) -> list[Packet] | None:
        frame = decode_expression(message.body)
        if message.sequence <= self._newest.get(message.lane, 0):
            return None
        self._newest[message.lane] = message.sequence
        self._count(message.lane, frame.index, frame.captured)
        return self._broadcast.expression(message.lane, frame)

    def _count(self, lane: int, index: int, captured: int) -> None:
        """Note which faces there are, and how late the first message of each picture comes."""
        now = time.monotonic()
        self._seen[lane] = now
        if index == self._index:
            return
        self._index = index
        self._broadcast.begin(self.faces)
        seconds = now - monotonic_of(captured)
        if 0 <= seconds < 60:  # the publisher's times may be anything
            self._metrics.latency(CHAIN, seconds)


def _reference(message: Message) -> int:
    """The sequence of the key frame that a mesh message needs, as far as its header is there."""
    return int.from_bytes(message.body[8:12], "little") if message.kind is Kind.MESH else 0


def _surface(frame: SurfaceFrame) -> Depth:
    solid = np.isfinite(frame.depth)
    return Depth(np.where(solid, frame.depth, np.float32(0)), solid.astype(np.float32))
