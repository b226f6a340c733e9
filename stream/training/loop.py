"""The training loop of the depth network."""

from __future__ import annotations

import copy
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stream.depth.network import DepthMaps, DepthNetwork, build_network
from stream.errors import ConfigError, ModelError, OutputError, ProsoponError
from stream.evaluation.shards import Dataset, Samples
from stream.training.batches import Batch, BatchLoader, chosen_samples
from stream.training.checkpoint import (
    AVERAGE,
    NETWORK,
    load_checkpoint,
    load_optimizer,
    restore,
    save_checkpoint,
    start_from,
)
from stream.training.losses import PARTS, Losses, depth_losses
from stream.training.pictures import loss_curve, prediction_sheet
from stream.training.settings import DepthTraining
from stream.training.targets import shrunk
from stream.training.validate import predict, validate

CHECKPOINT, LOG, CURVE = "checkpoint.safetensors", "log.jsonl", "loss.png"
FINAL_RATE = 0.01
"""Learning rate at the end, relative to the highest."""

SHOWN = 10
"""Validation samples in the picture of predictions."""

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """One run: network, moving average, optimizer, log and checkpoint in a folder.

    :param folder: where everything goes; made if absent.
    :param resume: go on from the folder's checkpoint.
    :raises InputError: the network cannot have these options.
    :raises ModelError: there is no such architecture; or resuming, or starting, without a checkpoint or
        with one that does not fit.
    :raises ConfigError: not resuming where there is a checkpoint already; or the settings leave no sample.
    """

    def __init__(
        self, settings: DepthTraining, train: Dataset, val: Dataset, folder: Path, resume: bool = False
    ) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.folder = settings, folder
        self._train, self._count = train, len(chosen_samples(train, settings))
        # A network is judged at the size it is being trained at: at another it is far worse.
        sizes = {settings.size, *(stage.size for stage in settings.stages)}
        self._sets = {size: _spread(val, settings.validate_samples, size) for size in sizes}
        self.network = build_network(settings.architecture, settings.pretrained, **settings.options)
        _check_sizes(settings, self.network)
        if settings.start is not None and not resume:
            start_from(self.network, settings.start)
        self._layout = torch.channels_last if self.network.channels_last else torch.contiguous_format
        self.network.to(memory_format=self._layout)
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.step, self._seconds = 0, 0.0
        self.rows: list[dict[str, Any]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
        if resume:
            self._resume()
        elif (folder / CHECKPOINT).exists():
            raise ConfigError(
                f"{folder} already holds a run; go on with --resume, or name another folder with --out."
            )
        else:
            (folder / LOG).unlink(missing_ok=True)

    def run(self, stop: threading.Event | None = None, report: Report | None = None) -> dict[str, float]:
        """Train to the settings' last step, or until ``stop`` is set; save either way.

        :param report: called with every row that is logged.
        :returns: the last validation (`stream.training.validate.validate`).
        :raises ProsoponError: the loss is no longer a number; the last checkpoint is kept.
        """
        loader = BatchLoader(self._train, self.settings, self.step)
        clock = _Clock(self._seconds)
        with loader:
            for batch in clock.timed(loader):
                losses = self._update(batch)
                self._seconds = clock.seconds()
                self._after(losses, clock, report)
                if stop is not None and stop.is_set():
                    break
        result = self._validate(report)
        self._save()
        return result

    def _update(self, batch: Batch) -> Losses:
        """One step of the optimizer and of the moving average."""
        settings = self.settings
        self.network.train()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings)
        maps = self._maps(self.network, batch.image)
        losses = depth_losses(maps, batch, settings.loss, self._twin(batch))
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

    def _maps(self, network: DepthNetwork, image: torch.Tensor) -> DepthMaps:
        """The network's maps; its features in bfloat16 if the settings say so."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            features = network.features(image.contiguous(memory_format=self._layout))
        # The head runs in float32: bfloat16 steps of depth would drown the slopes between pixels.
        maps: DepthMaps = network.head(features.float())
        return maps

    @torch.no_grad()
    def _twin(self, batch: Batch) -> torch.Tensor | None:
        """What the moving average makes of the mirrored photos, mirrored back; NaN off the head.

        During the warm-up there is none: the average knows less then than the network that it is to teach.
        """
        if len(batch.again) == 0 or self.step < self.settings.warmup:
            return None
        maps = self._maps(self.average, batch.mirrored)
        occluded = (batch.mask_known & ~batch.foreground)[batch.again]
        head = (maps.mask.flip(-1) > 0) & ~occluded
        return torch.where(head, maps.depth.flip(-1), torch.nan)

    def _after(self, losses: Losses, clock: _Clock, report: Report | None) -> None:
        """Log, validate and save when it is time; the last step does that by itself."""
        settings = self.settings
        if self.step % settings.log_every == 0:
            row = {
                "event": "step",
                "step": self.step,
                "seconds": round(self._seconds, 1),
                **clock.speed(self.step, settings.batch),
                "learning_rate": learning_rate(self.step - 1, settings),
                "size": settings.size_at(self.step - 1),
                "total": round(losses.total.item(), 5),
            }
            self._log(row | {name: round(losses.parts[name].item(), 5) for name in PARTS}, report)
        if self.step == settings.steps:
            return
        if self.step % settings.validate_every == 0:
            self._validate(report)
        if self.step % settings.save_every == 0:
            self._save()

    def _validate(self, report: Report | None) -> dict[str, float]:
        judged = self._sets[self.settings.size_at(self.step - 1)]
        result = validate(self.average, judged)
        rounded = {key: round(value, 5) for key, value in result.items()}
        self._log(
            {"event": "validation", "step": self.step, "seconds": round(self._seconds, 1)} | rounded, report
        )
        shown = _shown(judged)
        prediction_sheet(
            shown, predict(self.average, shown), self.folder / f"predictions-{self.step:06d}.png"
        )
        loss_curve(self.rows, self.folder / CURVE)
        return result

    def _log(self, row: dict[str, Any], report: Report | None) -> None:
        self.rows.append(row)
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if report is not None:
            report(row)

    def _save(self) -> None:
        state = {
            "architecture": self.network.architecture,
            "options": self.network.options(),
            "size": self.settings.size,
            "trained_size": self.settings.size_at(self.step - 1),
            "step": self.step,
            "seconds": self._seconds,
            "samples": self._count,
            "settings": self.settings.model_dump(mode="json"),
            "log": self.rows,
        }
        save_checkpoint(self.folder / CHECKPOINT, self.network, self.average, self._optimizer, state)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            raise ModelError(f"There is no {path} to resume from; leave out --resume to begin.")
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


def learning_rate(step: int, settings: DepthTraining) -> float:
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


class _Clock:
    """Seconds of a run, those before it was resumed included, and the speed since it last asked."""

    def __init__(self, before: float) -> None:
        self._origin = time.monotonic() - before
        self._last: tuple[float, int] | None = None
        self._waited = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self._origin

    def timed(self, loader: BatchLoader) -> Iterator[Batch]:
        """The loader's batches, taking the time that they are waited for."""
        batches = iter(loader)
        while True:
            begun = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - begun
            if batch is None:
                return
            yield batch

    def speed(self, step: int, batch: int) -> dict[str, float]:
        """Images per second and the share of time spent waiting for data; 0 the first time."""
        now, last, waited = time.monotonic(), self._last, self._waited
        self._last, self._waited = (now, step), 0.0
        seconds = max(now - last[0], 1e-9) if last else math.inf
        done = step - last[1] if last else 0
        return {
            "images_per_second": round(done * batch / seconds, 1),
            "waiting": round(waited / seconds, 3),
        }
