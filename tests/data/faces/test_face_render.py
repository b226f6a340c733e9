"""The training renderer against geometry worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("moderngl")

from stream.data.faces.lighting import Lighting
from stream.data.faces.prop import HAIR_PART, Prop
from stream.data.faces.render import (
    BACKGROUND_PART,
    HEAD_FLOATS,
    Eyes,
    Renderer,
    Scene,
    shadow_matrix,
    view_matrix,
)
from stream.errors import BackendError
from stream.geometry import crop_from_image, intrinsics_from_fov, project, transform_points
from stream.render import context
from stream.types import Array, Crop

SIZE = 32
CAMERA = intrinsics_from_fov(640, 480, 60)
CROP = Crop(300.0, 250.0, 90.0, 0.3)
SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
PLANE = np.array([0.2, -0.3, -1.0]) / np.linalg.norm([0.2, -0.3, -1.0])
MIDDLE = np.array([-10.0, 12.0, 700.0])
EVEN = np.zeros((9, 3))
EVEN[0] = 1 / 0.282095
"""Harmonics of even light of radiance 1."""
DARK = np.tile([0, 0, -1.0, 0], (2, 1))
UNLIT = Lighting(EVEN, DARK, np.zeros((2, 3)), 1.0, 1.0, 0.0)
EYES = Eyes(np.zeros(3), np.ones(3), 0.1)


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    try:
        made = Renderer(SIZE)
    except BackendError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_without_egl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(context.ctypes, "CDLL", missing)
    with pytest.raises(BackendError, match="apt-get install libegl1"):
        Renderer(SIZE)


def test_closing_one_renderer_leaves_another_working(renderer: Renderer) -> None:
    view = view_matrix(CROP, CAMERA, 100, 2000)
    before = renderer.labels(_scene(_plane(500)), view).z
    Renderer(SIZE).close()
    np.testing.assert_array_equal(renderer.labels(_scene(_plane(500)), view).z, before)


def _plane(reach: float, part: int = 0) -> Array:
    """A square on a tilted plane before the camera."""
    across = np.cross(PLANE, [0, 1.0, 0])
    across /= np.linalg.norm(across)
    down = np.cross(PLANE, across)
    corners = [MIDDLE + reach * (u * across + v * down) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    vertices = np.zeros((4, HEAD_FLOATS), np.float32)
    vertices[:, :3], vertices[:, 3:6], vertices[:, 14:17] = corners, PLANE, [0.2, 0.4, 0.8]
    vertices[:, 17], vertices[:, 18], vertices[:, 19:21] = 1.0, part, [0.25, 0.75]
    vertices[:, [9, 13]] = 1.0
    return vertices


def _scene(head: Array, photo: Array | None = None, *props: Prop) -> Scene:
    picture = np.zeros((8, 8, 3), np.uint8) if photo is None else photo
    return Scene(head, SQUARE, props, picture, np.ones(3), EYES)


def _colour(renderer: Renderer, scene: Scene, light: Lighting = UNLIT) -> Array:
    towards = shadow_matrix(light.lights[0, :3], MIDDLE)
    return renderer.colour(scene, view_matrix(CROP, CAMERA, 100, 2000), light, towards)[0]


def test_the_view_agrees_with_projection_and_crop() -> None:
    points = np.random.default_rng(0).uniform([-80, -80, 500], [80, 80, 900], (50, 3))
    clip = np.column_stack([points, np.ones(50)]) @ view_matrix(CROP, CAMERA, 100, 2000).T
    pixels = transform_points(crop_from_image(CROP, SIZE), project(points, CAMERA))
    np.testing.assert_allclose(clip[:, :2] / clip[:, 3:], (2 * pixels + 1) / SIZE - 1, atol=1e-9)
    assert (np.abs(clip[:, 2] / clip[:, 3]) < 1).all()
    assert (np.diff((clip[:, 2] / clip[:, 3])[np.argsort(points[:, 2])]) > 0).all()


def test_labels_are_sampled_at_pixel_centres(renderer: Renderer) -> None:
    labels = renderer.labels(_scene(_plane(500)), view_matrix(CROP, CAMERA, 100, 2000))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    crop_pixels = np.stack([columns.ravel(), rows.ravel()], 1).astype(float)
    to_image = np.linalg.inv(np.vstack([crop_from_image(CROP, SIZE), [0, 0, 1]]))
    image = transform_points(to_image[:2], crop_pixels)
    rays = np.column_stack([(image - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx, np.ones(len(image))])
    expected = (MIDDLE @ PLANE) / (rays @ PLANE)
    np.testing.assert_allclose(labels.z.ravel(), expected, rtol=2e-4)
    np.testing.assert_allclose(labels.normal, np.broadcast_to(PLANE, (SIZE, SIZE, 3)), atol=1e-4)
    assert (labels.part == 0).all()
    np.testing.assert_allclose(labels.uv / 255, np.broadcast_to([0.25, 0.75], (SIZE, SIZE, 2)), atol=0.003)


def test_what_is_not_covered_is_background(renderer: Renderer) -> None:
    labels = renderer.labels(_scene(_plane(20, part=3)), view_matrix(CROP, CAMERA, 100, 2000))
    empty = labels.part == BACKGROUND_PART
    assert 0 < (~empty).sum() < SIZE * SIZE
    assert np.isinf(labels.z[empty]).all()
    assert (labels.part[~empty] == 3).all()


def _hair(distance: float) -> Prop:
    near = _plane(500)
    near[:, 2] -= distance
    return Prop(
        near[:, :3], -near[:, 3:6], np.zeros((4, 2), np.float32), SQUARE, HAIR_PART, np.array([1.0, 0, 0])
    )


def test_nearer_hair_covers_the_head_and_faces_the_camera(renderer: Renderer) -> None:
    scene, view = _scene(_plane(500), None, _hair(100)), view_matrix(CROP, CAMERA, 100, 2000)
    labels = renderer.labels(scene, view)
    assert (labels.part == HAIR_PART).all()
    assert (labels.normal[..., 2] < 0).all(), "the side seen is turned towards the camera"
    assert (labels.bare == 0).all()
    picture = _colour(renderer, scene)
    assert picture[..., 0].min() > 200
    assert picture[..., 1:].max() < 30


def test_colours_come_from_photo_mirror_and_tint(renderer: Renderer) -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    photo[:, :4], photo[:, 4:] = (255, 0, 0), (0, 255, 0)
    vertices = _plane(500)
    plain = _colour(renderer, _scene(vertices, photo))
    np.testing.assert_allclose(plain[5, 5], [51, 102, 204], atol=1)
    vertices[:, 10:13] = [0.8, 0.5, 1.0]
    mirrored = _colour(renderer, _scene(vertices, photo))
    np.testing.assert_allclose(mirrored[5, 5], [0, 255, 0], atol=2)
    vertices[:, 6:9] = [0.2, 0.5, 1.0]
    own = _colour(renderer, _scene(vertices, photo))
    np.testing.assert_allclose(own[5, 5], [255, 0, 0], atol=2)


def test_gain_and_tone_change_the_photo_in_linear_light(renderer: Renderer) -> None:
    photo = np.full((8, 8, 3), 128, np.uint8)
    vertices = _plane(500)
    vertices[:, 6:10] = [0.5, 0.5, 1.0, 0.5]
    scene = Scene(vertices, SQUARE, (), photo, np.array([1.0, 0.5, 2.0]), EYES)
    expected = 128 * np.array([0.5, 0.25, 1.0]) ** (1 / 2.2)
    np.testing.assert_allclose(_colour(renderer, scene)[5, 5], expected, atol=1.5)


def test_light_falls_off_with_the_cosine(renderer: Renderer) -> None:
    lights = np.array([[0, 0, -1.0, 0], [0, 0, 1.0, 0]])
    light = Lighting(np.zeros((9, 3)), lights, np.full((2, 3), 0.5), 1.0, 1.0, 0.0)
    found = _colour(renderer, _scene(_plane(500)), light)
    shine = 0.04 * 0.5
    least = 255 * np.array([0.2, 0.4, 0.8]) * (0.5 * -PLANE[2]) ** (1 / 2.2)
    most = 255 * (np.array([0.2, 0.4, 0.8]) ** 2.2 * 0.5 * -PLANE[2] + shine) ** (1 / 2.2)
    assert (found[5, 5] >= least - 2).all()
    assert (found[5, 5] <= most + 2).all()


def test_a_shadow_falls_where_the_light_is_hidden(renderer: Renderer) -> None:
    lights = np.array([[0, 0, -1.0, 0], [0, 0, 1.0, 0]])
    light = Lighting(EVEN * 0.1, lights, np.array([[1.0] * 3, [0.0] * 3]), 1.0, 1.0, 0.0)
    vertices, hidden = _plane(500), _hair(60)
    vertices[:, 17] = 1.0
    before = _colour(renderer, _scene(vertices), light)
    # A small sheet between light and plane, seen edge-on by nobody: it covers the middle of the picture.
    sheet = MIDDLE + (hidden.vertices - hidden.vertices.mean(axis=0)) * 0.04 - [0, 0, 60]
    shade = Prop(sheet.astype(np.float32), hidden.normals, hidden.uv, hidden.triangles, 7, EYES.iris)
    after = _colour(renderer, _scene(vertices, None, shade), light)
    drawn = renderer.labels(_scene(vertices, None, shade), view_matrix(CROP, CAMERA, 100, 2000)).part == 7
    assert 0 < drawn.mean() < 0.9
    darker = before.astype(int).sum(axis=2) - after.astype(int).sum(axis=2)
    assert (darker > 60).sum() > drawn.sum(), "the sheet itself is black, and its shadow lies beside it"


def test_openness_is_whole_on_a_ball_and_small_in_a_cup(renderer: Renderer) -> None:
    height, around = np.meshgrid(np.linspace(0.02, np.pi - 0.02, 24), np.linspace(0, 2 * np.pi, 48))
    ball = 60 * np.stack(
        [np.sin(height) * np.cos(around), np.cos(height), np.sin(height) * np.sin(around)], -1
    )
    cells = np.arange(48 * 24).reshape(48, 24)
    a, b, c, d = (x.ravel() for x in (cells[:-1, :-1], cells[1:, :-1], cells[1:, 1:], cells[:-1, 1:]))
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])]).astype(np.int32)
    points = ball.reshape(-1, 3)
    outside = renderer.openness(points, triangles)
    inside = renderer.openness(points, np.ascontiguousarray(triangles[:, ::-1]))
    whole, shut = (outside, inside) if outside.mean() > inside.mean() else (inside, outside)
    assert np.median(whole) > 0.95
    assert np.median(shut) < 0.1
