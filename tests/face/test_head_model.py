import io
import math
from pathlib import Path

import numpy as np
import pytest

from stream.errors import ConfigError, ModelError
from stream.face import head_model as module
from stream.face.head_model import head_model


def test_the_head_has_the_shape_and_scale_it_claims() -> None:
    points = head_model()
    assert points.shape == (478, 3)
    assert np.linalg.norm(points[473] - points[468]) == pytest.approx(63.0, abs=0.05)
    assert np.abs((points[468] + points[473]) / 2).max() < 6  # origin between the eye centres
    assert points[468, 0] < 0 < points[473, 0]  # the person's right eye on the image's left
    nose, chin, brow = points[1], points[152], points[10]
    assert nose[2] < -25  # towards the camera
    assert brow[1] < -30
    assert 80 < chin[1] < 140


def test_the_head_is_nearly_symmetric() -> None:
    points = head_model()
    for right, left in ((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (468, 473)):
        np.testing.assert_allclose(points[right], points[left] * [-1, 1, 1], atol=3.0)


def test_the_head_scales_with_the_inter_pupil_distance() -> None:
    np.testing.assert_allclose(head_model(70.0), head_model() * 70 / 63)


@pytest.mark.parametrize("ipd_mm", [0, -63, 29.9, 90.1, math.nan, math.inf])
def test_an_impossible_inter_pupil_distance_is_refused(ipd_mm: float) -> None:
    with pytest.raises(ConfigError, match="inter-pupil"):
        head_model(ipd_mm)


def _saved(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"not an archive",
        _saved(points=np.zeros((478, 3)))[:200],
        _saved(other=np.zeros((478, 3))),
        _saved(points=np.zeros((468, 3))),
        _saved(points=np.full((478, 3), np.nan)),
        _saved(points=np.array([{"a": 1}], dtype=object)),
    ],
)
def test_a_missing_or_damaged_model_says_so(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "head_model.npz").write_bytes(content)
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path)
    with pytest.raises(ModelError, match="install prosopon again"):
        module._unit_model.__wrapped__()
