"""Records pictures as an H.264 video that plays everywhere."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, ClassVar

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from stream.errors import ConfigError, InputError, OutputError
from stream.files import put_in_place, target_of, temporary_beside, try_output
from stream.pipeline.demand import EVERY, Demand
from stream.types import Array, Capture

_log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90_000)
"""Finest step of time in the video: the usual clock of video streams."""

BT709 = 1
"""ITU-T H.273's number for BT.709, in all three of its tables."""

FLAGS = "+frag_keyframe+delay_moov+default_base_moof"
"""A fragmented file: its index grows with it, so that closing is quick however long the video is. Moving one
index to the front instead (faststart) rewrites the whole file at the end. The header waits for the first
pictures (delay_moov), because only then it can say how far the encoder shifted their times."""

ENCODER = {"preset": "superfast", "crf": "21", "threads": "1"}
"""Light and on one thread, for the live stages need the cores: on 2 of them `prosopon live` without a display
drops nothing at 30 fps (with veryfast on two threads 44 of 300), for a file nearly twice the size."""

MAX_SIDE = 8192
MAX_RATE = 1000.0


class VideoRecorder:
    """Writes pictures to an mp4 (H.264, yuv420p, fragmented), each at the time it was captured.

    Also a stage: it writes each capture's picture and passes the capture on. The file appears under its
    name only when closed, whole; until then, and if the process dies, an older file stays as it is.

    The first picture sets the video's size, rounded up to even; later ones of another size are scaled to
    fit, centred on black.

    :param path: where the video goes; missing folders are made.
    :param rate: pictures a second expected, for players and the encoder's planning; the true times are
        kept whatever it is.
    :ivar frames: pictures written so far.
    :ivar finished: the video is whole and has its name; an older file of that name says nothing about it.
    :raises ConfigError: the rate is not within 0..1000 or the name does not end in .mp4.
    """

    name = "record"
    wants: ClassVar[Demand] = {"picture": EVERY}

    def __init__(self, path: Path, rate: float = 30.0) -> None:
        if not 0 < rate <= MAX_RATE:
            raise ConfigError(f"A recording at {rate} pictures a second is not possible; use 1 to 1000.")
        if path.suffix.lower() != ".mp4":
            raise ConfigError(f"Recordings are .mp4 files; {path.name} is not named as one.")
        self.path = path
        self.frames = 0
        self.finished = False
        self._rate = Fraction(rate).limit_denominator(1001)
        self._target = target_of(path)
        self._temporary = temporary_beside(self._target)
        self._file: IO[bytes]
        self._failure: OutputError | None = None
        self._container: Any = None
        self._stream: Any = None
        self._reformatter = VideoReformatter()
        self._start = 0.0
        self._last = -1

    def open(self) -> None:
        """Make the file, under a temporary name beside the final one.

        :raises OutputError: it cannot be written there.
        """
        with self._guard():
            try_output(self.path)
            # FFmpeg's own files are closed without a word when the disk is full; Python's raise.
            self._file = self._temporary.open("wb")
            self._container = av.open(self._file, "w", format="mp4", options={"movflags": FLAGS})

    def write(self, picture: Array, captured: float) -> None:
        """Add one picture.

        :param picture: (H, W, 3) uint8 RGB.
        :param captured: when it was taken, seconds on any steady clock; the video begins at the first one.
            A picture that is not newer than the one before is shown right after it.
        :raises InputError: the picture is not usable, or the recorder is not open.
        :raises OutputError: the file cannot be written.
        """
        _check_picture(picture)
        if not math.isfinite(captured):
            raise InputError(f"A picture taken at {captured} seconds cannot be recorded; give a real time.")
        if self._container is None:
            raise InputError("The recorder is not open; call open() first.")
        with self._guard():
            if self._stream is None:
                self._start_stream(picture, captured)
            fitted = _fit(picture, self._stream.width, self._stream.height)
            frame = self._reformatter.reformat(
                av.VideoFrame.from_ndarray(fitted, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.time_base = TIME_BASE
            frame.pts = max(self._last + 1, round((captured - self._start) / TIME_BASE))
            self._last = frame.pts
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            self.frames += 1

    def __call__(self, capture: Capture) -> Capture:
        """Record the capture's picture, if it has one, and pass it on.

        :raises InputError, OutputError: as `write`.
        """
        if capture.picture is not None:
            self.write(capture.picture, capture.frame.captured)
        return capture

    def close(self) -> None:
        """Finish the video and give it its name; a second call does nothing. No picture, no file.

        :raises OutputError: it, or a picture before, could not be written; nothing is left then.
        """
        if self._container is None:
            return
        try:
            with self._guard():
                self._finish()
        finally:
            self._container = self._stream = None
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        try:
            if self._stream is not None:
                for packet in self._stream.encode(None):
                    self._container.mux(packet)
        finally:
            try:
                self._container.close()
            finally:
                self._file.close()
        if self._failure is not None:
            raise self._failure
        if self.frames:
            put_in_place(self._temporary, self._target)
            self.finished = True
        else:
            _log.info("Nothing was recorded to %s: no picture came.", self.path)

    def _start_stream(self, picture: Array, captured: float) -> None:
        height, width = picture.shape[:2]
        stream = self._container.add_stream("libx264", rate=self._rate, options=ENCODER)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        # Written into the file, or players guess the colours from the picture's size.
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = ColorRange.MPEG
        stream.time_base = codec.time_base = TIME_BASE
        self._stream = stream
        self._start = captured

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn what PyAV and the file system raise into one sentence."""
        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            reason = getattr(error, "strerror", None) or error
            self._failure = OutputError(
                f"Cannot write {self.path}: {reason}; choose another place or make room."
            )
            raise self._failure from error


def _check_picture(picture: Array) -> None:
    shape, dtype = picture.shape, picture.dtype
    if picture.ndim != 3 or shape[2] != 3 or dtype != np.uint8 or not 1 <= min(shape[:2]) <= MAX_SIDE:
        raise InputError(f"A picture to record must be (H, W, 3) uint8, not {shape} {dtype}.")
    if max(shape[:2]) > MAX_SIDE:
        raise InputError(f"A picture of {shape[1]}x{shape[0]} is too large to record; use up to {MAX_SIDE}.")


def _fit(picture: Array, width: int, height: int) -> Array:
    """The picture at the video's size: a missing last row or column repeated, another size scaled."""
    across, down = width - picture.shape[1], height - picture.shape[0]
    if across == down == 0:
        return np.ascontiguousarray(picture)
    if 0 <= across <= 1 and 0 <= down <= 1:
        return np.pad(picture, ((0, down), (0, across), (0, 0)), mode="edge")
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA
    )
    return canvas
