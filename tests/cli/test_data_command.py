"""`prosopon data` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from depth_shards import bump_arrays
from skimage.data import astronaut
from typer.testing import CliRunner

pytest.importorskip("scipy")

from stream.cli.data import app
from stream.config import load_config
from stream.data.faces import dataset
from stream.data.faces.dataset import FaceDataSettings
from stream.errors import ConfigError, InputError, OutputError, SourceError


def _shard(folder: Path) -> None:
    np.savez(folder / "train-00000.npz", **bump_arrays(9, 32, 0))


def test_sheet_writes_a_picture(tmp_path: Path) -> None:
    _shard(tmp_path)
    out = tmp_path / "new" / "sheet.png"
    arguments = ["sheet", "--data", str(tmp_path), "--out", str(out), "--count", "6"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    plain = cv2.imread(str(out))
    assert plain.shape == (2 * 32, 3 * 4 * 32, 3)
    CliRunner().invoke(app, [*arguments, "--landmarks"])
    assert (cv2.imread(str(out)) != plain).any(axis=2).sum() > 50


def test_sheet_names_what_is_wrong(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["sheet", "--data", str(tmp_path)])
    assert isinstance(run.exception, InputError)
    _shard(tmp_path)
    run = CliRunner().invoke(app, ["sheet", "--data", str(tmp_path), "--out", str(tmp_path)])
    assert isinstance(run.exception, OutputError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-00000.npz"]


def test_stats_draws_a_dataset_over_clips(tmp_path: Path) -> None:
    _shard(tmp_path)
    cv2.imwrite(str(tmp_path / "face.png"), astronaut()[:, :, ::-1])
    out, report = tmp_path / "new" / "stats.png", tmp_path / "stats.json"
    arguments = ["stats", "--data", str(tmp_path), "--out", str(out), "--json", str(report)]
    run = CliRunner().invoke(app, [*arguments, "--clips", str(tmp_path / "face.png")])
    assert run.exit_code == 0, run.output
    assert "9 faces of dataset, 1 faces of clips" in run.output
    assert cv2.imread(str(out)).shape[1] > 1000
    figures = json.loads(report.read_text())
    assert (figures["dataset"]["faces"], figures["clips"]["faces"]) == (9, 1)
    assert figures["dataset"]["distance"]["median"] == 600
    assert abs(figures["clips"]["yaw"]["median"]) < 20


def test_stats_names_what_is_wrong(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["stats", "--data", str(tmp_path), "--out", str(tmp_path / "a.png")])
    assert isinstance(run.exception, InputError)
    _shard(tmp_path)
    clips = ["--clips", str(tmp_path / "none.mp4")]
    run = CliRunner().invoke(
        app, ["stats", "--data", str(tmp_path), *clips, "--out", str(tmp_path / "a.png")]
    )
    assert isinstance(run.exception, SourceError)
    assert not (tmp_path / "a.png").exists()


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
