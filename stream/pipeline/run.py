"""Runs a pipeline as the main job of a program."""

from __future__ import annotations

import asyncio
import signal
import threading

from stream.pipeline.runner import Pipeline, Summary

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_pipeline(pipeline: Pipeline) -> Summary:
    """Run to the end on an event loop of its own; Ctrl-C and SIGTERM stop it cleanly.

    Signals can be handled on the main thread only; from another one, `Pipeline.stop` is the way.

    :raises ProsoponError: see `Pipeline.run`.
    """
    return asyncio.run(_run(pipeline))


async def _run(pipeline: Pipeline) -> Summary:
    if threading.current_thread() is not threading.main_thread():
        return await pipeline.run()
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, pipeline.stop)
    try:
        return await pipeline.run()
    finally:
        for number, handler in previous.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
