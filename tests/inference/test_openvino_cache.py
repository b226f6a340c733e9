"""Compiled networks are kept by OpenVINO: results stay what they were, and nobody else's files are read."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_depth_model, tiny_depth_numpy

from stream.errors import ModelError
from stream.files import cache_folder
from stream.inference.backends import load_engine
from stream.inference.openvino_cache import FOLDER, MOST, kept_networks


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder(FOLDER)


def depth_error(model: bytes) -> float:
    """How far OpenVINO's depth is from plain numpy's, at most."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    depth = load_engine(model, "openvino", threads=1, precision="f32").run({"image": image})["depth"]
    return float(np.abs(depth - tiny_depth_numpy(image, model)[0]).max())


def blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.blob"))


def test_a_network_is_kept_and_gives_the_same_again(folder: Path) -> None:
    model, other = tiny_depth_model(), tiny_depth_model(head_scale=2.0)
    assert depth_error(model) < 1e-5
    (kept,) = blobs(folder)
    made = kept.stat().st_mtime_ns
    assert depth_error(model) < 1e-5
    assert blobs(folder) == [kept]
    assert kept.stat().st_mtime_ns == made, "it was read, not made again"
    assert depth_error(other) < 1e-5, "other weights are another network"
    assert len(blobs(folder)) == 2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_off_is_made_again(folder: Path, share: float) -> None:
    model = tiny_depth_model()
    depth_error(model)
    (kept,) = blobs(folder)
    content = kept.read_bytes()
    kept.chmod(0o600)
    kept.write_bytes(content[: int(share * len(content))])
    assert depth_error(model) < 1e-5


def test_what_others_can_write_to_is_not_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with caplog.at_level(logging.INFO):
        assert kept_networks() is None
    assert "another user" in caplog.text
    assert depth_error(tiny_depth_model()) < 1e-5
    assert blobs(folder) == []


def test_a_place_that_cannot_be_had_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept_networks() is None
    assert depth_error(tiny_depth_model()) < 1e-5


def test_the_oldest_are_removed(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    for number in range(MOST + 3):
        path = folder / f"{number}.blob"
        path.touch()
        os.utime(path, (number, number))
    assert kept_networks() == folder
    assert {path.stem for path in blobs(folder)} == {str(number) for number in range(3, MOST + 3)}


def test_a_network_that_cannot_run_is_refused_as_ever() -> None:
    with pytest.raises(ModelError, match="OpenVINO cannot read"):
        load_engine(b"no network", "openvino")
