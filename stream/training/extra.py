"""Saying early, and in one sentence, that the train extra is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from stream.errors import MissingExtraError

LIBRARIES = ("torch", "safetensors", "onnx", "onnxscript")


def require_train_extra() -> None:
    """:raises MissingExtraError: a library of the train extra is not installed."""
    for library in LIBRARIES:
        try:
            found = find_spec(library) is not None
        except ValueError:  # what find_spec says of a module that is blocked
            found = False
        if not found:
            raise MissingExtraError(library, "train")
