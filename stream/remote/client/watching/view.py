"""A person's view of a remote session: in a window, or drawn into a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stream.errors import ConfigError
from stream.files import try_output
from stream.outputs.latest import LatestCapture
from stream.pipeline.runner import Summary
from stream.recipes import CaptureSettings
from stream.remote.client.watching.source import RemoteSource
from stream.remote.client.watching.viewer import RemoteViewer, ViewerFigures
from stream.render.drawing import Drawing, Show, choose_drawing, panel_lines
from stream.session import PICTURE, Session
from stream.types import Capture

if TYPE_CHECKING:
    from stream.outputs.recorder import VideoRecorder
    from stream.pipeline.stage import Sink, Stage

FORMATS = (".mp4", ".png", ".glb")

SNAPSHOT_MESHES = 20
"""Meshes that are waited for before a picture or a mesh is written: by then they have their pictures."""

PREVIEW_RATE = 30.0

VIDEO = Path("out") / "view.mp4"


@dataclass(frozen=True, slots=True)
class ViewResult:
    """What a view left behind.

    :ivar summary: how the run went.
    :ivar figures: how the viewer fared.
    :ivar written: the files, more than one where there are meshes of several faces; none where nothing came.
    """

    summary: Summary
    figures: ViewerFigures
    written: tuple[Path, ...]


class ViewSession:
    """Configures the session that draws a remote one; `run` it once.

    :param viewer: not yet open.
    :param out: a video (.mp4), a picture (.png) or a mesh (.glb) to write. The latter two are written once
        `SNAPSHOT_MESHES` came, unless there is a duration or a window.
    :param show: as `prosopon live`; ``auto`` opens a window only where no file is asked for.
    :param duration: seconds after which to stop, or None.
    :ivar session: to stop it or to read its plan and metrics while it runs.
    :ivar drawing: ``window``, ``preview`` or ``off``, as it came out.
    :raises ConfigError: the file's name has another ending, or it cannot be had together with a window.
    :raises BackendError: drawing was asked for by name, or is needed for the file, and cannot be done here.
    """

    def __init__(
        self,
        viewer: RemoteViewer,
        out: Path | None = None,
        show: Show = "auto",
        duration: float | None = None,
    ) -> None:
        kind = None if out is None else out.suffix.lower()
        if kind is not None and kind not in FORMATS:
            raise ConfigError(f"--out is {out} but must end in {', '.join(FORMATS)}.")
        self._out, self._kind = out, kind
        self.drawing = self._choose(show)
        wanted = PICTURE if kind == ".png" else "mesh"
        still = kind in (".png", ".glb") and duration is None and self.drawing != "window"
        self._latest = _Enough(wanted, self._stop) if still else LatestCapture(wanted)
        self._recorder: VideoRecorder | None = None
        self._source = RemoteSource(viewer)
        draw, sinks = self._drawing()
        sinks.append(self._latest)
        self.session = Session(self._source, sinks, CaptureSettings(), draw=draw, duration=duration)

    def run(self) -> ViewResult:
        """Run until stopped, or until the session is over for good; then write the picture or mesh.

        :raises RemoteError: the server cannot be reached, refuses, or was lost and did not come back.
        :raises OutputError: the file cannot be written.
        """
        if self._out is not None:
            try_output(self._out)
        summary = self.session.run()
        return ViewResult(summary, self._source.figures, self._write())

    def _choose(self, show: Show) -> Drawing:
        if self._kind in (".mp4", ".png"):
            if show in ("window", "off"):
                raise ConfigError(
                    f"A {self._kind} is drawn off screen, so --show {show} does not go with it; leave it "
                    "out (in a window, S saves a picture and W records)."
                )
            return choose_drawing("preview")
        if self._kind == ".glb" and show == "auto":
            return "off"
        return choose_drawing(show)

    def _drawing(self) -> tuple[Stage | None, list[Sink]]:
        """The stage that draws, and the sinks that show or record."""
        if self.drawing == "window":
            from stream.render.window import WindowStage

            return None, [WindowStage(self._panel, self._stop)]
        if self.drawing == "off":
            return None, []
        from stream.outputs.recorder import VideoRecorder
        from stream.render.stage import PreviewStage, RenderStage

        if self._kind == ".png":
            return RenderStage(), []
        path = self._out if self._out is not None and self._kind == ".mp4" else VIDEO
        self._recorder = VideoRecorder(path, PREVIEW_RATE)
        return PreviewStage(self._panel), [self._recorder]

    def _write(self) -> tuple[Path, ...]:
        if self._recorder is not None and self._kind != ".glb":
            return (self._recorder.path,) if self._recorder.finished else ()
        capture = self._latest.capture
        if self._out is None or capture is None:
            return ()
        if self._kind == ".png":
            from stream.render.window import save_picture

            assert capture.picture is not None
            save_picture(self._out, capture.picture)
            return (self._out,)
        from stream.mesh.export import write_meshes

        return tuple(write_meshes(capture.meshes, self._out))

    def _stop(self) -> None:
        self.session.stop()

    def _panel(self) -> list[str]:
        """Rate, latency and losses of the drawing, then the line's."""
        figures, state = self._source.figures, self._source.state
        lines = panel_lines(self.session.metrics.snapshot())[:3]
        if not figures.connected:
            return lines if self._source.over else [*lines, "not connected"]
        lines += [f"{figures.kbps / 1000:.1f} Mbit/s", str(figures.transport)]
        if state is not None and state.state != "live":
            lines.append("no picture" if state.state == "waiting" else "ended")
        return lines


class _Enough(LatestCapture):
    """Ends the run once enough meshes came."""

    def __init__(self, wanted: str, stop: Callable[[], None]) -> None:
        super().__init__(wanted)
        self._stop = stop
        self._left = SNAPSHOT_MESHES

    def __call__(self, capture: Capture) -> Capture:
        """Count the capture if it has a mesh."""
        self._left -= bool(capture.meshes)
        if self._left == 0:
            self._stop()
        return super().__call__(capture)
