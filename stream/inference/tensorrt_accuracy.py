"""What an engine loses against float32 ONNX Runtime, and how much of that is let pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from stream.inference.engine import TensorSpec
from stream.types import Array

BOUNDS = {"fp16": 0.02, "int8": 0.25}
"""Largest `accuracy_loss` of an engine that is used, by its precision.

Measured in ONNX Runtime, which rounds as a GPU does, on `probe_inputs`: `depth` in float16 loses at most
0.0087 (a careless conversion 0.11), `depth-int8` made symmetric 0.17 against its own int8. So these bounds
find what is broken; whether a quantised network is good enough is decided where it is made.
"""

PROBES = 3


class Runnable(Protocol):
    """What is compared: any `stream.inference.engine.Engine`."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `stream.inference.engine.Engine.run`."""

    def close(self) -> None:
        """See `stream.inference.engine.Engine.close`."""


def probe_inputs(specs: Sequence[TensorSpec]) -> list[dict[str, Array]]:
    """Deterministic inputs for pinned ``specs``: drawn faces where an input looks like pictures, else noise.

    Pictures are (N, 3, H, W) in [-1, 1]; noise is uniform in [-1, 1], which in integers is 0. Networks that
    know faces answer to noise with figures that say nothing of how they do on faces.
    """
    return [
        {spec.name: _probe(spec, np.random.default_rng(seed), seed) for spec in specs}
        for seed in range(PROBES)
    ]


def accuracy_loss(
    engine: Runnable, reference: Runnable, inputs: Sequence[Mapping[str, Array]]
) -> dict[str, float]:
    """For each output of ``reference`` the largest relative RMS error over ``inputs``.

    RMS of the difference over RMS of the reference; infinite where ``engine`` gives values that are not
    finite (and the reference does not) or lacks the output.
    """
    worst: dict[str, float] = {}
    for values in inputs:
        found, expected = engine.run(values), reference.run(values)
        for name, exact in expected.items():
            loss = _relative(found[name], exact) if name in found else float("inf")
            worst[name] = max(worst.get(name, 0.0), loss)
    return worst


def too_lossy(loss: Mapping[str, float], precision: str) -> str | None:
    """Why an engine of this precision is not to be used, as a clause; ``None`` where it may be."""
    bound = BOUNDS.get(precision)
    if bound is None or not loss:
        return None
    name = max(loss, key=lambda key: loss[key])
    if loss[name] <= bound:
        return None
    return f"{precision} changes the output {name!r} by {loss[name]:.2%} RMS, and at most {bound:.0%} may be"


def _relative(found: Array, exact: Array) -> float:
    found, exact = found.astype(np.float64), exact.astype(np.float64)
    same = (found == exact) | (np.isnan(found) & np.isnan(exact))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, found - exact)
    if not np.isfinite(difference).all():
        return float("inf")
    size = np.sqrt(np.mean(np.square(exact[np.isfinite(exact)]))) if np.isfinite(exact).any() else 0.0
    error = float(np.sqrt(np.mean(np.square(difference))))
    return 0.0 if error == 0.0 else error / max(float(size), 1e-30)


def _probe(spec: TensorSpec, rng: np.random.Generator, seed: int) -> Array:
    shape = tuple(axis or 1 for axis in spec.shape)
    if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) >= 8:
        pictures = [_face(shape[2], shape[3], rng, seed + index) for index in range(shape[0])]
        return np.stack(pictures).astype(spec.dtype)
    return rng.uniform(-1.0, 1.0, shape).astype(spec.dtype)


def _face(height: int, width: int, rng: np.random.Generator, seed: int) -> Array:
    """(3, height, width) in [-1, 1]: a lit head with hair, eyes, nose, mouth and shoulders before a wall."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    turn, light = 0.12 * (seed % 3 - 1), (-0.5, 0.2, 0.6)[seed % 3]
    wall = np.array([0.1, 0.15, 0.2])[:, None, None] * (1.0 + 0.5 * x * light)
    body = _edge(1.0 - (x / 1.1) ** 2 - ((y - 1.25) / 0.6) ** 2)
    wall = wall * (1.0 - body) + np.array([0.25, 0.3, 0.45])[:, None, None] * (1.0 - 0.4 * x * light) * body
    x = x - turn
    inside = 1.0 - (x / 0.62) ** 2 - (y / 0.82) ** 2
    bulge = np.sqrt(np.clip(inside, 0.0, 1.0)) + 0.25 * _blob(x + turn * 0.5, y - 0.12, 0.1, 0.22)
    slope_y, slope_x = np.gradient(bulge, 2 / height, 2 / width)
    shade = (1.0 - light * slope_x + 0.3 * slope_y) / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    skin = np.array([0.78, 0.58, 0.48])[:, None, None] * np.clip(0.35 + 0.65 * shade, 0.05, 1.2)
    for side in (-1, 1):
        skin = skin * (1.0 - 0.85 * _blob(x - side * 0.25, y + 0.12, 0.09, 0.045))
        skin = skin * (1.0 - 0.6 * _blob(x - side * 0.25, y + 0.27, 0.13, 0.03))
    skin = skin * (1.0 - np.array([0.3, 0.65, 0.6])[:, None, None] * _blob(x, y - 0.42, 0.2, 0.06))
    skin = skin * (1.0 - 0.8 * _edge(0.2 * x**2 - 0.48 - y))
    cover = _edge(inside)
    picture = wall * (1.0 - cover) + skin * cover + rng.normal(0.0, 0.01, (3, height, width))
    return np.clip(picture * 2.0 - 1.0, -1.0, 1.0)


def _edge(value: Array) -> Array:
    """1 where ``value`` is positive, 0 where negative, with a soft step between."""
    cover: Array = 1.0 / (1.0 + np.exp(-40.0 * np.clip(value, -10.0, 10.0)))
    return cover


def _blob(x: Array, y: Array, wide: float, high: float) -> Array:
    value: Array = np.exp(-((x / wide) ** 2) - (y / high) ** 2)
    return value
