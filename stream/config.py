"""Settings: YAML in, checked objects out, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, field_validator

from stream.errors import ConfigError
from stream.yaml_text import Written, load_yaml


class Settings(BaseModel):
    """Base of every settings object: immutable, and unknown keys are refused.

    A number in a file that stands where a text belongs (a token, a name, a folder) is that text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_written(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            if not isinstance(value, Written):
                raise
            try:
                return check(value.text)
            except ValidationError:
                raise error from None


SettingsT = TypeVar("SettingsT", bound=Settings)

MAX_CONFIG_BYTES = 1 << 20


def load_config(path: Path, kind: type[SettingsT]) -> SettingsT:
    """Read a YAML file as ``kind``.

    :raises ConfigError: the file is missing, not YAML, or holds unknown keys or values out of range; the
        message names the key.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than a settings file may be (1 MiB).")
        values = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error
    return parse_settings(values or {}, kind, str(path))


def parse_settings(values: object, kind: type[SettingsT], origin: str) -> SettingsT:
    """Check plain values as ``kind``; ``origin`` names them in the message.

    :raises ConfigError: a key is unknown or a value does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigError(f"{origin}: {key}: {first['msg']}.") from error
