"""What the training loop needs to know of what it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Losses:
    """The weighted sum, and its parts by name before weighting; scalar tensors."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Step:
    """Where a run is.

    :ivar network: what is trained, on its device; ``average``: its moving average.
    :ivar number: steps done.
    :ivar autocast: computes a block in bfloat16 where the run says so.
    """

    network: nn.Module
    average: nn.Module
    number: int
    autocast: AbstractContextManager[Any]


class OneBatch(Protocol):
    """Samples of one step as tensors."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Any:
        """The same on a device."""


class Task(Protocol):
    """Data, network, losses, validation and export of one thing that is trained.

    The loop (`stream.training.loop.Trainer`) owns steps, optimizer, moving average, log, checkpoint and
    device; everything that says *what* is learnt is here.

    :cvar name: written into the checkpoint, by which export finds the task again.
    :cvar card: file name of the card that belongs to what is exported.
    :cvar held_to: models that are shipped only if they are nearly as good as another, exported beside them or
        shipped already, and faster; names of both.
    :ivar network: what is trained, on the CPU as it begins.
    :ivar parts: names of the parts of the loss, for the log.
    """

    name: ClassVar[str]
    card: ClassVar[str]
    held_to: ClassVar[Mapping[str, str]]
    network: nn.Module
    parts: Sequence[str]

    def describe(self, number: int) -> dict[str, Any]:
        """What else the checkpoint's state holds after so many steps, as JSON: enough to build it."""

    def fresh(self) -> None:
        """Give the network what it begins with; not called when a run goes on."""

    def groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups of parameters; what they do not say is the run's."""

    def batches(self, start: int) -> AbstractContextManager[Iterable[OneBatch]]:
        """The batches from step ``start`` to the last, the same however often a run was stopped."""

    def losses(self, step: Step, batch: Any) -> Losses:
        """Compare what the network says of a batch with what it should."""

    def row(self, number: int) -> dict[str, Any]:
        """What a logged step holds besides the loss."""

    def validate(self, average: nn.Module, number: int) -> dict[str, float]:
        """Mean errors on held-out samples after so many steps."""

    def draw(self, average: nn.Module, number: int, rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
        """Pictures of the run: what the network sees, and the loss by step.

        :raises OutputError: a file cannot be written.
        """

    @classmethod
    def exported(cls, network: Any, size: int, data: Path) -> dict[str, bytes]:
        """A trained network as the ONNX files to ship, by the names of the models.

        :param data: folder of the dataset, for calibration where a file needs it.
        :raises ModelError: the export is not usable.
        """
