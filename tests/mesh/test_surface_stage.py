"""Surfaces for the wire: the same that meshes are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mesh.mesh_samples import dome, sample_face, sample_frame
from people import capture_with, filled, surfaces_of

from stream.errors import InputError
from stream.mesh.build import build_mesh, surface_grid, surface_of
from stream.mesh.stage import SurfaceStage
from stream.types import Capture, Depth


def captures(count: int) -> list[Capture]:
    random = np.random.default_rng(5)
    frames = []
    for number in range(count):
        depth = dome()
        noisy = Depth(depth.map + random.normal(0, 0.004, depth.map.shape).astype(np.float32), depth.mask)
        frames.append(capture_with(sample_frame(number / 30), (sample_face(),), (noisy,)))
    return frames


def opened() -> SurfaceStage:
    stage = SurfaceStage()
    stage.open()
    return stage


def test_a_viewers_mesh_is_the_one_made_here() -> None:
    stage = opened()
    for capture in captures(4):
        sent = stage(capture)
        (person,), (surface,) = capture.people, surfaces_of(sent)
        assert person.depth is not None
        made = build_mesh(capture.frame, person.face, person.depth, "numba")
        face = person.face
        grid = surface_grid(face.crop, face.intrinsics, face.pose, surface, "numba")
        np.testing.assert_array_equal(grid.vertices, made.vertices)
        np.testing.assert_array_equal(grid.triangles, made.triangles)
        assert not sent.meshes


def test_it_is_the_depths_surface_and_the_depth_stays() -> None:
    capture = captures(1)[0]
    given = opened()(capture)
    depth = capture.people[0].depth
    assert depth is not None
    assert given.people[0].depth is depth
    wanted, (surface,) = surface_of(depth), surfaces_of(given)
    np.testing.assert_array_equal(surface.depth, wanted.depth)
    np.testing.assert_array_equal(surface.alpha, wanted.alpha)
    assert surface.jump is None


def test_whoever_has_no_depth_gets_no_surface() -> None:
    """Where the depth stage failed, the capture still comes."""
    capture = captures(1)[0]
    two = replace(capture, people=(replace(capture.people[0], depth=None), *capture.people))
    assert filled(opened()(two)) == [{"face"}, {"face", "depth", "surface"}]


def test_bad_maps_are_refused() -> None:
    oblong = np.zeros((3, 4), np.float32)
    with pytest.raises(InputError):
        opened()(capture_with(sample_frame(), (sample_face(),), (Depth(oblong, oblong),)))
