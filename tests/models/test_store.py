"""The model store: a name gives an intact file or a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stream.errors import ModelError
from stream.models import store
from stream.models.manifest import load_manifest, update_manifest
from stream.models.store import list_models, open_model


@pytest.fixture
def house(tmp_path: Path, tiny_model: bytes) -> Path:
    """A manifest with one intact model, ``tiny``."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tiny.onnx").write_bytes(tiny_model)
    (tmp_path / "files" / "tiny.md").write_text("# Tiny\n")
    path = tmp_path / "manifest.yaml"
    path.write_text("models: []\n")
    update_manifest(
        "tiny",
        "tiny.onnx",
        task="depth",
        licence="CC0-1.0",
        crop_size=16,
        data="random numbers",
        accuracy={"L1": 0.5},
        card="tiny.md",
        path=path,
    )
    return path


def model_file(house: Path) -> Path:
    return house.parent / "files" / "tiny.onnx"


def test_an_intact_model_is_opened(house: Path, tiny_model: bytes) -> None:
    path = open_model("tiny", house)
    assert path == model_file(house)
    assert path.read_bytes() == tiny_model
    assert [(state.entry.name, state.ready, state.why) for state in list_models(house)] == [
        ("tiny", True, "")
    ]


def test_the_content_is_hashed_once(house: Path) -> None:
    store._sha256.cache_clear()
    for _ in range(3):
        open_model("tiny", house)
    assert store._sha256.cache_info().misses == 1


def test_an_unknown_name_is_refused(house: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'nose'; known: tiny"):
        open_model("nose", house)


def test_a_missing_file_is_refused(house: Path) -> None:
    model_file(house).unlink()
    with pytest.raises(ModelError, match=r"'tiny' cannot be read.*No such file.*install prosopon again"):
        open_model("tiny", house)
    (state,) = list_models(house)
    assert not state.ready
    assert "No such file" in state.why


def test_a_changed_byte_is_found_even_after_a_good_look(house: Path) -> None:
    path = open_model("tiny", house)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    before = path.stat().st_mtime_ns
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before + 10**9, before + 10**9))
    with pytest.raises(ModelError, match="not the file that its manifest lists"):
        open_model("tiny", house)


@pytest.mark.parametrize("change", [-1, 1, 1 << 32])
def test_another_size_is_refused_unread(house: Path, change: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_file(house)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + change)
    monkeypatch.setattr(store, "_sha256", lambda *_: pytest.fail("the file was read"))
    with pytest.raises(ModelError, match="not the file that its manifest lists"):
        open_model("tiny", house)


def test_a_folder_in_the_files_place_is_refused(house: Path) -> None:
    model_file(house).unlink()
    model_file(house).mkdir()
    with pytest.raises(ModelError):
        open_model("tiny", house)


def test_every_shipped_model_is_intact() -> None:
    for state in list_models():
        assert state.ready, state.why
    assert len(list_models()) == len(load_manifest().models)
