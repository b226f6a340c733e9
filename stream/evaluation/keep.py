"""The ends of sessions that measure: frames that are there already, and captures that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stream.pipeline.demand import EVERY, Demand
from stream.types import Capture, Frame


class ListedFrames:
    """Gives frames as fast as they are read (a `stream.pipeline.source.Source`)."""

    name = "frames"
    rate: float | None = None
    paced = False

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames: Iterator[Frame] = iter(frames)

    def open(self) -> None:
        """Nothing to take."""

    def read(self) -> Frame | None:
        """The next frame, or None."""
        return next(self._frames, None)

    def interrupt(self) -> None:
        """Give no more."""
        self._frames = iter(())

    def close(self) -> None:
        """Nothing to give back."""


class KeepCaptures:
    """A sink that keeps every capture.

    :param wanted: what is worked out of each (`stream.types.FIELDS`).
    """

    name = "keep"

    def __init__(self, wanted: str) -> None:
        self.wants: Demand = {wanted: EVERY}
        self.captures: list[Capture] = []

    def open(self) -> None:
        """Nothing to take."""

    def __call__(self, capture: Capture) -> Capture:
        """Keep it, and pass it on."""
        self.captures.append(capture)
        return capture

    def close(self) -> None:
        """Nothing to give back; the captures stay for their reader."""
