"""A live session on this machine: a source through the capture chain into a window or a preview video."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr, field_serializer

from stream.config import Settings
from stream.errors import ConfigError
from stream.files import try_output
from stream.outputs.latest import LatestCapture
from stream.pipeline.runner import Summary
from stream.recipes import CaptureSettings
from stream.remote.client.address import shown_url
from stream.render.drawing import Show, choose_drawing, panel_lines
from stream.session import Session
from stream.sources.factory import SAMPLES, open_source

if TYPE_CHECKING:
    from stream.outputs.recorder import VideoRecorder
    from stream.pipeline.source import FrameSource
    from stream.pipeline.stage import Sink, Stage
    from stream.remote.client.publishing.sink import PublishStage

SAMPLE_SECONDS = 10.0
"""How long the endless sample plays where there is no window that could be closed, and nobody to watch."""

PREVIEW_RATE = 30.0

WRITTEN = ("preview.mp4", "face.glb", "live.json")
"""Names of what a session writes into its folder."""


class LiveSettings(Settings):
    """What a live session does.

    :ivar source: ``webcam[:INDEX]``, a device, a video, a folder of images, or ``sample[:NAME]``.
    :ivar size: width and height asked of a webcam, and of the sample.
    :ivar rate: frames per second asked of a webcam, or forced on another source.
    :ivar fast: files only: every frame as fast as it can be worked on, none dropped.
    :ivar duration: seconds after which to stop; None runs until the source ends (the sample 10 s where
        there is no window and nothing is published).
    :ivar show: a window, a preview video without one, or nothing drawn; ``auto`` takes what is there.
    :ivar out: folder for ``preview.mp4``, ``face.glb`` (of more faces ``face-2.glb``, ...), ``live.json``,
        screenshots and recordings.
    :ivar decode: who decodes a video file, the CPU or the GPU (NVDEC), where it can.
    :ivar metrics_port: serve Prometheus' ``/metrics`` on 127.0.0.1 at this port.
    :ivar publish: address of a server (`prosopon serve`) that the meshes are sent to, and the expressions.
    :ivar session: the name they are published under; None lets the server choose.
    :ivar token: what that server wants to see; None takes ``PROSOPON_TOKEN``.
    """

    source: str = "webcam"
    size: tuple[int, int] = (640, 480)
    rate: float | None = Field(None, gt=0, le=1000)
    fast: bool = False
    duration: float | None = Field(None, gt=0)
    show: Show = "auto"
    out: Path = Path("out")
    decode: Literal["cpu", "nvdec"] = "cpu"
    metrics_port: int | None = Field(None, ge=1, le=65535)
    publish: str | None = None
    session: str | None = None
    token: SecretStr | None = None
    capture: CaptureSettings = CaptureSettings()

    @field_serializer("publish", when_used="json")
    def _without_token(self, publish: str | None) -> str | None:
        return None if publish is None else shown_url(publish)


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What a session left behind.

    :ivar summary: how the run went.
    :ivar files: what was written, by what it is (``preview``, ``mesh``, ``mesh-2``, ...).
    :ivar published: how publishing went, as `PublisherFigures`
        (`stream.remote.client.publishing.publisher`) and the session's name; empty where nothing was.
    """

    summary: Summary
    files: dict[str, Path]
    published: dict[str, Any] = field(default_factory=dict)


class LiveSession:
    """Configures the session of a live run; `run` it once.

    :ivar session: to stop it or to read its plan and metrics while it runs.
    :ivar drawing: ``window``, ``preview`` or ``off``, as it came out.
    :ivar duration: seconds after which it stops, or None.
    :raises ConfigError, SourceError: a setting or the source's name does not fit.
    :raises BackendError: drawing was asked for by name and cannot be done here.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self.drawing = choose_drawing(settings.show)
        _keep_source(settings)
        self._latest = LatestCapture()
        self._recorder: VideoRecorder | None = None
        self._publisher = self._publish_stage()
        draw, sinks = self._drawing()
        if self._publisher is not None:
            sinks.append(self._publisher)
        self.duration = self._choose_duration()
        self.session = Session(
            self._open_source(),
            [*sinks, self._latest],
            settings.capture,
            draw=draw,
            duration=self.duration,
            metrics_port=settings.metrics_port,
        )

    @property
    def _mesh_path(self) -> Path:
        return self._settings.out / "face.glb"

    def run(self) -> LiveResult:
        """Run to the end (or Ctrl-C) and write the last meshes, one file for each face.

        :raises ProsoponError: the source, a model or a backend is not to be had, or the server to publish to.
        :raises OutputError: a result cannot be written.
        """
        from stream.mesh.export import write_meshes

        try_output(self._mesh_path)
        summary = self.session.run()
        files = {}
        if self._recorder is not None and self._recorder.finished:
            files["preview"] = self._recorder.path
        if self._latest.capture is not None:
            written = write_meshes(self._latest.capture.meshes, self._mesh_path)
            files |= {f"mesh-{place}" if place > 1 else "mesh": path for place, path in enumerate(written, 1)}
        return LiveResult(summary, files, self._published())

    def _open_source(self) -> FrameSource:
        settings = self._settings
        return open_source(
            settings.source,
            size=settings.size,
            rate=settings.rate,
            fast=settings.fast,
            decode=settings.decode,
        )

    def _choose_duration(self) -> float | None:
        watched = self.drawing == "window" or self._publisher is not None
        endless = self._settings.source in SAMPLES and not watched
        return self._settings.duration or (SAMPLE_SECONDS if endless else None)

    def _drawing(self) -> tuple[Stage | None, list[Sink]]:
        """The stage that draws, and the sinks that show or record."""
        if self.drawing == "window":
            from stream.render.window import WindowStage

            return None, [WindowStage(self._panel, self._stop, folder=self._settings.out)]
        if self.drawing == "preview":
            from stream.outputs.recorder import VideoRecorder
            from stream.render.stage import PreviewStage

            self._recorder = VideoRecorder(self._settings.out / "preview.mp4", PREVIEW_RATE)
            return PreviewStage(self._panel), [self._recorder]
        return None, []

    def _publish_stage(self) -> PublishStage | None:
        """The sink that publishes, if one is wanted."""
        settings = self._settings
        if settings.publish is None:
            return None
        from stream.remote.client.publishing.sink import PublishStage

        token = None if settings.token is None else settings.token.get_secret_value()
        return PublishStage(settings.publish, settings.session, token)

    def _published(self) -> dict[str, Any]:
        if self._publisher is None:
            return {}
        return {"session": self._publisher.session, **asdict(self._publisher.figures)}

    def _stop(self) -> None:
        self.session.stop()

    def _panel(self) -> list[str]:
        lines = panel_lines(self.session.metrics.snapshot())
        return lines if self._publisher is None else [*lines[:3], *self._publisher.panel(), *lines[3:]]


def _keep_source(settings: LiveSettings) -> None:
    """Refuse to write over what is played.

    :raises ConfigError: the source is one of the files that the session writes.
    """
    with suppress(OSError, ValueError):
        for name in WRITTEN:
            if (settings.out / name).samefile(Path(settings.source).expanduser()):
                raise ConfigError(f"{settings.source} would be overwritten; choose another --out.")
