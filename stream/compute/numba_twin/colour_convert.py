"""Pictures of other primaries, transfers and ranges of light to those of screens, for
`stream.sources.colour`; on the CPU only."""

from __future__ import annotations

import math

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled
from stream.types import Array

_table = types.Array(types.float32, 1, "C", readonly=True)


@compiled(
    types.void(
        types.Array(types.uint16, 3, "C", readonly=True),
        _table,
        types.Array(types.float32, 2, "C", readonly=True),
        _table,
        types.float32,
        types.float32,
        types.Array(types.uint8, 1, "C", readonly=True),
        types.Array(types.uint8, 3, "C"),
    )
)
def colour_convert(
    samples: Array,
    decode: Array,
    matrix: Array,
    system: Array,
    knee: float,
    peak: float,
    encode: Array,
    out: Array,
) -> None:
    """Decode, turn to other primaries, bend what is brighter than white down to it, and encode.

    :param samples: (H, W, 3) RGB.
    :param decode: light by the upper bits of a sample; 1 is white.
    :param matrix: (3, 3) from the picture's primaries to the screen's.
    :param system: factor on all three by the square root of their luminance (BT.2020's), in steps from 0 to
        1; empty where the light is a screen's already.
    :param knee, peak: light from which on it is bent, and what becomes white.
    :param encode: code by the square root of light, in steps from 0 to 1.
    :param out: (H, W, 3), filled.
    """
    shift = 16
    while 1 << (16 - shift) < len(decode):
        shift -= 1
    top, steps = len(encode) - 1, len(system) - 1
    room = np.float32(1) - knee
    reach = (peak - knee) / room if room > 0 else np.float32(1)
    for i in range(samples.shape[0]):
        for j in range(samples.shape[1]):
            r, g, b = (
                decode[samples[i, j, 0] >> shift],
                decode[samples[i, j, 1] >> shift],
                decode[samples[i, j, 2] >> shift],
            )
            if steps > 0:
                luminance = 0.2627 * r + 0.6780 * g + 0.0593 * b
                gain = system[int(math.sqrt(min(luminance, 1.0)) * steps + 0.5)]
                r, g, b = r * gain, g * gain, b * gain
            x = matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b
            y = matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b
            z = matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b
            most = max(x, y, z)
            scale = 1.0
            if most > knee and room > 0:
                above = min((most - knee) / room, reach)
                scale = (knee + room * above * (1 + above / (reach * reach)) / (1 + above)) / most
            out[i, j, 0] = encode[int(math.sqrt(min(max(x * scale, 0.0), 1.0)) * top + 0.5)]
            out[i, j, 1] = encode[int(math.sqrt(min(max(y * scale, 0.0), 1.0)) * top + 0.5)]
            out[i, j, 2] = encode[int(math.sqrt(min(max(z * scale, 0.0), 1.0)) * top + 0.5)]
