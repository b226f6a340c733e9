"""Fit the head model to photos by their landmarks: bounded, robust Gauss-Newton, many photos at once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from stream.data.faces.head import HeadModel
from stream.types import Array, Intrinsics

PHOTO_SIDE = 320
"""Side of the photos in pixels."""

PHOTO_FOCAL = 4.26
"""Focal length of the photos in picture widths: the camera of generators that learnt from FFHQ."""

ITERATIONS = 12
POSE_ONLY = 2
"""The first so many iterations move the pose only."""

HUBER = 1.5
"""Residuals beyond this many standard deviations count linearly."""

IDENTITY_LIMIT = 3.0
EXPRESSION_SIGMA = 0.35
OUTER_EYES_MM = 89.2
"""Outer eye corners of the mean face."""

CHUNK = 50
"""Photos fitted in one go."""

PINNED = 1e6
"""Added to the normal equations of a coefficient that sits at its bound and would leave it."""


@dataclass(frozen=True, slots=True)
class Correspondence:
    """Where landmarks lie on the head model's surface.

    :ivar vertices: (P, 3) int32 corners of each point's triangle.
    :ivar weights: (P, 3) float32 barycentric weights.
    :ivar use: (P,) float32 0..1, trust in the point when fitting.
    """

    vertices: Array
    weights: Array
    use: Array

    def place(self, vertices: Array) -> Array:
        """Points (..., P, 3) on a mesh (..., N, 3)."""
        corners = vertices[..., self.vertices, :]
        return (corners * self.weights[..., None]).sum(axis=-2)


@dataclass(frozen=True, slots=True)
class Fits:
    """Head model parameters of n photos.

    :ivar rotation: (n, 3, 3) float32, head to camera.
    :ivar translation: (n, 3) float32 mm.
    :ivar coefficients: (n, K) float32, identity then expression.
    :ivar error: (n,) float32, RMS reprojection error over the outer eye distance.
    """

    rotation: Array
    translation: Array
    coefficients: Array
    error: Array


def photo_intrinsics() -> Intrinsics:
    """The camera that the photos are taken to have."""
    focal, middle = PHOTO_FOCAL * PHOTO_SIDE, (PHOTO_SIDE - 1) / 2
    return Intrinsics(focal, focal, middle, middle, PHOTO_SIDE, PHOTO_SIDE)


def point_basis(model: HeadModel, points: Correspondence) -> tuple[Array, Array]:
    """Mean (P, 3) and basis (P, 3, K) of the corresponding surface points, float64."""
    mean = points.place(model.mean).astype(np.float64)
    basis = points.place(model.basis.reshape(len(model.basis), -1, 3))
    return mean, np.ascontiguousarray(basis.transpose(1, 2, 0), np.float64)


def initial_pose(matrices: Array, landmarks: Array) -> tuple[Array, Array]:
    """Rotations (n, 3, 3) and translations (n, 3) from MediaPipe pose matrices (y up) and 478 landmarks."""
    intrinsics = photo_intrinsics()
    flip = np.diag([1.0, -1.0, -1.0])
    u, _, vt = np.linalg.svd(matrices[:, :3, :3].astype(np.float64))
    rotation = flip @ (u @ vt) @ flip
    eyes = landmarks[:, [33, 133, 362, 263], :2].mean(axis=1)
    mouth = landmarks[:, [61, 291], :2].mean(axis=1)
    face = np.array([0.0, 70.0, -8.0])
    length = np.linalg.norm((rotation @ face)[:, :2], axis=1)
    z = intrinsics.fx * length / np.linalg.norm(mouth - eyes, axis=1)
    centre = (eyes - [intrinsics.cx, intrinsics.cy]) / intrinsics.fx
    return rotation, np.column_stack([centre * z[:, None], z])


def fit_points(
    mean: Array,
    basis: Array,
    use: Array,
    targets: Array,
    pose: tuple[Array, Array],
    sigma: float,
    identities: int,
) -> Fits:
    """Fit pose and coefficients to image points.

    :param mean: (P, 3) points of the mean face; ``basis`` (P, 3, K) their motion.
    :param use: (P,) weight of each point.
    :param targets: (n, P, 2) pixels, seen by `photo_intrinsics`.
    :param pose: first guess, as `initial_pose` returns.
    :param sigma: standard deviation of a point over the outer eye distance, prior unit.
    :param identities: how many of the K coefficients are identity; the others are expressions.
    """
    rotation, translation = pose[0].copy(), pose[1].copy()
    count, size = len(targets), basis.shape[2]
    coefficients = np.zeros((count, size))
    span = outer_eye_distance(translation)
    expressions = size - identities
    prior = np.r_[np.ones(identities), np.full(expressions, EXPRESSION_SIGMA**-2)]
    low = np.r_[np.full(identities, -IDENTITY_LIMIT), np.zeros(expressions)]
    high = np.r_[np.full(identities, IDENTITY_LIMIT), np.ones(expressions)]
    for iteration in range(ITERATIONS):
        free = 6 if iteration < POSE_ONLY else 6 + size
        residual, jacobian = _linearise(mean, basis, rotation, translation, coefficients, targets, free)
        scale = 1 / (sigma * span)
        residual = residual * scale[:, None, None]
        jacobian = jacobian * scale[:, None, None, None]
        weight = use / np.maximum(1.0, np.linalg.norm(residual, axis=2) / HUBER)
        weighted = (jacobian * weight[:, :, None, None]).reshape(count, -1, free)
        normal = weighted.transpose(0, 2, 1) @ jacobian.reshape(count, -1, free)
        gradient = (weighted.transpose(0, 2, 1) @ residual.reshape(count, -1, 1))[:, :, 0]
        diagonal = np.full((count, free), 1e-6)
        if free > 6:
            diagonal[:, 6:] += prior
            gradient[:, 6:] += prior * coefficients
            pinned = ((coefficients <= low) & (gradient[:, 6:] > 0)) | (
                (coefficients >= high) & (gradient[:, 6:] < 0)
            )
            diagonal[:, 6:][pinned] += PINNED
            gradient[:, 6:][pinned] = 0
        normal[:, np.arange(free), np.arange(free)] += diagonal
        step = -np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
        rotation = _turn(step[:, :3]) @ rotation
        translation = translation + step[:, 3:6]
        if free > 6:
            coefficients = np.clip(coefficients + step[:, 6:], low, high)
    residual, _ = _linearise(mean, basis, rotation, translation, coefficients, targets, 6)
    squared = ((residual**2).sum(axis=2) * use).sum(axis=1) / use.sum()
    error = np.sqrt(squared) / span
    return Fits(*(a.astype(np.float32) for a in (rotation, translation, coefficients, error)))


def outer_eye_distance(translation: Array) -> Array:
    """(n,) pixels that the mean face's outer eye corners are apart, seen from the front at (n, 3) mm."""
    return photo_intrinsics().fx * OUTER_EYES_MM / translation[:, 2]


def fit_chunks(
    mean: Array,
    basis: Array,
    use: Array,
    targets: Array,
    pose: tuple[Array, Array],
    sigma: float,
    identities: int,
) -> Fits:
    """`fit_points` for any number of photos, a few at a time to bound the memory."""
    parts = []
    for start in range(0, len(targets), CHUNK):
        part = slice(start, start + CHUNK)
        guess = (pose[0][part], pose[1][part])
        parts.append(fit_points(mean, basis, use, targets[part], guess, sigma, identities))
    return join_fits(parts)


def join_fits(parts: list[Fits]) -> Fits:
    """One `Fits` of several, in order."""
    names = ("rotation", "translation", "coefficients", "error")
    return Fits(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _linearise(
    mean: Array,
    basis: Array,
    rotation: Array,
    translation: Array,
    coefficients: Array,
    targets: Array,
    free: int,
) -> tuple[Array, Array]:
    """Residuals (n, P, 2) pixels and their Jacobian (n, P, 2, free): turn, translation, coefficients."""
    intrinsics = photo_intrinsics()
    points = mean + np.einsum("pck,nk->npc", basis, coefficients, optimize=True)
    turned = points @ rotation.transpose(0, 2, 1)
    camera = turned + translation[:, None]
    x, y, z = camera[..., 0], camera[..., 1], camera[..., 2]
    f = intrinsics.fx
    predicted = np.stack([f * x / z + intrinsics.cx, f * y / z + intrinsics.cy], axis=-1)
    zero = np.zeros_like(z)
    project = np.stack(
        [np.stack([f / z, zero, -f * x / z**2], -1), np.stack([zero, f / z, -f * y / z**2], -1)], axis=-2
    )
    a, b, c = turned[..., 0], turned[..., 1], turned[..., 2]
    cross = np.stack(
        [np.stack([zero, c, -b], -1), np.stack([-c, zero, a], -1), np.stack([b, -a, zero], -1)], -2
    )
    jacobian = np.empty((*targets.shape, free))
    jacobian[..., :3] = project @ cross
    jacobian[..., 3:6] = project
    if free > 6:
        moved = (project @ rotation[:, None]).transpose(1, 0, 2, 3)
        jacobian[..., 6:] = (
            (moved.reshape(len(mean), -1, 3) @ basis)
            .reshape(len(mean), len(targets), 2, -1)
            .transpose(1, 0, 2, 3)
        )
    return predicted - targets, jacobian


def _turn(vectors: Array) -> Array:
    """Rotation matrices (n, 3, 3) of rotation vectors (n, 3)."""
    return np.stack([cv2.Rodrigues(vector)[0] for vector in vectors])
