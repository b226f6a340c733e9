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
_STEPS = 30


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
    pixels = np.asarray(landmarks[:, :2] if len(landmarks) == LANDMARKS else (), dtype=np.float64)
    if pixels.size == 0 or not np.isfinite(pixels).all():
        raise FaceError("The face's landmarks are not usable; the next frame may give better ones.")
    points, pixels = head_model(ipd_mm)[_INDICES], pixels[_INDICES]
    matrix = camera_matrix(intrinsics)
    best, best_error = None, MAX_RESIDUAL
    for rotation, translation in _starts(points, pixels, matrix, guess, ipd_mm):
        rotation, translation = _refine(points, pixels, matrix, rotation, translation)
        error = _residual(points, pixels, matrix, rotation, translation) / ipd_mm
        if error < best_error and _faces_camera(points, rotation, translation):
            best, best_error = (rotation, translation), error
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
    """Rotation vectors and translations to refine, the most promising first."""
    if guess is not None and np.isfinite(guess).all() and guess[2, 3] > 0:
        start = (
            cv2.Rodrigues(np.asarray(guess[:3, :3], dtype=np.float64))[0],
            guess[:3, 3:].astype(np.float64),
        )
        if _residual(points, pixels, matrix, *start) < MAX_GUESS_RESIDUAL * ipd_mm:
            yield start
    yield from _orthographic(points, pixels, matrix)
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(
            points, pixels, matrix, None, flags=cv2.SOLVEPNP_SQPNP
        )
    except cv2.error:
        return
    yield from zip(rotations, translations, strict=True)


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
    yield cv2.Rodrigues(turn)[0], np.array([*(affine[3] * depth), depth])[:, None]


def _refine(
    points: Array, pixels: Array, matrix: Array, rotation: Array, translation: Array
) -> tuple[Array, Array]:
    """Weighted Levenberg-Marquardt on the reprojection error; OpenCV's own takes no weights."""
    weights = np.repeat(_WEIGHTS, 2)
    step_cost = np.inf
    damping = 1e-3
    state = np.concatenate([rotation.ravel(), translation.ravel()])
    normal = gradient = np.zeros(0)
    trial = state
    for _ in range(_STEPS):
        projected, jacobian = cv2.projectPoints(points, trial[:3], trial[3:], matrix, None)
        error = weights * (projected.ravel() - pixels.ravel())
        cost = float(error @ error)
        if not cost < step_cost:
            damping *= 10
        else:
            converged = step_cost - cost < 1e-9 * cost
            state, step_cost = trial, cost
            weighted = weights[:, None] * jacobian[:, :6]
            normal, gradient = weighted.T @ weighted, weighted.T @ error
            damping = max(damping / 10, 1e-9)
            if converged:
                break
        if damping > 1e6 or not np.isfinite(normal).all() or normal.size == 0:
            break
        damped = normal + np.diag(damping * np.diag(normal) + 1e-12)
        trial = state - np.linalg.solve(damped, gradient)
    return state[:3], state[3:]


def _residual(points: Array, pixels: Array, matrix: Array, rotation: Array, translation: Array) -> float:
    """Weighted root mean square reprojection error, in mm at the head's distance."""
    projected, _ = cv2.projectPoints(points, rotation, translation, matrix, None)
    squares = ((projected.reshape(-1, 2) - pixels) ** 2).sum(axis=1)
    pixel_error = math.sqrt(float(_WEIGHTS**2 @ squares / (_WEIGHTS**2).sum()))
    return pixel_error * float(translation.ravel()[2]) / float(matrix[0, 0])


def _faces_camera(points: Array, rotation: Array, translation: Array) -> bool:
    """Whether the head is in front of the camera and turned towards it, not seen from behind."""
    turn, place = cv2.Rodrigues(rotation)[0], translation.ravel()
    if not (np.isfinite(turn).all() and np.isfinite(place).all()):
        return False
    depths = points @ turn[2] + place[2]
    facing = float(turn[:, 2] @ place) / float(np.linalg.norm(place))
    return bool(depths.min() > 0 and facing > MIN_FACING)


def _pose(rotation: Array, translation: Array) -> Array:
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = cv2.Rodrigues(rotation)[0]
    pose[:3, 3] = translation.ravel()
    return pose
