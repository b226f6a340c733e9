"""Skin tone by the typology angle."""

import math

import numpy as np
import pytest
from skimage.color import rgb2lab

from stream.data.skin_tone import (
    LEFT_CHEEK,
    RIGHT_CHEEK,
    cheek_colours,
    fitzpatrick_type,
    typology_angle,
)
from stream.errors import InputError

SKINS = [(240, 205, 185), (224, 178, 150), (200, 150, 118), (170, 120, 88), (128, 85, 58), (70, 46, 35)]


@pytest.mark.parametrize("skin", SKINS)
def test_the_angle_is_that_of_another_library(skin: tuple[int, int, int]) -> None:
    colours = np.tile(np.array(skin, np.uint8), (7, 1))
    lightness, _, yellow = rgb2lab(np.array(skin, np.uint8)[None, None])[0, 0]
    expected = math.degrees(math.atan2(lightness - 50, yellow))
    assert typology_angle(colours) == pytest.approx(expected, abs=0.5)


def test_darker_skin_has_a_smaller_angle_and_a_higher_type() -> None:
    angles = [typology_angle(np.array([skin], np.uint8)) for skin in SKINS]
    assert angles == sorted(angles, reverse=True)
    assert [fitzpatrick_type(angle) for angle in angles] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("angle", "kind"), [(90, 1), (55.1, 1), (55, 2), (41, 3), (28, 4), (10, 5), (-30, 6), (-80, 6)]
)
def test_the_classes_are_chardons(angle: float, kind: int) -> None:
    assert fitzpatrick_type(angle) == kind


def test_an_unknown_angle_has_no_type() -> None:
    assert fitzpatrick_type(float("nan")) == 0


def test_a_few_glaring_pixels_do_not_count() -> None:
    skin = np.tile(np.array(SKINS[3], np.uint8), (100, 1))
    glare = skin.copy()
    glare[:30] = 255
    assert typology_angle(glare) == pytest.approx(typology_angle(skin))


def painted(yaw: float) -> np.ndarray:
    """Colours taken from a picture with a red right cheek and a green left one."""
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50, 0], image[:, 50:, 1] = 200, 200
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[list(RIGHT_CHEEK)] = (25, 60, 0)
    landmarks[list(LEFT_CHEEK)] = (75, 60, 0)
    return cheek_colours(image, landmarks, 50.0, yaw)


@pytest.mark.parametrize(("yaw", "reds", "greens"), [(0, True, True), (40, False, True), (-40, True, False)])
def test_a_turned_face_shows_one_cheek(yaw: float, reds: bool, greens: bool) -> None:
    """Turned to the image's left it shows the person's left cheek, at the image's right."""
    colours = painted(yaw)
    assert (colours[:, 0] > 0).any() == reds
    assert (colours[:, 1] > 0).any() == greens
    assert len(colours) == 3 * 49 * (reds + greens)


def test_cheeks_outside_the_picture_give_no_colours() -> None:
    landmarks = np.full((478, 2), -500.0)
    assert cheek_colours(np.zeros((10, 10, 3), np.uint8), landmarks, 5.0, 0.0).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.zeros((0, 3), np.uint8), np.zeros((4, 3)), np.zeros((4, 4), np.uint8)])
def test_bad_colours_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        typology_angle(bad)
