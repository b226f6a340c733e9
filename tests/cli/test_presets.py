"""The presets in configs/ are valid and list every key with its default."""

from pathlib import Path

import pytest
import yaml

from stream.config import Settings, load_config
from stream.evaluation.benchmark import BenchSettings
from stream.live import LiveSettings
from stream.remote.settings import ServeSettings
from stream.training.settings import DepthTraining, LiveTraining
from stream.training.study import StudySettings

CONFIGS = Path(__file__).parents[2] / "configs"
PRESETS: list[tuple[str, type[Settings]]] = [
    ("live.yaml", LiveSettings),
    ("bench.yaml", BenchSettings),
    ("serve.yaml", ServeSettings),
    ("train/depth.yaml", DepthTraining),
    ("train/live.yaml", LiveTraining),
    ("train/study.yaml", StudySettings),
]


@pytest.mark.parametrize(("name", "kind"), PRESETS)
def test_a_preset_states_the_defaults(name: str, kind: type[Settings]) -> None:
    assert load_config(CONFIGS / name, kind) == kind()


@pytest.mark.parametrize(("name", "kind"), PRESETS)
def test_a_preset_lists_every_key(name: str, kind: type[Settings]) -> None:
    written = yaml.safe_load((CONFIGS / name).read_text())
    expected = kind().model_dump()
    assert set(written) == set(expected)
    for key, value in expected.items():
        if isinstance(value, dict):
            assert set(written[key]) == set(value)


def test_the_second_part_of_the_training_goes_on_from_the_first() -> None:
    first = load_config(CONFIGS / "train/depth.yaml", DepthTraining)
    second = load_config(CONFIGS / "train/depth-more.yaml", DepthTraining)
    assert second.start == Path("out/train") / first.name / "checkpoint.safetensors"
    assert (second.architecture, second.size, second.data) == (first.architecture, first.size, first.data)
    assert second.name != first.name
