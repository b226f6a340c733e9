"""One method's prediction of some samples against the truth: every measure, one value per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from stream.data.shards import Samples
from stream.depth.slopes import normals_from_slopes
from stream.errors import InputError
from stream.evaluation import metrics, regions
from stream.evaluation.alignment import MIN_PIXELS, fit_depth, without_plane
from stream.evaluation.anatomy import NOSE_TIP, mouth_depth, nose_protrusion, points_at
from stream.evaluation.surface import POINTS, backproject, crop_unit_mm, surface_distances
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array


class Prediction(NamedTuple):
    """What a method says of N samples.

    :ivar depth: (N, S, S) float32 crop units along the camera's axis; NaN where it says nothing.
    :ivar mask, confidence: (N, S, S) in 0..1, or ``None``.
    :ivar normal: (N, S, S, 3) its own normals, of the height field over the crop (`stream.types.Depth`), or
        ``None``.
    """

    depth: Array
    mask: Array | None = None
    confidence: Array | None = None
    normal: Array | None = None


Method = Callable[[Samples], Prediction]

SCALARS = (
    "l1", "l1_skin", "l1_normalised", "side", "normals", "normals_skin", "normals_rotated", "normals_own",
    "mm_shift", "mm_tilt", "mm_own", "iou", "coverage", "deviation", "leak", "mm_near_occluder",
    "mm_elsewhere",
)  # fmt: skip
"""Measures that are summed up by their mean over samples."""

OPEN_JAW = 0.5
"""jawOpen above which the mouth counts as open."""

NOSE_VIEW = 30.0
"""Degrees of yaw and pitch up to which the nose's protrusion can be seen."""

OCCLUDER_REACH = 6 / 192
"""Skin within so much of the picture's side of an occluder is near it (6 pixels of 192)."""

FLAT = 1e-4
"""Crop units: a deviation from the mean face below it is none."""

PIXELS = 256
"""Pixels of each sample on which confidence is compared with error."""


def judge(prediction: Prediction, samples: Samples) -> dict[str, Array]:
    """All measures of one method.

    :returns: (N,) float64 each, NaN where a sample has nothing to compare. `SCALARS`:

        * ``l1``, ``l1_skin``: crop units, over head and skin; ``l1_normalised``: head; ``side``: skin
        * ``normals``, ``normals_skin``: MAD, degrees; ``normals_rotated``: the latter after the best
          rotation; ``normals_own``: of the network's own normals, skin
        * ``mm_shift``, ``mm_tilt``: MAE of skin, mm, after scale and offset, and after tilt too; ``mm_own``:
          as ``mm_tilt``, where the method itself says something (elsewhere its nearest value stands)
        * ``coverage``: the share of the skin where it does; ``iou``: of the mask
        * ``leak``, ``mm_near_occluder``, ``mm_elsewhere``: see `_Judge._mask`; ``deviation``: see
          `_Judge._deviation`

        and ``deviation_error``, ``deviation_total``, ``mouth``, ``mouth_true``, ``nose``, ``nose_true``. With
        more than one value per sample, NaN where there are fewer: ``surface`` (N, `POINTS`) mm,
        ``confidence_pixels`` and ``error_pixels`` (N, `PIXELS`), ``deviation_pixels`` (N, `PIXELS` / 4, 2)
        mm, predicted and true.
    :raises InputError: the prediction has another shape than the samples.
    """
    if prediction.depth.shape != samples.depth.shape:
        raise InputError(f"A method gave {prediction.depth.shape} for samples of {samples.depth.shape}.")
    return _Judge(prediction, samples).values()


class _Judge:
    """Keeps what several measures need."""

    def __init__(self, prediction: Prediction, samples: Samples) -> None:
        self.prediction, self.samples = prediction, samples
        self.covered = np.isfinite(prediction.depth)
        self.found = self.covered.any(axis=(1, 2))
        self.depth = np.stack([regions.spread(one.astype(np.float32)) for one in prediction.depth])
        self.truth = samples.depth.astype(np.float32)
        # A sample of which the method says nothing has no values: it is counted, not guessed.
        there = self.found[:, None, None]
        self.head, self.skin = regions.head(samples) & there, regions.skin(samples) & there
        self.unit = crop_unit_mm(samples.crop, samples.camera, samples.distance)
        self.places = (samples.crop, samples.camera, samples.distance)
        self.points = backproject(self.depth, *self.places)
        self.true_points = backproject(self.truth, *self.places)

    def values(self) -> dict[str, Array]:
        return (
            self._depth()
            | self._normals()
            | self._mask()
            | self._deviation()
            | self._anatomy()
            | {"surface": self._surface()}
            | self._confidence()
        )

    def _depth(self) -> dict[str, Array]:
        shift = fit_depth(self.depth, self.truth, self.skin, tilt=False)
        self.tilted = fit_depth(self.depth, self.truth, self.skin, tilt=True)
        own = self.skin & self.covered
        count = self.skin.sum(axis=(1, 2))
        return {
            "l1": metrics.depth_l1(self.depth, self.truth, self.head),
            "l1_skin": metrics.depth_l1(self.depth, self.truth, self.skin),
            "l1_normalised": metrics.normalised_l1(self.depth, self.truth, self.head),
            "side": metrics.scale_invariant_error(self.points[..., 2], self.true_points[..., 2], self.skin),
            "mm_shift": self._mm(shift, self.skin),
            "mm_tilt": self._mm(self.tilted, self.skin),
            "mm_own": self._mm(fit_depth(self.depth, self.truth, own, tilt=True), own),
            "coverage": own.sum(axis=(1, 2)) / np.where(count > 0, count, np.nan),
        }

    def _mm(self, fitted: Array, where: Array) -> Array:
        """Mean absolute error in mm; NaN where nothing was fitted or there is no pixel."""
        fitting = np.isfinite(fitted).all(axis=(1, 2))[:, None, None]
        error = metrics.depth_l1(np.nan_to_num(fitted), self.truth, where & fitting)
        return np.asarray(error * self.unit)

    def _normals(self) -> dict[str, Array]:
        own = metrics.camera_normals(self.depth, *self.places)
        truth = self.samples.normal
        head, skin = (metrics.smooth_inside(self.truth, where) for where in (self.head, self.skin))
        values = {
            "normals": metrics.mean_angle(own, truth, head),
            "normals_skin": metrics.mean_angle(own, truth, skin),
            "normals_rotated": metrics.rotated_mean_angle(own, truth, skin),
            "normals_own": np.full(len(self.found), np.nan),
        }
        given = self.prediction.normal
        if given is not None:
            slopes = given[..., :2] / np.minimum(given[..., 2:], -1e-3) * -1
            exact = normals_from_slopes(slopes, self.depth, *self.places)
            values["normals_own"] = metrics.mean_angle(exact, truth, skin)
        return values

    def _mask(self) -> dict[str, Array]:
        """Mask and occluders: the share of an occluder's pixels that the mask lets through (``leak``), and
        the error of the skin beside it and elsewhere, mm after scale, offset and tilt."""
        blank = np.full(len(self.found), np.nan)
        samples, mask = self.samples, self.prediction.mask
        hiding = regions.occluder(samples)
        count = hiding.sum(axis=(1, 2))
        values = {"iou": blank, "leak": blank}
        if mask is not None:
            known = regions.mask_known(samples)
            values["iou"] = metrics.mask_iou(mask, regions.foreground(samples), known)
            values["leak"] = ((mask > 0.5) & hiding).sum(axis=(1, 2)) / np.where(count > 0, count, np.nan)
        side = 2 * round(OCCLUDER_REACH * samples.size) + 1
        reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        near = np.stack([cv2.dilate(one.astype(np.uint8), reach) > 0 for one in hiding])
        with_occluder = (count > 0)[:, None, None]
        values["mm_near_occluder"] = self._mm(self.tilted, self.skin & near)
        values["mm_elsewhere"] = self._mm(self.tilted, self.skin & ~near & with_occluder)
        return values

    def _deviation(self) -> dict[str, Array]:
        """The person's own shape: what the mean face in the same pose, times any scale, an offset and a tilt
        leave of predicted and true depth, on the skin it covers. ``deviation`` is Pearson's correlation
        of the two; ``deviation_error`` and ``deviation_total`` the sums of squares of their difference and of
        the true one, mm^2, which over all samples give R^2 (0: no better than the mean face)."""
        values = {key: np.full(len(self.found), np.nan) for key in _DEVIATION}
        pixels = np.full((len(self.found), PIXELS // 4, 2), np.nan, np.float32)
        mean = self.samples.mean_depth
        for i in np.flatnonzero(self.found):
            if mean is None:
                break
            where = self.skin[i] & np.isfinite(mean[i])
            if where.sum() < MIN_PIXELS:
                continue
            reference = mean[i].astype(np.float32)
            true = without_plane(self.truth[i], where, reference)
            guess = without_plane(self.depth[i], where, reference)
            values["deviation"][i] = correlation(guess, true)
            values["deviation_error"][i] = ((guess - true) ** 2).sum() * self.unit[i] ** 2
            values["deviation_total"][i] = (true**2).sum() * self.unit[i] ** 2
            some = np.linspace(0, len(true) - 1, min(PIXELS // 4, len(true))).astype(int)
            pixels[i, : len(some)] = np.stack([guess[some], true[some]], axis=1) * self.unit[i]
        return values | {"deviation_pixels": pixels}

    def _anatomy(self) -> dict[str, Array]:
        """Open mouths and noses, predicted and true (`stream.evaluation.anatomy`)."""
        samples = self.samples
        inside = regions.mouth_inside(samples)
        jaw = samples.expression[:, ARKIT_NAMES.index("jawOpen")]
        frontal = np.maximum(np.abs(samples.yaw), np.abs(samples.pitch)) <= NOSE_VIEW
        values = {
            key: np.full(len(self.found), np.nan) for key in ("mouth", "mouth_true", "nose", "nose_true")
        }
        for i in np.flatnonzero(self.found):
            places, skin = samples.landmarks[i], self.skin[i]
            for suffix, points in (("", self.points[i]), ("_true", self.true_points[i])):
                if jaw[i] > OPEN_JAW:
                    values["mouth" + suffix][i] = mouth_depth(points, inside[i], skin, places)
                if frontal[i]:
                    values["nose" + suffix][i] = nose_protrusion(points, skin, places)
        return values

    def _surface(self) -> Array:
        distances = np.full((len(self.found), POINTS), np.nan, np.float32)
        for i in np.flatnonzero(self.found):
            tip = points_at(self.true_points[i], self.head[i], self.samples.landmarks[i, [NOSE_TIP]])[0]
            if np.isfinite(tip).all():
                found = surface_distances(self.points[i], self.true_points[i], self.skin[i], tip)
                distances[i, : len(found)] = found
        return distances

    def _confidence(self) -> dict[str, Array]:
        """Confidence and absolute error, crop units, at pixels of the head spread evenly."""
        shape = (len(self.found), PIXELS)
        values = {key: np.full(shape, np.nan, np.float32) for key in ("confidence_pixels", "error_pixels")}
        confidence = self.prediction.confidence
        if confidence is None:
            return values
        error = np.abs(self.depth - self.truth)
        for i, where in enumerate(self.head):
            pixels = np.flatnonzero(where)
            chosen = pixels[np.linspace(0, len(pixels) - 1, min(PIXELS, len(pixels))).astype(int)]
            values["confidence_pixels"][i, : len(chosen)] = confidence[i].ravel()[chosen]
            values["error_pixels"][i, : len(chosen)] = error[i].ravel()[chosen]
        return values


_DEVIATION = ("deviation", "deviation_error", "deviation_total")


def correlation(first: Array, second: Array) -> float:
    """Pearson's correlation of two deviations (K,) in crop units; 0 where one of them is none at all."""
    first, second = first - first.mean(), second - second.mean()
    if min(first.std(), second.std()) < FLAT:
        return 0.0
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))
