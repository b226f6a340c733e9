"""Settings of a server: its defaults are safe, secrets stay secret, limits hold."""

import pytest

from stream.config import parse_settings
from stream.errors import ConfigError
from stream.remote.settings import ServeSettings


def serve(**values: object) -> ServeSettings:
    return parse_settings(values, ServeSettings, "the test")


def test_the_defaults_reach_nobody_outside() -> None:
    settings = serve()
    assert settings.host == "127.0.0.1"
    assert not settings.insecure
    assert (settings.ice.stun, settings.ice.turn, settings.origins) == ((), (), ())


def test_secrets_are_not_shown() -> None:
    settings = serve(publish_token="opensesame", ice={"turn_secret": "sesame"})
    assert settings.publish_token.get_secret_value() == "opensesame"
    assert "sesame" not in repr(settings) + str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    "values",
    [
        {"port": 65536},
        {"max_sessions": 0},
        {"max_viewers": 0},
        {"idle_seconds": 0},
        {"offers_per_minute": 0},
        {"send": {"bits": 9}},
        {"send": {"size": 512}},
        {"send": {"key_seconds": 0}},
        {"ice": {"turn_seconds": 1}},
        {"unknown": 1},
    ],
)
def test_what_is_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        serve(**values)
