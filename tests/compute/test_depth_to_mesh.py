"""depth_to_mesh against plain numpy, against known surfaces, and on bad input."""

import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import pytest
from compute.places import PLACES, every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.cuda.current import why_no_driver
from stream.compute.depth_to_mesh import GridMesh, depth_to_mesh, grid_buffers
from stream.errors import BackendError, InputError
from stream.geometry import image_from_crop, mm_per_crop_unit, project
from stream.types import Array, Crop, Intrinsics

CAMERA = Intrinsics(700.0, 690.0, 319.5, 239.5, 640, 480)
CROP = Crop(350.0, 260.0, 110.0, 0.2)
DISTANCE = 600.0
UNIT = mm_per_crop_unit(CROP, CAMERA, DISTANCE)


@pytest.fixture(params=PLACES)
def compute(request: pytest.FixtureRequest) -> Iterator[str]:
    """The backend to name; each place in turn."""
    with place_for(request.param) as name:
        yield name


def mesh_of(depth: Array, mask: Array | None = None, **changes: Any) -> GridMesh:
    """Mesh of a depth map over `CROP`; the whole map is face unless a mask is given."""
    mask = np.ones_like(depth) if mask is None else mask
    matrix = image_from_crop(CROP, max(1, depth.shape[0]))
    arguments = {"image_from_crop": matrix, "fx": CAMERA.fx, "fy": CAMERA.fy, "cx": CAMERA.cx}
    arguments |= {"cy": CAMERA.cy, "distance": DISTANCE, "mm_per_unit": UNIT} | changes
    return depth_to_mesh(depth, mask, **arguments)  # type: ignore[arg-type]


@dataclass
class Reference:
    """The same mesh by the definition, one pixel and one quad at a time, in float64."""

    vertices: Array
    normals: Array
    uv: Array
    triangles: list[tuple[int, int, int]]
    valid: Array


def reference(depth: Array, mask: Array, jump: float = 0.1) -> Reference:
    size = depth.shape[0]
    row, column = np.divmod(np.arange(size * size), size)
    pixels = np.stack([column, row, np.ones_like(row)], axis=1) @ image_from_crop(CROP, size).T
    z = DISTANCE + depth.ravel().astype(np.float64) * UNIT
    usable = np.isfinite(z) & (np.nan_to_num(mask.ravel(), nan=-1) >= 0.5) & (z >= 1) & (z <= 1e6)
    z = np.where(usable, z, DISTANCE)
    vertices = np.stack(
        [(pixels[:, 0] - CAMERA.cx) / CAMERA.fx * z, (pixels[:, 1] - CAMERA.cy) / CAMERA.fy * z, z], axis=1
    )
    flat = depth.ravel()

    def joined(*corners: int) -> bool:
        steps = [
            abs(flat[p] - flat[q]) < np.float32(jump)
            for p in corners
            for q in corners
            if usable[[p, q]].all()
        ]
        return bool(usable[list(corners)].all()) and all(steps)

    triangles: list[tuple[int, int, int]] = []
    for i in range(size - 1):
        for j in range(size - 1):
            a = i * size + j
            b, c, d = a + 1, a + size, a + size + 1
            usual = [t for t in ((a, c, b), (b, c, d)) if joined(*t)]
            turned = [t for t in ((a, c, d), (a, d, b)) if joined(*t)]
            triangles += turned if len(turned) > len(usual) else usual
    normals = np.zeros_like(vertices)
    for p, q, r in triangles:
        area = np.cross(vertices[q] - vertices[p], vertices[r] - vertices[p])
        normals[[p, q, r]] += area
    valid = np.zeros(size * size, bool)
    valid[np.array(triangles, int).ravel()] = True
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(valid[:, None], normals / np.where(lengths > 0, lengths, 1), [0, 0, -1])
    uv = np.stack([(column + 0.5) / size, (row + 0.5) / size], axis=1)
    return Reference(vertices, normals, uv, triangles, valid)


def check_invariants(mesh: GridMesh, size: int) -> None:
    count = size * size
    assert mesh.vertices.shape == mesh.normals.shape == (count, 3)
    assert mesh.uv.shape == (count, 2)
    assert [a.dtype for a in astuple(mesh)] == [np.float32, np.float32, np.float32, np.int32, np.bool_]
    for array in (mesh.vertices, mesh.normals, mesh.uv):
        assert np.isfinite(array).all()
    used = np.zeros(count, bool)
    used[mesh.triangles.ravel()] = True
    np.testing.assert_array_equal(mesh.valid, used)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


def smooth_depth(size: int, seed: int) -> Array:
    """Random rolling surface with steps, crop units."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / max(size, 2)
    waves = sum(
        rng.normal() * 0.1 * np.sin(rng.normal(0, 8) * x + rng.normal(0, 8) * y + rng.normal())
        for _ in range(5)
    )
    steps = np.where(rng.normal() * x + rng.normal() * y > rng.normal() * 0.5, 0.4, 0.0)
    return np.asarray(waves + steps, np.float32)


@every_place
@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=st.integers(1, 14), seed=st.integers(0, 10_000), holes=st.floats(0, 1), broken=st.floats(0, 0.3))
def test_equals_the_definition(place: str, size: int, seed: int, holes: float, broken: float) -> None:
    rng = np.random.default_rng(seed)
    depth, mask = smooth_depth(size, seed), rng.random((size, size)).astype(np.float32)
    mask = np.where(rng.random((size, size)) < holes, mask, np.float32(1))
    bad = rng.choice(np.array([np.nan, np.inf, -np.inf, 3e38, -9], np.float32), (size, size))
    depth = np.where(rng.random((size, size)) < broken, bad, depth)
    mask[rng.random((size, size)) < broken / 4] = np.nan
    with place_for(place) as compute:
        mesh = mesh_of(depth, mask, compute=compute)
    expected = reference(depth, mask)
    check_invariants(mesh, size)
    assert [tuple(t) for t in mesh.triangles.tolist()] == expected.triangles
    np.testing.assert_array_equal(mesh.valid, expected.valid)
    np.testing.assert_allclose(mesh.vertices, expected.vertices, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(mesh.normals, expected.normals, atol=5e-4)
    np.testing.assert_allclose(mesh.uv, expected.uv, atol=1e-7)


@pytest.mark.parametrize("size", [16, 33, 128])
def test_vertices_project_onto_their_pixels(size: int, compute: str) -> None:
    mesh = mesh_of(smooth_depth(size, 3), compute=compute)
    row, column = np.divmod(np.arange(size * size), size)
    pixels = np.stack([column, row, np.ones_like(row)], axis=1) @ image_from_crop(CROP, size).T
    np.testing.assert_allclose(project(mesh.vertices.astype(np.float64), CAMERA), pixels, atol=1e-3)


def rays(size: int) -> Array:
    row, column = np.divmod(np.arange(size * size), size)
    pixels = np.stack([column, row, np.ones_like(row)], axis=1) @ image_from_crop(CROP, size).T
    directions = np.stack([(pixels[:, 0] - CAMERA.cx) / CAMERA.fx, (pixels[:, 1] - CAMERA.cy) / CAMERA.fy])
    return np.vstack([directions, np.ones(size * size)]).T


def angles(a: Array, b: Array) -> Array:
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=1), -1, 1)))


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.6, 0.0), (-0.5, 0.8)])
def test_a_plane_has_its_normal_everywhere(tilt: tuple[float, float], compute: str) -> None:
    normal = np.array([*tilt, -1.0]) / np.linalg.norm([*tilt, -1.0])
    directions = rays(64)
    z = (normal[2] * DISTANCE) / (directions @ normal)
    mesh = mesh_of(((z - DISTANCE) / UNIT).astype(np.float32).reshape(64, 64), compute=compute)
    assert mesh.valid.all()
    assert len(mesh.triangles) == 2 * 63**2
    assert angles(mesh.normals, normal[None]).max() < 0.1


def test_a_sphere_has_radial_normals(compute: str) -> None:
    size, centre, radius = 128, np.array([20.0, 15.0, 700.0]), 100.0
    directions = rays(size)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = directions @ centre
    root = along**2 - centre @ centre + radius**2
    z = (along - np.sqrt(np.maximum(root, 0))) * directions[:, 2]
    depth = np.where(root > 0, (z - DISTANCE) / UNIT, 0).astype(np.float32).reshape(size, size)
    mesh = mesh_of(depth, (root > 0).astype(np.float32).reshape(size, size), compute=compute)
    radial = (mesh.vertices - centre) / radius
    slant = -(radial * directions).sum(axis=1)
    interior = mesh.valid & (slant > 0.5)
    assert interior.sum() > 2000
    np.testing.assert_allclose(np.linalg.norm(radial[interior], axis=1), 1, atol=1e-5)
    assert angles(mesh.normals[interior], radial[interior]).max() < 0.4
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((areas[:, None] * mesh.normals[mesh.triangles]).sum(axis=2) > 0).all()
    assert ((areas * corners[:, 0]).sum(axis=1) < 0).all()


def test_every_normal_faces_the_camera_on_rough_depth(compute: str) -> None:
    depth = np.random.default_rng(5).normal(0, 0.04, (40, 40)).astype(np.float32)
    mesh = mesh_of(depth, compute=compute)
    assert ((mesh.normals * mesh.vertices).sum(axis=1)[mesh.valid] < 0).all()


def test_no_triangle_crosses_a_jump(compute: str) -> None:
    depth = np.zeros((20, 20), np.float32)
    depth[:, 10:] = 0.1001
    mesh = mesh_of(depth, compute=compute)
    assert len(mesh.triangles) == 2 * 19 * 9 * 2
    # Normals at the edge come from one side only, so they stay those of the flat parts.
    np.testing.assert_allclose(mesh.normals[mesh.valid], [[0, 0, -1]] * 400, atol=1e-3)
    depth[:, 10:] = 0.0999
    assert len(mesh_of(depth, compute=compute).triangles) == 2 * 19**2
    assert len(mesh_of(depth, depth_jump=0.05, compute=compute).triangles) == 2 * 19 * 9 * 2


@pytest.mark.parametrize("corner", range(4))
def test_a_quad_with_one_bad_corner_gives_the_other_triangle(corner: int, compute: str) -> None:
    mask = np.ones((2, 2), np.float32)
    mask.flat[corner] = 0
    mesh = mesh_of(np.zeros((2, 2), np.float32), mask, compute=compute)
    assert sorted(mesh.triangles.ravel()) == [k for k in range(4) if k != corner]
    assert mesh.valid.tolist() == [k != corner for k in range(4)]


@pytest.mark.parametrize("size", [1, 2, 7])
def test_an_empty_mask_gives_an_empty_mesh(size: int, compute: str) -> None:
    mesh = mesh_of(*np.zeros((2, size, size), np.float32), compute=compute)
    check_invariants(mesh, size)
    assert mesh.triangles.shape == (0, 3)
    assert not mesh.valid.any()


def test_a_single_pixel_has_no_surface(compute: str) -> None:
    mesh = mesh_of(np.zeros((1, 1), np.float32), compute=compute)
    assert mesh.triangles.shape == (0, 3)
    assert not mesh.valid.any()


def test_reused_buffers_give_the_same_mesh(compute: str) -> None:
    buffers = grid_buffers(31)
    for array in astuple(buffers):
        array.view(np.uint8).fill(1 if array.dtype == np.bool_ else 0xFF)
    for seed in range(3):
        depth = smooth_depth(31, seed)
        mask = (np.random.default_rng(seed).random((31, 31)) > 0.1).astype(np.float32)
        fresh, reused = (mesh_of(depth, mask, out=out, compute=compute) for out in (None, buffers))
        assert np.shares_memory(reused.triangles, buffers.triangles)
        for a, b in zip(astuple(fresh), astuple(reused), strict=True):
            np.testing.assert_array_equal(a, b)


def test_read_only_and_strided_maps_are_taken(compute: str) -> None:
    wide = np.repeat(smooth_depth(16, 1), 2, axis=1)
    depth = wide[:, ::2]
    fixed = depth.copy()
    fixed.setflags(write=False)
    meshes = [mesh_of(given, compute=compute) for given in (depth, fixed)]
    np.testing.assert_array_equal(meshes[0].vertices, meshes[1].vertices)


def test_two_threads_at_once_get_what_each_would_alone() -> None:
    depths = [smooth_depth(96, seed) for seed in (1, 2)]
    alone = [mesh_of(depth) for depth in depths]
    results: list[list[GridMesh]] = [[], []]
    barrier = threading.Barrier(2)

    def work(which: int) -> None:
        barrier.wait()
        results[which] = [mesh_of(depths[which]) for _ in range(60)]

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for expected, found in zip(alone, results, strict=True):
        assert len(found) == 60
        for mesh in found:
            np.testing.assert_array_equal(mesh.triangles, expected.triangles)
            np.testing.assert_array_equal(mesh.normals, expected.normals)


FLAT = np.zeros((4, 4), np.float32)


@pytest.mark.parametrize(
    ("depth", "mask"),
    [
        (FLAT.astype(np.float64), FLAT),
        (FLAT, FLAT.astype(bool)),
        (FLAT[:3], FLAT[:3]),
        (FLAT, np.zeros((5, 5), np.float32)),
        (FLAT[None], FLAT[None]),
        (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32)),
        (FLAT.tolist(), FLAT),
        (np.broadcast_to(np.float32(0), (4096, 4096)),) * 2,
    ],
)
def test_wrong_maps_are_refused(depth: Array, mask: Array) -> None:
    with pytest.raises(InputError):
        depth_to_mesh(depth, mask, np.eye(3)[:2], 700, 700, 1, 1, 600, 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_from_crop": np.eye(3)},
        {"image_from_crop": np.full((2, 3), np.nan)},
        {"image_from_crop": np.array([[1.0, 0, 0], [0, -1.0, 0]])},
        {"image_from_crop": np.array([[1.0, 0, 1e9], [0, 1.0, 0]])},
        {"fx": 0.0},
        {"fy": -700.0},
        {"cx": np.nan},
        {"cy": np.inf},
        {"distance": np.nan},
        {"distance": -600.0},
        {"distance": 1e9},
        {"mm_per_unit": 0.0},
        {"mask_threshold": 1.5},
        {"mask_threshold": np.nan},
        {"depth_jump": 0.0},
        {"depth_jump": np.nan},
    ],
)
def test_wrong_parameters_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        mesh_of(FLAT, **changes)


def test_wrong_buffers_are_refused() -> None:
    good = grid_buffers(4)
    frozen = good.uv.copy()
    frozen.setflags(write=False)
    for wrong in (
        grid_buffers(5),
        replace(good, vertices=good.vertices.astype(np.float64)),
        replace(good, triangles=good.triangles[:5]),
        replace(good, uv=frozen),
        replace(good, normals=np.empty((3, 16), np.float32).T),
    ):
        with pytest.raises(InputError, match="grid_buffers"):
            mesh_of(FLAT, out=wrong)
    with pytest.raises(InputError):
        grid_buffers(0)


@pytest.mark.skipif(why_no_driver() is None, reason="cuda can run here")
def test_an_unavailable_backend_is_named() -> None:
    with pytest.raises(BackendError, match="cuda"):
        mesh_of(FLAT, compute="cuda")
