"""Plays a video file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from stream.errors import ConfigError
from stream.sources.timed import TimedPicture, TimedSource
from stream.sources.video import VideoFile

DECODERS = ("cpu", "nvdec")


class FileSource(TimedSource):
    """Anything PyAV decodes (mp4, mov, mkv, gif, ...), by its own time stamps.

    Rotation and pixel aspect in the file are honoured, grey, 16-bit and alpha pictures converted
    (`stream.sources.convert`). What is damaged in the file is skipped.

    :param rate: play at this constant rate instead, frames per second.
    :param loop: start again at the end, forever.
    :param fast: do not wait for the time stamps.
    :param decode: ``cpu``, or ``nvdec``: on the GPU where that can be (`stream.sources.nvdec`).
    :raises ConfigError: the rate is out of range, or there is no such decoder.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float | None = None,
        loop: bool = False,
        fast: bool = False,
        decode: str = "cpu",
    ) -> None:
        super().__init__(path.name, rate, fast)
        if decode not in DECODERS:
            raise ConfigError(f"There is no decoder {decode!r}; choose one of: {', '.join(DECODERS)}.")
        self._decode = decode
        self._path = path
        self._constant = rate
        self._loop = loop
        self._video: VideoFile | None = None

    def open(self) -> None:
        """Open the file; `rate` is known from here on.

        :raises SourceError: it is not a video, or has no picture in it.
        """
        self._video = self._open()
        self.rate = self._constant or self._video.rate

    def _open(self) -> VideoFile:
        if self._decode == "cpu":
            return VideoFile(self._path)
        from stream.sources.nvdec import open_video

        return open_video(self._path)

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._video is not None:
            self._video.close()
            self._video = None

    def _play(self) -> Iterator[TimedPicture]:
        video = self._video
        assert video is not None, "open comes before read"
        step = 1 / (self.rate or 30.0)
        index, began = 0, 0.0
        while True:
            seconds = began
            for own_seconds, frame in video.decode():
                seconds = index / self._constant if self._constant else began + own_seconds
                index += 1
                yield TimedPicture(seconds, partial(video.picture, frame), partial(video.device, frame))
            if not self._loop:
                return
            began = seconds + step
            video.rewind()
