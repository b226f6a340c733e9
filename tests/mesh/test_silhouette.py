"""Where one surface ends and another begins."""

import pytest

from stream.mesh.silhouette import depth_jump


def test_the_jump_is_the_seeds_up_to_128_and_a_slope_above() -> None:
    assert depth_jump(64) == depth_jump(128) == pytest.approx(0.1)
    assert depth_jump(256) == pytest.approx(0.05)
