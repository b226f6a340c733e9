"""`prosopon data` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("scipy")

from stream.cli.data import app
from stream.errors import ConfigError, InputError, OutputError


def _shard(folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(
        folder / "train-00000.npz",
        image=rng.integers(0, 255, (3, 16, 16, 3), np.uint8),
        depth=rng.normal(0, 0.1, (3, 16, 16)).astype(np.float16),
        normal=rng.integers(-127, 127, (3, 16, 16, 3), np.int8),
        flags=np.full((3, 16, 16), 15, np.uint8),
    )


def test_sheet_writes_a_picture(tmp_path: Path) -> None:
    _shard(tmp_path)
    out = tmp_path / "new" / "sheet.png"
    result = CliRunner().invoke(app, ["sheet", "--data", str(tmp_path), "--out", str(out), "--count", "6"])
    assert result.exit_code == 0, result.output
    assert out.stat().st_size > 1000


def test_sheet_names_what_is_wrong(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["sheet", "--data", str(tmp_path)])
    assert isinstance(run.exception, InputError)
    _shard(tmp_path)
    run = CliRunner().invoke(app, ["sheet", "--data", str(tmp_path), "--out", str(tmp_path)])
    assert isinstance(run.exception, OutputError)


def test_faces_names_a_missing_data_folder_or_setting(tmp_path: Path) -> None:
    config = tmp_path / "faces.yaml"
    config.write_text("size: 64\n")
    arguments = ["faces", "--config", str(config), "--shared", str(tmp_path / "none")]
    assert isinstance(CliRunner().invoke(app, arguments).exception, InputError)
    config.write_text("sizes: 64\n")
    run = CliRunner().invoke(app, arguments)
    assert isinstance(run.exception, ConfigError)
    assert "sizes" in str(run.exception)


def test_the_shipped_settings_are_valid() -> None:
    from stream.config import load_config
    from stream.training.faces.dataset import FaceDataSettings

    settings = load_config(Path("configs/train/faces.yaml"), FaceDataSettings)
    assert settings.train == 20_000
    assert settings.size == 128
