from __future__ import annotations

import numpy as np
import pytest
from render.render_helpers import capture_of, square

from stream.render.layout import ACCENT, BAR, GAP, GROUND, PreviewLayout, draw_face, say_no_face


def compose(layout, image, faces=(), lines=()):
    panes = [
        (name, np.full((*layout.pane[::-1], 3), v, dtype=np.uint8)) for name, v in (("a", 40), ("b", 70))
    ]
    return layout.compose(image, faces, panes, lines)


@pytest.mark.parametrize("frame", [(640, 480), (1920, 1080), (481, 641), (3, 1000), (1000, 3), (1, 1)])
def test_the_picture_is_even_and_holds_all_parts(frame):
    layout = PreviewLayout(241, frame)
    image = np.full((frame[1], frame[0], 3), 200, dtype=np.uint8)
    picture = compose(layout, image, lines=("30 fps",))
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    assert all(side % 2 == 0 for side in layout.size)
    values, counts = np.unique(picture[..., 0], return_counts=True)
    share = dict(zip(values, counts, strict=True))
    assert share[40] == pytest.approx(layout.pane[0] * layout.pane[1], rel=0.02)
    assert share[70] == pytest.approx(layout.pane[0] * layout.pane[1], rel=0.02)
    assert share[200] > 0
    assert (picture[0] == GROUND).all()
    assert (picture[-BAR:] != GROUND).any()


def test_the_input_is_shown_whole_where_it_fits_exactly():
    layout = PreviewLayout(120, (160, 120))
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    picture = compose(layout, image)
    shown = picture[GAP : GAP + 120, GAP : GAP + 160]
    assert (shown[40:] == image[40:]).all()  # above is the caption


def test_a_frame_of_another_size_is_fitted_into_the_same_place():
    layout = PreviewLayout(120, (160, 120))
    picture = compose(layout, np.full((240, 120, 3), 200, dtype=np.uint8))
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    row = picture[GAP + 60, GAP : GAP + 160, 0]
    np.testing.assert_array_equal(np.flatnonzero(row == 200), np.arange(50, 110))


def test_the_face_is_drawn_where_it_is():
    capture = capture_of(square())
    face = capture.people[0].face
    layout = PreviewLayout(192, (128, 96))
    image = capture.frame.image
    plain, drawn = compose(layout, image), compose(layout, image, [face])
    changed = np.argwhere((plain != drawn).any(axis=2))[:, ::-1] - GAP
    expected = (face.landmarks[:, :2] + 0.5) * 2 - 0.5
    for point in expected[::40]:
        assert np.abs(changed - point).max(axis=1).min() <= 0.5 + 1e-6
    corner = 32 * np.array([[np.cos(0.1) - np.sin(0.1), np.sin(0.1) + np.cos(0.1)]]) + (64, 48)
    assert np.abs(changed - ((corner + 0.5) * 2 - 0.5)).max(axis=1).min() < 1.5


def test_faces_partly_or_wholly_outside_are_drawn_without_harm():
    face = capture_of(square()).people[0].face
    for shift in ((-90.0, 0.0), (1e4, 1e4), (0.0, 1e12)):
        picture = np.zeros((50, 50, 3), dtype=np.uint8)
        draw_face(picture, face, 1.0, shift)


def test_lines_without_room_are_left_out():
    layout = PreviewLayout(64, (64, 64))
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    lines = [f"figure {i}" for i in range(40)]
    assert compose(layout, image, lines=lines).shape == (layout.size[1], layout.size[0], 3)


def test_no_face_is_said_in_the_middle():
    picture = say_no_face(np.zeros((100, 200, 3), dtype=np.uint8))
    rows, columns = np.nonzero(picture.any(axis=2))
    assert abs(columns.mean() - 100) < 6
    assert abs(rows.mean() - 50) < 6
    assert max(ACCENT) <= 255
