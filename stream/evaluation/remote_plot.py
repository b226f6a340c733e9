"""The remote benchmark's result as a picture: latency over time and how it is spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream.evaluation.machine import machine_sentence
from stream.evaluation.remote_benchmark import RATE
from stream.files import atomic_path

RECEIVED, SHOWN, LIMIT, INTERVAL = "#2563eb", "#94a3b8", "#dc2626", "#334155"

BINS = 40


def draw_remote_benchmark(result: dict[str, Any], path: Path) -> None:
    """Capture to mesh received, and to mesh with its picture, over time and as a histogram.

    Lines mark the limit that the 95th percentile is held to, and the camera's interval: what happens right
    after a picture was taken waits that long for the next one, on top of all that is shown here.

    :param result: as `stream.evaluation.remote_benchmark.run_remote_benchmark` gives it.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = np.array(result["rows"], np.int64).reshape(-1, 5)
    rows = rows[rows[:, 4] > 0]
    _, _, arrived, ready, shown = rows.T
    seconds = (shown - shown[0]) / 1e6
    received, complete = (arrived - shown) / 1e3, (ready - shown) / 1e3
    limit = result["limits"]["latency_ms"]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    course, spread = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    course.plot(seconds, complete, ".", color=SHOWN, markersize=3, label="with its picture")
    course.plot(seconds, received, ".", color=RECEIVED, markersize=4, label="mesh received")
    top = max(1.15 * limit, 1.05 * float(np.percentile(complete, 99)))
    bins = np.linspace(0, top, BINS)
    values = [np.clip(complete, 0, top), np.clip(received, 0, top)]
    spread.hist(values[0], bins, orientation="horizontal", color=SHOWN, alpha=0.6)
    spread.hist(values[1], bins, orientation="horizontal", color=RECEIVED, alpha=0.7)
    for axes in (course, spread):
        axes.axhline(
            limit, color=LIMIT, linestyle="--", linewidth=1, label=f"limit of the 95 %: {limit:g} ms"
        )
        axes.axhline(1e3 / RATE, color=INTERVAL, linestyle=":", linewidth=1, label="camera's interval")
        axes.spines[["top", "right"]].set_visible(False)
    course.set(xlabel="seconds", ylabel="milliseconds since the picture was taken", ylim=(0, top))
    spread.set(xlabel="meshes")
    figure.legend(*course.get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=4)
    times = result["latency_ms"]
    figure.suptitle(
        f"prosopon bench --remote, {result['settings']['source']}: {result['fps']:.1f} meshes a second, "
        f"received after {times['p50']:.0f} ms (95 %: {times['p95']:.0f} ms)\n{machine_sentence()}",
        fontsize=10,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
