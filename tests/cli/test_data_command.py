"""`prosopon data` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("scipy")

from stream.cli.data import app
from stream.config import load_config
from stream.errors import ConfigError, InputError, OutputError
from stream.training.faces import dataset
from stream.training.faces.dataset import FaceDataSettings


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-00000.npz"]


def test_faces_names_a_missing_data_folder_or_setting(tmp_path: Path) -> None:
    config = tmp_path / "faces.yaml"
    config.write_text("size: 64\n")
    arguments = ["faces", "--config", str(config), "--shared", str(tmp_path / "none")]
    assert isinstance(CliRunner().invoke(app, arguments).exception, InputError)
    config.write_text("sizes: 64\n")
    run = CliRunner().invoke(app, arguments)
    assert isinstance(run.exception, ConfigError)
    assert "sizes" in str(run.exception)


def test_faces_needs_no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config the defaults hold, in whatever folder it is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    built: list[tuple[FaceDataSettings, Path]] = []

    def build(settings: FaceDataSettings, data: Path, show: object) -> dict[str, object]:
        built.append((settings, data))
        return {"counts": {}, "seconds": 0.0}

    monkeypatch.setattr(dataset, "build_dataset", build)
    run = CliRunner().invoke(app, ["faces", "--shared", "shared"])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(app, ["faces", "--shared", "shared", "--workers", "3", "--out", "here"])
    assert run.exit_code == 0, run.output
    assert built == [
        (FaceDataSettings(), Path("shared/data")),
        (FaceDataSettings(workers=3, out=Path("here")), Path("shared/data")),
    ]


@pytest.mark.parametrize("workers", ["0", "-1", "65"])
def test_impossible_numbers_of_workers_are_sentences(workers: str) -> None:
    run = CliRunner().invoke(app, ["faces", "--workers", workers])
    assert isinstance(run.exception, ConfigError)
    assert "the command line: workers" in str(run.exception)


def test_the_preset_states_and_lists_the_defaults() -> None:
    preset = Path(__file__).parents[2] / "configs" / "train" / "faces.yaml"
    assert load_config(preset, FaceDataSettings) == FaceDataSettings()
    assert set(yaml.safe_load(preset.read_text())) == set(FaceDataSettings().model_dump())
