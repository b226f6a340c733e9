"""`prosopon serve`: cameras come in by WebRTC, meshes go out to browsers and programs."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_format
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.cli.tables import console, given
from stream.config import load_config, parse_settings
from stream.pipeline.run import stop_signals
from stream.remote.settings import ServeSettings

if TYPE_CHECKING:
    from stream.remote.server.http.server import RemoteServer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one (8080).")] = None,
    max_sessions: Annotated[int | None, typer.Option(help="Cameras at once (4).")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Let others in without a token or TLS.")
    ] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Stop after this many seconds.")] = None,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="Of the log lines on standard error.")
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="Print the figures at the end as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings, e.g. configs/serve.yaml.")] = None,
) -> None:
    """Serve live faces to browsers and programs; tokens are read from the settings or PROSOPON_TOKEN."""
    from stream.remote.event_loop import run

    settings = load_config(config, ServeSettings) if config else ServeSettings()
    values = settings.model_dump()
    values |= given(host=host, port=port, max_sessions=max_sessions, insecure=insecure)
    values |= given(tls_certificate=tls_cert, tls_key=tls_key)
    settings = parse_settings(values, ServeSettings, "the command line")
    _log_lines(log_format)
    figures = run(_serve(settings, duration, quiet=json))
    if json:
        typer.echo(json_format.dumps(figures, indent=2))
    else:
        console.print(_closing(figures))


def _log_lines(form: str) -> None:
    from stream.remote.server.http.monitoring import log_to_stderr

    log_to_stderr(form, logging.getLogger().isEnabledFor(logging.DEBUG))


async def _serve(settings: ServeSettings, duration: float | None, quiet: bool) -> dict[str, Any]:
    """Serve until a signal or the duration ends it; the figures."""
    from stream.remote.server.http.server import RemoteServer

    server = RemoteServer(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signals := stop_signals()):
        loop.add_signal_handler(number, stop.set)
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(stop.wait())
    begun = time.monotonic()
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            _leave()
        starting.result()
        print(_opening(server), file=sys.stderr if quiet else sys.stdout, flush=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), duration)
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        await server.stop()
        for number in signals:
            loop.remove_signal_handler(number)
    return {
        "seconds": time.monotonic() - begun,
        "ended": "stopped" if stop.is_set() else "duration",
        **server.figures(),
    }


def _leave() -> None:
    """End the process while it loads: a thread that builds a network cannot be interrupted, and a normal end
    would wait for it; nobody is served yet."""
    print("Stopped while loading.", file=sys.stderr, flush=True)
    os._exit(0)


def _opening(server: RemoteServer) -> str:
    tokens = "" if server.guard.tokens.required else ", without a token"
    return f"Open {server.url} in a browser{tokens}; Ctrl-C stops."


def _closing(figures: dict[str, Any]) -> str:
    return (
        f"{figures['published']} cameras and {figures['watched']} viewers in {figures['seconds']:.0f} s; "
        f"{figures['refused']} of {figures['requests']} requests were refused."
    )
