"""Plays an animated picture: WebP, PNG or AVIF; what FFmpeg plays (GIF) is a video."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from stream.sources.convert import check_size
from stream.sources.images import FORMATS, picture_of, read_bounded, readable
from stream.sources.metadata import part
from stream.sources.timed import TimedPicture, TimedSource

SUFFIXES = (".apng", ".avif", ".png", ".webp")
"""What names of files end with that may be animated."""

PAUSE = 0.1
"""Seconds that a picture is shown which does not say how long, as browsers have it."""

MAX_PAUSE = 10.0


def is_animated(path: Path) -> bool:
    """Whether the file is a picture that moves; not where it cannot be read."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        with Image.open(path, formats=FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # whoever reads the picture says what is wrong with it
        return False


class AnimationSource(TimedSource):
    """All pictures of an animation, by its own times.

    :param rate: play at this constant rate instead, pictures per second.
    :param loop: start again at the end, forever; whatever the file says of that.
    :param fast: do not wait.
    :raises ConfigError: the rate is out of range.
    """

    def __init__(
        self, path: Path, *, rate: float | None = None, loop: bool = False, fast: bool = False
    ) -> None:
        super().__init__(path.name, rate, fast)
        self._path = path
        self._loop = loop
        self._image: Image.Image | None = None
        self._turned = 1

    def open(self) -> None:
        """Open the file.

        :raises SourceError: it cannot be read.
        """
        with readable(self._path.name):
            self._turned = part(read_bounded(self._path))[0]
            self._image = Image.open(self._path, formats=FORMATS)
            check_size(self._image.width, self._image.height, self._path.name)

    def close(self) -> None:
        """Close the file."""
        super().close()
        if self._image is not None:
            self._image.close()
            self._image = None

    def _play(self) -> Iterator[TimedPicture]:
        image = self._image
        assert image is not None, "open comes before read"
        seconds, index = 0.0, 0
        while True:
            for place in range(getattr(image, "n_frames", 1)):
                with readable(self._path.name):
                    image.seek(place)
                    picture = picture_of(image, self._turned, self._path.name)
                shown = index / self.rate if self.rate else seconds
                yield TimedPicture(shown, partial(np.asarray, picture))
                pause = (image.info.get("duration") or 0) / 1000
                seconds += min(pause, MAX_PAUSE) if pause > 0 else PAUSE
                index += 1
            if not self._loop:
                return
