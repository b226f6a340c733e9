"""Moving faces for the tests of the mesh protocol, and its mesh messages read by docs/protocol.md alone."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import zstandard
from mesh.mesh_samples import sample_face

from stream.types import Array, Face, Surface

START = 1_800_000_000_000_000
"""A capture time, microseconds since 1970."""


class Shot(NamedTuple):
    """One frame to send."""

    face: Face
    surface: Surface
    index: int  # type: ignore[assignment]
    captured: int


def moving_shots(count: int, size: int = 32, speed: float = 0.02, seed: int = 0) -> list[Shot]:
    """A head with a nose that wanders, under sensor noise that is new in every frame; at 30 fps.

    :param speed: crop units per frame; 0 is a still scene without noise.
    """
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[0:size, 0:size] * 2 + 1) / size - 1
    shots = []
    for index in range(count):
        nose = speed * index
        depth = 0.5 * (x**2 + 0.6 * y**2) - 0.2 * np.exp(-((x - nose) ** 2 + y**2) / 0.03)
        depth += rng.normal(0, 0.002 if speed else 0, depth.shape)
        mask = x**2 / 0.5 + y**2 / 0.8 < 1
        face = sample_face(track_id=7)
        face.pose[:3, 3] = 10 + index, -20, 600 + index
        surface = Surface(depth.astype(np.float32), mask.astype(np.float32))
        shots.append(Shot(face, surface, index, START + index * 100_000 // 3))
    return shots


@cache
def real_shots(count: int = 90) -> list[Shot]:
    """The sample clip as it is captured, frame by frame at its own 29.97 fps."""
    from stream.evaluation.keep import KeepCaptures
    from stream.recipes import CaptureSettings
    from stream.session import Session
    from stream.sources.sample import SampleSource

    keep = KeepCaptures("surface")
    Session(SampleSource(fast=True), [keep], CaptureSettings(), frames=count, settle=False).run()
    shots = []
    for capture in keep.captures:
        (person,), index = capture.people, capture.frame.index
        assert person.surface is not None
        shots.append(Shot(person.face, person.surface, index, START + round(index * 1e6 / 29.97)))
    return shots


def as_noise(shot: Shot, seed: int) -> Shot:
    """The same frame with depths that nothing can predict: its message is as long as one can be."""
    depth = np.random.default_rng(seed).uniform(-1, 1, shot.surface.depth.shape).astype(np.float32)
    return shot._replace(surface=Surface(depth, np.ones_like(depth)))


class Written(NamedTuple):
    """A mesh message as docs/protocol.md writes it."""

    bits: int
    key: bool
    size: int
    index: int  # type: ignore[assignment]
    reference: int
    captured: int
    track: int
    floats: dict[str, Any]
    levels: Array
    depth: Array


def read_by_the_book(body: bytes, references: dict[int, Array]) -> Written:
    """Decode with numpy and the document only.

    :param references: levels (S, S) of key frames by sequence.
    """
    bits, flags, size, index, reference = struct.unpack_from("<BBHII", body, 0)
    captured, track = struct.unpack_from("<QI", body, 12)
    names = ("low", "high", "jump", "fx", "fy", "cx", "cy")
    floats: dict[str, Any] = dict(zip(names, struct.unpack_from("<7f", body, 24), strict=True))
    floats["width"], floats["height"] = struct.unpack_from("<2H", body, 52)
    floats |= dict(zip(("x", "y", "half", "angle"), struct.unpack_from("<4f", body, 56), strict=True))
    floats["pose"] = np.array(struct.unpack_from("<12f", body, 72)).reshape(3, 4)
    content = zstandard.ZstdDecompressor().decompress(body[120:])
    assert len(content) == 2 * size**2
    planes = np.frombuffer(content, np.uint8).astype(np.int64)
    code = planes[: size**2] + 256 * planes[size**2 :]
    residual = np.where(code % 2 == 0, code // 2, -(code + 1) // 2).reshape(size, size)
    total = residual.cumsum(0).cumsum(1)
    levels = (total + (references[reference] if reference else 0)) % 2**bits
    low, high = floats["low"], floats["high"]
    depth = np.where(levels > 0, low + (levels - 1) * (high - low) / (2**bits - 2), np.nan)
    return Written(bits, bool(flags & 1), size, index, reference, captured, track, floats, levels, depth)
