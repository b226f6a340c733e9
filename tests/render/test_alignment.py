"""What is drawn from the camera's own view lies over the camera's image."""

from __future__ import annotations

import numpy as np
import pytest
from render.render_helpers import sheet

from stream.render.view import CameraView
from stream.types import Intrinsics

CAMERAS = {
    "plain": Intrinsics(620.0, 620.0, 319.5, 239.5, 640, 480),
    "odd size, off-centre": Intrinsics(410.0, 410.0, 140.2, 151.7, 333, 257),
    "portrait, unequal focals": Intrinsics(300.0, 345.0, 131.4, 160.9, 241, 387),
    "principal point outside": Intrinsics(500.0, 500.0, -40.0, 300.0, 321, 243),
}

BEHIND = np.array([0, 200, 0], dtype=np.uint8)
SKIN = np.array([60, 60, 160], dtype=np.uint8)
CORNERS = np.array([[0.2, 0.17], [0.77, 0.25], [0.83, 0.86], [0.14, 0.78]])
"""Outline of the mesh, as shares of the image's size; in order around it."""


def make_image(camera):
    """A picture with bright discs at known places; returns it and the places, pixels."""
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    image = np.empty((camera.height, camera.width, 3), dtype=np.float64)
    image[...] = SKIN
    size = np.array([camera.width, camera.height])
    places = bilinear(np.array([[u, v] for u in (0.15, 0.5, 0.85) for v in (0.15, 0.5, 0.85)])) * size
    places = np.round(places) + np.array([0.3, -0.2])
    for px, py in places:
        cover = np.clip(4.5 - np.hypot(x - px, y - py), 0, 1)[..., None]
        image = image * (1 - cover) + np.array([255, 235, 60]) * cover
    return image.round().astype(np.uint8), places


def bilinear(uv):
    """Points (N, 2) in 0..1 to shares of the image inside the quadrilateral `CORNERS`."""
    u, v = uv[:, :1], uv[:, 1:]
    a, b, c, d = CORNERS
    return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)


def make_mesh(camera, image, cells=60):
    """The quadrilateral back-projected through a bumpy depth map, textured with a square of the image."""
    line = np.linspace(0, 1, cells + 1)
    v, u = np.meshgrid(line, line, indexing="ij")
    points = bilinear(np.stack([u.ravel(), v.ravel()], axis=1)) * (camera.width, camera.height)
    bump = 90 * np.exp(-((u - 0.5) ** 2 + (v - 0.5) ** 2) / 0.06) + 15 * np.sin(9 * u) * np.cos(7 * v)
    low = np.floor(points.min(axis=0)).astype(int) - 2
    side = int(np.ceil((points.max(axis=0) - low).max())) + 3
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), mode="edge")
    texture = padded[low[1] + side : low[1] + 2 * side, low[0] + side : low[0] + 2 * side]
    uv = (points - low + 0.5) / side
    grid = points.reshape(cells + 1, cells + 1, 2)
    return sheet(grid, uv=uv, texture=np.ascontiguousarray(texture), intrinsics=camera, depth=600.0 - bump)


def centroid(picture, place, reach=9):
    """Where a bright disc lies, weighted by how much redder than the skin each pixel is."""
    x, y = (round(p) for p in place)
    window = picture[y - reach : y + reach + 1, x - reach : x + reach + 1, 0].astype(np.float64) - SKIN[0]
    weight = np.clip(window, 0, None)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.array([x + (columns * weight).sum() / weight.sum(), y + (rows * weight).sum() / weight.sum()])


def inside(camera, scale=1.0):
    """Which pixel centres of a picture ``scale`` times as large lie within the outline."""
    height, width = round(camera.height * scale), round(camera.width * scale)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = (x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5
    corners = CORNERS * (camera.width, camera.height)
    mask = np.ones(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        mask &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    return mask


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())
def test_markers_and_silhouette_agree_with_the_image(scene, camera):
    image, places = make_image(camera)
    mesh = make_mesh(camera, image)
    background = np.broadcast_to(BEHIND, image.shape).copy()
    scene.draw([mesh], CameraView(camera), "textured", (camera.width, camera.height), background)
    picture = scene.read()
    assert picture.shape == image.shape

    drawn = (picture != BEHIND).any(axis=2)
    expected = inside(camera)
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.995

    away = [np.abs(centroid(picture, p) - centroid(image, p)).max() for p in places]
    assert max(away) < 0.1

    core = expected & np.roll(expected, 4, 0) & np.roll(expected, -4, 0)
    core &= np.roll(expected, 4, 1) & np.roll(expected, -4, 1)
    error = np.abs(picture.astype(int) - image)[core]
    assert error.mean() < 1.0


def test_half_a_pixel_off_would_be_seen(scene):
    """The check above can fail: a principal point half a pixel off moves the markers by as much."""
    camera = CAMERAS["odd size, off-centre"]
    image, places = make_image(camera)
    mesh = make_mesh(camera, image)
    wrong = Intrinsics(camera.fx, camera.fy, camera.cx + 0.5, camera.cy, camera.width, camera.height)
    scene.draw([mesh], CameraView(wrong), "textured", (camera.width, camera.height), image)
    picture = scene.read()
    inner = places[4]
    moved = centroid(picture, inner) - centroid(image, inner)
    np.testing.assert_allclose(moved, [0.5, 0.0], atol=0.1)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scaled_pictures_agree_with_the_scaled_image(scene, scale):
    camera = CAMERAS["plain"]
    image, places = make_image(camera)
    size = (round(camera.width * scale), round(camera.height * scale))
    background = np.broadcast_to(BEHIND, image.shape).copy()
    scene.draw([make_mesh(camera, image)], CameraView(camera), "textured", size, background)
    picture = scene.read()
    drawn, expected = (picture != BEHIND).any(axis=2), inside(camera, scale)
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.99
    for place in places:
        want = (centroid(image, place) + 0.5) * scale - 0.5
        reach = 9 if scale > 1 else 5
        got = centroid(picture, (place + 0.5) * scale - 0.5, reach=round(reach * max(1, scale)))
        np.testing.assert_allclose(got, want, atol=0.2 * max(1, scale))
