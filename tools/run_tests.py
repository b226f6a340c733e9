"""Run the tests: two halves at once, or with arguments what they name, as pytest does.

Usage: python tools/run_tests.py [pytest's arguments]

Tests of servers, pipelines and sources look at the clock and go one by one. Those that only compute go
beside them, in a process that gives way to the first and takes what that leaves idle.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMPUTING = (
    "tests/compute",
    "tests/data",
    "tests/depth",
    "tests/device",
    "tests/expression",
    "tests/face",
    "tests/fuzz",
    "tests/inference",
    "tests/mesh",
    "tests/models",
    "tests/networks",
    "tests/outputs",
    "tests/protocol",
    "tests/render",
    "tests/training",
)
"""Folders whose tests mind no clock, no port and no other process; all others are timed."""

BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""More would spin on the other half's core."""

ONE_THREAD = {**BLAS_THREADS, "OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1"}
"""For torch and software OpenGL, too."""


def main() -> int:
    """The worst of the halves' exit codes."""
    os.chdir(Path(__file__).parents[1])
    arguments = sys.argv[1:]
    if arguments or (os.cpu_count() or 1) < 2:
        return subprocess.call(_pytest(*arguments))
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(
            # Which tests failed last is remembered by the other half.
            ["nice", "-n", "10", *_pytest("-p", "no:cacheprovider", *COMPUTING)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD},
        )
        try:
            timed = subprocess.call(
                _pytest("tests", *(f"--ignore={folder}" for folder in COMPUTING)),
                env={**os.environ, **BLAS_THREADS},
            )
            computing = beside.wait()
        finally:
            beside.kill()
        output.seek(0)
        print("\nThe tests that only compute:", output.read(), sep="\n", end="")
    return max(timed, computing)


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


if __name__ == "__main__":
    raise SystemExit(main())
