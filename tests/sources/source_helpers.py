"""Small video files for the tests, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from stream.pipeline.source import FrameSource
from stream.types import Array, Frame


def numbered(count: int, size: tuple[int, int] = (32, 24)) -> list[Array]:
    """(H, W, 3) uint8 pictures that `number_of` can tell apart; ``size`` is width and height."""
    return [np.full((size[1], size[0], 3), 20 + 7 * number, np.uint8) for number in range(count)]


def number_of(picture: Array) -> int:
    """Which of `numbered` this is, also after lossy coding."""
    return round((float(np.mean(picture)) - 20) / 7)


def corners(width: int = 64, height: int = 48) -> Array:
    """A picture whose four corners differ: white, red, green, and the last one black."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    picture[: height // 2, width // 2 :] = (255, 0, 0)
    picture[height // 2 :, : width // 2] = (0, 255, 0)
    return picture


def write_video(
    path: Path,
    pictures: Sequence[Array],
    *,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    source_format: str = "rgb24",
    rate: int = 25,
    milliseconds: Sequence[int] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    aspect: Fraction | None = None,
    gop: int = 5,
) -> Path:
    """Encode the pictures; lossless by default.

    :param pixels: the coded pixel format.
    :param source_format: PyAV's name of the pictures' format.
    :param milliseconds: time stamps for a variable frame rate.
    :param rotation: degrees anticlockwise at which a player shows it.
    :param mirrored: then also mirrored left to right.
    :param aspect: of a pixel.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000 if milliseconds else rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.gop_size = gop
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=source_format)
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Give other threads that long to make it true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def frames(source: FrameSource) -> Iterator[Frame]:
    """Open a source, give its frames and close it."""
    try:
        source.open()
        while (frame := source.read()) is not None:
            yield frame
    finally:
        source.close()
