import builtins
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from face.face_helpers import landmarks_of, pose_matrix

from stream.errors import BackendError, ConfigError, InputError
from stream.face.tracker import check_image, open_tracker, plausible


def test_unknown_names_and_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match="auto, mediapipe"):
        open_tracker("dlib")
    for count in (0, -1, 17):
        with pytest.raises(ConfigError, match="--max-faces"):
            open_tracker(max_faces=count)


@pytest.mark.parametrize("name", ["auto", "mediapipe"])
@pytest.mark.parametrize("static", [False, True])
def test_without_mediapipe_it_says_what_to_install(
    name: str, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(module: str, *args: Any, **kwargs: Any) -> ModuleType:
        if module.split(".")[0] == "mediapipe":
            raise ImportError("No module named 'mediapipe'")
        return real(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BackendError, match=r"pip install mediapipe==0\.10\.21"):
        open_tracker(name, static=static)


def test_a_mediapipe_without_its_legacy_solutions_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("stream.face.mediapipe_mesh")
    hollow = ModuleType("mediapipe")
    monkeypatch.setitem(sys.modules, "mediapipe", hollow)
    with pytest.raises(BackendError, match=r"pip install mediapipe==0\.10\.21"):
        module.load_solutions()
    hollow.solutions = ModuleType("mediapipe.solutions")  # type: ignore[attr-defined]
    with pytest.raises(BackendError, match="no face mesh"):
        module.load_solutions()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        None,
        "photo.jpg",
    ],
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(InputError, match=r"\(H, W, 3\) uint8"):
        check_image(image)


def test_a_picture_too_long_to_sample_from_is_refused() -> None:
    with pytest.raises(InputError, match="40000x1"):
        check_image(np.zeros((1, 40000, 3), np.uint8))


def test_landmarks_far_out_tiny_or_not_finite_are_no_face() -> None:
    good = landmarks_of(pose_matrix(0, 0, 0, (0, 0, 600)))
    assert plausible(good, 640, 480)
    assert plausible(good - np.array([400, 0, 0], np.float32), 640, 480)  # half out of the picture
    assert not plausible(good - np.array([800, 0, 0], np.float32), 640, 480)
    assert not plausible(good + np.array([0, 600, 0], np.float32), 640, 480)
    assert not plausible(good * np.float32(0.01), 640, 480)
    assert not plausible((good - 320) * np.float32(30) + 320, 640, 480)
    assert not plausible(good[:468], 640, 480)
    for value in (np.nan, np.inf):
        broken = good.copy()
        broken[300, 2] = value
        assert not plausible(broken, 640, 480)
