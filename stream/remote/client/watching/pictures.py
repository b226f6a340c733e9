"""Pictures and meshes that belong together, found by their capture times."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, UnidentifiedImageError

from stream.errors import ProtocolError
from stream.protocol.clock import media_time
from stream.protocol.textures import HEADER
from stream.remote.client.watching.frame import RemoteFrame
from stream.types import Array

DAMAGE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError)
"""What Pillow raises for what is no sound picture."""

MAX_SIDE = 4096
"""Longest side of a texture, pixels: its decoder would allocate whatever a header claims."""

KEPT = 8
"""Pictures and meshes that wait for each other."""

PATIENCE = 0.12
"""Seconds that a mesh waits for its picture at most, which takes the way through a video codec."""

LEEWAY = 0.01
SHARE, LATELY = 0.8, 15
"""A mesh waits `LEEWAY` longer than that share of the last pictures were behind their meshes: where only
every second mesh has a picture, the other ones do not wait for the next, nor are overtaken meanwhile."""

SILENCE = 1.0
"""Seconds without a picture after which meshes no longer wait for one."""

TOLERANCE = 2
"""Ticks of 1/90000 s by which times are the same: conversions round."""


@dataclass(frozen=True, slots=True)
class ReceivedPicture:
    """One picture.

    :ivar media: its capture time as `stream.protocol.clock.media_time`, or None where that is not known.
    :ivar image: (H, W, 3) uint8 RGB.
    """

    media: int | None
    image: Array


class PictureMatcher:
    """Gives each mesh the picture it was made of, or after a while the nearest; never an older mesh later.

    A mesh arrives before its picture. It waits until the picture or a later one came, or for as long as
    pictures have been behind lately. Of those of a lane that are ready at once, only the newest is given.

    :param clock: seconds, monotonic; for tests.
    :ivar patience: seconds that a mesh waits now.
    :ivar skipped: meshes overtaken by newer ones while they waited.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pictures: deque[ReceivedPicture] = deque(maxlen=KEPT)
        self._waiting: dict[int, deque[tuple[float, RemoteFrame]]] = {}
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=2 * KEPT)
        self._seen = float("-inf")
        self._behind: deque[float] = deque(maxlen=LATELY)
        self.patience = PATIENCE
        self.skipped = 0

    def picture(self, picture: ReceivedPicture) -> None:
        """A picture came."""
        self._pictures.append(picture)
        self._seen = self._clock()
        for captured, arrived in self._arrivals:
            if picture.media is not None and abs(_apart(picture.media, captured)) <= TOLERANCE:
                self._behind.append(self._seen - arrived)
                usual = sorted(self._behind)[int(SHARE * len(self._behind))]
                self.patience = min(PATIENCE, usual + LEEWAY)
                break

    def mesh(self, frame: RemoteFrame) -> None:
        """A mesh came, newer than those of its lane before."""
        waiting = self._waiting.setdefault(frame.lane, deque())
        waiting.append((self._clock(), frame))
        self._arrivals.append((media_time(frame.surface.captured), self._clock()))
        if len(waiting) > KEPT:
            waiting.popleft()
            self.skipped += 1

    def ready(self) -> list[RemoteFrame]:
        """Those that need not wait any longer, with their pictures; at most one of each lane."""
        matched = []
        for waiting in self._waiting.values():
            for place in range(len(waiting) - 1, -1, -1):
                found = self._match(*waiting[place])
                if found is not None:
                    matched.append(found)
                    self.skipped += place
                    for _ in range(place + 1):
                        waiting.popleft()
                    break
        return matched

    @property
    def due(self) -> float | None:
        """When the first that waits has waited long enough, or None where none waits."""
        firsts = [waiting[0][0] for waiting in self._waiting.values() if waiting]
        return min(firsts) + self.patience if firsts else None

    def _match(self, since: float, frame: RemoteFrame) -> RemoteFrame | None:
        """The frame with its picture, or None while it is worth waiting."""
        now, wanted = self._clock(), media_time(frame.surface.captured)
        if not self._pictures or now - self._seen > SILENCE:
            return frame
        timed = [(_apart(p.media, wanted), p) for p in self._pictures if p.media is not None]
        if not timed:
            return replace(frame, picture=self._pictures[-1].image)
        apart, nearest = min(timed, key=lambda pair: abs(pair[0]))
        exact = abs(apart) <= TOLERANCE
        if exact or max(pair[0] for pair in timed) > 0 or now >= since + self.patience:
            return replace(frame, picture=nearest.image, exact=exact)
        return None


def _apart(media: int, wanted: int) -> int:
    """Ticks from ``wanted`` to ``media``, both modulo 2^32."""
    return (media - wanted + 2**31) % 2**32 - 2**31


def decode_texture(body: bytes) -> ReceivedPicture:
    """The picture of a texture message; nothing in it is trusted.

    :raises ProtocolError: it is damaged.
    """
    if len(body) <= HEADER.size:
        raise ProtocolError(f"A texture message of {len(body)} bytes is too short.")
    _, captured, width, height = HEADER.unpack_from(body)
    if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        raise ProtocolError(f"A texture of {width}x{height} pixels is too large or empty.")
    try:
        with Image.open(io.BytesIO(body[HEADER.size :]), formats=["JPEG"]) as jpeg:
            if jpeg.size != (width, height):
                raise ProtocolError("A texture's JPEG does not have the declared size.")
            image = np.array(jpeg.convert("RGB"))
    except DAMAGE as error:
        raise ProtocolError("A texture message's JPEG is damaged.") from error
    return ReceivedPicture(media_time(captured), image)
