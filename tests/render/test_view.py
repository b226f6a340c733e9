from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import InputError
from stream.geometry import project
from stream.render.view import MAX_ZOOM, MIN_ZOOM, CameraView, OrbitView, contain, turn
from stream.types import Intrinsics

CENTRE = np.array([30.0, -20.0, 650.0])


def beside(x, y, z):
    """A point this far from the orbits' centre."""
    return CENTRE + np.array([x, y, z], dtype=np.float64)


def to_pixels(view, point, size):
    """Where a view puts a camera point, in picture pixels (origin at a pixel's centre), and its depth."""
    eye, projection = view.matrices(size)
    clip = projection @ eye @ np.array([*point, 1.0])
    ndc = clip[:3] / clip[3]
    return (ndc[0] + 1) * size[0] / 2 - 0.5, (1 - ndc[1]) * size[1] / 2 - 0.5, ndc[2]


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.floats(50, 5000),
    st.floats(50, 5000),
    st.floats(-500, 3000),
    st.floats(-500, 3000),
    st.floats(-0.8, 0.8),
    st.floats(-0.8, 0.8),
    st.floats(50, 5000),
)
def test_the_cameras_view_projects_as_the_camera_does(w, h, fx, fy, cx, cy, x, y, z):
    camera = Intrinsics(fx, fy, cx, cy, w, h)
    point = np.array([[x * z, y * z, z]])
    px, py, depth = to_pixels(CameraView(camera), point[0], (w, h))
    np.testing.assert_allclose((px, py), project(point, camera)[0], rtol=1e-9, atol=1e-6)
    assert -1 <= depth <= 1


def test_other_sizes_scale_about_the_pictures_corner():
    camera = Intrinsics(500, 520, 300, 200, 640, 480)
    point = np.array([40.0, -70.0, 600.0])
    x, y = project(point[None], camera)[0]
    px, py, _ = to_pixels(CameraView(camera), point, (320, 400))  # half as large, 80 rows above and below
    np.testing.assert_allclose((px, py), ((x + 0.5) / 2 - 0.5, (y + 0.5) / 2 - 0.5 + 80))
    assert contain(640, 480, (320, 400)) == (1.0, 0.6)


@pytest.mark.parametrize(
    "bad",
    [
        (0, 500, 1, 1, 64, 48),
        (500, -1, 1, 1, 64, 48),
        (math.nan, 500, 1, 1, 64, 48),
        (500, 500, math.inf, 1, 64, 48),
        (500, 500, 1, 1, 0, 48),
    ],
)
def test_impossible_cameras_are_refused(bad):
    with pytest.raises(InputError, match="intrinsics"):
        CameraView(Intrinsics(*bad))


def orbit(yaw=0.0, pitch=0.0, radius=100.0):
    view = OrbitView(yaw, pitch)
    view.follow(CENTRE, radius, 0.0)
    return view


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-85, 85), st.integers(20, 2000), st.integers(20, 2000))
def test_the_orbits_centre_is_the_pictures_middle_and_the_face_fits(yaw, pitch, w, h):
    view = orbit(yaw, pitch)
    px, py, _ = to_pixels(view, CENTRE, (w, h))
    np.testing.assert_allclose((px, py), ((w - 1) / 2, (h - 1) / 2), atol=1e-6)
    rotation = view.matrices((w, h))[0][:3, :3]
    aside = CENTRE + rotation.T @ (100.0, 0, 0)
    x = to_pixels(view, aside, (w, h))[0] - px
    assert 0.4 * min(w, h) < x < 0.5 * min(w, h)


def test_positive_angles_turn_the_nose_right_and_down():
    nose = beside(0, 0, -80)
    assert to_pixels(orbit(yaw=25), nose, (100, 100))[0] > 55
    assert to_pixels(orbit(pitch=25), nose, (100, 100))[1] > 55
    brow = beside(0, -80, 0)
    assert to_pixels(orbit(), brow, (100, 100))[1] < 45


@settings(deadline=None)
@given(st.floats(-360, 360), st.floats(-85, 85))
def test_turns_are_rotations(yaw, pitch):
    matrix = turn(yaw, pitch)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrix), 1)


def test_dragging_turns_and_reset_undoes_it():
    view = orbit(yaw=10, pitch=5)
    view.drag(0.1, -0.1)
    view.scroll(2)
    assert view.yaw == pytest.approx(32)
    assert view.pitch == pytest.approx(-17)
    view.drag(10, 10)
    assert -180 <= view.yaw <= 180
    assert view.pitch == 85
    view.reset()
    assert (view.yaw, view.pitch, view.zoom) == (10, 5, 1)


def test_zoom_enlarges_and_has_limits():
    view = orbit()
    point = beside(30, 0, 0)
    before = to_pixels(view, point, (200, 200))[0] - 99.5
    view.scroll(3)
    assert to_pixels(view, point, (200, 200))[0] - 99.5 == pytest.approx(before * view.zoom)
    assert view.zoom > 1
    view.scroll(1000)
    assert view.zoom == MAX_ZOOM
    view.scroll(-1000)
    assert view.zoom == MIN_ZOOM


def test_following_is_smooth_and_independent_of_the_frame_rate():
    def after(steps):
        view = orbit()
        for i in range(1, steps + 1):
            view.follow(beside(40, 0, 0), 100.0, 0.5 * i / steps)
        return view._centre[0]

    assert after(15) == pytest.approx(after(60))
    assert 30 + 40 * 0.8 < after(15) < 30 + 40


def test_following_jumps_after_a_pause_and_to_another_face():
    for target, now in ((beside(40, 0, 0), 5.0), (beside(900, 0, 0), 0.03), (beside(4, 0, 0), -1.0)):
        view = orbit()
        view.follow(target, 80.0, now)
        np.testing.assert_allclose(to_pixels(view, target, (100, 100))[:2], (49.5, 49.5), atol=1e-9)
