import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_file import write_calibration

from stream.errors import ConfigError
from stream.face.calibration import load_calibration, scale_intrinsics
from stream.geometry import project
from stream.types import Intrinsics

CAMERA = Intrinsics(812.25, 815.5, 641.125, 355.75, 1280, 720)


def test_our_own_keys_are_read(tmp_path: Path) -> None:
    write_calibration(tmp_path / "camera.yaml", CAMERA)
    assert load_calibration(tmp_path / "camera.yaml") == CAMERA


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "camera.json").write_text(json.dumps(asdict(CAMERA)))
    assert load_calibration(tmp_path / "camera.json") == CAMERA


def test_what_opencv_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "opencv.yml"
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    file.write("image_width", 1280)
    file.write("image_height", 720)
    file.write("camera_matrix", np.array([[812.25, 0, 641.125], [0, 815.5, 355.75], [0, 0, 1]]))
    file.write("distortion_coefficients", np.zeros((1, 5)))
    file.release()
    assert path.read_text().startswith("%YAML:1.0")
    assert load_calibration(path) == CAMERA


def test_what_ros_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "ros.yaml").write_text(
        "image_width: 1280\nimage_height: 720\ncamera_name: narrow\n"
        "camera_matrix:\n  rows: 3\n  cols: 3\n"
        "  data: [812.25, 0, 641.125, 0, 815.5, 355.75, 0, 0, 1]\n"
    )
    assert load_calibration(tmp_path / "ros.yaml") == CAMERA


GOOD = "width: 640\nheight: 480\nfx: 700\nfy: 700\ncx: 320\ncy: 240\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "width"),
        (GOOD.replace("fx: 700", "fx: -1"), "fx"),
        (GOOD.replace("fx: 700", "fx: .nan"), "fx"),
        (GOOD.replace("cx: 320", "cx: .inf"), "cx"),
        (GOOD.replace("width: 640", "width: 0"), "width"),
        (GOOD.replace("width: 640", "width: 1000000"), "width"),
        (GOOD.replace("cy: 240\n", ""), "cy"),
        (GOOD + "k1: 3\n", "k1"),
        ("- 1\n- 2\n", "camera.yaml"),
        ("{", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("camera_matrix: 3", "OpenCV"),
        ("camera_matrix: {data: [1, 2, 3]}", "OpenCV"),
        ("camera_matrix: {data: [700, 0.1, 320, 0, 700, 240, 0, 0, 1]}", "skew"),
        ("camera_matrix: {data: [700, 0, 320, 0, 700, 240, 0, 0, 1]}", "image_width"),
        ("camera_matrix: {data: [a, 0, 320, 0, 700, 240, 0, 0, 1]}", "OpenCV"),
    ],
)
def test_a_bad_file_is_refused_by_what_is_wrong_with_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "camera.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_calibration(tmp_path / "camera.yaml")


def test_missing_binary_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read"):
        load_calibration(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Cannot read"):
        load_calibration(tmp_path)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="text"):
        load_calibration(tmp_path / "binary")
    (tmp_path / "huge").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger"):
        load_calibration(tmp_path / "huge")


def test_a_scaled_camera_sees_the_same_picture() -> None:
    half = scale_intrinsics(CAMERA, 640, 360)
    points = np.random.default_rng(0).uniform([-200, -100, 400], [200, 100, 900], (20, 3))
    # Edge coordinates (pixel centre + 0.5) halve when the image does.
    np.testing.assert_allclose(project(points, half) + 0.5, (project(points, CAMERA) + 0.5) / 2)
    assert (half.width, half.height) == (640, 360)
    assert scale_intrinsics(half, 1280, 720) == CAMERA
    assert scale_intrinsics(CAMERA, 1280, 720) is CAMERA


@pytest.mark.parametrize("size", [(640, 480), (720, 1280), (1280, 680)])
def test_another_shape_of_image_needs_another_calibration(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="1280x720"):
        scale_intrinsics(CAMERA, *size)


def test_a_pixel_of_rounding_is_no_other_shape() -> None:
    assert scale_intrinsics(CAMERA, 427, 240).fx == pytest.approx(CAMERA.fx * 427 / 1280)
