"""`smooth_depth` on a GPU: kernels/depth_maps.cu."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.resize_maps import DepthMaps
from stream.compute.smooth_depth import DEPTH_CHANGE, DRIFT, MASK_CHANGE, SmoothMaps, patch_side

THREADS = 256

_NEW = ("depth", "mask", "confidence")
_PAST = ("depth", "mask", "drift", "confidence")
_OUT = ("depth", "mask", "drift", "keep", "confidence")
_POINTERS = (
    *_NEW,
    *(f"past_{name}" for name in _PAST),
    *("still", "rates", "tilt"),
    *(f"out_{name}" for name in _OUT),
    *("level", "changes"),
)

PARAMS = np.dtype(
    [(name, "u8") for name in _POINTERS]
    + [(name, "f4") for name in ("limit", "per_change", "per_drift", "per_mask")]
    + [(name, "i4") for name in ("size", "patch")],
    align=True,
)
"""Mirrors SmoothParams."""


def smooth_depth(
    new: DepthMaps,
    past: SmoothMaps,
    still: DeviceArray,
    rates: DeviceArray,
    tilt: DeviceArray | None,
    out: SmoothMaps,
    stream: Stream,
) -> None:
    """Queue two launches: the changes of all pixels, then what follows of those around each."""
    maps, size = new.depth.shape[:2]
    arrays = {name: getattr(new, name) for name in _NEW}
    arrays |= {f"past_{name}": getattr(past, name) for name in _PAST}
    arrays |= {"still": still, "rates": rates, "tilt": tilt, "level": out.level, "changes": out.changes}
    arrays |= {f"out_{name}": getattr(out, name) for name in _OUT}
    params = np.zeros(1, PARAMS)
    for name, array in arrays.items():
        params[name] = 0 if array is None else array.pointer
    params["limit"], params["per_change"] = DEPTH_CHANGE, 1 / DEPTH_CHANGE
    params["per_drift"], params["per_mask"] = 1 / DRIFT, 1 / MASK_CHANGE
    params["size"], params["patch"] = size, patch_side(size)
    driver, grid = current_driver(), (-(-size * size // THREADS), maps, 1)
    for name in ("depth_change", "smooth_depth"):
        driver.launch(driver.kernel("depth_maps", name), grid, THREADS, params, stream)
