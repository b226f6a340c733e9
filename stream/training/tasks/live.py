"""The network of live capture, taught by the shipped one while it computes in integers.

It begins with the teacher's own layers (`stream.networks.live_unet.folded`) and learns from the labels and
from what the teacher says of the same spoilt picture, averaged over the pixels that become one: that is a
soft edge of the mask, and depth where labels are weak or absent, as in photos' hair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from stream.data.shards import Dataset
from stream.errors import ModelError
from stream.inference.backend_torch import network_in
from stream.inference.backends import read_model
from stream.models.store import open_model
from stream.networks.live_unet import LiveUNet, fit_tail, folded
from stream.networks.mobile_unet import MobileUNet
from stream.networks.network import DepthMaps, DepthNetwork
from stream.networks.rounding import calibrate, exact
from stream.training.batches import Batch
from stream.training.losses import PARTS, depth_losses, slope_loss, weighted_mean
from stream.training.settings import LiveTraining
from stream.training.task import Losses, Step
from stream.training.tasks.depth import DepthTask

TAUGHT = ("depth", "slope", "mask")
"""Names of what the teacher teaches, which are those of their weights in `DistilSettings`."""

CALIBRATION = 32
"""Training pictures that steps, biases and the tail begin with."""

SURE = 0.9
"""The teacher's depth counts where its averaged mask is above this."""


class LiveTask(DepthTask):
    """A `stream.training.task.Task`.

    :raises ModelError: the teacher is missing, or is no mobile_unet.
    """

    name: ClassVar[str] = "live"
    card: ClassVar[str] = "depth-live.md"
    held_to: ClassVar[Mapping[str, str]] = {"depth-live": "depth"}
    parts: Sequence[str] = (*PARTS, *(f"teacher_{name}" for name in TAUGHT))

    def __init__(self, settings: LiveTraining, train: Dataset, val: Dataset) -> None:
        self._teaching = settings
        self._teacher = network_in(read_model(open_model(settings.teacher))).requires_grad_(False)
        self._teacher.to(memory_format=torch.channels_last)
        super().__init__(settings, train, val)

    def _built(self) -> DepthNetwork:
        if not isinstance(self._teacher, MobileUNet):
            raise ModelError(f"{self._teaching.teacher} is no mobile_unet; name another teacher.")
        return folded(self._teacher)

    def fresh(self) -> None:
        """Begin with the teacher's layers, steps and biases set by some training pictures.

        :raises ModelError: the settings' ``start`` cannot be used, or holds another network.
        """
        if self.settings.start is not None:
            super().fresh()
            return
        network, images = self.network.eval(), self._pictures()
        with exact(network):
            fit_tail(network, self._teacher, images)
        calibrate(network, lambda: network(images))

    def _pictures(self) -> Tensor:
        """`CALIBRATION` pictures of the run's first steps."""
        per_batch = self.settings.batch
        with_loader = self.batches(0)
        batches = [with_loader.make(step).image for step in range(-(-CALIBRATION // per_batch))]
        return torch.cat(batches)[:CALIBRATION].contiguous(memory_format=torch.channels_last)

    def groups(self) -> list[dict[str, Any]]:
        """What has the teacher's weights, and the tail, which has not and learns faster."""
        network = self.network
        tail = [*network.join.parameters(), *network.head.parameters()]
        old = [*network.encoder.parameters(), *network.decoder.parameters(), *network.narrow.parameters()]
        return [{"params": old}, {"params": tail, "rate": self._teaching.tail_rate}]

    def features(self, step: Step, network: Any, image: Tensor) -> Tensor:
        """What the head sees; no gradient reaches the encoder before its time."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and step.number >= self._teaching.encoder_from):
            skips = network.encoder(image)
        features: Tensor = network.join(network.decoded(skips))
        return features

    def losses(self, step: Step, batch: Batch) -> Losses:
        """The labels' losses, and the teacher's."""
        maps = self.maps(step, step.network, batch.image)
        labels = depth_losses(maps, batch, self.settings.loss, self.twin(step, batch))
        taught = teacher_losses(maps, self._taught(step, batch.image), batch.occluder)
        weights = self._teaching.distil
        total = labels.total + sum(getattr(weights, name) * part for name, part in taught.items())
        return Losses(total, labels.parts | {f"teacher_{name}": part for name, part in taught.items()})

    @torch.no_grad()
    def _taught(self, step: Step, image: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's depth and mask (0..1), (N, 1, S, S), averaged to the size of the student's maps."""
        maps = self.maps_of_teacher(step, image)
        stride = LiveUNet.maps_stride
        return functional.avg_pool2d(maps.depth, stride), functional.avg_pool2d(maps.mask.sigmoid(), stride)

    def maps_of_teacher(self, step: Step, image: Tensor) -> DepthMaps:
        """What the teacher says."""
        teacher = self._teacher.to(image.device).eval()
        with step.autocast:
            features = teacher.features(image.contiguous(memory_format=torch.channels_last))
        maps: DepthMaps = teacher.head(features.float())
        return maps

    @classmethod
    def exported(cls, network: Any, size: int, data: Path) -> dict[str, bytes]:
        """``depth-live`` with the integers and steps it was trained with."""
        from stream.training.export_rounded import export_rounded

        return {"depth-live": export_rounded(network, size).SerializeToString()}


def teacher_losses(maps: DepthMaps, taught: tuple[Tensor, Tensor], occluder: Tensor) -> dict[str, Tensor]:
    """By name of `TAUGHT`: mean absolute difference of depth and of its slopes, cross-entropy of the mask.

    :param taught: the teacher's depth and mask.
    :param occluder: (N, 1, S, S) bool, where something was held before the face: nothing is taught there,
        for the labels know it and the teacher may not.
    """
    depth, mask = taught
    free = (~occluder).to(depth)
    sure = free * (mask > SURE)
    error = maps.depth - depth
    soft = functional.binary_cross_entropy_with_logits(maps.mask, mask, reduction="none")
    return {
        "depth": weighted_mean(error.abs(), sure),
        "slope": slope_loss(error, depth, sure),
        "mask": weighted_mean(soft, free),
    }
