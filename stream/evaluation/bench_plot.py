"""The benchmark's result as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream.evaluation.machine import machine_sentence
from stream.evaluation.plain_figure import plain
from stream.files import atomic_path

LATENCY = "capture to output"
LABELS = {"p50": "median", "p95": "95 %", "p99": "99 %"}
COLOURS = {"p50": "#2563eb", "p95": "#f59e0b", "p99": "#dc2626"}


def draw_benchmark(result: dict[str, Any], path: Path) -> None:
    """One panel per run: p50, p95 and p99 of every stage and of the whole way, milliseconds.

    A dashed line marks the camera's interval: what a stage must stay under to keep up.

    :param result: as `stream.evaluation.benchmark.run_benchmark` gives it.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    runs = result["runs"]
    figure = Figure(figsize=(4.4 * len(runs), 4.2), layout="constrained")
    for axes, (name, run) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
        _draw_run(axes, name, run)
    handles = [Patch(color=colour, label=LABELS[key]) for key, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    source = result["settings"]["source"]
    figure.suptitle(f"prosopon bench, source {source}\n{machine_sentence()}", fontsize=10)
    with atomic_path(path) as temporary:
        plain(figure).savefig(temporary, dpi=120, format="png")


def _draw_run(axes: Any, name: str, run: dict[str, Any]) -> None:
    rows = {stage: times for stage, times in run["stages"].items() if times["p50"] is not None}
    if run["latency_ms"]["p50"] is not None:
        rows[LATENCY] = run["latency_ms"]
    labels = list(rows)
    for key, colour in reversed(COLOURS.items()):
        axes.barh(labels, [rows[label][key] for label in labels], color=colour, height=0.62)
    if run["offered_fps"]:
        axes.axvline(1e3 / run["offered_fps"], color="#334155", linestyle="--", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(f"{name}: {run['fps']:.0f} fps, {run['drops']} dropped", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
