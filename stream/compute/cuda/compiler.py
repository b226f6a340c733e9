"""Compiles the kernels for a GPU by NVRTC (a wheel), or by nvcc where there is none; neither needs a GPU."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from stream.compute.cuda.kernel_sources import Sources
from stream.errors import BackendError

OPTIONS = ("--std=c++17", "--ptxas-options=-v")
"""For NVRTC and nvcc alike. No fast maths: the CPU twins would differ by more than rounding."""

CHECKED_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Those that tests and tools/report_kernels.py compile for."""

CACHING_NVRTC = (12, 8)
"""The first NVRTC that keeps what it compiled."""

MAX_LINES, MAX_COLUMNS = 20, 200
"""How much of a failed build's log an error carries."""

NVCC_SECONDS = 120

_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


@dataclass(frozen=True, slots=True)
class KernelUsage:
    """What a thread (registers, bytes of stack and spills) or a block (bytes of shared memory) takes."""

    kernel: str
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled family.

    :ivar image: a cubin, or PTX text, for CUDA's module loader.
    :ivar usage: by kernel; empty for PTX.
    :ivar warnings: the compiler's lines.
    """

    image: bytes
    usage: tuple[KernelUsage, ...]
    warnings: tuple[str, ...]


class Compiler(Protocol):
    """A program or library that compiles CUDA C++.

    :ivar name: ``NVRTC`` or ``nvcc``.
    :ivar version: e.g. ``13.0.88``.
    :ivar architectures: compute capabilities as numbers (86 for ``sm_86``), ascending.
    """

    name: str
    version: str
    architectures: tuple[int, ...]

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        """Image and log; no image where the sources do not compile.

        :param target: ``sm_86`` for a cubin, ``compute_86`` for PTX.
        :raises BackendError: the compiler itself cannot run.
        """


class Nvrtc:
    """NVIDIA's runtime compiler, by the wheels cuda-bindings (12 or 13) and nvidia-cuda-nvrtc.

    :raises BackendError: it is not installed, or cannot be loaded.
    """

    name = "NVRTC"

    def __init__(self) -> None:
        self._library = _load_nvrtc()
        self.architectures = tuple(sorted(self._call("nvrtcGetSupportedArchs")[0]))
        # What comes from its cache has no log, and we have a cache of our own.
        cached = self._call("nvrtcVersion") >= CACHING_NVRTC
        self._options = [option.encode() for option in (*OPTIONS, *(["--no-cache"] if cached else []))]
        # NVRTC tells major and minor only, but signs its PTX with all three numbers.
        ptx, _ = self.compile(Sources("empty", "", {}), f"compute_{self.architectures[0]}")
        found = re.search(rb"V(\d+\.\d+\.\d+)", ptx or b"")
        self.version = found[1].decode() if found else ".".join(map(str, self._call("nvrtcVersion")))

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        """As `Compiler.compile`."""
        texts = [text.encode() for text in sources.headers.values()]
        names = [name.encode() for name in sources.headers]
        (program,) = self._call(
            "nvrtcCreateProgram",
            sources.text.encode(),
            f"{sources.family}.cu".encode(),
            len(texts),
            texts,
            names,
        )
        try:
            options = [f"--gpu-architecture={target}".encode(), *self._options]
            status = self._library.nvrtcCompileProgram(program, len(options), options)[0]
            log = self._text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode(errors="replace")
            if status != self._library.nvrtcResult.NVRTC_SUCCESS:
                return None, log or str(status.name)
            if target.startswith("compute"):
                return self._text(program, "nvrtcGetPTXSize", "nvrtcGetPTX") + b"\0", log
            (size,) = self._call("nvrtcGetCUBINSize", program)
            return self._fill(program, "nvrtcGetCUBIN", size), log
        finally:
            self._library.nvrtcDestroyProgram(program)

    def _text(self, program: Any, size_call: str, call: str) -> bytes:
        (size,) = self._call(size_call, program)
        return self._fill(program, call, size).rstrip(b"\0")

    def _fill(self, program: Any, call: str, size: int) -> bytes:
        text = bytearray(size)
        self._call(call, program, text)
        return bytes(text)

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        status, *values = getattr(self._library, name)(*arguments)
        if status != self._library.nvrtcResult.NVRTC_SUCCESS:
            raise BackendError(f"{name} failed with {status.name}; install NVRTC again: {_INSTALL}.")
        return tuple(values)


class Nvcc:
    """The CUDA toolkit's compiler, which needs a C++ compiler beside it.

    :raises BackendError: it is not on PATH, or does not run.
    """

    name = "nvcc"

    def __init__(self) -> None:
        program = shutil.which("nvcc")
        if program is None:
            raise BackendError("nvcc is not on PATH; install the CUDA toolkit and put its bin folder there.")
        self._program = program
        found = re.search(r"V(\d+\.\d+\.\d+)", self._run(["--version"])[1])
        if found is None:
            raise BackendError(f"{program} does not say its version; install the CUDA toolkit again.")
        self.version = found[1]
        numbers = re.findall(r"compute_(\d+)\b", self._run(["--list-gpu-arch"])[1])
        self.architectures = tuple(sorted(int(number) for number in numbers))

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        """As `Compiler.compile`."""
        kind = "--ptx" if target.startswith("compute") else "--cubin"
        with tempfile.TemporaryDirectory(prefix="prosopon-") as place:
            folder = Path(place)
            for name, text in {f"{sources.family}.cu": sources.text, **sources.headers}.items():
                (folder / name).write_text(text, encoding="utf-8")
            # In the folder itself, so that the log names files as they are called in kernels/.
            command = [kind, f"--gpu-architecture={target}", *OPTIONS, f"{sources.family}.cu", "-o", "image"]
            code, log = self._run(command, folder)
            if code:
                return None, log
            image = (folder / "image").read_bytes()
            return (image + b"\0" if kind == "--ptx" else image), log

    def _run(self, arguments: list[str], folder: Path | None = None) -> tuple[int, str]:
        try:
            done = subprocess.run(
                [self._program, *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=NVCC_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendError(
                f"{self._program} does not run ({error}); install the CUDA toolkit again."
            ) from error
        return done.returncode, done.stdout


@cache
def find_compiler() -> Compiler:
    """NVRTC, or else nvcc.

    :raises BackendError: neither is there; the message says why and how to get one.
    """
    refusals = []
    for kind in (Nvrtc, Nvcc):
        try:
            compiler: Compiler = kind()
        except BackendError as error:
            refusals.append(str(error).partition("; ")[0])
            continue
        return compiler
    raise BackendError(
        f"No compiler for the CUDA kernels was found ({', '.join(refusals)}); install one with: {_INSTALL}"
    )


def target_for(arch: str, compiler: Compiler) -> str:
    """What to compile for a GPU of architecture ``arch``: itself, or PTX that its driver compiles further.

    PTX for a compute capability runs on every later one, so a GPU that is newer than the compiler gets PTX
    for the latest one that the compiler knows (CUDA C++ Programming Guide, section PTX Compatibility).

    :raises BackendError: the GPU is older than all that the compiler knows.
    """
    number = int(arch.removeprefix("sm_"))
    if number in compiler.architectures:
        return f"sm_{number}"
    older = [known for known in compiler.architectures if known < number]
    if older:
        return f"compute_{older[-1]}"
    raise BackendError(
        f"{compiler.name} {compiler.version} compiles for sm_{compiler.architectures[0]} and later, but this"
        f" GPU is {arch}; install an older one that knows it, or use --compute numba."
    )


def compile_kernels(sources: Sources, target: str, compiler: Compiler) -> Build:
    """Compile one family.

    :param target: ``sm_86`` for a cubin, ``compute_86`` for PTX.
    :raises BackendError: it does not compile, with the compiler's own lines; or the compiler cannot run.
    """
    image, log = compiler.compile(sources, target)
    lines = [line.rstrip()[:MAX_COLUMNS] for line in log.splitlines() if line.strip(" \0^~")]
    if image is None:
        name = f"{compiler.name} {compiler.version}"
        raise BackendError(
            f"kernels/{sources.family}.cu does not compile for {target} with {name}:\n"
            + "\n".join(_first_errors(lines))
        )
    warnings = tuple(line for line in lines if re.search(r"\bwarning( #| *:)", line))
    return Build(image, tuple(parse_usage(log)), warnings)


def parse_usage(log: str) -> list[KernelUsage]:
    """Resources by kernel from what ``ptxas -v`` wrote; functions not inlined count for their kernel."""
    found: list[dict[str, Any]] = []
    for line in log.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            found.append({"kernel": entry[1], "registers": 0, "shared": 0, "frame": [0, 0, 0]})
        elif found and (frame := _FRAME.search(line)):
            found[-1]["frame"] = [a + int(b) for a, b in zip(found[-1]["frame"], frame.groups(), strict=True)]
        elif found and (used := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            found[-1].update(registers=int(used[1]), shared=int(shared[1]) if shared else 0)
    return [KernelUsage(one["kernel"], one["registers"], one["shared"], *one["frame"]) for one in found]


def _first_errors(lines: Sequence[str]) -> Sequence[str]:
    """From the first error on, since warnings may come before it."""
    start = next((at for at, line in enumerate(lines) if "error" in line), 0)
    return lines[start : start + MAX_LINES]


_INSTALL = "pip install 'prosopon[gpu]' (in a checkout: pip install -e '.[gpu]')"


def _load_nvrtc() -> ModuleType:
    try:
        nvrtc = importlib.import_module("cuda.bindings.nvrtc")
        nvrtc.nvrtcVersion()
    except ImportError as error:
        raise BackendError(f"NVRTC cannot be loaded: {error}; install it with: {_INSTALL}") from error
    except Exception as error:  # what the bindings raise without the library depends on their version
        raise BackendError(f"NVRTC was not found; install it with: {_INSTALL}") from error
    return nvrtc
