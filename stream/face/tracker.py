"""What a face tracker is, and how one is chosen by name."""

from __future__ import annotations

import importlib
import math
from typing import Protocol, cast

import numpy as np

from stream.blas import keep_blas_single
from stream.compute.backends import load_twin
from stream.errors import BackendError, ConfigError, InputError
from stream.face.crop import MAX_SIDE
from stream.types import Array, Frame

LANDMARKS = 478
"""Points of MediaPipe's face mesh with irises; 468..472 are the person's right iris, 473..477 the left."""

MAX_FACES = 16
"""More faces than this at once are refused: every one costs a landmark network run per frame."""

_TRACKERS = {
    "mediapipe": (
        ("stream.face.mediapipe_mesh", "MediaPipeTracker"),
        ("stream.face.mediapipe_still", "MediaPipeStillTracker"),
    ),
}
"""Module and class of each tracker, best first: the one for video and the one for single pictures. Each is
made with ``max_faces`` and raises BackendError where it cannot run."""

TRACKER_NAMES = ("auto", *_TRACKERS)


class FaceTracker(Protocol):
    """Finds the landmarks of all faces in one frame after another; used from one thread."""

    def detect(self, frame: Frame) -> list[Array]:
        """Landmarks (478, 3) float32 of each face, in image pixels (see `stream.types.Face`), any order.

        Empty when there is no face; all values are finite and near the image.

        :raises InputError: the image is not (H, W, 3) uint8 or is empty.
        """

    def close(self) -> None:
        """Give everything back; the tracker is not used after it."""


def open_tracker(name: str = "auto", max_faces: int = 1, static: bool = False) -> FaceTracker:
    """Open a tracker by name; ``auto`` takes the first that runs here. BLAS works on one thread from now on.

    :param static: for single pictures: nothing is carried from one to the next, and the search is more
        thorough (small faces, faces that fill the picture) and slower.
    :raises ConfigError: the name or number of faces is out of range.
    :raises BackendError: the tracker cannot run here; the message says what to install.
    """
    check_tracker(name, max_faces)
    keep_blas_single()
    load_twin("pose_refine", "numba")  # which `stream.face.pose` needs for the first face
    reasons = []
    for candidate in _TRACKERS if name == "auto" else (name,):
        module, tracker = _TRACKERS[candidate][static]
        try:
            return cast(FaceTracker, getattr(importlib.import_module(module), tracker)(max_faces))
        except BackendError as error:
            reasons.append(str(error))
    raise BackendError(" ".join(reasons))


def check_tracker(name: str, max_faces: int) -> None:
    """Refuse settings that `open_tracker` cannot serve, without opening anything.

    :raises ConfigError: the name is unknown or the number of faces is not within 1..16.
    """
    if name not in TRACKER_NAMES:
        raise ConfigError(
            f"There is no face tracker named {name!r}; choose one of {', '.join(TRACKER_NAMES)}."
        )
    if not 1 <= max_faces <= MAX_FACES:
        raise ConfigError(f"--max-faces is {max_faces} but must be between 1 and {MAX_FACES}.")


def check_image(image: Array) -> None:
    """:raises InputError: ``image`` is not a non-empty (H, W, 3) uint8 array, or a side is over 32,766."""
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 3 or shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        kind = f"{shape} {getattr(image, 'dtype', type(image).__name__)}"
        raise InputError(f"The face tracker needs an (H, W, 3) uint8 RGB image, not {kind}.")
    if max(shape) > MAX_SIDE:
        raise InputError(f"The image is {shape[1]}x{shape[0]}; make its sides {MAX_SIDE} pixels at most.")


def plausible(landmarks: Array, width: int, height: int) -> bool:
    """Whether (478, 3) landmarks in pixels can be a face in an image of this size.

    They must be finite, span from 4 pixels to four times the image, and have their middle in the image
    or within half its size of it (a face that leaves the picture).
    """
    if landmarks.shape != (LANDMARKS, 3):
        return False
    low, high = np.minimum.reduce(landmarks).tolist(), np.maximum.reduce(landmarks).tolist()
    if not all(map(math.isfinite, (*low, *high))):  # either holds every NaN
        return False
    span = max(high[0] - low[0], high[1] - low[1])
    middle_x, middle_y = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    inside = -0.5 * width < middle_x < 1.5 * width and -0.5 * height < middle_y < 1.5 * height
    return inside and 4 <= span <= 4 * max(width, height)
