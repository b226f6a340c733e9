"""The first task: depth, mask, confidence and normals of a face crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stream.data.shards import Dataset, Samples
from stream.errors import ConfigError, InputError, ModelError
from stream.networks.network import DepthMaps, DepthNetwork, build_network
from stream.training.batches import Batch, BatchLoader, chosen_samples
from stream.training.checkpoint import AVERAGE, Checkpoint, load_checkpoint, restore
from stream.training.losses import PARTS, depth_losses
from stream.training.pictures import loss_curve, prediction_sheet
from stream.training.settings import DepthTraining
from stream.training.targets import shrunk
from stream.training.task import Losses, Step
from stream.training.validate import predict, validate

CURVE = "loss.png"

SHOWN = 10
"""Validation samples in the picture of predictions."""


class DepthTask:
    """A `stream.training.task.Task`: any depth network, on drawn heads and photos.

    :ivar network: built from the settings' architecture and options, on the settings' seed.
    :raises InputError: the network cannot have these options.
    :raises ModelError: there is no such architecture.
    :raises ConfigError: the network does not take the settings' sizes, or they leave no sample.
    """

    name: ClassVar[str] = "depth"
    card: ClassVar[str] = "depth.md"
    held_to: ClassVar[Mapping[str, str]] = {}
    parts: Sequence[str] = PARTS

    def __init__(self, settings: DepthTraining, train: Dataset, val: Dataset) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self._train, self._count = train, len(chosen_samples(train, settings))
        # A network is judged at the size it is being trained at: at another it is far worse.
        sizes = {settings.size, *(stage.size for stage in settings.stages)}
        self._sets = {size: _spread(val, settings.validate_samples, size) for size in sizes}
        self.network: DepthNetwork = self._built()
        _check_sizes(settings, self.network)

    def _built(self) -> DepthNetwork:
        settings = self.settings
        return build_network(settings.architecture, settings.pretrained, **settings.options)

    def describe(self, number: int) -> dict[str, Any]:
        """Architecture, options, sizes and how many samples there were to train on."""
        return {
            "architecture": self.network.architecture,
            "options": self.network.options(),
            "size": self.settings.size,
            "trained_size": self.settings.size_at(number - 1),
            "samples": self._count,
        }

    def fresh(self) -> None:
        """Begin with another run's averaged weights, where the settings name one.

        :raises ModelError: that checkpoint cannot be used, or holds another network.
        """
        if self.settings.start is not None:
            start_from(self.network, self.settings.start)

    def groups(self) -> list[dict[str, Any]]:
        """All parameters alike."""
        return [{"params": list(self.network.parameters())}]

    def batches(self, start: int) -> BatchLoader:
        """See `BatchLoader`."""
        return BatchLoader(self._train, self.settings, start, self.network.maps_stride)

    def row(self, number: int) -> dict[str, Any]:
        """The pictures' side."""
        return {"size": self.settings.size_at(number)}

    def losses(self, step: Step, batch: Batch) -> Losses:
        """See `depth_losses`."""
        maps = self.maps(step, step.network, batch.image)
        return depth_losses(maps, batch, self.settings.loss, self.twin(step, batch))

    def maps(self, step: Step, network: Any, image: Tensor) -> DepthMaps:
        """The network's maps; its features in bfloat16 if the run says so."""
        layout = torch.channels_last if network.channels_last else torch.contiguous_format
        with step.autocast:
            features = self.features(step, network, image.contiguous(memory_format=layout))
        # The head runs in float32: bfloat16 steps of depth would drown the slopes between pixels.
        maps: DepthMaps = network.head(features.float())
        return maps

    def features(self, step: Step, network: Any, image: Tensor) -> Tensor:
        """What the head sees."""
        features: Tensor = network.features(image)
        return features

    @torch.no_grad()
    def twin(self, step: Step, batch: Batch) -> Tensor | None:
        """What the moving average makes of the mirrored photos, mirrored back; NaN off the head.

        During the warm-up there is none: the average knows less then than the network that it is to teach.
        """
        if len(batch.again) == 0 or step.number < self.settings.warmup:
            return None
        maps = self.maps(step, step.average, batch.mirrored)
        occluded = (batch.mask_known & ~batch.foreground)[batch.again]
        head = (maps.mask.flip(-1) > 0) & ~occluded
        return torch.where(head, maps.depth.flip(-1), torch.nan)

    def validate(self, average: nn.Module, number: int) -> dict[str, float]:
        """See `stream.training.validate.validate`."""
        return validate(average, self._sets[self.settings.size_at(number - 1)])

    def draw(self, average: nn.Module, number: int, rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
        """``predictions-*.png`` and the curve."""
        shown = _shown(self._sets[self.settings.size_at(number - 1)])
        prediction_sheet(shown, predict(average, shown), folder / f"predictions-{number:06d}.png")
        loss_curve(rows, self.parts, folder / CURVE)

    @classmethod
    def exported(cls, network: Any, size: int, data: Path) -> dict[str, bytes]:
        """``depth``, in float."""
        from stream.training.export import export_onnx

        return {"depth": export_onnx(network, size).SerializeToString()}


def trained_network(path: Path) -> tuple[DepthNetwork, Checkpoint]:
    """The averaged network of a checkpoint, ready for inference.

    :raises ModelError: as `load_checkpoint` and `restore`; or the architecture or its options are unknown.
    """
    checkpoint = load_checkpoint(path)
    options = checkpoint.state.get("options")
    if not isinstance(options, dict) or "pretrained" in options:
        raise ModelError(f"{path} does not say which options its network has.")
    try:
        network = build_network(checkpoint.state["architecture"], **options)
    except InputError as error:
        raise ModelError(f"{path} does not hold a usable network ({error})") from error
    restore(network, checkpoint.part(AVERAGE))
    return network.eval(), checkpoint


def start_from(network: DepthNetwork, path: Path) -> None:
    """Give a network the averaged weights of a checkpoint.

    :raises ModelError: the checkpoint is not usable, or holds another architecture or other options.
    """
    other, _ = trained_network(path)
    if (other.architecture, other.options()) != (network.architecture, network.options()):
        raise ModelError(
            f"{path} holds {other.architecture} {other.options()}, not {network.architecture} "
            f"{network.options()}; start from another checkpoint or change the settings."
        )
    network.load_state_dict(other.state_dict())


def _check_sizes(settings: DepthTraining, network: DepthNetwork) -> None:
    """:raises ConfigError: the network does not take pictures of a size the settings ask for."""
    for size in (settings.size, *(stage.size for stage in settings.stages)):
        if size % network.stride:
            raise ConfigError(
                f"{network.architecture} takes sides that are multiples of {network.stride}, not {size}."
            )


def _spread(dataset: Dataset, most: int, size: int) -> Dataset:
    """At most so many samples of a split, spread over it, at the size trained at."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(most, len(dataset))).astype(int))
    return Dataset([shrunk(dataset.take(rows), size)])


def _shown(judged: Dataset) -> Samples:
    """Those of the judged samples that are drawn."""
    return judged.take(np.linspace(0, len(judged) - 1, min(SHOWN, len(judged))).astype(int))
