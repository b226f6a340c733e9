"""texture_project and texture_layout against their definitions in float64, known scenes and a photo."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import CountingDriver, compiler
from compute.places import PLACES, every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from skimage.data import astronaut

from stream.compute.cuda.arrays import to_device, to_host
from stream.compute.cuda.current import current_driver, use_driver, why_no_driver
from stream.compute.dispatch import on_device
from stream.compute.texture_project import TextureLayout, texture_layout, texture_project
from stream.errors import BackendError, ConfigError, InputError
from stream.types import Array

PHOTO = astronaut()
NOTHING = np.full((1, 1), np.nan, np.float32)
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
UNIT_UV = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
UNIT_TRIANGLES = np.array([[0, 1, 2], [2, 1, 3]], np.int32)


@dataclass(frozen=True)
class Scene:
    """What `texture_project` takes, and the texture it starts from."""

    image: Array
    vertices: Array
    normals: Array
    triangles: Array
    layout: TextureLayout
    fx: float
    fy: float
    cx: float
    cy: float
    depth: Array
    crop_from_image: Array
    texture: Array
    confidence: Array
    keep: float = 0.9
    tolerance: float = 4.0
    power: float = 2.0
    gain: float = 0.25


def arguments(scene: Scene) -> dict[str, Any]:
    return {name: getattr(scene, name) for name in scene.__dataclass_fields__}


def painted(scene: Scene, compute: str) -> tuple[Array, Array]:
    """Texture and confidence after one frame; the scene's own stay as they are."""
    texture, confidence = scene.texture.copy(), scene.confidence.copy()
    texture_project(**arguments(replace(scene, texture=texture, confidence=confidence)), compute=compute)
    return texture, confidence


def plane(image: Array, size: int, kind: Any = np.float32) -> Scene:
    """A square that a camera sees straight on, its texels at the image's points (16.5 + j, 8.5 + i)."""
    corners = (UNIT_UV * size - 0.5 + [16.5, 8.5] - [30.0, 20.0]) * 2.0
    vertices = np.concatenate([corners, np.full((4, 1), 600.0)], axis=1).astype(np.float32)
    normals = np.tile(np.array([0, 0, -1], np.float32), (4, 1))
    layout = texture_layout(UNIT_UV, UNIT_TRIANGLES, size)
    state = np.zeros((size, size, 3), kind), np.zeros((size, size), np.float32)
    return Scene(
        image, vertices, normals, UNIT_TRIANGLES, layout, 300.0, 300.0, 30.0, 20.0, NOTHING, STILL, *state
    )


def reference(scene: Scene) -> tuple[Array, Array, Array]:
    """The rules of `texture_project`, one texel at a time in float64; last, how near a decision was."""
    texture, confidence = scene.texture.astype(np.float64), scene.confidence.astype(np.float64)
    close = np.zeros(confidence.shape, bool)
    height, width = scene.image.shape[:2]
    for i, j in np.argwhere(scene.layout.triangle >= 0):
        kept = scene.keep * np.nan_to_num(confidence[i, j])
        w, (u, v), close[i, j] = look(scene, i, j, height, width)
        confidence[i, j] = min(1.0, kept + w)
        if w > 0:
            at = [[v], [u]]
            seen = [
                map_coordinates(scene.image[..., k].astype(np.float64), at, order=1, mode="nearest")[0]
                for k in range(3)
            ]
            old = texture[i, j] if kept > 0 else np.zeros(3)
            texture[i, j] = (kept * old + w * np.array(seen)) / (kept + w)
    return texture, confidence, close


def look(scene: Scene, i: int, j: int, height: int, width: int) -> tuple[float, tuple[float, float], bool]:
    unseen, nowhere = 0.0, (0.0, 0.0)
    triangle = scene.layout.triangle[i, j]
    if triangle >= len(scene.triangles):
        return unseen, nowhere, False
    corners = scene.triangles[triangle]
    if (corners < 0).any() or (corners >= len(scene.vertices)).any():
        return unseen, nowhere, False
    first, second = scene.layout.weights[i, j].astype(np.float64)
    shares = np.array([first, second, 1 - first - second])
    if not np.isfinite(scene.vertices[corners]).all():
        return unseen, nowhere, False
    point, normal = shares @ scene.vertices[corners], shares @ scene.normals[corners].astype(np.float64)
    if point[2] < 1:
        return unseen, nowhere, abs(point[2] - 1) < 1e-3
    u, v = scene.fx * point[0] / point[2] + scene.cx, scene.fy * point[1] / point[2] + scene.cy
    cosine = -normal @ point / (np.linalg.norm(normal) * np.linalg.norm(point))
    x, y = scene.crop_from_image @ [u, v, 1]
    edges = np.array([u, v, width - 1 - u, height - 1 - v, cosine, *(np.array([x, y]) - np.floor([x, y]))])
    halves = np.abs(np.array([x, y]) + 0.5 - np.round([x + 0.5, y + 0.5]))
    close = bool((np.abs(edges) < 1e-3).any() or (halves < 1e-3).any() or (edges[5:] > 1 - 1e-3).any())
    if not (0 <= u <= width - 1 and 0 <= v <= height - 1) or not cosine > 0:
        return unseen, nowhere, close
    last = len(scene.depth) - 1
    if -0.5 <= x <= last + 0.5 and -0.5 <= y <= last + 0.5:
        column, row = int(np.floor(np.clip(x, 0, last))), int(np.floor(np.clip(y, 0, last)))
        there = scene.depth[row : row + 2, column : column + 2].astype(np.float64)
        there = there[np.isfinite(there)]
        close |= bool((np.abs(point[2] - there - scene.tolerance) < 1e-3).any())
        if (point[2] > there + scene.tolerance).any():
            return unseen, nowhere, close
    return scene.gain * cosine**scene.power, (u, v), close


def random_scene(seed: int, size: int, vertices: int, triangles: int, side: int, kind: str) -> Scene:
    """Anything goes: NaN, wild indices, points behind the camera or outside the picture."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 60, (vertices, 3)) + np.array([0, 0, 400])
    points[rng.random(vertices) < 0.1] *= rng.choice([-1, np.nan, np.inf])
    depth = rng.normal(420, 60, (side, side)).astype(np.float32)
    depth[rng.random((side, side)) < 0.4] = rng.choice([np.nan, np.inf, -np.inf])
    confidence = rng.random((size, size)).astype(np.float32) * (rng.random((size, size)) < 0.7)
    confidence[rng.random((size, size)) < 0.1] = np.nan
    texture = rng.uniform(0, 255, (size, size, 3)).astype(kind)
    triangle = rng.integers(-2, triangles + 2, (size, size)).astype(np.int32)
    return Scene(
        image=rng.integers(0, 256, (rng.integers(1, 60), rng.integers(1, 60), 3)).astype(np.uint8),
        vertices=points.astype(np.float32),
        normals=(rng.normal(0, 1, (vertices, 3)) - [0, 0, 2]).astype(np.float32),
        triangles=rng.integers(-1 if seed % 3 == 0 else 0, vertices, (triangles, 3)).astype(np.int32),
        layout=TextureLayout(triangle, rng.dirichlet([1, 1, 1], (size, size))[..., :2].astype(np.float32)),
        fx=rng.uniform(50, 150),
        fy=rng.uniform(50, 150),
        cx=rng.uniform(0, 50),
        cy=rng.uniform(0, 50),
        depth=depth,
        crop_from_image=np.array([[0.7, 0.1, -3.0], [-0.1, 0.7, 1.0]]) * side / 40,
        texture=texture,
        confidence=confidence,
        keep=float(rng.choice([0, 0.5, 0.97, 1])),
        tolerance=float(rng.choice([0, 4, 50])),
        power=float(rng.choice([0, 1, 2.5])),
        gain=float(rng.choice([0.1, 1])),
    )


@every_place
@settings(max_examples=50, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 16),
    vertices=st.integers(1, 30),
    triangles=st.integers(1, 30),
    side=st.integers(1, 40),
    kind=st.sampled_from(["float32", "uint8"]),
)
def test_any_scene_is_painted_as_defined(
    place: str, seed: int, size: int, vertices: int, triangles: int, side: int, kind: str
) -> None:
    scene = random_scene(seed, size, vertices, triangles, side, kind)
    texture, confidence, close = reference(scene)
    with place_for(place) as compute:
        got_texture, got_confidence = painted(scene, compute)
    known = ~close & (scene.layout.triangle >= 0)
    np.testing.assert_allclose(got_confidence[known], confidence[known], atol=1e-5)
    # Bytes are off by their rounding; floats by single precision's place in a picture of noise.
    np.testing.assert_allclose(got_texture[known], texture[known], atol=0.55 if kind == "uint8" else 0.05)
    empty = scene.layout.triangle < 0
    np.testing.assert_array_equal(got_texture[empty], scene.texture[empty])
    np.testing.assert_array_equal(got_confidence[empty], scene.confidence[empty])


@every_place
def test_the_scenes_show_something(place: str) -> None:
    """The comparison above is worth something: many texels are seen, many hidden, few too near to tell."""
    with place_for(place) as compute:
        seen = wrong = total = 0
        for seed in range(20):
            scene = random_scene(seed, 16, 20, 20, 20, "float32")
            fresh = replace(scene, confidence=np.zeros_like(scene.confidence))
            _, expected, close = reference(fresh)
            _, confidence = painted(fresh, compute)
            seen += int((expected > 0).sum())
            wrong += int(((confidence > 0) != (expected > 0))[~close].sum())
            total += expected.size
    assert wrong == 0
    assert 0.03 * total < seen < 0.6 * total


@every_place
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_a_plane_takes_the_picture(place: str, kind: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (60, 70, 3)).astype(np.uint8)
    scene = plane(image, 24, kind)
    with place_for(place) as compute:
        texture, confidence = painted(scene, compute)
    # Each texel lies in the middle of four pixels.
    rows = image[8:32].astype(np.float64) + image[9:33]
    expected = (rows[:, 16:40] + rows[:, 17:41]) / 4
    np.testing.assert_allclose(texture, expected, atol=0.51 if kind == np.uint8 else 0.02)
    # Seen a little from the side towards the edges.
    assert 0.98 * scene.gain < confidence.min()
    assert confidence.max() <= scene.gain


@every_place
def test_a_smooth_photo_on_a_tilted_plane_is_the_photo_at_its_points(place: str) -> None:
    size = 64
    uv = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)), axis=-1).reshape(-1, 2)
    corner = np.arange(81).reshape(9, 9)[:-1, :-1].reshape(-1, 1, 1)
    triangles = (corner + np.array([[0, 9, 1], [1, 9, 10]])).reshape(-1, 3).astype(np.int32)
    across, down = np.array([150.0, 10.0, 60.0]), np.array([-10.0, 150.0, 30.0])
    vertices = (np.array([-80.0, -200.0, 600.0]) + uv[:, :1] * across + uv[:, 1:] * down).astype(np.float32)
    normals = np.tile(-np.cross(across, down), (81, 1)).astype(np.float32)
    state = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    layout = texture_layout(uv, triangles, size)
    scene = Scene(
        PHOTO, vertices, normals, triangles, layout, 700.0, 700.0, 255.5, 255.5, NOTHING, STILL, *state
    )
    row, column = np.mgrid[:size, :size]
    points = np.array([-80.0, -200.0, 600.0]) + (column[..., None] + 0.5) / size * across
    points = points + (row[..., None] + 0.5) / size * down
    u, v = (700 * points[..., k] / points[..., 2] + 255.5 for k in (0, 1))
    expected = np.stack([map_coordinates(PHOTO[..., k].astype(float), [v, u], order=1) for k in range(3)], -1)
    view = -points / np.linalg.norm(points, axis=-1, keepdims=True)
    cosine = view @ (normals[0] / np.linalg.norm(normals[0]))
    with place_for(place) as compute:
        texture, confidence = painted(scene, compute)
    np.testing.assert_allclose(texture, expected, atol=0.05)
    np.testing.assert_allclose(confidence, 0.25 * cosine**2, atol=1e-5)


@every_place
def test_what_is_hidden_or_turned_away_or_outside_is_not_painted(place: str) -> None:
    image = np.full((60, 70, 3), 200, np.uint8)
    base = plane(image, 24)
    base.texture[:], base.confidence[:] = 50, 0.5
    wall = np.full((70, 70), np.nan, np.float32)
    wall[:, :29] = 500
    behind = base.vertices * np.array([1, 1, -1], np.float32)
    lost = base.vertices.copy()
    lost[0] = np.nan
    with place_for(place) as compute:
        for scene in (
            replace(base, normals=-base.normals),
            replace(base, normals=base.normals * 0),
            replace(base, vertices=behind),
            replace(base, image=image[:5]),
            replace(base, depth=np.full((70, 70), 590, np.float32)),
            replace(base, triangles=base.triangles + 4),
            replace(base, triangles=base.triangles[:0]),
            replace(base, vertices=base.vertices[:0], normals=base.normals[:0]),
        ):
            texture, confidence = painted(scene, compute)
            np.testing.assert_array_equal(texture, base.texture)
            np.testing.assert_allclose(confidence, 0.45, rtol=1e-6)
        half, _ = painted(replace(base, depth=wall), compute)
        # Texel j lies between pixels 16 + j and 17 + j; the wall covers pixels 0..28.
        np.testing.assert_array_equal((half != 50).any(axis=(0, 2)), np.arange(24) + 16 > 28)
        torn, _ = painted(replace(base, vertices=lost), compute)
        shown = (torn != 50).any(axis=2)
        np.testing.assert_array_equal(shown, base.layout.triangle == 1)
        for depth in (np.full((70, 70), 597, np.float32), np.full((70, 70), np.inf, np.float32), NOTHING):
            texture, _ = painted(replace(base, depth=depth), compute)
            assert (texture > 50).all()


@every_place
def test_first_sight_replaces_and_steady_sight_converges(place: str) -> None:
    rng = np.random.default_rng(3)
    scene = plane(np.full((60, 70, 3), 100, np.uint8), 12)
    scene.texture[:] = np.nan
    with place_for(place) as compute:
        texture, confidence = painted(scene, compute)
        np.testing.assert_allclose(texture, 100, atol=1e-4)
        errors = []
        for _ in range(60):
            noisy = rng.normal(180, 20, (60, 70, 3)).clip(0, 255).astype(np.uint8)
            frame = replace(scene, image=noisy, texture=texture, confidence=confidence, keep=0.95, gain=0.05)
            texture, confidence = painted(frame, compute)
            errors.append(abs(texture.mean() - 179.5))
        # gain cos^2 / (1 - keep) is just below 1: it forgets 1 - keep a frame, 0.95^60 = 0.046 in the end.
        weight = float(confidence.mean())
        assert 0.9 < weight < 1
        assert errors[-1] < 0.06 * 80 + 2
        # An exponential mean with factor f has f / (2 - f) of the variance: a sixth of the deviation, which
        # the mean of four pixels has halved from 20.
        assert 1.2 < texture.std() < 2.1
        unseen, faded = painted(
            replace(scene, normals=-scene.normals, texture=texture, confidence=confidence, keep=0.5), compute
        )
        np.testing.assert_array_equal(unseen, texture)
        np.testing.assert_allclose(faded, confidence / 2, rtol=1e-6)
        one, full = painted(replace(scene, texture=texture, confidence=confidence, keep=1, gain=1), compute)
        assert full.max() == 1
        share = 1 / (1 + confidence.mean())
        np.testing.assert_allclose(one.mean(), texture.mean() + share * (100 - texture.mean()), atol=0.5)


def inside(point: Array, corners: Array) -> bool:
    turns = [np.linalg.det([corners[(k + 1) % 3] - corners[k], point - corners[k]]) for k in range(3)]
    return min(turns) > 1e-9 or max(turns) < -1e-9


@settings(max_examples=30, derandomize=True, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 24), triangles=st.integers(0, 12))
def test_a_layout_shows_each_texel_the_point_under_it(seed: int, size: int, triangles: int) -> None:
    rng = np.random.default_rng(seed)
    uv = rng.uniform(-0.2, 1.2, (9, 2)).astype(np.float32)
    faces = rng.integers(0, 9, (triangles, 3)).astype(np.int32)
    exact, wide = texture_layout(uv, faces, size, margin=0), texture_layout(uv, faces, size)
    corners = uv.astype(np.float64)[faces] * size - 0.5
    for i in range(size):
        for j in range(size):
            here = np.array([j, i], np.float64)
            covering = [t for t in range(triangles) if inside(here, corners[t])]
            found = exact.triangle[i, j]
            if covering:
                assert found == min([*covering, found])
            if found < 0:
                continue
            assert wide.triangle[i, j] == found
            shares = np.append(exact.weights[i, j], 1 - exact.weights[i, j].sum())
            assert shares.min() > -1e-3
            np.testing.assert_allclose(shares @ corners[found], here, atol=1e-3)
    for i, j in np.argwhere((wide.triangle >= 0) & (exact.triangle < 0)):
        shares = np.append(wide.weights[i, j], 1 - wide.weights[i, j].sum())
        nearest = shares @ corners[wide.triangle[i, j]]
        assert shares.min() > -1e-5
        assert 0 < np.linalg.norm(nearest - [j, i]) <= 1.5 + 1e-4


def test_the_margin_is_as_wide_as_it_says() -> None:
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    row, column = np.mgrid[:32, :32]
    outside = np.maximum(np.abs(np.stack([row, column]) - 15.5) - 8, 0)
    distance = np.hypot(*outside)
    for margin in (0.0, 1.0, 1.5, 3.2):
        layout = texture_layout(uv, UNIT_TRIANGLES, 32, margin)
        np.testing.assert_array_equal(layout.triangle >= 0, distance <= margin)
    assert (texture_layout(uv, UNIT_TRIANGLES, 32).weights >= 0).all()


@pytest.mark.parametrize("place", [place for place in PLACES if place != "numba"])
def test_device_arrays_are_painted_in_place(place: str) -> None:
    scene = plane(PHOTO[:60, :70].copy(), 24)
    expected = painted(scene, "numba")
    with place_for(place):
        driver = current_driver()
        given = arguments(scene)
        for name in ("image", "vertices", "normals", "triangles", "depth", "texture", "confidence"):
            given[name] = to_device(driver, given[name])
        given["layout"] = TextureLayout(on_device(scene.layout.triangle), on_device(scene.layout.weights))
        texture_project(**given, stream=driver.stream() if place == "host" else None)
        np.testing.assert_allclose(to_host(driver, given["texture"]), expected[0], atol=0.02)
        np.testing.assert_allclose(to_host(driver, given["confidence"]), expected[1], atol=1e-5)
        with pytest.raises(InputError, match="bring all to one place"):
            texture_project(**given | {"layout": scene.layout})


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here; install one with: apt-get install g++")
def test_a_frame_allocates_nothing() -> None:
    scene = plane(PHOTO[:60, :70].copy(), 8)
    driver = CountingDriver()
    with use_driver(driver):
        given = arguments(scene)
        for name in ("image", "vertices", "normals", "triangles", "depth", "texture", "confidence"):
            given[name] = on_device(given[name])
        given["layout"] = TextureLayout(on_device(scene.layout.triangle), on_device(scene.layout.weights))
        before = driver.allocations
        texture_project(**given)
    assert driver.allocations == before


PLANE = plane(PHOTO[:60, :70].copy(), 8)


@every_place
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": PHOTO[..., :2]}, "image"),
        ({"image": PHOTO.astype(np.float32)}, "image"),
        ({"image": PHOTO[:0]}, "sides"),
        ({"vertices": PLANE.vertices.astype(np.float64)}, "vertices"),
        ({"normals": PLANE.normals[:3]}, "normals"),
        ({"triangles": PLANE.triangles.astype(np.int64)}, "triangles"),
        ({"layout": TextureLayout(PLANE.layout.triangle[:4], PLANE.layout.weights)}, "square"),
        ({"layout": TextureLayout(PLANE.layout.triangle, PLANE.layout.weights[:4])}, "weights"),
        ({"depth": PLANE.depth[0]}, "depth"),
        ({"depth": np.zeros((4, 5), np.float32)}, "square"),
        ({"crop_from_image": np.eye(3)}, r"\(2, 3\)"),
        ({"crop_from_image": STILL * np.nan}, "finite"),
        ({"texture": PLANE.texture[:4]}, "texture"),
        ({"texture": PLANE.texture.astype(np.float64)}, "texture"),
        ({"texture": np.zeros((8, 16, 3), np.uint8)[:, ::2]}, "C-contiguous"),
        ({"confidence": np.zeros((8, 8))}, "confidence"),
        ({"fx": 0.0}, "fx"),
        ({"fy": np.nan}, "fy"),
        ({"cx": np.inf}, "principal"),
        ({"keep": 1.1}, "keep"),
        ({"keep": np.nan}, "keep"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"power": 65.0}, "power"),
        ({"gain": 0.0}, "gain"),
        ({"gain": 1.5}, "gain"),
    ],
)
def test_bad_input_is_told(place: str, changes: dict[str, Any], message: str) -> None:
    with place_for(place) as compute, pytest.raises(InputError, match=message):
        texture_project(**arguments(PLANE) | changes, compute=compute)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uv": UNIT_UV[:, :1]}, "UV"),
        ({"uv": UNIT_UV * np.nan}, "not finite"),
        ({"uv": UNIT_UV * 1e9}, "far outside"),
        ({"triangles": UNIT_TRIANGLES + 1}, "count from 0 to 3"),
        ({"triangles": UNIT_TRIANGLES - 1}, "count from 0 to 3"),
        ({"triangles": UNIT_TRIANGLES.astype(np.int64)}, "triangles"),
        ({"size": 0}, "size"),
        ({"size": 8193}, "size"),
        ({"margin": -1.0}, "margin"),
        ({"margin": np.nan}, "margin"),
    ],
)
def test_a_bad_layout_is_told(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"uv": UNIT_UV, "triangles": UNIT_TRIANGLES, "size": 8}
    with pytest.raises(InputError, match=message):
        texture_layout(**arguments | changes)


def test_unknown_backends_are_told() -> None:
    with pytest.raises(ConfigError, match="no compute backend"):
        texture_project(**arguments(PLANE), compute="metal")
    if reason := why_no_driver():
        with pytest.raises(BackendError, match=reason.split()[0]):
            texture_project(**arguments(PLANE), compute="cuda")
