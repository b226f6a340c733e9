"""Several methods judged on the same samples, pixel for pixel."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.data.shards import Samples
from stream.evaluation import metrics, regions
from stream.evaluation.judge import Method, judge
from stream.evaluation.sets import take
from stream.evaluation.summary import describe, plain, summarise
from stream.types import Array

CHUNK = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every method's values on one set.

    :ivar values: by method, as `stream.evaluation.judge.judge` gives them, one row per sample.
    :ivar about: what the samples are grouped by, as `stream.evaluation.summary.describe` gives it.
    :ivar floor: degrees that the true depth itself scores in ``normals`` and ``normals_skin``: what is lost
        by storing the surface as a depth map of this size.
    :ivar seconds: by method, what one sample took to predict.
    """

    values: Mapping[str, dict[str, Array]]
    about: dict[str, Array]
    floor: dict[str, float | None]
    seconds: Mapping[str, float]

    def worst(self, method: str, count: int) -> Array:
        """Rows of the samples in which ``method`` is furthest off (``mm_tilt``), the worst first."""
        errors = self.values[method]["mm_tilt"]
        order = np.argsort(-np.nan_to_num(errors, nan=-np.inf), kind="stable")
        return np.asarray(order[: min(count, int(np.isfinite(errors).sum()))])

    def summary(self) -> dict[str, Any]:
        """Plain figures for tables and JSON: ``samples``, ``floor``, and ``methods`` with each one's
        `stream.evaluation.summary.summarise` and ``seconds``."""
        return {
            "samples": len(self.about["yaw"]),
            "floor": self.floor,
            "methods": {
                name: {**summarise(values, self.about), "seconds": round(self.seconds[name], 5)}
                for name, values in self.values.items()
            },
        }


def compare(
    methods: Mapping[str, Method], samples: Samples, progress: Callable[[int], None] = lambda count: None
) -> Comparison:
    """Judge every method on every sample.

    :param progress: told how many samples were just done.
    :raises InputError: the samples, or what a method gives, cannot be used.
    """
    chunks: dict[str, list[dict[str, Array]]] = {name: [] for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for start in range(0, len(samples), CHUNK):
        some = take(samples, np.arange(start, min(start + CHUNK, len(samples))))
        for name, method in methods.items():
            begun = time.perf_counter()
            prediction = method(some)
            seconds[name] += (time.perf_counter() - begun) / len(samples)
            chunks[name].append(judge(prediction, some))
        progress(len(some))
    values = {
        name: {key: np.concatenate([chunk[key] for chunk in done]) for key in done[0]}
        for name, done in chunks.items()
    }
    return Comparison(values, describe(samples), _floor(samples), seconds)


def _floor(samples: Samples) -> dict[str, float | None]:
    truth = samples.depth.astype(np.float32)
    angles: dict[str, list[float]] = {"normals": [], "normals_skin": []}
    for row in range(len(samples)):
        one = take(samples, np.array([row]))
        own = metrics.camera_normals(truth[row : row + 1], one.crop, one.camera, one.distance)
        for key, region in (("normals", regions.head), ("normals_skin", regions.skin)):
            where = metrics.smooth_inside(truth[row : row + 1], region(one))
            angles[key].append(float(metrics.mean_angle(own, one.normal, where)[0]))
    return {key: plain(metrics.mean(np.array(found))) for key, found in angles.items()}
