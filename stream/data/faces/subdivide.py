"""Catmull-Clark subdivision of quad meshes as a matrix, so that a linear model is subdivided at once."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from stream.types import Array


def catmull_clark(quads: Array, count: int) -> tuple[sparse.csr_matrix, Array]:
    """One step of Catmull-Clark subdivision.

    Source: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes",
    Computer-Aided Design 10(6), 1978; borders become cubic B-splines of their own vertices alone.

    :param quads: (F, 4) int, every one of the ``count`` vertices in at least one of them.
    :returns: (count + E + F, count) matrix from old to new vertices (old ones, E edges, F faces, in that
        order) and the (4 F, 4) int quads of the new mesh: those of face f are f, F + f, 2 F + f, 3 F + f,
        the corner of each that was a vertex of the old mesh first.
    """
    edges, edge_of, border = _edges(quads)
    middle, ends = _rows(quads, count) / 4, _rows(edges, count)
    inner = sparse.diags((~border).astype(float))
    edge_points = inner @ (ends + _rows(edge_of, len(edges)).T @ middle) / 4
    edge_points = edge_points + sparse.diags(border.astype(float)) @ ends / 2
    vertex_points = _vertex_points(quads, edges, border, middle, ends, count)
    matrix = sparse.vstack([vertex_points, edge_points, middle]).tocsr()
    return matrix, _quarters(quads, edge_of, len(edges), count)


def bilinear(quads: Array, count: int) -> tuple[sparse.csr_matrix, Array]:
    """The same step without smoothing: middles of edges and faces are added, old vertices stay."""
    edges, edge_of, _ = _edges(quads)
    matrix = sparse.vstack([sparse.identity(count), _rows(edges, count) / 2, _rows(quads, count) / 4]).tocsr()
    return matrix, _quarters(quads, edge_of, len(edges), count)


def _edges(quads: Array) -> tuple[Array, Array, Array]:
    """Edges (E, 2), the edge after each corner of each quad (F, 4), and which edges are on a border (E,)."""
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, edge_of, uses = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges, edge_of.reshape(len(quads), 4), uses == 1


def _quarters(quads: Array, edge_of: Array, edges: int, count: int) -> Array:
    """(4 F, 4) quads of the new mesh."""
    face = np.broadcast_to(count + edges + np.arange(len(quads))[:, None], quads.shape)
    pieces = np.stack([quads, count + edge_of, face, count + np.roll(edge_of, 1, axis=1)], axis=2)
    return pieces.transpose(1, 0, 2).reshape(-1, 4)


def _rows(corners: Array, count: int) -> sparse.csr_matrix:
    """(R, count) matrix that adds up the vertices in each row of (R, k) ``corners``."""
    rows = np.repeat(np.arange(len(corners)), corners.shape[1])
    return sparse.csr_matrix((np.ones(corners.size), (rows, corners.ravel())), (len(corners), count))


def _vertex_points(
    quads: Array, edges: Array, border: Array, middle: sparse.csr_matrix, ends: sparse.csr_matrix, count: int
) -> sparse.csr_matrix:
    """(count, count) matrix to the new places of the old vertices: (Q + 2 R + (n - 3) S) / n inside."""
    touching = _rows(quads, count).T
    valence = np.asarray(touching.sum(axis=1)).ravel()
    around = _rows(edges, count).T
    degree = np.asarray(around.sum(axis=1)).ravel()
    inner = (touching @ middle).multiply(1 / valence[:, None] ** 2)
    inner = inner + (around @ ends).multiply(1 / (degree * valence)[:, None])
    inner = inner + sparse.diags((valence - 3) / valence)
    rim = _rows(edges[border], count).T
    on_rim = np.asarray(rim.sum(axis=1)).ravel() > 0
    outline = (rim @ _rows(edges[border], count)) / 8 + sparse.identity(count) / 2
    return sparse.diags((~on_rim).astype(float)) @ inner + sparse.diags(on_rim.astype(float)) @ outline
