"""Run the tests: two halves at once, or with arguments what they name, as pytest does.

Usage: python tools/run_tests.py [pytest's arguments]

Tests of networks, pipelines and windows look at the clock and go one by one. Those that only compute go
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
    "tests/depth",
    "tests/expression",
    "tests/face",
    "tests/inference",
    "tests/mesh",
    "tests/training",
)
"""Folders whose tests mind no clock, no port and no other process; all others are timed."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"), "1")


def main() -> int:
    """The worst of the halves' exit codes."""
    os.chdir(Path(__file__).parents[1])
    arguments = sys.argv[1:]
    if arguments or len(os.sched_getaffinity(0)) < 2:
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
            timed = subprocess.call(_pytest("tests", *(f"--ignore={folder}" for folder in COMPUTING)))
            computing = beside.wait()
        finally:
            beside.kill()
        output.seek(0)
        print(output.read(), end="")
    return max(timed, computing)


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


if __name__ == "__main__":
    raise SystemExit(main())
