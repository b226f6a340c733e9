"""Fixtures of the synthetic face engine's tests."""

from __future__ import annotations

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
    """(data folder, cache of fits, head model, fits of the first 24 photos)."""
    pytest.importorskip("scipy")
    from face_data import make_face_data

    return make_face_data(shared, tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def engine(face_data: Any) -> Iterator[FaceEngine]:
    from stream.errors import BackendError
    from stream.training.faces.engine import FaceEngine

    try:
        made = FaceEngine(face_data[0], face_data[1], ENGINE_SIZE)
    except BackendError as error:
        pytest.skip(str(error))
    yield made
    made.close()
