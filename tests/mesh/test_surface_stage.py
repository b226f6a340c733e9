"""Surfaces for the wire: the same that meshes are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mesh.mesh_samples import dome, sample_face, sample_frame

from stream.errors import InputError
from stream.mesh.build import surface_grid, surface_of
from stream.mesh.stage import MeshStage, SurfaceStage
from stream.types import Capture, Depth


def captures(count: int) -> list[Capture]:
    random = np.random.default_rng(5)
    frames = []
    for number in range(count):
        depth = dome()
        noisy = Depth(depth.map + random.normal(0, 0.004, depth.map.shape).astype(np.float32), depth.mask)
        frames.append(Capture(sample_frame(number / 30), (sample_face(),), (noisy,)))
    return frames


@pytest.mark.parametrize("smooth", [True, False])
def test_a_viewers_mesh_is_the_one_made_here(smooth: bool) -> None:
    here, there = MeshStage(smooth=smooth, compute="numba"), SurfaceStage(smooth=smooth)
    here.open()
    there.open()
    for capture in captures(4):
        made, sent = here(capture), there(capture)
        face = capture.faces[0]
        grid = surface_grid(face.crop, face.intrinsics, face.pose, sent.depths[0], "numba")
        np.testing.assert_array_equal(grid.vertices, made.meshes[0].vertices)
        np.testing.assert_array_equal(grid.triangles, made.meshes[0].triangles)
    assert not sent.meshes


def test_without_smoothing_it_is_the_depths_surface() -> None:
    capture = captures(1)[0]
    stage = SurfaceStage(smooth=False)
    stage.open()
    wanted = surface_of(capture.depths[0])
    given = stage(capture).depths[0]
    np.testing.assert_array_equal(given.map, wanted.map)
    np.testing.assert_array_equal(given.mask, wanted.mask)


def test_the_past_is_forgotten_when_it_is_closed() -> None:
    first, second = captures(2)
    stage = SurfaceStage()
    stage.open()
    stage(first)
    stage.close()
    fresh = SurfaceStage()
    fresh.open()
    np.testing.assert_array_equal(stage(second).depths[0].map, fresh(second).depths[0].map)


def test_a_face_without_depth_is_refused() -> None:
    stage = SurfaceStage()
    stage.open()
    with pytest.raises(InputError, match="one depth map for each face"):
        stage(replace(captures(1)[0], depths=()))
