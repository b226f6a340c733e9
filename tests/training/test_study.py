"""The study trains what it says, can be stopped and gone on with, and reports what it measured."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import write_dataset  # noqa: E402

from stream.data.shards import PHOTO, SYNTHETIC, load_dataset  # noqa: E402
from stream.errors import ConfigError, InputError  # noqa: E402
from stream.inference.engine import TensorSpec  # noqa: E402
from stream.training.loop import CHECKPOINT  # noqa: E402
from stream.training.study import RESULTS, Study, StudySettings, load_results, plan_rows  # noqa: E402
from stream.training.study_report import study_figure, study_table, write_report  # noqa: E402
from stream.training.study_sets import BACKGROUND, StudySets, without_background  # noqa: E402

UNET = {"architecture": "attention_unet", "options": {"width": 4}, "learning_rate": 0.01}
KEYS = ("train", "val", "val_ict", "val_anny", "test", "test_mask", "test_removed")


class BlueIsBackground:
    """An engine whose mask is what is not as blue as the background of the bumps."""

    backend = "made up"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        red, _, blue = inputs["image"][0]
        return {"mask": (red >= blue).astype(np.float32)[None, None]}

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("shards"), size=32, train=10, val=8)


@pytest.fixture(scope="module")
def sets(data) -> StudySets:
    return StudySets(load_dataset(data, "val"), load_dataset(data, "test"), BlueIsBackground(), 32, 32, 6)


@pytest.fixture(scope="module")
def settings(data) -> StudySettings:
    rows = [{"samples": 1, "steps": 3}, {"samples": None, "steps": 2}]
    return StudySettings.model_validate(
        {
            "data": data,
            "size": 32,
            "batch": 4,
            "threads": 1,
            "contestants": [UNET],
            "rows": rows,
            "transfer": {"samples": 2, "steps": 2},
            "judged": 6,
        }
    )


@pytest.fixture(scope="module")
def finished(data, sets, settings, tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    study = Study(settings, load_dataset(data, "train"), sets, folder)
    study.run(threading.Event())
    return study


def test_every_row_is_planned_with_its_own_name_and_settings(settings):
    plan = plan_rows(settings)
    assert [run.name for run in plan] == [
        "attention_unet-1",
        "attention_unet-all",
        "attention_unet-ict-2",
        "attention_unet-anny-2",
    ]
    assert [run.batch for run in plan] == [1, 4, 2, 2]
    assert not any(run.photos for run in plan)
    assert plan[2].topologies == ("ict",)
    twice = settings.model_copy(update={"contestants": settings.contestants * 2})
    with pytest.raises(ConfigError, match="Two rows"):
        plan_rows(twice)


def test_each_row_is_judged_on_every_set(finished):
    assert len(finished.results) == 4
    for result in finished.results:
        for key in KEYS:
            assert 0 < result[key] < 2
            # Depths of the bumps span less than 2 units, so that brought to [-1, 1] errors grow.
            assert result[f"{key}_normalised"] > result[key]
    assert load_results(finished.folder / RESULTS) == finished.results
    assert not list(finished.folder.glob(f"*/{CHECKPOINT}"))


def test_finished_rows_are_not_trained_again(data, sets, settings, finished):
    told: list[str] = []
    again = Study(settings, load_dataset(data, "train"), sets, finished.folder, resume=True)
    again.run(threading.Event(), lambda name, done, count: told.append(name))
    assert told == []
    assert again.results == finished.results
    with pytest.raises(ConfigError, match="--resume"):
        Study(settings, load_dataset(data, "train"), sets, finished.folder)


def test_stopped_in_a_row_and_resumed_gives_the_same(data, sets, settings, finished, tmp_path):
    train = load_dataset(data, "train")
    stop = threading.Event()

    def stop_at_the_second(name: str, done: int, count: int) -> None:
        if done == 1:
            stop.set()

    Study(settings, train, sets, tmp_path).run(stop, stop_at_the_second)
    assert len(load_results(tmp_path / RESULTS)) == 1
    assert (tmp_path / "attention_unet-all" / CHECKPOINT).exists()
    results = Study(settings, train, sets, tmp_path, resume=True).run(threading.Event())
    assert [{**r, "seconds": 0} for r in results] == [{**r, "seconds": 0} for r in finished.results]


def test_sets_hold_what_they_are_named_after(sets):
    assert (sets.val.shards[0].kind == SYNTHETIC).all()
    assert (sets.photos.kind == PHOTO).all()


def test_background_is_painted_grey_and_leaves_the_rest(sets):
    inside = np.zeros(sets.photos.depth.shape, bool)
    inside[:, 10:20, 5:25] = True
    masked, cut = without_background(sets.photos, inside)
    assert (cut.image[~inside] == BACKGROUND).all()
    np.testing.assert_array_equal(cut.image[inside], sets.photos.image[inside])
    np.testing.assert_array_equal(masked.image, sets.photos.image)
    assert (cut.flags[~inside] & 1 == 0).all()
    np.testing.assert_array_equal(cut.flags[inside], sets.photos.flags[inside])


def test_a_study_without_photos_says_what_it_needs(data):
    empty = write_photoless(data)
    with pytest.raises(InputError, match="needs a photo"):
        StudySets(load_dataset(data, "val"), empty, BlueIsBackground(), 32, 32, 6)


def write_photoless(data: Path):
    test = load_dataset(data, "test")
    for shard in test.shards:
        shard.kind[:] = SYNTHETIC
    return test


@pytest.mark.parametrize("content", ["{", "[]\n", '{"row": 3}\n'])
def test_damaged_results_are_refused(tmp_path, content):
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(InputError, match="not a study's results"):
        load_results(tmp_path / RESULTS)


def test_the_report_states_the_figures(finished):
    results = json.loads(json.dumps(finished.results))
    for result, value in zip(results, (0.111, 0.222, 0.333, 0.444), strict=True):
        result["val_normalised"] = result["val"] = value
        result["val_anny_normalised"] = value + 0.5
    results[0]["test_removed_normalised"] = 0.777
    table = study_table(results, available=20000)
    lines = [line for line in table.splitlines() if line.startswith("| Attention U-Net | 1 |")]
    assert len(lines) == 1
    assert "0.111 (0.111)" in lines[0]
    assert lines[0].endswith("| 0.034 | 0.375 | 0.480 |")
    assert any("20,000" in line and "0.022 | 0.068 | 0.217" in line for line in table.splitlines())
    assert "0.777" in table.split("removed by our mask")[1]
    assert any(line.startswith("| Anny | 2 |") and "0.944" in line for line in table.splitlines())


def test_the_picture_draws_each_set_and_the_seeds(finished, tmp_path):
    (axes,) = study_figure(finished.results, available=10).axes
    labels = [line.get_label() for line in axes.lines]
    assert sum(not str(label).startswith("_") for label in labels) == 4
    drawn = next(line for line in axes.lines if line.get_label() == "held-out synthetic heads")
    assert np.asarray(drawn.get_xdata()).tolist() == [1, 10]
    assert np.asarray(drawn.get_ydata()).tolist() == [
        result["val_normalised"] for result in finished.results[:2]
    ]
    write_report(finished.results, 10, tmp_path)
    assert (tmp_path / "study.png").stat().st_size > 1000
    assert (tmp_path / "study.md").read_text().startswith("Mean depth L1")
