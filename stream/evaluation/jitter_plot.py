"""Depth over time, raw and smoothed, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.evaluation.clips import RATE
from stream.evaluation.jitter import TRACES, Measurement
from stream.evaluation.plain_figure import plain
from stream.files import atomic_path

COLOURS = {"raw": "#94a3b8", "smooth": "#dc2626"}


def draw_traces(measurements: dict[str, Measurement], path: Path) -> None:
    """One row per clip, one panel per traced place: depth in mm about its mean, grey raw and red smoothed.

    :param measurements: by the source's name.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = [
        (f"{source}\n{clip}", traces)
        for source, m in measurements.items()
        for clip, traces in m.traces.items()
    ]
    figure = Figure(figsize=(4.2 * len(TRACES), 1.9 * len(rows) + 0.8), layout="constrained")
    panels = figure.subplots(len(rows), len(TRACES), squeeze=False)
    for (label, traces), line in zip(rows, panels, strict=True):
        for place, (name, axes) in enumerate(zip(TRACES, line, strict=True)):
            for mode, values in traces.items():
                course = values[:, place]
                if np.isfinite(course).any():
                    times = np.arange(len(course)) / RATE
                    axes.plot(
                        times, course - np.nanmean(course), color=COLOURS[mode], linewidth=1.1, label=mode
                    )
            axes.set_title(name, fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
        line[0].set_ylabel(f"{label}\nmm", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("seconds at 30 frames a second", fontsize=8)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False
    )
    with atomic_path(path) as temporary:
        plain(figure).savefig(temporary, dpi=110, format="png")
