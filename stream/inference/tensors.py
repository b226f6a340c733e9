"""What every backend does with tensors before its library sees them: pin the batch, check the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stream.errors import InputError, ModelError
from stream.inference.engine import TensorSpec
from stream.types import Array


def pin_batch(inputs: Sequence[TensorSpec], batch: int) -> tuple[TensorSpec, ...]:
    """Fix the first axis of each input, the batch, so that every buffer has one size for good.

    :raises ModelError: another axis is free, or the model was exported for another batch size.
    """
    for spec in inputs:
        if None in spec.shape[1:]:
            raise ModelError(
                f"The model's input {spec.name!r} has free axes {spec.shape}; "
                "export it with only the first axis free."
            )
        if spec.shape[:1] not in ((None,), (batch,)):
            raise ModelError(
                f"The model's input {spec.name!r} {spec.shape} was not exported for batches of {batch}."
            )
    return tuple(replace(spec, shape=(batch, *spec.shape[1:])) for spec in inputs)


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> None:
    """Check names, shapes and dtypes of ``inputs`` against pinned ``specs``; values are the caller's affair.

    :raises InputError: one of them differs; the message names the tensor.
    """
    names = [spec.name for spec in specs]
    if sorted(inputs) != sorted(names):
        raise InputError(f"The network takes the inputs {names}, not {sorted(inputs)}.")
    for spec in specs:
        value = inputs[spec.name]
        if not isinstance(value, np.ndarray):
            raise InputError(f"The input {spec.name!r} must be a numpy array, not {type(value).__name__}.")
        if value.shape != spec.shape or value.dtype.name != spec.dtype:
            raise InputError(
                f"The input {spec.name!r} must be {spec.dtype} {spec.shape}, "
                f"not {value.dtype.name} {value.shape}."
            )


def closed() -> ModelError:
    """The error for a run after `Engine.close`."""
    return ModelError("This network was closed; load it again to run it.")
