"""Compiled kernels are kept, and the cache is never what makes a run fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream.compute.cuda import cubins
from stream.compute.cuda.cubins import FOLDER, cache_key, load_image
from stream.compute.cuda.kernel_sources import Sources
from stream.errors import BackendError
from stream.files import cache_folder

SOURCES = Sources("family", "kernel text", {"one.cuh": "header", "two.cuh": "another"})


class Counting:
    """A compiler that counts how often it runs; the image says what it was made of."""

    name = "NVRTC"
    architectures: tuple[int, ...] = (80, 86)

    def __init__(self, version: str = "13.0") -> None:
        self.version, self.runs = version, 0

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        self.runs += 1
        if "error" in sources.text:
            return None, "family.cu(1): error: no"
        return f"{target} {sources.text}".encode() * 50, "family.cu(1): warning #1-D: careless"


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    found = Counting()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cubins, "find_compiler", lambda: found)
    monkeypatch.setattr(cubins, "read_sources", lambda family: SOURCES)
    return found


def images() -> list[Path]:
    return sorted(cache_folder(FOLDER).iterdir())


def test_the_second_time_nothing_is_compiled(compiler: Counting, caplog: pytest.LogCaptureFixture) -> None:
    first = load_image("family", "sm_86")
    assert first == b"sm_86 kernel text" * 50
    assert "careless" in caplog.text
    assert load_image("family", "sm_86") == first
    assert compiler.runs == 1
    assert load_image("family", "sm_80") != first
    assert load_image("family", "sm_120") == b"compute_86 kernel text" * 50
    assert compiler.runs == len(images()) == 3


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "hash only", "folder"])
def test_a_damaged_file_is_built_anew(compiler: Counting, damage: str) -> None:
    good = load_image("family", "sm_86")
    (path,) = images()
    data = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        broken = {
            "truncated": data[:-1],
            "changed": data[:-1] + bytes([data[-1] ^ 1]),
            "empty": b"",
            "hash only": data[:32],
        }
        path.write_bytes(broken[damage])
    assert load_image("family", "sm_86") == good
    assert compiler.runs == 2
    if damage != "folder":
        assert path.read_bytes() == data


def test_a_folder_that_cannot_be_written_only_costs_time(
    compiler: Counting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert load_image("family", "sm_86") == load_image("family", "sm_86")
    assert compiler.runs == 2


def test_a_failed_build_leaves_nothing(compiler: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cubins, "read_sources", lambda family: Sources("family", "error", {}))
    with pytest.raises(BackendError, match="does not compile for sm_86"):
        load_image("family", "sm_86")
    assert not cache_folder(FOLDER).exists()


def test_the_key_changes_with_all_that_decides_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    other = Counting()
    other.name = "nvcc"
    keys = [
        cache_key(SOURCES, "sm_86", Counting()),
        cache_key(SOURCES, "sm_80", Counting()),
        cache_key(SOURCES, "compute_86", Counting()),
        cache_key(SOURCES, "sm_86", Counting("12.9")),
        cache_key(SOURCES, "sm_86", other),
        cache_key(Sources("family", "kernel text ", SOURCES.headers), "sm_86", Counting()),
        cache_key(Sources("family", "kernel text", {"one.cuh": "header"}), "sm_86", Counting()),
        cache_key(Sources("family", "kernel text", {**SOURCES.headers, "one.cuh": "x"}), "sm_86", Counting()),
    ]
    monkeypatch.setattr(cubins, "OPTIONS", ("--std=c++20",))
    keys.append(cache_key(SOURCES, "sm_86", Counting()))
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    turned = dict(reversed(SOURCES.headers.items()))
    assert cache_key(Sources("family", "kernel text", turned), "sm_86", Counting()) == keys[0]


def test_threads_that_compile_at_once_leave_one_whole_file(compiler: Counting) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(load_image("family", "sm_86"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"sm_86 kernel text" * 50] * 8
    assert len(images()) == 1
    runs = compiler.runs
    load_image("family", "sm_86")
    assert compiler.runs == runs


def test_processes_share_the_cache(tmp_path: Path) -> None:
    """With the real compiler: what one process compiled, the next one takes without it."""
    program = """
import stream.compute.cuda.cubins as cubins
from stream.compute.cuda.kernel_sources import Sources, read_sources
text = 'struct P { int *x; };\\nextern "C" __global__ void one(P p) { *p.x = 1; }\\n'
cubins.read_sources = lambda family: Sources('one', text, {})
build, runs = cubins.compile_kernels, []
cubins.compile_kernels = lambda *a: runs.append(1) or build(*a)
image = cubins.load_image('one', 'sm_86')
print(len(runs), hash(image) and len(image))
"""
    try:
        cubins.find_compiler()
    except BackendError as error:
        pytest.skip(str(error))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert [answer[0] for answer in answers] == ["1", "0"]
    assert answers[0][1] == answers[1][1]
