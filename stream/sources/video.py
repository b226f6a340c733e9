"""Decodes video files: bounded, tolerant of damage, the right way up and in the right proportions."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData

from stream.compute.nv12 import PitchedNv12
from stream.errors import InputError, SourceError
from stream.sources.colour import ColourConverter
from stream.sources.convert import check_size
from stream.sources.extent import Extent
from stream.sources.heif import BRANDS
from stream.sources.interlaced import progressive
from stream.sources.pipe import PipeFile
from stream.sources.video_stream import choose_stream
from stream.types import Array

log = logging.getLogger(__name__)

UNDECODABLE = (av.error.FFmpegError, OSError, ValueError)
"""What PyAV raises on damage."""

MAX_GAP = 10.0
"""A jump of the time stamps by more than this, seconds, is damage or an edit, not a pause."""

MAX_ASPECT = 4
"""Pixels longer or taller than this are a wrong entry in the file, and taken as square."""


class VideoFile:
    """An open video file's default video stream (`choose_stream`).

    :param hwaccel: the hardware that decodes (`stream.sources.nvdec`); the CPU otherwise.
    :ivar rate: average frames per second, or None where the file does not say.
    :raises SourceError: not a video PyAV can open, no picture in it, or pictures over 100 megapixels.
    """

    def __init__(self, path: Path, hwaccel: HWAccel | None = None) -> None:
        self._path = path
        self._told = False
        self._colours = ColourConverter()
        self._pipe = PipeFile(path) if path.is_fifo() else None
        # Without these a playlist could make the library read from the network.
        options = {"protocol_whitelist": "file"}
        try:
            file = self._pipe or f"file:{path}"
            self._container: InputContainer = av.open(file, options=options, hwaccel=hwaccel)
        except UNDECODABLE as error:
            raise SourceError(
                f"Cannot open {path.name} as a video ({_reason(error)}); choose another file."
            ) from error
        try:
            self._refuse_pictures()
            self._choose_stream()
        except BaseException:
            self._container.close()
            raise

    def _refuse_pictures(self) -> None:
        """A photo under a video's name: FFmpeg would give one of its tiles."""
        brand = self._container.metadata.get("major_brand", "").encode()
        if brand in BRANDS:
            raise SourceError(f"{self._path.name} is a HEIC picture; give it the ending .heic.")

    def _choose_stream(self) -> None:
        self._stream = choose_stream(self._container, self._path.name)
        self._stream.thread_type = "AUTO"
        try:
            check_size(self._stream.width, self._stream.height, self._path.name)
        except InputError as error:
            raise SourceError(str(error)) from error
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = float(rate) if rate else None
        self._aspect = pixel_aspect(self._stream.sample_aspect_ratio)

    def decode(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Every frame that decodes, with its time in seconds from the first one, never falling.

        Packets that do not decode are skipped and, at the end, told in a log message.

        :raises SourceError: not one frame decodes.
        """
        step = 1 / self.rate if self.rate else 1 / 30
        seconds, previous, count = 0.0, None, 0
        for frame in progressive(self._frames()):
            stamp = frame.time
            if count:
                gap = stamp - previous if stamp is not None and previous is not None else step
                seconds += gap if 0 <= gap <= MAX_GAP else step
            previous = stamp
            count += 1
            yield seconds, frame
        if not count:
            raise SourceError(f"Not one picture of {self._path.name} can be decoded; the file is damaged.")

    def rewind(self) -> None:
        """Go back to the first frame.

        :raises SourceError: the file cannot be read twice.
        """
        try:
            self._container.seek(0)
        except UNDECODABLE as error:
            raise SourceError(f"{self._path.name} cannot be played again ({_reason(error)}).") from error

    def picture(self, frame: av.VideoFrame) -> Array:
        """(H, W, 3) uint8 RGB: a screen's colours, alpha over black, square pixels, turned as the file says.

        :raises SourceError: the samples are of a kind that cannot be converted.
        """
        try:
            rgb = stretch(self._colours.rgb(frame), self._aspect)
        except (*UNDECODABLE, InputError) as error:
            raise SourceError(f"{self._path.name} cannot be shown ({_reason(error)}).") from error
        matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
        return rgb if matrix is None else turn(rgb, bytes(matrix))

    def device(self, frame: av.VideoFrame) -> PitchedNv12 | None:
        """The same picture in the GPU's memory; None, for the CPU decoded it."""
        return None

    def close(self) -> None:
        """Close the file and the decoder's threads."""
        self._container.close()
        if self._pipe is not None:
            self._pipe.close()

    def _frames(self) -> Iterator[av.VideoFrame]:
        damaged, extent, broken = 0, Extent(1 / (self.rate or 30)), ""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except UNDECODABLE as error:
                broken, packet = _reason(error), None
            if packet is None:
                break
            extent.take(packet)
            if packet.stream.index != self._stream.index:
                continue
            try:
                for frame in self._stream.decode(packet):
                    if frame.is_corrupt:
                        damaged += 1
                    else:
                        yield frame
            except UNDECODABLE:
                damaged += 1
        if not self._told:
            self._tell(damaged, broken, extent)
            self._told = True

    def _tell(self, damaged: int, broken: str, extent: Extent) -> None:
        """Say what of the file was missing, the first time that it was played."""
        name, missing = self._path.name, extent.short_of(self._container)
        if damaged:
            log.warning("%s is damaged: %d pieces of it could not be decoded.", name, damaged)
        if missing is not None:
            log.warning("%s ended early: %.1f of %.1f s are there; the file is not whole.", name, *missing)
        elif broken:
            log.warning("%s breaks off early (%s).", name, broken)


def pixel_aspect(ratio: Fraction | None) -> float:
    """Width over height of a pixel; 1 where the file says nothing or nonsense."""
    if not ratio or not 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
        return 1.0
    return float(ratio)


def stretch(picture: Array, aspect: float) -> Array:
    """Make the pixels square by lengthening the shorter direction (cubic interpolation)."""
    height, width = picture.shape[:2]
    size = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
    if size == (width, height):
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))


def turn(picture: Array, matrix: bytes) -> Array:
    """Turn and mirror by a display matrix, to the nearest quarter turn.

    :param matrix: nine native int32, row by row, as in ISO 14496-12: with the first four as a, b, -, c, d,
        a point (x, y) is shown at (a x + c y, b x + d y), y down.
    """
    if len(matrix) != 36:
        return picture
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture = picture.transpose(1, 0, 2)
        a, d = c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
