"""A publisher that captures faces itself and sends meshes, as a source: checked, put together, passed on."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections import deque
from collections.abc import Callable

from stream.errors import ProsoponError, ProtocolError
from stream.pipeline.members import SOURCE
from stream.pipeline.metrics import Metrics
from stream.pipeline.slot import Policy
from stream.protocol.clock import monotonic_of
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.remote.blank import NO_CAMERA, blank_picture
from stream.remote.server.sessions.lanes import LANE_SECONDS, Lanes, Part, Place
from stream.remote.server.sessions.mailbox import Mailbox, Packet
from stream.remote.server.sessions.webrtc import WebRtcSource
from stream.remote.transport.incoming import DecodedPicture, IncomingVideo
from stream.types import Array, Capture, Frame, Person

log = logging.getLogger(__name__)

RELAY = "relay"
"""The source's name, and the metrics' name of the publisher's messages."""

RELAY_POLICY: Policy = "wait"
"""Of its pipeline: the source keeps the newest of each kind and lane itself. In a slot of one, a picture
would take the place of the people before it."""

KEY_SECONDS = 0.5
"""Seconds between two requests for key frames."""

TOGETHER = 0.01
"""Seconds that what a picture's first message tells waits for the others."""

SAME = 50e-6
"""Seconds by which a picture's capture time may differ from its meshes': conversions round."""

NUMBERS = 32
"""Moments whose index is remembered: a picture comes within a second of its people."""

MOST_AGE, MOST_AHEAD = 60.0, 1.0
"""Seconds before and after now within which a publisher's capture times can be true."""


class _Due(enum.Enum):
    PICTURE = "picture"
    PEOPLE = "people"
    END = "end"


class RelayedSource(WebRtcSource):
    """Gives a publisher's people and pictures as they come (a `stream.pipeline.source.Source`).

    People are of one picture each, a place for every face that came lately, one without news with its face
    alone. They do not wait for their picture, which takes longer: each new picture is a capture of its own,
    and people come with theirs only where it is there already, else with grey. Faces and cameras are told in
    pixels of the publisher's camera, whatever size its video has.

    Nothing that comes is trusted: what does not decode is counted as an error of `RELAY` and left out. Where
    the reader is busy, newer messages replace older ones of their kind and lane. Made on the event loop.

    :param video: the publisher's; nobody else reads it.
    :param metrics: where its messages are counted.
    :param request_key: asks the publisher for key frames; called on the event loop.
    """

    name = RELAY
    gives = ("face", "surface", "expression")

    def __init__(self, video: IncomingVideo, metrics: Metrics, request_key: Callable[[], None]) -> None:
        super().__init__(video)
        self._metrics, self._request_key = metrics, request_key
        metrics.add_stage(RELAY)
        self._loop = asyncio.get_running_loop()
        self._reassembler, self._key_asked = Reassembler(), float("-inf")  # the event loop's
        self._mailbox = Mailbox()  # used with the video's news held
        self._lanes = Lanes()  # the reader's, as all below
        self._parts: dict[Place, Part] = {}
        self._due = float("inf")
        self._picture: DecodedPicture | None = None
        self._numbers: deque[tuple[float, int]] = deque(maxlen=NUMBERS)
        self._next_number = self._lost = 0
        self._failed = False

    @property
    def incomplete(self) -> int:
        """Messages whose datagrams did not all come; asked on the event loop."""
        return self._reassembler.given_up

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
            with self._video.news:
                replaced = self._mailbox.put(Packet(message, reference=_reference(message)))
                lacks_key, self._mailbox.lacks_key = self._mailbox.lacks_key, False
                self._video.news.notify_all()
            self._metrics.drop(RELAY, replaced)
            if lacks_key:
                self._ask_for_keys()

    def _ask_for_keys(self) -> None:
        now = time.monotonic()
        if now - self._key_asked >= KEY_SECONDS:
            self._key_asked = now
            self._request_key()

    # On the reading thread

    def read(self) -> Capture | None:
        """The next picture or people; nobody, once, when no face came lately. See `Source.read`."""
        while (news := self._next()) is not _Due.END:
            if news is _Due.PICTURE:
                capture = self._pictured()
            elif news is _Due.PEOPLE:
                capture = self._together()
            else:
                capture = self._told(news)
            if capture is not None:
                return capture
        return None

    def _next(self) -> Message | _Due:
        """What there is to do now, waiting for it."""
        with self._video.news:
            while not self._video.over:
                now = time.monotonic()
                if (packet := self._mailbox.take(now)) is not None:
                    return packet.message
                if now >= self._due:
                    return _Due.PEOPLE
                if self._video.waits:
                    return _Due.PICTURE
                self._video.rest(None if self._due == float("inf") else self._due - now)
        return _Due.END

    def _pictured(self) -> Capture | None:
        picture = self._video.newest()
        if picture is None:
            return None
        self._picture = picture
        self._metrics.drop(SOURCE, self._video.dropped - self._lost)
        self._lost = self._video.dropped
        return Capture(Frame(picture.image, picture.captured, self._number(picture.captured), self.name))

    def _told(self, message: Message) -> Capture | None:
        """Decode a message; people, where it is the last of their parts, or the first of the next ones'."""
        part = self._decode(message)
        if part is None:
            return None
        before = next(iter(self._parts.values()), part)
        whole = self._together() if before.captured != part.captured else None
        now = time.monotonic()
        if not self._parts:
            self._due = now + TOGETHER
        self._parts[part.place] = part
        if not self._lanes.missing(self._parts.values(), now):
            self._due = now
            return whole or self._together()
        return whole

    def _together(self) -> Capture:
        """The people whose parts came; nobody, where none came for long."""
        now, parts, self._parts = time.monotonic(), list(self._parts.values()), {}
        people = self._lanes.people(parts, now)
        self._due = now + LANE_SECONDS if people else float("inf")
        captured = _believed(monotonic_of(parts[0].captured), now) if parts else now
        image = self._image(captured, people)
        frame = Frame(image, captured, self._number(captured), self.name, fresh=False)
        return Capture(frame).adding(self.gives, people)

    def _decode(self, message: Message) -> Part | None:
        """Decode a message and count it; None where there is nothing to show for it."""
        begun = time.perf_counter()
        try:
            part = self._lanes.decode(message, time.monotonic())
        except Exception as error:
            # One that is not ours must not end the session; the first of them says what to mend.
            level = logging.DEBUG if isinstance(error, ProsoponError) or self._failed else logging.ERROR
            self._failed |= not isinstance(error, ProsoponError)
            log.log(level, "A message of a publisher is left out: %s", error, exc_info=level == logging.ERROR)
            self._metrics.error(RELAY)
            return None
        if part is None:
            self._metrics.drop(RELAY)
        else:
            self._metrics.done(RELAY, time.perf_counter() - begun)
        if self._lanes.lacks_key:
            with contextlib.suppress(RuntimeError):  # the event loop was closed
                self._loop.call_soon_threadsafe(self._ask_for_keys)
        return part

    def _image(self, captured: float, people: list[Person]) -> Array:
        if self._picture is not None and abs(self._picture.captured - captured) < SAME:
            return self._picture.image
        return blank_picture(people[0].face.intrinsics if people else NO_CAMERA)

    def _number(self, captured: float) -> int:
        """The index of what was captured then, the same for a picture and its people."""
        for moment, number in self._numbers:
            if abs(moment - captured) < SAME:
                return number
        self._numbers.append((captured, self._next_number))
        self._next_number += 1
        return self._next_number - 1


def _reference(message: Message) -> int:
    """The sequence of the key frame that a mesh message needs, as far as its header is there."""
    return int.from_bytes(message.body[8:12], "little") if message.kind is Kind.MESH else 0


def _believed(captured: float, now: float) -> float:
    """A publisher's capture time, or now where it cannot be true."""
    return captured if now - MOST_AGE < captured < now + MOST_AHEAD else now
