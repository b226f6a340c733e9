"""Distance between the predicted and the true surface of a face, mm, after alignment."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from stream.errors import InputError
from stream.evaluation.alignment import Similarity, crop_grid, fit_similarity
from stream.types import Array

RADIUS_MM = 95.0
"""Only what lies this near to the nose tip counts: the face, without ears and neck."""

POINTS = 1000
"""Points of each true surface that are measured; all of them give the same figures to 1 %."""

ROUNDS = 6
MIN_POINTS = 100
JUMP = 4.0
"""Neighbouring pixels whose distance differs by more than so many times their spacing are not joined."""


def backproject(depth: Array, crop: Array, camera: Array, distance: Array) -> Array:
    """Camera points (N, S, S, 3) float64, mm, of depth maps (N, S, S) in crop units along the camera's axis.

    :param crop, camera, distance: (N, 4), (N, 4), (N,) as in `stream.data.shards.Samples`.
    """
    x, y, half, angle = crop.astype(np.float64).T
    fx, fy, cx, cy = camera.astype(np.float64).T
    grid = crop_grid(depth.shape[-1])
    c, s = (np.cos(angle) * half)[:, None, None], (np.sin(angle) * half)[:, None, None]
    across = c * grid[..., 0] - s * grid[..., 1] + (x - cx)[:, None, None]
    down = s * grid[..., 0] + c * grid[..., 1] + (y - cy)[:, None, None]
    z = (
        distance[:, None, None]
        + depth.astype(np.float64) * crop_unit_mm(crop, camera, distance)[:, None, None]
    )
    return np.stack([across / fx[:, None, None] * z, down / fy[:, None, None] * z, z], axis=-1)


def crop_unit_mm(crop: Array, camera: Array, distance: Array) -> Array:
    """(N,) float64: `stream.geometry.mm_per_crop_unit` of many samples."""
    return (crop[:, 2] / camera[:, 0] * distance).astype(np.float64)


def surface_distances(predicted: Array, truth: Array, where: Array, nose: Array) -> Array:
    """Distances in mm from the true surface to the predicted one, aligned to it by a similarity.

    The measure of the NoW challenge (Sanyal et al. 2019, section 5) on one view: points of the true surface
    to the nearest place of the predicted one. There both are first aligned by landmarks, then rigidly by
    nearest points; here by the similarity that fits all pixels to their own (`fit_similarity`), then
    rigidly by nearest points, point to plane (Chen and Medioni 1992) - the scale, which the pixels settle,
    stays: nearest points alone would rather shrink a surface than fit it.

    :param predicted, truth: (S, S, 3) camera points, mm.
    :param where: (S, S) bool, the skin.
    :param nose: (3,) the true nose tip; points further than `RADIUS_MM` from it are not measured.
    :returns: (`POINTS`,) float32, or fewer where the face has fewer pixels; empty with under `MIN_POINTS`.
    :raises InputError: shapes differ or points are not finite.
    """
    if predicted.shape != truth.shape or predicted.shape != (*where.shape, 3):
        raise InputError(f"Surfaces are {predicted.shape} and {truth.shape}, not {(*where.shape, 3)}.")
    near = where & (np.linalg.norm(truth - nose, axis=-1) < RADIUS_MM)
    if near.sum() < MIN_POINTS:
        return np.zeros(0, np.float32)
    back = fit_similarity(predicted[near], truth[near]).inverse()
    surface = _Surface(predicted, where)
    measured = truth[near]
    measured = measured[np.linspace(0, len(measured) - 1, min(POINTS, len(measured))).astype(int)]
    moved = back(measured)
    best = surface.distances(moved)
    for _ in range(ROUNDS):
        moved = _rigid_step(moved, surface)(moved)
        now = surface.distances(moved)
        if now.mean() >= best.mean():
            break
        done = now.mean() > 0.995 * best.mean()
        best = now
        if done:
            break
    return np.asarray(best / back.scale, np.float32)


def _rigid_step(points: Array, surface: _Surface) -> Similarity:
    """The small motion that brings points nearest to the tangent planes of their nearest vertices."""
    _, nearest = surface.tree.query(points)
    normal, foot = surface.normals(nearest), surface.vertices[nearest]
    centre = points.mean(axis=0)
    design = np.hstack([np.cross(points - centre, normal), normal])
    off = np.einsum("ij,ij->i", foot - points, normal)
    # Points beyond the surface's rim have no plane to lie on.
    inside = np.linalg.norm(foot - points, axis=1) < 5 * np.abs(off) + surface.spacing
    solution = np.linalg.lstsq(design[inside], off[inside], rcond=1e-6)[0]
    rotation = _rotation(solution[:3])
    return Similarity(1.0, rotation, centre + solution[3:] - rotation @ centre)


def _rotation(vector: Array) -> Array:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-15:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


class _Surface:
    """A grid of points as a surface: its vertices, and the triangles around each.

    :param points: (S, S, 3).
    :param where: (S, S) bool, the pixels that belong to it.
    :ivar vertices: (V, 3).
    :ivar spacing: median distance of neighbours, mm.
    :ivar tree: finds the nearest of the vertices.
    """

    def __init__(self, points: Array, where: Array) -> None:
        self.vertices = points[where]
        if not np.isfinite(self.vertices).all():
            raise InputError("A surface holds NaN or infinity where it is to be compared.")
        self.tree = KDTree(self.vertices)
        self._pixels = np.argwhere(where)
        inside = np.where(where[..., None], points, np.nan)
        self.spacing = float(np.nanmedian(np.linalg.norm(inside[:, 1:] - inside[:, :-1], axis=-1)))
        self._padded = np.pad(inside, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)

    def around(self, index: Array) -> tuple[Array, Array]:
        """The other two corners, each (N, 6, 3), of the triangles around vertices; NaN where none is."""
        rows, columns = self._pixels[index].T
        # Six triangles around a vertex of a grid whose cells are all cut along one diagonal.
        ring = [(0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1)]
        corners = np.stack([self._padded[rows + 1 + dy, columns + 1 + dx] for dy, dx in ring], axis=1)
        length = np.linalg.norm(corners - self.vertices[index][:, None], axis=-1)
        corners[~(length < JUMP * self.spacing)] = np.nan
        return corners, np.roll(corners, -1, axis=1)

    def normals(self, index: Array) -> Array:
        """Unit normals (N, 3) of vertices, from the triangles around, by area; 0 where there is none."""
        own = self.vertices[index][:, None]
        second, third = self.around(index)
        total = np.nansum(np.cross(second - own, third - own), axis=1)
        return np.asarray(total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12))

    def distances(self, points: Array) -> Array:
        """(N,) from points to the triangles around their nearest vertex, or to that where it has none."""
        to_vertex, nearest = self.tree.query(points)
        second, third = self.around(nearest)
        first = np.broadcast_to(self.vertices[nearest][:, None], second.shape)
        each = triangle_distance(points[:, None], first, second, third)
        return np.asarray(np.fmin(to_vertex, np.fmin.reduce(each, axis=1)))


def triangle_distance(points: Array, a: Array, b: Array, c: Array) -> Array:
    """Distance (...,) of points (..., 3) from the triangles a, b, c (..., 3); NaN where a corner is NaN."""
    points = np.broadcast_to(points, a.shape)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = uu * vv - uv * uv
    with np.errstate(invalid="ignore", divide="ignore"):
        s, t = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
        inside = (area > 0) & (s >= 0) & (t >= 0) & (s + t <= 1)
        plane = np.linalg.norm(w - s[..., None] * u - t[..., None] * v, axis=-1)
    edges = [_segment_distance(points, p, q) for p, q in ((a, b), (b, c), (c, a))]
    return np.asarray(np.where(inside, plane, np.minimum(np.minimum(edges[0], edges[1]), edges[2])))


def _segment_distance(points: Array, start: Array, end: Array) -> Array:
    along = end - start
    length = np.maximum((along * along).sum(-1), 1e-18)
    share = np.clip(((points - start) * along).sum(-1) / length, 0, 1)
    return np.linalg.norm(points - start - share[..., None] * along, axis=-1)
