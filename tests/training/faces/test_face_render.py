"""The training renderer against geometry worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("moderngl")

from stream.errors import BackendError
from stream.geometry import crop_from_image, intrinsics_from_fov, project, transform_points
from stream.render import context
from stream.training.faces.render import (
    BACKGROUND_PART,
    HAIR_PART,
    HEAD_FLOATS,
    Eyes,
    HairLook,
    Lighting,
    Renderer,
    view_matrix,
)
from stream.types import Array, Crop

SIZE = 32
CAMERA = intrinsics_from_fov(640, 480, 60)
CROP = Crop(300.0, 250.0, 90.0, 0.3)
SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
PLANE = np.array([0.2, -0.3, -1.0]) / np.linalg.norm([0.2, -0.3, -1.0])
MIDDLE = np.array([-10.0, 12.0, 700.0])
UNLIT = Lighting(np.tile([0, 0, -1.0], (2, 1)), np.zeros((2, 3)), np.ones(3), 0.0)
EYES = Eyes(np.zeros(3), np.ones(3), 0.1)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    try:
        made = Renderer(SIZE, SQUARE)
    except BackendError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_without_egl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(context.ctypes, "CDLL", missing)
    with pytest.raises(BackendError, match="apt-get install libegl1"):
        Renderer(SIZE, SQUARE)


def test_closing_one_renderer_leaves_another_working(renderer: Renderer) -> None:
    view = view_matrix(CROP, CAMERA, 100, 2000)
    before = renderer.labels(_plane(500), None, view).z
    Renderer(SIZE, SQUARE).close()
    np.testing.assert_array_equal(renderer.labels(_plane(500), None, view).z, before)


def _plane(reach: float, part: int = 0) -> Array:
    """A square on a tilted plane before the camera."""
    across = np.cross(PLANE, [0, 1.0, 0])
    across /= np.linalg.norm(across)
    down = np.cross(PLANE, across)
    corners = [MIDDLE + reach * (u * across + v * down) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    vertices = np.zeros((4, HEAD_FLOATS), np.float32)
    vertices[:, :3], vertices[:, 3:6], vertices[:, 13:16] = corners, PLANE, [0.2, 0.4, 0.8]
    vertices[:, 16] = part
    return vertices


def test_the_view_agrees_with_projection_and_crop() -> None:
    points = np.random.default_rng(0).uniform([-80, -80, 500], [80, 80, 900], (50, 3))
    clip = np.column_stack([points, np.ones(50)]) @ view_matrix(CROP, CAMERA, 100, 2000).T
    pixels = transform_points(crop_from_image(CROP, SIZE), project(points, CAMERA))
    np.testing.assert_allclose(clip[:, :2] / clip[:, 3:], (2 * pixels + 1) / SIZE - 1, atol=1e-9)
    assert (np.abs(clip[:, 2] / clip[:, 3]) < 1).all()
    assert (np.diff((clip[:, 2] / clip[:, 3])[np.argsort(points[:, 2])]) > 0).all()


def test_labels_are_sampled_at_pixel_centres(renderer: Renderer) -> None:
    labels = renderer.labels(_plane(500), None, view_matrix(CROP, CAMERA, 100, 2000))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    crop_pixels = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    to_image = np.linalg.inv(np.vstack([crop_from_image(CROP, SIZE), [0, 0, 1]]))
    image = transform_points(to_image[:2], crop_pixels)
    rays = np.column_stack([(image - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx, np.ones(len(image))])
    expected = (MIDDLE @ PLANE) / (rays @ PLANE)
    np.testing.assert_allclose(labels.z.ravel(), expected, rtol=2e-4)
    np.testing.assert_allclose(labels.normal, np.broadcast_to(PLANE, (SIZE, SIZE, 3)), atol=1e-4)
    assert (labels.part == 0).all()


def test_what_is_not_covered_is_background(renderer: Renderer) -> None:
    labels = renderer.labels(_plane(20, part=3), None, view_matrix(CROP, CAMERA, 100, 2000))
    empty = labels.part == BACKGROUND_PART
    assert 0 < (~empty).sum() < SIZE * SIZE
    assert np.isinf(labels.z[empty]).all()
    assert (labels.part[~empty] == 3).all()


def test_nearer_hair_covers_the_head_and_faces_the_camera(renderer: Renderer) -> None:
    near = _plane(500)
    near[:, 2] -= 100
    packed = np.concatenate([near[:, :3], -near[:, 3:6], np.zeros((4, 2), np.float32)], axis=1)
    hair = HairLook(packed, SQUARE, np.array([1.0, 0, 0]), 0.0, (1.0, 1.0))
    view = view_matrix(CROP, CAMERA, 100, 2000)
    labels = renderer.labels(_plane(500), hair, view)
    assert (labels.part == HAIR_PART).all()
    assert (labels.normal[..., 2] < 0).all(), "the side seen is turned towards the camera"
    picture, covered = renderer.colour(_plane(500), hair, np.zeros((8, 8, 3), np.uint8), view, UNLIT, EYES)
    assert covered.all()
    assert picture[..., 0].min() > 100
    assert picture[..., 1:].max() < 30


def test_colours_come_from_photo_mirror_and_tint(renderer: Renderer) -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    photo[:, :4], photo[:, 4:] = (255, 0, 0), (0, 255, 0)
    view = view_matrix(CROP, CAMERA, 100, 2000)
    vertices = _plane(500)
    plain, _ = renderer.colour(vertices, None, photo, view, UNLIT, EYES)
    np.testing.assert_allclose(plain[5, 5], [51, 102, 204], atol=1)
    vertices[:, 9:12] = [0.8, 0.5, 1.0]
    mirrored, _ = renderer.colour(vertices, None, photo, view, UNLIT, EYES)
    np.testing.assert_allclose(mirrored[5, 5], [0, 255, 0], atol=2)
    vertices[:, 6:9] = [0.2, 0.5, 1.0]
    own, _ = renderer.colour(vertices, None, photo, view, UNLIT, EYES)
    np.testing.assert_allclose(own[5, 5], [255, 0, 0], atol=2)


def test_light_falls_off_with_the_cosine(renderer: Renderer) -> None:
    view = view_matrix(CROP, CAMERA, 100, 2000)
    photo = np.zeros((8, 8, 3), np.uint8)
    ambient = Lighting(np.tile([0, 0, 1.0], (2, 1)), np.ones((2, 3)), np.full(3, 0.5), 1.0)
    picture, _ = renderer.colour(_plane(500), None, photo, view, ambient, EYES)
    np.testing.assert_allclose(picture[5, 5], [25.5, 51, 102], atol=1.5)
