"""A comparison of methods as pictures: bars by stratum, and what lies behind the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream.evaluation.comparison import Comparison
from stream.evaluation.metrics import mean
from stream.evaluation.plain_figure import plain
from stream.evaluation.summary import correlation_of, strata, summarise_confidence
from stream.files import atomic_path

COLOURS = ("#2563eb", "#7c3aed", "#0891b2", "#db2777", "#65a30d", "#f59e0b", "#94a3b8", "#0f766e")
UNSHOWN = 2.0
"""The bars' scale ends at so many times the second lowest method's highest bar: a hopeless one is cut off."""


def draw_strata(comparison: Comparison, title: str, path: Path) -> None:
    """``mm_tilt`` of every method by yaw, expression, skin tone and occlusion; shorter bars are better.

    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    groups = strata(comparison.about)
    grid = figure.subplots(2, 2, sharey=True).ravel()
    tops = []
    for axes, (what, parts) in zip(grid, groups.items(), strict=True):
        chosen = {name: rows for name, rows in parts.items() if rows.any()}
        bars = {
            method: [mean(values["mm_tilt"][rows]) for rows in chosen.values()]
            for method, values in comparison.values.items()
        }
        tops.append([np.nanmax([*heights, 0.0]) for heights in bars.values()])
        _bars(axes, bars, [f"{name}\n({int(rows.sum())})" for name, rows in chosen.items()])
        axes.set_title({"yaw": "absolute yaw, degrees", "tone": "skin tone, Fitzpatrick"}.get(what, what))
        axes.set_ylabel("depth MAE of skin, mm")
    highest = np.sort(np.max(tops, axis=0))
    grid[0].set_ylim(0, 1.15 * min(highest[-1], UNSHOWN * highest[min(1, len(highest) - 1)]) or 1)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(labels)), frameon=False)
    figure.suptitle(f"{title}: error after scale, offset and tilt, by what was drawn (samples)")
    with atomic_path(path) as temporary:
        plain(figure).savefig(temporary, dpi=100)


def draw_details(comparison: Comparison, title: str, path: Path) -> None:
    """Error against yaw; confidence against error; deviation from the mean face and nose, predicted and true.

    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    grid = figure.subplots(2, 2).ravel()
    _yaw(grid[0], comparison)
    _confidence(grid[1], comparison)
    _deviation(grid[2], comparison)
    _nose(grid[3], comparison)
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        plain(figure).savefig(temporary, dpi=100)


def _yaw(axes: Any, comparison: Comparison) -> None:
    yaw = comparison.about["yaw"]
    edges = np.linspace(0, max(60.0, float(yaw.max())), 8)
    bins = np.clip(np.digitize(yaw, edges) - 1, 0, len(edges) - 2)
    middle = (edges[1:] + edges[:-1]) / 2
    for colour, (name, values) in zip(_colours(), comparison.values.items(), strict=False):
        error = values["mm_tilt"]
        axes.plot(yaw, error, ".", color=colour, alpha=0.25, markersize=4)
        line = [mean(error[bins == index]) for index in range(len(middle))]
        axes.plot(middle, line, "o-", color=colour, markersize=3, linewidth=1.5, label=name)
    best = min(np.nanmax([*values["mm_tilt"], 0.0]) for values in comparison.values.values())
    axes.set(title="by turn of the head", xlabel="absolute yaw, degrees", ylabel="depth MAE of skin, mm")
    axes.set_ylim(0, 2.5 * best or None)
    axes.legend(frameon=False, fontsize=8)


def _confidence(axes: Any, comparison: Comparison) -> None:
    axes.set(
        title="error by quarter of the pixels, least to most confident",
        xlabel="mean confidence",
        ylabel="mean absolute error of depth, crop units",
        ylim=(0, None),
    )
    for colour, (name, values) in zip(_colours(), comparison.values.items(), strict=False):
        found = summarise_confidence(values)
        if found is None:
            continue
        x, y = ([part[key] for part in found["quartiles"]] for key in ("confidence", "error"))
        rank = found["spearman"]
        label = name if rank is None else f"{name} (rank correlation {rank:.2f})"
        axes.plot(x, y, "o-", color=colour, label=label)
    if axes.lines:
        axes.set_ylim(0, None)
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "no method tells its confidence", ha="center", transform=axes.transAxes)


def _deviation(axes: Any, comparison: Comparison) -> None:
    """The first method's pixels; every method's correlation in the legend."""
    first, values = next(iter(comparison.values.items()))
    pixels = values["deviation_pixels"].reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    reach = float(np.quantile(np.abs(pixels), 0.995)) if len(pixels) else 1.0
    if len(pixels):
        axes.hexbin(
            pixels[:, 1], pixels[:, 0], gridsize=45, bins="log", cmap="Blues", extent=(-reach, reach) * 2
        )
    axes.plot([-reach, reach], [-reach, reach], color="#334155", linewidth=1)
    lines = [
        f"{name}: r {value:.2f}"
        for name, one in comparison.values.items()
        if np.isfinite(value := mean(one["deviation"]))
    ]
    axes.text(0.02, 0.98, "\n".join(lines), va="top", fontsize=8, transform=axes.transAxes)
    axes.set(title=f"deviation from the mean face, mm: {first}", xlabel="true", ylabel="predicted")


def _nose(axes: Any, comparison: Comparison) -> None:
    axes.set(title="nose protrusion over face height", xlabel="true", ylabel="predicted")
    ends = []
    for colour, (name, values) in zip(_colours(), comparison.values.items(), strict=False):
        guess, true = values["nose"], values["nose_true"]
        there = np.isfinite(guess) & np.isfinite(true)
        if not there.any():
            continue
        ends += [true[there].min(), true[there].max()]
        rank = correlation_of(guess[there], true[there])
        label = name if rank is None else f"{name} (r {rank:.2f})"
        axes.plot(true[there], guess[there], ".", color=colour, alpha=0.6, label=label)
    if ends:
        # A plane has no nose: it need not be seen.
        axes.set_ylim(0.5 * min(ends), 1.5 * max(ends))
        axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color="#334155", linewidth=1)
        axes.legend(frameon=False, fontsize=8)


def _bars(axes: Any, rows: dict[str, list[float]], labels: list[str]) -> None:
    width = 0.84 / len(rows)
    for index, ((name, values), colour) in enumerate(zip(rows.items(), _colours(), strict=False)):
        places = np.arange(len(labels)) + index * width
        bars = axes.bar(places, np.array(values, float), width, label=name, color=colour)
        axes.bar_label(bars, fmt="%.1f", fontsize=5, padding=1, clip_on=True)
    axes.set_xticks(np.arange(len(labels)) + 0.42 - width / 2, labels, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _colours() -> tuple[str, ...]:
    return COLOURS * 4
