"""Pictures of a run: the loss curve and what the network sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from stream.data.shards import Samples
from stream.evaluation import regions
from stream.evaluation.metrics import camera_normals
from stream.files import atomic_path
from stream.training.validate import Predicted
from stream.types import Array

NEAR, FAR = -0.6, 1.0
"""Crop units at the ends of the depth pictures' colours."""

SHOWN = {"l1": "ICT heads, held out", "anny_l1": "Anny heads", "photo_l1": "photos, weak labels"}
"""Validation errors in the picture of a run, and what they are called there."""

_LIGHT = np.array([-0.4, -0.5, -0.77])


def loss_curve(rows: Sequence[Mapping[str, Any]], parts: Sequence[str], path: Path) -> None:
    """Draw the named parts of the loss and the validation error over the steps of a run's log.

    :raises OutputError: the file cannot be written.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row for row in rows if row["event"] == "step"]
    checks = [row for row in rows if row["event"] == "validation"]
    for part in parts:
        values = [row[part] for row in steps]
        if any(values):
            left.plot([row["step"] for row in steps], values, label=part, linewidth=1)
    # The spread's likelihood is below 0 once the error is small.
    left.set(title="training loss, by part", xlabel="step")
    left.set_yscale("symlog", linthresh=0.01)
    if steps:
        left.legend(fontsize=8)
    for key, label in SHOWN.items():
        seen = [row for row in checks if key in row]
        if seen:
            right.plot(
                [row["step"] for row in seen], [row[key] for row in seen], "o-", label=label, markersize=3
            )
    right.set(title="validation depth L1", xlabel="step", ylabel="crop units", ylim=(0, None))
    if checks:
        right.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def prediction_sheet(samples: Samples, found: Predicted, path: Path) -> None:
    """Rows of image, depth, shaded surface, normal map, mask and confidence as predicted, then depth, surface
    and mask as known.

    :raises OutputError: the file cannot be written.
    """
    known, head = regions.head(samples), regions.foreground(samples)
    seen = found.mask > 0.5
    surface = camera_normals(found.depth, samples.crop, samples.camera, samples.distance)
    truth = samples.depth.astype(np.float32)
    columns = [
        samples.image,
        colour_depth(found.depth, seen),
        shade(surface, seen),
        shade(found.normal, seen),
        _grey(found.mask),
        _grey(found.confidence),
        colour_depth(truth, known),
        shade(samples.normal.astype(np.float32) / 127, known),
        _grey(head.astype(np.float32)),
    ]
    sheet = np.concatenate([np.concatenate(list(column), axis=0) for column in columns], axis=1)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def colour_depth(depth: Array, where: Array) -> Array:
    """(N, S, S, 3) uint8 RGB: near is yellow, far is blue, black outside ``where``."""
    level = np.clip((FAR - depth) / (FAR - NEAR) * 255, 0, 255).astype(np.uint8)
    coloured = np.stack([cv2.applyColorMap(one, cv2.COLORMAP_VIRIDIS)[..., ::-1] for one in level])
    return np.where(where[..., None], coloured, 0).astype(np.uint8)


def shade(normals: Array, where: Array) -> Array:
    """(N, S, S, 3) uint8: the surface in grey under one light from above, black outside ``where``."""
    light = np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    return _grey(np.where(where, 0.1 + 0.9 * light, 0))


def _grey(values: Array) -> Array:
    return np.repeat((np.clip(values, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=-1)
