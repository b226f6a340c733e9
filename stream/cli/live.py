"""`prosopon live`: a camera becomes a live 3D face, here and now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from stream.cli.tables import console, given, stage_table, try_outputs, write_json
from stream.config import load_config, parse_settings
from stream.errors import ConfigError, OutputError
from stream.live import LiveResult, LiveSession, LiveSettings
from stream.remote.client.address import shown_url
from stream.render.drawing import Show

REFRESHES = 4
"""Times a second that the table on a terminal is drawn anew."""


def live(
    source: Annotated[str | None, typer.Option(help="webcam[:N], device, video, folder, sample.")] = None,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    show: Annotated[Show | None, typer.Option(help="What is drawn; auto prefers a window.")] = None,
    size: Annotated[str | None, typer.Option(help="Size asked of a webcam, e.g. 1280x720.")] = None,
    rate: Annotated[float | None, typer.Option(help="Frames per second asked of the source.")] = None,
    fast: Annotated[bool | None, typer.Option(help="Files: every frame, as fast as it goes.")] = None,
    fov: Annotated[float | None, typer.Option(help="Diagonal field of view, degrees (55).")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Camera calibration file.")] = None,
    ipd: Annotated[float | None, typer.Option(help="Inter-pupil distance, mm (63).")] = None,
    max_faces: Annotated[int | None, typer.Option(help="Faces followed at once (1).")] = None,
    smooth: Annotated[bool | None, typer.Option(help="Smooth landmarks and depth over time.")] = None,
    inference: Annotated[
        str | None, typer.Option(help="tensorrt, openvino, onnxruntime, torch or auto.")
    ] = None,
    compute: Annotated[str | None, typer.Option(help="auto, numba or cuda.")] = None,
    decode: Annotated[str | None, typer.Option(help="Video files: cpu, or nvdec on a GPU.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Serve /metrics on 127.0.0.1.")] = None,
    publish: Annotated[str | None, typer.Option(help="Send the meshes to this server.")] = None,
    session: Annotated[str | None, typer.Option(help="Name to publish under.")] = None,
    token: Annotated[str | None, typer.Option(help="For the server; or set PROSOPON_TOKEN.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is written (out).")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings, e.g. configs/live.yaml.")] = None,
) -> None:
    """Capture a face live: in a window, or as a preview video where there is no display."""
    settings = load_config(config, LiveSettings) if config else LiveSettings()
    values = settings.model_dump()
    values |= given(source=source, duration=duration, show=show, rate=rate, fast=fast, out=out)
    values |= given(metrics_port=metrics_port, decode=decode, size=_size(size))
    values |= given(publish=publish, session=session, token=token)
    values["capture"]["camera"] |= given(fov=fov, calibration=calibration, ipd_mm=ipd)
    values["capture"] |= given(max_faces=max_faces, smooth=smooth, inference=inference, compute=compute)
    run_live(parse_settings(values, LiveSettings, "the command line"))


def _size(text: str | None) -> tuple[int, int] | None:
    """``1280x720`` as two numbers."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.lower())
    if match is None:
        raise ConfigError(f"--size is {text!r} but must be WIDTHxHEIGHT, such as 1280x720.")
    return int(match[1]), int(match[2])


def run_live(settings: LiveSettings) -> None:
    """Run a session with its table on the terminal, then say what was measured and written."""
    figures = settings.out / "live.json"
    try_outputs(figures)
    session = LiveSession(settings)
    console.print(_opening(settings, session))
    snapshot = session.session.metrics.snapshot
    if console.is_terminal:
        table = Live(
            get_renderable=lambda: stage_table(snapshot(), "live"),
            console=console,
            refresh_per_second=REFRESHES,
            transient=True,
        )
        with table:
            result = session.run()
    else:
        result = session.run()
    _report(settings, result, figures)


def _opening(settings: LiveSettings, session: LiveSession) -> str:
    shown = {
        "window": "in a window",
        "preview": f"into {settings.out}/preview.mp4",
        "off": "without a picture",
    }
    ending = "until the window is closed" if session.drawing == "window" else "until the source ends"
    if session.duration:
        ending = f"for {session.duration:g} s"
    published = "" if settings.publish is None else f" and for {shown_url(settings.publish)}"
    return f"Capturing from {settings.source} {shown[session.drawing]}{published}, {ending}; Ctrl-C stops."


def _report(settings: LiveSettings, result: LiveResult, path: Path) -> None:
    from stream.evaluation.machine import describe_machine, machine_sentence

    summary = result.summary
    figures: dict[str, Any] = {
        **summary.metrics,
        "seconds": summary.seconds,
        "ended": summary.reason,
        "failures": [*summary.failures, *(f"{name} did not stop" for name in summary.abandoned)],
        "files": {kind: str(path) for kind, path in result.files.items()},
        "published": result.published,
        "machine": describe_machine(),
        "settings": settings.model_dump(mode="json"),
    }
    write_json(figures, path)
    console.print(stage_table(summary.metrics, f"{summary.seconds:.1f} s on {machine_sentence()}"))
    if result.published:
        sent, dropped = result.published["sent"], result.published["dropped"]
        console.print(f"Published as {result.published['session']}: {sent} sent, {dropped} left out.")
    if "mesh" not in result.files:
        console.print("No face was seen, so there is no mesh.")
    console.print("Written: " + ", ".join(str(file) for file in (*result.files.values(), path)))
    if figures["failures"]:
        raise OutputError("Not everything could be finished: " + "; ".join(figures["failures"]))
