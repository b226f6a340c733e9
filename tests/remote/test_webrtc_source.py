"""A received track as a source."""

import numpy as np

from stream.pipeline.source import Source
from stream.remote.server.sessions.webrtc import WebRtcSource
from stream.remote.transport.incoming import DecodedPicture


class Track:
    """As much of a track as a source reads."""

    def __init__(self) -> None:
        self.left = [DecodedPicture(np.zeros((4, 6, 3), np.uint8), 900, 1.5, 1.6, 7)]
        self.interrupted = 0

    def wait(self) -> DecodedPicture | None:
        return self.left.pop() if self.left else None

    def interrupt(self) -> None:
        self.interrupted += 1


def test_pictures_become_frames_until_the_track_ends() -> None:
    track = Track()
    source: Source = WebRtcSource(track)  # type: ignore[arg-type]
    source.open()
    frame = source.read()
    assert frame is not None
    assert (frame.image.shape, frame.captured, frame.index) == ((4, 6, 3), 1.5, 7)
    assert (frame.source, source.paced, source.rate) == ("webrtc", True, None)
    assert source.read() is None
    source.interrupt()
    source.close()
    assert track.interrupted == 2
