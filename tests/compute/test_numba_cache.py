"""The compiled kernels load whatever the state of numba's cache."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
from stream.compute.numba_twin.resize_maps import resize_map
out = np.empty((14, 14), np.float32)
resize_map(np.full((7, 7), 0.5, np.float32), False, out)
print(out.sum())
"""
"""One of the smallest kernels stands for all: each process compiles it, which takes long for large ones."""


def start(cache: Path) -> subprocess.Popen[str]:
    """A fresh interpreter that runs a kernel, with numba's cache in ``cache``."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output.strip()


def test_two_processes_at_once_share_the_cache_and_a_damaged_one_is_compiled_around(tmp_path: Path) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert finish(first) == finish(second) == "98.0"
    indexes = list(tmp_path.rglob("*.nbi"))
    assert indexes
    assert finish(start(tmp_path)) == "98.0"
    for index in indexes:
        index.write_bytes(b"")
    assert finish(start(tmp_path)) == "98.0"


def test_without_any_folder_for_the_cache_it_still_runs(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert finish(start(blocked)) == "98.0"
