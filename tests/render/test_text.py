from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.render.text import draw_text, text_block, text_mask


def test_masks_are_drawn_once_and_have_one_height_a_size():
    assert text_mask("30.0 fps", 15) is text_mask("30.0 fps", 15)
    assert text_mask("gjpq", 15).shape[0] == text_mask("...", 15).shape[0]
    assert text_mask("30.0 fps", 15).max() > 200
    assert text_mask("30.0 fps", 30).shape[0] > 1.7 * text_mask("30.0 fps", 15).shape[0]


def test_anchors_place_the_text_left_of_around_and_right_of_its_point():
    def extent(anchor):
        picture = np.zeros((40, 300, 3), dtype=np.uint8)
        width = draw_text(picture, "HHHHH", 150, 20, 15, (255, 255, 255), anchor)
        columns = np.flatnonzero(picture.any(axis=(0, 2)))
        rows = np.flatnonzero(picture.any(axis=(1, 2)))
        assert abs((rows[0] + rows[-1]) / 2 - 20) < 4
        return columns[0], columns[-1], width

    left, middle, right = extent("l"), extent("m"), extent("r")
    assert 150 <= left[0] < 154
    assert 146 < right[1] <= 150
    assert abs((middle[0] + middle[1]) / 2 - 150) < 3
    assert left[2] == right[2] == middle[2] >= left[1] - left[0]


def test_text_takes_its_colour_and_leaves_the_rest():
    picture = np.full((40, 200, 3), 50, dtype=np.uint8)
    draw_text(picture, "MMM", 20, 20, 24, (200, 30, 120))
    strongest = picture.reshape(-1, 3)[np.abs(picture.reshape(-1, 3).astype(int) - 50).sum(axis=1).argmax()]
    np.testing.assert_allclose(strongest, (200, 30, 120), atol=3)
    assert (picture[:, 150:] == 50).all()


@settings(deadline=None)
@given(st.integers(-400, 400), st.integers(-100, 150), st.sampled_from("lmr"), st.text(max_size=12))
def test_text_may_stick_out_anywhere(x, y, anchor, text):
    picture = np.zeros((20, 50, 3), dtype=np.uint8)
    draw_text(picture, text, x, y, 12, anchor=anchor)
    whole = np.zeros((300, 1200, 3), dtype=np.uint8)
    draw_text(whole, text, x + 500, y + 120, 12, anchor=anchor)
    assert (picture == whole[120:140, 500:550]).all()


def test_blocks_hold_every_line_on_a_translucent_card():
    card = text_block(["one", "a longer line", "three"], 16)
    assert card.dtype == np.uint8
    assert card.shape[2] == 4
    assert 0 < card[0, 0, 3] < 255
    lit = (card[..., 3] > 240).any(axis=1)
    assert np.count_nonzero(np.diff(lit.astype(int)) == 1) >= 3
    assert not lit[[0, -1]].any()
    assert text_block(["one"], 16).shape[1] < card.shape[1]
    assert text_block([], 16).size
