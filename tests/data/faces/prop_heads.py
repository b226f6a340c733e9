"""Heads to draw props on: a tiny one made of an ellipsoid and a cylinder, and checks that all props share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stream.face
from stream.data.faces.head import EYES, HEAD, SKIN, HeadModel
from stream.data.faces.prop import CLOTHES_PART, GLASSES_PART, HAIR_PART, OCCLUDER_PART, Prop
from stream.data.faces.shapes import grid_triangles
from stream.data.shards import ICT
from stream.types import Array

RADII, MIDDLE = np.array([75.0, 110.0, 98.0]), np.array([0.0, 0.0, 62.0])


def tiny_head() -> tuple[HeadModel, Array]:
    """An ellipsoid on a neck that widens, about 7 mm between vertices, and (478, 3) landmarks on it."""
    polar, around = np.meshgrid(np.linspace(0.01, 2.7, 60), np.linspace(-np.pi, np.pi, 80), indexing="ij")
    ball = np.stack([np.sin(polar) * np.sin(around), -np.cos(polar), -np.sin(polar) * np.cos(around)], -1)
    ball = ball * RADII + MIDDLE
    height, angle = np.meshgrid(np.linspace(100, 220, 24), np.linspace(-np.pi, np.pi, 80), indexing="ij")
    radius = 55 + np.clip(height - 150, 0, None) * 0.7
    neck = np.stack([radius * np.sin(angle), height, 100 - radius * np.cos(angle)], -1)
    eyes = np.array([[-31.0, 0, 8], [-29, 0, 8], [-31, 2, 8], [31, 0, 8], [29, 0, 8], [31, 2, 8]])
    mean = np.concatenate([ball.reshape(-1, 3), neck.reshape(-1, 3), eyes]).astype(np.float32)
    front = ball.reshape(-1, 3)
    face = np.zeros(len(mean), bool)
    face[: len(front)] = (front[:, 2] < 55) & (front[:, 1] > -60)
    part = np.full(len(mean), HEAD, np.uint8)
    part[: len(front)], part[-len(eyes) :] = SKIN, EYES
    first = len(front)
    triangles = np.concatenate(
        [
            grid_triangles(60, 80),
            grid_triangles(24, 80) + first,
            np.array([[0, 1, 2], [3, 4, 5]], np.int32) + first + 24 * 80,
        ]
    ).astype(np.int32)
    names = ("jawOpen",)
    model = HeadModel(
        mean, np.zeros((1, mean.size), np.float32), 0, names, triangles[:, ::-1].copy(), part, face, ICT
    )
    places = (canonical_landmarks() - MIDDLE) / RADII
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    return model, (places * RADII + MIDDLE).astype(np.float32)


def canonical_landmarks() -> Array:
    """(478, 3) float32 mm, head frame: those of the head model that live capture uses."""
    with np.load(Path(stream.face.__file__).parent / "head_model.npz", allow_pickle=False) as data:
        return data["points"]


def assert_usable(prop: Prop, part: int) -> None:
    """Shapes, dtypes, finite values, unit normals and triangles in range, as `Prop` says."""
    count = len(prop.vertices)
    assert prop.vertices.shape == (count, 3)
    assert prop.normals.shape == (count, 3)
    assert prop.uv.shape == (count, 2)
    assert prop.triangles.ndim == 2
    assert prop.triangles.shape[1] == 3
    assert len(prop.triangles) > 0
    for field in (prop.vertices, prop.normals, prop.uv, prop.colour):
        assert field.dtype == np.float32
        assert np.isfinite(field).all()
    assert prop.triangles.dtype == np.int32
    assert prop.triangles.min() >= 0
    assert prop.triangles.max() < count
    used = np.unique(prop.triangles)
    lengths = np.linalg.norm(prop.normals[used], axis=1)
    # A vertex all of whose triangles have collapsed has no direction.
    assert (np.abs(lengths - 1) < 1e-3).mean() > 0.98
    assert prop.part == part
    assert part in (HAIR_PART, GLASSES_PART, CLOTHES_PART, OCCLUDER_PART)
    assert prop.colour.shape == (3,)
    assert prop.colour.min() >= 0
    assert prop.colour.max() <= 1
    if prop.picture is not None:
        assert prop.picture.dtype == np.uint8
        assert prop.picture.ndim == 3
        assert prop.picture.shape[2] == 3
    assert 0 <= prop.gloss <= 1


def assert_same(first: Prop, second: Prop) -> None:
    """Two draws are bit for bit the same."""
    for name in ("vertices", "normals", "uv", "triangles", "colour"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.picture is None) == (second.picture is None)
    if first.picture is not None and second.picture is not None:
        np.testing.assert_array_equal(first.picture, second.picture)
    assert (first.gloss, first.strands, first.stretch) == (second.gloss, second.strands, second.stretch)


def depth_inside(vertices: Array) -> float:
    """How deep (mm) the deepest of some vertices is in `tiny_head`'s ellipsoid, along its radius."""
    relative = (vertices - MIDDLE) / RADII
    inside = 1 - np.linalg.norm(relative, axis=1)
    return float((inside * RADII.min()).max())
