"""A study's results as a table and a picture, beside the figures of seed 000."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stream.files import atomic_path

Result = dict[str, Any]

NAMES = {"attention_unet": "Attention U-Net", "dpt": "DPT (small)", "mobile_unet": "Mobile U-Net"}

SEED_SOURCE = "seed 000, Table 4.2"
SEED_COUNTS = (1, 10, 100, 1000, 20000, 50000)
SEED = {
    "dpt": {
        "train": (0.022, 0.025, 0.029, 0.074, 0.064, 0.032),
        "val": (0.222, 0.198, 0.067, 0.085, 0.062, 0.054),
        "test": (0.276, 0.026, 0.206, 0.204, 0.205, 0.187),
    },
    "attention_unet": {
        "train": (0.034, 0.041, 0.078, 0.069, 0.022, 0.035),
        "val": (0.375, 0.108, 0.088, 0.081, 0.068, 0.038),
        "test": (0.48, 0.225, 0.221, 0.212, 0.217, 0.169),
    },
}
"""Mean L1 by number of samples as printed there (its DPT is the large one, its test set real faces)."""

COLOURS = {"train": "#94a3b8", "val": "#2563eb", "test": "#d97706"}
LABELS = {"train": "its own samples", "val": "held-out synthetic heads", "test": "photos, weak labels"}


def write_report(results: Sequence[Result], available: int, folder: Path) -> None:
    """Write ``study.md`` and ``study.png``.

    :param results: as `stream.training.study.Study.run` gives them.
    :param available: synthetic training samples there are, which is what "all" means.
    :raises OutputError: a file cannot be written.
    """
    with atomic_path(folder / "study.md") as temporary:
        temporary.write_text(study_table(results, available), encoding="utf-8")
    figure = study_figure(results, available)
    with atomic_path(folder / "study.png") as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def study_table(results: Sequence[Result], available: int) -> str:
    """The tables in Markdown: by number of samples, without background, by head model."""
    mixed, alone = _parted(results)
    lines = [
        "Mean depth L1, depths in [-1, 1] as seed 000 has them; crop units in brackets. Figures of "
        f"{SEED_SOURCE}, are of other data and another test set.",
        "",
        "| network | samples | steps | train | validation | photos | seed: train | validation | real faces |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in mixed:
        row = result["row"]
        count = row["samples"] or available
        seed = SEED.get(row["architecture"], {})
        place = SEED_COUNTS.index(count) if count in SEED_COUNTS else None
        theirs = [f"{seed[key][place]:.3f}" if seed and place is not None else "" for key in LABELS]
        ours = [_cell(result, key) for key in LABELS]
        cells = [NAMES.get(row["architecture"], row["architecture"]), f"{count:,}", str(row["steps"])]
        lines.append("| " + " | ".join([*cells, *ours, *theirs]) + " |")
    lines += ["", *_background(mixed), *_transfer(mixed, alone)]
    return "\n".join(lines) + "\n"


def study_figure(results: Sequence[Result], available: int) -> Figure:
    """L1 against the number of samples, one panel for each architecture; the seed's figures pale behind."""
    mixed, _ = _parted(results)
    architectures = list(dict.fromkeys(result["row"]["architecture"] for result in mixed))
    figure = Figure(figsize=(5.2 * max(1, len(architectures)), 4.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(architectures)), sharey=True, squeeze=False)[0]
    for axes, architecture in zip(panels, architectures, strict=False):
        _panel(axes, architecture, [r for r in mixed if r["row"]["architecture"] == architecture], available)
    panels[0].set_ylabel("mean depth L1, depths in [-1, 1]")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle("Depth error by number of training samples")
    return figure


def _panel(axes: Axes, architecture: str, results: Sequence[Result], available: int) -> None:
    for key, figures in SEED.get(architecture, {}).items():
        axes.plot(SEED_COUNTS, figures, "x", color=COLOURS[key], alpha=0.4, markersize=6)
    axes.plot([], [], "x", color="#475569", alpha=0.6, label=f"{SEED_SOURCE} (its own data)")
    for key, label in LABELS.items():
        points = [(r["row"]["samples"] or available, r[f"{key}_normalised"]) for r in results]
        known = sorted((count, value) for count, value in points if value is not None)
        axes.plot(*zip(*known, strict=True), "o-", color=COLOURS[key], label=label, markersize=4)
    axes.set(
        title=NAMES.get(architecture, architecture), xlabel="training samples", xscale="log", ylim=(0, None)
    )
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _background(mixed: Sequence[Result]) -> list[str]:
    """The best row of each architecture with and without the photos' background (the seed's Table 4.3)."""
    lines = ["| network | photos | background removed by our mask |", "|---|---|---|"]
    for architecture in dict.fromkeys(result["row"]["architecture"] for result in mixed):
        rows = [r for r in mixed if r["row"]["architecture"] == architecture and r["val"] is not None]
        if not rows:
            continue
        best = min(rows, key=lambda result: float(result["val"]))
        name = NAMES.get(architecture, architecture)
        lines.append(f"| {name} | {_cell(best, 'test_mask')} | {_cell(best, 'test_removed')} |")
    note = "The best row of each on validation; L1 over the pixels that the mask keeps, in both columns."
    return [note, "", *lines, ""]


def _transfer(mixed: Sequence[Result], alone: Sequence[Result]) -> list[str]:
    """What a network trained on one head model makes of the other."""
    if not alone:
        return []
    lines = ["| trained on | steps | ICT heads | Anny heads | photos |", "|---|---|---|---|---|"]
    like = [
        result
        for result in mixed
        if all(result["row"][key] == alone[0]["row"][key] for key in ("architecture", "samples", "steps"))
    ]
    for result in [*alone, *like]:
        trained = " and ".join({"ict": "ICT", "anny": "Anny"}[name] for name in result["row"]["topologies"])
        cells = [_cell(result, key) for key in ("val_ict", "val_anny", "test")]
        lines.append("| " + " | ".join([trained, str(result["row"]["steps"]), *cells]) + " |")
    row = alone[0]["row"]
    name = NAMES.get(row["architecture"], row["architecture"])
    note = f"{name}, {row['samples'] or 'all'} samples of each head model, or of both together."
    return [note, "", *lines, ""]


def _parted(results: Sequence[Result]) -> tuple[list[Result], list[Result]]:
    """Rows trained on both head models, and those trained on one."""
    mixed = [result for result in results if len(result["row"]["topologies"]) > 1]
    return mixed, [result for result in results if len(result["row"]["topologies"]) == 1]


def _cell(result: Result, key: str) -> str:
    value, crop = result[f"{key}_normalised"], result[key]
    return "-" if value is None else f"{value:.3f} ({crop:.3f})"
