"""Arrays of one picture's face, in the picture's own coordinates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import capture_with, depths_of

from stream.errors import FaceError, OutputError
from stream.geometry import crop_from_image, intrinsics_from_fov, transform_points
from stream.mesh.build import build_mesh
from stream.outputs.arrays import capture_arrays, write_arrays
from stream.types import Capture, Crop, Depth, Face, Frame

SIZE, WIDTH, HEIGHT = 32, 200, 160
CROP = Crop(x=101.3, y=77.9, half=61.0, angle=0.3)


def capture_of(depth: np.ndarray, mask: np.ndarray) -> Capture:
    frame = Frame(np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8), 0.0, 0, "test")
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 600.0
    landmarks = np.zeros((478, 3), dtype=np.float32)
    face = Face(0, landmarks, pose, CROP, intrinsics_from_fov(WIDTH, HEIGHT))
    maps = Depth(depth.astype(np.float32), mask.astype(np.float32))
    return capture_with(frame, (face,), (maps,), (build_mesh(frame, face, maps),))


def ramp() -> tuple[np.ndarray, np.ndarray]:
    """Depth that rises linearly over the crop, 0.2 crop units a crop unit to the right."""
    x = (2 * np.arange(SIZE) + 1) / SIZE - 1
    return np.tile(0.2 * x, (SIZE, 1)), np.ones((SIZE, SIZE))


def test_depth_is_a_plane_in_the_picture_and_nan_outside() -> None:
    arrays = capture_arrays(capture_of(*ramp()))
    rows, columns = np.nonzero(np.isfinite(arrays["depth"]))
    points = np.column_stack([columns, rows]).astype(float)
    crop_x = (2 * transform_points(crop_from_image(CROP, SIZE), points)[:, 0] + 1) / SIZE - 1
    expected = 0.2 * np.clip(crop_x, 1 / SIZE - 1, 1 - 1 / SIZE) * CROP.half
    assert len(rows) == pytest.approx((2 * CROP.half) ** 2, rel=0.02)
    # cv2 samples at 1/32 of a crop pixel, here 0.024 picture pixels of depth.
    np.testing.assert_allclose(arrays["depth"][rows, columns], expected, atol=0.03)
    assert np.isnan(arrays["depth"][0, 0])


def test_normals_and_confidence_belong_to_the_depth_in_the_picture() -> None:
    capture = capture_of(*ramp())
    normal = np.broadcast_to(np.array([0.2, 0.0, -1.0], np.float32) / np.hypot(0.2, 1), (SIZE, SIZE, 3))
    maps = replace(
        depths_of(capture)[0], normal=normal.copy(), confidence=np.full((SIZE, SIZE), 0.7, np.float32)
    )
    arrays = capture_arrays(replace(capture, people=(replace(capture.people[0], depth=maps),)))
    # The depth's own slopes in the picture, which the turned crop mixes into x and y.
    slope_y, slope_x = np.gradient(arrays["depth"])
    inside = np.isfinite(slope_x) & np.isfinite(slope_y)
    expected = np.array([np.median(slope_x[inside]), np.median(slope_y[inside]), -1.0])
    expected /= np.linalg.norm(expected)
    middle = arrays["normals"][78, 101]
    np.testing.assert_allclose(middle, expected, atol=0.01)
    assert abs(middle[1]) > 0.05, "the crop is turned"
    assert arrays["confidence"][78, 101] == pytest.approx(0.7)
    assert arrays["confidence"][0, 0] == 0
    assert (arrays["normals"][0, 0] == 0).all()
    assert not {"normals", "confidence"} & capture_arrays(capture).keys()


def test_vertices_lie_on_the_depth_map_and_all_are_used() -> None:
    arrays = capture_arrays(capture_of(*ramp()))
    vertices, faces = arrays["vertices"], arrays["faces"]
    assert set(np.unique(faces)) == set(range(len(vertices)))
    crop_x = (2 * transform_points(crop_from_image(CROP, SIZE), vertices[:, :2])[:, 0] + 1) / SIZE - 1
    np.testing.assert_allclose(vertices[:, 2], 0.2 * crop_x * CROP.half, atol=1e-3)


@pytest.mark.parametrize("name", ["face.npz", "FACE.NPZ"])
def test_the_file_reads_back_without_pickle(tmp_path: Path, name: str) -> None:
    capture = capture_of(*ramp())
    write_arrays(capture, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with np.load(tmp_path / name, allow_pickle=False) as read:
        for key, value in capture_arrays(capture).items():
            np.testing.assert_array_equal(read[key], value)


def test_no_face_and_no_place_are_sentences(tmp_path: Path) -> None:
    capture = capture_of(*ramp())
    with pytest.raises(FaceError, match="no face"):
        write_arrays(Capture(capture.frame), tmp_path / "x.npz")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        write_arrays(capture, tmp_path / "file" / "x.npz")
