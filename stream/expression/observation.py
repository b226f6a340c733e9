"""What one picture tells of a face: how far each landmark is from where the neutral face would show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.face.tracker import LANDMARKS
from stream.geometry import INTER_PUPIL_MM
from stream.types import Array, Face

DEPTH_TRUST = 0.25
"""What a millimetre of the depth that the tracker guesses counts beside one that the picture shows."""


@dataclass(frozen=True, slots=True)
class PointView:
    """How a camera sees small movements of a head's points.

    :ivar rotation: (3, 3) float32, head to camera.
    :ivar rays: (2, 478) float32, x / z and y / z of each point.
    """

    rotation: Array
    rays: Array

    def see(self, moves: Array) -> Array:
        """Movements of the first P points, (3, ..., P) float32 mm in the head frame, as the camera sees them.

        :returns: (3, ..., P): to the right and down, as the picture shows them at the points' distance, and
            away from the camera times `DEPTH_TRUST`.
        """
        seen = np.empty((3, *moves.shape[1:]), np.float32)
        x, y, z = moves
        for out, (a, b, c) in zip(seen, self.rotation, strict=True):
            # Not a product of matrices: see `stream.expression.least_squares`.
            np.multiply(x, a, out=out)
            out += y * b
            out += z * c
        rays = self.rays[:, : moves.shape[-1]]
        seen[0] -= rays[0] * seen[2]
        seen[1] -= rays[1] * seen[2]
        seen[2] *= np.float32(DEPTH_TRUST)
        return seen

    def unsee(self, seen: Array) -> Array:
        """(3, P) that `see` gives as (3, P) in the head frame, where they have no depth for the camera."""
        return np.einsum("ij,ip->jp", self.rotation[:2], seen[:2])


def observe(face: Face, neutral: Array, ipd_mm: float) -> tuple[Array, PointView]:
    """How far the landmarks are from the neutral face's, (3, 478) float32 as `PointView.see` gives it.

    :param neutral: (478, 3) float32, head frame, mm at an iris distance of 63.
    :param ipd_mm: the inter-pupil distance that the face's pose was solved for.
    """
    camera, pose, unit = face.intrinsics, face.pose, INTER_PUPIL_MM / ipd_mm
    rotation = np.ascontiguousarray(pose[:3, :3], np.float32)
    place = np.einsum("ij,pj->ip", rotation, neutral) + (pose[:3, 3:] * unit).astype(np.float32)
    rays = place[:2] / place[2]
    seen = np.empty((3, LANDMARKS), np.float32)
    seen[0] = ((face.landmarks[:, 0] - camera.cx) / camera.fx - rays[0]) * place[2]
    seen[1] = ((face.landmarks[:, 1] - camera.cy) / camera.fy - rays[1]) * place[2]
    # The tracker's depth has no zero; what counts is how it differs from point to point.
    depth = face.landmarks[:, 2] * (pose[2, 3] * unit / camera.fx) - place[2]
    seen[2] = (depth - depth.mean()) * DEPTH_TRUST
    return seen, PointView(rotation, rays)
