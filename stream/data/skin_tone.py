"""Skin tone in a picture: the individual typology angle, and Fitzpatrick's types by it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stream.errors import InputError
from stream.types import Array

TYPE_BORDERS = (55.0, 41.0, 28.0, 10.0, -30.0)
"""Typology angles, degrees, between very light, light, intermediate, tan, brown and dark skin."""

RIGHT_CHEEK, LEFT_CHEEK = (50, 205, 187), (280, 425, 411)
"""Landmarks on each cheek (the person's), where neither beard nor brow grows and light seldom glares."""

PATCH = 0.06
"""Half side of the patch about each landmark, in distances between the eyes."""

TURNED = 25.0
"""Degrees of yaw from which only the cheek turned to the camera counts."""


def typology_angle(colours: Array) -> float:
    """Individual typology angle of skin, degrees: atan((L* - 50) / b*), with the medians of L* and b*.

    Chardon, Cretois and Hourseau 1991, "Skin colour typology and suntanning pathways", International
    Journal of Cosmetic Science 13. It is defined for a colorimeter; in a photograph it also moves with
    exposure and white balance, so only groups of pictures can be compared by it.

    :param colours: (N, 3) uint8 sRGB.
    :raises InputError: the colours are not (N, 3) uint8 with N of 1 or more.
    """
    if colours.ndim != 2 or colours.shape[1] != 3 or colours.dtype != np.uint8 or not len(colours):
        raise InputError("Skin colours must be an (N, 3) uint8 array with at least one colour.")
    lab = cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    lightness, _, yellow = np.median(lab, axis=0)
    # Skin is never blue; where the light is, the angle would jump by half a turn.
    return math.degrees(math.atan2(float(lightness) - 50.0, max(float(yellow), 1e-3)))


def fitzpatrick_type(angle: float) -> int:
    """Fitzpatrick's type, 1 (very light) to 6 (dark), by a typology angle in degrees; 0 for NaN.

    Chardon's six classes of skin colour, taken for Fitzpatrick's types I to VI as is usual with pictures
    (Kinyanjui et al. 2020, "Fairness of classifiers across skin tones in dermatology", section 3.2).
    """
    return 0 if math.isnan(angle) else 1 + sum(angle <= border for border in TYPE_BORDERS)


def cheek_colours(image: Array, landmarks: Array, eye_distance: float, yaw: float) -> Array:
    """Colours of small patches on the cheeks, (N, 3) uint8; N is 0 where they lie outside the picture.

    :param image: (H, W, 3) uint8 RGB.
    :param landmarks: (478, 2+) pixels of ``image``.
    :param eye_distance: between the eyes' centres, pixels.
    :param yaw: degrees, positive turned to the image's left (`stream.face.pose.euler_angles`).
    """
    cheeks = (LEFT_CHEEK if yaw > -TURNED else ()) + (RIGHT_CHEEK if yaw < TURNED else ())
    reach = max(1, round(PATCH * eye_distance))
    height, width = image.shape[:2]
    patches = [np.empty((0, 3), np.uint8)]
    for x, y in np.rint(landmarks[list(cheeks), :2]).astype(int):
        if reach <= x < width - reach and reach <= y < height - reach:
            patch = image[y - reach : y + reach + 1, x - reach : x + reach + 1]
            patches.append(patch.reshape(-1, 3))
    return np.concatenate(patches)
