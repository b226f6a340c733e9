"""Ctrl-C, SIGTERM and SIGHUP, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pipeline.pipeline_helpers import FakeStage, ListSource

from stream.pipeline.run import run_pipeline, stop_signals
from stream.pipeline.runner import Pipeline

PROGRAM = """
import signal, sys
from pipeline.pipeline_helpers import FakeStage, ListSource
from stream.pipeline.run import run_pipeline
from stream.pipeline.runner import Pipeline

def hello(capture):
    if capture.frame.index == 3:
        print("running", flush=True)
    return capture

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
before = signal.getsignal(signal.SIGINT)  # a job in the background starts with it ignored
stage = FakeStage("a", hello)
summary = run_pipeline(Pipeline(ListSource(None, paced=True, every=0.01), [stage]))
restored = signal.getsignal(signal.SIGINT) is before
print(summary.reason, stage.closed, summary.abandoned, restored, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_cleanly(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert out == "stopped 1 () True\n"
    assert process.returncode == 0


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in stop_signals()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert signal.SIGHUP in stop_signals()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_runs_off_the_main_thread_without_signals() -> None:
    before = signal.getsignal(signal.SIGTERM)
    reasons: list[str] = []
    thread = threading.Thread(
        target=lambda: reasons.append(run_pipeline(Pipeline(ListSource(3), [FakeStage("a")])).reason)
    )
    thread.start()
    thread.join(10)
    assert reasons == ["ended"]
    assert signal.getsignal(signal.SIGTERM) is before
