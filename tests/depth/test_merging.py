"""Two-resolution merging: the base's form, the parts' detail, and nothing of a part that does not fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.depth.merging import CENTRES, ZOOM, estimate_merged, merge_parts, merged_size, part_crop
from stream.errors import InputError
from stream.geometry import image_from_crop, transform_points
from stream.types import Array, Crop, Depth

SIZE = 64
CROP = Crop(200.0, 150.0, 120.0, 0.3)


def form(x: Array, y: Array) -> Array:
    return 0.4 * x**2 + 0.3 * y**2 - 0.1 * x


def relief(x: Array, y: Array) -> Array:
    return 0.006 * np.sin(45 * x) * np.cos(40 * y)


def normals(p: Array, q: Array) -> Array:
    n = np.stack([p, q, -np.ones_like(p)], axis=-1)
    return (n / np.linalg.norm(n, axis=-1, keepdims=True)).astype(np.float32)


def axes(centre: tuple[float, float], reach: float, size: int = SIZE) -> tuple[Array, Array]:
    """Crop coordinates of the pixels of a part."""
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis * reach + centre[0], axis * reach + centre[1])
    return x, y


def base(with_normals: bool = True) -> Depth:
    x, y = axes((0, 0), 1)
    normal = normals(0.8 * x - 0.1, 0.6 * y) if with_normals else None
    return Depth(form(x, y).astype(np.float32), np.ones((SIZE, SIZE), np.float32), None, normal)


def part(
    centre: tuple[float, float], scale: float = 0.8, tilt: float = 0.3, with_normals: bool = True
) -> Depth:
    """What a network might say of a part: form and relief at another scale and tilt, in the part's units."""
    x, y = axes(centre, 1 / ZOOM)
    z = (form(x, y) + relief(x, y)) * scale + tilt * x + 0.2
    p = (0.8 * x - 0.1 + 0.27 * np.cos(45 * x) * np.cos(40 * y)) * scale + tilt
    q = (0.6 * y - 0.24 * np.sin(45 * x) * np.sin(40 * y)) * scale
    normal = normals(p, q) if with_normals else None
    return Depth((z * ZOOM).astype(np.float32), np.ones((SIZE, SIZE), np.float32), None, normal)


def middle(values: Array) -> Array:
    edge = values.shape[0] // 6
    return values[edge:-edge, edge:-edge]


def test_detail_is_added_whatever_the_parts_scale_offset_and_tilt() -> None:
    merged = merge_parts(base(), [(c, part(c, 0.7 + 0.1 * k, 0.1 * k)) for k, c in enumerate(CENTRES)])
    size = merged_size(SIZE)
    assert merged.map.shape == merged.mask.shape == (size, size)
    x, y = axes((0, 0), 1, size)
    found, wanted = merged.map - form(x, y), relief(x, y)
    assert np.corrcoef(middle(found).ravel(), middle(wanted).ravel())[0, 1] > 0.95
    assert 0.8 < middle(found).std() / middle(wanted).std() < 1.1
    # Nothing coarse moves.
    assert abs(middle(found).mean()) < 2e-4
    # Normals get it too.
    assert merged.normal is not None
    p = -merged.normal[..., 0] / merged.normal[..., 2] - (0.8 * x - 0.1)
    slope = 0.27 * np.cos(45 * x) * np.cos(40 * y)
    assert np.corrcoef(middle(p).ravel(), middle(slope).ravel())[0, 1] > 0.95
    np.testing.assert_allclose(np.linalg.norm(merged.normal, axis=-1), 1, atol=1e-5)


def test_parts_that_agree_with_the_base_change_nothing() -> None:
    whole = base(with_normals=False)
    parts = []
    for centre in CENTRES:
        x, y = axes(centre, 1 / ZOOM)
        parts.append(
            (centre, Depth((form(x, y) * ZOOM).astype(np.float32), np.ones((SIZE, SIZE), np.float32)))
        )
    merged, alone = merge_parts(whole, parts), merge_parts(whole, [])
    np.testing.assert_allclose(merged.map, alone.map, atol=5e-4)
    assert merged.normal is None


def test_a_part_that_shows_another_shape_adds_nothing() -> None:
    random = np.random.default_rng(0)
    rough = np.kron(random.normal(0, 0.5, (8, 8)), np.ones((8, 8))).astype(np.float32)
    inside_out = part(CENTRES[0], with_normals=False)
    for wrong in (rough, -inside_out.map, np.full((SIZE, SIZE), np.nan, np.float32)):
        depth = Depth(wrong, np.ones((SIZE, SIZE), np.float32))
        merged = merge_parts(base(False), [(CENTRES[0], depth)])
        np.testing.assert_array_equal(merged.map, merge_parts(base(False), []).map)


def test_a_part_without_head_adds_nothing() -> None:
    empty = Depth(part(CENTRES[1]).map, np.zeros((SIZE, SIZE), np.float32))
    merged = merge_parts(base(), [(CENTRES[1], empty)])
    np.testing.assert_array_equal(merged.map, merge_parts(base(), []).map)


def test_a_step_only_the_part_sees_is_not_taken_for_detail() -> None:
    whole, centre = base(False), CENTRES[0]
    seen = part(centre, 1.0, 0.0, with_normals=False)
    seen.map[20:28, 20:28] -= 0.3 * ZOOM
    merged, alone = merge_parts(whole, [(centre, seen)]), merge_parts(whole, [])
    assert np.abs(merged.map - alone.map).max() < 0.03


def test_mask_and_confidence_are_the_bases() -> None:
    whole = base()
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[16:48, 16:48] = 1
    depth = Depth(whole.map, mask, mask * np.float32(0.5), whole.normal)
    merged = merge_parts(depth, [(c, part(c)) for c in CENTRES])
    size = merged_size(SIZE)
    assert merged.confidence is not None
    assert merged.mask.min() >= 0
    assert merged.mask.max() <= 1
    assert merged.mask[size // 2, size // 2] == pytest.approx(1, abs=1e-6)
    assert merged.confidence[size // 2, size // 2] == pytest.approx(0.5, abs=1e-6)
    assert merged.mask[2, 2] == merged.confidence[2, 2] == 0
    # Off the head nothing is added.
    off = merged.mask < 0.3
    np.testing.assert_array_equal(merged.map[off], merge_parts(depth, []).map[off])


def test_parts_lie_where_they_should() -> None:
    """A point of the part's own coordinates and of the whole's are one point of the image."""
    for centre in CENTRES:
        small = part_crop(CROP, centre)
        own = np.array([[10.0, 50.0], [31.5, 31.5]])
        crop_units = ((2 * own + 1) / SIZE - 1) / ZOOM + centre
        whole = ((crop_units + 1) * SIZE - 1) / 2
        np.testing.assert_allclose(
            transform_points(image_from_crop(small, SIZE), own),
            transform_points(image_from_crop(CROP, SIZE), whole),
            atol=1e-9,
        )
    covered = [max(abs(c[k]) + 1 / ZOOM for c in CENTRES) for k in (0, 1)]
    assert covered == pytest.approx([1, 1])


def test_five_looks_at_a_large_picture_and_one_at_a_small() -> None:
    seen: list[Crop] = []

    def estimate(crop: Crop) -> Depth:
        seen.append(crop)
        return base()

    assert estimate_merged(estimate, CROP).map.shape[0] == merged_size(SIZE)
    assert [round(crop.half, 6) for crop in seen] == [120.0, *[round(120 / ZOOM, 6)] * 4]
    assert all(math.isclose(crop.angle, 0.3) for crop in seen)
    seen.clear()
    small = Crop(50.0, 50.0, SIZE / 2, 0.0)
    assert estimate_merged(estimate, small).map.shape[0] == SIZE
    assert seen == [small]


@pytest.mark.parametrize(
    "depth",
    [
        Depth(np.zeros((4, 5), np.float32), np.zeros((4, 5), np.float32)),
        Depth(np.zeros((4, 4), np.float32), np.zeros((5, 5), np.float32)),
        Depth(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32), np.zeros((3, 3), np.float32)),
        Depth(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32), None, np.zeros((4, 4), np.float32)),
    ],
)
def test_bad_input_is_refused(depth: Depth) -> None:
    with pytest.raises(InputError):
        merge_parts(depth, [])
    with pytest.raises(InputError):
        merge_parts(base(), [(CENTRES[0], depth)])
