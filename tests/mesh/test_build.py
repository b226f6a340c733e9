"""A face's mesh: scale, place, texture."""

from dataclasses import replace

import numpy as np
import pytest
from mesh.mesh_samples import CAMERA, CROP, DISTANCE, coordinates, dome, inner, sample_face, sample_frame

from stream.compute.backends import why_not
from stream.errors import BackendError, InputError
from stream.geometry import image_from_crop, project
from stream.mesh.build import build_mesh, texture_size
from stream.types import Crop, Depth


def test_x_y_and_z_share_one_scale() -> None:
    size = 48
    mesh = build_mesh(sample_frame(), sample_face(), dome(size))
    unit = CROP.half / CAMERA.fx * DISTANCE
    x, _ = coordinates(size)
    grid = mesh.vertices.reshape(size, size, 3)
    depth = dome(size).map
    inside = inner(mesh.valid).reshape(size, size)
    assert inside.sum() > 900
    np.testing.assert_allclose(grid[..., 2][inside], DISTANCE + depth[inside] * unit, rtol=1e-6)
    # At depth 0 two pixels a crop unit apart are as many millimetres apart as a depth of one unit.
    flat = build_mesh(sample_frame(), sample_face(), Depth(depth * 0, dome(size).mask)).vertices
    across = np.linalg.norm(flat[size * 24 + 36] - flat[size * 24 + 12])
    assert across == pytest.approx((x[24, 36] - x[24, 12]) * unit, rel=1e-5)


def test_vertices_lie_over_their_pixels_and_texels() -> None:
    frame, size = sample_frame(), 48
    mesh = build_mesh(frame, sample_face(), dome(size))
    pixels = project(mesh.vertices[mesh.valid].astype(np.float64), CAMERA)
    row, column = np.divmod(np.flatnonzero(mesh.valid), size)
    expected = np.stack([column, row, np.ones_like(row)], axis=1) @ image_from_crop(CROP, size).T
    np.testing.assert_allclose(pixels, expected, atol=1e-3)
    # The texture at a vertex's uv is the picture at the vertex's pixel (red tells x, green y).
    side = mesh.texture.shape[0]
    texel = np.clip(np.floor(mesh.uv[mesh.valid] * side).astype(int), 0, side - 1)
    colour = mesh.texture[texel[:, 1], texel[:, 0]]
    assert np.abs(colour[:, 0] - pixels[:, 0] / 640 * 255).max() < 1.5
    assert np.abs(colour[:, 1] - pixels[:, 1] / 480 * 255).max() < 1.5


@pytest.mark.parametrize(
    ("half", "expected"),
    [(20, 256), (128, 256), (128.1, 384), (200, 512), (300, 768), (1000, 2048), (4000, 2048)],
)
def test_texture_size_is_the_next_step(half: float, expected: int) -> None:
    assert texture_size(Crop(0, 0, half, 0)) == expected


def test_islands_are_gone() -> None:
    depth = dome(64)
    depth.mask[0:5, 0:5] = 1
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    assert not mesh.valid.reshape(64, 64)[:6, :6].any()
    assert mesh.valid.sum() > 1500


def test_a_blurred_step_is_cut_at_every_resolution() -> None:
    for size in (64, 128, 256):
        x, _ = coordinates(size)
        # A step of half a crop unit (5 cm) blurred over 0.06 of one: 83 degrees at any resolution.
        depth = np.clip((x + 0.03) / 0.06, 0, 1).astype(np.float32) * np.float32(0.5)
        mesh = build_mesh(sample_frame(), sample_face(), Depth(depth, np.ones_like(depth)))
        assert np.abs(x[0][mesh.triangles % size].mean(axis=1)).min() > 0.01
        assert np.ptp(mesh.vertices[mesh.triangles][..., 2], axis=1).max() < 10.5


def test_the_rim_of_a_round_head_is_even_from_the_side() -> None:
    """Along its rim a dome has one depth; the grid's steps make it jump, the mesh evens that out."""
    size = 96
    depth = dome(size, height=1.5)
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    valid = mesh.valid.reshape(size, size)
    beside = np.pad(valid, 1)
    all_four = beside[:-2, 1:-1] & beside[2:, 1:-1] & beside[1:-1, :-2] & beside[1:-1, 2:]
    rim = (valid & ~all_four).ravel()
    x, y = coordinates(size)
    around = np.argsort(np.arctan2(y.ravel()[rim], x.ravel()[rim]))
    unit = CROP.half / CAMERA.fx * DISTANCE
    raw = np.abs(np.diff(depth.map.ravel()[rim][around] * unit)).mean()
    assert raw > 1  # mm
    assert np.abs(np.diff(mesh.vertices[rim, 2][around])).mean() < 0.5 * raw


def test_sure_pinholes_are_filled_and_a_hand_is_not() -> None:
    depth = dome(96)
    depth.mask[40:43, 40:43] = 0.2  # a glint on glasses
    depth.mask[55:66, 50:60] = 0.2  # fingertips
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    valid = mesh.valid.reshape(96, 96)
    assert valid[40:43, 40:43].all()
    assert not valid[56:65, 51:59].any()
    unsure = Depth(depth.map, depth.mask, np.full_like(depth.map, 0.1))
    assert not build_mesh(sample_frame(), sample_face(), unsure).valid.reshape(96, 96)[41, 41]


def test_no_face_in_the_mask_gives_no_triangles() -> None:
    depth = Depth(dome().map, np.zeros_like(dome().mask))
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    assert len(mesh.triangles) == 0
    assert mesh.texture.shape == (256, 256, 3)


def test_bad_input_is_refused() -> None:
    frame, face, depth = sample_frame(), sample_face(), dome()
    for bad in (
        Depth(depth.map.astype(np.float64), depth.mask),
        Depth(depth.map, depth.mask[:-1]),
        Depth(depth.map[0], depth.mask[0]),
        Depth(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)),
    ):
        with pytest.raises(InputError):
            build_mesh(frame, face, bad)
    for distance in (np.nan, -5.0, 0.0):
        with pytest.raises(InputError):
            build_mesh(frame, sample_face(distance=distance), depth)
    with pytest.raises(InputError, match="pose"):
        build_mesh(frame, replace(face, pose=np.eye(3)), depth)
    if why_not("cuda"):
        with pytest.raises(BackendError):
            build_mesh(frame, face, depth, compute="cuda")
