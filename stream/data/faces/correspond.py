"""Where each of MediaPipe's 478 landmarks lies on the head model, found from fits to many photos."""

from __future__ import annotations

from pathlib import Path

import numba
import numpy as np
from scipy.interpolate import RBFInterpolator

from stream.data.faces.closest import closest_on_mesh
from stream.data.faces.fit import (
    Correspondence,
    Fits,
    fit_chunks,
    initial_pose,
    photo_intrinsics,
    point_basis,
)
from stream.data.faces.head import EYES, HeadModel
from stream.data.faces.ict import MULTI_PIE_68
from stream.errors import ModelError
from stream.face.crop import LEFT_EYE, RIGHT_EYE
from stream.files import ARCHIVE_ERRORS
from stream.geometry import INTER_PUPIL_MM, project
from stream.types import Array

HEAD_MODEL = Path(__file__).parents[2] / "face" / "head_model.npz"
"""Where the correspondence is kept; made by tools/build_head_model.py, also read by live capture."""

SPARSE_SIGMA, DENSE_SIGMA = 0.015, 0.03
"""Standard deviation of a landmark over the outer eye distance; larger where many errors go together."""

ROUNDS = 3
"""Times that landmarks are cast onto the fitted faces and the faces fitted to them."""

OFFSET_PRIOR = 0.025
"""Holds back an offset's component along the line of sight, which few photos show."""

OFTEN = 0.2
"""Share of photos in which a landmark must be cast near its first guess to be believed."""

LANDMARKS = 478
FACE_LANDMARKS = 468
"""Those before the irises."""

TRUST_MM = 8.0
"""A cast place further than this from the first guess met the wrong fold of the surface."""

OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
    149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The face oval, where the tracker follows the outline rather than a place on the skin."""

NEAREST_68 = (
    162, 234, 93, 132, 172, 136, 149, 148, 152, 377, 378, 365, 397, 361, 323, 454, 389, 71, 63, 105, 66,
    107, 336, 296, 334, 293, 301, 168, 197, 195, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362,
    385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91, 78, 81, 13, 311, 308, 402,
    14, 178,
)  # fmt: skip
"""MediaPipe landmark nearest to each of the 68 Multi-PIE landmarks."""

IRISES = ((468, -1.0), (473, 1.0))
"""First of the five landmarks of the right and the left iris, and the sign of x there."""

GRAZING = 0.3
"""A ray that meets the surface at a smaller cosine says little about the place."""


def sparse_correspondence() -> tuple[Correspondence, Array]:
    """The 68 landmarks both models know, and (68,) which MediaPipe landmark each is."""
    vertices = np.repeat(np.array(MULTI_PIE_68, np.int32)[:, None], 3, axis=1)
    weights = np.tile(np.array([1, 0, 0], np.float32), (68, 1))
    use = np.ones(68, np.float32)
    use[:17] = 0.3
    return Correspondence(vertices, weights, use), np.array(NEAREST_68)


@numba.njit(cache=True)
def _cast(
    pixels: Array, camera: Array, triangles: Array, points: Array, neutral: Array, grazing: float, out: Array
) -> None:
    """For each image point (P, 2), the place on ``neutral`` of the nearest triangle under it; NaN if none."""
    nearest = np.full(points.shape[0], np.inf)
    out[:] = np.nan
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t]
        ax, ay = pixels[i]
        bx, by = pixels[j, 0] - ax, pixels[j, 1] - ay
        cx, cy = pixels[k, 0] - ax, pixels[k, 1] - ay
        area = bx * cy - by * cx
        if abs(area) < 1e-9:
            continue
        left, right = min(ax, ax + bx, ax + cx), max(ax, ax + bx, ax + cx)
        top, bottom = min(ay, ay + by, ay + cy), max(ay, ay + by, ay + cy)
        for p in range(points.shape[0]):
            px, py = points[p]
            if px < left or px > right or py < top or py > bottom:
                continue
            v = ((px - ax) * cy - (py - ay) * cx) / area
            w = (bx * (py - ay) - by * (px - ax)) / area
            if v < 0 or w < 0 or v + w > 1:
                continue
            u = 1 - v - w
            depth = u * camera[i, 2] + v * camera[j, 2] + w * camera[k, 2]
            if depth >= nearest[p]:
                continue
            nearest[p] = depth
            e1, e2 = camera[j] - camera[i], camera[k] - camera[i]
            nx = e1[1] * e2[2] - e1[2] * e2[1]
            ny = e1[2] * e2[0] - e1[0] * e2[2]
            nz = e1[0] * e2[1] - e1[1] * e2[0]
            facing = abs(nz) / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
            for c in range(3):
                if facing < grazing:
                    out[p, c] = np.nan
                else:
                    out[p, c] = u * neutral[i, c] + v * neutral[j, c] + w * neutral[k, c]


def cast_landmarks(model: HeadModel, fits: Fits, landmarks: Array) -> Array:
    """Places (n, 478, 3) on the MEAN face where each photo's landmark (pixels) meets the fitted skin."""
    triangles = model.triangles_of(model.face)
    places = np.empty((len(landmarks), LANDMARKS, 3))
    for n in range(len(landmarks)):
        vertices = model.vertices(fits.coefficients[n : n + 1])[0].astype(np.float64)
        camera = vertices @ fits.rotation[n].T + fits.translation[n]
        pixels = project(camera, photo_intrinsics())
        points = landmarks[n, :, :2].astype(np.float64)
        _cast(pixels, camera, triangles, points, model.mean, GRAZING, places[n])
    return places


def warped_landmarks(model: HeadModel, landmarks: Array, pose: tuple[Array, Array]) -> Array:
    """First guess of the 478 places (mm): the mean landmarks, bent so that the 68 shared ones agree.

    :param landmarks: (n, 478, 3) pixels, z in the same scale; ``pose`` as `initial_pose` returns.
    """
    upright = (landmarks - landmarks[:, :1]) @ pose[0]
    upright *= (pose[1][:, 2] / photo_intrinsics().fx)[:, None, None]
    mean = upright.mean(axis=0)
    mean[:, 0] -= (mean[33, 0] + mean[263, 0]) / 2
    known = model.mean[list(MULTI_PIE_68)].astype(np.float64)
    bend = RBFInterpolator(mean[list(NEAREST_68)], known, smoothing=20.0)
    return np.asarray(bend(mean))


def dense_correspondence(model: HeadModel, guess: Array, places: Array | None = None) -> Correspondence:
    """The 478 landmarks on the mean face; irises are set by the eyeballs.

    :param guess: (478, 3) mm, as `warped_landmarks` gives; decides where no photo says better.
    :param places: (n, 478, 3) as `cast_landmarks` gives; those near the guess are averaged.
    """
    target, seen = guess.copy(), np.ones(LANDMARKS)
    if places is not None:
        near = np.linalg.norm(places - guess, axis=2) < TRUST_MM
        seen = near.mean(axis=0)
        total = np.where(near[..., None], places, 0).sum(axis=0)
        average = total / np.maximum(near.sum(axis=0), 1)[:, None]
        often = seen > OFTEN
        target[often] = average[often]
    use = np.where(seen > OFTEN, 1.0, 0.1).astype(np.float32)
    use[list(OUTLINE)] *= 0.3
    use[FACE_LANDMARKS:] = 0.0
    target[FACE_LANDMARKS:] = np.concatenate([_iris_points(model, side) for _, side in IRISES])
    return _on_mean(model, target, use)


def _iris_points(model: HeadModel, side: float) -> Array:
    """Centre, right-hand, top, left-hand and bottom edge of one iris on the mean face, (5, 3) mm."""
    eye = model.mean[(model.part == EYES) & (model.mean[:, 0] * side > 0)]
    centre = (eye.min(axis=0) + eye.max(axis=0)) / 2
    front = eye[:, 2].min()
    ring = np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]]) * IRIS_RADIUS
    return np.column_stack([centre[:2] + ring, np.full(5, front)])


IRIS_RADIUS = 5.85
"""Millimetres; the human iris measures 11.7 mm across, nearly the same in everybody."""


def _on_mean(model: HeadModel, places: Array, use: Array) -> Correspondence:
    """The points of the mean face and its eyeballs closest to the 478 ``places`` (mm)."""
    skin, eyes = model.triangles_of(model.face), model.triangles_of(model.part == EYES)
    parts = (
        closest_on_mesh(model.mean, skin, places[:FACE_LANDMARKS]),
        closest_on_mesh(model.mean, eyes, places[FACE_LANDMARKS:]),
    )
    vertices, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Correspondence(vertices, weights.astype(np.float32), use)


def find_correspondence(model: HeadModel, landmarks: Array, matrices: Array) -> Correspondence:
    """Place MediaPipe's 478 landmarks on the head model by fits to some hundred photos.

    Starts from the 68 landmarks both know, less each one's mean residual; then casts all landmarks onto
    the fitted faces and averages, a few times over.

    :param landmarks: (n, 478, 3) pixels, z in the same scale.
    :param matrices: (n, 4, 4) MediaPipe poses, y up.
    """
    pose = initial_pose(matrices, landmarks)
    sparse, shared = sparse_correspondence()
    guess = warped_landmarks(model, landmarks, pose)
    fits = fit_sparse(model, sparse, landmarks[:, shared, :2], pose)
    for _ in range(ROUNDS):
        points = dense_correspondence(model, guess, cast_landmarks(model, fits, landmarks))
        mean, basis = point_basis(model, points)
        fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, model.identities)
    return points


def fit_sparse(model: HeadModel, sparse: Correspondence, targets: Array, pose: tuple[Array, Array]) -> Fits:
    """Fit the 68 landmarks, moving each by its mean residual (both models place them differently)."""
    mean, basis = point_basis(model, sparse)
    fits = fit_chunks(mean, basis, sparse.use, targets, pose, SPARSE_SIGMA, model.identities)
    for _ in range(2):
        mean = mean + mean_offsets(mean, basis, fits, targets)
        fits = fit_chunks(mean, basis, sparse.use, targets, pose, SPARSE_SIGMA, model.identities)
    return fits


def mean_offsets(mean: Array, basis: Array, fits: Fits, targets: Array) -> Array:
    """Move (P, 3) mm of each mean point that best explains its residuals (n, P, 2) over all photos."""
    intrinsics = photo_intrinsics()
    points = mean + np.einsum("pck,nk->npc", basis, fits.coefficients, optimize=True)
    camera = points @ fits.rotation.transpose(0, 2, 1) + fits.translation[:, None]
    pixels = project(camera.reshape(-1, 3), intrinsics).reshape(targets.shape)
    missing = (targets - pixels) * (fits.translation[:, 2] / intrinsics.fx)[:, None, None]
    rows = fits.rotation[:, :2].astype(np.float64)
    normal = np.einsum("nij,nik->jk", rows, rows) + OFFSET_PRIOR * len(rows) * np.eye(3)
    return np.linalg.solve(normal, np.einsum("nij,npi->jp", rows, missing)).T


def head_model_arrays(model: HeadModel, points: Correspondence) -> dict[str, Array]:
    """What ``head_model.npz`` holds.

    ``points`` (478, 3) float32: each landmark on the mean face, head frame, scaled to an iris distance of
    63 mm; ``trust`` (478,) float32; ``scale`` and ``origin`` that take ``points`` back to the model's mm.
    """
    places = points.place(model.mean).astype(np.float64)
    origin = (places[list(RIGHT_EYE)].mean(axis=0) + places[list(LEFT_EYE)].mean(axis=0)) / 2
    right, left = (first for first, _ in IRISES)
    scale = np.linalg.norm(places[left] - places[right]) / INTER_PUPIL_MM
    return {
        "points": ((places - origin) / scale).astype(np.float32),
        "trust": points.use,
        "scale": np.array(scale),
        "origin": origin,
    }


def stored_correspondence(model: HeadModel, path: Path = HEAD_MODEL) -> Correspondence:
    """The correspondence kept in ``head_model.npz``.

    :raises ModelError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            places = data["points"].astype(np.float64) * data["scale"] + data["origin"]
            use = data["trust"]
    except ARCHIVE_ERRORS as error:
        raise ModelError(f"{path} is not a head model: {error}; run tools/build_head_model.py.") from error
    return _on_mean(model, places, use)
