"""Head pose from landmarks: perspective-n-point against the mean head."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from stream.errors import FaceError
from stream.face.head_model import head_model
from stream.face.tracker import LANDMARKS
from stream.geometry import INTER_PUPIL_MM, camera_matrix
from stream.types import Array, Intrinsics

RIGID_SPREAD_MM = {
    **dict.fromkeys((114, 343, 128, 357, 47, 277, 245, 465), 1.0),  # sides of the nose
    **dict.fromkeys((168, 6, 197, 195, 8, 133, 362), 1.4),  # nose bridge, inner eye corners
    **dict.fromkeys((33, 263, 5, 9), 1.7),  # outer eye corners, end of the bridge, glabella
    **dict.fromkeys((117, 346, 118, 347), 1.9),  # cheekbones
    **dict.fromkeys((4, 98, 327, 2, 151, 50, 280), 2.3),  # tip and base of the nose, forehead
    **dict.fromkeys((116, 345, 10, 109, 338), 3.0),  # outer cheekbones, hairline
    **dict.fromkeys((127, 356, 234, 454), 3.7),  # temples
}
"""Landmarks that expressions hardly move, with how far each strays from the mean head once pose and scale
are removed: standard deviation in the face's plane over 1,500 faces, mm. Mouth (4.9), chin (5.8), brows and
irises are left out."""

MAX_RESIDUAL = 0.15
"""Largest accepted error, root of the weighted mean square over the inter-pupil distance; real faces reach
0.06, landmarks of nothing far more."""

GOOD_RESIDUAL = 0.08
"""With less than this, a pose found from a guess is taken without trying other starts."""

MAX_GUESS_RESIDUAL = 0.5
"""A guess further off than this is no help: the search would end beside the pose or not at all."""

MIN_FACING = math.cos(math.radians(110))
"""A face whose axis is turned further than this from the line to the camera shows nothing to track."""

_INDICES = np.array(list(RIGID_SPREAD_MM))
_WEIGHTS = 1.0 / np.array(list(RIGID_SPREAD_MM.values()))
_WEIGHT = float((_WEIGHTS**2).sum())


def solve_pose(
    landmarks: Array, intrinsics: Intrinsics, guess: Array | None = None, ipd_mm: float = INTER_PUPIL_MM
) -> Array:
    """Head pose (4, 4) float32, head frame to camera frame, mm.

    Minimises the weighted reprojection error of `RIGID_SPREAD_MM`'s points by Levenberg-Marquardt, from
    ``guess`` (the last pose of this face) or, where that fails, from scaled orthography (the first step of
    DeMenthon and Davis 1995) and from SQPnP (Terzakis and Lourakis 2020), which fails on distant faces.

    :param landmarks: (478, 2+) image pixels.
    :param guess: (4, 4) a pose near the wanted one.
    :param ipd_mm: the person's inter-pupil distance; distances scale with it, angles do not.
    :raises FaceError: the landmarks are no face in front of this camera.
    """
    from stream.compute.numba_twin.pose_refine import refine  # here, for numba takes a while to load

    pixels = np.asarray(landmarks[:, :2] if len(landmarks) == LANDMARKS else (), dtype=np.float64)
    if pixels.size == 0 or not np.isfinite(pixels).all():
        raise FaceError("The face's landmarks are not usable; the next frame may give better ones.")
    points, pixels = head_model(ipd_mm)[_INDICES], pixels[_INDICES]
    matrix = camera_matrix(intrinsics)
    best, best_error = None, MAX_RESIDUAL
    for turn, place in _starts(points, pixels, matrix, guess, ipd_mm):
        cost = refine(points, pixels, _WEIGHTS, matrix, turn, place)
        error = _residual(cost, place, matrix) / ipd_mm
        if error < best_error and _faces_camera(points, turn, place):
            best, best_error = (turn, place), error
            if guess is not None and error < GOOD_RESIDUAL:
                break
    if best is None:
        raise FaceError("The landmarks do not fit a head in front of the camera; face the camera.")
    return _pose(*best)


def euler_angles(pose: Array) -> tuple[float, float, float]:
    """Yaw, pitch, roll of a head-to-camera pose in degrees; R = Ry(yaw) Rx(pitch) Rz(roll).

    In the camera's axes: positive yaw turns the face to the image's left, positive pitch turns it down and
    positive roll tilts the head clockwise as seen in the image.
    """
    r = np.asarray(pose, dtype=np.float64)
    pitch = math.asin(float(np.clip(-r[1, 2], -1.0, 1.0)))
    yaw = math.atan2(r[0, 2], r[2, 2])
    roll = math.atan2(r[1, 0], r[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def _starts(
    points: Array, pixels: Array, matrix: Array, guess: Array | None, ipd_mm: float
) -> Iterator[tuple[Array, Array]]:
    """Rotations (3, 3) and places (3,) to refine, the most promising first; they belong to the caller."""
    from stream.compute.numba_twin.pose_refine import weighted_cost

    if guess is not None and np.isfinite(guess).all() and guess[2, 3] > 0:
        turn, place = _orthonormal(guess[:3, :3]), guess[:3, 3].astype(np.float64)
        cost = weighted_cost(points, pixels, _WEIGHTS, matrix, turn, place)
        if _residual(cost, place, matrix) < MAX_GUESS_RESIDUAL * ipd_mm:
            yield turn, place
    yield from _orthographic(points, pixels, matrix)
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(
            points, pixels, matrix, None, flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:
        return
    for rotation, translation in zip(rotations, translations, strict=True):
        yield cv2.Rodrigues(rotation)[0], translation.ravel().astype(np.float64)


def _orthonormal(turn: Array) -> Array:
    """The rotation (3, 3) float64 nearest to one that was rounded."""
    return np.asarray(cv2.Rodrigues(cv2.Rodrigues(np.asarray(turn, dtype=np.float64))[0])[0])


def _orthographic(points: Array, pixels: Array, matrix: Array) -> Iterator[tuple[Array, Array]]:
    """The pose under scaled orthography, by weighted linear least squares; none if the points coincide."""
    design = np.hstack([points, np.ones((len(points), 1))]) * _WEIGHTS[:, None]
    rays = (pixels - matrix[:2, 2]) / np.diag(matrix)[:2]
    affine, *_ = np.linalg.lstsq(design, rays * _WEIGHTS[:, None], rcond=None)
    left, scales, right = np.linalg.svd(affine[:3].T, full_matrices=False)
    if scales[1] < 1e-12:
        return
    rows = left @ right
    turn = np.vstack([rows, np.cross(rows[0], rows[1])])
    depth = 1 / scales.mean()
    yield turn, np.array([*(affine[3] * depth), depth])


def _residual(cost: float, place: Array, matrix: Array) -> float:
    """Weighted root mean square reprojection error, in mm at the head's distance, from the sum of squares."""
    return math.sqrt(cost / _WEIGHT) * float(place[2]) / float(matrix[0, 0])


def _faces_camera(points: Array, turn: Array, place: Array) -> bool:
    """Whether the head is in front of the camera and turned towards it, not seen from behind."""
    if not (np.isfinite(turn).all() and np.isfinite(place).all()):
        return False
    depths = points @ turn[2] + place[2]
    facing = float(turn[:, 2] @ place) / math.hypot(*place)
    return bool(depths.min() > 0 and facing > MIN_FACING)


def _pose(turn: Array, place: Array) -> Array:
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = turn, place
    return pose
