"""Compute backends by name."""

import pytest

from stream.compute.backends import choose_backend, load_twin, why_not
from stream.errors import BackendError, ConfigError


def test_auto_takes_the_backend_that_runs_here() -> None:
    assert choose_backend("auto") == "numba"
    assert load_twin("depth_mesh", "auto") is load_twin("depth_mesh", "numba")


def test_cuda_says_why_not_and_what_to_use() -> None:
    with pytest.raises(BackendError, match="not built") as caught:
        choose_backend("cuda")
    assert "numba" in str(caught.value)
    assert why_not("numba") is None


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, cuda, numba"):
        choose_backend("opencl")


def test_auto_without_numba_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: object) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr("stream.compute.backends.importlib.import_module", refuse)
    with pytest.raises(BackendError, match="pip install numba"):
        choose_backend("auto")
