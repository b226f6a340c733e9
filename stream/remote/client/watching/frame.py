"""What a viewer receives."""

from __future__ import annotations

from dataclasses import dataclass

from stream.protocol.mesh_codec import SurfaceFrame
from stream.types import Array


@dataclass(frozen=True, slots=True)
class RemoteFrame:
    """One face's surface, received, with its picture.

    :ivar surface: the surface; its capture time is the server's.
    :ivar lane: which of the faces in the picture.
    :ivar sequence: the message's number; rises within a lane.
    :ivar arrived: when the surface had arrived, seconds on this program's `time.monotonic`.
    :ivar picture: (H, W, 3) uint8 RGB, the whole picture it was made of, or the nearest there is; any size.
    :ivar exact: the picture's capture time is the surface's.
    :ivar captured: when it was captured, on the same clock as ``arrived``; None before the clocks' difference
        is known.
    """

    surface: SurfaceFrame
    lane: int
    sequence: int
    arrived: float
    picture: Array | None = None
    exact: bool = False
    captured: float | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from capture to arrival."""
        return None if self.captured is None else self.arrived - self.captured
