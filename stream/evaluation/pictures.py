"""Pictures of single predictions: what a person looks at to see where a method fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stream.data.shards import Samples
from stream.evaluation import metrics, regions
from stream.evaluation.alignment import fit_depth
from stream.evaluation.judge import Prediction
from stream.evaluation.plain_figure import plain
from stream.evaluation.surface import crop_unit_mm
from stream.files import atomic_path
from stream.types import Array

LIMIT_MM = 10.0
"""Errors at the ends of the colour bar."""

_LIGHT = np.array([-0.4, -0.5, -0.77])
_MAX_INDEX = 12000


def draw_case(samples: Samples, prediction: Prediction, title: str, path: Path) -> None:
    """Picture, predicted surface, true surface and error of one sample, side by side.

    The error is predicted minus true depth after scale, offset and tilt are fitted on the skin, mm: blue is
    too near, red too far; the rest of the head is shown with the same fit. The prediction is shown within its
    mask, where it has one.

    :param samples, prediction: of one sample.
    :raises OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    head = regions.head(samples)
    shown = head if prediction.mask is None else prediction.mask > 0.5
    depth = np.stack([regions.spread(one.astype(np.float32)) for one in prediction.depth])
    truth = samples.depth.astype(np.float32)
    places = (samples.crop, samples.camera, samples.distance)
    unit = float(crop_unit_mm(*places)[0])
    error = (fit_depth(depth, truth, regions.skin(samples), tilt=True)[0] - truth[0]) * unit
    figure = Figure(figsize=(12.5, 3.5), layout="constrained")
    axes = figure.subplots(1, 4)
    known = regions.head(samples) | regions.occluder(samples)
    panels = (
        ("picture", samples.image[0]),
        ("predicted", shade(metrics.camera_normals(depth, *places), shown)[0]),
        ("true", shade(samples.normal.astype(np.float32) / 127, known)[0]),
    )
    for axis, (name, picture) in zip(axes, panels, strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=10)
    image = axes[3].imshow(
        np.where(head[0], error, np.nan),
        cmap="RdBu_r",
        vmin=-LIMIT_MM,
        vmax=LIMIT_MM,
        interpolation="nearest",
    )
    axes[3].set_facecolor("#e2e8f0")
    axes[3].set_title("error, fitted on the skin", fontsize=10)
    figure.colorbar(image, ax=axes[3], label="mm, + too far", extend="both")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        plain(figure).savefig(temporary, dpi=80)


def draw_index(paths: Sequence[Path], path: Path) -> None:
    """The pictures of all cases below each other, at 60 % of their size, in one file.

    What would be below row `_MAX_INDEX` is left out.

    :raises OutputError: the file cannot be written.
    """
    rows: list[Any] = [cv2.imread(str(one)) for one in paths]
    smaller = [cv2.resize(row, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for row in rows]
    width = max(row.shape[1] for row in smaller)
    padded = [
        cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3)
        for row in smaller
    ]
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.concatenate(padded)[:_MAX_INDEX])


def shade(normals: Array, where: Array) -> Array:
    """(N, S, S, 3) uint8: surfaces with these unit normals, grey under one light from above; white beside."""
    light = np.clip(normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    grey = np.where(where, 0.08 + 0.88 * light, 1.0)
    return np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=-1)
