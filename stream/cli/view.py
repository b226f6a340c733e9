"""`prosopon view`: a remote session in a window here, or into a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stream.cli.tables import console, stage_table, try_outputs, write_json
from stream.errors import OutputError
from stream.render.drawing import Show

ADDRESS = "http(s)://HOST:PORT, .../#session=NAME or .../whep/NAME."


def view(
    url: Annotated[str, typer.Argument(help=ADDRESS)],
    out: Annotated[Path | None, typer.Option(help="Write a .mp4, .png or .glb.")] = None,
    show: Annotated[Show, typer.Option(help="What is drawn; auto prefers a window.")] = "auto",
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    transport: Annotated[
        Literal["auto", "webrtc", "websocket"], typer.Option(help="auto: WebSocket where WebRTC fails.")
    ] = "auto",
    session: Annotated[str | None, typer.Option(help="Which session, where there are several.")] = None,
    token: Annotated[str | None, typer.Option(help="For the server; or set PROSOPON_TOKEN.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Watch a remote session: each face as a live mesh, turned with the mouse."""
    from stream.remote.client.address import shown_url
    from stream.remote.client.watching.view import ViewResult, ViewSession
    from stream.remote.client.watching.viewer import RemoteViewer

    try_outputs(json)
    viewing = ViewSession(RemoteViewer(url, token, session=session, transport=transport), out, show, duration)
    console.print(f"Watching {shown_url(url)}{_ending(viewing.drawing, out, duration)}; Ctrl-C stops.")
    result: ViewResult = viewing.run()
    if json is not None:
        write_json(_figures(result), json)
    console.print(stage_table(result.summary.metrics, f"{result.summary.seconds:.1f} s"))
    figures = result.figures
    console.print(
        f"{figures.frames} meshes received, {figures.skipped} overtaken by newer ones, {figures.lost} lost, "
        f"{figures.reconnections} reconnections."
    )
    if json is not None:
        console.print(f"Figures: {json}")
    if result.written:
        console.print("Written: " + ", ".join(map(str, result.written)))
    if result.summary.failures:
        raise OutputError("Not everything could be finished: " + "; ".join(result.summary.failures))
    if out is not None and not result.written:
        raise OutputError(f"No mesh came, so {out} was not written; is a face before the camera?")


def _ending(drawing: str, out: Path | None, duration: float | None) -> str:
    where = {"window": " in a window", "preview": " off screen", "off": ""}[drawing]
    into = "" if out is None else f", into {out}"
    return where + into + ("" if duration is None else f", for {duration:g} s")


def _figures(result: Any) -> dict[str, Any]:
    summary = result.summary
    return {
        **summary.metrics,
        "seconds": summary.seconds,
        "ended": summary.reason,
        "failures": [*summary.failures, *(f"{name} did not stop" for name in summary.abandoned)],
        "viewer": asdict(result.figures),
        "files": [str(path) for path in result.written],
    }
