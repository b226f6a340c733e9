"""Jitter and lag: the measures against known answers, the clips and the chain against their promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import capture_with

from stream.errors import FaceError, InputError
from stream.evaluation import clips, jitter
from stream.evaluation.clips import PhotoClip, moving_clip, still_clip, webcam_picture
from stream.evaluation.jitter import Measurement, depth_signals, lag_frames, run_chain, still_figures
from stream.evaluation.jitter_plot import draw_traces
from stream.geometry import intrinsics_from_fov
from stream.recipes import CaptureSettings
from stream.sources.images import read_image
from stream.sources.sample import ASTRONAUT, find_data
from stream.types import Array, Capture, Crop, Depth, Face, Frame


@pytest.fixture(scope="module")
def photo() -> Array:
    path = find_data(*ASTRONAUT)
    assert path is not None
    return read_image(path)


def course(length: int = 120) -> Array:
    time = np.arange(length)
    return np.stack([np.sin(time / 7), np.cos(time / 4.3) + 0.3 * np.sin(time / 2.9)], axis=1)


@pytest.mark.parametrize("lag", [0.0, 1.0, 3.0, -2.0])
def test_a_delay_by_whole_frames_is_found(lag: float) -> None:
    whole = course(140)
    start = 10
    late = whole[start - int(lag) : start - int(lag) + 110]
    assert lag_frames(late, whole[start : start + 110]) == pytest.approx(lag, abs=0.051)


def test_an_exponential_filter_lags_as_theory_says() -> None:
    """y += (1 - k)(x - y) delays slow signals by k / (1 - k) frames."""
    keep, signal = 0.6, np.sin(np.arange(300) / 25)[:, None]
    smooth = signal.copy()
    for index in range(1, 300):
        smooth[index] = keep * smooth[index - 1] + (1 - keep) * signal[index]
    assert lag_frames(smooth[50:], signal[50:]) == pytest.approx(keep / (1 - keep), abs=0.1)


def test_noise_and_still_columns_do_not_move_the_lag() -> None:
    random = np.random.default_rng(0)
    whole = np.concatenate([course(130), np.zeros((130, 3))], axis=1)
    late, now = whole[8:118], whole[10:120]
    noisy = late + random.normal(0, 0.2, late.shape)
    assert lag_frames(noisy, now + random.normal(0, 0.2, now.shape)) == pytest.approx(2.0, abs=0.25)


def test_where_nothing_moves_there_is_no_lag() -> None:
    assert np.isnan(lag_frames(np.ones((60, 2)), np.ones((60, 2))))
    assert np.isnan(lag_frames(np.empty((60, 0)), np.empty((60, 0))))


@pytest.mark.parametrize(
    ("signal", "reference"),
    [
        (np.zeros((60, 2)), np.zeros((60, 3))),
        (np.zeros((20, 2)), np.zeros((20, 2))),
        (np.zeros(60), np.zeros(60)),
        (np.full((60, 1), np.nan), np.zeros((60, 1))),
    ],
)
def test_signals_that_cannot_be_compared_are_refused(signal: Array, reference: Array) -> None:
    with pytest.raises(InputError):
        lag_frames(signal, reference)


def capture_of(depth: Array, mask: Array, crop: Crop, distance: float = 500.0) -> Capture:
    camera = intrinsics_from_fov(640, 480)
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = distance
    face = Face(0, np.zeros((478, 3), np.float32), pose, crop, camera)
    return capture_with(Frame(np.zeros((1, 1, 3), np.uint8), 0.0, 0, "t"), (face,), (Depth(depth, mask),))


def test_depth_is_read_where_the_point_lies_in_each_crop_and_in_millimetres() -> None:
    """One plane in space, seen through two crops of other places, turns and sizes."""
    captures, size = [], 64
    points = np.array([[310.0, 230.0], [330.0, 250.0], [900.0, 100.0]])
    for crop in (Crop(320.0, 240.0, 60.0, 0.0), Crop(326.0, 235.0, 80.0, 0.4)):
        axis = (2 * np.arange(size) + 1) / size - 1
        x, y = np.meshgrid(axis, axis)
        c, s = np.cos(crop.angle), np.sin(crop.angle)
        image_x = crop.x + crop.half * (c * x - s * y)
        depth = (0.01 * (image_x - 320) / crop.half).astype(np.float32)
        captures.append(capture_of(depth, np.ones_like(depth), crop))
    signals = depth_signals(captures, [points, points])
    mm = 500 / captures[0].people[0].face.intrinsics.fx
    np.testing.assert_allclose(signals[:, :2], np.tile([-0.1 * mm, 0.1 * mm], (2, 1)), rtol=1e-2)
    assert np.isnan(signals[:, 2]).all()


def test_jitter_is_the_standard_deviation_in_mm(monkeypatch: pytest.MonkeyPatch) -> None:
    random, count, sigma = np.random.default_rng(1), 400, 0.004
    crop = Crop(320.0, 240.0, 120.0, 0.0)
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:, :2] = random.uniform((240, 160), (400, 320), (478, 2))
    captures = [
        capture_of(
            np.full((16, 16), random.normal(0, sigma), np.float32), np.ones((16, 16), np.float32), crop
        )
        for _ in range(count)
    ]
    face = replace(captures[0].people[0].face, landmarks=landmarks)
    placements = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]]), (count, 1, 1))
    figures = still_figures(PhotoClip(np.zeros((1, 1, 3), np.uint8), face, placements), captures)
    mm = 120 / face.intrinsics.fx * 500
    assert figures["depth_median_mm"] == pytest.approx(sigma * mm, rel=0.1)
    assert figures["depth_p95_mm"] == pytest.approx(sigma * mm, rel=0.1)
    assert figures["distance_mm"] == 0
    with pytest.raises(FaceError, match="loses the face"):
        still_figures(
            PhotoClip(np.zeros((1, 1, 3), np.uint8), face, placements), [replace(captures[0], people=())]
        )


def test_the_longest_run_is_found() -> None:
    seen = [True, False, True, True, True, False, True, True]
    assert jitter._longest_run(seen) == (2, 5)
    assert jitter._longest_run([False]) == (0, 0)


def test_a_webcam_picture_has_noise_of_its_own_and_no_bias() -> None:
    flat = np.full((120, 160, 3), 120, np.uint8)
    random = np.random.default_rng(2)
    one, two = (webcam_picture(flat, random).astype(float) for _ in range(2))
    grey = [picture.mean(axis=2) for picture in (one, two)]
    assert 1.0 < grey[0].std() < clips.NOISE
    assert abs(np.corrcoef(grey[0].ravel(), grey[1].ravel())[0, 1]) < 0.05
    assert one.mean() == pytest.approx(120, abs=0.3)


def test_clips_move_as_they_say_and_are_the_same_every_time(photo: Array) -> None:
    still, moving = still_clip(photo, 40), moving_clip(photo, 40)
    shaken = still_clip(photo, 300, shake=True)
    assert np.ptp(still.placements, axis=0).max() == 0
    assert shaken.placements[:, :, 2].std(axis=0) == pytest.approx([clips.SHAKE] * 2, rel=0.35)
    # The face stands in the middle at the promised size, and its landmarks go where the picture goes.
    crop = still.crops()[0]
    assert (crop.x, crop.y, crop.half) == pytest.approx((319.5, 239.5, clips.HALF))
    places = np.array([(c.x, c.y) for c in moving.crops()])
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert 0.9 * clips.SPEED < speed.max() < 1.2 * clips.SPEED
    centre = np.array([[moving.face.crop.x, moving.face.crop.y]])
    np.testing.assert_allclose(moving.points(centre)[:, 0], places)
    first, again = (next(still.frames()) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.image.shape == (480, 640, 3)
    with pytest.raises(InputError):
        still_clip(photo, 0)


def test_a_picture_without_a_face_makes_no_clip() -> None:
    with pytest.raises(FaceError):
        still_clip(np.full((240, 320, 3), 90, np.uint8))


def test_too_short_clips_are_refused(photo: Array) -> None:
    with pytest.raises(InputError, match="at least"):
        jitter.measure_photo(photo, count=20)


def test_the_live_chain_is_calm_on_a_still_face(photo: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real tracker and network: what is asked of live depth, under 0.3 mm."""
    monkeypatch.setattr(jitter, "WARM_UP", 15)
    clip, settings = still_clip(photo, 45), CaptureSettings(threads=1)
    raw, smooth = (
        still_figures(clip, run_chain(clip.frames(), settings, smoothing)) for smoothing in (False, True)
    )
    assert raw["points"] > 200
    assert smooth["depth_median_mm"] < min(0.3, 0.6 * raw["depth_median_mm"])
    assert smooth["depth_p95_mm"] < raw["depth_p95_mm"]


def test_traces_become_a_picture(tmp_path: Path) -> None:
    traces = {"still": {mode: np.random.default_rng(3).normal(0, 1, (40, 3)) for mode in ("raw", "smooth")}}
    traces["still"]["raw"][:, 2] = np.nan
    path = tmp_path / "traces.png"
    draw_traces({"photo": Measurement({}, traces)}, path)
    picture = read_image(path)
    assert picture.shape[1] > 600
    assert picture.std() > 5


def chain_that_trails(frames: list[Frame], settings: CaptureSettings, smooth: bool) -> list[Capture]:
    """A face whose nose and mouth move apart, two frames late where it is smoothed; lost in one frame."""
    axis = (2 * np.arange(64) + 1) / 64 - 1
    random, found = np.random.default_rng(5), []
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:, :2] = random.uniform((260, 180), (380, 300), (478, 2))
    for frame in frames:
        time = frame.index - (2 if smooth else 0)
        depth = np.sin(time / 6) * axis[:, None] * 0.1 + np.cos(time / 4) * axis[None] * 0.1
        capture = capture_of(
            depth.astype(np.float32), np.ones((64, 64), np.float32), Crop(320.0, 240.0, 80.0, 0.0)
        )
        (person,) = capture.people
        seen = (replace(person, face=replace(person.face, landmarks=landmarks)),)
        found.append(replace(capture, frame=frame, people=() if frame.index == 3 else seen))
    return found


def test_a_recording_tells_how_far_smoothed_depth_trails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitter, "run_chain", chain_that_trails)
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), k / 30, k, "t") for k in range(100)]
    measured = jitter.measure_recording(frames)
    figures = measured.figures["recording"]
    assert figures["frames"] == 96  # after the frame without a face
    assert figures["lag_depth"] == pytest.approx(2.0, abs=0.051)
    assert figures["lag_mouth"] == pytest.approx(2.0, abs=0.051)
    raw, smooth = (measured.traces["recording"][mode] for mode in ("raw", "smooth"))
    np.testing.assert_allclose(smooth[2:], raw[:-2], atol=1e-6)
    assert 0 < figures["trail_mm"] < figures["motion_mm"]
    with pytest.raises(FaceError, match="long enough"):
        jitter.measure_recording(frames[:20])
