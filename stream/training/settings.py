"""Settings of depth training, read from ``configs/train/depth.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from stream.config import Settings

Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=16, le=512, multiple_of=16)]
Topology = Literal["ict", "anny"]


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
    """Weights of the parts of the loss, and of pixels within them; see `stream.training.losses`."""

    depth: Weight = 1.0
    shape: Weight = 1.0
    slope: Weight = 0.1
    normal: Weight = 0.5
    normal_map: Weight = 0.3
    mask: Weight = 0.8
    spread: Weight = 0.02
    consistency: Weight = 0.1
    photo: Weight = 0.3
    """Weight of a photo's (weak) labels relative to a synthetic sample's."""
    skin: Weight = 2.0
    """Weight of a pixel of the face's skin relative to one of hair, neck or glasses."""
    mouth: Weight = 48.0
    """Weight of a pixel inside the open mouth, likewise: they are one in 200, and decide how a mouth looks.
    With a weight of 4 the network gave mouths less than half their depth."""
    border: Weight = 6.0
    """Weight of a pixel at the mask's border, or on a hand or object, relative to any other in the mask."""


class SizeStage(Settings):
    """The beginning of a run at another size: cheaper steps while there is most to learn."""

    size: Side
    steps: Annotated[int, Field(ge=1)]


class RunSettings(Settings):
    """What every run of the training loop depends on, whatever is trained."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """The run's folder under ``out/train/``."""
    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1, le=1024)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup: Annotated[int, Field(ge=0)] = 200
    weight_decay: Weight = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Decay per step of the weights' moving average, which is what is validated and exported."""
    validate_every: Annotated[int, Field(ge=1)] = 1000
    validate_samples: Annotated[int, Field(ge=1)] = 240
    """At most so many samples, spread over the validation split, are judged each time."""
    save_every: Annotated[int, Field(ge=1)] = 500
    log_every: Annotated[int, Field(ge=1)] = 40
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    device: Literal["cpu", "cuda"] = "cpu"
    autocast: bool = True
    """Compute in bfloat16 where that is safe; faster on a GPU, and on CPUs that have it."""


class DepthTraining(RunSettings):
    """Everything a run of ``prosopon train depth`` depends on, apart from the data itself."""

    data: Path = Path("cache/faces")
    """Folder with the shards."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "depth"
    architecture: str = "mobile_unet"
    options: dict[str, int | str] = Field(default_factory=dict)
    """What `stream.networks.network.build_network` takes besides the architecture."""
    pretrained: bool = True
    """Begin with published weights of the encoder, where the architecture has some."""
    start: Path | None = None
    """Checkpoint whose averaged weights to begin with; its architecture and options must be the same."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Train on so many samples of a fixed shuffled order: fewer are always among more."""
    topologies: tuple[Topology, ...] = ("ict", "anny")
    """Head models whose samples are trained on."""
    photos: bool = True
    """Train on photos with weak labels too."""
    size: Side = 192
    """Side of the pictures; stored samples may be larger."""
    stages: tuple[SizeStage, ...] = (SizeStage(size=128, steps=3600),)
    """Sizes of the first steps, in their order; ``size`` follows."""
    steps: Annotated[int, Field(ge=1)] = 7350
    batch: Annotated[int, Field(ge=1, le=1024)] = 12
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1.5e-3
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()

    def size_at(self, step: int) -> int:
        """Side of the pictures of step ``step`` (from 0)."""
        for stage in self.stages:
            if step < stage.steps:
                return stage.size
            step -= stage.steps
        return self.size


class DistilSettings(Settings):
    """Weights of what the teacher says, beside the labels; see `stream.training.tasks.live`."""

    depth: Weight = 0.5
    slope: Weight = 0.1
    mask: Weight = 0.4


class LiveTraining(DepthTraining):
    """Everything a run of ``prosopon train live`` depends on, apart from the data itself."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "live"
    architecture: Literal["live_unet"] = "live_unet"
    teacher: str = "depth"
    """Name of the shipped model that it begins with and learns from."""
    pretrained: Literal[False] = False
    stages: tuple[SizeStage, ...] = ()
    steps: Annotated[int, Field(ge=1)] = 4000
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    weight_decay: Weight = 0.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    autocast: bool = False
    """bfloat16 cannot tell the integers apart."""
    encoder_from: Annotated[int, Field(ge=0)] = 400
    """The encoder learns from this step on: a step without it takes half as long."""
    tail_rate: Annotated[float, Field(gt=0)] = 2.0
    """Learning rate of the last layers, which the teacher has not, relative to the others'."""
    loss: LossSettings = LossSettings(shape=2.0, normal=1.5, photo=0.5, consistency=0.0)
    distil: DistilSettings = DistilSettings()
