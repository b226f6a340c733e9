"""ARKit's coefficients by name."""

import numpy as np
import pytest

from stream.errors import InputError
from stream.expression.arkit import ARKIT_NAMES, arkit_name, to_arkit


def test_there_are_52_different_names_in_order():
    assert len(set(ARKIT_NAMES)) == 52
    assert list(ARKIT_NAMES[:-1]) == sorted(ARKIT_NAMES[:-1])


@pytest.mark.parametrize(
    ("theirs", "arkit"),
    [("mouthSmile_L", "mouthSmileLeft"), ("browInnerUp_R", "browInnerUp"), ("jawOpen", "jawOpen")],
)
def test_sides_are_spelt_out(theirs, arkit):
    assert arkit_name(theirs) == arkit


def test_coefficients_go_to_their_places_and_halves_take_the_larger():
    names = ("jawOpen", "browInnerUp_L", "browInnerUp_R", "PupilDilate_L")
    found = to_arkit(names, np.array([[0.5, 0.2, 0.7, 1.0]]))
    assert found[0, ARKIT_NAMES.index("jawOpen")] == np.float32(0.5)
    assert found[0, ARKIT_NAMES.index("browInnerUp")] == np.float32(0.7)
    assert found.sum() == pytest.approx(1.2)


def test_a_wrong_number_of_names_is_refused():
    with pytest.raises(InputError, match="2 names for 3"):
        to_arkit(("a", "b"), np.zeros(3))
