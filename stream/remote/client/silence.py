"""When a client takes its connection for lost, because nobody answers any more."""

from __future__ import annotations

SILENCE_SECONDS = 3.0
"""Without any sign of life for that long the connection is taken for lost; pings go out six times."""


class Silence:
    """Adds up the pauses between pings in which nothing was heard.

    The clock alone would lie: where this program itself was held up, what came meanwhile waits to be read.

    :ivar seconds: how long it has lasted.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def heard(self) -> None:
        """There was a sign of life."""
        self.seconds = 0.0

    def waited(self, seconds: float) -> bool:
        """A ping's pause is over; whether it was one too many."""
        self.seconds += seconds
        return self.seconds >= SILENCE_SECONDS
