"""Watching a session: what is drawn and written, and that it is the face that was sent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from mesh.mesh_samples import CAMERA, dome, sample_face, sample_frame
from PIL import Image
from remote.fake_server import FakeServer, level
from typer.testing import CliRunner

from stream.cli.main import app
from stream.errors import BackendError, ConfigError, RemoteError
from stream.mesh.build import build_mesh, mesh_of, surface_of
from stream.mesh.stage import MeshStage
from stream.outputs.latest import LatestCapture
from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder
from stream.remote.blank import GREY, blank_picture
from stream.remote.client.watching import view as watch_view
from stream.remote.client.watching.build import MAX_SIDE, received_people, received_picture
from stream.remote.client.watching.source import RemoteSource
from stream.remote.client.watching.view import ViewSession
from stream.remote.client.watching.viewer import RemoteFrame, RemoteViewer, ViewerFigures
from stream.remote.loop_thread import LoopThread
from stream.render.context import probe_context
from stream.types import Capture, Face, Frame, Intrinsics, Mesh, Person


@pytest.fixture(autouse=True)
def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake, thread = FakeServer(), LoopThread("test-server")
    thread.submit(fake.start()).result(10)
    try:
        yield fake
    finally:
        thread.submit(fake.stop()).result(10)
        thread.stop()


@pytest.fixture
def egl() -> None:
    try:
        probe_context("egl")
    except BackendError as error:
        pytest.skip(str(error))


def sent(size: int = 48) -> tuple[RemoteFrame, Any]:
    """A frame as it comes out of the decoder, and the mesh that the sender made of the same depth."""
    frame, face, depth = sample_frame(), sample_face(), dome(size)
    message = MeshEncoder(bits=14).encode(1, face, surface_of(depth), 0, 10**15)
    surface = MeshDecoder().decode(1, message.body)
    assert surface is not None
    received = RemoteFrame(surface, 0, 1, 1.1, frame.image, True, 1.0)
    return received, build_mesh(frame, face, depth, "numba")


def built(received: RemoteFrame) -> tuple[Face, Mesh]:
    """The face and the mesh that the plan's node makes of what came."""
    image = received_picture(received)
    (person,) = received_people([received], image)
    assert person.surface is not None
    return person.face, mesh_of(Frame(image, 0.0, 0, "test"), person.face, person.surface, "numba")


def test_the_mesh_is_the_one_that_the_sender_has() -> None:
    received, local = sent()
    face, mesh = built(received)
    assert received_picture(received) is received.picture
    assert np.array_equal(mesh.triangles, local.triangles)
    assert np.abs(mesh.vertices - local.vertices)[local.valid].max() < 0.02  # mm
    assert np.array_equal(mesh.texture, local.texture)
    assert np.array_equal(mesh.uv, local.uv)
    assert (face.crop, face.intrinsics) == (received.surface.crop, CAMERA)
    assert received.latency == pytest.approx(0.1)


def test_a_picture_that_was_made_smaller_on_its_way_still_fits() -> None:
    received, local = sent()
    assert received.picture is not None
    half = received.picture[::2, ::2]
    face, mesh = built(replace(received, picture=half))
    assert face.crop.half == received.surface.crop.half / 2
    assert (face.intrinsics.width, face.intrinsics.fx) == (320, CAMERA.fx / 2)
    middle = mesh.texture[mesh.texture.shape[0] // 2, mesh.texture.shape[1] // 2].astype(int)
    expected = local.texture[local.texture.shape[0] // 2, local.texture.shape[1] // 2].astype(int)
    assert np.abs(middle - expected).max() <= 3
    np.testing.assert_allclose(mesh.vertices, built(received)[1].vertices, atol=1e-3)  # mm


@pytest.mark.parametrize("size", [(320, 240), (322, 240), (320, 244), (640, 474)])
def test_whatever_size_a_picture_has_the_geometry_is_the_senders(size: tuple[int, int]) -> None:
    received, _ = sent()
    assert received.picture is not None
    scaled = cv2.resize(received.picture, size)
    face, mesh = built(replace(received, picture=scaled))
    exact = built(received)[1]
    np.testing.assert_allclose(mesh.vertices, exact.vertices, atol=1e-3)
    assert face.intrinsics.width in (size[0], CAMERA.width)
    centre = mesh.texture.shape[0] // 2, exact.texture.shape[0] // 2
    colours = [one.texture[at, at].astype(int) for one, at in zip((mesh, exact), centre, strict=True)]
    assert np.abs(colours[0] - colours[1]).max() <= 4


@pytest.mark.parametrize("picture", [None, np.zeros((640, 480, 3), np.uint8)])
def test_without_its_picture_the_mesh_is_grey(picture: Any) -> None:
    received, _ = sent()
    _, mesh = built(replace(received, picture=picture))
    assert np.unique(mesh.texture).tolist() == [GREY]


def test_a_picture_is_not_made_as_large_as_a_header_says() -> None:
    received, _ = sent()
    huge = replace(CAMERA, width=MAX_SIDE + 1, height=(MAX_SIDE + 1) * 3 // 4 - 30)
    claimed = replace(received, surface=replace(received.surface, intrinsics=huge))
    assert max(received_picture(claimed).shape) == 640
    assert np.unique(received_picture(claimed)).tolist() == [GREY]


def test_a_blank_picture_is_bounded_whatever_a_header_says() -> None:
    assert blank_picture(Intrinsics(1.0, 1.0, 0, 0, 32766, 32766)).shape == (640, 640, 3)
    assert blank_picture(Intrinsics(1.0, 1.0, 0, 0, 32766, 1)).shape == (1, 640, 3)


def test_a_picture_is_drawn_into_a_file(server: FakeServer, egl: None, tmp_path: Path) -> None:
    result = ViewSession(RemoteViewer(server.url), tmp_path / "face.png").run()
    assert result.written == (tmp_path / "face.png",)
    drawn = np.asarray(Image.open(result.written[0])).astype(int)
    middle = drawn[drawn.shape[0] // 2, drawn.shape[1] // 2]
    assert drawn.shape == (512, 512, 3)
    assert np.ptp(middle) <= 2  # the pictures sent are grey, one level each
    assert level(0) - 8 <= middle[0] <= level(19) + 8
    corner = drawn[4, 4]
    assert np.abs(middle - corner).max() > 20
    assert result.figures.transport == "webrtc"
    assert result.figures.frames >= watch_view.SNAPSHOT_MESHES


def stop_after(count: int, session: ViewSession, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """End the session once that many captures came; what its panel said beside each."""
    lines: list[list[str]] = []

    def watch(self: LatestCapture, capture: Capture) -> Capture:
        lines.append(session._panel())
        if len(lines) == count:
            session.session.stop()
        return capture

    monkeypatch.setattr(LatestCapture, "__call__", watch)
    return lines


def test_a_video_is_drawn_into_a_file(
    server: FakeServer, egl: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "face.mp4"
    session = ViewSession(RemoteViewer(server.url, transport="websocket"), out, duration=60)
    stop_after(12, session, monkeypatch)
    result = session.run()
    assert result.written == (out,)
    with av.open(str(out)) as video:
        count = sum(1 for _ in video.decode(video=0))
    assert count >= 10
    assert result.summary.metrics["stages"]["mesh"]["errors"] == 0
    assert 0 < result.summary.metrics["latency_ms"]["p50"] < 5000


def test_a_mesh_is_written_without_drawing(server: FakeServer, tmp_path: Path) -> None:
    session = ViewSession(RemoteViewer(server.url), tmp_path / "face.glb")
    assert session.drawing == "off"
    assert [step.name for step in session.session.plan.steps] == ["mesh"]
    result = session.run()
    assert len(result.written) == 1
    assert result.written[0].read_bytes()[:4] == b"glTF"
    assert result.summary.reason == "stopped"


def test_the_panel_tells_the_line(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ViewSession(RemoteViewer(server.url), show="off", duration=60)
    assert session._panel()[-1] == "not connected"
    lines = stop_after(30, session, monkeypatch)
    session.run()
    connected = [line for line in lines if line[-1] == "webrtc"]
    assert connected[-1][-2].endswith("Mbit/s")
    assert connected[-1][0].endswith("fps")


@pytest.mark.parametrize(("out", "show"), [("face.jpg", "auto"), ("face.mp4", "window"), ("face.png", "off")])
def test_what_cannot_be_had_is_said_before_anything_starts(out: str, show: Any) -> None:
    with pytest.raises(ConfigError):
        ViewSession(RemoteViewer("http://127.0.0.1:9"), Path(out), show)


def test_an_address_without_a_server_ends_the_run_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(MeshStage, "open", lambda self: opened.append(self.name))
    with pytest.raises(RemoteError, match="cannot be reached"):
        ViewSession(RemoteViewer("http://127.0.0.1:9"), tmp_path / "x.glb").run()
    assert not opened, "nothing slow has begun to load"


def test_the_command_writes_its_figures(server: FakeServer, tmp_path: Path) -> None:
    mesh, figures = tmp_path / "face.glb", tmp_path / "figures.json"
    arguments = ["view", f"{server.url}#token=secret", "--out", str(mesh), "--json", str(figures)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "secret" not in done.output
    written = json.loads(figures.read_text())
    assert written["viewer"]["frames"] >= 20
    assert written["stages"]["mesh"]["count"] >= 20
    assert mesh.stat().st_size > 5000


def test_while_no_mesh_comes_there_is_a_frame_without_faces_now_and_then(server: FakeServer) -> None:
    source = RemoteSource(RemoteViewer(server.url))
    source.open()
    try:
        first = source.read()
        assert first is not None
        assert len(first.people) == 1
        assert first.known == {"face", "surface"}
        server.rate = 0.1
        began = time.monotonic()
        while True:
            capture = source.read()
            assert capture is not None
            assert capture.frame.index > first.frame.index
            first = capture
            if not capture.people:
                break
        assert "face" in capture.known
        assert not capture.frame.fresh
        assert time.monotonic() - began < 8
    finally:
        source.interrupt()
        assert source.read() is None
        source.close()


class ScriptedViewer:
    """A viewer whose frames are given in advance."""

    def __init__(self, frames: list[RemoteFrame]) -> None:
        self.frames = frames
        self.figures = ViewerFigures(True, "webrtc", 0, 0, 0, 0, 0.0, None, 0)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def next_frame(self) -> RemoteFrame | None:
        if not self.frames:
            await asyncio.Event().wait()
        return self.frames.pop(0)


def test_the_faces_of_one_picture_come_together() -> None:
    base, _ = sent()

    def frame(lane: int, number: int) -> RemoteFrame:
        surface = replace(base.surface, captured=10**15 + number * 33_333, track=lane)
        return replace(base, lane=lane, sequence=2 * number + lane, surface=surface, captured=number / 30)

    frames = [frame(0, 1), frame(1, 1), frame(0, 2), frame(1, 2), frame(0, 3), frame(0, 4), frame(1, 4)]
    viewer: Any = ScriptedViewer(frames)
    source = RemoteSource(viewer)
    source.open()
    try:
        groups = []
        for _ in range(5):
            read = source.read()
            assert read is not None
            groups.append(([one.track_id for one in read.people], round(read.frame.captured * 30)))
    finally:
        source.interrupt()
        source.close()
    # Nobody waits for a face that was never seen; one that is known is waited for, not for long.
    assert groups == [([0], 1), ([1], 1), ([0, 1], 2), ([0], 3), ([0, 1], 4)]


def test_the_snapshot_waits_for_enough_meshes() -> None:
    stopped: list[int] = []
    enough = watch_view._Enough("mesh", lambda: stopped.append(1))
    without = Capture(sample_frame())
    for _ in range(watch_view.SNAPSHOT_MESHES + 5):
        enough(without)
    assert not stopped
    for _ in range(watch_view.SNAPSHOT_MESHES + 5):
        enough(without.adding("mesh", [Person(sample_face(), mesh=sent()[1])]))
    assert stopped == [1]
