"""The file of landmark movements that is part of the package."""

from pathlib import Path

import numpy as np
import pytest

from stream.errors import ModelError
from stream.expression import basis as module
from stream.expression.arkit import ARKIT_NAMES
from stream.expression.basis import BASIS, IDENTITY_MODES, expression_basis

RIGHT_BROW, LEFT_BROW, LOWER_LIP, LEFT_CORNER, RIGHT_CORNER, LEFT_UPPER_LID = 105, 334, 14, 291, 61, 386


def shape(name: str) -> np.ndarray:
    return expression_basis().shapes[ARKIT_NAMES.index(name)]


def test_every_expression_but_the_tongue_moves_landmarks() -> None:
    still = [n for n, s in zip(ARKIT_NAMES, expression_basis().shapes, strict=True) if not s.any()]
    assert still == ["tongueOut"]
    assert expression_basis().identity.shape == (IDENTITY_MODES, 478, 3)
    assert BASIS.stat().st_size < 200_000


def test_left_is_the_persons_left_and_down_is_positive() -> None:
    assert shape("jawOpen")[LOWER_LIP, 1] > 25
    assert shape("browOuterUpLeft")[LEFT_BROW, 1] < -4
    assert abs(shape("browOuterUpLeft")[RIGHT_BROW, 1]) < 1
    smile = shape("mouthSmileLeft")
    assert smile[LEFT_CORNER, 0] > 3
    assert smile[LEFT_CORNER, 1] < -3
    assert np.linalg.norm(smile[RIGHT_CORNER]) < 3
    assert shape("eyeBlinkLeft")[LEFT_UPPER_LID, 1] > 7


def test_both_halves_of_what_arkit_does_not_split_are_there() -> None:
    brows = shape("browInnerUp")
    assert brows[66, 1] < -3
    assert brows[296, 1] < -3


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", BASIS.read_bytes()[:5000]):
        damaged = tmp_path / "basis.npz"
        damaged.write_bytes(content)
        monkeypatch.setattr(module, "BASIS", damaged)
        with pytest.raises(ModelError, match=r"basis\.npz"):
            expression_basis.__wrapped__()


def test_a_basis_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "basis.npz"
    np.savez(other, shapes=np.zeros((3, 478, 3)), identity=np.zeros((IDENTITY_MODES, 478, 3)))
    monkeypatch.setattr(module, "BASIS", other)
    with pytest.raises(ModelError, match="damaged"):
        expression_basis.__wrapped__()
