"""The base of all sources that play something recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stream.errors import ConfigError
from stream.sources.pacer import Pacer
from stream.types import Array, Frame

MIN_RATE, MAX_RATE = 0.01, 1000.0


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """One recorded picture, converted only if it is wanted.

    :ivar seconds: the media's own time, never falling.
    :ivar load: gives (H, W, 3) uint8 RGB.
    :ivar device: gives `Frame.device`.
    """

    seconds: float
    load: Callable[[], Array]
    device: Callable[[], Any] = lambda: None


class TimedSource(ABC):
    """Plays pictures at their own times or, with ``fast``, as they are read (see `Source`).

    Played at its own rate it behaves like a camera: a picture whose successor is already due is skipped,
    which shows as a gap in `Frame.index`.
    """

    def __init__(self, name: str, rate: float | None, fast: bool) -> None:
        if rate is not None:
            check_rate(rate)
        self.name = name
        self.rate = rate
        self.paced = not fast
        self._pacer = Pacer(self.paced)
        self._pictures: Iterator[TimedPicture] | None = None
        self._index = 0

    @abstractmethod
    def open(self) -> None:
        """Take what is to be played; see `Source.open`."""

    @abstractmethod
    def _play(self) -> Iterator[TimedPicture]:
        """All pictures in order; called once, after `open`, and run on the reading thread."""

    def read(self) -> Frame | None:
        """The next frame that is not late; see `Source.read`."""
        if self._pictures is None:
            self._pictures = self._play()
        for picture in self._pictures:
            index = self._index
            self._index += 1
            if self._pacer.late(picture.seconds, 1 / (self.rate or 30.0)):
                continue
            image, device = picture.load(), picture.device()
            captured = self._pacer.wait(picture.seconds)
            return None if captured is None else Frame(image, captured, index, self.name, device)
        return None

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self._pacer.interrupt()

    def close(self) -> None:
        """Forget what was being played; see `Source.close`."""
        self._pictures = None


def check_rate(rate: float) -> float:
    """Give the rate back if it is one, frames per second.

    :raises ConfigError: not within 0.01..1000.
    """
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ConfigError(
            f"The rate is {rate} frames per second but must be within {MIN_RATE}..{MAX_RATE:g}."
        )
    return rate
