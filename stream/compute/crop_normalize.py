"""`crop_normalize`: camera frames become what the networks take, without an 8-bit picture in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.arrays import DeviceArray, empty, is_device, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.dispatch import ComputeArray, check_array, check_out, chosen_backend
from stream.compute.nv12 import BT601, PitchedNv12
from stream.errors import InputError
from stream.types import Array

LAYOUTS = ("rgb", "bgr", "nv12")
DTYPES = ("float32", "float16", "uint8")

MAX_SIZE = 2048
MAX_SIDE = 16384
"""Longest side of a frame: its bytes must be countable by 32 bits."""
MAX_CROPS = 65535
"""A launch's grid has no more layers."""
MAX_REACH = 1e6
"""Pixels from the frame's corner to a crop's."""
MAX_TAPS = 32
"""Pixels read along a side of a crop pixel's footprint; of a wider one every second, third, ... is read."""
SIMILAR = 1e-4
"""How far, of its scale, a matrix may be from a similarity: single precision passes."""

RECORD = np.dtype(
    [
        ("frame", "u8"),
        ("chroma", "u8"),
        ("matrix", "f4", (6,)),
        ("box", "f4", (2,)),
        ("origin", "i4", (2,)),
        ("side", "i4", (2,)),
        ("stride", "i4", (2,)),
        ("width", "i4"),
        ("height", "i4"),
        ("pitch", "i4"),
        ("frame_of", "i4"),
    ],
    align=True,
)
"""What a kernel knows of one crop; mirrors CropRecord in kernels/crop_normalize.cu."""


@dataclass(frozen=True, slots=True)
class CropTable:
    """Where the plan of up to ``capacity`` crops stays, for launches that are captured into a CUDA graph.

    :ivar host: (capacity,) `RECORD` in page-locked memory, which every replay uploads anew: write it with
        `plan_crops` once the launch that used it last is done.
    :ivar device: its copy.
    """

    host: Array
    device: DeviceArray


def crop_table(capacity: int) -> CropTable:
    """A table in the current driver's memory.

    :raises InputError: the capacity is not within 1..65535.
    :raises BackendError: there is no driver, or its memory is full.
    """
    if not 1 <= capacity <= MAX_CROPS:
        raise InputError(f"A table of {capacity} crops cannot be made; it must hold 1 to {MAX_CROPS}.")
    driver, nbytes = current_driver(), capacity * RECORD.itemsize
    host = driver.pinned((nbytes,), "uint8").view(RECORD)
    return CropTable(host, empty(driver, (nbytes,), np.uint8))


def crop_normalize(
    frames: Sequence[ComputeArray],
    frame_of: Array | Sequence[int],
    image_from_crop: Array,
    size: int,
    layout: str = "rgb",
    dtype: str = "float32",
    out: ComputeArray | None = None,
    table: CropTable | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> ComputeArray:
    """Cut crops out of frames, antialiased, brought to [-1, 1], channels first (R, G, B), in one launch.

    The filter is the one the networks were trained with, `stream.depth.preprocess.to_network` after
    `stream.face.crop.crop_image`, without its roundings to 8 bits: bilinear where a crop pixel spans at
    most two frame pixels; else the frame pixels under the crop are first averaged by boxes of two thirds of
    a crop pixel, on the same grid as there. Outside a frame its border pixels are repeated. Boxes wider
    than 16 pixels are sampled by `MAX_TAPS`, so that a crop pixel never reads more than 34 x 34.

    NV12 is decoded by ITU-R BT.601, limited range (what webcams and WebRTC send unless they say otherwise),
    or as a `PitchedNv12` says, with chroma sited as in MPEG-2 and by default in H.264: on even columns,
    midway between two rows. Each frame pixel's chroma is interpolated linearly and its colour clipped to
    0..255 before it is filtered.

    :param frames: (H, W, 3) uint8, or for nv12 (H * 3 / 2, W) uint8 with H and W even or `PitchedNv12`;
        sizes may differ. All on the host or all on the device, and of one decoding.
    :param frame_of: (N,) which frame each crop is cut from.
    :param image_from_crop: (N, 2, 3) similarities, crop pixels of ``size`` to image pixels
        (`stream.geometry.image_from_crop`); on the host.
    :param size: S, pixels of a crop's side, 1..2048.
    :param layout: ``rgb``, ``bgr`` or ``nv12``.
    :param dtype: ``float32``; ``float16``, the same values rounded to nearest even; or ``uint8``, pictures
        (N, S, S, 3) of grey levels, such as a mesh's texture.
    :param out: buffer of that dtype, where the frames are.
    :param table: of `crop_table`, for device frames; a call that is captured into a CUDA graph needs one.
        Without it, the plan goes to the device by a buffer kept for each stream.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; device frames are cropped on the device.
    :returns: the crops, where the frames are; ``out`` (or a view of it) where it was given.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    memory = [frame.luma if isinstance(frame, PitchedNv12) else frame for frame in frames]
    backend = chosen_backend(compute, *memory, out, None if table is None else table.device)
    if dtype not in DTYPES:
        raise InputError(f"Crops cannot be {dtype}; choose one of: {', '.join(DTYPES)}.")
    given = check_frames(frames, layout)
    driver = current_driver() if backend == "cuda" else None
    queue = driver.default_stream if driver and stream is None else stream
    if driver and not is_device(memory[0]):
        given = [to_device(driver, frame, queue) for frame in given]
    records = plan_crops(
        given, frame_of, image_from_crop, size, layout, None if table is None else table.host
    )
    shape = (len(records), *((size, size, 3) if dtype == "uint8" else (3, size, size)))
    target = None if out is None else check_out("crops", out, dtype, shape)
    kernel = load_twin("crop_normalize", backend).crop_normalize
    if driver is None:
        target = np.empty(shape, dtype) if target is None else target
        kernel(given, records, layout, target, None, None)
        return target
    result = target if is_device(target) else empty(driver, shape, dtype)
    kernel(given, records, layout, result, table, queue)
    if is_device(memory[0]):
        return result
    host = to_host(driver, result, queue)
    if target is None:
        return host
    target[...] = host
    return target


def check_frames(frames: Sequence[ComputeArray], layout: str) -> list[ComputeArray]:
    """The frames, contiguous, device ones as `DeviceArray`.

    :raises InputError: the layout is unknown, there is no frame, or one is not as it says.
    """
    if layout not in LAYOUTS:
        raise InputError(f"There is no frame layout {layout!r}; choose one of: {', '.join(LAYOUTS)}.")
    if not frames:
        raise InputError("There is no frame to cut crops from; give at least one.")
    shape = (None, None) if layout == "nv12" else (None, None, 3)
    checked: list[ComputeArray] = []
    for number, frame in enumerate(frames):
        if isinstance(frame, PitchedNv12) and layout == "nv12":
            frame.check(f"frame {number}", MAX_SIDE)
            checked.append(frame)
            continue
        array = check_array(f"frame {number}", frame, np.uint8, shape)
        height, width = _image_size(array, layout)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise InputError(
                f"Frame {number} has {width}x{height} pixels; its sides must be 1 to {MAX_SIDE}."
            )
        if layout == "nv12" and (array.shape[0] % 3 or width % 2):
            raise InputError(
                f"Frame {number}, {array.shape}, is not NV12: H * 3 / 2 rows of W bytes, H and W even."
            )
        checked.append(np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array)
    if len({getattr(frame, "decoding", BT601) for frame in checked}) > 1:
        raise InputError(
            "The frames' colours are coded in different ways; cut crops out of each kind by itself."
        )
    return checked


def plan_crops(
    frames: Sequence[ComputeArray],
    frame_of: Array | Sequence[int],
    image_from_crop: Array,
    size: int,
    layout: str = "rgb",
    out: Array | None = None,
) -> Array:
    """What the kernels need to know of each crop: the plan of `stream.face.crop.crop_image` as numbers.

    With ``out`` = ``table.host`` this is all that a replayed CUDA graph needs for its next frame.

    :param frames: as `crop_normalize` takes them; the addresses of device frames are kept.
    :param out: (N or more,) `RECORD` to write to.
    :returns: (N,) `RECORD`, the first N of ``out`` where it was given.
    :raises InputError: a shape or value does not fit.
    """
    matrices, indices = _check_crops(image_from_crop, frame_of, len(frames), size)
    count = len(indices)
    if out is not None and (out.dtype != RECORD or out.ndim != 1 or len(out) < count):
        raise InputError(f"The crop table has no room for {count} crops; make a larger one with crop_table.")
    records = np.zeros(count, RECORD) if out is None else out[:count]
    if count == 0:
        return records
    sizes = np.array([_image_size(frame, layout)[::-1] for frame in frames])[indices]
    middle = (size - 1) / 2
    centre = matrices[:, :, 0] * middle + matrices[:, :, 1] * middle + matrices[:, :, 2]
    step = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    reach = np.abs(matrices[:, :, :2]).sum(axis=2) * (size / 2)
    if (np.abs(centre) + reach > MAX_REACH).any():
        raise InputError("A crop lies too far outside its frame; check image_from_crop.")
    # A matrix made of round numbers must lead to the same whole pixels as the crop it was made from.
    centre, step, reach = np.round(centre, 9), np.round(step, 9), np.round(reach, 9)
    # As crop_image: the window around the crop and the size it is shrunk to (area averages).
    low = np.maximum(0, np.trunc(centre - reach - 2))
    high = np.minimum(sizes, np.trunc(centre + reach + 2) + 2)
    shrunk = (step > 2) & (high - low >= 2).all(axis=1)
    low, high = np.where(shrunk[:, None], low, 0), np.where(shrunk[:, None], high, sizes)
    side = np.where(shrunk[:, None], np.maximum(1, np.rint((high - low) * (1.5 / step[:, None]))), high)
    scale = side / (high - low)
    matrices = matrices * scale[:, :, None]
    matrices[:, :, 2] += (0.5 - low) * scale - 0.5
    records["matrix"] = matrices.reshape(count, 6)
    records["box"], records["origin"], records["side"] = 1 / scale, low, side
    records["stride"] = np.maximum(1, np.ceil(2 / scale / MAX_TAPS))
    records["width"], records["height"], records["frame_of"] = sizes[:, 0], sizes[:, 1], indices
    for name, values in _memory(frames, layout).items():
        records[name] = values[indices]
    return records


def _memory(frames: Sequence[ComputeArray], layout: str) -> dict[str, Array]:
    """Of each frame: the device addresses of its planes, and bytes from row to row."""
    places = []
    for frame in frames:
        if isinstance(frame, PitchedNv12):
            places.append((frame.luma.pointer, frame.chroma.pointer, frame.pitch))
            continue
        (height, width), pointer = _image_size(frame, layout), getattr(frame, "pointer", 0)
        places.append((pointer, pointer + height * width, width if layout == "nv12" else 3 * width))
    return dict(zip(("frame", "chroma", "pitch"), np.array(places, np.uint64).T, strict=True))


def _image_size(frame: ComputeArray, layout: str) -> tuple[int, int]:
    if isinstance(frame, PitchedNv12):
        return frame.height, frame.width
    height, width = frame.shape[:2]
    return (height * 2 // 3 if layout == "nv12" else height), width


def _check_crops(
    image_from_crop: Array, frame_of: Array | Sequence[int], frames: int, size: int
) -> tuple[Array, Array]:
    if not isinstance(size, int | np.integer) or not 1 <= size <= MAX_SIZE:
        raise InputError(f"Crops of size {size} cannot be made; the size must be 1 to {MAX_SIZE}.")
    indices, matrices = np.asarray(frame_of), np.asarray(image_from_crop)
    shape = (indices.size, 2, 3)
    if matrices.dtype.kind != "f" or matrices.shape != shape or not np.isfinite(matrices).all():
        raise InputError(
            f"image_from_crop must be finite floats {shape}, one for each of frame_of, "
            f"not {matrices.dtype.name} {matrices.shape}."
        )
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and indices.size) or indices.size > MAX_CROPS:
        raise InputError(f"frame_of must be up to {MAX_CROPS} integers, one for each crop.")
    if indices.size and (indices.min() < 0 or indices.max() >= frames):
        raise InputError(f"frame_of must count from 0 to {frames - 1}, for there are {frames} frames.")
    matrices = matrices.astype(np.float64)
    c, s = matrices[:, 0, 0], matrices[:, 1, 0]
    scale = np.hypot(c, s)
    off = np.maximum(np.abs(matrices[:, 1, 1] - c), np.abs(matrices[:, 0, 1] + s))
    if (scale < 1 / MAX_REACH).any() or (off > SIMILAR * scale).any():
        raise InputError("image_from_crop must only turn, scale and shift, as that of stream.geometry does.")
    return matrices, indices.astype(np.intp)
