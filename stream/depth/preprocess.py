"""From crop pixels to what the depth network takes. Training and live capture both call this function."""

from __future__ import annotations

import numpy as np

from stream.errors import InputError
from stream.types import Array

_SCALE = np.float32(2.0 / 255.0)


def to_network(crops: Array, out: Array | None = None) -> Array:
    """Bring RGB crops to [-1, 1], channels first.

    As seed 000, section 3.1.2: scaled to 0..1, then standardised with mean and deviation 0.5.

    :param crops: (S, S, 3) or (N, S, S, 3) uint8.
    :param out: (N, 3, S, S) float32 buffer to write to and return (N is 1 for a single crop).
    :returns: (N, 3, S, S) float32.
    :raises InputError: a shape or dtype is another.
    """
    batch = crops[np.newaxis] if crops.ndim == 3 else crops
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
        raise InputError(f"Crops must be uint8 RGB (N, S, S, 3), not {crops.dtype.name} {crops.shape}.")
    planes = batch.transpose(0, 3, 1, 2)
    if out is None:
        out = np.empty(planes.shape, dtype=np.float32)
    elif out.shape != planes.shape or out.dtype != np.float32:
        raise InputError(
            f"The buffer must be float32 {planes.shape} for these crops, not {out.dtype.name} {out.shape}."
        )
    np.multiply(planes, _SCALE, out=out)
    np.subtract(out, np.float32(1.0), out=out)
    return out
