"""depth_to_mesh_batch: device arrays and temporal smoothing too, against single maps and the definition."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from compute.places import every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.cuda.arrays import DeviceArray, empty, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.depth_to_mesh import GridMesh, depth_to_mesh
from stream.compute.depth_to_mesh_batch import (
    GridMeshBatch,
    buffer_shapes,
    depth_to_mesh_batch,
    mesh_buffers,
    strip_rows,
)
from stream.compute.grid_views import grid_views
from stream.errors import InputError
from stream.types import Array

DEVICE_PLACES = pytest.mark.parametrize("place", ["host", "cuda"])


def maps_of(maps: int, size: int, seed: int, broken: float = 0.02) -> tuple[Array, Array]:
    """Rolling surfaces with steps, noise, holes and values that are not finite or far away."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / max(size, 2)
    waves = rng.normal(0, 6, (maps, 1, 1)) * x + rng.normal(0, 6, (maps, 1, 1)) * y
    depth = 0.3 * np.sin(waves) + np.where(x + rng.normal(0, 0.3, (maps, 1, 1)) > y, 0.4, 0)
    depth += rng.normal(0, 0.02, (maps, size, size))
    bad = rng.choice([np.nan, np.inf, -np.inf, 3e38, -9, 5, 1e7], depth.shape)
    depth = np.where(rng.random(depth.shape) < broken, bad, depth).astype(np.float32)
    mask = (rng.random(depth.shape) > broken).astype(np.float32)
    mask[rng.random(depth.shape) < broken / 4] = np.nan
    return depth, mask


def views_of(maps: int, size: int) -> Array:
    """Cameras that differ from map to map, with turned crops, about a metre away."""
    n = np.arange(maps)
    turn, half = 0.3 * n, 90 + 7 * n
    step = 2 * half / size
    c, s = step * np.cos(turn), step * np.sin(turn)
    matrices = np.stack([np.stack([c, -s, 200 + 9.5 * n], -1), np.stack([s, c, 150 - 4 * n], -1)], 1)
    return grid_views(matrices, 700 + n, 690 - n, 319.5, 239.5, 900 + 60.0 * n, 100 + 3.0 * n)


def alone(depth: Array, mask: Array, view: Array) -> GridMesh:
    """One map's mesh by numba, whose own tests are in test_depth_to_mesh.py."""
    fx, fy, cx, cy, distance, unit = view[6:12].tolist()
    matrix = view[:6].reshape(2, 3)
    return depth_to_mesh(depth, mask, matrix, fx, fy, cx, cy, distance, unit, compute="numba")


def check_against_single_maps(meshes: GridMeshBatch, depth: Array, mask: Array, views: Array) -> None:
    """Triangles and validity are equal, places within 5e-4 mm a metre away, normals within rounding."""
    rounding = 5e-4 * max(1.0, depth.shape[1] / 128)
    for n, view in enumerate(views):
        one, count = alone(depth[n], mask[n], view), int(meshes.counts[n])
        np.testing.assert_array_equal(meshes.triangles[n][:count], one.triangles)
        np.testing.assert_array_equal(meshes.valid[n], one.valid)
        error = np.abs(meshes.vertices[n] - one.vertices)
        assert (error <= 5e-7 * np.maximum(one.vertices[:, 2:], view[10])).all()
        np.testing.assert_allclose(meshes.normals[n], one.normals, atol=rounding)
        if meshes.uv is not None:
            np.testing.assert_allclose(meshes.uv[n], one.uv, atol=1e-7)
        if meshes.draw is not None:
            assert meshes.draw[n].tolist() == [3 * count, 1, 0, 0, 0]


def downloaded(meshes: GridMeshBatch) -> GridMeshBatch:
    driver = current_driver()
    arrays = {f.name: getattr(meshes, f.name) for f in fields(meshes) if f.name != "scratch"}
    return GridMeshBatch(**{k: None if v is None else to_host(driver, v) for k, v in arrays.items()})


def uploaded(*arrays: Array) -> list[Any]:
    return [to_device(current_driver(), array) for array in arrays]


@every_place
@settings(max_examples=25, deadline=None, derandomize=True)
@given(maps=st.integers(1, 5), size=st.integers(1, 70), seed=st.integers(0, 10_000), broken=st.floats(0, 0.3))
def test_a_batch_equals_its_maps_one_by_one(
    place: str, maps: int, size: int, seed: int, broken: float
) -> None:
    depth, mask = maps_of(maps, size, seed, broken)
    views = views_of(maps, size)
    with place_for(place) as compute:
        check_against_single_maps(
            depth_to_mesh_batch(depth, mask, views, compute=compute), depth, mask, views
        )


@every_place
@pytest.mark.parametrize(("maps", "size"), [(2, 200), (3, 129), (1, 256), (1, 513), (1, 700)])
def test_many_strips_are_put_together(place: str, maps: int, size: int) -> None:
    assert strip_rows(size)[1] > 5
    depth, mask = maps_of(maps, size, size)
    views = views_of(maps, size)
    with place_for(place) as compute:
        check_against_single_maps(
            depth_to_mesh_batch(depth, mask, views, compute=compute), depth, mask, views
        )


@pytest.mark.parametrize("size", [*range(1, 130), 511, 512, 513, 1365, 2047, 2048])
def test_strips_cover_a_map_and_fit_the_kernel(size: int) -> None:
    rows, strips = strip_rows(size)
    assert (strips - 1) * rows < size <= strips * rows
    assert rows * size <= (2048 if size <= 512 else 4096)


@every_place
def test_maps_without_any_face_give_no_triangles(place: str) -> None:
    depth, mask = maps_of(3, 90, 1)
    mask[1], depth[2] = 0, np.nan
    views = views_of(3, 90)
    with place_for(place) as compute:
        meshes = depth_to_mesh_batch(depth, mask, views, compute=compute)
    assert meshes.counts[0] > 0
    assert meshes.counts.tolist()[1:] == [0, 0]
    assert not meshes.valid[1:].any()
    np.testing.assert_array_equal(meshes.normals[1:], np.broadcast_to([0, 0, -1], (2, 8100, 3)))
    assert np.isfinite(meshes.vertices).all()


@every_place
def test_wide_views_are_cut_at_the_same_reach(place: str) -> None:
    """A camera of 150 degrees: x and y leave the range before z does, at pixels the exact test decides."""
    size = 40
    matrix = np.array([[[2.0, 0, 0], [0, 2.0, 0]]])
    views = grid_views(matrix, 10.0, 10.0, 39.0, 39.0, 600.0, 100.0)
    rng = np.random.default_rng(0)
    depth = rng.uniform(900, 9990, (1, size, size)).astype(np.float32)
    depth[0, ::3] = np.float32((1 - 600) / 100) + rng.uniform(-1e-6, 1e-6, (14, size)).astype(np.float32)
    mask = np.ones_like(depth)
    with place_for(place) as compute:
        meshes = depth_to_mesh_batch(depth, mask, views, depth_jump=1e9, compute=compute)
    one = depth_to_mesh(
        depth[0], mask[0], matrix[0], 10.0, 10.0, 39.0, 39.0, 600.0, 100.0, depth_jump=1e9, compute="numba"
    )
    assert 0 < len(one.triangles) < 1500
    np.testing.assert_array_equal(meshes.triangles[0][: meshes.counts[0]], one.triangles)


@DEVICE_PLACES
def test_device_arrays_in_and_out(place: str) -> None:
    depth, mask = maps_of(4, 130, 11)
    views = views_of(4, 130)
    with place_for(place):
        d, m, v = uploaded(depth, mask, views)
        driver = current_driver()
        stream = driver.stream()
        driver.synchronize(driver.default_stream)
        meshes = depth_to_mesh_batch(d, m, v, stream=stream)
        driver.synchronize(stream)
        assert all(isinstance(getattr(meshes, f.name), DeviceArray) for f in fields(meshes))
        host = downloaded(meshes)
    check_against_single_maps(host, depth, mask, views)


@DEVICE_PLACES
def test_buffers_can_be_used_again_and_again(place: str) -> None:
    with place_for(place):
        buffers = mesh_buffers(2, 75, device=True)
        for seed in (1, 2, 1):
            depth, mask = maps_of(2, 75, seed, 0.1)
            views = views_of(2, 75)
            there, where = uploaded(depth, mask)
            out = depth_to_mesh_batch(there, where, views, out=buffers)
            assert out.vertices.pointer == buffers.vertices.pointer
            check_against_single_maps(downloaded(out), depth, mask, views)


@DEVICE_PLACES
def test_nothing_is_written_outside_the_buffers(place: str) -> None:
    """Buffers cut out of larger memory; what lies around them and behind the counted triangles stays."""
    maps, size, guard = 3, 50, 64
    depth, mask = maps_of(maps, size, 4, 0.1)
    views = views_of(maps, size)
    with place_for(place):
        driver = current_driver()
        parts: dict[str, Any] = {}
        wholes = {}
        for name, (shape, dtype) in buffer_shapes(maps, size).items():
            nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            whole = empty(driver, (nbytes + 2 * guard,), np.uint8)
            driver.fill(whole.pointer, 0xAB, whole.nbytes, driver.default_stream)
            parts[name] = DeviceArray(whole.pointer + guard, shape, np.dtype(dtype), whole)
            wholes[name] = whole
        there, where = uploaded(depth, mask)
        depth_to_mesh_batch(there, where, views, out=GridMeshBatch(**parts))
        filled = {name: to_host(driver, whole) for name, whole in wholes.items()}
        host = downloaded(GridMeshBatch(**parts))
    check_against_single_maps(host, depth, mask, views)
    for values in filled.values():
        assert (values[:guard] == 0xAB).all()
        assert (values[-guard:] == 0xAB).all()
    for n in range(maps):
        assert (host.triangles[n][host.counts[n] :].view(np.uint8) == 0xAB).all()


@every_place
def test_uv_and_draw_can_be_left_out(place: str) -> None:
    depth, mask = maps_of(2, 20, 4)
    views = views_of(2, 20)
    with place_for(place) as compute:
        buffers = mesh_buffers(2, 20, uv=False, draw=False)
        meshes = depth_to_mesh_batch(depth, mask, views, out=buffers, compute=compute)
        assert meshes.uv is None
        assert meshes.draw is None
        assert np.shares_memory(meshes.vertices, buffers.vertices)
        check_against_single_maps(meshes, depth, mask, views)
        if compute == "cuda":
            buffers = mesh_buffers(2, 20, device=True, uv=False, draw=False)
            there, where = uploaded(depth, mask)
            meshes = downloaded(depth_to_mesh_batch(there, where, views, out=buffers))
            assert meshes.uv is None
            check_against_single_maps(meshes, depth, mask, views)


GOOD = maps_of(2, 8, 0)
VIEWS = views_of(2, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": GOOD[0][0]},
        {"depth": GOOD[0].astype(np.float64)},
        {"depth": GOOD[0][:0], "mask": GOOD[1][:0], "views": VIEWS[:0]},
        {"depth": GOOD[0][:, :4]},
        {"depth": GOOD[0][:, :0, :0], "mask": GOOD[1][:, :0, :0]},
        {"depth": np.broadcast_to(np.float32(0), (1, 4096, 4096)), "views": VIEWS[:1]},
        {"mask": GOOD[1][:1]},
        {"mask": GOOD[1].tolist()},
        {"views": VIEWS[:1]},
        {"views": VIEWS.astype(np.float32)},
        {"views": np.where(np.arange(12) == 6, 0, VIEWS)},
        {"views": np.where(np.arange(12) == 10, np.nan, VIEWS)},
        {"views": np.where(np.arange(12) == 10, 1e9, VIEWS)},
        {"views": np.where(np.arange(12) == 0, -1, VIEWS)},
        {"views": np.where(np.arange(12) == 2, 1e9, VIEWS)},
        {"mask_threshold": 2.0},
        {"depth_jump": np.nan},
        {"out": mesh_buffers(2, 9)},
        {"out": replace(mesh_buffers(2, 8), counts=None)},
        {"out": replace(mesh_buffers(2, 8), counts=np.zeros(2, np.int64))},
        {"out": replace(mesh_buffers(2, 8), normals=np.zeros((3, 64, 2), np.float32).T)},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    arguments = {"depth": GOOD[0], "mask": GOOD[1], "views": VIEWS} | changes
    with pytest.raises(InputError):
        depth_to_mesh_batch(**arguments, compute="numba")


@pytest.mark.parametrize(("maps", "size"), [(0, 8), (5000, 8), (2, 0), (2, 4096)])
def test_buffers_of_no_use_are_refused(maps: int, size: int) -> None:
    with pytest.raises(InputError):
        mesh_buffers(maps, size)


@pytest.mark.parametrize(
    ("matrices", "fx"),
    [(np.eye(3)[None], 700), (np.eye(3)[:2], 700), (VIEWS[:, :6].reshape(2, 2, 3), [1, 2, 3]), ("no", 700)],
)
def test_cameras_of_wrong_shapes_are_refused(matrices: Any, fx: Any) -> None:
    with pytest.raises(InputError):
        grid_views(matrices, fx, 700, 4, 4, 600, 100)


@DEVICE_PLACES
def test_host_and_device_do_not_mix(place: str) -> None:
    with place_for(place) as compute:
        depth, mask, views = uploaded(*GOOD, VIEWS)
        with pytest.raises(InputError):
            depth_to_mesh_batch(depth, GOOD[1], VIEWS)
        with pytest.raises(InputError):
            depth_to_mesh_batch(*GOOD, VIEWS, out=mesh_buffers(2, 8, device=True), compute=compute)
        with pytest.raises(InputError):
            depth_to_mesh_batch(*GOOD, views, compute=compute)
        out = replace(mesh_buffers(2, 8, device=True), scratch=None)
        with pytest.raises(InputError, match="scratch"):
            depth_to_mesh_batch(depth, mask, VIEWS, out=out)
