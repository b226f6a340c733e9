"""Camera calibration files: YAML or JSON in our own layout, or in OpenCV's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from stream.config import MAX_CONFIG_BYTES, Settings, parse_settings
from stream.errors import ConfigError
from stream.types import Intrinsics

MAX_ASPECT_ERROR = 0.02
"""A camera that crops between its modes needs a calibration for each; scaling alone changes no aspect."""

_MAX_SIDE = 1 << 16


class CalibrationFile(Settings):
    """Our own layout: a pinhole camera in pixels, centres at integers, and the size it was calibrated at."""

    width: int = Field(gt=0, le=_MAX_SIDE)
    height: int = Field(gt=0, le=_MAX_SIDE)
    fx: float = Field(gt=0, allow_inf_nan=False)
    fy: float = Field(gt=0, allow_inf_nan=False)
    cx: float = Field(allow_inf_nan=False)
    cy: float = Field(allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """Plain YAML, and OpenCV's matrices as mappings."""


def _matrix(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _matrix)


def load_calibration(path: Path) -> Intrinsics:
    """Read a camera from YAML or JSON: our own keys, or OpenCV's ``camera_matrix`` with the image's size.

    Distortion coefficients are not applied.

    :raises ConfigError: the file is missing, too large, not readable as either layout, or out of range.
    """
    values = _read(path)
    if isinstance(values, dict) and "camera_matrix" in values:
        values = _from_opencv(values, path)
    checked = parse_settings({} if values is None else values, CalibrationFile, str(path))
    return Intrinsics(checked.fx, checked.fy, checked.cx, checked.cy, checked.width, checked.height)


def scale_intrinsics(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The same camera for images resampled to ``width`` x ``height``.

    :raises ConfigError: the aspect ratio differs by more than 2 %.
    """
    if (width, height) == (intrinsics.width, intrinsics.height):
        return intrinsics
    sx, sy = width / intrinsics.width, height / intrinsics.height
    if abs(sx / sy - 1) > MAX_ASPECT_ERROR:
        raise ConfigError(
            f"The calibration is for {intrinsics.width}x{intrinsics.height} images but these are "
            f"{width}x{height}; calibrate the camera at this shape or leave the calibration out."
        )
    return Intrinsics(
        fx=intrinsics.fx * sx,
        fy=intrinsics.fy * sy,
        cx=(intrinsics.cx + 0.5) * sx - 0.5,
        cy=(intrinsics.cy + 0.5) * sy - 0.5,
        width=width,
        height=height,
    )


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is larger than a calibration file may be (1 MiB).")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot read the calibration {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file.") from error
    try:
        # OpenCV writes "%YAML:1.0", which is not a YAML directive.
        return yaml.load(text.removeprefix("%YAML:1.0"), Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from error


def _from_opencv(values: dict[Any, Any], path: Path) -> dict[str, Any]:
    """Our keys from those of OpenCV's calibration sample and of ROS."""
    try:
        data = values["camera_matrix"]["data"]
        fx, skew, cx, _, fy, cy, *last = (float(value) for value in data)
        if len(last) != 3 or skew != 0 or last != [0.0, 0.0, 1.0]:
            raise ValueError("camera_matrix is not a 3x3 camera matrix without skew")
        return {
            "width": values["image_width"],
            "height": values["image_height"],
            "fx": fx,
            "fy": fy,
            "cx": cx,
            "cy": cy,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not an OpenCV calibration: {error}.") from error
