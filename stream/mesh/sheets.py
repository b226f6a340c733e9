"""A measure of sheets: surface that exists only because two sides of a depth edge were connected."""

from __future__ import annotations

import numpy as np

from stream.errors import InputError
from stream.types import Mesh

GRAZING = 0.1
"""Cosine between a triangle's normal and the line of sight (84 degrees) below which it may be a sheet."""

LONG = 4.0
"""Pixels of the depth map that a sheet's triangle is at least long."""


def sheet_share(mesh: Mesh, pixel_mm: float) -> float:
    """Share of the mesh's area that is sheet, 0..1; 0 for an empty mesh.

    A triangle is one if the cosine between its normal and the ray from the camera to its middle is below
    `GRAZING` and its longest side is over `LONG` pixels. A camera cannot have seen such a triangle: it was
    spanned between a near and a far surface. A smooth head has next to none, since at its silhouette it is
    that steep for a small part of a pixel only.

    :param mesh: in the camera frame, mm.
    :param pixel_mm: the side of a depth map's pixel at the face's distance.
    :raises InputError: ``pixel_mm`` is not a positive number.
    """
    if not (np.isfinite(pixel_mm) and pixel_mm > 0):
        raise InputError(f"A pixel cannot be {pixel_mm} mm wide; give a positive number.")
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    sides = corners - np.roll(corners, 1, axis=1)
    normals = np.cross(sides[:, 0], sides[:, 1])
    doubled = np.linalg.norm(normals, axis=1)
    total = float(doubled.sum())
    if total == 0:
        return 0.0
    middles = corners.mean(axis=1)
    along = np.abs((normals * middles).sum(axis=1))
    grazing = along < GRAZING * doubled * np.linalg.norm(middles, axis=1)
    long = np.linalg.norm(sides, axis=2).max(axis=1) > LONG * pixel_mm
    return float(doubled[grazing & long].sum() / total)
