"""What is fixed for each head model: openness, layout, landmarks, and eyeballs that turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces import sampling
from stream.data.faces.head import EYES
from stream.data.faces.kit import FRONT_FACE_PART, LOWEST_IN_MOUTH, LOWEST_OPENNESS, HeadKit
from stream.data.shards import ANNY, ICT
from stream.face.crop import MOUTH_CORNERS
from stream.types import Array

GAZES = [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.2), (0.0, -0.2), (0.25, -0.15)]
UPPER_LIDS, NOSE_BASE, NOSE_TIP, FOREHEAD = [159, 386], 2, 4, 151


@pytest.fixture(params=[ICT, ANNY], ids=["ict", "anny"])
def kit(request: pytest.FixtureRequest, engine: Any) -> HeadKit:
    return engine.kits[request.param]


def near(kit: HeadKit, landmark: int, reach: float) -> Array:
    """(n,) outer vertices of the mean head within ``reach`` mm of a landmark."""
    outer = kit.model.mean[: kit.model.outer_end]
    return np.flatnonzero(np.linalg.norm(outer - kit.landmarks(kit.model.mean)[landmark], axis=1) < reach)


def test_the_forehead_sees_the_sky_and_folds_do_not(kit: HeadKit) -> None:
    assert np.median(kit.closed[near(kit, FOREHEAD, 12)]) > 0.9
    assert np.median(kit.closed[kit.surface.depth_in_mouth > 0.3]) < 0.1
    nostrils = np.sort(kit.closed[near(kit, NOSE_BASE, 20)])[:12]
    assert nostrils.max() < 0.5
    assert kit.closed.min() >= 0
    assert kit.closed.max() <= 1


def test_an_open_mouth_lets_light_in(kit: HeadKit) -> None:
    inside = kit.surface.depth_in_mouth > 0
    assert kit.opened[inside].mean() > 3 * kit.closed[inside].mean()


def test_posed_heads_hold_what_the_renderer_needs(kit: HeadKit) -> None:
    turned = sampling.turn(0.4, -0.2, 0.1)
    away = np.array([10.0, -20, 600])
    posed = kit.posed(kit.model.mean, turned, away, 0.0)
    np.testing.assert_allclose(posed[:, :3], kit.model.mean @ turned.T + away, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(posed[:, 3:6], axis=1), 1, atol=1e-3)
    inside = kit.surface.depth_in_mouth > 0
    assert posed[~inside, 17].min() >= LOWEST_OPENNESS - 1e-6
    assert posed[inside, 17].min() >= LOWEST_IN_MOUTH - 1e-6
    assert set(np.unique(posed[:, 18])) == {*range(7), FRONT_FACE_PART}
    wide = kit.posed(kit.model.mean, turned, away, 0.5)
    np.testing.assert_allclose(wide[~inside, 17], np.maximum(kit.opened, LOWEST_OPENNESS)[~inside], atol=1e-6)


def test_both_topologies_have_one_layout(engine: Any) -> None:
    places = [kit.points.place(kit.layout) for kit in engine.kits.values()]
    for layout in places:
        assert layout.min() >= 0
        assert layout.max() <= 1
        assert layout[NOSE_TIP, 0] == pytest.approx(0.5, abs=0.01), "the middle of the cylinder"
        assert layout[33, 0] < 0.5 < layout[263, 0], "the person's right is the image's left"
    between = np.abs(places[0] - places[1])
    assert between[NOSE_TIP].max() < 0.05
    assert np.median(between, axis=0).max() < 0.05


def test_anchors_are_eyes_and_mouth(kit: HeadKit) -> None:
    right, left, mouth = kit.anchors(kit.model.mean)
    assert right[0] < 0 < left[0]
    assert 55 < left[0] - right[0] < 72, "between the eyes' centres, mm"
    corners = kit.landmarks(kit.model.mean)[list(MOUTH_CORNERS)]
    np.testing.assert_allclose(mouth, corners.mean(axis=0))
    away = kit.eye_distance(kit.model.mean, np.eye(3), np.array([0, 0, 500.0]))
    assert away == pytest.approx(500 + (right[2] + left[2]) / 2, abs=1e-3)


@pytest.mark.parametrize("gaze", GAZES)
def test_the_eyeballs_look_where_the_gaze_says(kit: HeadKit, gaze: tuple[float, float]) -> None:
    model = kit.model
    head = model.mean.copy()
    kit.look(head, gaze)
    for side in (-1, 1):
        ball = (model.part == EYES) & (np.sign(model.mean[:, 0]) == side)
        pupil = np.flatnonzero(ball)[model.mean[ball][:, 2].argmin()]
        centre = kit.surface.eye_centres[int(side > 0)]
        before, after = model.mean[pupil] - centre, head[pupil] - centre
        np.testing.assert_allclose(np.linalg.norm(after), np.linalg.norm(before), rtol=1e-4)
        moved = (after - before)[:2] / np.linalg.norm(before)
        np.testing.assert_allclose(moved, np.sin([-gaze[0], gaze[1]]), atol=0.03)
    np.testing.assert_array_equal(head[model.part != EYES], model.mean[model.part != EYES])


@pytest.mark.parametrize("gaze", [(0.0, 0.3), (0.0, -0.3)])
def test_the_lids_follow_the_eyeballs(kit: HeadKit, gaze: tuple[float, float]) -> None:
    """The upper lids move up and down with the pupils."""
    model = kit.model
    coefficients = np.r_[np.zeros(model.identities), sampling.gaze_expressions(model, gaze)]
    head = model.vertices(coefficients[None])[0]
    lids = kit.landmarks(head)[UPPER_LIDS, 1] - kit.landmarks(model.mean)[UPPER_LIDS, 1]
    assert (np.sign(lids) == np.sign(gaze[1])).all()
    assert np.abs(lids).min() > 0.3, "millimetres"
