"""What an inference engine is, whichever library runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from stream.types import Array


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape (``None`` where an axis is free) and numpy dtype name of one input or output."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Engine(Protocol):
    """A loaded network, ready to run; not to be called from two threads at once.

    :ivar backend: ``openvino``, ``onnxruntime``, ``torch`` or ``tensorrt``.
    """

    backend: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once. The arrays returned are the caller's: the engine does not write to them again.

        :raises InputError: a name, shape or dtype is not what `inputs` says.
        """

    def close(self) -> None:
        """Free the network."""
