from __future__ import annotations

from dataclasses import replace
from typing import Any

import moderngl
import numpy as np
import pytest
from render.render_helpers import PLAIN, sheet, square

from stream.errors import ConfigError, InputError
from stream.render.scene import MODES, MeshScene, mesh_bounds
from stream.render.view import CameraView, OrbitView

VIEW = CameraView(PLAIN)
SIZE = (128, 128)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by a name whenever OpenGL is asked for memory."""
    found: list[str] = []

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def asked(*arguments: Any, **options: Any) -> Any:
            found.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, asked)

    for name in ("buffer", "texture", "renderbuffer", "depth_renderbuffer", "framebuffer"):
        watch(moderngl.Context, name)
    watch(moderngl.Buffer, "orphan")
    return found


def draw(scene, *meshes, mode="textured", view=VIEW, size=SIZE, background=None):
    scene.draw(meshes, view, mode, size, background)
    return scene.read()


def bounds(mesh):
    found = mesh_bounds([mesh])
    assert found is not None
    return found


def brightness(picture):
    return picture.astype(np.float64) @ (0.2126, 0.7152, 0.0722)


def test_textured_shows_the_textures_own_colours_and_darkens_the_inside(scene):
    mesh = square(colour=(200, 120, 40))
    picture = draw(scene, mesh)
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    assert (picture[64, 64] == (200, 120, 40)).all()
    turned = replace(mesh, triangles=mesh.triangles[:, ::-1].copy())
    np.testing.assert_allclose(draw(scene, turned)[64, 64], (50, 30, 10), atol=1)


def test_uv_origin_is_the_textures_top_left_corner(scene):
    texture = np.zeros((2, 2, 3), dtype=np.uint8)
    texture[0, 0], texture[0, 1], texture[1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    picture = draw(scene, replace(square(side=150), texture=texture))
    assert (picture[20, 20] == (255, 0, 0)).all()
    assert (picture[20, 107] == (0, 255, 0)).all()
    assert (picture[107, 20] == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("normal", "colour"),
    [
        ((0, 0, -1), (0.5, 0.5, 1.0)),
        ((1, 0, 0), (1.0, 0.5, 0.5)),
        ((0, -1, 0), (0.5, 1.0, 0.5)),
        ((0.6, 0, -0.8), (0.8, 0.5, 0.9)),
    ],
)
def test_normals_are_encoded_right_up_and_towards_the_viewer(scene, normal, colour):
    picture = draw(scene, square(normals=np.tile(normal, (25, 1))), mode="normals")
    np.testing.assert_allclose(picture[64, 64] / 255, colour, atol=0.006)


def test_normals_turn_with_the_view(scene):
    mesh = square()
    orbit = OrbitView(yaw=30.0)
    centre, radius = bounds(mesh)
    orbit.follow(centre, radius, 0.0)
    picture = draw(scene, mesh, mode="normals", view=orbit)
    expected = np.array([np.sin(np.radians(30)), 0, np.cos(np.radians(30))]) / 2 + 0.5
    np.testing.assert_allclose(picture[64, 64] / 255, expected, atol=0.006)


def test_depth_gets_darker_all_the_way_with_distance(scene):
    picture = draw(scene, square(side=100.0, tilt=0.6), mode="depth")
    row = brightness(picture[64:65])[0]
    on = np.flatnonzero(np.abs(picture[64].astype(int) - draw(scene)[64]).sum(axis=1) > 8)
    inner = row[on[2] : on[-2]]
    assert len(inner) > 50
    assert (np.diff(inner) <= 0).all()
    assert inner[0] - inner[-1] > 80


def test_lit_is_brighter_towards_the_key_light_and_two_sided(scene):
    def facing(x, y):
        n = np.array([x, y, -1.0]) / np.sqrt(x * x + y * y + 1)
        return square(normals=np.tile(n, (25, 1)))

    to_key = draw(scene, facing(-0.7, -0.7), mode="lit")
    away = draw(scene, facing(0.7, 0.7), mode="lit")
    assert brightness(to_key)[64, 64] > brightness(away)[64, 64] + 60
    mesh = facing(-0.7, -0.7)
    inverted = draw(scene, replace(mesh, normals=-mesh.normals), mode="lit")
    assert (inverted == to_key).all()


def test_wireframe_has_each_line_and_gaps_between(scene):
    cells = 4
    picture = draw(scene, square(side=150.0, cells=cells), mode="wireframe")
    row = brightness(picture[56:57])[0] > 90  # between two rows of vertices
    crossings = np.flatnonzero(np.diff(row.astype(int)) == 1)
    assert len(crossings) == 2 * cells + 1  # each cell's left side and diagonal, and the last right side
    assert (~row).mean() > 0.7


def test_dense_wireframes_do_not_become_a_solid_sheet(scene):
    picture = brightness(draw(scene, square(side=150.0, cells=60), mode="wireframe"))[20:108, 20:108]
    assert picture.max() > 1.5 * picture.min() + 10


def test_nearer_meshes_hide_farther_ones_in_any_order(scene):
    near, far = square(z=500.0, side=30, colour=(255, 0, 0)), square(z=700.0, side=90, colour=(0, 0, 255))
    for order in ((near, far), (far, near)):
        picture = draw(scene, *order)
        assert (picture[64, 64] == (255, 0, 0)).all()
        assert (picture[64, 45] == (0, 0, 255)).all()


def test_meshes_that_are_gone_are_not_drawn(scene):
    left, right = square(x=-40, colour=(255, 0, 0)), square(x=40, colour=(0, 255, 0))
    both = draw(scene, left, right)
    assert (both[64, 37] == (255, 0, 0)).all()
    assert (both[64, 90] == (0, 255, 0)).all()
    one = draw(scene, right)
    assert (one[64, 90] == (0, 255, 0)).all()
    nothing = draw(scene)
    assert (one[64, 37] == nothing[64, 37]).all()


def test_without_meshes_or_triangles_there_is_the_backdrop_only(scene):
    nothing = draw(scene)
    mesh = square()
    bare = replace(mesh, triangles=mesh.triangles[:0])
    empty = sheet(np.zeros((0, 1, 3)), normals=np.zeros((0, 3)), uv=np.zeros((0, 2)))
    empty = replace(empty, triangles=np.zeros((0, 3), dtype=np.int32))
    for mode in MODES:
        assert (draw(scene, bare, mode=mode) == nothing).all()
        assert (draw(scene, empty, mode=mode) == nothing).all()
    assert nothing.max() < 60


def test_the_background_image_is_fitted_and_centred(scene):
    image = np.full((30, 60, 3), (10, 200, 90), dtype=np.uint8)
    picture = draw(scene, background=image)
    rows = (picture == (10, 200, 90)).all(axis=2)
    assert rows[32:96].all()
    assert not rows[:32].any()
    assert not rows[96:].any()


def test_nothing_is_allocated_once_warm(scene, requests):
    meshes = [square(cells=c) for c in (40, 30, 20)]
    for mode in MODES:
        draw(scene, *meshes[:2], mode=mode)
    before = len(requests)
    for i in range(12):
        shifted = [replace(m, vertices=m.vertices + np.float32(i)) for m in meshes]
        draw(scene, *shifted[i % 2 : i % 2 + 1 + i % 2], mode=MODES[i % len(MODES)])
    assert len(requests) == before


def test_buffers_grow_and_pictures_stay_right(egl, scene, requests):
    small, large = square(cells=3), square(cells=120, side=100)
    expected = {id(m): draw(MeshScene(egl, samples=0), m) for m in (small, large)}
    before = len(requests)
    draw(scene, small)
    warm = len(requests)
    assert warm > before
    for mesh in (large, small, large):
        assert (draw(scene, mesh) == expected[id(mesh)]).all()
    assert 3 <= len(requests) - warm <= 4  # vertices, normals, uv and triangles, once each at most


def test_a_smaller_texture_is_not_mixed_with_the_one_before(scene, requests):
    mesh = square(side=150.0)
    draw(scene, replace(mesh, texture=np.zeros((200, 200, 3), dtype=np.uint8)))
    picture = draw(scene, replace(mesh, texture=np.full((33, 33, 3), 255, dtype=np.uint8)))
    assert (picture[16:112, 16:112] == 255).all()
    before = len(requests)
    draw(scene, replace(mesh, texture=np.full((150, 150, 3), 9, dtype=np.uint8)))
    assert len(requests) == before


def test_the_same_mesh_from_a_second_view_is_not_lost(scene):
    mesh = square(colour=(255, 0, 0))
    draw(scene, mesh)
    changed = replace(mesh, texture=np.full((8, 8, 3), (0, 255, 0), dtype=np.uint8))
    assert (draw(scene, changed)[64, 64] == (0, 255, 0)).all()
    assert (draw(scene, changed, size=(64, 64))[32, 32] == (0, 255, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (257, 131), (640, 480)])
def test_any_size(scene, size):
    draw(scene, square())
    picture = draw(scene, square(side=120, colour=(255, 0, 0)), size=size)
    assert picture.shape == (size[1], size[0], 3)
    assert (picture[size[1] // 2, size[0] // 2] == (255, 0, 0)).all()


def test_multisampling_softens_edges(egl):
    def levels(samples):
        mesh = square(side=90, tilt=0.3, colour=(255, 0, 0))
        orbit = OrbitView(yaw=20, pitch=25)
        centre, radius = bounds(mesh)
        orbit.follow(centre, radius, 0.0)
        return len(np.unique(draw(MeshScene(egl, samples), mesh, view=orbit)[..., 0]))

    if egl.gl.max_samples < 2:
        pytest.skip("this driver has no multisampling")
    assert levels(4) > levels(0)


def test_bounds_ignore_strays_and_invalid_vertices():
    mesh = square(side=100.0, cells=40)
    vertices = mesh.vertices.copy()
    vertices[7] = (9e5, -9e5, 9e5)
    valid = mesh.valid.copy()
    valid[vertices[:, 0] > 0] = False
    centre, radius = bounds(replace(mesh, vertices=vertices))
    np.testing.assert_allclose(centre, (0, 0, 600), atol=3)
    assert 46 < radius < 51
    centre, radius = bounds(replace(mesh, vertices=vertices, valid=valid))
    np.testing.assert_allclose(centre[0], -25, atol=3)
    assert mesh_bounds([replace(mesh, valid=np.zeros_like(valid))]) is None
    assert mesh_bounds([]) is None


def bad_meshes():
    mesh = square()
    nan = mesh.vertices.copy()
    nan[3, 1] = np.nan
    infinite = mesh.normals.copy()
    infinite[0] = np.inf
    outside = mesh.triangles.copy()
    outside[0, 0] = 25
    return {
        "normals too few": replace(mesh, normals=mesh.normals[:3]),
        "uv of the wrong shape": replace(mesh, uv=mesh.vertices),
        "valid too few": replace(mesh, valid=mesh.valid[:2]),
        "quads": replace(mesh, triangles=np.zeros((2, 4), dtype=np.int32)),
        "float triangles": replace(mesh, triangles=mesh.triangles.astype(np.float32)),
        "triangle past the end": replace(mesh, triangles=outside),
        "negative triangle": replace(mesh, triangles=-mesh.triangles - 1),
        "nan": replace(mesh, vertices=nan),
        "infinite normal": replace(mesh, normals=infinite),
        "grey texture": replace(mesh, texture=np.zeros((8, 8), dtype=np.uint8)),
        "float texture": replace(mesh, texture=np.zeros((8, 8, 3), dtype=np.float32)),
        "empty texture": replace(mesh, texture=np.zeros((0, 0, 3), dtype=np.uint8)),
    }


@pytest.mark.parametrize("name", bad_meshes())
def test_bad_meshes_are_refused_and_the_next_is_drawn(scene, name):
    with pytest.raises(InputError, match=r"mesh"):
        draw(scene, bad_meshes()[name])
    assert (draw(scene, square(colour=(255, 0, 0)))[64, 64] == (255, 0, 0)).all()


def test_bad_modes_and_sizes_are_refused(scene):
    with pytest.raises(ConfigError, match=r"textured, lit"):
        draw(scene, mode="cartoon")
    for size in ((0, 10), (10, -1), (10, 9000)):
        with pytest.raises(ConfigError, match=r"8192"):
            draw(scene, size=size)


def test_reading_before_drawing_is_refused(scene):
    with pytest.raises(InputError, match=r"draw\(\)"):
        scene.read()
