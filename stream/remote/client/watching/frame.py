"""What a viewer receives."""

from __future__ import annotations

from dataclasses import dataclass

from stream.protocol.mesh_codec import SurfaceFrame
from stream.types import Array


@dataclass(frozen=True, slots=True)
class RemoteFrame:
    """One face's surface, received, with its picture.

    :ivar surface: the surface; its capture time is the server's.
    :ivar picture: (H, W, 3) uint8 RGB, the whole picture it was made of, or the nearest there is; any size.
    :ivar exact: the picture's capture time is the surface's.
    :ivar lane: which of the faces in the picture.
    :ivar sequence: the message's number; rises within a lane.
    :ivar captured: when it was captured, seconds on this program's `time.monotonic`; None before the clocks'
        difference is known.
    :ivar arrived: when the surface had arrived, on the same clock.
    """

    surface: SurfaceFrame
    picture: Array | None
    exact: bool
    lane: int
    sequence: int
    captured: float | None
    arrived: float

    @property
    def latency(self) -> float | None:
        """Seconds from capture to arrival."""
        return None if self.captured is None else self.arrived - self.captured
