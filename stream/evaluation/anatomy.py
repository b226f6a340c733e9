"""Measures of single features of a face: the hollow of an open mouth, and the nose's protrusion."""

from __future__ import annotations

import numpy as np

from stream.face.lips import LIPS_INNER, LIPS_OUTER
from stream.types import Array

NOSE_TIP, EYES_AND_MOUTH, NASION_AND_CHIN = 4, (33, 263, 61, 291), (168, 152)
"""The landmark of the nose's tip, those of the plane it stands out of (outer corners of eyes and mouth), and
the ends of the face's height: the top of the forehead is under hair or outside the crop too often."""

MIN_LIP_POINTS = 8
MIN_MOUTH_SHARE = 0.001
"""A mouth that fills less of the picture (37 pixels of 192 x 192) is not judged."""


def mouth_depth(points: Array, inside: Array, lips: Array, landmarks: Array) -> float:
    """How far the inside of the mouth lies behind the plane of the lips, mean over its pixels, mm.

    The plane is the least-squares one, distance along the axis over x and y, through the middle of the lips
    (between `LIPS_OUTER` and `LIPS_INNER`: on the inner ring itself a pixel may already show the inside).

    :param points: (S, S, 3) camera points, mm.
    :param inside, lips: (S, S) bool, pixels of the mouth's inside and those that may be lips (skin).
    :param landmarks: (478, 2) crop coordinates.
    :returns: positive is further away than the lips; NaN where too few pixels show either.
    """
    ring = (landmarks[list(LIPS_OUTER)] + landmarks[list(LIPS_INNER)]) / 2
    on_lips = points_at(points, lips, ring)
    on_lips = on_lips[np.isfinite(on_lips).all(axis=1)]
    if len(on_lips) < MIN_LIP_POINTS or inside.sum() < MIN_MOUTH_SHARE * inside.size:
        return float("nan")
    middle = on_lips.mean(axis=0)
    design = np.column_stack([on_lips[:, :2] - middle[:2], np.ones(len(on_lips))])
    plane = np.linalg.lstsq(design, on_lips[:, 2] - middle[2], rcond=None)[0]
    within = points[inside] - middle
    return float(np.mean(within[:, 2] - within[:, :2] @ plane[:2] - plane[2]))


def nose_protrusion(points: Array, usable: Array, landmarks: Array) -> float:
    """Protrusion of the nose tip over the face's height.

    The distance of the tip from the least-squares plane through the outer corners of eyes and mouth, positive
    towards the camera, over the distance from nasion to chin (the morphological face height of Farkas 1994).

    :param points: (S, S, 3) camera points, mm.
    :param usable: (S, S) bool, pixels that show skin.
    :param landmarks: (478, 2) crop coordinates.
    :returns: NaN where one of the points is hidden.
    """
    wanted = [NOSE_TIP, *EYES_AND_MOUTH, *NASION_AND_CHIN]
    found = points_at(points, usable, landmarks[wanted])
    if not np.isfinite(found).all():
        return float("nan")
    tip, corners, ends = found[0], found[1:5], found[5:]
    middle = corners.mean(axis=0)
    normal = np.linalg.svd(corners - middle)[2][2]
    towards = -np.sign(normal @ middle) or 1.0
    height = float(np.linalg.norm(ends[0] - ends[1]))
    return float(towards * normal @ (tip - middle)) / height if height > 0 else float("nan")


def points_at(points: Array, usable: Array, places: Array) -> Array:
    """The surface's points at places in the crop: the medians over usable pixels of 3 x 3.

    :param points: (S, S, 3).
    :param usable: (S, S) bool.
    :param places: (K, 2) crop coordinates.
    :returns: (K, 3) float64, NaN where no pixel is usable.
    """
    size = len(points)
    found = np.full((len(places), 3), np.nan)
    for place, out in zip(np.asarray(places, np.float64), found, strict=True):
        if not np.isfinite(place).all() or np.abs(place).max() > 1:
            continue
        column, row = (np.clip(np.round(((place + 1) * size - 1) / 2), 0, size - 1)).astype(int)
        window = (slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2))
        near = points[window][usable[window]]
        if len(near):
            out[:] = np.median(near, axis=0)
    return found
