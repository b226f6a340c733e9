"""The remote benchmark: its arithmetic, its codec figures, its picture and table, and once the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from stream.cli.main import app
from stream.cli.tables import remote_table
from stream.errors import ConfigError, FaceError
from stream.evaluation.benchmark import BenchSettings
from stream.evaluation.remote_benchmark import LIMITS, measure_codec, run_remote_benchmark, summarise
from stream.evaluation.remote_parts import Server
from stream.evaluation.remote_plot import draw_remote_benchmark
from stream.remote.settings import ServeSettings

START = 1_800_000_000_000_000


def rows_of(latency: list[float], header_late: float = 5.0, unread: tuple[int, ...] = ()) -> np.ndarray:
    """Meshes 33 ms apart that arrive after so many ms; their pictures come 10 ms later."""
    rows = []
    for number, after in enumerate(latency):
        taken = START + number * 33_000
        arrived = taken + round(after * 1e3)
        shown = 0 if number in unread else taken
        rows.append((number, taken + round(header_late * 1e3), arrived, arrived + 10_000, shown))
    return np.array(rows, np.int64)


def test_latencies_are_by_the_pictures_clock_and_the_headers_error_is_told() -> None:
    latency = list(np.linspace(20, 119, 100))
    figures = summarise(rows_of(latency, header_late=7.0), seconds=3.3)
    expected = {
        name: np.percentile(latency, place) for name, place in (("p50", 50), ("p95", 95), ("p99", 99))
    }
    for name, value in expected.items():
        assert figures["latency_ms"][name] == pytest.approx(value, abs=0.01)
        assert figures["shown_ms"][name] == pytest.approx(value + 10, abs=0.01)
        assert figures["header_ms"][name] == pytest.approx(value - 7, abs=0.01)
        assert figures["clock_error_ms"][name] == pytest.approx(7, abs=0.01)
    assert figures["fps"] == pytest.approx(100 / 3.3)
    assert figures["legible"] == 1.0
    assert figures["longest_gap_ms"] == pytest.approx(34, abs=0.01)


def test_meshes_without_a_legible_clock_are_counted_and_left_out() -> None:
    figures = summarise(rows_of([50.0, 500.0, 50.0, 50.0], unread=(1,)), seconds=1.0)
    assert figures["legible"] == 0.75
    assert figures["latency_ms"]["p99"] == pytest.approx(50)
    assert figures["longest_gap_ms"] == pytest.approx(483)
    with pytest.raises(FaceError):
        summarise(rows_of([50.0], unread=(0,)), seconds=1.0)
    with pytest.raises(FaceError):
        summarise(np.empty((0, 5), np.int64), seconds=1.0)


def test_the_codec_keeps_its_promises_on_the_sample() -> None:
    codec = measure_codec(BenchSettings(), frames=45)
    assert codec["mbit_s"] <= LIMITS["mesh_mbit_s"]
    assert 0 < codec["rms_mm"] <= LIMITS["rms_mm"]
    assert codec["decode_ms"]["p50"] < LIMITS["decode_ms"]
    assert 0 < codec["keys"] <= 1


def test_the_whole_of_it(tmp_path: Path) -> None:
    """Server, camera and viewer in processes of their own; bounds that a busy machine keeps, too."""
    result = run_remote_benchmark(BenchSettings(frames=60, warmup=15))
    assert result["legible"] > 0.1
    assert 5 < result["latency_ms"]["p50"] < 2000
    assert -50 < result["clock_error_ms"]["p50"] < 500
    assert 0 < result["mesh_mbit_s"] < 2
    assert result["video_mbit_s"] > 0
    assert result["stages"]["face"]["count"] > 0
    assert np.array(result["rows"]).shape[1] == 5
    draw_remote_benchmark(result, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.size[0] > 1000
        assert len(set(picture.convert("L").getdata())) > 50
    console = Console(width=160, record=True, file=(tmp_path / "out").open("w"))
    console.print(remote_table(result))
    text = console.export_text()
    assert "capture to mesh received" in text
    assert "p95 120" in text


def test_the_command_asks_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def run(settings: BenchSettings, progress: Any) -> dict[str, Any]:
        asked.append(settings)
        raise FaceError("no face")

    monkeypatch.setattr("stream.evaluation.remote_benchmark.run_remote_benchmark", run)
    done = CliRunner().invoke(
        app, ["bench", "--remote", "--frames", "60", "--json", str(tmp_path / "a.json")]
    )
    assert isinstance(done.exception, FaceError)
    assert asked[0].frames == 60


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ConfigError, match="nobody"), Server(ServeSettings(port=0, ice={"stun": ["nobody"]})):
        pass
