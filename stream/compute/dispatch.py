"""Where a kernel runs: on the device for device arrays, else where ``compute`` says."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.compute.backends import choose_backend
from stream.compute.cuda.arrays import DeviceArray, as_device, empty, is_device, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.errors import InputError
from stream.types import Array

ComputeArray = Any
"""A numpy array, or any library's array in device memory (`__cuda_array_interface__`)."""


def chosen_backend(compute: str, *arrays: ComputeArray | None) -> str:
    """``cuda`` or ``numba``: device arrays choose the first, host arrays leave it to ``compute``.

    :raises InputError: some arrays lie on the device and some on the host.
    :raises ConfigError, BackendError: as `choose_backend`.
    """
    places = {is_device(array) for array in arrays if array is not None}
    if len(places) > 1:
        raise InputError("Some arrays lie on the device and some on the host; bring all to one place.")
    return "cuda" if places == {True} else choose_backend(compute)


def check_array(name: str, array: ComputeArray, dtype: Any, shape: tuple[int | None, ...]) -> ComputeArray:
    """The array itself or its `DeviceArray` view, once dtype and shape (``None``: any side) are as wanted.

    :raises InputError: they are not, or it is no array.
    """
    if is_device(array):
        array = as_device(array)
    elif not isinstance(array, np.ndarray):
        raise InputError(f"The {name} must be an array, not {type(array).__name__}.")
    fits = len(array.shape) == len(shape) and all(
        want in (None, side) for want, side in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise InputError(
            f"The {name} must be {np.dtype(dtype).name} ({sides}), not {array.dtype.name} {array.shape}."
        )
    return array


def check_out(name: str, array: ComputeArray, dtype: Any, shape: tuple[int, ...]) -> ComputeArray:
    """`check_array` for a buffer that is written to: it must be writeable, and on the host C-contiguous.

    :raises InputError: it does not fit.
    """
    given, array = array, check_array(name, array, dtype, shape)
    if isinstance(array, DeviceArray) and given.__cuda_array_interface__["data"][1]:
        raise InputError(f"The buffer {name} must be writeable.")
    if isinstance(array, np.ndarray) and not (array.flags.c_contiguous and array.flags.writeable):
        raise InputError(f"The buffer {name} must be C-contiguous and writeable.")
    return array


def on_device(array: ComputeArray, stream: Stream | None = None) -> DeviceArray:
    """A view of a device array, or a copy of a host array, queued on ``stream`` (else the default one)."""
    return as_device(array) if is_device(array) else to_device(current_driver(), array, stream)


def device_empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """A new array on the current driver's device."""
    return empty(current_driver(), shape, dtype)


def on_host(array: ComputeArray, out: Array | None = None, stream: Stream | None = None) -> Array:
    """A copy of a device array on the host, written to ``out`` where given.

    Waits for what is queued on ``stream``, by default the default one.
    """
    host = to_host(current_driver(), array, stream)
    if out is None:
        return host
    out[...] = host
    return out
