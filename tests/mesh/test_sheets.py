"""No sheets: a step, a hand and a strand of hair in a synthetic head."""

import numpy as np
import pytest
from mesh.mesh_samples import CAMERA, CROP, DISTANCE, coordinates, dome, sample_face, sample_frame

from stream.compute.depth_to_mesh import depth_to_mesh
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.mesh.build import build_mesh
from stream.types import Depth, Mesh

UNIT = mm_per_crop_unit(CROP, CAMERA, DISTANCE)

GRAZING = 0.1
"""Cosine between a triangle's normal and the line of sight (84 degrees) below which it may be a sheet."""

LONG = 4.0
"""Pixels of the depth map that a sheet's triangle is at least long."""


def sheet_share(mesh: Mesh, pixel_mm: float) -> float:
    """Share of the mesh's area that is sheet, 0..1; 0 for an empty mesh.

    A triangle is one if the cosine between its normal and the ray from the camera to its middle is below
    `GRAZING` and its longest side is over `LONG` pixels. A camera cannot have seen such a triangle: it was
    spanned between a near and a far surface. A smooth head has next to none, since at its silhouette it is
    that steep for a small part of a pixel only.

    :param mesh: in the camera frame, mm.
    :param pixel_mm: the side of a depth map's pixel at the face's distance.
    """
    corners = mesh.vertices[mesh.triangles].astype(np.float64)
    sides = corners - np.roll(corners, 1, axis=1)
    normals = np.cross(sides[:, 0], sides[:, 1])
    doubled = np.linalg.norm(normals, axis=1)
    total = float(doubled.sum())
    if total == 0:
        return 0.0
    middles = corners.mean(axis=1)
    along = np.abs((normals * middles).sum(axis=1))
    grazing = along < GRAZING * doubled * np.linalg.norm(middles, axis=1)
    long = np.linalg.norm(sides, axis=2).max(axis=1) > LONG * pixel_mm
    return float(doubled[grazing & long].sum() / total)


def blur(values: np.ndarray, pixels: int) -> np.ndarray:
    """Box blur down the columns and along the rows, as a network smears a step."""
    for _ in range(2):
        padded = np.pad(values, ((pixels, pixels), (0, 0)), mode="edge")
        values = np.mean([padded[k : k + len(values)] for k in range(2 * pixels + 1)], axis=0).T
    return values


def hard_head(size: int) -> tuple[Depth, np.ndarray]:
    """A dome with shoulders 0.5 units behind it, a finger before it and a strand of hair beside it.

    Also returned: (size, size) bool, where the finger is.
    """
    x, y = coordinates(size)
    depth = 0.5 * (x**2 + y**2)
    depth[y > 0.55] = 1.0  # a collar, 10 cm behind the chin
    head = (x**2 + (0.8 * y) ** 2 < 0.6) | (y > 0.55)
    finger = (np.abs(x - 0.2) < 0.09) & (y > -0.3) & (y < 0.25)
    depth[finger] = -0.4
    strand = (np.abs(x + 0.9) < 1.1 / size) & (np.abs(y) < 0.6)
    depth[strand] = 0.9
    mask = (head | strand) & ~finger
    return Depth(blur(depth, size // 96).astype(np.float32), mask.astype(np.float32)), finger


def pixel(size: int) -> float:
    return 2 * UNIT / size


@pytest.mark.parametrize("size", [96, 128, 192])
def test_a_hard_head_has_next_to_no_sheets(size: int) -> None:
    depth, finger = hard_head(size)
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    assert sheet_share(mesh, pixel(size)) < 0.002
    # No triangle leads from the chin to the collar, half a crop unit behind it.
    spans = np.ptp(mesh.vertices[mesh.triangles][..., 2], axis=1)
    assert spans.max() < 0.2 * UNIT
    valid = mesh.valid.reshape(size, size)
    assert not valid[finger].any()
    x, y = coordinates(size)
    assert not valid[(x < -0.85) & (y < 0.4)].any()
    assert valid[~finger & (depth.mask > 0) & (np.abs(x) < 0.6)].mean() > 0.9


@pytest.mark.parametrize("size", [96, 192])
def test_the_measure_finds_the_sheets_of_a_plain_mesh(size: int) -> None:
    depth, _ = hard_head(size)
    grid = depth_to_mesh(
        depth.map,
        depth.mask,
        image_from_crop(CROP, size),
        CAMERA.fx,
        CAMERA.fy,
        CAMERA.cx,
        CAMERA.cy,
        DISTANCE,
        UNIT,
        depth_jump=10.0,
    )
    plain = Mesh(
        grid.vertices, grid.normals, grid.uv, grid.triangles, grid.valid, np.zeros((4, 4, 3), np.uint8)
    )
    assert sheet_share(plain, pixel(size)) > 0.05


def test_the_share_is_that_of_the_area() -> None:
    """Two squares of 10 x 10 mm seen from ahead, one of 10 x 20 mm along the line of sight."""
    square = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 10, 0]], np.float32)
    away = np.array([[0, 0, 0], [0, 10, 0], [0, 0, 20], [0, 10, 20]], np.float32)
    ahead = np.array([0, 0, 500], np.float32)
    vertices = np.concatenate([square - [10, 0, 0], square, away]).astype(np.float32) + ahead
    quads = np.array([[0, 2, 1], [1, 2, 3]])
    triangles = np.concatenate([quads, quads + 4, quads + 8]).astype(np.int32)
    count = len(vertices)
    mesh = Mesh(
        vertices,
        np.tile(np.array([0, 0, -1], np.float32), (count, 1)),
        np.zeros((count, 2), np.float32),
        triangles,
        np.ones(count, bool),
        np.zeros((4, 4, 3), np.uint8),
    )
    assert sheet_share(mesh, 1.0) == pytest.approx(0.5)
    assert sheet_share(mesh, 10.0) == 0  # none is longer than 40 mm


def test_smooth_heads_and_empty_meshes_have_none() -> None:
    frame, face, depth = sample_frame(), sample_face(), dome(96)
    assert sheet_share(build_mesh(frame, face, depth), pixel(96)) == 0
    empty = build_mesh(frame, face, Depth(depth.map, depth.mask * 0))
    assert sheet_share(empty, 1.0) == 0
