"""What can be drawn here, and the figures that are shown beside it."""

from __future__ import annotations

import logging
from typing import Any, Literal

from stream.errors import BackendError

log = logging.getLogger(__name__)

Show = Literal["auto", "window", "preview", "off"]
Drawing = Literal["window", "preview", "off"]


def panel_lines(metrics: dict[str, Any]) -> list[str]:
    """Short texts for a panel, the most important first, from `Metrics.snapshot`."""
    latency = metrics["outputs"].get("render", metrics["latency_ms"])["p95"]
    lines = [f"{metrics['fps']:.0f} fps", f"{metrics['drops']} dropped"]
    if latency is not None:
        lines.insert(1, f"latency {latency:.0f} ms (95 %)")
    chain = (
        (name, stage["p50"]) for name, stage in metrics["stages"].items() if name not in metrics["outputs"]
    )
    return lines + [f"{name} {time:.1f} ms" for name, time in chain if time is not None]


def choose_drawing(show: Show) -> Drawing:
    """What can be drawn here: ``auto`` tries a window, then off-screen rendering, then does without."""
    from stream.render.context import probe_context
    from stream.render.display import has_display

    wanted: dict[Show, list[Drawing]] = {
        "auto": ["window", "preview"] if has_display() else ["preview"],
        "window": ["window"],
        "preview": ["preview"],
        "off": [],
    }
    for drawing in wanted[show]:
        try:
            probe_context("window" if drawing == "window" else "egl")
        except BackendError as error:
            if show != "auto":
                raise
            log.warning("There is no %s, the rest still runs. %s", drawing, error)
        else:
            return drawing
    return "off"
