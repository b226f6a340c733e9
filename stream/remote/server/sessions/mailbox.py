"""Messages on their way to one reader: the newest of each kind and lane, and what it takes to decode them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from stream.protocol.fragments import Kind, Message


class Tier(IntEnum):
    """How finely meshes are sent: the more a viewer falls behind, the less it gets."""

    FULL = 0
    COARSE = 1
    HALF = 2


@dataclass(frozen=True, slots=True)
class Packet:
    """A message as it goes to many viewers.

    :ivar tier: of a mesh.
    :ivar reference: sequence of the message that it takes to decode this one; 0 where it takes none.
    :ivar captured: microseconds since 1970.
    """

    message: Message
    tier: Tier = Tier.FULL
    reference: int = 0
    captured: int = 0

    @property
    def place(self) -> tuple[Kind, int]:
        """Its kind and lane: newer packets of the same replace it."""
        return self.message.kind, self.message.lane


@dataclass(slots=True)
class _Slot:
    """:ivar base: a key frame that was not read yet and that ``newest`` takes to be decoded."""

    newest: Packet
    base: Packet | None = None


class Mailbox:
    """One slot for each kind and lane; the newest packet wins.

    A delta frame does not replace the key frame that it refers to: both wait, the key frame first. One
    whose key frame never came this way is of no use to the reader, and dropped.

    :ivar lacks_key: that happened; whoever reads it sets it back and asks for a key frame.
    """

    def __init__(self) -> None:
        self.lacks_key = False
        self._slots: dict[tuple[Kind, int], _Slot] = {}
        self._keys: dict[tuple[Kind, int], int] = {}
        self._due: dict[tuple[Kind, int], float] = {}

    def put(self, packet: Packet) -> int:
        """Leave a packet; how many will not be read for it: those that it replaces, or itself."""
        slot = self._slots.get(packet.place)
        if slot is not None and packet.message.sequence < slot.newest.message.sequence:
            return 1
        base = None
        if packet.reference and packet.reference != self._keys.get(packet.place):
            base = _base(slot, packet.reference)
            if base is None:
                self.lacks_key = True
                return 1
        self._slots[packet.place] = _Slot(packet, base)
        if slot is None:
            return 0
        return (slot.base is not base and slot.base is not None) + (slot.newest is not base)

    def take(self, now: float, interval: float = 0.0) -> Packet | None:
        """The packet that waited longest, if one may be read yet.

        :param interval: seconds between two packets of the same lane, but for expressions, which are small.
        """
        for place, slot in self._slots.items():
            if now < self._due.get(place, 0.0):
                continue
            if slot.base is not None:
                packet, slot.base = slot.base, None
            else:
                packet = self._slots.pop(place).newest
                self._due[place] = now + (0.0 if place[0] is Kind.EXPRESSION else interval)
            if not packet.reference:
                self._keys[place] = max(packet.message.sequence, self._keys.get(place, 0))
            return packet
        return None

    def wait(self, now: float) -> float | None:
        """Seconds until `take` gives something, or None while nothing is there."""
        if not self._slots:
            return None
        return max(0.0, min(self._due.get(place, 0.0) for place in self._slots) - now)

    def throttled(self, packet: Packet, now: float) -> bool:
        """Whether the packet will wait for its interval and not for the reader."""
        return now < self._due.get(packet.place, 0.0)

    def clear(self, kind: Kind) -> None:
        """Forget what waits of a kind, which the reader no longer wants."""
        for place in [place for place in self._slots if place[0] is kind]:
            del self._slots[place]


def _base(slot: _Slot | None, reference: int) -> Packet | None:
    """The packet in the slot that has that sequence."""
    waiting = () if slot is None else (slot.base, slot.newest)
    return next((packet for packet in waiting if packet and packet.message.sequence == reference), None)
