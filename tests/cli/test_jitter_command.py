"""`prosopon eval jitter`: photos become clips, all else is read as a recording, and both end in tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from stream.cli import evaluate
from stream.evaluation import jitter
from stream.evaluation.jitter import Measurement
from stream.sources.images import read_image
from stream.types import Array, Frame

STILL = {"depth_median_mm": 0.25, "depth_p95_mm": 0.5, "distance_mm": 1.0, "points": 300}
MOVING = {
    "lag_place": 0.1,
    "lag_turn": 0.2,
    "lag_size": float("nan"),
    "lag_depth": 0.75,
    "depth_median_mm": 2.0,
}
RECORDED = {"frames": 90, "lag_depth": 0.3, "lag_mouth": 0.6, "motion_mm": 1.5, "trail_mm": 0.7}


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was asked for; the measurements themselves have tests of their own."""
    asked: list[tuple[str, int]] = []
    traces = {mode: np.random.default_rng(0).normal(0, 1, (40, 3)) for mode in ("raw", "smooth")}

    def photo(picture: Array, settings: object, count: int) -> Measurement:
        asked.append(("photo", count))
        figures = {"still": {"raw": STILL, "smooth": STILL}, "moving": {"raw": MOVING, "smooth": MOVING}}
        return Measurement(figures, {"still": traces})

    def recording(frames: list[Frame], settings: object) -> Measurement:
        asked.append(("recording", len(frames)))
        return Measurement({"recording": RECORDED}, {"recording": traces})

    monkeypatch.setattr(jitter, "measure_photo", photo)
    monkeypatch.setattr(jitter, "measure_recording", recording)
    return asked


def test_photos_and_recordings_share_one_run(measured: list[tuple[str, int]], tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    arguments = ["jitter", str(path), "sample", "--frames", "70", "--limit", "35"]
    arguments += ["--json", str(tmp_path / "j.json"), "--out", str(tmp_path / "j.png")]
    result = CliRunner().invoke(evaluate.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert measured == [("photo", 70), ("recording", 35)]
    for text in ("0.25 > 0.25", "0.75 > 0.75", "- > -", "0.60", "face.png", "sample"):
        assert text in result.output
    figures = json.loads((tmp_path / "j.json").read_text())
    assert figures["sample"]["recording"] == RECORDED
    assert figures["face.png"]["still"]["smooth"]["depth_median_mm"] == 0.25
    assert figures["face.png"]["moving"]["raw"]["lag_size"] is None  # JSON has no NaN
    assert read_image(tmp_path / "j.png").shape[1] > 600
