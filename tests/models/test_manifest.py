"""The manifest: complete entries only, written from the files themselves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_models import tiny_depth_model

from stream.errors import ConfigError, ModelError
from stream.models.manifest import (
    MANIFEST,
    MAX_BYTES,
    MAX_SHIPPED_BYTES,
    load_manifest,
    remove_model,
    update_manifest,
)

FACTS: dict[str, Any] = {
    "task": "depth",
    "licence": "CC0-1.0",
    "crop_size": 16,
    "data": "random numbers",
    "accuracy": {"L1, crop units, nothing": 0.5},
    "card": "tiny.md",
}


@pytest.fixture
def house(tmp_path: Path, tiny_model: bytes) -> Path:
    """A manifest without entries, with a model and its card beside it."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tiny.onnx").write_bytes(tiny_model)
    (tmp_path / "files" / "tiny.md").write_text("# Tiny\n")
    path = tmp_path / "manifest.yaml"
    path.write_text("models: []\n")
    return path


def entry(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [None, 3, 16, 16], "dtype": "float32"}
    facts = {"name": "tiny", "file": "tiny.onnx", "sha256": "0" * 64, "bytes": 10}
    return {**facts, "inputs": [tensor], "outputs": [tensor], **FACTS, **changes}


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"models": list(entries)}))
    return path


def test_a_removed_model_is_gone_with_its_file_and_the_rest_stays(house: Path) -> None:
    update_manifest("tiny", "tiny.onnx", **FACTS, path=house)
    remove_model("another", house)
    assert [entry.name for entry in load_manifest(house).models] == ["tiny"]
    remove_model("tiny", house)
    assert load_manifest(house).models == ()
    assert not (house.parent / "files" / "tiny.onnx").exists()


def test_update_states_what_the_file_is(house: Path, tiny_model: bytes) -> None:
    written = update_manifest("tiny", "tiny.onnx", **FACTS, path=house)
    assert written.sha256 == hashlib.sha256(tiny_model).hexdigest()
    assert written.bytes == len(tiny_model)
    assert written.inputs[0].model_dump() == {
        "name": "image",
        "shape": (None, 3, 16, 16),
        "dtype": "float32",
    }
    assert [tensor.name for tensor in written.outputs] == ["depth", "mask"]
    assert load_manifest(house).models == (written,)


def test_update_replaces_its_own_entry_only(house: Path) -> None:
    update_manifest("tiny", "tiny.onnx", **FACTS, path=house)
    (house.parent / "files" / "other.onnx").write_bytes(tiny_depth_model(size=8))
    other = update_manifest("other", "other.onnx", **FACTS, path=house)
    update_manifest("tiny", "tiny.onnx", **{**FACTS, "licence": "MIT"}, path=house)
    manifest = load_manifest(house)
    assert [model.name for model in manifest.models] == ["other", "tiny"]
    assert manifest.find("other") == other
    assert manifest.find("tiny").licence == "MIT"
    assert sorted(item.name for item in house.parent.iterdir()) == ["files", "manifest.yaml"]


def test_update_refuses_what_is_not_there(house: Path) -> None:
    before = house.read_bytes()
    with pytest.raises(ModelError, match="cannot be read"):
        update_manifest("tiny", "none.onnx", **FACTS, path=house)
    with pytest.raises(ModelError, match="card"):
        update_manifest("tiny", "tiny.onnx", **{**FACTS, "card": "none.md"}, path=house)
    (house.parent / "files" / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot read the model"):
        update_manifest("bad", "bad.onnx", **FACTS, path=house)
    with pytest.raises(ConfigError, match="accuracy"):
        update_manifest("tiny", "tiny.onnx", **{**FACTS, "accuracy": {}}, path=house)
    assert house.read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 63},
        {"bytes": 0},
        {"bytes": MAX_BYTES + 1},
        {"task": "Depth!"},
        {"file": "../secret.onnx"},
        {"file": "/etc/passwd"},
        {"file": ".."},
        {"name": ""},
        {"inputs": []},
        {"crop_size": 0},
        {"licence": ""},
        {"surprise": 1},
    ],
    ids=str,
)
def test_bad_entries_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write(tmp_path / "manifest.yaml", entry(**changes))
    with pytest.raises(ConfigError, match=next(iter(changes))):
        load_manifest(path)


def test_names_occur_once_and_weights_stay_small(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    with pytest.raises(ConfigError, match="name occurs twice"):
        load_manifest(write(path, entry(), entry(file="other.onnx")))
    with pytest.raises(ConfigError, match="file occurs twice"):
        load_manifest(write(path, entry(), entry(name="other")))
    half = MAX_SHIPPED_BYTES // 2
    other = entry(name="other", file="other.onnx", bytes=half + 1)
    with pytest.raises(ConfigError, match="weigh more"):
        load_manifest(write(path, entry(bytes=half), other))


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    manifest = load_manifest(write(tmp_path / "manifest.yaml", entry()))
    with pytest.raises(ModelError, match=r"'nose'.*known: tiny"):
        manifest.find("nose")


def test_everything_shipped_is_listed_and_described() -> None:
    """Nothing lies in `files/` but the files of the manifest, their cards and their figures."""
    models = MANIFEST.parent / "files"
    listed = {entry.file for entry in load_manifest().models}
    assert {path.name for path in models.glob("*.onnx")} <= listed
    for model in load_manifest().models:
        assert model.card is not None
        assert (models / model.card).is_file(), f"{model.name} has no card"
        assert model.crop_size == model.inputs[0].shape[-1]
