"""Where a photo shows its person: the hair that no fitted mesh knows of.

MediaPipe's selfie segmentation (Apache-2.0), whose network lies in MediaPipe's own wheel, tells people from
the background, shoulders and all.
"""

from __future__ import annotations

import cv2
import numpy as np

from stream.data.shards import FOREGROUND, MASK_KNOWN
from stream.errors import BackendError
from stream.face.crop import crop_image
from stream.face.mediapipe_mesh import MEDIAPIPE, load_solutions
from stream.face.quiet import quiet_stderr
from stream.types import Array, Crop

SURE = 0.9
"""From this probability a pixel is the person; from one less this it is not; between them it is unknown."""


class PersonSegmenter:
    """Tells the people of a picture from the rest; used from one thread.

    :raises BackendError: MediaPipe is missing or cannot start.
    """

    def __init__(self) -> None:
        solutions = load_solutions()
        try:
            with quiet_stderr():
                self._network = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
                self._network.process(np.zeros((8, 8, 3), np.uint8))
        except (AttributeError, RuntimeError, ValueError, OSError) as error:
            raise BackendError(
                f"MediaPipe's selfie segmentation does not start ({error}); install it again with: "
                f"pip install {MEDIAPIPE}"
            ) from error

    def __call__(self, picture: Array) -> Array:
        """Probability (H, W) float32 in 0..1 that a pixel of the picture (H, W, 3) uint8 RGB is a person."""
        self._network.reset()  # else it leans on the picture before
        probability: Array = self._network.process(picture).segmentation_mask
        return probability

    def close(self) -> None:
        """Free the network."""
        self._network.close()


def person_flags(person: Array, crop: Crop, size: int, face: Array, chin: float) -> Array:
    """(size, size) uint8 flags of a crop: head and background, as far as they are known.

    Only what hangs together with the face is its head, and nothing below the chin: there are shoulders.

    :param person: (H, W) float32 in 0..1, of the photo.
    :param face: (size, size) bool, where the face is.
    :param chin: its y in crop coordinates, -1 at the top and 1 at the bottom.
    """
    seen = crop_image(np.rint(person * 255).astype(np.uint8), crop, size)
    _, labels = cv2.connectedComponents((seen >= 255 * SURE).astype(np.uint8), connectivity=4)
    own = (
        np.isin(labels, np.setdiff1d(labels[face], [0])) & (np.arange(size) < (chin + 1) / 2 * size)[:, None]
    )
    background = seen <= 255 * (1 - SURE)
    flags = own * np.uint8(MASK_KNOWN | FOREGROUND)
    return flags | (background & ~face) * np.uint8(MASK_KNOWN)
