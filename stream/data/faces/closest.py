"""The places of a mesh's surface that are closest to given points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from stream.types import Array

CANDIDATES = 24
"""Triangles that are looked at for a point: those whose middles are nearest to it."""


def closest_on_mesh(vertices: Array, triangles: Array, points: Array) -> tuple[Array, Array]:
    """Triangles (P, 3) and barycentric weights (P, 3) of the places closest to ``points`` (P, 3)."""
    count = min(CANDIDATES, len(triangles))
    _, found = cKDTree(vertices[triangles].mean(axis=1)).query(points, count)
    near = triangles[found.reshape(len(points), count)]
    corners = vertices[near].astype(np.float64)
    weights = _closest_weights(corners, points[:, None])
    places = np.einsum("ptk,ptkc->ptc", weights, corners)
    best = ((places - points[:, None]) ** 2).sum(axis=2).argmin(axis=1)
    rows = np.arange(len(points))
    return near[rows, best], weights[rows, best]


def _closest_weights(corners: Array, points: Array) -> Array:
    """Barycentric weights (..., 3) of triangles' (..., 3, 3) places closest to ``points`` (..., 3)."""
    best = _foot_weights(corners, points)
    nearest = np.where((best >= 0).all(axis=-1), -1.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge, away = corners[..., j, :] - corners[..., i, :], points - corners[..., i, :]
        share = np.clip((away * edge).sum(axis=-1) / np.maximum((edge**2).sum(axis=-1), 1e-12), 0, 1)
        distance = ((share[..., None] * edge - away) ** 2).sum(axis=-1)
        closer = distance < nearest
        nearest = np.where(closer, distance, nearest)
        on_edge = np.zeros_like(best)
        on_edge[..., i], on_edge[..., j] = 1 - share, share
        best = np.where(closer[..., None], on_edge, best)
    return best


def _foot_weights(corners: Array, points: Array) -> Array:
    """Weights (..., 3) of the perpendicular's foot on a triangle's plane; -1 where the triangle is none."""
    first, second = (corners[..., k, :] - corners[..., 0, :] for k in (1, 2))
    away = points - corners[..., 0, :]
    aa, ab, bb = (first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1)
    pa, pb = (away * first).sum(-1), (away * second).sum(-1)
    area = aa * bb - ab * ab
    flat = area <= 1e-12 * aa * bb
    scale = 1 / np.where(flat, 1, area)
    v, w = (bb * pa - ab * pb) * scale, (aa * pb - ab * pa) * scale
    return np.where(flat[..., None], -1.0, np.stack([1 - v - w, v, w], axis=-1))
