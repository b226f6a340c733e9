"""Clips with a known answer, made of one photograph: a face that is still, or moves along a known path.

Every frame gets noise and compression of its own, as a webcam's do, so whatever a measurement does on a
still clip beyond being constant is its jitter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from stream.errors import InputError
from stream.face.still import find_face
from stream.geometry import transform_points
from stream.types import Array, Crop, Face, Frame

RATE = 30.0
SIZE = (640, 480)
HALF = 120.0
"""Half side of the face's crop in the clip, pixels: somebody half a metre from a laptop's camera."""

NOISE = 5.0
"""Standard deviation of the sensor noise, grey levels: an indoor webcam's."""

JPEG_QUALITY = 85
"""As the MJPEG streams of USB cameras."""

SHAKE, SHAKE_FRAMES = 0.4, 3.0
"""A camera on a shaky desk trembles by this many pixels (standard deviation on each axis), and forgets
where it was within so many frames."""

SPEED = 8.0
"""Largest speed of the moving face, pixels a frame."""

MAX_ROLL = math.radians(10.0)
MAX_ZOOM = 1.12


@dataclass(frozen=True, slots=True)
class PhotoClip:
    """A photograph with a face, and where it lies in each frame of the clip.

    :ivar photo: (H, W, 3) uint8 RGB.
    :ivar face: the face as `stream.face.still.find_face` sees it in the photo.
    :ivar placements: (T, 2, 3) float64, photo pixels to frame pixels (a similarity).
    """

    photo: Array
    face: Face
    placements: Array

    def frames(self) -> Iterator[Frame]:
        """The noisy, compressed frames of `SIZE`, `RATE` a second."""
        random = np.random.default_rng(0)
        for index, placement in enumerate(self.placements):
            picture = cv2.warpAffine(
                self.photo, placement, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            )
            yield Frame(webcam_picture(picture, random), 1.0 + index / RATE, index, "clip")

    def points(self, photo_points: Array) -> Array:
        """(T, N, 2) float64: where points (N, 2) of the photo lie in each frame."""
        return np.stack([transform_points(placement, photo_points) for placement in self.placements])

    def crops(self) -> list[Crop]:
        """Where the photo's crop lies in each frame."""
        crop, found = self.face.crop, []
        for a in self.placements:
            x, y = a[:, :2] @ (crop.x, crop.y) + a[:, 2]
            scale, turn = math.hypot(a[0, 0], a[1, 0]), math.atan2(a[1, 0], a[0, 0])
            found.append(Crop(float(x), float(y), crop.half * scale, crop.angle + turn))
        return found


def still_clip(photo: Array, count: int = 120, shake: bool = False) -> PhotoClip:
    """A face that does not move; with ``shake`` the camera trembles by a known fraction of a pixel.

    :param photo: (H, W, 3) uint8 RGB with a face.
    :raises FaceError: there is none.
    :raises InputError: the photo is of another kind or ``count`` is below 1.
    """
    offsets = _tremble(_checked(count)) if shake else np.zeros((_checked(count), 2))
    return _clip(photo, offsets, np.zeros(count), np.ones(count))


def moving_clip(photo: Array, count: int = 120) -> PhotoClip:
    """A face that sways, rolls and comes and goes, all at once, at up to `SPEED` pixels a frame.

    :raises FaceError, InputError: as `still_clip`.
    """
    seconds = np.arange(_checked(count)) / RATE
    swing = 2 * math.pi * 0.5 * seconds
    reach = SPEED * RATE / (2 * math.pi * 0.5)
    offsets = np.stack([reach * np.sin(swing), 0.4 * reach * np.sin(1.3 * swing)], axis=1)
    return _clip(photo, offsets, MAX_ROLL * np.sin(1.2 * swing), MAX_ZOOM ** np.sin(0.9 * swing))


def webcam_picture(picture: Array, random: np.random.Generator) -> Array:
    """(H, W, 3) uint8 with sensor noise of `NOISE`, then through JPEG at `JPEG_QUALITY`."""
    noise = random.standard_normal(picture.shape, dtype=np.float32) * np.float32(NOISE)
    noisy = np.clip(picture + noise + np.float32(0.5), 0, 255).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    data = cv2.imencode(".jpg", np.ascontiguousarray(noisy[..., ::-1]), options)[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _tremble(count: int) -> Array:
    """(T, 2) pixels: noise low-passed by a first-order filter, of standard deviation `SHAKE`."""
    keep = math.exp(-1 / SHAKE_FRAMES)
    offsets = np.random.default_rng(1).normal(0.0, SHAKE, (count, 2))
    for index in range(1, count):
        offsets[index] = keep * offsets[index - 1] + math.sqrt(1 - keep * keep) * offsets[index]
    return offsets


def _checked(count: int) -> int:
    if count < 1:
        raise InputError(f"A clip needs at least one frame, not {count}.")
    return count


def _clip(photo: Array, offsets: Array, rolls: Array, zooms: Array) -> PhotoClip:
    """Move about the face, which stands in the middle of the frame at `HALF`.

    :param offsets: (T, 2) pixels; ``rolls``, ``zooms``: (T,) radians, factors.
    """
    face = find_face(photo)
    scale = HALF / face.crop.half * zooms
    c, s = np.cos(rolls) * scale, np.sin(rolls) * scale
    linear = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    middle = (np.array(SIZE) - 1) / 2 + offsets
    shift = middle - linear @ np.array([face.crop.x, face.crop.y])
    return PhotoClip(photo, face, np.concatenate([linear, shift[..., None]], axis=-1))
