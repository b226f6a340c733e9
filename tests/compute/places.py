"""Where the kernels' tests run them: numba, the CUDA sources as host C++, and a GPU where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from compute.host_driver import HostDriver, compiler

from stream.compute.cuda.current import use_driver, why_no_driver

PLACES = ("numba", "host", "cuda")

every_place = pytest.mark.parametrize("place", PLACES)


@contextmanager
def place_for(place: str) -> Iterator[str]:
    """The name to give as ``compute`` while a test runs; skips where the place is missing."""
    if place == "host":
        if compiler() is None:
            pytest.skip("no C++ compiler here; install one with: apt-get install g++")
        with use_driver(HostDriver()):
            yield "cuda"
        return
    if place == "cuda" and (reason := why_no_driver()):
        pytest.skip(reason)
    yield place
