"""How many bits a mesh's depths are sent with, so that the stream keeps to its bit rate."""

from __future__ import annotations

from stream.compute.mesh_quantize import MIN_BITS

SETTLE = 1 / 30
"""Weight of the newest message in the mean: what counts is a second."""

MORE = 1.3
"""By how much a message may grow with one bit more: 1.13 to 1.2 were measured; the rest keeps it from going
back and forth."""


class Precision:
    """Takes away a bit where the messages are too large on average, and gives it back where it fits again.

    :param bits: at most, and to begin with.
    :param budget: bytes that a message may have on average; ``None``: no limit.
    :ivar bits: of the next message, ``bits`` to `MIN_BITS`.
    """

    def __init__(self, bits: int, budget: float | None) -> None:
        self.bits = bits
        self._most, self._budget = bits, budget
        self._mean: float | None = None

    def sent(self, size: int) -> bool:
        """A message had ``size`` bytes; whether `bits` is another number now."""
        self._mean = size if self._mean is None else self._mean + SETTLE * (size - self._mean)
        if self._budget is None:
            return False
        if self._mean > self._budget and self.bits > MIN_BITS:
            self.bits, self._mean = self.bits - 1, self._mean / MORE
        elif self._mean * MORE < self._budget and self.bits < self._most:
            self.bits, self._mean = self.bits + 1, self._mean * MORE
        else:
            return False
        return True
