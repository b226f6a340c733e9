"""Settings are checked before anything starts, and the message names the key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from stream.config import Settings, load_config, parse_settings
from stream.errors import ConfigError


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
