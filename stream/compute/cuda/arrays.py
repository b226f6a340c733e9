"""Arrays in device memory, and their exchange with torch, CuPy and PyCUDA without copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.compute.cuda.driver import Driver, Stream
from stream.errors import InputError
from stream.types import Array


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """A C-contiguous array in device memory.

    :ivar pointer: device address of the first element.
    :ivar owner: whatever has to live as long as the memory is in use.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface, without a stream, for naming one makes some libraries wait on the host.

        What we queue on the default stream is done before what others queue on CUDA's legacy default stream
        afterwards; who gives a kernel another stream has to order it.
        """
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "version": 3,
            "strides": None,
        }

    def reshape(self, *shape: int) -> DeviceArray:
        """The same memory in another shape of as many elements.

        :raises InputError: the number of elements differs.
        """
        if math.prod(shape) != math.prod(self.shape) or any(side < 0 for side in shape):
            raise InputError(f"A device array of shape {self.shape} cannot become {shape}.")
        return DeviceArray(self.pointer, shape, self.dtype, self.owner)

    def __getitem__(self, index: int | slice) -> DeviceArray:
        """A part along the first axis: one element without that axis, or a slice without steps."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if isinstance(index, slice):
            start, stop, step = index.indices(self.shape[0])
            if step != 1:
                raise InputError("A device array can only be sliced without steps.")
            shape = (max(0, stop - start), *self.shape[1:])
            return DeviceArray(self.pointer + start * row, shape, self.dtype, self.owner)
        if not 0 <= index < self.shape[0]:
            raise IndexError(index)
        return DeviceArray(self.pointer + index * row, self.shape[1:], self.dtype, self.owner)


def is_device(array: object) -> bool:
    """Whether ``array`` lies in device memory, by `__cuda_array_interface__`.

    :raises InputError: it does but cannot be shared, such as a torch tensor that requires a gradient.
    """
    if isinstance(array, DeviceArray | np.ndarray):
        return isinstance(array, DeviceArray)
    try:
        return hasattr(array, "__cuda_array_interface__")
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"The device array cannot be shared: {error}") from error


def as_device(array: Any) -> DeviceArray:
    """A view of any library's device array, which it keeps alive.

    A call that names no stream runs behind what was queued on CUDA's legacy default stream (torch's and
    CuPy's, unless told otherwise). One with ``stream=`` waits for that stream only: whoever queued the
    array's making elsewhere has to wait for it first.

    :raises InputError: it is not C-contiguous, or its interface makes no sense.
    """
    if isinstance(array, DeviceArray):
        return array
    interface = array.__cuda_array_interface__
    try:
        dtype, shape = np.dtype(interface["typestr"]), tuple(int(side) for side in interface["shape"])
        pointer, strides = int(interface["data"][0] or 0), interface.get("strides")
        masked = interface.get("mask") is not None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"The device array's __cuda_array_interface__ cannot be read: {error}.") from error
    known = dtype.isnative and not dtype.hasobject and not masked
    if any(side < 0 for side in shape) or not known or (not pointer and 0 not in shape):
        raise InputError(f"A device array of {dtype} {shape} cannot be used.")
    if strides is not None and not _is_c_contiguous(shape, tuple(strides), dtype.itemsize):
        raise InputError("Device arrays must be C-contiguous; make a contiguous copy first.")
    return DeviceArray(pointer, shape, dtype, array)


def empty(driver: Driver, shape: Sequence[int], dtype: Any) -> DeviceArray:
    """A new array, not initialised.

    :raises BackendError: the device has no memory left.
    """
    kind = np.dtype(dtype)
    memory = driver.allocate(max(1, math.prod(shape)) * kind.itemsize)
    return DeviceArray(memory.pointer, tuple(shape), kind, memory)


def to_device(driver: Driver, host: Array, stream: Stream | None = None) -> DeviceArray:
    """A copy of a host array on the device, queued on ``stream``.

    :raises InputError: its elements are Python objects.
    :raises BackendError: the device has no memory left.
    """
    host = np.asarray(host, order="C")
    if host.dtype.hasobject:
        raise InputError("An array of Python objects cannot be copied to the GPU.")
    array = empty(driver, host.shape, host.dtype)
    driver.upload(array.pointer, host, stream or driver.default_stream)
    return array


def to_host(driver: Driver, array: Any, stream: Stream | None = None) -> Array:
    """A copy of a device array on the host; waits for what is queued on ``stream``."""
    view = as_device(array)
    host = np.empty(view.shape, view.dtype)
    driver.download(host, view.pointer, stream or driver.default_stream)
    driver.synchronize(stream or driver.default_stream)
    return host


def _is_c_contiguous(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Whether elements lie side by side; the stride of an axis with one element means nothing."""
    if len(strides) != len(shape):
        return False
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side > 1 and stride != itemsize:
            return 0 in shape
        itemsize *= side
    return True
