"""Rasterising a mesh, and the tracker's mesh as depth."""

from __future__ import annotations

import numpy as np
import pytest
from depth_shards import bump_arrays
from hypothesis import given
from hypothesis import strategies as st

from stream.data.shards import Samples
from stream.evaluation.landmark_mesh import LandmarkMesh, mesh_triangles, rasterise

SQUARE = np.array([[4.0, 6.0], [20.0, 6.0], [20.0, 25.0], [4.0, 25.0]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-5, 5), st.booleans())
def test_a_plane_is_rasterised_exactly_whichever_way_it_is_wound(slope_x, slope_y, offset, turned):
    z = SQUARE @ np.array([slope_x, slope_y]) + offset
    depth = rasterise(np.column_stack([SQUARE, z]), TWO[:, ::-1] if turned else TWO, 32)
    rows, columns = np.nonzero(np.isfinite(depth))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (4, 20, 6, 25)
    assert len(rows) == 17 * 20
    np.testing.assert_allclose(depth[rows, columns], slope_x * columns + slope_y * rows + offset, atol=1e-9)


def test_the_nearer_surface_is_seen():
    points = np.concatenate(
        [np.column_stack([SQUARE, np.full(4, z)]) for z in (2.0, -1.0)] + [[[30.0, 30.0, 0.0]]]
    )
    points[4:8, :2] = points[4:8, :2] * 0.5 + [6, 8]
    depth = rasterise(points, np.concatenate([TWO, TWO + 4, [[8, 8, 8]]]), 32)
    assert depth[15, 12] == -1
    assert depth[7, 5] == 2
    assert np.isnan(depth[0, 0])


def test_a_mesh_beyond_the_picture_leaves_it_empty_where_it_is():
    points = np.column_stack([SQUARE + 25, np.zeros(4)])
    depth = rasterise(points, TWO, 32)
    assert np.isfinite(depth[31, 29:]).all()
    assert np.isnan(depth[:, :29]).all()


def test_the_trackers_triangles_cover_its_points_as_a_surface_does():
    pytest.importorskip("mediapipe")
    triangles = mesh_triangles()
    assert triangles.shape == (852, 3)
    assert len(np.unique(triangles)) == 468
    edges, uses = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])),
        axis=0,
        return_counts=True,
    )
    assert len(edges) > 1000
    assert uses.max() == 2  # no edge has three sides


def test_samples_without_a_face_have_no_depth():
    pytest.importorskip("mediapipe")
    samples = Samples(**bump_arrays(2, 64, 0))
    with LandmarkMesh() as mesh:
        assert np.isnan(mesh(samples).depth).all()
