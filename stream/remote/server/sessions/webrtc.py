"""A camera that comes over WebRTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream.types import Capture, Frame

if TYPE_CHECKING:
    from stream.remote.transport.incoming import IncomingVideo


class WebRtcSource:
    """The pictures of a received track, newest first (see `Source`); their size may change at any time.

    Silence does not end it, the track's end does. `IncomingVideo.wait` runs on the reading thread, and with
    it the decoder.

    :param video: the track; nobody else reads it.
    """

    name = "webrtc"
    rate: float | None = None
    paced = True

    def __init__(self, video: IncomingVideo) -> None:
        self._video = video

    def open(self) -> None:
        """Nothing to do: the track is there already."""

    def read(self) -> Capture | Frame | None:
        """The newest picture not read yet; see `Source.read`."""
        picture = self._video.wait()
        if picture is None:
            return None
        return Frame(picture.image, picture.captured, picture.index, self.name)

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self._video.interrupt()

    def close(self) -> None:
        """Leave the track alone; its peer closes it."""
        self._video.interrupt()
