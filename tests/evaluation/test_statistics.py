"""Statistics of datasets and of real clips, and their picture."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from depth_shards import bump_arrays
from PIL import Image
from shared_folder import SHARED
from skimage.data import astronaut

from stream.data.shards import Samples
from stream.errors import InputError, OutputError, SourceError
from stream.evaluation.statistics import (
    JAW_OPEN,
    QUANTITIES,
    clip_statistics,
    dataset_statistics,
    join,
    openings,
    summary,
)
from stream.evaluation.statistics_plot import bin_edges, draw_statistics
from stream.face.crop import LEFT_EYE, RIGHT_EYE


def eyes_and_mouth(across: float, mouth: float, lids: float) -> np.ndarray:
    """Landmarks with eyes ``across`` apart; gaps in the same unit."""
    points = np.zeros((478, 2))
    for eye, x in ((RIGHT_EYE, -across / 2), (LEFT_EYE, across / 2)):
        points[list(eye)] = (x, 0)
    for upper, lower, x in ((159, 145, -across / 2), (386, 374, across / 2)):
        points[upper], points[lower] = (x, -lids / 2), (x, lids / 2)
    points[14] = (0, mouth)
    return points


def samples(count: int = 40, size: int = 64) -> Samples:
    return Samples(**bump_arrays(count, size, 3))


def test_openings_are_gaps_over_the_distance_between_the_eyes() -> None:
    mouth, eyes = openings(eyes_and_mouth(60, 15, 9), 0.0)
    assert mouth == pytest.approx(0.25)
    assert eyes == pytest.approx(0.15)


def test_openings_do_not_depend_on_the_turn_of_the_head() -> None:
    for yaw in (-50.0, 30.0, 60.0):
        points = eyes_and_mouth(60 * math.cos(math.radians(yaw)), 15, 9)
        assert openings(points, yaw) == pytest.approx((0.25, 0.15))


def test_a_dataset_gives_what_was_drawn() -> None:
    data = samples()
    statistics = dataset_statistics(data)
    assert len(statistics) == 40
    for name in ("yaw", "pitch", "distance"):
        np.testing.assert_array_equal(np.sort(getattr(statistics, name)), np.sort(getattr(data, name)))
    order = [int(np.flatnonzero(data.yaw == yaw)[0]) for yaw in statistics.yaw]
    np.testing.assert_array_equal(statistics.jaw_open, data.expression[order, JAW_OPEN])
    np.testing.assert_allclose(statistics.crop_size, 200)
    known = data.tone[order] > 0
    np.testing.assert_array_equal(statistics.tone[known], data.tone[order][known])


def test_of_a_large_dataset_random_samples_are_taken() -> None:
    few, again = dataset_statistics(samples(), 10, seed=1), dataset_statistics(samples(), 10, seed=1)
    other = dataset_statistics(samples(), 10, seed=2)
    assert len(few) == len(again) == len(other) == 10
    np.testing.assert_array_equal(few.yaw, again.yaw)
    assert not np.array_equal(few.yaw, other.yaw)


def test_a_picture_of_a_face_is_measured(tmp_path: Path) -> None:
    """The astronaut: smiling with closed teeth, light skin, upright."""
    Image.fromarray(astronaut()).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "b.png")  # no face: left out
    statistics = clip_statistics([tmp_path])
    assert len(statistics) == 1
    assert abs(statistics.yaw[0]) < 15
    assert abs(statistics.roll[0]) < 15
    assert 130 < statistics.crop_size[0] < 190
    assert 0.02 < statistics.mouth_opening[0] < 0.4
    assert 0.08 < statistics.eye_opening[0] < 0.3
    assert statistics.tone[0] in (1, 2, 3)
    assert np.isnan(statistics.jaw_open[0])


@pytest.mark.skipif(SHARED is None, reason="the shared clips are not here")
def test_a_clip_is_measured_frame_by_frame() -> None:
    assert SHARED is not None
    statistics = clip_statistics([SHARED / "data" / "videos" / "single_face.mp4"], step=6)
    assert len(statistics) == 12
    assert np.abs(statistics.yaw).max() < 20
    # He starts with a closed mouth and smiles.
    assert statistics.mouth_opening[0] < 0.05
    assert statistics.mouth_opening.max() > 0.12
    assert 300 < np.median(statistics.distance) < 1500
    assert 200 < statistics.crop_size.mean() < 320


def test_the_summary_is_plain_json_and_right() -> None:
    statistics = dataset_statistics(samples())
    result = json.loads(json.dumps(summary(statistics), allow_nan=False))
    assert result["faces"] == 40
    assert result["yaw"]["median"] == pytest.approx(np.median(statistics.yaw), abs=1e-3)
    assert sum(result["tones"].values()) == np.isfinite(statistics.tone).sum()
    unknown = join([dict.fromkeys(QUANTITIES, math.nan) | {"yaw": 3.0}])
    assert set(summary(unknown)) == {"faces", "yaw", "tones"}


def test_the_picture_has_every_quantity(tmp_path: Path) -> None:
    dataset = dataset_statistics(samples())
    clips = join([dict.fromkeys(QUANTITIES, 1.0) | {"jaw_open": math.nan}] * 3)
    path = tmp_path / "new" / "statistics.png"
    draw_statistics({"dataset": dataset, "clips": clips}, path)
    with Image.open(path) as picture:
        assert picture.size == (1760, 660)
    with pytest.raises(InputError):
        draw_statistics({}, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        draw_statistics({"clips": clips}, tmp_path / "file" / "x.png")


def test_bins_hold_the_values_and_types_have_one_each() -> None:
    values = np.random.default_rng(0).normal(0, 10, 500)
    edges = bin_edges("yaw", values)
    assert (np.diff(edges) > 0).all()
    assert np.mean((values >= edges[0]) & (values <= edges[-1])) > 0.98
    np.testing.assert_array_equal(
        np.histogram([1, 2, 2, 6], bin_edges("tone", values))[0], [1, 2, 0, 0, 0, 1]
    )
    one = bin_edges("distance", np.array([500.0]))
    assert (np.diff(one) > 0).all()


def test_bad_input_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "b.png")
    for paths in ([], [tmp_path], [tmp_path / "b.png"]):
        with pytest.raises(InputError, match="no face"):
            clip_statistics(paths)
    with pytest.raises(InputError):
        clip_statistics([tmp_path], step=0)
    with pytest.raises(InputError):
        dataset_statistics(samples(), 0)
    with pytest.raises(SourceError):
        clip_statistics([tmp_path / "missing.mp4"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError):
        clip_statistics([tmp_path / "broken.png"])
