"""The kernels compile, for every architecture and without a warning; failed builds say where."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
from compute.fake_cuda import ADD, ADD_SOURCE
from compute.host_driver import KERNELS

from stream.compute.cuda import compiler as compiler_module
from stream.compute.cuda.compiler import (
    CHECKED_ARCHITECTURES,
    Compiler,
    KernelUsage,
    Nvcc,
    Nvrtc,
    compile_kernels,
    find_compiler,
    parse_usage,
    target_for,
)
from stream.compute.cuda.kernel_sources import Sources, kernel_families, read_sources
from stream.errors import BackendError

ADD_SOURCES = Sources("test_add", ADD_SOURCE, {"prosopon.cuh": (KERNELS / "prosopon.cuh").read_text()})


@pytest.fixture(params=[Nvrtc, Nvcc])
def compiler(request: pytest.FixtureRequest) -> Compiler:
    try:
        found: Compiler = request.param()
    except BackendError as error:
        pytest.skip(str(error))
    return found


@pytest.fixture
def any_compiler() -> Compiler:
    try:
        return find_compiler()
    except BackendError as error:
        pytest.skip(str(error))


class Old:
    """A compiler of another time."""

    name, version = "NVRTC", "13.0"
    architectures: tuple[int, ...] = (75, 80, 90)

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        raise AssertionError("not asked for")


@pytest.mark.parametrize("family", kernel_families())
def test_every_kernel_compiles_for_every_architecture_without_warnings(
    family: str, any_compiler: Compiler
) -> None:
    sources = read_sources(family)
    for arch in CHECKED_ARCHITECTURES:
        build = compile_kernels(sources, arch, any_compiler)
        assert build.warnings == (), (family, arch)
        assert build.usage, (family, arch)


def test_a_build_gives_a_cubin_and_what_the_kernel_takes(compiler: Compiler) -> None:
    build = compile_kernels(ADD_SOURCES, "sm_86", compiler)
    assert build.image.startswith(b"\x7fELF")
    assert b"add" in build.image
    (usage,) = build.usage
    assert usage.kernel == "add"
    assert 4 <= usage.registers <= 255
    assert (usage.shared, usage.stack, usage.spill_stores, usage.spill_loads) == (0, 0, 0, 0)
    assert build.warnings == ()


def test_a_virtual_architecture_gives_ptx_that_takes_the_struct_by_value(compiler: Compiler) -> None:
    image = compile_kernels(ADD_SOURCES, "compute_80", compiler).image
    assert image.endswith(b"\0")
    text = image.decode()
    assert ".target sm_80" in text
    assert f"add_param_0[{ADD.itemsize}]" in text


def test_shared_memory_and_spills_are_reported(compiler: Compiler) -> None:
    text = """
#include "prosopon.cuh"
struct BigParams { float *out; int n; };
KERNEL(big, BigParams, 1024) {
    SHARED float table[512];
    each_thread([&](int t) { table[t % 512] = p.out[t]; });
    each_thread([&](int t) {
        float many[200];
#pragma unroll
        for (int i = 0; i < 200; ++i) many[i] = p.out[i * p.n + t];
#pragma unroll
        for (int i = 0; i < 200; ++i) p.out[i * p.n + t] = many[199 - i] * many[(i * 7) % 200] + table[i];
    });
}
"""
    (usage,) = compile_kernels(Sources("big", text, ADD_SOURCES.headers), "sm_86", compiler).usage
    assert usage.shared == 2048
    assert usage.registers == 64, "1024 threads share the 65536 registers of a block"
    assert usage.spill_stores > 0
    assert usage.spill_loads > 0


def test_a_failed_build_shows_the_compilers_lines(compiler: Compiler) -> None:
    broken = Sources("test_add", ADD_SOURCE.replace("p.step;", "p.stepp;"), ADD_SOURCES.headers)
    with pytest.raises(BackendError) as caught:
        compile_kernels(broken, "sm_86", compiler)
    first, second, *_ = str(caught.value).splitlines()
    assert first == (
        f"kernels/test_add.cu does not compile for sm_86 with {compiler.name} {compiler.version}:"
    )
    line = 1 + ADD_SOURCE[: ADD_SOURCE.index("p.step;")].count("\n")
    assert second.startswith(f"test_add.cu({line}): error: ")
    assert "stepp" in second


def test_a_failed_build_is_short_however_long_the_log(compiler: Compiler) -> None:
    text = ADD_SOURCE + "\n".join(
        f"int f{i}() {{ return unknown_name_{i} {'+ 1' * 200}; }}" for i in range(90)
    )
    with pytest.raises(BackendError) as caught:
        compile_kernels(Sources("test_add", text, ADD_SOURCES.headers), "sm_86", compiler)
    lines = str(caught.value).splitlines()
    assert len(lines) <= compiler_module.MAX_LINES + 1
    assert max(map(len, lines)) <= compiler_module.MAX_COLUMNS


def test_warnings_are_kept(compiler: Compiler) -> None:
    careless = ADD_SOURCE.replace("const int i", "const int never_read = 3;\n        const int i")
    build = compile_kernels(Sources("test_add", careless, ADD_SOURCES.headers), "sm_86", compiler)
    (warning,) = build.warnings
    assert "warning" in warning
    assert "never_read" in warning
    assert build.image.startswith(b"\x7fELF")


def test_a_gpu_newer_than_the_compiler_gets_ptx_and_an_older_one_a_sentence() -> None:
    assert target_for("sm_90", Old()) == "sm_90"
    assert target_for("sm_86", Old()) == "compute_80"
    assert target_for("sm_200", Old()) == "compute_90"
    with pytest.raises(BackendError, match=r"NVRTC 13\.0 compiles for sm_75 and later.* this GPU is sm_70; "):
        target_for("sm_70", Old())


def test_what_ptxas_writes_is_read() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_86'
ptxas info    : Function properties for one
    48 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 384 bytes cmem[0]
ptxas info    : Function properties for helper
ptxas         .     16 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Compiling entry function 'two' for 'sm_86'
ptxas info    : Function properties for two
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, 368 bytes cmem[0]
"""
    assert parse_usage(log) == [KernelUsage("one", 40, 1024, 64, 12, 16), KernelUsage("two", 16, 0, 0, 0, 0)]


def test_without_nvrtc_nvcc_is_taken_and_without_both_the_install_line_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Any:
        raise BackendError("NVRTC was not found; install it.")

    monkeypatch.setattr(compiler_module, "_load_nvrtc", missing)
    if compiler_module.shutil.which("nvcc"):
        assert find_compiler.__wrapped__().name == "nvcc"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackendError, match=r"NVRTC was not found, nvcc is not on PATH.*prosopon\[gpu\]"):
        find_compiler.__wrapped__()


def test_an_nvcc_that_hangs_or_breaks_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> Any:
        raise subprocess.TimeoutExpired("nvcc", 120)

    monkeypatch.setattr(compiler_module.shutil, "which", lambda name: "/opt/nvcc")
    monkeypatch.setattr(compiler_module.subprocess, "run", hang)
    with pytest.raises(BackendError, match=r"/opt/nvcc does not run .*timed out"):
        Nvcc()


def test_sources_come_with_the_headers_they_include() -> None:
    for family in kernel_families():
        sources = read_sources(family)
        assert list(sources.headers)[:1] == ["prosopon.cuh"]
        assert sources.text
    with pytest.raises(BackendError, match=r"kernels/none\.cu cannot be read"):
        read_sources("none")


def test_the_struct_of_the_tests_has_the_layout_that_c_gives_it() -> None:
    assert ADD.itemsize == 24
    assert ADD.fields is not None
    assert ADD.names is not None
    assert [ADD.fields[name][1] for name in ADD.names] == [0, 8, 12, 16]
    assert np.dtype(ADD).isalignedstruct
