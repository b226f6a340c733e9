"""MediaPipe's face mesh as a depth map: what a tracker alone knows of a face."""

from __future__ import annotations

import functools
from types import TracebackType

import numpy as np

from stream.data.shards import Samples
from stream.evaluation.judge import Prediction
from stream.evaluation.methods import along_axis
from stream.face.crop import LEFT_EYE, RIGHT_EYE
from stream.face.tracker import open_tracker
from stream.types import Array, Frame

MAX_REACH = 128
"""Triangles that span more pixels than this are left out: they are no part of a face."""


class LandmarkMesh:
    """The tracker's landmarks of each sample's picture, joined to a surface: a `Method`.

    z has the scale of x (`stream.types.Face`); depth 0 is put between the eyes. Like the networks the tracker
    sees depth along the line of sight.

    :raises BackendError: MediaPipe cannot run here.
    """

    def __init__(self) -> None:
        self._tracker = open_tracker("mediapipe", static=True)
        self._triangles = mesh_triangles()

    def __call__(self, samples: Samples) -> Prediction:
        """NaN beside the mesh, and everywhere where no face is found."""
        depth = np.stack([self._rasterised(image) for image in samples.image])
        return Prediction(along_axis(depth, samples).astype(np.float32))

    def __enter__(self) -> LandmarkMesh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracker.close()

    def _rasterised(self, image: Array) -> Array:
        faces = self._tracker.detect(Frame(image, 0.0, 0, "sample"))
        if not faces:
            return np.full(image.shape[:2], np.nan)
        points = faces[0].astype(np.float64)
        eyes = (points[list(RIGHT_EYE), 2].mean() + points[list(LEFT_EYE), 2].mean()) / 2
        points[:, 2] = (points[:, 2] - eyes) * 2 / len(image)
        return rasterise(points, self._triangles, len(image))


def rasterise(points: Array, triangles: Array, size: int) -> Array:
    """Nearest z of a mesh at the centres of size x size pixels; NaN beside it.

    :param points: (N, 3): x and y in pixels (origin at the first pixel's centre), z smaller is nearer.
    :param triangles: (M, 3) indices, wound either way.
    :returns: (size, size) float64.
    """
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    low = np.floor(np.minimum(np.minimum(a, b), c)[:, :2]).astype(int)
    reach = np.ceil(np.maximum(np.maximum(a, b), c)[:, :2]).astype(int) - low + 1
    area = _cross(b - a, c - a)
    usable = (reach.max(axis=1) <= MAX_REACH) & (np.abs(area) > 1e-12)
    depth = np.full((size, size), np.inf)
    # Triangles of like extent share one array of candidate pixels.
    extent = np.maximum(8, 2 ** np.ceil(np.log2(np.maximum(reach.max(axis=1), 1)))).astype(int)
    for side in np.unique(extent[usable]):
        group = np.flatnonzero(usable & (extent == side))
        offsets = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
        pixels = low[group, None] + offsets
        corners = [one[group, None] for one in (a, b, c)]
        weights = [
            _cross(corners[(k + 1) % 3][..., :2] - pixels, corners[(k + 2) % 3][..., :2] - pixels)
            / area[group, None]
            for k in range(3)
        ]
        z = sum(weight * corner[..., 2] for weight, corner in zip(weights, corners, strict=True))
        inside = (np.minimum.reduce(weights) >= -1e-9) & ((pixels >= 0) & (pixels < size)).all(axis=-1)
        chosen = pixels[inside]
        np.minimum.at(depth, (chosen[:, 1], chosen[:, 0]), np.asarray(z)[inside])
    return np.where(np.isfinite(depth), depth, np.nan)


@functools.cache
def mesh_triangles() -> Array:
    """(852, 3) int64: MediaPipe's triangulation, from the edges it gives.

    Three points that are joined to each other are a triangle, unless they surround a point that is joined to
    them alone.
    """
    from stream.face.mediapipe_mesh import load_solutions

    joined: dict[int, set[int]] = {}
    edges = {tuple(sorted(edge)) for edge in load_solutions().face_mesh.FACEMESH_TESSELATION}
    for first, second in edges:
        joined.setdefault(first, set()).add(second)
        joined.setdefault(second, set()).add(first)
    found = {tuple(sorted((a, b, c))) for a, b in edges for c in joined[a] & joined[b]}
    around = {tuple(sorted(others)) for others in joined.values() if len(others) == 3}
    return np.array(sorted(found - around))


def _cross(first: Array, second: Array) -> Array:
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])
