"""Runs a pipeline as the main job of a program."""

from __future__ import annotations

import asyncio
import signal
import threading

from stream.pipeline.runner import Pipeline, Summary


def stop_signals() -> tuple[signal.Signals, ...]:
    """What asks a process to come to its end: Ctrl-C, SIGTERM and, unless nohup keeps it from us, a terminal
    that is closed (SIGHUP)."""
    hangup = getattr(signal, "SIGHUP", None)
    heeded = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *((hangup,) if heeded else ()))


def run_pipeline(pipeline: Pipeline) -> Summary:
    """Run to the end on an event loop of its own; the `stop_signals` stop it cleanly.

    Signals can be handled on the main thread only; from another one, `Pipeline.stop` is the way.

    :raises ProsoponError: see `Pipeline.run`.
    """
    return asyncio.run(_run(pipeline))


async def _run(pipeline: Pipeline) -> Summary:
    if threading.current_thread() is not threading.main_thread():
        return await pipeline.run()
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in stop_signals()}
    for number in previous:
        loop.add_signal_handler(number, pipeline.stop)
    try:
        return await pipeline.run()
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
