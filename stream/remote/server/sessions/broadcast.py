"""What a session sends: each face encoded once in every tier that somebody watches, for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from stream.mesh.halve import halved
from stream.protocol.clock import wall_micros
from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.fragments import MAX_LANES, Kind, Message
from stream.protocol.mesh_codec import MeshEncoder
from stream.protocol.textures import encode_texture
from stream.remote.server.sessions.mailbox import Packet, Tier
from stream.remote.server.sessions.pace import Pace
from stream.remote.server.sessions.viewer import Wants
from stream.remote.settings import SendSettings
from stream.types import Array, Capture, Expression, Face, Surface

COARSE_BITS = 10
"""Of a level in the lower tiers: steps of 0.29 mm where a crop unit is 12 cm."""

KEY_PAUSE = 0.2
"""Seconds between two key frames that viewers asked for: one that loses much must not make all pay."""

TEXTURE_PAUSE = 1 / 16
"""Seconds between two pictures as messages: a third of the cost of all, for those who have no video track."""

LATE_SECONDS = 0.03
"""A delivery that waited so long for the event loop was late: the server sends more than it can."""

UNDELIVERED = 4
"""Captures that may wait for a busy event loop; older ones are given up."""


class Listener(Protocol):
    """A viewer, as the broadcast sees it.

    :ivar wants: read from other threads.
    """

    wants: Wants

    def offer(self, packets: Sequence[Packet], late: bool) -> None:
        """Take what is new; on the event loop, which is behind with its work where it comes ``late`` though
        the pace is as slow as it gets."""


class Broadcast:
    """Encodes a session's captures and hands them to its viewers. Made on the event loop they live on.

    Nothing is encoded that nobody wants. `send_capture` and what it calls are for one worker thread (the
    encoders have a state), `send_picture` for the same or another.

    :ivar faces: in the newest capture in which somebody looked for them.
    :ivar captures: moments that captures told of, so far; what is older than the newest is not counted.
    :ivar dropped: captures given up because the event loop was busy.
    """

    def __init__(self, settings: SendSettings) -> None:
        self.faces = self.captures = self.dropped = 0
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._listeners: tuple[Listener, ...] = ()
        self._sequence = itertools.count(1)
        self._encoders: dict[tuple[int, Tier], MeshEncoder] = {}
        self._keys_wanted: set[Tier] = set()
        self._keys_due: dict[Tier, float] = {}
        self._picture_due = 0.0
        self._moment = float("-inf")
        self._lock = threading.Lock()
        self._pace = Pace()
        self._undelivered: list[tuple[float, list[Packet]]] = []

    # On the event loop

    def join(self, listener: Listener) -> None:
        """Hand new packets to this listener, too."""
        self._listeners = (*self._listeners, listener)

    def leave(self, listener: Listener) -> None:
        """The opposite of `join`; it need not have joined."""
        self._listeners = tuple(other for other in self._listeners if other is not listener)

    def request_key(self, tier: Tier) -> None:
        """Make the next meshes of a tier key frames, `KEY_PAUSE` after the last asked for."""
        with self._lock:
            self._keys_wanted.add(tier)

    @property
    def mesh_rate(self) -> float:
        """How many meshes a second are wanted now: what somebody takes, if the server keeps up with it; 0
        where nobody wants any. From any thread."""
        wants = [listener.wants for listener in self._listeners]
        taken = max((one.rate for one in wants if one.mesh is not None), default=0.0)
        return min(taken, self._pace.rate)

    @property
    def expressions_wanted(self) -> bool:
        """Whether anybody wants expressions now; from any thread."""
        return any(listener.wants.expression for listener in self._listeners)

    def _deliver(self) -> None:
        with self._lock:
            captures, self._undelivered = self._undelivered, []
        now = time.monotonic()
        late = now - captures[0][0] > LATE_SECONDS
        self._pace.delivered(late, now)
        for _, packets in captures:
            for listener in self._listeners:
                listener.offer(packets, late and self._pace.exhausted)

    # On worker threads

    def send_capture(self, capture: Capture) -> None:
        """Send what a capture says of its people, whose places are their lanes.

        :raises InputError: a face's values cannot be sent.
        """
        index, captured = capture.frame.index, wall_micros(capture.frame.captured)
        people = capture.people[:MAX_LANES]
        self._count(capture.frame.captured)
        if "face" in capture.known:
            self.faces = len(people)
        self._give_keys()
        packets = []
        for lane, person in enumerate(people):
            if person.surface is not None:
                packets += self._meshes(lane, person.face, person.surface, index, captured)
        if self.expressions_wanted:
            for lane, person in enumerate(people):
                if person.expression is not None:
                    packets.append(self._expression(lane, person.face, person.expression, index, captured))
        self.send(packets)

    def _count(self, moment: float) -> None:
        if moment > self._moment:
            self._moment = moment
            self.captures += 1

    def _expression(self, lane: int, face: Face, expression: Expression, index: int, captured: int) -> Packet:
        frame = ExpressionFrame(
            index, captured, face.track_id, face.intrinsics, face.pose, expression.coefficients
        )
        return self._packet(Kind.EXPRESSION, lane, encode_expression(frame), captured)

    def _meshes(self, lane: int, face: Face, surface: Surface, index: int, captured: int) -> list[Packet]:
        """One face's surface in the tiers in use."""
        wanted = {listener.wants.mesh for listener in self._listeners}
        return [
            self._mesh((lane, tier), face, surface if tier < Tier.HALF else halved(surface), index, captured)
            for tier in Tier
            if tier in wanted
        ]

    def _mesh(
        self, place: tuple[int, Tier], face: Face, surface: Surface, index: int, captured: int
    ) -> Packet:
        lane, tier = place
        encoder = self._encoders.get(place)
        if encoder is None:
            settings = self._settings
            bits = settings.bits if tier is Tier.FULL else COARSE_BITS
            encoder = MeshEncoder(bits, settings.key_seconds, settings.mesh_budget)
            self._encoders[place] = encoder
        message = encoder.encode(next(self._sequence), face, surface, index, captured)
        return Packet(
            Message(Kind.MESH, lane, message.sequence, message.body), tier, message.reference, captured
        )

    def _give_keys(self) -> None:
        """Have the tiers whose key frames were asked for begin anew, all lanes together."""
        now = time.monotonic()
        with self._lock:
            due = {tier for tier in self._keys_wanted if now >= self._keys_due.get(tier, now)}
            self._keys_wanted -= due
        for tier in due:
            self._keys_due[tier] = now + KEY_PAUSE
        for (_, tier), encoder in self._encoders.items():
            if tier in due:
                encoder.request_key()

    def send_picture(self, image: Array, index: int, captured: int) -> None:
        """Send the whole picture (H, W, 3) uint8 RGB to those who want it, at most every `TEXTURE_PAUSE`.

        :raises InputError: it cannot be encoded.
        """
        now = time.monotonic()
        if now < self._picture_due or not any(listener.wants.texture for listener in self._listeners):
            return
        self._picture_due = now + TEXTURE_PAUSE
        body = encode_texture(image, self._settings.video_side, index, captured)
        self.send([self._packet(Kind.TEXTURE, 0, body, captured)])

    def _packet(self, kind: Kind, lane: int, body: bytes, captured: int) -> Packet:
        """A message of the session, with its next number."""
        return Packet(Message(kind, lane, next(self._sequence), body), captured=captured)

    def send(self, packets: list[Packet]) -> None:
        """Hand packets to the viewers, on the event loop; does not wait."""
        if not packets:
            return
        with self._lock:
            first = not self._undelivered
            if len(self._undelivered) >= UNDELIVERED:
                self._undelivered.pop(0)
                self.dropped += 1
            self._undelivered.append((time.monotonic(), packets))
        if first:
            with contextlib.suppress(RuntimeError):  # the loop was closed: there are no viewers any more
                self._loop.call_soon_threadsafe(self._deliver)
