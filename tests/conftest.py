"""What several rooms' tests start from."""

from collections.abc import Iterator

import pytest
from compute.host_driver import HostDriver, compiler

from stream.compute.cuda.current import use_driver


@pytest.fixture
def driver() -> Iterator[HostDriver]:
    """A CUDA driver in use whose device is the host (`compute.host_driver`)."""
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    host = HostDriver()
    with use_driver(host):
        yield host
