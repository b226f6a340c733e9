"""Compute backends by name, and the way from a name to a driver."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from compute.host_driver import HostDriver

from stream.compute.backends import choose_backend, load_twin, why_not
from stream.compute.cuda import current, libraries
from stream.compute.cuda.current import current_driver, use_driver, why_no_driver
from stream.compute.cuda.libraries import describe_compiler, describe_driver, describe_library, open_driver
from stream.errors import BackendError, ConfigError, MissingExtraError


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No driver was asked for yet."""
    monkeypatch.setattr(current, "_current", None)
    monkeypatch.setattr(current, "_refusal", None)
    libraries.why_no_library.cache_clear()
    yield
    libraries.why_no_library.cache_clear()


@pytest.fixture
def equipped(fresh: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with both libraries, libcuda and a compiler; what opening each driver gives, by name."""
    opened: dict[str, Any] = {"cuda-core": HostDriver(), "pycuda": HostDriver()}

    def give(name: str) -> Any:
        if isinstance(opened[name], BackendError):
            raise opened[name]
        return opened[name]

    modules = {
        "stream.compute.cuda.cuda_core_driver": SimpleNamespace(CudaCoreDriver=lambda: give("cuda-core")),
        "stream.compute.cuda.pycuda_driver": SimpleNamespace(PyCudaDriver=lambda: give("pycuda")),
    }
    monkeypatch.setattr(libraries, "_is_installed", lambda library: True)
    monkeypatch.setattr(libraries.ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(libraries, "find_compiler", lambda: None)
    monkeypatch.setattr(libraries, "importlib", SimpleNamespace(import_module=modules.__getitem__))
    return opened


def test_auto_takes_the_backend_that_runs_here() -> None:
    best = "numba" if why_not("cuda") else "cuda"
    assert choose_backend("auto") == best
    assert load_twin("depth_to_mesh", "numba") is load_twin("depth_to_mesh", "numba")


def test_without_a_library_cuda_says_what_to_install(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_is_installed", lambda library: False)
    with pytest.raises(BackendError, match=r"needs a library for CUDA; install it with: .*prosopon\[gpu\]"):
        choose_backend("cuda")
    assert choose_backend("auto") == "numba"


def test_without_an_nvidia_driver_cuda_says_so(equipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(libraries.ctypes, "CDLL", missing)
    with pytest.raises(BackendError, match=r"no NVIDIA driver \(libcuda.so.1 was not found\); .*numba"):
        choose_backend("cuda")
    assert choose_backend("auto") == "numba"


def test_a_driver_without_a_gpu_gives_auto_to_numba_with_one_warning(
    equipped: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    no_device = BackendError("cuInit failed with CUDA_ERROR_NO_DEVICE; no NVIDIA GPU is visible.")
    equipped.update({"cuda-core": no_device, "pycuda": no_device})
    assert [choose_backend("auto") for _ in range(3)] == ["numba"] * 3
    assert caplog.text.count("CUDA_ERROR_NO_DEVICE") == 1
    assert why_no_driver() == str(no_device), "the same sentence is not said twice"
    with pytest.raises(BackendError, match="CUDA_ERROR_NO_DEVICE"):
        current_driver()


def test_without_a_compiler_there_is_no_driver(equipped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise BackendError("No compiler for the CUDA kernels was found.")

    monkeypatch.setattr(libraries, "find_compiler", missing)
    assert why_no_driver() == "No compiler for the CUDA kernels was found."
    assert choose_backend("auto") == "numba"


def test_cuda_core_comes_first_and_pycuda_second(equipped: dict[str, Any]) -> None:
    assert choose_backend("auto") == "cuda"
    assert current_driver() is equipped["cuda-core"]
    equipped["cuda-core"] = BackendError("no")
    assert open_driver() is equipped["pycuda"]


@pytest.mark.parametrize(("context", "name"), [(object(), "pycuda"), (None, "cuda-core")])
def test_a_program_that_uses_pycuda_gets_pycudas_context(
    equipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch, context: Any, name: str
) -> None:
    in_use = SimpleNamespace(Context=SimpleNamespace(get_current=lambda: context))
    monkeypatch.setitem(libraries.sys.modules, "pycuda.driver", in_use)
    assert open_driver() is equipped[name]


def test_a_library_that_is_not_installed_is_not_tried(
    equipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "_is_installed", lambda library: library.package == "pycuda")
    assert open_driver() is equipped["pycuda"]


def test_a_driver_can_be_lent_for_a_while(fresh: None) -> None:
    outer, inner = HostDriver(), HostDriver()
    with use_driver(outer):
        assert current_driver() is outer
        assert choose_backend("auto") == "cuda"
        with contextlib.suppress(KeyError), use_driver(inner):
            assert current_driver() is inner
            raise KeyError
        assert current_driver() is outer
    assert current._current is None


def in_a_process(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_does_without_the_driver_of_its_parent() -> None:
    answer = in_a_process("""
import os
from stream.compute.backends import choose_backend, why_not
from stream.compute.cuda.current import use_driver
with use_driver(object()):
    if os.fork() == 0:
        print(why_not("cuda"), choose_backend("auto"), flush=True)
        os._exit(0)
    os.wait()
    print(choose_backend("auto"))
""")
    assert answer.splitlines() == [
        "CUDA was in use when this process was forked; start worker processes with spawn instead. numba",
        "cuda",
    ]


def test_no_cuda_library_is_loaded_by_an_import() -> None:
    modules = in_a_process(
        "import sys, stream.compute.dispatch, stream.compute.cuda.pycuda_driver\n"
        "import stream.compute.cuda.cuda_core_driver\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert not set(modules.split()) & {"cuda", "pycuda", "torch", "cupy", "tensorrt", "numba"}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, cuda, numba"):
        choose_backend("opencl")


def test_auto_without_numba_says_so(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_is_installed", lambda library: False)
    monkeypatch.setattr("stream.compute.backends.importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"prosopon\[gpu\].*pip install numba"):
        choose_backend("auto")


def test_what_doctor_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_driver(HostDriver()) == (
        "host C++, host, 1 multiprocessors, 1.0 GiB, driver for CUDA none, by host"
    )
    known = SimpleNamespace(name="NVRTC", version="13.0", architectures=(75, 120))
    monkeypatch.setattr(libraries, "find_compiler", lambda: known)
    assert describe_compiler() == "NVRTC 13.0, sm_75 to sm_120"
    monkeypatch.setattr(libraries, "_is_installed", lambda library: library.package == "cuda.bindings")
    monkeypatch.setattr(libraries.metadata, "version", lambda name: {"cuda-bindings": "13.0.3"}[name])
    assert describe_library("cuda-core") == "cuda-bindings 13.0.3"
    with pytest.raises(MissingExtraError, match=r"pip install 'prosopon\[pycuda\]'"):
        describe_library("pycuda")
