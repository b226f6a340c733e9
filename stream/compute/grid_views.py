"""The cameras of depth maps as one array, which a kernel can read on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.errors import InputError
from stream.types import Array

MIN_Z_MM, MAX_MM = 1.0, 1e6
"""A vertex nearer than the first, or beyond the second on any axis, is not usable."""

NAMES = ("fx", "fy", "cx", "cy", "distance", "mm_per_unit")
"""The last columns of a view; the first six are image_from_crop, row by row."""

COLUMNS = 6 + len(NAMES)

_POSITIVE = [6, 7, 10, 11]


def grid_views(
    image_from_crop: Array | Sequence[Array],
    fx: float | Array,
    fy: float | Array,
    cx: float | Array,
    cy: float | Array,
    distance: float | Array,
    mm_per_unit: float | Array,
) -> Array:
    """How N depth maps lie before their cameras, for `stream.compute.depth_to_mesh_batch`.

    :param image_from_crop: (N, 2, 3), crop pixels of the map's size to image pixels (`stream.geometry`).
    :param fx, fy, cx, cy: the pinhole cameras, image pixels; one number or (N,), like what follows.
    :param distance: Z of depth 0, mm.
    :param mm_per_unit: millimetres in one crop unit at that distance.
    :returns: (N, `COLUMNS`) float64, not checked yet.
    :raises InputError: a shape does not fit.
    """
    try:
        matrices = np.asarray(image_from_crop, np.float64)
        if matrices.ndim != 3 or matrices.shape[1:] != (2, 3):
            raise InputError(f"image_from_crop must be (N, 2, 3), not {matrices.shape}.")
        views = np.zeros((len(matrices), COLUMNS))
        views[:, :6] = matrices.reshape(-1, 6)
        for column, values in enumerate((fx, fy, cx, cy, distance, mm_per_unit), 6):
            views[:, column] = values
    except (TypeError, ValueError) as error:
        raise InputError(f"The cameras must be one number or one for each map: {error}.") from error
    return views


def check_views(views: Array, size: int) -> None:
    """Refuse views with which a map of ``size`` x ``size`` pixels cannot become a mesh.

    :raises InputError: a value is not finite or not positive where it must be, the crop is mirrored, flat or
        far outside the camera's view, or the face is nowhere near.
    """
    if not np.isfinite(views).all():
        number, column = np.argwhere(~np.isfinite(views))[0]
        name = "image_from_crop" if column < 6 else NAMES[column - 6]
        raise InputError(f"{name} of map {number} must be finite.")
    if not (views[:, _POSITIVE] > 0).all():
        number, which = np.argwhere(views[:, _POSITIVE] <= 0)[0]
        column = _POSITIVE[which]
        raise InputError(f"{NAMES[column - 6]} is {views[number, column]} but must be a positive number.")
    # A mirrored crop would turn every triangle's back to the camera.
    if not (views[:, 0] * views[:, 4] > views[:, 1] * views[:, 3]).all():
        raise InputError("image_from_crop must neither mirror nor flatten the crop.")
    distance = views[:, 10]
    if distance.min() < MIN_Z_MM or distance.max() > MAX_MM:
        wrong = distance[(distance < MIN_Z_MM) | (distance > MAX_MM)][0]
        raise InputError(f"The face is {wrong:g} mm away, which no camera sees; check the head pose.")
    # The plane of depth 0, to which unusable pixels go, must itself be within range.
    last = size - 1
    corners = np.array([[0, last, 0, last], [0, 0, last, last], [1, 1, 1, 1]], np.float64)
    image = views[:, :6].reshape(-1, 2, 3) @ corners - views[:, 8:10, None]
    if not (np.abs(image / views[:, 6:8, None]).max(axis=(1, 2)) * distance <= MAX_MM).all():
        raise InputError(
            "The crop lies too far outside the camera's view; check the crop and the intrinsics."
        )
