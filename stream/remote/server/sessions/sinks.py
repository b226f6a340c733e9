"""The ends of a session's pipeline: people to the broadcast, pictures to the video."""

from __future__ import annotations

from typing import ClassVar, Protocol

from stream.pipeline.demand import EVERY, Demand
from stream.protocol.clock import wall_micros
from stream.remote.server.sessions.broadcast import Broadcast
from stream.types import Array, Capture

ENCODE, TEXTURE = "encode", "texture"
"""The metrics' names of the sinks."""

LOOKS = 4.0
"""Times a second that faces are looked for while nobody watches, to tell of them."""


class Video(Protocol):
    """Who encodes pictures as video (`stream.remote.transport.video.SharedVideo`)."""

    def offer(self, image: Array, captured_micros: int) -> None: ...


class _Sink:
    """What both have in common: nothing to open or close; encoders are made when they are needed."""

    def open(self) -> None:
        """See `stream.pipeline.stage.Sink`."""

    def close(self) -> None:
        """See `stream.pipeline.stage.Sink`."""


class BroadcastSink(_Sink):
    """Encodes each capture for those who watch (a `stream.pipeline.stage.Sink`)."""

    name = ENCODE

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast

    @property
    def wants(self) -> Demand:
        """What the viewers want now; else faces, `LOOKS` times a second."""
        wanted = {"face": LOOKS, "surface": self._broadcast.mesh_rate}
        if self._broadcast.expressions_wanted:
            wanted["expression"] = EVERY
        return wanted

    def __call__(self, capture: Capture) -> Capture:
        """See `Broadcast.send_capture`."""
        self._broadcast.send_capture(capture)
        return capture


class TextureSink(_Sink):
    """Hands each new picture to the video encoder, and to those who take JPEGs."""

    name = TEXTURE
    wants: ClassVar[Demand] = {}

    def __init__(self, broadcast: Broadcast, video: Video) -> None:
        self._broadcast, self._video = broadcast, video

    def __call__(self, capture: Capture) -> Capture:
        """See `Broadcast.send_picture`."""
        frame = capture.frame
        if frame.fresh:
            captured = wall_micros(frame.captured)
            self._video.offer(frame.image, captured)
            self._broadcast.send_picture(frame.image, frame.index, captured)
        return capture
