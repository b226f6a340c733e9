import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ConfigError
from stream.geometry import (
    camera_matrix,
    camera_to_gltf,
    camera_to_gltf_direction,
    crop_from_image,
    image_from_crop,
    intrinsics_from_fov,
    mm_per_crop_unit,
    project,
    transform_points,
)
from stream.types import Crop, Intrinsics

quick = settings(deadline=None, derandomize=True, max_examples=60)
crops = st.builds(
    Crop,
    x=st.floats(-500, 4000),
    y=st.floats(-500, 4000),
    half=st.floats(1, 3000),
    angle=st.floats(-math.pi, math.pi),
)


@quick
@given(width=st.integers(1, 8000), height=st.integers(1, 8000), fov=st.floats(5, 160))
def test_opposite_corners_of_the_image_are_the_field_of_view_apart(
    width: int, height: int, fov: float
) -> None:
    camera = intrinsics_from_fov(width, height, fov)
    # Corners are the outer corners of the corner pixels, half a pixel beyond their centres.
    corners = np.array([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]])
    rays = corners @ np.linalg.inv(camera_matrix(camera)).T
    cosine = rays[0] @ rays[1] / np.linalg.norm(rays[0]) / np.linalg.norm(rays[1])
    assert math.degrees(math.acos(cosine)) == pytest.approx(fov, abs=1e-3)


def test_an_ordinary_webcam_has_this_focal_length() -> None:
    # 640x480 has a diagonal of 800; 400 / tan(27.5 degrees).
    camera = intrinsics_from_fov(640, 480)
    assert camera.fx == camera.fy == pytest.approx(768.4, abs=0.05)
    assert (camera.cx, camera.cy) == (319.5, 239.5)


@pytest.mark.parametrize("fov", [4.9, 160.1, -1.0, math.nan, math.inf])
def test_a_field_of_view_out_of_range_is_refused(fov: float) -> None:
    with pytest.raises(ConfigError, match="--fov"):
        intrinsics_from_fov(640, 480, fov)


@pytest.mark.parametrize("size", [(0, 480), (640, 0), (-1, 5)])
def test_an_image_without_pixels_has_no_camera(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="real size"):
        intrinsics_from_fov(*size)


def test_projection_agrees_with_the_camera_matrix() -> None:
    camera = Intrinsics(700.0, 710.0, 320.0, 230.0, 640, 480)
    points = np.random.default_rng(0).uniform([-200, -200, 300], [200, 200, 900], (50, 3))
    seen = points @ camera_matrix(camera).T
    np.testing.assert_allclose(project(points, camera), seen[:, :2] / seen[:, 2:], rtol=1e-12)
    assert project(points.astype(np.float32), camera).dtype == np.float32


@quick
@given(crop=crops, size=st.integers(1, 1024))
def test_the_way_into_a_crop_undoes_the_way_out(crop: Crop, size: int) -> None:
    points = np.random.default_rng(0).uniform(-1, size, (20, 2))
    there = transform_points(image_from_crop(crop, size), points)
    back = transform_points(crop_from_image(crop, size), there)
    np.testing.assert_allclose(back, points, atol=1e-6 * size)


@quick
@given(crop=crops, size=st.integers(1, 1024))
def test_a_crops_edges_lie_half_its_side_from_its_centre(crop: Crop, size: int) -> None:
    # Edges of the outer pixels: -0.5 and size - 0.5 in crop pixels, -1 and 1 in crop units.
    edges = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5], [-0.5, size - 0.5]])
    unit = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * crop.half
    c, s = math.cos(crop.angle), math.sin(crop.angle)
    expected = unit @ np.array([[c, s], [-s, c]]) + [crop.x, crop.y]
    np.testing.assert_allclose(transform_points(image_from_crop(crop, size), edges), expected, atol=1e-6)


def test_a_crop_that_is_the_image_changes_nothing() -> None:
    np.testing.assert_allclose(
        image_from_crop(Crop(49.5, 49.5, 50, 0), 100), [[1, 0, 0], [0, 1, 0]], atol=1e-12
    )


def test_a_crop_turned_clockwise_leads_down_along_its_x_axis() -> None:
    matrix = image_from_crop(Crop(0, 0, 50, math.radians(90)), 100)
    np.testing.assert_allclose(matrix[:, 0], [0, 1], atol=1e-12)


def test_points_go_through_affines_of_every_shape() -> None:
    rng = np.random.default_rng(0)
    pose, points = rng.normal(size=(4, 4)), rng.normal(size=(7, 3))
    homogeneous = np.hstack([points, np.ones((7, 1))])
    np.testing.assert_allclose(transform_points(pose, points), (homogeneous @ pose.T)[:, :3])
    np.testing.assert_allclose(transform_points(pose[:3], points), (homogeneous @ pose.T)[:, :3])


def test_a_crop_unit_is_half_the_crop_at_the_faces_distance() -> None:
    camera = intrinsics_from_fov(640, 480)
    unit = mm_per_crop_unit(Crop(0, 0, 90, 0), camera, 500.0)
    seen = project(np.array([[0.0, 0, 500], [unit, 0, 500]]), camera)
    assert seen[1, 0] - seen[0, 0] == pytest.approx(90)


def test_gltf_is_in_metres_with_y_up_and_z_towards_the_viewer() -> None:
    points = np.array([[100.0, 200.0, 600.0]], dtype=np.float32)
    np.testing.assert_allclose(camera_to_gltf(points), [[0.1, -0.2, -0.6]], rtol=1e-6)
    np.testing.assert_array_equal(camera_to_gltf_direction(points), [[100, -200, -600]])
    assert camera_to_gltf(points).dtype == np.float32
