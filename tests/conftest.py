"""What several rooms' tests start from."""

from collections.abc import Iterator

import pytest
from compute.host_driver import HostDriver, compiler

from stream.compute.cuda.current import use_driver


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests compile does not go into the user's cache, nor come from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def driver() -> Iterator[HostDriver]:
    """A CUDA driver in use whose device is the host (`compute.host_driver`)."""
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    host = HostDriver()
    with use_driver(host):
        yield host
