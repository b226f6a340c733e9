"""Settings are checked before anything starts, and the message names the key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr
from shared_folder import SHARED

from stream.config import Settings, load_config, parse_settings
from stream.errors import ConfigError
from stream.live import LiveSettings
from stream.remote.settings import ServeSettings
from stream.training.settings import DepthTraining
from stream.yaml_text import load_yaml


class Inner(Settings):
    rate: float = Field(30.0, gt=0)


class Outer(Settings):
    name: str = "a"
    inner: Inner = Inner()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_values_are_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = load_config(write(tmp_path, "inner: {rate: 60}\n"), Outer)
    assert settings == Outer(name="a", inner=Inner(rate=60.0))


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, ""), Outer) == Outer()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inner: {speed: 1}", "inner.speed"),
        ("inner: {rate: -1}", "inner.rate"),
        ("inner: {rate: fast}", "inner.rate"),
        ("- 1\n- 2", "the file"),
        ("a: [1", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text), Outer)


def test_a_missing_or_huge_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(tmp_path / "none.yaml", Outer)
    with pytest.raises(ConfigError, match="larger"):
        load_config(write(tmp_path, "#" * (2 << 20)), Outer)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_plain_value_is_either_settings_or_a_config_error(value: object) -> None:
    try:
        parsed = parse_settings({"name": value}, Outer, "test")
    except ConfigError:
        assert not isinstance(value, str)
    else:
        assert parsed.name == value


@pytest.mark.parametrize("show", ["off", '"off"', "auto", "window"])
def test_show_is_a_word(tmp_path: Path, show: str) -> None:
    assert load_config(write(tmp_path, f"show: {show}"), LiveSettings).show == show.strip('"')


def test_the_case_of_the_issue() -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    assert load_config(SHARED / "data/cases/show_off.yaml", LiveSettings).show == "off"


@pytest.mark.parametrize(
    ("written", "value"),
    [("yes", True), ("on", True), ("true", True), ("no", False), ("off", False), ("False", False)],
)
def test_every_word_for_yes_and_no_still_switches(tmp_path: Path, written: str, value: bool) -> None:
    assert load_config(write(tmp_path, f"fast: {written}"), LiveSettings).fast is value


@pytest.mark.parametrize(
    "text", ["12345", "007", "0x1F", "1e5", "1.50", "12:30", "2026-12-01", "1_000", "no", "-3", ".5", ".inf"]
)
def test_names_tokens_and_folders_are_texts_as_they_are_written(tmp_path: Path, text: str) -> None:
    settings = load_config(write(tmp_path, f"session: {text}\ntoken: {text}\nout: {text}"), LiveSettings)
    assert settings.session == text
    assert settings.token == SecretStr(text)
    assert settings.out == Path(text)
    served = load_config(write(tmp_path, f"publish_token: {text}"), ServeSettings)
    assert served.publish_token == SecretStr(text)


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    settings = load_config(write(tmp_path, "rate: 1.50\nsize: [0640, 480]\nduration: 1e1"), LiveSettings)
    assert (settings.rate, settings.size, settings.duration) == (1.5, (640, 480), 10.0)
    options = load_config(write(tmp_path, "options: {width: 16, variant: small}"), DepthTraining).options
    assert options == {"width": 16, "variant": "small"}
    assert [type(value) for value in options.values()] == [int, str]


def test_plain_values_are_those_of_yaml_1_2() -> None:
    text = "[null, ~, '', true, 010, 0o10, 0x10, .5, 1., -.inf, 'null', '1', y, 1:20]"
    assert load_yaml(text) == [
        None, None, "", True, 10, 8, 16, 0.5, 1.0, float("-inf"), "null", "1", "y", "1:20"
    ]  # fmt: skip


def test_a_number_that_does_not_fit_is_named_as_a_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"capture\.max_faces.*(integer|number)"):
        load_config(write(tmp_path, "capture: {max_faces: 1.5}"), LiveSettings)
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(write(tmp_path, f"rate: {'9' * 5000}"), LiveSettings)
