"""Histograms of a dataset's faces over those of real clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stream.errors import InputError
from stream.evaluation.statistics import QUANTITIES, FaceStatistics
from stream.files import atomic_path
from stream.types import Array

LABELS = {
    "yaw": "yaw, degrees",
    "pitch": "pitch, degrees",
    "roll": "roll, degrees",
    "distance": "distance, mm",
    "crop_size": "crop, pixels",
    "mouth_opening": "mouth opening / eye distance",
    "eye_opening": "eye opening / eye distance",
    "jaw_open": "jawOpen coefficient",
    "typology": "skin: typology angle, degrees",
    "tone": "skin: Fitzpatrick's type",
}
COLOURS = ("#2563eb", "#f59e0b", "#0f766e", "#94a3b8")
BINS = 30
LOGARITHMIC = ("distance", "crop_size")
ROUND = (20, 50, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1500, 2000, 3000, 5000, 10000)
LABEL_WIDTH = 0.14
"""Of a panel's width, what the longest label of a tick needs."""


def draw_statistics(groups: Mapping[str, FaceStatistics], path: Path) -> None:
    """One panel for each quantity with the share of each group's faces by bin, over each other.

    :param groups: by name, such as ``{"dataset": ..., "clips": ...}``.
    :param path: where the picture goes (PNG, SVG, ...).
    :raises InputError: there is no group.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    if not groups:
        raise InputError("There is nothing to draw; give at least one group of faces.")
    figure = Figure(figsize=(16, 6), layout="constrained")
    for axes, name in zip(figure.subplots(2, 5).ravel(), QUANTITIES, strict=True):
        _panel(axes, name, {label: getattr(group, name) for label, group in groups.items()})
    handles = [_patch(COLOURS[i % len(COLOURS)]) for i in range(len(groups))]
    names = [f"{label} ({len(group)} faces)" for label, group in groups.items()]
    figure.legend(handles, names, loc="outside lower center", ncols=len(groups), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def bin_edges(name: str, values: Array) -> Array:
    """Edges of the bins of one quantity: whole types, else `BINS` over the inner 99 % of all values.

    :param values: (N,), not empty, finite.
    """
    if name == "tone":
        return np.arange(0.5, 7.0)
    low, high = np.percentile(values, (0.5, 99.5))
    if name in LOGARITHMIC and low > 0:
        return np.geomspace(low, max(high, low * 1.01), BINS + 1)
    return np.linspace(low, max(high, low + 1e-3), BINS + 1)


def _panel(axes: Any, name: str, values: Mapping[str, Array]) -> None:
    known = {label: array[np.isfinite(array)] for label, array in values.items()}
    everything = np.concatenate(list(known.values()))
    axes.set_xlabel(LABELS[name])
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    if not len(everything):
        axes.text(0.5, 0.5, "not known", ha="center", va="center", transform=axes.transAxes)
        return
    edges = bin_edges(name, everything)
    if name in LOGARITHMIC:
        ticks = _apart([tick for tick in ROUND if edges[0] <= tick <= edges[-1]], edges)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    for index, array in enumerate(known.values()):
        if not len(array):
            continue
        share = np.histogram(np.clip(array, edges[0], edges[-1]), edges)[0] / len(array)
        axes.stairs(share, edges, fill=True, alpha=0.35, color=COLOURS[index % len(COLOURS)])
        axes.stairs(share, edges, color=COLOURS[index % len(COLOURS)])


def _apart(ticks: list[int], edges: Array) -> list[int]:
    """Those of rising ``ticks`` whose labels do not run into each other on a logarithmic axis."""
    least = (edges[-1] / edges[0]) ** LABEL_WIDTH
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick / kept[-1] >= least:
            kept.append(tick)
    return kept


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, alpha=0.6)
