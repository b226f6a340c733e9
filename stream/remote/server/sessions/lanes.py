"""A publisher's messages become people: decoded lane by lane, put together by their capture time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stream.protocol.expression_codec import decode_expression
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import NO_LANDMARKS, MeshDecoder
from stream.types import Crop, Expression, Face, Intrinsics, Person

LANE_SECONDS = 0.5
"""How long a face counts after its last message, and is waited for."""

Place = tuple[Kind, int]
"""What a message tells of, and its lane."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one message tells of a person.

    :ivar captured: microseconds since 1970; the parts of one picture have the same.
    :ivar person: a face, and its surface or expression.
    """

    place: Place
    captured: int
    person: Person


class Lanes:
    """Decodes a publisher's messages and knows which faces came lately. For one thread; trusts nothing."""

    def __init__(self) -> None:
        self._decoders: dict[int, MeshDecoder] = {}
        self._newest: dict[int, int] = {}
        self._seen: dict[Place, float] = {}
        self._faces: dict[int, Face] = {}

    def decode(self, message: Message, now: float) -> Part | None:
        """What a mesh or expression message tells; None where it is late or lacks its key frame.

        :param now: seconds, monotonic; as everywhere here.
        :raises ProtocolError: it is damaged.
        """
        place = message.kind, message.lane
        part = self._surface(place, message) if place[0] is Kind.MESH else self._expression(place, message)
        if part is not None:
            self._seen[place] = now
            self._faces[message.lane] = part.person.face
        return part

    @property
    def lacks_key(self) -> bool:
        """Whether a key frame is missing that later messages build on."""
        return any(decoder.needs_key for decoder in self._decoders.values())

    def missing(self, parts: Iterable[Part], now: float) -> bool:
        """Whether something that came lately is not among the parts."""
        lately = {place for place, seen in self._seen.items() if now - seen < LANE_SECONDS}
        return bool(lately - {part.place for part in parts})

    def people(self, parts: Iterable[Part], now: float) -> list[Person]:
        """Everybody who came lately, by lane, with what the parts tell of them.

        Who is in no part has the face of before and no more: those behind keep their places so.
        """
        lately = {lane for (_, lane), seen in self._seen.items() if now - seen < LANE_SECONDS}
        people = {lane: Person(self._faces[lane]) for lane in lately}
        told = {part.place: part.person for part in parts}
        people.update({lane: person for (kind, lane), person in told.items() if kind is Kind.EXPRESSION})
        for (kind, lane), person in told.items():
            if kind is Kind.MESH:  # whose face says where it lies
                other = told.get((Kind.EXPRESSION, lane))
                people[lane] = person if other is None else replace(person, expression=other.expression)
        return [people[lane] for lane in sorted(people)]

    def _surface(self, place: Place, message: Message) -> Part | None:
        decoder = self._decoders.setdefault(message.lane, MeshDecoder())
        frame = decoder.decode(message.sequence, message.body)
        return None if frame is None else Part(place, frame.captured, frame.person)

    def _expression(self, place: Place, message: Message) -> Part | None:
        frame = decode_expression(message.body)
        if message.sequence <= self._newest.get(message.lane, 0):
            return None
        self._newest[message.lane] = message.sequence
        known = self._faces.get(message.lane)
        same = known is not None and (known.track_id, known.intrinsics) == (frame.track, frame.intrinsics)
        crop = known.crop if known is not None and same else _whole(frame.intrinsics)
        face = Face(frame.track, NO_LANDMARKS, frame.pose, crop, frame.intrinsics)
        return Part(place, frame.captured, Person(face, expression=Expression(frame.coefficients)))


def _whole(camera: Intrinsics) -> Crop:
    """The middle of the picture: where a face lies of which nothing but its expression is known."""
    half = min(camera.width, camera.height) / 2
    return Crop((camera.width - 1) / 2, (camera.height - 1) / 2, half, 0.0)
