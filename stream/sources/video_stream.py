"""Which of a file's streams is the video."""

from __future__ import annotations

from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from stream.errors import SourceError

BESIDE = (
    Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent
    | Disposition.descriptions
    | Disposition.visual_impaired
)
"""What goes with a video or with sound: covers, previews, layers, and versions for few."""


def choose_stream(container: InputContainer, name: str) -> VideoStream:
    """The default video stream, of several the one with the most pixels; covers and previews are none.

    :param name: the file's, for the message.
    :raises SourceError: the file holds no video.
    """
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise SourceError(f"{name} holds no video; choose another file.")
    return max(streams, key=_rank)


def _rank(stream: VideoStream) -> tuple[bool, bool, int]:
    """Larger for what is rather meant; of equals, `max` takes the first."""
    main = not stream.disposition & BESIDE
    default = bool(stream.disposition & Disposition.default)
    return main, default, (stream.width or 0) * (stream.height or 0)
