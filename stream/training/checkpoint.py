"""Training checkpoints: one safetensors file with the state as JSON in its header. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stream.errors import MissingExtraError, ModelError
from stream.files import atomic_path

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("safetensors", "train") from error

MAX_CHECKPOINT_BYTES = 8 << 30
NETWORK, AVERAGE, OPTIMIZER = "network.", "average.", "optimizer."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors and state of a run, as read from a file.

    :ivar tensors: by name, with the prefixes `NETWORK`, `AVERAGE` and `OPTIMIZER`.
    :ivar state: ``task``, what the task says of its network (``architecture``, ``options``, ...), ``step``,
        ``seconds``, ``settings``, ``log``.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix, without it."""
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}


def save_checkpoint(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Write everything a run needs to go on; the old file is replaced only once the new one is whole.

    :raises OutputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in ((NETWORK, network), (AVERAGE, average)):
        tensors |= {prefix + name: value.contiguous() for name, value in module.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{key}": value.contiguous() for key, value in entry.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    :raises ModelError: the file is missing, too large, damaged, or no checkpoint of ours.
    """
    try:
        if path.stat().st_size > MAX_CHECKPOINT_BYTES:
            raise ModelError(f"{path} is larger than a checkpoint may be (8 GiB).")
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not a checkpoint of training ({error}).") from error
    if not isinstance(state, dict) or not isinstance(state.get("architecture"), str):
        raise ModelError(f"{path} does not say which network it holds.")
    return Checkpoint(tensors, state)


def load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Put the moments saved back into a fresh optimizer over the same parameters.

    :raises ModelError: they do not fit.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in checkpoint.part(OPTIMIZER).items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = value
    try:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
    except (ValueError, KeyError) as error:
        raise ModelError(f"The checkpoint's optimizer does not fit the network ({error}).") from error
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape:
                # A fused step pairs values by their place in memory, whatever the strides say.
                state[key] = torch.empty_like(parameter).copy_(value)


def restore(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load weights strictly.

    :raises ModelError: names or shapes differ, or a weight is not finite.
    """
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ModelError("The checkpoint holds weights that are NaN or infinite; use an earlier one.")
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"The checkpoint does not fit the network ({first})") from error
