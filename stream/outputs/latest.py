"""Keeps the newest capture that has a mesh, for what is written when a run ends."""

from __future__ import annotations

from typing import ClassVar

from stream.pipeline.demand import EVERY, Demand
from stream.types import Capture


class LatestCapture:
    """A sink that remembers one capture (a `stream.pipeline.stage.Stage`).

    :ivar capture: the newest one with a mesh, or None while there was none.
    """

    name = "keep"
    wants: ClassVar[Demand] = {"mesh": EVERY}

    def __init__(self) -> None:
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
