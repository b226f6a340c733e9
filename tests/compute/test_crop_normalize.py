"""crop_normalize against crop_image and to_network, its definition in float64, and known pictures."""

import math
from typing import Any

import cv2
import numpy as np
import pytest
from compute.host_driver import CountingDriver, compiler
from compute.places import PLACES, every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from skimage.data import astronaut

from stream.compute.crop_normalize import RECORD, crop_normalize, crop_table, plan_crops
from stream.compute.cuda.arrays import DeviceArray, empty, is_device, to_device, to_host
from stream.compute.cuda.current import current_driver, use_driver, why_no_driver
from stream.depth.preprocess import to_network
from stream.errors import BackendError, ConfigError, InputError
from stream.face.crop import crop_image
from stream.geometry import image_from_crop
from stream.types import Array, Crop

PHOTO = astronaut()
FACE = Crop(224.0, 110.0, 80.0, 0.1)

on_hardware = pytest.mark.parametrize("place", [place for place in PLACES if place != "numba"])


def matrices(size: int, *crops: Crop) -> Array:
    return np.stack([image_from_crop(crop, size) for crop in crops])


def grey(values: Array) -> Array:
    """Back to 0..255."""
    return (values.astype(np.float64) + 1) * 127.5


def cut(image: Array, crop: Crop, size: int, compute: str, layout: str = "rgb") -> Array:
    """One crop as (S, S, 3) grey levels."""
    result = crop_normalize([image], [0], matrices(size, crop), size, layout, compute=compute)
    return grey(result[0]).transpose(1, 2, 0)


def averaging(pixels: int, boxes: int) -> Array:
    """(boxes, pixels) matrix that averages a row of pixels by equal boxes."""
    edges = np.arange(boxes + 1) * pixels / boxes
    low, high = edges[:-1, None], edges[1:, None]
    at = np.arange(pixels)
    return np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, None) / (high - low)


def reference(image: Array, crop: Crop, size: int) -> Array:
    """crop_image's filter by its definition, in float64 and without any rounding: (S, S, 3) grey levels."""
    image, matrix = image.astype(np.float64), image_from_crop(crop, size)
    if 2 * crop.half / size > 2:
        reach = crop.half * (abs(math.cos(crop.angle)) + abs(math.sin(crop.angle))) + 2
        (left, top), (right, bottom) = (
            [max(0, int(at - reach)) for at in (crop.x, crop.y)],
            [min(n, int(at + reach) + 2) for at, n in zip((crop.x, crop.y), image.shape[1::-1], strict=True)],
        )
        if right - left >= 2 and bottom - top >= 2:
            factor = 1.5 * size / (2 * crop.half)
            sides = [max(1, round(n * factor)) for n in (right - left, bottom - top)]
            down, across = averaging(bottom - top, sides[1]), averaging(right - left, sides[0])
            image = np.einsum("iy,yxc,jx->ijc", down, image[top:bottom, left:right], across)
            scale = np.array([sides[0] / (right - left), sides[1] / (bottom - top)])
            matrix = matrix * scale[:, None]
            matrix[:, 2] += (0.5 - np.array([left, top])) * scale - 0.5
    row, column = np.mgrid[:size, :size]
    x, y = np.einsum("ak,kij->aij", matrix, np.stack([column, row, np.ones_like(row)]))
    planes = [map_coordinates(image[..., c], [y, x], order=1, mode="nearest") for c in range(3)]
    return np.stack(planes, axis=2)


def nv12_of(image: Array) -> Array:
    """NV12 of an RGB picture, by OpenCV (chroma averaged over blocks of four)."""
    height, width = image.shape[:2]
    planar = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    return np.concatenate([planar[:height], chroma.transpose(1, 2, 0).reshape(height // 2, width)])


def decoded(frame: Array) -> Array:
    """RGB float64 of an NV12 frame by BT.601's text (Kr = 0.299, Kb = 0.114), chroma on even columns."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    row, column = np.mgrid[:height, :width].astype(np.float64)
    chroma = frame[height:].reshape(height // 2, width // 2, 2).astype(np.float64)
    at = [row / 2 - 0.25, column / 2]
    cb, cr = (map_coordinates(chroma[..., k], at, order=1, mode="nearest") - 128 for k in (0, 1))
    luma = (frame[:height].astype(np.float64) - 16) / 219
    red, blue = luma + 1.402 * cr / 224, luma + 1.772 * cb / 224
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return np.clip(np.stack([red, green, blue], axis=2) * 255, 0, 255)


@every_place
@pytest.mark.parametrize(
    ("crop", "size"),
    [
        (Crop(224.0, 110.0, 60.0, 0.1), 192),
        (Crop(224.0, 110.0, 96.0, 0.0), 192),
        (Crop(224.3, 110.2, 120.0, -0.4), 128),
        (Crop(256.0, 256.0, 250.0, 0.3), 96),
        (Crop(256.0, 256.0, 256.0, 0.0), 24),
        (Crop(30.0, 480.0, 150.0, 0.7), 128),
        (Crop(30.0, 480.0, 150.0, 2.5), 64),
    ],
    ids=["enlarged", "same size", "smaller", "a fifth", "a twentieth", "over the edge", "over it, a fifth"],
)
def test_a_photo_is_cut_as_for_training(place: str, crop: Crop, size: int) -> None:
    expected = grey(to_network(crop_image(PHOTO, crop, size)))[0].transpose(1, 2, 0)
    with place_for(place) as compute:
        off = np.abs(cut(PHOTO, crop, size, compute) - expected)
    # Rounding to 8 bits alone is off by 1/4 on average and by 1/2 at most; crop_image rounds up to twice.
    assert off.mean() < 0.4
    assert np.percentile(off, 99) < 1.5
    assert off.max() < 6


@every_place
def test_where_not_every_pixel_is_read_it_is_still_about_the_same(place: str) -> None:
    crop = Crop(256.0, 256.0, 256.0, 0.2)
    expected = grey(to_network(crop_image(PHOTO, crop, 16)))[0].transpose(1, 2, 0)
    with place_for(place) as compute:
        off = np.abs(cut(PHOTO, crop, 16, compute) - expected)
    assert plan_crops([PHOTO], [0], matrices(16, crop), 16)["stride"].min() == 2
    assert off.mean() < 1
    assert np.percentile(off, 99) < 4


@every_place
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 99),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    size=st.integers(1, 40),
    half=st.floats(0.5, 60),
    x=st.floats(-20, 80),
    y=st.floats(-20, 80),
    angle=st.floats(-4, 4),
)
def test_any_crop_is_as_defined(
    place: str, seed: int, height: int, width: int, size: int, half: float, x: float, y: float, angle: float
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    crop = Crop(x, y, half, angle)
    stride = plan_crops([image], [0], matrices(size, crop), size)["stride"].max()
    with place_for(place) as compute:
        result = cut(image, crop, size, compute)
    assert image.min() - 1e-3 <= result.min()
    assert result.max() <= image.max() + 1e-3
    if stride == 1:
        # Single precision places a sample to about 1e-5 pixels, here of noise.
        np.testing.assert_allclose(result, reference(image, crop, size), atol=0.02)


@every_place
@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 99),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    size=st.integers(1, 24),
    half=st.floats(0.5, 40),
    angle=st.floats(-4, 4),
)
def test_any_nv12_crop_is_as_defined(
    place: str, seed: int, height: int, width: int, size: int, half: float, angle: float
) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (3 * height, 2 * width)).astype(np.uint8)
    crop = Crop(width * 0.9, height * 1.1, half, angle)
    if plan_crops([frame], [0], matrices(size, crop), size, "nv12")["stride"].max() > 1:
        return
    with place_for(place) as compute:
        result = cut(frame, crop, size, compute, "nv12")
    np.testing.assert_allclose(result, reference(decoded(frame), crop, size), atol=0.02)


@every_place
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 60, 90), (30, 160, 220)])
def test_one_colour_stays_in_every_layout(place: str, colour: tuple[int, int, int]) -> None:
    image = np.full((60, 80, 3), colour, np.uint8)
    frames = {"rgb": image, "bgr": image[..., ::-1], "nv12": nv12_of(image)}
    with place_for(place) as compute:
        for layout, frame in frames.items():
            for crop in (Crop(40.0, 30.0, 9.0, 0.5), Crop(20.0, 50.0, 60.0, 1.0)):
                off = np.abs(cut(frame, crop, 24, compute, layout) - colour)
                # NV12 itself holds colours to half a step of 1.16 (luma) and 2.02 levels (chroma).
                assert off.max() < (1.6 if layout == "nv12" else 1e-3)


@every_place
def test_an_nv12_photo_looks_like_the_photo(place: str) -> None:
    with place_for(place) as compute:
        off = np.abs(cut(nv12_of(PHOTO), FACE, 96, compute, "nv12") - cut(PHOTO, FACE, 96, compute))
    assert off.mean() < 2


@every_place
@pytest.mark.parametrize(("half", "tolerance"), [(20.0, 1e-3), (90.0, 0.05)])
def test_a_ramp_stays_a_ramp(place: str, half: float, tolerance: float) -> None:
    row, column = np.mgrid[:240, :250]
    image = np.stack([column, row, 255 - column], axis=2).astype(np.uint8)
    crop, size = Crop(120.3, 120.7, half, 0.3), 32
    row, column = np.mgrid[:size, :size]
    points = image_from_crop(crop, size) @ np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    points = points.reshape(2, size, size)
    inside = (points > 8).all(0) & (points < 232).all(0)
    with place_for(place) as compute:
        result = cut(image, crop, size, compute)
    assert inside.sum() > 500
    expected = np.stack([points[0], points[1], 255 - points[0]], axis=2)
    # Boxes with parts of pixels in them average the steps of the ramp, hence the tolerance when it shrinks.
    np.testing.assert_allclose(result[inside], expected[inside], atol=tolerance)


@every_place
@pytest.mark.parametrize(("half", "size"), [(30.0, 64), (60.0, 20)])
def test_a_moved_picture_gives_the_same_crop_of_the_moved_place(place: str, half: float, size: int) -> None:
    crop, moved = Crop(200.2, 150.6, half, 0.2), Crop(217.2, 139.6, half, 0.2)
    with place_for(place) as compute:
        expected = cut(PHOTO, crop, size, compute)
        result = cut(np.roll(PHOTO, (-11, 17), (0, 1)), moved, size, compute)
    np.testing.assert_allclose(result, expected, atol=5e-3)


@every_place
def test_a_crop_beside_the_picture_repeats_its_border(place: str) -> None:
    with place_for(place) as compute:
        for size in (8, 64):
            result = cut(PHOTO, Crop(-900.0, -700.0, 150.0, 0.7), size, compute)
            np.testing.assert_allclose(result, np.broadcast_to(PHOTO[0, 0], result.shape), atol=1e-4)


@every_place
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_batch_is_its_crops_one_by_one(place: str, dtype: str) -> None:
    frames = [PHOTO, PHOTO[:201, :333], PHOTO[100:, 40:]]
    crops = [FACE, Crop(150.0, 90.0, 40.0, -1.0), Crop(200.0, 100.0, 300.0, 0.0), Crop(0.0, 0.0, 33.0, 3.0)]
    frame_of = np.array([2, 0, 1, 1])
    with place_for(place) as compute:
        batch = crop_normalize(frames, frame_of, matrices(48, *crops), 48, dtype=dtype, compute=compute)
        single = [
            crop_normalize([frames[k]], [0], matrices(48, crop), 48, dtype=dtype, compute=compute)
            for k, crop in zip(frame_of, crops, strict=True)
        ]
    assert batch.shape == (4, 3, 48, 48)
    assert batch.dtype == dtype
    np.testing.assert_array_equal(batch, np.concatenate(single))


@every_place
def test_half_precision_is_single_precision_rounded(place: str) -> None:
    arguments = ([PHOTO], [0, 0], matrices(96, FACE, Crop(250.0, 250.0, 400.0, 0.1)), 96)
    with place_for(place) as compute:
        single = crop_normalize(*arguments, compute=compute)
        half = crop_normalize(*arguments, dtype="float16", compute=compute)
    np.testing.assert_array_equal(half, single.astype(np.float16))


@every_place
def test_bytes_are_the_grey_levels_rounded(place: str) -> None:
    arguments = ([PHOTO], [0, 0], matrices(40, FACE, FACE), 40)
    with place_for(place) as compute:
        single = crop_normalize(*arguments, compute=compute)
        picture = crop_normalize(*arguments, dtype="uint8", compute=compute)
    assert picture.shape == (2, 40, 40, 3)
    levels = (single.transpose(0, 2, 3, 1).astype(np.float64) + 1) * 127.5
    assert np.abs(picture - levels).max() <= 0.5 + 1e-4
    assert picture.std() > 20


@every_place
def test_bgr_is_rgb_the_other_way_round(place: str) -> None:
    with place_for(place) as compute:
        for size in (24, 96):
            result = cut(PHOTO[..., ::-1], FACE, size, compute, "bgr")
            np.testing.assert_array_equal(result, cut(PHOTO, FACE, size, compute))


@every_place
def test_a_huge_picture_costs_no_more_than_its_taps(place: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2400, 3)).astype(np.uint8)
    crop = Crop(1200.0, 1000.0, 1100.0, 0.3)
    plan = plan_crops([noise], [0], matrices(8, crop), 8)
    assert (2 * plan["box"] / plan["stride"]).max() <= 32
    with place_for(place) as compute:
        result = cut(noise, crop, 8, compute)
    # The mean of some 500 samples of deviation 74.
    assert np.abs(result - 127.5).max() < 20


@every_place
def test_a_given_buffer_is_filled_and_returned(place: str) -> None:
    out = np.full((1, 3, 32, 32), np.nan, np.float32)
    frame = PHOTO.copy()
    frame.flags.writeable = False
    with place_for(place) as compute:
        result = crop_normalize([frame], [0], matrices(32, FACE), 32, out=out, compute=compute)
        nothing = crop_normalize([frame], [], np.zeros((0, 2, 3)), 32, compute=compute)
    assert result is out
    assert np.isfinite(out).all()
    assert nothing.shape == (0, 3, 32, 32)


@on_hardware
def test_device_frames_stay_on_the_device(place: str) -> None:
    expected = crop_normalize([PHOTO], [0], matrices(64, FACE), 64, compute="numba")
    with place_for(place):
        driver = current_driver()
        frame = to_device(driver, PHOTO)
        out = empty(driver, (1, 3, 64, 64), np.float32)
        for stream in (None, driver.stream()):
            made = crop_normalize([frame], [0], matrices(64, FACE), 64, stream=stream)
            assert isinstance(made, DeviceArray)
            np.testing.assert_allclose(to_host(driver, made, stream), expected, atol=2e-4)
            assert crop_normalize([frame], [0], matrices(64, FACE), 64, out=out, stream=stream) is out
            np.testing.assert_array_equal(to_host(driver, out, stream), to_host(driver, made, stream))


@on_hardware
def test_a_table_carries_the_plan_from_frame_to_frame(place: str) -> None:
    with place_for(place):
        driver = current_driver()
        frames = [to_device(driver, PHOTO), to_device(driver, PHOTO[:300].copy())]
        table = crop_table(4)
        for crops in ((FACE,), (FACE, Crop(90.0, 80.0, 20.0, 1.0)), (Crop(50.0, 80.0, 200.0, 1.0),)):
            of, plan = np.arange(len(crops)) % 2, matrices(40, *crops)
            result = crop_normalize(frames, of, plan, 40, table=table)
            again = crop_normalize(frames, of, plan, 40)
            np.testing.assert_array_equal(to_host(driver, result), to_host(driver, again))
            planned = plan_crops(frames, of, plan, 40, out=table.host)
            assert planned.base is not None
            assert np.shares_memory(planned, table.host)
            assert list(planned["frame"]) == [frames[k].pointer for k in of]
        with pytest.raises(InputError, match="no room for 5"):
            crop_normalize(frames, [0] * 5, matrices(40, *[FACE] * 5), 40, table=table)


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here; install one with: apt-get install g++")
def test_frames_after_the_first_allocate_nothing() -> None:
    driver = CountingDriver()
    with use_driver(driver):
        frame, out = to_device(driver, PHOTO), empty(driver, (1, 3, 24, 24), np.float16)
        table = crop_table(2)
        crop_normalize([frame], [0], matrices(24, FACE), 24, dtype="float16", out=out)
        before = driver.allocations
        for given in (None, table):
            crop_normalize([frame], [0], matrices(24, FACE), 24, dtype="float16", out=out, table=given)
    assert driver.allocations == before


def changed(**changes: Any) -> dict[str, Any]:
    return {"frames": [PHOTO], "frame_of": [0], "image_from_crop": matrices(16, FACE), "size": 16} | changes


@every_place
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (changed(frames=[]), "no frame"),
        (changed(frames=["photo"]), "must be an array"),
        (changed(frames=[PHOTO.astype(np.float32)]), "uint8"),
        (changed(frames=[PHOTO[..., 0]]), "uint8"),
        (changed(frames=[PHOTO[:0]]), "sides"),
        (changed(frames=[np.zeros((1, 16385, 3), np.uint8)]), "sides"),
        (changed(frames=[PHOTO[:301, :, 0]], layout="nv12"), "not NV12"),
        (changed(frames=[PHOTO[:300, :301, 0]], layout="nv12"), "not NV12"),
        (changed(frames=[PHOTO[:2, :300, 0]], layout="nv12"), "not NV12"),
        (changed(layout="yuyv"), "layout"),
        (changed(dtype="float64"), "float64"),
        (changed(frame_of=[1]), "count from 0 to 0"),
        (changed(frame_of=[-1]), "count from 0 to 0"),
        (changed(frame_of=[0.0]), "integers"),
        (changed(frame_of=[0, 0]), r"\(2, 2, 3\)"),
        (changed(image_from_crop=matrices(16, FACE)[0]), "finite floats"),
        (changed(image_from_crop=matrices(16, FACE) * np.nan), "finite floats"),
        (changed(image_from_crop=matrices(16, FACE) * [1, -1, 1]), "only turn"),
        (changed(image_from_crop=matrices(16, FACE) * 0), "only turn"),
        (changed(image_from_crop=matrices(16, FACE) * 1e5), "too far outside"),
        (changed(size=0), "size"),
        (changed(size=2049), "size"),
        (changed(size=16.0), "size"),
        (changed(out=np.empty((1, 3, 16, 17), np.float32)), "crops"),
        (changed(out=np.empty((1, 3, 16, 16), np.float16)), "crops"),
        (changed(out=np.empty((1, 3, 16, 32), np.float32)[..., ::2]), "C-contiguous"),
    ],
)
def test_bad_input_is_told(place: str, arguments: dict[str, Any], message: str) -> None:
    with place_for(place) as compute, pytest.raises(InputError, match=message):
        crop_normalize(**arguments, compute=compute)


def test_a_table_needs_frames_on_the_device() -> None:
    with place_for("host"):
        table = crop_table(1)
        assert is_device(table.device)
        assert table.host.dtype == RECORD
        with pytest.raises(InputError, match="bring all to one place"):
            crop_normalize([PHOTO], [0], matrices(16, FACE), 16, table=table)
        for capacity in (0, 65536):
            with pytest.raises(InputError, match="1 to 65535"):
                crop_table(capacity)


def test_unknown_backends_are_told() -> None:
    with pytest.raises(ConfigError, match="no compute backend"):
        crop_normalize(**changed(), compute="metal")
    if reason := why_no_driver():
        with pytest.raises(BackendError, match=reason.split()[0]):
            crop_normalize(**changed(), compute="cuda")
