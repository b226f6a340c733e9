"""A single picture's capture as plain arrays (.npz), for programs and for measuring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.compute.depth_to_mesh import MASK_THRESHOLD
from stream.errors import FaceError
from stream.face.crop import paste_crop
from stream.files import atomic_path
from stream.geometry import camera_matrix, image_from_crop, transform_points
from stream.types import Array, Capture, Crop, Depth


def capture_arrays(capture: Capture) -> dict[str, Array]:
    """The first face of a capture in the input picture's own coordinates.

    ``depth`` (H, W) float32, aligned to the picture, in picture pixels (crop units times half the crop's
    width), larger is farther, 0 at the eye centres' plane, NaN outside the head; ``mask`` (H, W) float32 in
    0..1; ``vertices`` (N, 3) float32: x, y in picture pixels, z in the same unit and sense as ``depth``;
    ``faces`` (M, 3) int32 into ``vertices``; ``landmarks`` (478, 3) float32; ``pose`` (4, 4) head to camera,
    millimetres; ``intrinsics`` (3, 3) camera matrix. Where the network gives them, ``confidence`` (H, W)
    float32 in 0..1, and ``normals`` (H, W, 3) float32, unit, of the surface that ``depth`` describes (x
    right, y down, z away from the camera); both are 0 outside the crop.

    :raises FaceError: the capture has no face.
    """
    if not capture.people or capture.people[0].depth is None or capture.people[0].mesh is None:
        raise FaceError("There is no face in this capture; nothing can be written.")
    face, depth, mesh = capture.people[0].face, capture.people[0].depth, capture.people[0].mesh
    height, width = capture.frame.image.shape[:2]
    mask = paste_crop(depth.mask, face.crop, width, height)
    # The mask alone says where the head ends; a border of 0 would bend the depth at the crop's edge.
    pasted = paste_crop(depth.map, face.crop, width, height, border=None) * np.float32(face.crop.half)
    vertices, faces = picture_mesh(depth, face.crop, mesh.triangles)
    maps = {}
    if depth.confidence is not None:
        maps["confidence"] = paste_crop(depth.confidence, face.crop, width, height)
    if depth.normal is not None:
        maps["normals"] = _picture_normals(depth.normal, face.crop, width, height)
    return {
        "depth": np.where(mask >= MASK_THRESHOLD, pasted, np.float32(np.nan)),
        "mask": mask,
        **maps,
        "vertices": vertices,
        "faces": faces,
        "landmarks": face.landmarks,
        "pose": face.pose,
        "intrinsics": camera_matrix(face.intrinsics),
    }


def _picture_normals(normal: Array, crop: Crop, width: int, height: int) -> Array:
    """Normals (S, S, 3) over a crop as (height, width, 3) over its picture, turned with it; 0 outside."""
    turn = np.eye(3, dtype=np.float32)
    turn[:2, :2] = image_from_crop(crop, 2)[:, :2] / crop.half
    pasted = paste_crop(normal @ turn.T, crop, width, height)
    length = np.linalg.norm(pasted, axis=2, keepdims=True)
    # At the crop's border normals fade into the 0 outside; what is left of them keeps its direction.
    return np.where(length > 0, pasted / np.maximum(length, np.float32(1e-6)), 0).astype(np.float32)


def picture_mesh(depth: Depth, crop: Crop, triangles: Array) -> tuple[Array, Array]:
    """Used grid vertices (N, 3) float32 in picture pixels, and triangles (M, 3) int32 renumbered to them."""
    size = depth.map.shape[0]
    used, faces = np.unique(triangles, return_inverse=True)
    rows, columns = np.divmod(used, size)
    grid = np.stack([columns, rows], axis=1).astype(np.float64)
    xy = transform_points(image_from_crop(crop, size), grid)
    z = depth.map.ravel()[used] * crop.half
    return np.column_stack([xy, z]).astype(np.float32), faces.reshape(-1, 3).astype(np.int32)


def write_arrays(capture: Capture, path: Path) -> None:
    """Write `capture_arrays` as a compressed .npz; the file appears whole or not at all.

    :raises FaceError: the capture has no face.
    :raises OutputError: the file cannot be written.
    """
    arrays = capture_arrays(capture)
    # As an open file, for numpy would add .npz to a name like X.NPZ.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
