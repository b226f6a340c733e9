"""Plays a folder of images, or a single one."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from stream.errors import InputError, SourceError
from stream.sources import metadata
from stream.sources.convert import check_size, to_rgb
from stream.sources.heif import heif_formats, is_heif
from stream.sources.profile import to_srgb
from stream.sources.timed import TimedPicture, TimedSource
from stream.types import Array

log = logging.getLogger(__name__)

SUFFIXES = (
    *(".avif", ".bmp", ".heic", ".heif", ".hif", ".jpeg", ".jpg"),
    *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
"""What names of images end with."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", *(["AVIF"] if features.check("avif") else []))
"""What is read as an image, whatever its name. Pillow knows more, some of which runs other programs."""

DEFAULT_RATE = 30.0

MAX_BYTES = 1 << 30
"""Files larger than this are refused before they are read."""


class ImagesSource(TimedSource):
    """The images of a folder in natural order (img2 before img10), or one image.

    EXIF orientation and colour profiles are honoured; see `stream.sources.convert` for 16-bit, grey and
    alpha, and `stream.sources.animation` for one animated image. Files that cannot be read, or are too large,
    are named in the log, left out and counted.

    :param path: a folder, whose sub-folders are not entered, or an image file.
    :param rate: images per second.
    :param loop: start again at the end, forever; a single image is repeated.
    :param fast: do not wait.
    :raises ConfigError: the rate is out of range.
    """

    def __init__(
        self, path: Path, *, rate: float = DEFAULT_RATE, loop: bool = False, fast: bool = False
    ) -> None:
        super().__init__(path.name, rate, fast)
        self._path = path
        self._loop = loop
        self._files: list[Path] = []

    def open(self) -> None:
        """List the images.

        :raises SourceError: there is none, or the folder cannot be read.
        """
        if not self._path.is_dir() and self._path.exists():
            self._files = [self._path]
            return
        try:
            files = [path for path in self._path.iterdir() if is_image(path) and path.is_file()]
        except OSError as error:
            raise SourceError(f"Cannot read the folder {self._path} ({error.strerror}).") from error
        if not files:
            raise SourceError(f"There is no image in {self._path}; it may hold {', '.join(SUFFIXES)} files.")
        self._files = sorted(files, key=natural_order)

    def _play(self) -> Iterator[TimedPicture]:
        assert self.rate is not None
        if len(self._files) == 1:
            yield from self._repeat(read_image(self._files[0]))
            return
        index, bad = 0, set[Path]()
        while True:
            before = index
            for path in self._files:
                try:
                    image = read_image(path)
                except SourceError as error:
                    if path not in bad:
                        log.warning("%s It is left out.", error)
                    bad.add(path)
                    continue
                yield TimedPicture(index / self.rate, partial(_same, image))
                index += 1
            if index == before:
                raise SourceError(f"Not one image in {self._path} can be read.")
            if bad and not before:
                log.warning("%d of %d images of %s were left out.", len(bad), len(self._files), self._path)
            if not self._loop:
                return

    def _repeat(self, image: Array) -> Iterator[TimedPicture]:
        assert self.rate is not None
        index = 0
        while index == 0 or self._loop:
            yield TimedPicture(index / self.rate, partial(_same, image))
            index += 1


def read_image(path: Path) -> Array:
    """(H, W, 3) uint8 sRGB of an image file, the right way up; the first picture of an animation.

    :raises SourceError: it cannot be read, is damaged, not an image, or larger than 100 megapixels or 1 GiB.
    """
    with readable(path.name):
        data = read_bounded(path)
        formats = heif_formats(path.name) if is_heif(data) else FORMATS
        turned, bare = metadata.part(data)
        with Image.open(io.BytesIO(bare), formats=formats) as image:
            check_size(image.width, image.height, path.name)
            return picture_of(image, turned, path.name)


def read_bounded(path: Path) -> bytes:
    """All of an image file.

    :raises OSError: it cannot be read.
    :raises SourceError: it is larger than 1 GiB.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path.name} is larger than an image may be (1 GiB); choose another file.")
    return data


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn whatever reading the picture ``name`` raises into one sentence.

    :raises SourceError: that sentence.
    """
    try:
        yield
    except SourceError:
        raise
    except UnidentifiedImageError as error:
        raise SourceError(f"{name} is not an image that can be read; choose another file.") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{name} has more than 100 megapixels; shrink it.") from error
    except InputError as error:
        raise SourceError(str(error)) from error
    except Exception as error:  # decoders raise nearly anything on a damaged file
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{name} cannot be read ({reason}); choose another file.") from error


def picture_of(image: Image.Image, turned: int, name: str) -> Array:
    """(H, W, 3) uint8 sRGB of an open image.

    :param turned: its orientation, where the file says one that Pillow does not read (`metadata.part`).
    """
    picture = to_rgb(_samples(to_srgb(image)), name)
    if image.format == "AVIF":
        # Its own way to say it, which Pillow hands on as EXIF.
        turned = metadata.orientation(image.info.get("exif") or b"")
    return metadata.upright(picture, turned)


def _samples(image: Image.Image) -> Array:
    """Pillow's samples as an array that `to_rgb` takes."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("The image holds values that do not fit 16 bits.")
        return values.astype(np.uint16)
    if image.mode in ("1", "L", "LA", "RGB", "RGBA", "F"):
        return np.asarray(image)
    # Palettes, CMYK and the like; Pillow says itself whether there is something transparent.
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def is_image(path: Path) -> bool:
    """Whether the name says that it is one."""
    return path.suffix.lower() in SUFFIXES


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """A sorting key that counts numbers in names as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _same(image: Array) -> Array:
    return image
