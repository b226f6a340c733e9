"""Calibration files as a user would write them."""

from dataclasses import asdict
from pathlib import Path

import yaml

from stream.types import Intrinsics


def write_calibration(path: Path, camera: Intrinsics) -> None:
    """Write a camera as YAML with our own keys."""
    path.write_text(yaml.safe_dump(asdict(camera), sort_keys=False), encoding="utf-8")
