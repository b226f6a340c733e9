"""Keeps the newest capture that has a mesh, for what is written when a run ends."""

from __future__ import annotations

from stream.pipeline.demand import EVERY, Demand
from stream.types import Capture


class LatestCapture:
    """A sink that remembers one capture (a `stream.pipeline.stage.Sink`).

    :param wanted: what is worked out of each: ``mesh``, or ``picture``, which is drawn of one.
    :ivar capture: the newest one with a mesh, or None while there was none.
    """

    name = "keep"

    def __init__(self, wanted: str = "mesh") -> None:
        self.wants: Demand = {wanted: EVERY}
        self.capture: Capture | None = None

    def open(self) -> None:
        """Nothing to take."""

    def __call__(self, capture: Capture) -> Capture:
        """Remember the capture where its first mesh has triangles, and pass it on."""
        if capture.meshes and len(capture.meshes[0].triangles):
            self.capture = capture
        return capture

    def close(self) -> None:
        """Nothing to give back; the capture stays for its reader."""
