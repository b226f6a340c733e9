"""The depth network that is shipped, on a real photograph; skipped only until there is one."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from stream.depth.estimator import DepthEstimator
from stream.inference.backends import backend_status
from stream.models.manifest import MANIFEST
from stream.types import Crop, Depth

pytestmark = pytest.mark.skipif(
    not (MANIFEST.parent / "files" / "depth.onnx").is_file(), reason="no depth network is shipped yet"
)

CROP = Crop(x=224.62, y=106.0, half=79.63, angle=0.05184)
"""Around the face of scikit-image's astronaut, as `crop_from_landmarks` gives it."""

NOSE, EYES, EARS, CHEEKS, LIPS = (
    ((63, 79),),
    ((46, 60), (81, 60)),
    ((25, 78), (104, 81)),
    ((36, 74), (91, 75)),
    ((64, 88),),
)
"""(x, y) in that crop at 128 pixels, read off the picture (the ears are the visible lobes)."""

BACKGROUND = ((4, 4), (123, 4), (4, 60), (124, 70))


def level(values: np.ndarray, points: tuple[tuple[int, int], ...]) -> float:
    """Mean over the points of the median of the 5x5 pixels around each."""
    scale = values.shape[0] / 128
    spots = [(round(x * scale), round(y * scale)) for x, y in points]
    patches = [values[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] for x, y in spots]
    return float(np.mean([np.median(patch) for patch in patches]))


def estimate(backend: str = "auto", precision: str | None = None) -> Depth:
    return DepthEstimator(backend, threads=2, precision=precision).estimate(data.astronaut(), CROP)


@pytest.fixture(scope="module")
def depth() -> Depth:
    return estimate()


def test_the_nose_is_in_front_of_the_eyes_but_not_long(depth: Depth) -> None:
    """A nose tip stands 20 to 45 mm before the eye plane; one crop unit is about 117 mm here."""
    nose = level(depth.map, EYES) - level(depth.map, NOSE)
    assert 0.10 < nose < 0.45
    assert level(depth.map, NOSE) < level(depth.map, LIPS)


def test_cheeks_and_ears_recede(depth: Depth) -> None:
    eyes, ears = level(depth.map, EYES), level(depth.map, EARS)
    assert level(depth.map, CHEEKS) - level(depth.map, NOSE) > 0.10
    assert 0.25 < ears - eyes < 1.2
    for side in range(2):  # each ear for itself
        assert level(depth.map, EARS[side : side + 1]) - eyes > 0.2


def test_the_eyes_are_at_zero(depth: Depth) -> None:
    assert abs(level(depth.map, EYES)) < 0.15


def test_the_mask_knows_face_from_background(depth: Depth) -> None:
    assert level(depth.mask, (*NOSE, *EYES, *CHEEKS)) > 0.9
    assert level(depth.mask, BACKGROUND) < 0.3


def test_backends_agree_on_the_photograph() -> None:
    ready = [state.name for state in backend_status() if state.ready]
    assert {"openvino", "onnxruntime", "torch"} <= set(ready)
    results = {name: estimate(name, "f32") for name in ready}
    for name in ("openvino", "onnxruntime"):
        assert np.abs(results[name].map - results["torch"].map).max() < 1e-3, name
        assert np.abs(results[name].mask - results["torch"].mask).max() < 1e-3, name


def test_the_fast_precision_stays_close_on_the_face(depth: Depth) -> None:
    exact = estimate(precision="f32")
    face = exact.mask > 0.5
    assert np.abs(depth.map - exact.map)[face].mean() < 0.005


def test_averaging_with_the_mirror_image_changes_little() -> None:
    estimator = DepthEstimator(threads=2)
    plain = estimator.estimate(data.astronaut(), CROP)
    mean = estimator.estimate_flipped_mean(data.astronaut(), CROP)
    face = (plain.mask > 0.5) & (mean.mask > 0.5)
    difference = np.abs(plain.map - mean.map)[face].mean()
    assert 0.0 < difference < 0.08
    assert level(mean.map, EYES) - level(mean.map, NOSE) > 0.10
