"""`prosopon eval depth` on a dataset of a few bumps and a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from depth_shards import write_dataset
from typer.testing import CliRunner

from stream.cli import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("faces"), size=32, train=2, val=8)


@pytest.fixture(scope="module")
def model(folder) -> Path:
    pytest.importorskip("onnx")
    from tiny_models import tiny_depth_model

    path = folder / "tiny.onnx"
    path.write_bytes(tiny_depth_model(32))
    return path


def run(*arguments: str):
    return CliRunner().invoke(evaluate.app, ["depth", *arguments], catch_exceptions=False)


def test_tables_figures_and_pictures_come_from_one_run(folder, model, tmp_path):
    out = tmp_path / "pictures"
    write_dataset(tmp_path / "others", size=32, train=2, val=8)
    arguments = ["--model", str(model), "--data", str(folder), "--set", str(tmp_path / "others")]
    arguments += ["--samples", "2", "--backend", "onnxruntime", "--threads", "1"]
    result = run(*arguments, "--worst", "1", "--json", str(tmp_path / "e.json"), "--out", str(out))
    assert result.exit_code == 0
    for text in ("ICT heads: 2 samples", "Anny heads", "photos", "mean face, posed", "MAD"):
        assert text in result.output
    figures = json.loads((tmp_path / "e.json").read_text())
    assert set(figures) == {"settings", "machine", "sets"}
    part = figures["sets"]["ICT heads"]
    assert set(part["methods"]) >= {"tiny", "tiny, flipped too", "mean face, posed", "best plane"}
    assert part["methods"]["mean face, posed"]["l1_skin"] == pytest.approx(0.1, abs=2e-3)
    assert figures["sets"]["others: ICT heads"]["methods"]["tiny"]["l1"] == part["methods"]["tiny"]["l1"]
    drawn = {path.name for path in out.iterdir()}
    assert {"ict-heads-strata.png", "ict-heads-details.png", "ict-heads-worst-01.png", "worst.png"} <= drawn


def test_a_folder_without_data_is_named(tmp_path, model):
    from stream.errors import InputError

    with pytest.raises(InputError, match="no test shard"):
        run("--model", str(model), "--data", str(tmp_path))
