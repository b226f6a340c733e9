"""A live session: what it draws, how long it lasts, and what it leaves behind."""

from pathlib import Path

import numpy as np
import pytest
from people import capture_with
from shared_folder import SHARED

from stream import live
from stream.errors import BackendError, ConfigError, OutputError
from stream.live import LiveSession, LiveSettings
from stream.outputs.latest import LatestCapture
from stream.pipeline.metrics import Metrics
from stream.render import context
from stream.render.drawing import panel_lines
from stream.types import Capture, Crop, Face, Frame, Intrinsics, Mesh


def no_context(name: str = "auto") -> None:
    raise BackendError(f"There is no {name}; install it with: apt-get install libegl1")


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def mesh(triangles: int) -> Mesh:
    corners = np.eye(3, dtype=np.float32)
    return Mesh(
        vertices=corners,
        normals=corners,
        uv=corners[:, :2],
        triangles=np.tile(np.arange(3, dtype=np.int32), (triangles, 1)),
        valid=np.ones(3, dtype=bool),
        texture=np.zeros((4, 4, 3), dtype=np.uint8),
    )


def test_without_egl_the_rest_still_runs(
    headless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(context, "probe_context", no_context)
    session = LiveSession(LiveSettings(source="sample", duration=3.0, out=tmp_path))
    assert session.drawing == "off"
    assert "apt-get install libegl1" in caplog.text
    result = session.run()
    assert result.summary.metrics["stages"]["mesh"]["count"] > 5
    assert set(result.files) == {"mesh"}
    assert result.files["mesh"].stat().st_size > 10_000


@pytest.mark.parametrize("show", ["window", "preview"])
def test_drawing_asked_for_by_name_fails_where_it_cannot_be(
    show: live.Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "probe_context", no_context)
    with pytest.raises(BackendError, match="apt-get"):
        LiveSession(LiveSettings(source="sample", show=show))


@pytest.mark.parametrize(
    ("source", "duration", "expected"),
    [("sample", None, 10.0), ("sample", 3.0, 3.0), ("samples.mp4", None, None), ("webcam", None, None)],
)
def test_only_the_endless_sample_has_an_end_of_its_own(
    source: str,
    duration: float | None,
    expected: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.mp4").write_bytes(b"")
    session = LiveSession(LiveSettings(source=source, duration=duration, show="off"))
    assert session.duration == expected


def test_a_preview_that_could_not_be_finished_is_not_promised(
    headless: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from stream.outputs.recorder import VideoRecorder

    def fail(self: VideoRecorder) -> None:
        raise OutputError("Cannot write preview.mp4: No space left on device; make room.")

    monkeypatch.setattr(VideoRecorder, "close", fail)
    session = LiveSession(LiveSettings(source="sample", duration=1.0, out=tmp_path))
    if session.drawing != "preview":
        pytest.skip("no EGL here")
    result = session.run()
    assert "preview" not in result.files
    assert any("No space left" in failure for failure in result.summary.failures)


def test_the_panel_names_rate_latency_drops_and_the_chain() -> None:
    metrics = Metrics(clock=iter(np.arange(0, 100, 0.1)).__next__)
    for _ in range(5):
        metrics.done("mesh", 0.004)
        metrics.latency("chain", 0.02)
        metrics.done("record", 0.5)
        metrics.latency("record", 0.6)
    metrics.drop("mesh", 3)
    lines = panel_lines(metrics.snapshot())
    assert lines[1:] == ["latency 20 ms (95 %)", "3 dropped", "mesh 4.0 ms"]
    assert lines[0].endswith("fps")


def test_the_last_mesh_with_triangles_is_kept() -> None:
    frame = Frame(np.zeros((8, 8, 3), dtype=np.uint8), 0.0, 0, "test")
    camera = Intrinsics(10.0, 10.0, 3.5, 3.5, 8, 8)
    face = Face(0, np.zeros((478, 3), np.float32), np.eye(4, dtype=np.float32), Crop(4, 4, 4, 0), camera)
    good = capture_with(frame, (face,), meshes=(mesh(1),))
    keep = LatestCapture()
    for capture in (good, capture_with(frame, (face,), meshes=(mesh(0),)), Capture(frame)):
        keep(capture)
    assert keep.capture is good


def test_a_session_does_not_write_over_its_source(tmp_path: Path) -> None:
    (tmp_path / "preview.mp4").write_bytes(b"a recording of before")
    with pytest.raises(ConfigError, match="another --out"):
        LiveSession(LiveSettings(source=str(tmp_path / "preview.mp4"), show="off", out=tmp_path))


def test_every_face_that_was_followed_is_written(tmp_path: Path) -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    source = SHARED / "data/cases/two_faces.jpg"
    settings = LiveSettings.model_validate(
        {"source": str(source), "show": "off", "out": tmp_path, "capture": {"max_faces": 2}}
    )
    files = LiveSession(settings).run().files
    assert files == {"mesh": tmp_path / "face.glb", "mesh-2": tmp_path / "face-2.glb"}
    assert all(path.stat().st_size > 10_000 for path in files.values())
