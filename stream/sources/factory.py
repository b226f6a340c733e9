"""From what a user wrote to a source."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

from stream.errors import SourceError
from stream.pipeline.source import FrameSource

SAMPLES: dict[str, Literal["carphone", "astronaut"] | None] = {
    "sample": None,
    "sample:carphone": "carphone",
    "sample:astronaut": "astronaut",
}

SPECS = (
    "webcam or webcam:N or a device such as /dev/video0 (a camera), sample or sample:carphone or "
    "sample:astronaut (built in), or the path of a video, an image, a folder of images, or a pipe"
)


def open_source(
    spec: str,
    *,
    size: tuple[int, int] = (640, 480),
    rate: float | None = None,
    loop: bool = False,
    fast: bool = False,
    decode: str = "cpu",
) -> FrameSource:
    """The source that a specification names; not opened yet, its `open` does that.

    :param spec: see `SPECS`. To mean a file called like a keyword write ``./sample``.
    :param size: what a camera is asked for, and the sample's; files keep their own.
    :param rate: frames per second instead of the source's own (30 for cameras and images).
    :param loop: start files again at their end; the sample always goes on.
    :param fast: give frames as fast as they are read; a camera cannot.
    :param decode: who decodes a video file, ``cpu`` or ``nvdec``; see `stream.sources.file.FileSource`.
    :raises SourceError: there is no such source; the message lists what is possible.
    :raises ConfigError: the size or rate is out of range, or there is no such decoder.
    """
    # Each source is imported where it is chosen: OpenCV and PyAV are slow to load.
    if (device := _camera(spec)) is not None:
        from stream.sources.webcam import WebcamSource

        if fast:
            raise SourceError("A camera cannot be played as fast as possible; choose a file or the sample.")
        return WebcamSource(device, size=size, rate=30.0 if rate is None else rate)
    if spec in SAMPLES:
        from stream.sources.sample import SampleSource

        return SampleSource(SAMPLES[spec], size=size, rate=rate, fast=fast)
    return _recorded(spec, rate, loop, fast, decode)


def _camera(spec: str) -> int | str | None:
    if spec == "webcam":
        return 0
    if match := re.fullmatch(r"webcam:(\d{1,3})", spec):
        return int(match[1])
    mode = _mode(spec)
    if mode is None:
        # Not plugged in, perhaps; what else lies in /dev (shared memory, pipes) is there, or is no camera.
        return spec if re.fullmatch(r"/dev/(video\d+|v4l/.+)", spec) else None
    return str(Path(spec).expanduser()) if stat.S_ISCHR(mode) else None


def _mode(spec: str) -> int | None:
    """What kind of file a path names, links followed; None where there is none."""
    try:
        return os.stat(Path(spec).expanduser()).st_mode if spec else None
    except (OSError, ValueError, RuntimeError):
        return None


def _recorded(spec: str, rate: float | None, loop: bool, fast: bool, decode: str) -> FrameSource:
    mode = _mode(spec)
    if mode is None or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise SourceError(f"There is no source {spec[:200]!r}; possible are: {SPECS}.")
    path = Path(spec).expanduser()
    from stream.sources.images import DEFAULT_RATE, ImagesSource, is_image

    if stat.S_ISREG(mode) and is_image(path):
        from stream.sources.animation import AnimationSource, is_animated

        if is_animated(path):
            return AnimationSource(path, rate=rate, loop=loop, fast=fast)
    if stat.S_ISDIR(mode) or is_image(path):
        return ImagesSource(path, rate=DEFAULT_RATE if rate is None else rate, loop=loop, fast=fast)
    from stream.sources.file import FileSource

    return FileSource(path, rate=rate, loop=loop, fast=fast, decode=decode)
