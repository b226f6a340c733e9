"""The benchmark's unit: MediaPipe on one core, and figures as ratios to it."""

import io
import os
import threading
from typing import Any

import pytest
from rich.console import Console

from stream.cli.tables import unit_table
from stream.evaluation import unit
from stream.evaluation.unit import in_units, unit_times

RUN = {"fps": 25.0, "cpu_percent": 50.0, "latency_ms": {"p50": 20.0, "p95": 30.0, "p99": 40.0}}
NOTHING = {"fps": 0.0, "cpu_percent": 10.0, "latency_ms": {"p50": None, "p95": None, "p99": None}}


def test_figures_become_ratios_to_the_median_of_all_looks() -> None:
    figures = in_units({"unpaced": RUN, "30 fps": NOTHING}, [[3.0, 4.0, 4.0], [4.0, 5.0, 90.0]])
    assert figures["unit_ms"] == 4.0
    assert figures["unit_looks_ms"] == [4.0, 5.0]
    # Half a core at 25 frames a second is 20 ms a frame.
    assert figures["units"]["unpaced"] == {"cpu_a_frame": 5.0, "frames_a_unit": 0.1, "latency_p95": 7.5}
    assert figures["units"]["30 fps"] == {"cpu_a_frame": None, "frames_a_unit": 0.0, "latency_p95": None}


def test_the_table_says_how_long_a_unit_was() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(unit_table(in_units({"unpaced": RUN, "30 fps": NOTHING}, [[4.0], [5.0]]), drawn=False))
    text = console.export_text()
    assert "4.50 ms (4.00 to 5.00 between runs)" in text
    assert "p95 capture to mesh" in text
    assert "0.000" in text


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads cannot be pinned here")
def test_mediapipe_has_one_core_while_it_is_timed_and_nobody_else_loses_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, started, cores = os.sched_getaffinity(0), threading.active_count(), []

    def opened(*given: Any, **named: Any) -> Any:
        cores.append(os.sched_getaffinity(0))
        return whole(*given, **named)

    whole = unit.open_mesh
    monkeypatch.setattr(unit, "open_mesh", opened)
    times = unit_times(frames=10)
    assert len(times) == 10
    assert min(times) > 0.1
    assert [len(those) for those in cores] == [1]
    assert os.sched_getaffinity(0) == before
    assert threading.active_count() == started
