"""Samples: exact labels, the same every time, photos only from their split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.evaluation.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, PHOTO, SKIN, SYNTHETIC
from stream.face.crop import crop_from_landmarks
from stream.geometry import image_from_crop, mm_per_crop_unit, transform_points
from stream.training.faces import sampling
from stream.training.faces.appearance import photo_weights
from stream.training.faces.correspond import closest_on_mesh
from stream.training.faces.engine import Sample, jittered
from stream.training.faces.fit import photo_intrinsics
from stream.training.faces.head import EYES
from stream.training.faces.ict import IDENTITY_MODES, MULTI_PIE_68, NARROW_FACE_END
from stream.types import Crop

PHOTOS = range(0, 24)


@pytest.fixture(scope="module")
def samples(engine: Any) -> list[Sample]:
    return engine.synthetic([(5, 0, 0, i) for i in range(12)], PHOTOS, True)


def test_samples_have_the_declared_shapes_and_values(samples: list[Sample], engine: Any) -> None:
    side = engine.size
    for sample in samples:
        known = sample.flags & DEPTH_KNOWN > 0
        assert sample.image.shape == (side, side, 3)
        assert sample.image.dtype == np.uint8
        assert sample.kind == SYNTHETIC
        assert (sample.flags & MASK_KNOWN > 0).all()
        assert 0.15 < known.mean() < 0.98
        np.testing.assert_array_equal(known, sample.flags & FOREGROUND > 0)
        assert (known[sample.flags & SKIN > 0]).all()
        assert np.isfinite(sample.depth).all()
        assert (sample.depth[~known] == 0).all()
        assert np.abs(sample.depth[sample.flags & SKIN > 0]).max() < 2.5
        np.testing.assert_allclose(np.linalg.norm(sample.normal[known], axis=-1), 1, atol=1e-3)
        assert (sample.normal[known][:, 2] < 0.3).mean() > 0.99


def test_the_same_seed_gives_the_same_sample(samples: list[Sample], engine: Any) -> None:
    again = engine.synthetic([(5, 0, 0, i) for i in range(12)], PHOTOS, True)
    for a, b in zip(samples, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.depth, b.depth)
        np.testing.assert_array_equal(a.flags, b.flags)
    assert not np.array_equal(samples[0].image, samples[1].image)


def test_depth_and_normals_tell_of_one_surface(samples: list[Sample]) -> None:
    """Normals from differences of the depth agree with the labels where the surface is smooth."""
    angles = []
    for sample in samples:
        skin = sample.flags & SKIN > 0
        step = 2 / len(skin)
        down, across = np.gradient(sample.depth, step)
        made = np.stack([across, down, -np.ones_like(across)], -1)
        made /= np.linalg.norm(made, axis=-1, keepdims=True)
        inner = skin & (np.abs(across) < 1) & (np.abs(down) < 1)
        for axis in (0, 1):
            for shift in (-1, 1):
                inner &= np.roll(skin, shift, axis)
        cosine = (made * sample.normal).sum(-1)[inner]
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    # A perspective view and 64 pixels cost a few degrees; a wrong sign or axis costs tens.
    assert np.median(np.concatenate(angles)) < 8


def test_depth_reprojects_onto_the_mesh(engine: Any) -> None:
    """Labels, taken back to camera millimetres, lie on the fitted mesh they were drawn from."""
    index, seed = 3, (1, 0, 1, 3)
    sample = engine.photo(index, seed, False)
    fits, camera = engine.photos.fits, photo_intrinsics()
    crop = jittered(crop_from_landmarks(engine.photos.labels.landmarks[index]), np.random.default_rng(seed))
    head = engine.model.vertices(fits.coefficients[index : index + 1])[0]
    distance = engine.eye_distance(head, fits.rotation[index], fits.translation[index])
    mesh = head @ fits.rotation[index].T + fits.translation[index]
    rows, columns = np.nonzero(sample.flags & DEPTH_KNOWN)
    z = distance + sample.depth[rows, columns] * mm_per_crop_unit(crop, camera, distance)
    pixels = np.stack([columns, rows], 1).astype(float)
    image = transform_points(image_from_crop(crop, engine.size), pixels)
    rays = np.column_stack([(image - [camera.cx, camera.cy]) / camera.fx, np.ones(len(image))])
    points = rays * z[:, None]
    off = []
    for point in points[:: max(1, len(points) // 60)]:
        triangle, weights = closest_on_mesh(mesh, engine.model.triangles, point)
        off.append(np.linalg.norm(weights @ mesh[triangle] - point))
    assert len(off) > 50
    assert np.percentile(off, 95) < 0.1, "millimetres; a crop pixel is about 3.5 mm wide"


def test_the_nose_is_nearer_than_the_eyes_and_the_neck_farther(samples: list[Sample]) -> None:
    for sample in samples:
        if abs(sample.yaw) < 25 and abs(sample.pitch) < 15:
            assert sample.depth.min() < -0.1
            assert sample.depth[-1].max() > 0


def test_the_mean_face_is_near_but_not_the_truth(samples: list[Sample]) -> None:
    errors = []
    for sample in samples:
        both = np.isfinite(sample.mean_depth) & (sample.flags & SKIN > 0)
        errors.append(np.abs(sample.depth - sample.mean_depth)[both].mean())
    assert 0.01 < np.mean(errors) < 0.12


@pytest.mark.parametrize("gaze", [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.2), (0.0, -0.2), (0.25, -0.15)])
def test_the_eyeballs_look_where_the_gaze_says(engine: Any, gaze: tuple[float, float]) -> None:
    model = engine.model
    head = model.mean.copy()
    engine._look(head, gaze)
    for side in (-1, 1):
        ball = (model.part == EYES) & (np.sign(model.mean[:, 0]) == side)
        pupil = np.flatnonzero(ball)[model.mean[ball][:, 2].argmin()]
        centre = engine.surface.eye_centres[int(side > 0)]
        before, after = model.mean[pupil] - centre, head[pupil] - centre
        np.testing.assert_allclose(np.linalg.norm(after), np.linalg.norm(before), rtol=1e-4)
        moved = (after - before)[:2] / np.linalg.norm(before)
        np.testing.assert_allclose(moved, np.sin([-gaze[0], gaze[1]]), atol=0.02)
    np.testing.assert_array_equal(head[model.part != EYES], model.mean[model.part != EYES])


def test_the_lids_follow_the_eyeballs(engine: Any) -> None:
    """The upper lids move to the side to which the pupils move."""
    model = engine.model
    lids = [MULTI_PIE_68[i] for i in (37, 38, 43, 44)]
    for gaze in ((0.4, 0.0), (-0.4, 0.0), (0.0, 0.3), (0.0, -0.3)):
        coefficients = np.r_[np.zeros(IDENTITY_MODES), sampling.gaze_expressions(model, gaze)]
        head = model.vertices(coefficients[None])[0]
        lid_moved = (head - model.mean)[lids, :2]
        before = head.copy()
        engine._look(head, gaze)
        ball = np.flatnonzero(model.part == EYES)
        pupil = ball[model.mean[ball, 2].argmin()]
        moved = (head - before)[pupil, :2]
        axis = int(np.abs(moved).argmax())
        assert abs(moved[axis]) > 2, "millimetres"
        assert (np.sign(lid_moved[:, axis]) == np.sign(moved[axis])).all()


def test_photos_are_labelled_on_the_front_of_the_face_only(engine: Any) -> None:
    for index in range(6):
        sample = engine.photo(index, (1, 0, 1, index), True)
        known = sample.flags & DEPTH_KNOWN > 0
        assert sample.kind == PHOTO
        assert 0.08 < known.mean() < 0.6
        np.testing.assert_array_equal(known, sample.flags & MASK_KNOWN > 0)
        assert (sample.normal[known][:, 2] < -0.4).mean() > 0.99
        edge = np.concatenate([known[0], known[:, 0], known[:, -1]])
        assert edge.mean() < 0.2


def test_the_far_cheek_is_hidden_in_the_photo(engine: Any) -> None:
    """Seen from the side, one cheek is textured and the other is not."""
    head = engine.model.mean
    outer = np.ascontiguousarray(head[:11248])
    turned = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    uv, weight = photo_weights(outer, turned, np.array([0, 0, 1000.0]), engine._outer)
    face = np.arange(len(outer)) < NARROW_FACE_END
    towards, away = face & (outer[:, 0] > 55), face & (outer[:, 0] < -40)
    assert weight[towards].mean() > 0.5
    # A few lid vertices show through the eyeless sockets.
    assert (weight[away] > 0).mean() < 0.01
    assert uv.shape == (11248, 2)


def test_jitter_is_small_and_unbiased() -> None:
    rng = np.random.default_rng(0)
    crop = Crop(100.0, 80.0, 50.0, 0.2)
    moved = [jittered(crop, rng) for _ in range(2000)]
    assert abs(np.mean([c.x for c in moved]) - 100) < 0.2
    assert abs(np.mean([np.log(c.half / 50) for c in moved])) < 0.005
    assert 0.8 < np.std([c.x for c in moved]) < 2.7
