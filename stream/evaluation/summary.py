"""From values per sample to the figures of a table: over all samples of a set, and by what was drawn."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from stream.data.shards import Samples
from stream.evaluation.judge import SCALARS
from stream.evaluation.metrics import mean
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array

YAW_BINS = (0, 15, 30, 45, 90)
"""Borders of the bins of absolute yaw, degrees; the last one is open."""

CALM, STRONG = 0.2, 0.5
"""Borders between calm, mild and strong expressions: the largest of jawOpen, smile and blink."""

STRATA = ("l1_skin", "mm_tilt", "normals_skin", "deviation")
"""What is summed up by stratum, beside the distances of the surfaces."""

TRUE_ENOUGH = 0.25
"""An open mouth counts as right where its depth is off by no more than this share of the true one."""

MIN_MOUTH_MM = 2.0
"""Mouths whose inside lies less deep than this behind the lips have no depth to compare."""


def describe(samples: Samples) -> dict[str, Array]:
    """What samples are grouped by: (N,) each of ``yaw`` (absolute), ``jaw``, ``smile``, ``blink``, ``tone``,
    ``occlusion``, ``topology``, ``kind``."""

    def coefficient(*names: str) -> Array:
        return samples.expression[:, [ARKIT_NAMES.index(name) for name in names]].mean(axis=1)

    return {
        "yaw": np.abs(samples.yaw),
        "jaw": coefficient("jawOpen"),
        "smile": coefficient("mouthSmileLeft", "mouthSmileRight"),
        "blink": coefficient("eyeBlinkLeft", "eyeBlinkRight"),
        "tone": samples.tone,
        "occlusion": samples.occlusion,
        "topology": samples.topology,
        "kind": samples.kind,
    }


def strata(about: dict[str, Array]) -> dict[str, dict[str, Array]]:
    """Groups of samples, (N,) bool each, by what and which; groups of one expression may overlap."""
    yaw, tone, hidden = about["yaw"], about["tone"], about["occlusion"]
    strength = _strength(about)
    turns = {f"{low}-{high}": (yaw >= low) & (yaw < high) for low, high in itertools.pairwise(YAW_BINS[:-1])}
    return {
        "yaw": {**turns, f"{YAW_BINS[-2]}+": yaw >= YAW_BINS[-2]},
        "expression": {
            "calm": calm(about),
            "mild": (strength >= CALM) & (strength < STRONG),
            "strong": strength >= STRONG,
            "jaw open": about["jaw"] >= STRONG,
            "smile": about["smile"] >= STRONG,
            "blink": about["blink"] >= STRONG,
        },
        "tone": {str(value) if value else "unknown": tone == value for value in range(7)},
        "occlusion": {
            "none": hidden == 0,
            "under 10 %": (hidden > 0) & (hidden < 0.1),
            "more": hidden >= 0.1,
        },
    }


def calm(about: dict[str, Array]) -> Array:
    """(N,) bool: samples without a strong or mild expression."""
    return np.asarray(_strength(about) < CALM)


def _strength(about: dict[str, Array]) -> Array:
    return np.max([about[key] for key in ("jaw", "smile", "blink")], axis=0)


def summarise(values: dict[str, Array], about: dict[str, Array]) -> dict[str, Any]:
    """Plain numbers for JSON; ``None`` where nothing can be compared.

    :param values: as `stream.evaluation.judge.judge` gives them.
    :returns: each of `SCALARS`; ``surface_median``, ``surface_mean``, ``surface_std`` over the points of all
        samples, mm; ``found`` (samples of which the method says anything); ``deviation_r2``;
        ``deviation_calm`` (without expressions: identity alone); and the groups ``mouth``, ``nose``,
        ``confidence`` and ``strata``, by what and which.
    """
    return {
        "found": int(np.isfinite(values["l1"]).sum()),
        **{key: plain(mean(values[key])) for key in SCALARS},
        **surface_figures(values["surface"]),
        "deviation_r2": _r_squared(values),
        "deviation_calm": plain(mean(values["deviation"][calm(about)])),
        "mouth": _mouth(values),
        "nose": _nose(values),
        "confidence": summarise_confidence(values),
        "strata": {
            what: {which: _stratum(values, chosen) for which, chosen in groups.items() if chosen.any()}
            for what, groups in strata(about).items()
        },
    }


def surface_figures(distances: Array) -> dict[str, float | None]:
    """Median, mean and standard deviation of point-to-surface distances of many samples, mm."""
    present = distances[np.isfinite(distances)].astype(np.float64)
    if len(present) == 0:
        return dict.fromkeys(("surface_median", "surface_mean", "surface_std"))
    return {
        "surface_median": plain(float(np.median(present))),
        "surface_mean": plain(float(present.mean())),
        "surface_std": plain(float(present.std())),
    }


def plain(value: float) -> float | None:
    """Rounded for JSON, or ``None`` for NaN."""
    return None if math.isnan(value) else round(value, 5)


def _stratum(values: dict[str, Array], chosen: Array) -> dict[str, Any]:
    figures = {key: plain(mean(values[key][chosen])) for key in STRATA}
    return {"samples": int(chosen.sum()), **figures, **surface_figures(values["surface"][chosen])}


def _r_squared(values: dict[str, Array]) -> float | None:
    """1 - sum of squares of what is left of the deviations over that of the deviations, over all samples."""
    total = np.nansum(values["deviation_total"])
    return plain(float(1 - np.nansum(values["deviation_error"]) / total)) if total > 0 else None


def _mouth(values: dict[str, Array]) -> dict[str, Any]:
    """``ratio``: predicted over true depth of open mouths, mean; ``right``: share within `TRUE_ENOUGH`."""
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(values["mouth"]) & (values["mouth_true"] >= MIN_MOUTH_MM)
    guess, true = values["mouth"][usable], values["mouth_true"][usable]
    ratio = guess / true
    return {
        "samples": int(usable.sum()),
        "ratio": plain(mean(ratio)),
        "right": plain(mean((np.abs(ratio - 1) <= TRUE_ENOUGH).astype(float))),
        "mm": plain(mean(guess)),
        "true_mm": plain(mean(true)),
        "behind": plain(mean((guess > 0).astype(float))),
    }


def _nose(values: dict[str, Array]) -> dict[str, Any]:
    """Protrusion over face height: means, ``ratio`` of predicted to true, ``error`` (mean absolute)."""
    usable = np.isfinite(values["nose"]) & np.isfinite(values["nose_true"])
    guess, true = values["nose"][usable], values["nose_true"][usable]
    return {
        "samples": int(usable.sum()),
        "predicted": plain(mean(guess)),
        "true": plain(mean(true)),
        "ratio": plain(mean(guess / np.where(true > 0, true, np.nan))),
        "error": plain(mean(np.abs(guess - true))),
        "correlation": correlation_of(guess, true),
    }


def correlation_of(first: Array, second: Array) -> float | None:
    if len(first) < 3 or first.std() < 1e-6 or second.std() < 1e-6:
        return None
    return plain(float(np.corrcoef(first, second)[0, 1]))


def summarise_confidence(values: dict[str, Array]) -> dict[str, Any] | None:
    """``spearman``: rank correlation of confidence and error over pixels (-1: perfectly told); ``quartiles``:
    confidence and error, means, from the least to the most confident quarter of the pixels."""
    confidence, error = values["confidence_pixels"].ravel(), values["error_pixels"].ravel()
    there = np.isfinite(confidence) & np.isfinite(error)
    confidence, error = confidence[there].astype(np.float64), error[there].astype(np.float64)
    if len(confidence) < 4:
        return None
    told = confidence.std() > 1e-9 and error.std() > 1e-9
    parts = np.array_split(np.argsort(confidence, kind="stable"), 4)
    return {
        "spearman": plain(float(spearmanr(confidence, error).statistic)) if told else None,
        "quartiles": [
            {"confidence": plain(float(confidence[p].mean())), "error": plain(float(error[p].mean()))}
            for p in parts
        ],
    }
