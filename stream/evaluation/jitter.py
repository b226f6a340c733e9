"""How calm and how prompt the live depth is: jitter on a still face, lag on a moving one.

The real chain of live capture (`stream.session`: tracker, landmark smoothing, depth network,
temporal smoothing, mesh) is stepped frame by frame, once with and once without its smoothing.

* **Jitter**: a photograph as a still clip (`stream.evaluation.clips`). Depth is read at fixed points of
  the photo's skin, in millimetres at the chain's own scale; a point's jitter is its standard deviation over
  time after `WARM_UP` frames. Distance, which the pose alone fixes, is reported beside it.
* **Lag**: the delay at which the smoothed signal correlates best with its reference (`lag_frames`). On a
  photo moved along a known path the reference is that path. For depth, there and on a recorded clip, it is
  the unsmoothed chain's, at points fixed on the photo or at the landmarks; both are read at the same places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stream.errors import FaceError, InputError
from stream.evaluation.clips import PhotoClip, moving_clip, still_clip
from stream.evaluation.keep import KeepCaptures, ListedFrames
from stream.geometry import crop_from_image, transform_points
from stream.recipes import CaptureSettings
from stream.session import Session
from stream.types import Array, Capture, Face, Frame

WARM_UP = 30
"""Frames, one second, that filters get to settle before jitter is measured."""

GRID = 32
"""Skin is measured at the points of a grid of this many by this many over the crop."""

SKIN_MARGIN = 0.06
"""Crop units by which the measured skin stays inside the outline of the landmarks, where depth is steep."""

LAG_BLUR = 1.5
"""Frames: both signals are low-passed by this Gaussian, which shifts neither, so that noise has no say."""

LAGS = np.arange(-3.0, 8.01, 0.05)

MODES = {"raw": False, "smooth": True}

TRACES = {"nose": (1,), "cheek": (50,), "mouth": (13, 14)}
"""Places of which the course over time is kept: the mean of these landmarks. The last is between the lips."""

SHORTEST = 30
"""Frames; a shorter clip tells no lag."""

LEAST_COUNT = WARM_UP + SHORTEST


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found on one photo or recording.

    :ivar figures: by clip, plain numbers; NaN where nothing moves.
    :ivar traces: by clip and mode (``raw``, ``smooth``): (T, K) depth in mm at `TRACES` over time.
    """

    figures: dict[str, Any]
    traces: dict[str, dict[str, Array]]


def run_chain(frames: Iterable[Frame], settings: CaptureSettings, smooth: bool) -> list[Capture]:
    """Every frame through a live session, none dropped, up to everybody's depth.

    :raises ConfigError, BackendError, ModelError: a stage cannot open.
    """
    keep = KeepCaptures("depth")
    Session(ListedFrames(frames), [keep], settings.model_copy(update={"smooth": smooth})).run()
    return keep.captures


def measure_photo(photo: Array, settings: CaptureSettings | None = None, count: int = 120) -> Measurement:
    """Jitter of a still face, under a still camera and a trembling one, and lag of a moving face.

    :param photo: (H, W, 3) uint8 RGB with one face.
    :param count: frames of each clip, at least `LEAST_COUNT`.
    :returns: figures of the clips ``still``, ``shaken`` and ``moving``.
    :raises FaceError: there is no face, or the tracker loses it.
    :raises InputError: the photo is of another kind or ``count`` is too small.
    """
    if count < LEAST_COUNT:
        raise InputError(f"Jitter needs a clip of at least {LEAST_COUNT} frames, not {count}.")
    settings = settings or CaptureSettings()
    clips = {
        "still": still_clip(photo, count),
        "shaken": still_clip(photo, count, shake=True),
        "moving": moving_clip(photo, count),
    }
    figures: dict[str, Any] = {}
    traces: dict[str, dict[str, Array]] = {}
    skin: dict[str, Array] = {}
    for name, clip in clips.items():
        places = list(clip.points(_traced(clip.face)))
        figures[name], traces[name] = {}, {}
        for mode, smooth in MODES.items():
            captures = run_chain(clip.frames(), settings, smooth)
            judge = moving_figures if name == "moving" else still_figures
            figures[name][mode] = judge(clip, captures)
            traces[name][mode] = depth_signals(captures, places)
            if name == "moving":
                skin[mode] = depth_signals(captures, list(clip.points(skin_points(clip.face))))
    both = np.isfinite(skin["raw"]).all(axis=0) & np.isfinite(skin["smooth"]).all(axis=0)
    for mode in MODES:
        figures["moving"][mode]["lag_depth"] = lag_frames(skin[mode][:, both], skin["raw"][:, both])
    return Measurement(figures, traces)


def measure_recording(frames: list[Frame], settings: CaptureSettings | None = None) -> Measurement:
    """Lag of the smoothed depth behind the unsmoothed one on recorded motion.

    :returns: figures of the one clip ``recording``: ``frames`` used (the longest run with a face),
        ``lag_depth`` over all landmarks and ``lag_mouth`` between the lips, frames; ``motion_mm`` and
        ``trail_mm``, medians over the landmarks of the depth's standard deviation over time and of the
        smoothed depth's RMS distance from the raw, which holds the noise of both.
    :raises FaceError: the face is not seen for `SHORTEST` frames on end.
    """
    settings = settings or CaptureSettings()
    raw, smooth = (run_chain(frames, settings, smoothing) for smoothing in MODES.values())
    first, last = _longest_run([bool(a.people and b.people) for a, b in zip(raw, smooth, strict=True)])
    if last - first < SHORTEST:
        raise FaceError("The recording shows no face for long enough to measure lag; choose another.")
    raw, smooth = raw[first:last], smooth[first:last]
    points = [np.vstack([c.people[0].face.landmarks[:, :2], _traced(c.people[0].face)]) for c in raw]
    before, after = depth_signals(raw, points), depth_signals(smooth, points)
    inside = np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0)
    mouth = inside & (np.arange(inside.size) == inside.size - 1)
    figures = {
        "frames": last - first,
        "lag_depth": lag_frames(after[:, inside], before[:, inside]),
        "lag_mouth": lag_frames(after[:, mouth], before[:, mouth]),
        "motion_mm": _median(before[:, inside].std(axis=0)),
        "trail_mm": _median(np.sqrt(((after - before)[:, inside] ** 2).mean(axis=0))),
    }
    count = len(TRACES)
    return Measurement(
        {"recording": figures}, {"recording": {"raw": before[:, -count:], "smooth": after[:, -count:]}}
    )


def still_figures(clip: PhotoClip, captures: list[Capture]) -> dict[str, float]:
    """Millimetres: median and 95th percentile over the skin of depth's jitter, and the distance's jitter.

    :raises FaceError: the tracker lost the face.
    """
    _all_seen(captures)
    signals = skin_signals(clip, captures)[WARM_UP:]
    jitter = signals.std(axis=0)
    return {
        "depth_median_mm": _median(jitter),
        "depth_p95_mm": float(np.percentile(jitter, 95)),
        "distance_mm": float(np.std([c.people[0].face.pose[2, 3] for c in captures[WARM_UP:]])),
        "points": jitter.size,
    }


def moving_figures(clip: PhotoClip, captures: list[Capture]) -> dict[str, float]:
    """Frames by which the crop's place, turn and size trail the known path.

    :raises FaceError: the tracker lost the face.
    """
    _all_seen(captures)
    found, truth = (
        np.array([(crop.x, crop.y, crop.angle, np.log(crop.half)) for crop in crops])
        for crops in ([c.people[0].face.crop for c in captures], clip.crops())
    )
    signals = skin_signals(clip, captures)[WARM_UP:]
    return {
        "lag_place": lag_frames(found[:, :2], truth[:, :2]),
        "lag_turn": lag_frames(found[:, 2:3], truth[:, 2:3]),
        "lag_size": lag_frames(found[:, 3:], truth[:, 3:]),
        "depth_median_mm": _median(signals.std(axis=0)),
    }


def skin_signals(clip: PhotoClip, captures: list[Capture]) -> Array:
    """(T, N) float64 depth in mm at skin points that are fixed on the photo's face.

    Points are left out that leave a crop in some frame or are not head in all of them.
    """
    points = clip.points(skin_points(clip.face))
    signals = depth_signals(captures, list(points))
    return signals[:, np.isfinite(signals).all(axis=0)]


def skin_points(face: Face) -> Array:
    """(N, 2) float64 image points on a grid over the face, `SKIN_MARGIN` within its landmarks' hull."""
    hull = cv2.convexHull(face.landmarks[:, :2].astype(np.float32))
    x, y = face.landmarks[:, 0], face.landmarks[:, 1]
    grid = np.stack(
        np.meshgrid(np.linspace(x.min(), x.max(), GRID), np.linspace(y.min(), y.max(), GRID)), -1
    ).reshape(-1, 2)
    margin = SKIN_MARGIN * face.crop.half
    keep = [cv2.pointPolygonTest(hull, (float(px), float(py)), True) > margin for px, py in grid]
    return grid[keep].astype(np.float64)


def depth_signals(captures: list[Capture], points: list[Array]) -> Array:
    """(T, N) float64 depth in mm at image points (N, 2) of each capture; NaN off the head or its crop.

    One scale, the captures' mean, serves all of them: jitter of the distance stays out.
    """
    scale = np.mean([c.people[0].face.pose[2, 3] / c.people[0].face.intrinsics.fx for c in captures])
    rows = []
    for capture, places in zip(captures, points, strict=True):
        person = capture.people[0]
        crop, depth = person.face.crop, person.depth
        assert depth is not None
        pixels = transform_points(crop_from_image(crop, depth.map.shape[0]), places).astype(np.float32)
        values, mask = (_sample(part, pixels) for part in (depth.map, depth.mask))
        rows.append(np.where(mask > 0.5, values * (crop.half * scale), np.nan))
    return np.array(rows, dtype=np.float64)


def lag_frames(signal: Array, reference: Array) -> float:
    """Frames by which signals trail their references, to a twentieth: where their correlation peaks.

    Both are low-passed by the same Gaussian of `LAG_BLUR` frames, centred in time, which shifts neither; the
    correlation sums over all columns, so that those which move count.

    :param signal, reference: (T, K); T of at least `SHORTEST`.
    :returns: within `LAGS`; NaN where nothing moves or K is 0.
    :raises InputError: shapes differ, T is too small or a value is not finite.
    """
    if signal.shape != reference.shape or signal.ndim != 2 or len(signal) < SHORTEST:
        raise InputError(f"Lag needs two (T, K) signals of {SHORTEST} frames or more, not {signal.shape}.")
    if not (np.isfinite(signal).all() and np.isfinite(reference).all()):
        raise InputError("Lag cannot be measured on signals that hold NaN or infinity.")
    if not signal.size:
        return float("nan")
    signal, reference = _low_pass(signal), _low_pass(reference)
    scores = [_correlation(signal, reference, lag) for lag in LAGS]
    return float("nan") if np.isnan(scores).all() else round(float(LAGS[int(np.nanargmax(scores))]), 2)


def _low_pass(values: Array) -> Array:
    reach = int(np.ceil(3 * LAG_BLUR))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / LAG_BLUR) ** 2)
    windows = np.lib.stride_tricks.sliding_window_view(values.astype(np.float64), 2 * reach + 1, axis=0)
    return np.asarray(windows @ (kernel / kernel.sum()))


def _correlation(signal: Array, reference: Array, lag: float) -> float:
    """Of ``signal`` at t with ``reference`` at t - lag, interpolated, where both are known."""
    at = np.arange(len(signal)) - lag
    inside = (at >= 0) & (at <= len(signal) - 1)
    low = np.clip(np.floor(at[inside]).astype(int), 0, len(signal) - 2)
    part = (at[inside] - low)[:, None]
    a, b = signal[inside], reference[low] * (1 - part) + reference[low + 1] * part
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    power = float((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / np.sqrt(power)) if power > 1e-12 else float("nan")


def _sample(picture: Array, pixels: Array) -> Array:
    """(N,) bilinear values at (N, 2) pixels, NaN outside."""
    sampled = cv2.remap(
        picture,
        pixels[None, :, 0],
        pixels[None, :, 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float("nan"),
    )
    return np.asarray(sampled[0])


def _traced(face: Face) -> Array:
    """(K, 2) image points of `TRACES`."""
    points = face.landmarks[:, :2].astype(np.float64)
    return np.array([points[list(indices)].mean(axis=0) for indices in TRACES.values()])


def _all_seen(captures: list[Capture]) -> None:
    missing = sum(not capture.people for capture in captures)
    if missing:
        raise FaceError(f"The tracker loses the face in {missing} frames of the clip; use another photo.")


def _longest_run(seen: list[bool]) -> tuple[int, int]:
    """First and one past last index of the longest run of True."""
    best, start = (0, 0), 0
    for index, value in enumerate([*seen, False]):
        if not value:
            best = max(best, (start, index), key=lambda run: run[1] - run[0])
            start = index + 1
    return best


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else float("nan")
