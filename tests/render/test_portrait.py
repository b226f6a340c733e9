"""Views of a mesh relative to its head."""

import math
from dataclasses import replace

import numpy as np
import pytest
from render.render_helpers import square

from stream.errors import ConfigError, InputError
from stream.render.portrait import GROUND, head_views, in_head_axes


def pose_turned(yaw: float, distance: float) -> np.ndarray:
    a = math.radians(yaw)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]
    pose[2, 3] = distance
    return pose


def turned_square(pose: np.ndarray):
    """The helper's square, turned about the eyes' midpoint as a head of this pose is."""
    mesh = square()
    rotation, centre = pose[:3, :3], pose[:3, 3]
    return replace(
        mesh, vertices=(mesh.vertices - centre) @ rotation.T + centre, normals=mesh.normals @ rotation.T
    )


def test_a_turned_head_comes_to_look_ahead() -> None:
    mesh = square()
    pose = pose_turned(35, float(mesh.vertices[:, 2].mean()))
    back = in_head_axes(turned_square(pose), pose)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-3)
    np.testing.assert_allclose(back.normals, mesh.normals, atol=1e-5)
    assert back.vertices.dtype == np.float32


def test_views_of_a_turned_head_are_those_of_a_straight_one(scene) -> None:
    mesh = square()
    distance = float(mesh.vertices[:, 2].mean())
    views = [("textured", 0.0), ("lit", 40.0)]
    straight = head_views(scene, mesh, pose_turned(0, distance), views, 96)
    pose = pose_turned(50, distance)
    turned = head_views(scene, turned_square(pose), pose, views, 96)
    for one, other in zip(straight, turned, strict=True):
        assert one.shape == (96, 96, 3)
        assert np.abs(one.astype(int) - other).mean() < 1.0
    assert np.abs(straight[0].astype(int) - straight[1]).mean() > 5


def test_an_empty_mesh_is_dark_and_bad_input_is_refused(scene) -> None:
    mesh, pose = square(), pose_turned(0, 600.0)
    empty = replace(mesh, valid=np.zeros_like(mesh.valid), triangles=mesh.triangles[:0])
    (picture,) = head_views(scene, empty, pose, [("lit", 0.0)], 32)
    assert (picture == GROUND).all()
    with pytest.raises(InputError):
        in_head_axes(mesh, np.eye(3))
    with pytest.raises(InputError):
        in_head_axes(mesh, np.full((4, 4), np.nan))
    with pytest.raises(ConfigError):
        head_views(scene, mesh, pose, [("sketch", 0.0)], 32)
