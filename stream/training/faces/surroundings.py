"""What is drawn with a head: which props, how often, in what colours."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from stream.types import Array

HAIR_COLOURS = (
    (0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.36, 0.24, 0.14), (0.55, 0.40, 0.24),
    (0.72, 0.58, 0.38), (0.45, 0.20, 0.10), (0.55, 0.54, 0.52), (0.80, 0.79, 0.77),
)  # fmt: skip


def draw_hair_colour(rng: Generator, photographed: Array) -> Array:
    """(3,) colour in 0..1: that of the photo's hair, or a natural one."""
    if rng.random() < 0.4:
        return np.clip(photographed * rng.uniform(0.8, 1.3), 0.02, 0.95)
    return np.clip(
        np.array(HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]) * rng.uniform(0.7, 1.4), 0.02, 0.95
    )


