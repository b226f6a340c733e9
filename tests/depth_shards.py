"""Tiny shards of procedural bumps, for tests of everything that reads the depth dataset.

A sample is a hemisphere-like bump over a plane at a random place: its picture is its own Lambert shading,
so that depth along the line of sight can be learnt from it; normals come from the closed form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.data.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, SKIN
from stream.depth.slopes import normals_from_slopes

DISTANCE, FOCAL = 600.0, 5000.0
"""A far camera: mm to the eye plane, pixels."""


def camera_of(sight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop (4,) and camera (4,) float32 with this line of sight."""
    crop = np.array([320 + sight[0] * FOCAL, 240 + sight[1] * FOCAL, 100.0, 0.0], np.float32)
    return crop, np.array([FOCAL, FOCAL, 320, 240], np.float32)


def bump_arrays(count: int, size: int, seed: int, with_mean: bool = False) -> dict[str, np.ndarray]:
    """The arrays of one shard; every fourth sample is called a photo."""
    rng = np.random.default_rng(seed)
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    keys = (
        "image", "depth", "normal", "flags", "sight", "crop", "camera", "landmarks", "identity", "expression",
        "mean_depth",
    )  # fmt: skip
    samples: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for _ in range(count):
        cx, cy = rng.uniform(-0.2, 0.2, 2)
        radius, height = rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.7)
        sight = rng.uniform(-0.2, 0.2, 2)
        r2 = ((x - cx) ** 2 + (y - cy) ** 2) / radius**2
        inside = r2 < 1
        depth = np.where(inside, -height * (1 - r2) ** 2 + 0.3, 0)
        slope = 4 * height * (1 - r2) / radius**2
        seen = np.stack([slope * (x - cx), slope * (y - cy), -np.ones_like(x)], axis=-1)
        light = np.clip(_unit(seen) @ np.array([-0.3, -0.4, -0.87]), 0, 1)
        picture = np.where(inside[..., None], light[..., None] * [230, 190, 170], [30, 60, 120])
        flags = np.full((size, size), MASK_KNOWN) + inside * (DEPTH_KNOWN | FOREGROUND)
        samples["image"].append(picture.astype(np.uint8))
        tilted = np.where(inside, depth - sight[0] * x - sight[1] * (y + 0.055), 0)
        crop, camera = camera_of(sight)
        slopes = (seen[..., :2] - sight)[None]
        normal = normals_from_slopes(slopes, tilted[None], crop[None], camera[None], np.array([DISTANCE]))[0]
        samples["crop"].append(crop)
        samples["camera"].append(camera)
        samples["landmarks"].append(rng.uniform(-0.5, 0.5, (478, 2)).astype(np.float32))
        samples["identity"].append(rng.normal(0, 1, 64).astype(np.float32))
        samples["expression"].append(rng.uniform(0, 1, 52).astype(np.float32))
        samples["sight"].append(sight.astype(np.float32))
        samples["depth"].append(tilted.astype(np.float16))
        samples["normal"].append(np.round(normal * 127 * inside[..., None]).astype(np.int8))
        samples["flags"].append((flags + (r2 < 0.5) * SKIN).astype(np.uint8))
        samples["mean_depth"].append(np.where(r2 < 0.7, tilted + 0.1, np.nan).astype(np.float16))
    arrays = {key: np.stack(value) for key, value in samples.items()}
    if not with_mean:
        del arrays["mean_depth"]
    arrays["kind"] = (np.arange(count) % 4 == 3).astype(np.uint8)
    arrays["topology"] = (np.arange(count) % 2).astype(np.uint8)
    arrays["tone"] = (np.arange(count) % 7).astype(np.uint8)
    arrays["yaw"] = rng.uniform(-60, 60, count).astype(np.float32)
    arrays["pitch"] = rng.uniform(-30, 30, count).astype(np.float32)
    arrays["distance"] = np.full(count, DISTANCE, np.float32)
    arrays["occlusion"] = rng.uniform(0, 0.5, count).astype(np.float32)
    return arrays


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write_dataset(folder: Path, size: int = 32, train: int = 16, val: int = 8) -> Path:
    """A folder with two training shards, one of validation and one of test."""
    folder.mkdir(parents=True, exist_ok=True)
    half = train // 2
    for index, count in enumerate((half, train - half)):
        np.savez(folder / f"train-{index:05d}.npz", **bump_arrays(count, size, index))
    np.savez(folder / "val-00000.npz", **bump_arrays(val, size, 100, with_mean=True))
    np.savez(folder / "test-00000.npz", **bump_arrays(val, size, 200, with_mean=True))
    return folder
