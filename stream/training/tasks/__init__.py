"""What is trained: one module per task of `stream.training.loop`, found here by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stream.errors import ModelError

TASKS: Mapping[str, tuple[str, str, str]] = {
    "depth": ("stream.training.tasks.depth", "DepthTask", "DepthTraining"),
    "live": ("stream.training.tasks.live", "LiveTask", "LiveTraining"),
}
"""Module, class and settings (`stream.training.settings`) of every task, by its name."""


def task_of(name: str) -> Any:
    """The class of a task.

    :raises ModelError: there is no such task.
    """
    module, kind, _ = _known(name)
    return getattr(import_module(module), kind)


def settings_of(name: str) -> Any:
    """The class of a task's settings.

    :raises ModelError: there is no such task.
    """
    return getattr(import_module("stream.training.settings"), _known(name)[2])


def _known(name: str) -> tuple[str, str, str]:
    if name not in TASKS:
        raise ModelError(f"There is no training task {name!r}; there are {', '.join(TASKS)}.")
    return TASKS[name]
