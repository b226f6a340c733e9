"""The CUDA drivers keep one protocol: over stand-ins of their libraries, and on a GPU where there is one."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compute.fake_cuda import ADD, ADD_SOURCE, CUresult, FakeBindings, FakePyCuda, Machine
from compute.host_driver import KERNELS

from stream.compute.cuda import cubins, cuda_core_driver, loaded, pycuda_driver
from stream.compute.cuda.arrays import DeviceArray, empty, to_device, to_host
from stream.compute.cuda.cuda_core_driver import CudaCoreDriver
from stream.compute.cuda.current import current_driver, why_no_driver
from stream.compute.cuda.kernel_sources import Sources
from stream.compute.cuda.pycuda_driver import PyCudaDriver
from stream.errors import BackendError, InputError, MissingExtraError


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> FakeBindings:
    fake = FakeBindings()
    monkeypatch.setattr(cuda_core_driver, "_load_bindings", lambda: fake)
    monkeypatch.setattr(loaded, "load_image", lambda family, arch: f"{family} for {arch}".encode())
    return fake


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> FakePyCuda:
    fake = FakePyCuda()
    monkeypatch.setattr(pycuda_driver, "_load_pycuda", lambda: fake)
    monkeypatch.setattr(loaded, "load_image", lambda family, arch: f"{family} for {arch}".encode())
    return fake


@pytest.fixture(params=["cuda-core", "pycuda", "gpu"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Each driver over its stand-in, and the one of this machine with the kernel ``add`` compiled for it."""
    if request.param == "gpu":
        if reason := why_no_driver():
            pytest.skip(reason)
        sources = Sources("test_add", ADD_SOURCE, {"prosopon.cuh": (KERNELS / "prosopon.cuh").read_text()})
        monkeypatch.setattr(cubins, "read_sources", lambda family: sources)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        yield type(current_driver())()
        return
    fake: Machine = request.getfixturevalue("bindings" if request.param == "cuda-core" else "pycuda")
    yield CudaCoreDriver() if request.param == "cuda-core" else PyCudaDriver()
    gc.collect()
    assert not fake.memory, "device memory was not freed"


def add(driver: Any, array: DeviceArray, amount: float, step: int = 1, stream: Any = None) -> None:
    params = np.zeros(1, ADD)
    params[0] = (array.pointer, amount, array.shape[0], step)
    blocks = -(-array.shape[0] // 64)
    driver.launch(
        driver.kernel("test_add", "add"), (blocks, 1, 1), 64, params, stream or driver.default_stream
    )


def test_a_launch_gets_its_struct_grid_and_block(driver: Any) -> None:
    start = np.arange(150, dtype=np.float32)
    array = to_device(driver, start)
    add(driver, array, 2.5)
    add(driver, array, -100, step=3)
    expected = start + 2.5
    expected[::3] -= 100
    np.testing.assert_array_equal(to_host(driver, array), expected)


def test_copies_and_fills(driver: Any) -> None:
    stream = driver.stream()
    one, two = empty(driver, (3, 5), np.int16), empty(driver, (3, 5), np.int16)
    page_locked = driver.pinned((3, 5), "int16")
    assert (page_locked.shape, page_locked.dtype) == ((3, 5), np.dtype(np.int16))
    page_locked[:] = np.arange(15).reshape(3, 5)
    driver.upload(one.pointer, page_locked, stream)
    driver.fill(two.pointer, 1, two.nbytes, stream)
    driver.copy(two[1].pointer, one[2].pointer, one[2].nbytes, stream)
    back = driver.pinned((3, 5), "int16")
    driver.download(back, two.pointer, stream)
    driver.synchronize(stream)
    assert back.tolist() == [[257] * 5, [10, 11, 12, 13, 14], [257] * 5]


def test_nothing_can_be_copied_too(driver: Any) -> None:
    array = to_device(driver, np.zeros((0, 3), np.float32))
    driver.copy(array.pointer, array.pointer, 0, driver.default_stream)
    driver.fill(array.pointer, 0, 0, driver.default_stream)
    assert to_host(driver, array).shape == (0, 3)
    assert driver.pinned((0,), "u1").size == 0


def test_a_strided_host_array_is_refused(driver: Any) -> None:
    array = empty(driver, (2, 2), np.float32)
    strided = np.zeros((2, 4), np.float32)[:, ::2]
    with pytest.raises(InputError, match="C-contiguous"):
        driver.upload(array.pointer, strided, driver.default_stream)
    with pytest.raises(InputError, match="C-contiguous"):
        driver.download(strided, array.pointer, driver.default_stream)


def test_a_graph_runs_when_it_is_replayed(driver: Any) -> None:
    stream = driver.stream()
    array = to_device(driver, np.zeros(10, np.float32))
    add(driver, array, 0, stream=stream)  # a kernel is loaded before it can be captured
    driver.synchronize(driver.default_stream)
    driver.synchronize(stream)
    driver.begin_capture(stream)
    add(driver, array, 1, stream=stream)
    add(driver, array, 2, stream=stream)
    graph = driver.end_capture(stream)
    assert to_host(driver, array, stream).tolist() == [0] * 10
    driver.replay(graph, stream)
    driver.replay(graph, stream)
    assert to_host(driver, array, stream).tolist() == [6] * 10


def test_to_allocate_in_a_captured_frame_is_an_error_that_passes(driver: Any) -> None:
    stream = driver.stream()
    driver.begin_capture(stream)
    with pytest.raises(BackendError, match=r"cuMemAlloc failed with .*CAPTURE_UNSUPPORTED"):
        driver.allocate(16)
    with pytest.raises(BackendError, match=r"cuStreamEndCapture failed with .*CAPTURE_INVALIDATED"):
        driver.end_capture(stream)
    driver.begin_capture(stream)
    driver.end_capture(stream)


def test_the_default_stream_cannot_be_captured(driver: Any) -> None:
    with pytest.raises(BackendError, match=r"captured|CAPTURE"):
        driver.begin_capture(driver.default_stream)
    assert empty(driver, (4,), np.float32).nbytes == 16


def test_what_is_given_up_during_a_capture_is_freed_after_it(driver: Any) -> None:
    stream, memory = driver.stream(), driver.allocate(64)
    driver.begin_capture(stream)
    pointer = memory.pointer
    del memory
    fake = driver._cuda
    if isinstance(fake, Machine):
        assert pointer in fake.memory
    driver.end_capture(stream)
    if isinstance(fake, Machine):
        assert pointer not in fake.memory


def test_other_threads_work_in_the_same_context(driver: Any) -> None:
    array = to_device(driver, np.zeros(100, np.float32))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            stream = driver.stream()
            mine = to_device(driver, np.ones(100, np.float32), stream)
            add(driver, mine, 1, stream=stream)
            assert to_host(driver, mine, stream).tolist() == [2] * 100
            add(driver, array, 1)
            driver.synchronize(driver.default_stream)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
        thread.join()
    assert not failures
    assert to_host(driver, array).tolist() == [4] * 100


def test_the_context_is_current_for_libraries_that_call_cuda_themselves(driver: Any) -> None:
    seen: list[bool] = []

    def work() -> None:
        fake = driver._cuda
        with driver.current():
            if isinstance(fake, FakeBindings):
                seen.append(fake.thread.context == fake.PRIMARY)
            elif isinstance(fake, FakePyCuda):
                seen.append(fake.stack == [driver._context])
            else:
                seen.append(int(driver._call("cuCtxGetCurrent")) != 0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_events_measure(driver: Any) -> None:
    start, end, stream = driver.event(), driver.event(), driver.stream()
    array = to_device(driver, np.zeros(64, np.float32), stream)
    driver.record(start, stream)
    add(driver, array, 1, stream=stream)
    driver.record(end, stream)
    assert driver.milliseconds(start, end) > 0


def test_the_gpu_is_described(driver: Any) -> None:
    info = driver.info
    assert info.arch.startswith("sm_")
    assert info.memory > 1 << 30
    assert info.multiprocessors > 0
    assert float(info.driver) >= 11
    assert driver.default_stream.handle == 0
    assert driver.stream().handle != 0


def test_errors_carry_the_call_cudas_name_and_what_to_do(bindings: FakeBindings) -> None:
    driver = CudaCoreDriver()
    with pytest.raises(BackendError) as caught:
        driver.allocate(1 << 40)
    what, _, hint = str(caught.value).partition("; ")
    assert what == "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY"
    assert hint == "the GPU's memory is full; end other programs that use it, or ask for less."
    with pytest.raises(BackendError, match="cuModuleGetFunction failed with CUDA_ERROR_NOT_FOUND; "):
        driver.kernel("family", "none")


def test_without_a_gpu_or_with_an_old_driver_cuda_core_says_so(bindings: FakeBindings) -> None:
    bindings.refuse["cuInit"] = CUresult.CUDA_ERROR_NO_DEVICE
    with pytest.raises(BackendError, match=r"cuInit failed with CUDA_ERROR_NO_DEVICE; no NVIDIA GPU"):
        CudaCoreDriver()
    bindings.refuse.clear()
    driver = CudaCoreDriver()
    with pytest.raises(BackendError, match=r"cuNew cannot be called .* update the NVIDIA driver"):
        driver._call("cuNew")


def test_launch_arguments_are_packed_as_cuda_wants_them(bindings: FakeBindings) -> None:
    driver = CudaCoreDriver()
    stream = driver.stream()
    values = (ctypes.c_float * 9)()
    params = np.zeros(1, ADD)
    params[0] = (ctypes.addressof(values), 0.5, 9, 2)
    driver.launch(driver.kernel("test_add", "add"), (2, 3, 4), 96, params, stream)
    assert bindings.launches == [("add", (2, 3, 4), (96, 1, 1), params.tobytes(), stream.handle)]
    assert list(values) == [0.5, 0] * 4 + [0.5]


def test_a_family_is_loaded_once_for_the_gpu_found(bindings: FakeBindings) -> None:
    driver = CudaCoreDriver()
    assert driver.kernel("test_add", "add") == driver.kernel("test_add", "add") == "add"
    assert bindings.calls.count("cuModuleLoadData") == bindings.calls.count("cuModuleGetFunction") == 1
    assert b"test_add for sm_86" in bindings.handles.values()


def test_capture_gives_up_the_graph_in_every_case(bindings: FakeBindings) -> None:
    driver = CudaCoreDriver()
    stream = driver.stream()
    driver.begin_capture(stream)
    bindings.calls.clear()
    graph = driver.end_capture(stream)
    calls = [name for name in bindings.calls if name != "cuCtxGetCurrent"]
    assert calls == ["cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy"]
    bindings.refuse["cuGraphInstantiate"] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    driver.begin_capture(stream)
    with pytest.raises(BackendError, match="cuGraphInstantiate"):
        driver.end_capture(stream)
    handles = {stream.handle, graph.handle}
    assert handles == set(bindings.handles)
    del stream, graph
    assert not bindings.handles


def test_a_free_that_fails_is_logged_and_no_more(
    bindings: FakeBindings, caplog: pytest.LogCaptureFixture
) -> None:
    driver = CudaCoreDriver()
    memory = driver.allocate(8)
    bindings.refuse["cuMemFree"] = CUresult.CUDA_ERROR_INVALID_CONTEXT
    del memory
    assert "cuMemFree failed with CUDA_ERROR_INVALID_CONTEXT" in caplog.text


def test_the_real_bindings_take_the_arguments_that_the_driver_gives(bindings: FakeBindings) -> None:
    """Without libcuda each call of the real bindings fails at the library, after its arguments were read."""
    real = pytest.importorskip("cuda.bindings.driver", reason="pip install 'prosopon[gpu]'")
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        pytest.skip("there is a libcuda here; the driver's own tests run on the GPU")
    handed: list[tuple[str, tuple[Any, ...]]] = []
    call = CudaCoreDriver._call

    def watch(self: CudaCoreDriver, name: str, *arguments: Any) -> Any:
        handed.append((name, arguments))
        return call(self, name, *arguments)

    objects = {"cuLaunchKernel": real.CUfunction, "cuModuleGetFunction": real.CUmodule}
    objects |= {"cuGraphInstantiate": real.CUgraph, "cuGraphDestroy": real.CUgraph}
    objects |= {"cuCtxSetCurrent": real.CUcontext, "cuDevicePrimaryCtxRetain": real.CUdevice}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CudaCoreDriver, "_call", watch)
        driver = CudaCoreDriver()
        test_a_launch_gets_its_struct_grid_and_block(driver)
        test_copies_and_fills(driver)
        test_a_graph_runs_when_it_is_replayed(driver)
        test_events_measure(driver)
    assert len({name for name, _ in handed}) > 25
    for name, arguments in handed:
        values = list(arguments)
        if name in objects:
            values[0] = objects[name]()
        if name == "cuDeviceGetAttribute":
            values[0] = real.CUdevice_attribute(values[0])
        if name == "cuStreamBeginCapture":
            values[1] = real.CUstreamCaptureMode(values[1])
        with pytest.raises(RuntimeError, match="dlopen"):
            getattr(real, name)(*values)


def test_the_gpu_whose_context_is_current_is_taken(bindings: FakeBindings) -> None:
    CudaCoreDriver()
    assert bindings.device == 0
    bindings.thread.context = 5
    CudaCoreDriver()
    assert bindings.device == 3


def test_pinned_memory_lives_as_long_as_a_view_of_it(bindings: FakeBindings) -> None:
    view = CudaCoreDriver().pinned((4, 2), "f4")[1:]
    assert len(bindings.memory) == 1
    del view
    assert not bindings.memory


def test_pycuda_shares_the_context_that_is_there_and_leaves_stacks_as_they_were(pycuda: FakePyCuda) -> None:
    context = pycuda.make_context()
    context.push()
    driver = PyCudaDriver()
    assert driver._context is context
    assert driver.info.driver == "12.4"
    test_other_threads_work_in_the_same_context(driver)
    assert pycuda.stacks.pop(threading.get_ident()) == [context]
    assert not any(pycuda.stacks.values())


def test_pycuda_takes_no_other_librarys_stream(pycuda: FakePyCuda) -> None:
    driver = PyCudaDriver()
    array = to_device(driver, np.ones(2, np.float32), SimpleNamespace(handle=0))
    with pytest.raises(BackendError, match=r"PyCudaDriver\.stream"):
        to_host(driver, array, SimpleNamespace(handle=5))


def test_pycuda_without_a_context_takes_the_primary_one_and_gives_it_back(pycuda: FakePyCuda) -> None:
    driver = PyCudaDriver()
    driver.synchronize(driver.default_stream)
    with pytest.raises(BackendError, match="cuMemAlloc"):
        driver.allocate(1 << 40)
    assert not pycuda.stack


def test_pycudas_errors_get_cudas_names(pycuda: FakePyCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {2: b"out of memory", 100: b"no CUDA-capable device is detected"}
    names = {2: b"CUDA_ERROR_OUT_OF_MEMORY", 100: b"CUDA_ERROR_NO_DEVICE"}

    def answer(known: dict[int, bytes], code: int, place: Any) -> int:
        place._obj.value = known.get(code, b"something else")
        return 0

    library = SimpleNamespace(
        cuGetErrorString=lambda code, place: answer(texts, code, place),
        cuGetErrorName=lambda code, place: answer(names, code, place),
    )
    monkeypatch.setattr(pycuda_driver.ctypes, "CDLL", lambda name: library)
    with pytest.raises(BackendError, match=r"cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY; the GPU's mem"):
        PyCudaDriver().allocate(1 << 40)
    pycuda.refuse["cuInit"] = CUresult.CUDA_ERROR_NO_DEVICE
    with pytest.raises(BackendError, match=r"cuInit failed with CUDA_ERROR_NO_DEVICE; no NVIDIA GPU"):
        PyCudaDriver()


def test_without_pycuda_its_extra_is_named() -> None:
    if pycuda_driver.importlib.util.find_spec("pycuda"):
        pytest.skip("PyCUDA is installed here")
    with pytest.raises(MissingExtraError, match=r"prosopon\[pycuda\]"):
        PyCudaDriver()
