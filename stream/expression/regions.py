"""How much each landmark of the skin counts when expressions are solved."""

from __future__ import annotations

import numpy as np

from stream.types import Array

SKIN = 468
"""Landmarks before the irises."""

LIDS = (
    33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7,
    263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249,
)  # fmt: skip
BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
    149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The face oval, where the tracker follows the outline rather than a place on the skin."""

WEIGHTS = ((LIDS, 3.0), (BROWS, 6.0), (LIPS, 5.0), (OUTLINE, 0.2))
"""Where few landmarks tell much they count for more, beside 1 for the rest."""


def skin_weights() -> Array:
    """(468,) float32."""
    weights = np.ones(SKIN, np.float32)
    for landmarks, weight in WEIGHTS:
        weights[list(landmarks)] = weight
    return weights
