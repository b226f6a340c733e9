"""Sets are chosen rightly, methods are compared, figures are plain, and pictures are drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from depth_shards import bump_arrays, write_dataset

from stream.data.shards import ANNY, ICT, PHOTO, SYNTHETIC, Samples
from stream.errors import InputError
from stream.evaluation.comparison import Comparison, compare
from stream.evaluation.comparison_plot import draw_details, draw_strata
from stream.evaluation.judge import Prediction
from stream.evaluation.methods import best_plane, mean_face, network_method, seen_along, whole_picture
from stream.evaluation.pictures import draw_case, draw_index
from stream.evaluation.sets import ANNY_SET, ICT_SET, OPEN_ICT_SET, PHOTO_SET, joined, load_sets, take
from stream.evaluation.summary import describe, strata, summarise, summarise_confidence, surface_figures
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Depth

JAW = ARKIT_NAMES.index("jawOpen")


@pytest.fixture(scope="module")
def samples() -> Samples:
    arrays = bump_arrays(10, 32, 1, with_mean=True)
    arrays["expression"][:3] = 0
    return Samples(**arrays)


def noisy(samples: Samples) -> Prediction:
    rng = np.random.default_rng(int(samples.yaw[0] * 1e3) % 2**31)
    error = rng.normal(0, 0.05, samples.depth.shape).astype(np.float32)
    return Prediction(
        samples.depth.astype(np.float32) + error, np.ones(error.shape, np.float32), np.exp(-np.abs(error))
    )


@pytest.fixture(scope="module")
def comparison(samples) -> Comparison:
    return compare({"noisy": noisy, "mean face": mean_face, "plane": best_plane}, samples)


def test_every_sample_is_counted_once_and_progress_is_told(samples):
    told: list[int] = []
    done = compare({"plane": best_plane}, samples, told.append)
    assert sum(told) == len(samples)
    assert len(done.values["plane"]["l1"]) == len(samples)
    floor = done.floor["normals_skin"]
    assert floor is not None
    assert floor < 6


def test_the_summary_is_plain_and_holds_the_means(comparison):
    part = comparison.summary()
    assert json.loads(json.dumps(part, allow_nan=False)) == part
    assert part["samples"] == 10
    noisy_part = part["methods"]["noisy"]
    assert noisy_part["l1"] == pytest.approx(np.nanmean(comparison.values["noisy"]["l1"]), abs=1e-5)
    assert noisy_part["found"] == 10
    # Half normal noise has mean sigma sqrt(2 / pi).
    assert noisy_part["l1"] == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.05)
    assert noisy_part["confidence"]["spearman"] == pytest.approx(-1, abs=1e-3)
    errors = [quarter["error"] for quarter in noisy_part["confidence"]["quartiles"]]
    assert errors == sorted(errors, reverse=True)
    assert part["methods"]["mean face"]["deviation"] == 0
    assert part["methods"]["plane"]["confidence"] is None


def test_strata_hold_what_they_say(samples, comparison):
    about = describe(samples)
    for what, parts in strata(about).items():
        if what in ("yaw", "tone", "occlusion"):
            assert (np.sum(list(parts.values()), axis=0) == 1).all(), what
    groups = strata(about)
    assert (np.abs(samples.yaw[groups["yaw"]["15-30"]]) >= 15).all()
    assert (samples.expression[groups["expression"]["jaw open"], JAW] >= 0.5).all()
    found = comparison.summary()["methods"]["noisy"]["strata"]["tone"]
    assert {key: group["samples"] for key, group in found.items()} == {
        "unknown": 2, "1": 2, "2": 2, "3": 1, "4": 1, "5": 1, "6": 1,
    }  # fmt: skip
    calm = comparison.summary()["methods"]["noisy"]["deviation_calm"]
    assert calm == comparison.summary()["methods"]["noisy"]["strata"]["expression"].get("calm", {}).get(
        "deviation"
    )
    rows = samples.tone == 1
    expected = np.nanmean(comparison.values["noisy"]["mm_tilt"][rows])
    assert found["1"]["mm_tilt"] == pytest.approx(expected, abs=1e-5)


def test_the_worst_are_those_with_the_largest_error(comparison):
    errors = comparison.values["noisy"]["mm_tilt"]
    worst = comparison.worst("noisy", 3)
    assert errors[worst].tolist() == sorted(errors[np.isfinite(errors)], reverse=True)[:3]
    assert len(comparison.worst("noisy", 1000)) == np.isfinite(errors).sum()


def test_surface_figures_are_over_all_points():
    distances = np.array([[1, 2, np.nan], [3, 10, np.nan]], np.float32)
    figures = surface_figures(distances)
    assert figures["surface_median"] == 2.5
    assert figures["surface_mean"] == 4.0
    assert figures["surface_std"] == pytest.approx(np.std([1, 2, 3, 10]), abs=1e-5)
    assert surface_figures(distances * np.nan)["surface_mean"] is None


def test_mouths_and_noses_are_summed_up(comparison):
    values = dict(comparison.values["noisy"])
    count = len(values["l1"])
    values["mouth"], values["mouth_true"] = np.full(count, np.nan), np.full(count, np.nan)
    values["mouth"][:4], values["mouth_true"][:4] = [9, 6, 12.4, 5], [10, 10, 10, 1.0]
    values["nose"], values["nose_true"] = np.linspace(0.1, 0.2, count), np.linspace(0.2, 0.4, count)
    part = summarise(values, comparison.about)
    assert part["mouth"]["samples"] == 3  # the fourth is too shallow to be compared
    assert part["mouth"]["ratio"] == pytest.approx((0.9 + 0.6 + 1.24) / 3, abs=1e-4)
    assert part["mouth"]["right"] == pytest.approx(2 / 3, abs=1e-4)
    assert part["nose"]["ratio"] == pytest.approx(0.5)
    assert part["nose"]["correlation"] == pytest.approx(1)


def test_confidence_that_never_changes_tells_nothing():
    values = {
        "confidence_pixels": np.ones((2, 8), np.float32),
        "error_pixels": np.random.default_rng(0).uniform(size=(2, 8)).astype(np.float32),
    }
    found = summarise_confidence(values)
    assert found is not None
    assert found["spearman"] is None
    assert summarise_confidence({key: value * np.nan for key, value in values.items()}) is None


def test_sets_are_by_kind_and_topology_and_open_mouths_are_looked_for(tmp_path):
    whole = []
    for index in range(3):
        arrays = bump_arrays(12, 32, index, with_mean=True)
        arrays["expression"][:, JAW] = np.where(np.arange(12) < 6, 0.8, 0.2)
        np.savez(tmp_path / f"test-{index:05d}.npz", **arrays)
        whole.append(Samples(**arrays))
    everything = joined(whole)
    sets = load_sets(tmp_path, "test", 5)
    for name, kind, topology in (
        (ICT_SET, SYNTHETIC, ICT),
        (ANNY_SET, SYNTHETIC, ANNY),
        (PHOTO_SET, PHOTO, None),
    ):
        chosen = sets[name]
        assert len(chosen) == 5
        assert (chosen.kind == kind).all()
        assert topology is None or (chosen.topology == topology).all()
        yaws = [float(yaw) for yaw in chosen.yaw]
        assert len(set(yaws)) == 5
        assert set(yaws) <= {float(yaw) for yaw in everything.yaw}
    assert len(sets[OPEN_ICT_SET]) == 5
    assert (sets[OPEN_ICT_SET].expression[:, JAW] > 0.5).all()
    assert len(load_sets(tmp_path, "test", 1000)[PHOTO_SET]) == (everything.kind == PHOTO).sum()


def test_sets_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="no test shard"):
        load_sets(tmp_path, "test", 5)
    (tmp_path / "test-00000.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a usable shard"):
        load_sets(tmp_path, "test", 5)
    parts = [Samples(**bump_arrays(1, size, 0)) for size in (32, 48)]
    with pytest.raises(InputError, match="one size"):
        joined(parts)
    with pytest.raises(InputError, match="no mean face"):
        mean_face(parts[0])


class _Echo:
    """An estimator that gives the picture's red as depth, tilted as the real one does."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.calls: list[tuple] = []

    def estimate(self, image, crop, intrinsics):
        from stream.depth.sight import line_of_sight

        self.calls.append((crop, line_of_sight(crop, intrinsics)))
        ramp = np.linspace(0, 1, self.size, dtype=np.float32)
        return Depth(np.tile(ramp, (self.size, 1)), np.ones((self.size, self.size), np.float32))


def test_a_network_sees_the_whole_picture_along_its_own_line_of_sight(samples):
    echo = _Echo(16)
    prediction = network_method(echo)(samples)  # type: ignore[arg-type]
    assert prediction.depth.shape == samples.depth.shape
    assert prediction.confidence is None
    np.testing.assert_allclose([sight for _, sight in echo.calls], samples.sight, atol=1e-6)
    crop = echo.calls[0][0]
    assert (crop.x - crop.half, crop.x + crop.half) == (-0.5, 31.5)
    assert whole_picture(32) == crop
    assert seen_along(np.zeros(2), 32).cx == 15.5


def test_everything_can_be_drawn(samples, comparison, tmp_path):
    draw_strata(comparison, "bumps", tmp_path / "strata.png")
    draw_details(comparison, "bumps", tmp_path / "details.png")
    one = take(samples, np.array([2]))
    draw_case(one, noisy(one), "worst", tmp_path / "worst-1.png")
    draw_case(one, mean_face(one), "worst", tmp_path / "worst-2.png")
    draw_index([tmp_path / "worst-1.png", tmp_path / "worst-2.png"], tmp_path / "worst.png")
    for path in tmp_path.iterdir():
        assert path.stat().st_size > 5000, path


@pytest.mark.parametrize("name", ["kind", "topology", "expression"])
def test_a_shard_whose_arrays_do_not_fit_each_other_is_refused(tmp_path, name):
    folder = write_dataset(tmp_path)
    path = folder / "test-00000.npz"
    arrays = dict(np.load(path))
    arrays[name] = arrays[name][:-1] if name != "kind" else arrays[name][:, None]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="make the shard again"):
        load_sets(folder, "test", 5)
