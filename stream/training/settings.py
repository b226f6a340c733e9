"""Settings of depth training, read from ``configs/train/depth.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from stream.config import Settings

Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class AugmentSettings(Settings):
    """How often each change is made to a training picture (0..1)."""

    flip: Probability = 0.5
    occluder: Probability = 0.12
    colour: Probability = 0.8
    grey: Probability = 0.03
    blur: Probability = 0.2
    motion: Probability = 0.1
    noise: Probability = 0.5
    low_resolution: Probability = 0.3
    jpeg: Probability = 0.3


class LossSettings(Settings):
    """Weights of the parts of the loss; see `stream.training.losses`."""

    depth: Weight = 1.0
    slope: Weight = 0.1
    normal: Weight = 0.3
    mask: Weight = 0.2
    photo: Weight = 0.3
    """Weight of a photo's (weak) labels relative to a synthetic sample's."""


class DepthTraining(Settings):
    """Everything a run of ``prosopon train depth`` depends on, apart from the data itself."""

    data: Path = Path("cache/faces")
    """Folder with the shards."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "depth"
    """The run's folder under ``out/train/``."""
    width: Annotated[int, Field(ge=1, le=64)] = 16
    steps: Annotated[int, Field(ge=1)] = 9000
    batch: Annotated[int, Field(ge=1, le=1024)] = 12
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1.5e-3
    warmup: Annotated[int, Field(ge=0)] = 200
    weight_decay: Weight = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay per step of the weights' moving average, which is what is validated and exported."""
    validate_every: Annotated[int, Field(ge=1)] = 1000
    save_every: Annotated[int, Field(ge=1)] = 500
    log_every: Annotated[int, Field(ge=1)] = 40
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    autocast: bool = True
    """Compute in bfloat16 where that is safe; faster where the CPU has it."""
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
