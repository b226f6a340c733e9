"""The training loop: whatever the task, one run in one folder, stopped and resumed at any step."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from stream.errors import BackendError, ConfigError, ModelError, OutputError, ProsoponError
from stream.training.checkpoint import (
    AVERAGE,
    NETWORK,
    load_checkpoint,
    load_optimizer,
    restore,
    save_checkpoint,
)
from stream.training.settings import RunSettings
from stream.training.task import Losses, OneBatch, Step, Task

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
FINAL_RATE = 0.01
"""Learning rate at the end, relative to the highest."""

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """One run: network, moving average, optimizer, log and checkpoint in a folder.

    :param folder: where everything goes; made if absent.
    :param resume: go on from the folder's checkpoint.
    :raises ModelError: resuming, or starting, without a checkpoint or with one that does not fit.
    :raises ConfigError: not resuming where there is a checkpoint already.
    :raises BackendError: the device is not there.
    """

    def __init__(self, settings: RunSettings, task: Task, folder: Path, resume: bool = False) -> None:
        torch.set_num_threads(settings.threads)
        self.settings, self.task, self.folder = settings, task, folder
        self._device = device_of(settings.device)
        self.step, self._seconds = 0, 0.0
        self.rows: list[dict[str, Any]] = []
        self._claim(resume)
        if not resume:
            task.fresh()
        layout = (
            torch.channels_last if getattr(task.network, "channels_last", False) else torch.preserve_format
        )
        self.network: Any = task.network.to(self._device, memory_format=layout)
        self.average: Any = copy.deepcopy(self.network).requires_grad_(False).eval()
        self._optimizer = torch.optim.AdamW(
            task.groups(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        if resume:
            self._resume()

    def run(self, stop: threading.Event | None = None, report: Report | None = None) -> dict[str, float]:
        """Train to the settings' last step, or until ``stop`` is set; save either way.

        :param report: called with every row that is logged.
        :returns: the last validation (`Task.validate`).
        :raises ProsoponError: the loss is no longer a number; the last checkpoint is kept.
        """
        clock = _Clock(self._seconds)
        with self.task.batches(self.step) as batches:
            for batch in clock.timed(batches):
                losses = self._update(batch)
                self._seconds = clock.seconds()
                self._after(losses, len(batch), clock, report)
                if stop is not None and stop.is_set():
                    break
        result = self._validate(report)
        self._save()
        return result

    def _update(self, batch: OneBatch) -> Losses:
        """One step of the optimizer and of the moving average."""
        settings = self.settings
        self.network.train()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings) * group.get("rate", 1.0)
        losses = self.task.losses(self.at(), batch.to(self._device))
        if not math.isfinite(losses.total.item()):
            raise ProsoponError(
                f"The loss is no longer a number at step {self.step}; resume with a lower learning_rate."
            )
        self._optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._optimizer.step()
        self.step += 1
        update_average(self.average, self.network, min(settings.ema, self.step / (self.step + 10)))
        return losses

    def at(self) -> Step:
        """Where the run is, for the task."""
        return Step(self.network, self.average, self.step, self._autocast())

    def _autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 on either device: with float32's range, gradients need no scaling."""
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.settings.autocast)

    def _after(self, losses: Losses, count: int, clock: _Clock, report: Report | None) -> None:
        """Log, validate and save when it is time; the last step does that by itself."""
        settings = self.settings
        if self.step % settings.log_every == 0:
            row = {
                "event": "step",
                "step": self.step,
                "seconds": round(self._seconds, 1),
                **clock.speed(self.step, count),
                "learning_rate": learning_rate(self.step - 1, settings),
                **self.task.row(self.step - 1),
                "total": round(losses.total.item(), 5),
            }
            parts = {name: round(losses.parts[name].item(), 5) for name in self.task.parts}
            self._log(row | parts, report)
        if self.step == settings.steps:
            return
        if self.step % settings.validate_every == 0:
            self._validate(report)
        if self.step % settings.save_every == 0:
            self._save()

    def _validate(self, report: Report | None) -> dict[str, float]:
        result = self.task.validate(self.average, self.step)
        rounded = {key: round(value, 5) for key, value in result.items()}
        row = {"event": "validation", "step": self.step, "seconds": round(self._seconds, 1)}
        self._log(row | rounded, report)
        self.task.draw(self.average, self.step, self.rows, self.folder)
        return result

    def _log(self, row: dict[str, Any], report: Report | None) -> None:
        self.rows.append(row)
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if report is not None:
            report(row)

    def _save(self) -> None:
        state = {
            "task": self.task.name,
            **self.task.describe(self.step),
            "step": self.step,
            "seconds": self._seconds,
            "settings": self.settings.model_dump(mode="json"),
            "log": self.rows,
        }
        save_checkpoint(self.folder / CHECKPOINT, self.network, self.average, self._optimizer, state)

    def _claim(self, resume: bool) -> None:
        """Make the folder, and see that no other run is lost by it."""
        path = self.folder / CHECKPOINT
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {self.folder}: {error.strerror}.") from error
        if resume and not path.exists():
            raise ModelError(f"There is no {path} to resume from; leave out --resume to begin.")
        if not resume and path.exists():
            raise ConfigError(
                f"{self.folder} already holds a run; go on with --resume, or name another folder with --out."
            )
        if not resume:
            (self.folder / LOG).unlink(missing_ok=True)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        checkpoint = load_checkpoint(path)
        restore(self.network, checkpoint.part(NETWORK))
        restore(self.average, checkpoint.part(AVERAGE))
        load_optimizer(self._optimizer, checkpoint)
        try:
            self.step, self._seconds = int(checkpoint.state["step"]), float(checkpoint.state["seconds"])
            self.rows = list(checkpoint.state["log"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} lacks the state of its run ({error}).") from error
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        (self.folder / LOG).write_text(lines, encoding="utf-8")


def device_of(name: str) -> torch.device:
    """The device a run asks for.

    :raises BackendError: this PyTorch cannot use it here.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendError("PyTorch sees no CUDA device here; train with --device cpu.")
    return torch.device(name)


def learning_rate(step: int, settings: RunSettings) -> float:
    """Linear warm-up, then half a cosine down to `FINAL_RATE` of the highest rate."""
    warmup = min(settings.warmup, settings.steps // 2)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - warmup)
    floor = settings.learning_rate * FINAL_RATE
    return floor + (settings.learning_rate - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@torch.no_grad()
def update_average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the averaged weights and batch statistics towards the network's: a' = decay a + (1 - decay) n."""
    old, new = average.state_dict(), network.state_dict()
    names = [name for name, value in old.items() if value.is_floating_point()]
    torch._foreach_lerp_([old[name] for name in names], [new[name] for name in names], 1 - decay)
    for name in old.keys() - set(names):
        old[name].copy_(new[name])


class _Clock:
    """Seconds of a run, those before it was resumed included, and the speed since it last asked."""

    def __init__(self, before: float) -> None:
        self._origin = time.monotonic() - before
        self._last: tuple[float, int] | None = None
        self._waited = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self._origin

    def timed(self, batches: Iterable[OneBatch]) -> Iterator[OneBatch]:
        """The batches, taking the time that they are waited for."""
        source = iter(batches)
        while True:
            begun = time.monotonic()
            batch = next(source, None)
            self._waited += time.monotonic() - begun
            if batch is None:
                return
            yield batch

    def speed(self, step: int, count: int) -> dict[str, float]:
        """Samples per second and the share of time spent waiting for data; 0 the first time."""
        now, last, waited = time.monotonic(), self._last, self._waited
        self._last, self._waited = (now, step), 0.0
        seconds = max(now - last[0], 1e-9) if last else math.inf
        done = step - last[1] if last else 0
        return {
            "images_per_second": round(done * count / seconds, 1),
            "waiting": round(waited / seconds, 3),
        }
