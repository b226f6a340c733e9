"""The depth dataset: shards of samples on disk, checked and held in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream.errors import InputError
from stream.files import ARCHIVE_ERRORS, atomic_path
from stream.types import Array

DEPTH_KNOWN, MASK_KNOWN, FOREGROUND, SKIN, OCCLUDER, MOUTH, HAIR = 1, 2, 4, 8, 16, 32, 64
"""Bits of a sample's ``flags``: depth and normal known, mask known, head (with hair, glasses and neck), skin
of the face, a hand or object before the head (not foreground; depth and normal are its own), inside of the
open mouth (socket, gums, teeth, tongue), hair."""

SYNTHETIC, PHOTO = 0, 1
"""Values of a sample's ``kind``: exact labels, or a photo with weak ones."""

ICT, ANNY = 0, 1
"""Values of a sample's ``topology``: the head model it was made from."""

IDENTITIES, EXPRESSIONS, LANDMARKS = 64, 52, 478

ARRAYS = (
    "image", "depth", "normal", "flags", "kind", "topology", "tone", "yaw", "pitch", "sight", "camera",
    "crop", "distance", "occlusion", "landmarks", "identity", "expression",
)  # fmt: skip
FINITE = ARRAYS[ARRAYS.index("yaw") :]
SPLITS = ("train", "val", "test")
MAX_SHARD_BYTES = 1 << 30
MAX_SIZE = 512


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one size, all of them or a batch.

    :ivar image: (N, S, S, 3) uint8 RGB.
    :ivar depth: (N, S, S) float16 crop units along the camera's axis (`stream.types.Depth`), 0 where unknown.
    :ivar normal: (N, S, S, 3) int8, 127 times the unit normal, camera frame.
    :ivar flags: (N, S, S) uint8 bits, see `DEPTH_KNOWN` and the others.
    :ivar kind: (N,) uint8, `SYNTHETIC` or `PHOTO`.
    :ivar topology: (N,) uint8, `ICT` or `ANNY`.
    :ivar tone: (N,) uint8, skin tone by Fitzpatrick's scale, 1 to 6; 0 where unknown.
    :ivar yaw, pitch: (N,) float32 degrees, positive to the image's left and down
        (`stream.face.pose.euler_angles`).
    :ivar sight: (N, 2) float32, tangents of the line of sight to the crop (`stream.depth.sight`).
    :ivar camera: (N, 4) float32 pixels: fx, fy, cx, cy (`stream.types.Intrinsics`).
    :ivar crop: (N, 4) float32: x, y, half side in that camera's image pixels, angle (`stream.types.Crop`).
    :ivar distance: (N,) float32 mm along the camera's axis to the eye plane, where depth is 0.
    :ivar occlusion: (N,) float32, share of the face's skin that a hand, an object or hair hides.
    :ivar landmarks: (N, 478, 2) float32 crop coordinates of MediaPipe's points on the true surface.
    :ivar identity: (N, 64) float32 coefficients of the head model in standard deviations, zeros at the end.
    :ivar expression: (N, 52) float32 coefficients in the order of `stream.expression.arkit.ARKIT_NAMES`.
    :ivar mean_depth: (N, S, S) float16, the posed mean face, NaN where it does not cover; ``None`` in the
        training split.
    """

    image: Array
    depth: Array
    normal: Array
    flags: Array
    kind: Array
    topology: Array
    tone: Array
    yaw: Array
    pitch: Array
    sight: Array
    camera: Array
    crop: Array
    distance: Array
    occlusion: Array
    landmarks: Array
    identity: Array
    expression: Array
    mean_depth: Array | None = None

    def __len__(self) -> int:
        return len(self.image)

    @property
    def size(self) -> int:
        """Side S of a sample, pixels."""
        return int(self.image.shape[1])


class Dataset:
    """One split in memory, shard by shard (joining them would need twice the memory)."""

    def __init__(self, shards: Sequence[Samples]) -> None:
        if not shards or any(shard.size != shards[0].size for shard in shards):
            raise InputError("A dataset needs shards that all have samples of one size.")
        self.shards = tuple(shards)
        self._starts = np.cumsum([0] + [len(shard) for shard in shards])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def size(self) -> int:
        """Side of a sample, pixels."""
        return self.shards[0].size

    def take(self, indices: Array) -> Samples:
        """Copy the samples at ``indices`` (N,) into one batch.

        :raises InputError: an index is outside the dataset, or there is none.
        """
        if len(indices) == 0 or np.min(indices) < 0 or np.max(indices) >= len(self):
            raise InputError(f"Sample indices must lie in 0..{len(self) - 1}, and be at least one.")
        places = np.searchsorted(self._starts, indices, side="right") - 1
        rows = [(self.shards[p], int(i - self._starts[p])) for p, i in zip(places, indices, strict=True)]

        def gather(name: str) -> Array:
            return np.stack([getattr(shard, name)[row] for shard, row in rows])

        with_mean = all(shard.mean_depth is not None for shard, _ in rows)
        arrays = {name: gather(name) for name in ARRAYS}
        return Samples(**arrays, mean_depth=gather("mean_depth") if with_mean else None)


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz file that appears whole or not at all.

    :raises OutputError: the place cannot be written or its disk is full.
    """
    # numpy leaves a half-written archive open when a write fails, which then complains on its own.
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_dataset(folder: Path, split: str) -> Dataset:
    """Read every shard ``{split}-*.npz`` of ``folder``.

    :raises InputError: there is none, or one is damaged or not what `Samples` says.
    """
    paths = sorted(folder.glob(f"{split}-*.npz"))
    if split not in SPLITS or not paths:
        raise InputError(f"There is no {split} shard in {folder}; make the data with: prosopon data faces")
    return Dataset([load_shard(path) for path in paths])


def load_shard(path: Path) -> Samples:
    """Read and check one shard.

    :raises InputError: the file is damaged, too large or not what `Samples` says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_SHARD_BYTES:
                raise InputError(f"{path} is larger than a shard may be (1 GiB).")
        with np.load(path, allow_pickle=False) as data:
            mean = data["mean_depth"] if "mean_depth" in data.files else None
            samples = Samples(**{name: data[name] for name in ARRAYS}, mean_depth=mean)
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{path} is not a usable shard ({error}); make it again.") from error
    _check(samples, path)
    return samples


def _check(samples: Samples, path: Path) -> None:
    """Refuse arrays of a wrong shape, dtype or with values that would poison training."""
    if samples.image.ndim != 4:
        raise InputError(f"{path}: image must be (n, S, S, 3).")
    count, size = samples.image.shape[:2]
    plane = (count, size, size)
    expected = {
        "image": ((*plane, 3), np.uint8),
        "depth": (plane, np.float16),
        "normal": ((*plane, 3), np.int8),
        "flags": (plane, np.uint8),
        "landmarks": ((count, LANDMARKS, 2), np.float32),
        "identity": ((count, IDENTITIES), np.float32),
        "expression": ((count, EXPRESSIONS), np.float32),
        "sight": ((count, 2), np.float32),
        "camera": ((count, 4), np.float32),
        "crop": ((count, 4), np.float32),
    }
    expected |= dict.fromkeys(("kind", "topology", "tone"), ((count,), np.uint8))
    expected |= dict.fromkeys(("yaw", "pitch", "distance", "occlusion"), ((count,), np.float32))
    if samples.mean_depth is not None:
        expected["mean_depth"] = (plane, np.float16)
    for name, (shape, dtype) in expected.items():
        array = getattr(samples, name)
        if array.shape != shape or array.dtype != dtype:
            raise InputError(f"{path}: {name} is {array.dtype} {array.shape}, not {dtype.__name__} {shape}.")
    if count < 1 or not 16 <= size <= MAX_SIZE or size % 16:
        raise InputError(f"{path}: {count} samples of {size} px; sizes are multiples of 16 up to {MAX_SIZE}.")
    for name in ("depth", *FINITE):
        if not np.isfinite(getattr(samples, name)).all():
            raise InputError(f"{path}: {name} holds NaN or infinity; make the shard again.")
    if samples.kind.max() > PHOTO or samples.topology.max() > ANNY or samples.flags.max() >= 2 * HAIR:
        raise InputError(f"{path}: kind, topology or flags hold values without a meaning.")
