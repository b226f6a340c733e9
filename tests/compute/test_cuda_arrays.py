"""Device arrays: views, and the exchange with other libraries by `__cuda_array_interface__`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import HostDriver
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from stream.compute.cuda.arrays import DeviceArray, as_device, empty, is_device, to_device, to_host
from stream.compute.cuda.current import use_driver
from stream.compute.dispatch import check_array, check_out, chosen_backend, on_device, on_host
from stream.errors import ConfigError, InputError

DRIVER = HostDriver()


class Foreign:
    """Another library's array: what numpy has, by the interface for device memory."""

    def __init__(self, host: np.ndarray, **changes: Any) -> None:
        interface = dict(host.__array_interface__)
        interface = {key: interface[key] for key in ("shape", "typestr", "data", "strides", "version")}
        self.__cuda_array_interface__ = {**interface, **changes}
        self.host = host


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from(["f4", "f2", "i4", "u1", "?", "f8"]),
)
def test_what_goes_up_comes_down(shape: tuple[int, ...], dtype: str) -> None:
    host = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    array = to_device(DRIVER, host)
    assert (array.shape, array.dtype, array.nbytes, array.ndim) == (
        host.shape,
        host.dtype,
        host.nbytes,
        host.ndim,
    )
    np.testing.assert_array_equal(to_host(DRIVER, array), host)
    np.testing.assert_array_equal(to_host(DRIVER, as_device(Foreign(host))), host)


def test_a_strided_host_array_goes_up_in_its_own_order() -> None:
    host = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3].T
    np.testing.assert_array_equal(to_host(DRIVER, to_device(DRIVER, host)), host)


def test_parts_share_the_memory() -> None:
    host = np.arange(60, dtype=np.int32).reshape(5, 4, 3)
    array = to_device(DRIVER, host)
    np.testing.assert_array_equal(to_host(DRIVER, array[3]), host[3])
    np.testing.assert_array_equal(to_host(DRIVER, array[1:4]), host[1:4])
    np.testing.assert_array_equal(to_host(DRIVER, array[2:][1][0]), host[3, 0])
    np.testing.assert_array_equal(to_host(DRIVER, array.reshape(10, 6)), host.reshape(10, 6))
    assert array[4:2].shape == (0, 4, 3)
    assert [part.pointer for part in array] == [array.pointer + 48 * i for i in range(5)]  # type: ignore[attr-defined]
    assert array[1].owner is array.owner


def test_parts_that_are_none_are_refused() -> None:
    array = empty(DRIVER, (4, 6), np.float32)
    for index in (4, -1):
        with pytest.raises(IndexError):
            array[index]
    with pytest.raises(InputError, match="without steps"):
        array[::2]
    for shape in [(5, 5), (-4, -6), (25,)]:
        with pytest.raises(InputError, match="cannot become"):
            array.reshape(*shape)


def test_the_interface_goes_round() -> None:
    array = to_device(DRIVER, np.arange(6, dtype=np.float16).reshape(2, 3))
    again = as_device(SimpleNamespace(__cuda_array_interface__=array.__cuda_array_interface__))
    assert (again.pointer, again.shape, again.dtype) == (array.pointer, array.shape, array.dtype)
    assert as_device(array) is array


def test_a_view_keeps_the_other_librarys_array() -> None:
    foreign = Foreign(np.ones(3, np.float32))
    assert as_device(foreign).owner is foreign


def test_axes_of_one_element_may_have_any_stride() -> None:
    host = np.arange(6, dtype=np.float32)
    odd = as_strided(host, shape=(1, 2, 1, 3), strides=(400, 12, 96, 4))
    np.testing.assert_array_equal(to_host(DRIVER, as_device(Foreign(odd, strides=odd.strides))), odd)
    none = Foreign(np.zeros((0, 3), np.float32), strides=(96, 8))
    assert as_device(none).shape == (0, 3)


@pytest.mark.parametrize(
    "array",
    [
        Foreign(np.zeros((4, 6), np.float32)[:, ::2]),
        Foreign(np.zeros((4, 6), np.float32).T),
        Foreign(np.zeros((4, 6), np.float32), strides=(24,)),
        Foreign(np.zeros((4, 6), np.float32), typestr=">f4"),
        Foreign(np.zeros((4, 6), np.float32), typestr="|O"),
        Foreign(np.zeros((4, 6), np.float32), typestr="nonsense"),
        Foreign(np.zeros((4, 6), np.float32), shape=(-4, 6)),
        Foreign(np.zeros((4, 6), np.float32), shape=None),
        Foreign(np.zeros((4, 6), np.float32), data=(0, False)),
        Foreign(np.zeros((4, 6), np.float32), data=None),
        Foreign(np.zeros((4, 6), np.float32), mask=object()),
        SimpleNamespace(__cuda_array_interface__={}),
        SimpleNamespace(__cuda_array_interface__=None),
    ],
)
def test_what_cannot_be_used_is_refused(array: Any) -> None:
    with pytest.raises(InputError, match=r"device array|Device arrays"):
        as_device(array)


def test_a_tensor_that_requires_a_gradient_is_refused_and_one_on_the_host_is_no_device_array() -> None:
    class Tensor:
        def __init__(self, error: type[Exception]) -> None:
            self.error = error

        @property
        def __cuda_array_interface__(self) -> Any:
            raise self.error("Can't get __cuda_array_interface__ on Variable that requires grad.")

    with pytest.raises(InputError, match="requires grad"):
        is_device(Tensor(RuntimeError))
    assert not is_device(Tensor(AttributeError))
    assert not is_device(np.zeros(3))
    assert is_device(empty(DRIVER, (3,), np.float32))


def test_python_objects_stay_on_the_host() -> None:
    with pytest.raises(InputError, match="Python objects"):
        to_device(DRIVER, np.array([object()]))


def test_device_arrays_choose_cuda_and_host_arrays_what_is_asked_for() -> None:
    device, host = empty(DRIVER, (2,), np.float32), np.zeros(2, np.float32)
    assert chosen_backend("numba", device, None) == "cuda"
    assert chosen_backend("numba", host, None) == "numba"
    with pytest.raises(InputError, match="bring all to one place"):
        chosen_backend("auto", host, device)
    with pytest.raises(ConfigError):
        chosen_backend("opencl", host)


def test_arrays_are_checked_wherever_they_lie() -> None:
    for array in (np.zeros((2, 3), np.float32), to_device(DRIVER, np.zeros((2, 3), np.float32))):
        assert check_array("map", array, np.float32, (None, 3)).shape == (2, 3)
        with pytest.raises(InputError, match=r"The map must be float32 \(any, 4\), not float32 \(2, 3\)"):
            check_array("map", array, np.float32, (None, 4))
        with pytest.raises(InputError, match="The map must be uint8"):
            check_array("map", array, np.uint8, (2, 3))
        with pytest.raises(InputError, match="The map must be"):
            check_array("map", array, np.float32, (2, 3, 1))
    with pytest.raises(InputError, match="must be an array, not list"):
        check_array("map", [1, 2], np.float32, (2,))


def test_buffers_must_take_what_is_written() -> None:
    host = np.zeros((2, 4), np.float32)
    assert check_out("out", host, np.float32, (2, 4)) is host
    with pytest.raises(InputError, match="C-contiguous"):
        check_out("out", host[:, ::2], np.float32, (2, 2))
    host.flags.writeable = False
    with pytest.raises(InputError, match="writeable"):
        check_out("out", host, np.float32, (2, 4))
    with pytest.raises(InputError, match="writeable"):
        check_out("out", Foreign(np.zeros(3, np.float32), data=(64, True)), np.float32, (3,))
    assert isinstance(check_out("out", Foreign(np.zeros(3, np.float32)), np.float32, (3,)), DeviceArray)


def test_host_arrays_go_to_the_device_and_back_on_the_stream_that_is_named() -> None:
    used: list[Any] = []

    class Watching(HostDriver):
        def upload(self, pointer: int, host: np.ndarray, stream: Any) -> None:
            used.append(stream)
            super().upload(pointer, host, stream)

        def download(self, host: np.ndarray, pointer: int, stream: Any) -> None:
            used.append(stream)
            super().download(host, pointer, stream)

        def synchronize(self, stream: Any) -> None:
            used.append(stream)

    host, out = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    with use_driver(Watching()) as driver:
        stream = driver.stream()
        assert on_host(on_device(host, stream), out, stream) is out
        np.testing.assert_array_equal(out, host)
        assert used == [stream] * 3
        on_host(on_device(host))
    assert used[3:] == [driver.default_stream] * 3
    assert all(one is stream for one in used[:3])
