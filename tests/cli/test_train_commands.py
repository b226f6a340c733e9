"""The commands that train and judge the depth network, on a dataset of a few bumps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from depth_shards import write_dataset
from typer.testing import CliRunner

from stream.cli import train

CONFIG = Path(__file__).parents[2] / "configs" / "train" / "depth.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("training")
    write_dataset(folder / "faces", size=32, train=6, val=4)
    values = yaml.safe_load(CONFIG.read_text())
    values |= {
        "data": str(folder / "faces"),
        "architecture": "attention_unet",
        "pretrained": False,
        "stages": [],
        "options": {"width": 4},
        "size": 32,
        "steps": 3,
        "batch": 2,
        "threads": 1,
        "log_every": 1,
    }
    (folder / "depth.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_training_runs_from_the_shipped_settings_and_resumes(folder):
    arguments = ["depth", "--config", str(folder / "depth.yaml"), "--out", str(folder / "run")]
    first = CliRunner().invoke(train.app, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert "Step 3: ICT L1" in first.output
    second = CliRunner().invoke(train.app, [*arguments, "--resume", "--steps", "5"], catch_exceptions=False)
    assert "Step 5: ICT L1" in second.output
    steps = [json.loads(line)["step"] for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 3, 4, 5, 5]


def test_the_study_trains_its_rows_and_goes_on_from_those_there_are(folder):
    values = {
        "data": str(folder / "faces"),
        "size": 32,
        "contestants": [{"architecture": "attention_unet", "options": {"width": 4}}],
        "rows": [{"samples": 2, "steps": 2}],
        "transfer": None,
        "threads": 1,
        "judged": 3,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(values))
    arguments = ["study", "--config", str(folder / "study.yaml"), "--out", str(folder / "study")]
    first = CliRunner().invoke(train.app, arguments, catch_exceptions=False)
    assert "1 rows; wrote" in first.output
    (row,) = (json.loads(line) for line in (folder / "study" / "results.jsonl").read_text().splitlines())
    assert row["row"]["samples"] == 2
    assert row["test"] > 0
    assert "| Attention U-Net | 2 | 2 |" in (folder / "study" / "study.md").read_text()
    second = CliRunner().invoke(train.app, [*arguments, "--resume"], catch_exceptions=False)
    assert "attention_unet" not in second.output
    assert "1 rows; wrote" in second.output


@pytest.mark.parametrize("command", [["train", "depth"], ["export", "depth", "nothing.safetensors"]])
def test_without_torch_one_sentence_says_what_to_install(command):
    code = f"import sys; sys.modules['torch'] = None; from stream.cli.main import main; main({command!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("torch is not installed; install it with: pip install 'prosopon[train]'")
    assert "Traceback" not in done.stderr
