"""The depth evaluation as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream.files import atomic_path

COLOURS = ("#2563eb", "#f59e0b", "#94a3b8", "#0f766e")
REGIONS = {"l1": "head", "l1_skin": "skin", "l1_covered": "skin under\nthe mean face"}


def draw_depth_errors(result: dict[str, Any], path: Path) -> None:
    """L1 by region and by yaw of every method, on synthetic samples; shorter bars are better.

    :param result: as `stream.evaluation.depth.evaluate_depth` gives it, with synthetic samples.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    part = result["synthetic"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    methods = part["methods"]
    _bars(left, {n: [m[key] for key in REGIONS] for n, m in methods.items()}, list(REGIONS.values()))
    left.set(title="by region", ylabel="mean depth L1, crop units")
    bins = list(next(iter(methods.values()))["l1_by_yaw"])
    _bars(right, {n: list(m["l1_by_yaw"].values()) for n, m in methods.items()}, bins)
    right.set(title="head, by turn of the head", xlabel="absolute yaw, degrees")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=len(methods), frameon=False
    )
    figure.suptitle(f"Depth on {part['samples']} held-out synthetic faces")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _bars(axes: Any, rows: dict[str, list[float | None]], labels: list[str]) -> None:
    width = 0.8 / len(rows)
    for index, (name, values) in enumerate(rows.items()):
        heights = np.array([np.nan if value is None else value for value in values])
        bars = axes.bar(
            np.arange(len(labels)) + index * width, heights, width, label=name, color=COLOURS[index % 4]
        )
        axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    axes.set_xticks(np.arange(len(labels)) + 0.4 - width / 2, labels)
    axes.spines[["top", "right"]].set_visible(False)
