"""Samples: exact labels that agree with each other, the same every time, photos only from their split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.drawn import PHOTOS, Drawn, draw, foreground, inner_skin, pixel_of
from exact_slopes import slopes_from_normals

from stream.data.faces import surroundings
from stream.data.faces.closest import closest_on_mesh
from stream.data.faces.engine import GOOD_FIT
from stream.data.faces.sample import Sample, jittered
from stream.data.faces.topologies import good_photos
from stream.data.shards import (
    ANNY,
    DEPTH_KNOWN,
    FOREGROUND,
    HAIR,
    ICT,
    IDENTITIES,
    MASK_KNOWN,
    MOUTH,
    OCCLUDER,
    PHOTO,
    SKIN,
    SYNTHETIC,
)
from stream.data.skin_tone import cheek_colours, fitzpatrick_type, typology_angle
from stream.depth.slopes import slopes_of
from stream.evaluation.statistics import eye_distance
from stream.expression.arkit import ARKIT_NAMES, arkit_name
from stream.geometry import crop_from_image, image_from_crop, mm_per_crop_unit, project, transform_points
from stream.types import Crop

SEEDS = [(5, 0, 0, i) for i in range(30)]
NOSE_TIP, INNER_LIPS = 4, [13, 14]


@pytest.fixture(scope="module")
def drawn(engine: Any) -> list[Drawn]:
    return draw(engine, SEEDS)


@pytest.fixture(scope="module")
def samples(drawn: list[Drawn]) -> list[Sample]:
    return [one.sample for one in drawn]


def test_samples_have_the_declared_shapes_and_values(samples: list[Sample], engine: Any) -> None:
    side = engine.size
    assert {sample.topology for sample in samples} == {ICT, ANNY}
    for sample in samples:
        known = sample.flags & DEPTH_KNOWN > 0
        assert sample.image.shape == (side, side, 3)
        assert sample.image.dtype == np.uint8
        assert sample.kind == SYNTHETIC
        assert 0.15 < known.mean() <= 1
        assert np.isfinite(sample.depth).all()
        assert (sample.depth[~known] == 0).all()
        assert np.abs(sample.depth[sample.flags & SKIN > 0]).max() < 2.5
        np.testing.assert_allclose(np.linalg.norm(sample.normal[known], axis=-1), 1, atol=1e-3)
        assert (sample.normal[~known] == 0).all()
        assert (sample.normal[known][:, 2] < 0.5).mean() > 0.98
        assert 1 <= sample.tone <= 6
        assert 0 <= sample.occlusion < 1
        assert sample.landmarks.shape == (478, 2)
        assert sample.identity.shape == (IDENTITIES,)
        assert sample.light.shape == (42,)
        assert np.isfinite(sample.light).all()


def test_flags_exclude_each_other(samples: list[Sample]) -> None:
    for sample in samples:
        bits = {bit: sample.flags & bit > 0 for bit in (SKIN, MOUTH, HAIR, OCCLUDER)}
        assert np.sum(list(bits.values()), axis=0).max() <= 1, "a pixel is one of these at most"
        head = foreground(sample)
        assert not (head & bits[OCCLUDER]).any()
        assert head[bits[SKIN] | bits[MOUTH] | bits[HAIR]].all()
        np.testing.assert_array_equal(sample.flags & DEPTH_KNOWN > 0, head | bits[OCCLUDER])
        assert (sample.flags & MASK_KNOWN > 0).all()


def test_the_same_seed_gives_the_same_sample(samples: list[Sample], engine: Any) -> None:
    first, again = (engine.synthetic(SEEDS[:6], PHOTOS, False) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        for name in ("image", "depth", "normal", "flags", "uv", "light", "landmarks", "expression"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert not np.array_equal(first[0].image, first[1].image)
    # Made together with others, its vertices come from a larger matrix product and round otherwise.
    for a, b in zip(first, samples, strict=False):
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-5)
        assert np.median(np.abs(a.depth - b.depth)) < 1e-5


def test_a_head_is_where_its_pose_camera_and_crop_say(drawn: list[Drawn]) -> None:
    for one in drawn:
        sample = one.sample
        pixels = project(one.landmarks, sample.camera)
        # Crop coordinate 0 is the middle of a crop of one pixel.
        unit = transform_points(crop_from_image(sample.crop, 1), pixels) * 2
        np.testing.assert_allclose(sample.landmarks, unit, atol=2e-3)
        rotation = sample.pose[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
        eyes = one.landmarks[[33, 133, 159, 145, 263, 362, 386, 374]].mean(axis=0)
        assert sample.distance == pytest.approx(eyes[2], rel=1e-4)
        np.testing.assert_allclose(np.linalg.norm(sample.pose[:3, 3]), sample.distance, rtol=0.3)


def test_landmarks_lie_on_the_drawn_surface(drawn: list[Drawn]) -> None:
    """The nose's tip in the depth map is as deep as the landmark itself."""
    off = []
    for one in drawn:
        sample = one.sample
        row, column = pixel_of(sample.landmarks[NOSE_TIP], len(sample.depth))
        seen = sample.flags[row, column] & SKIN and abs(sample.yaw) < 30
        if seen:
            off.append(sample.depth[row, column] - one.depth_of(one.landmarks)[NOSE_TIP])
    assert len(off) >= 12
    assert np.abs(off).max() < 0.02


def test_depth_and_normals_tell_of_one_surface(samples: list[Sample]) -> None:
    """The normals' slopes are those of the depth map, wherever skin is smooth."""
    depth, normal = (np.stack([getattr(s, name) for s in samples]) for name in ("depth", "normal"))
    crop = np.array([(c.x, c.y, c.half, c.angle) for c in (s.crop for s in samples)])
    camera = np.array([(c.fx, c.fy, c.cx, c.cy) for c in (s.camera for s in samples)])
    distance = np.array([s.distance for s in samples])
    expected = slopes_from_normals(normal, depth, crop, camera, distance)
    measured = slopes_of(depth)
    smooth = np.stack([inner_skin(s) for s in samples]) & (np.abs(measured).max(axis=-1) < 1)
    error = np.abs(expected - measured)[smooth]
    assert smooth.sum() > 8000
    # Differences over 64 pixels round off noses and lips; a wrong sign or axis costs the slopes' own size.
    assert np.median(error) < 0.035
    assert np.median(np.abs(measured[smooth])) > 4 * np.median(error)


def test_places_on_the_head_are_continuous(samples: list[Sample]) -> None:
    for sample in samples:
        inner, uv = inner_skin(sample), sample.uv.astype(int)
        for axis in (0, 1):
            step = np.abs(np.diff(uv, axis=axis)).max(axis=-1)
            jump = np.abs(np.diff(sample.depth, axis=axis))
            both = np.logical_and(*(np.take(inner, range(*r), axis) for r in ((0, 63), (1, 64))))
            assert step[both & (jump < 0.06)].max() <= 20, "of 255; most where the head turns away"


def test_an_occluder_changes_nothing_but_what_it_hides(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn again without it, all else is the same, and what it hid lies behind it."""
    seeds = [(6, 0, 0, i) for i in range(5)]
    monkeypatch.setattr(surroundings, "HAND_SHARE", 1.0)
    monkeypatch.setattr(surroundings, "OBJECT_SHARE", 0.0)
    covered = engine.synthetic(seeds, PHOTOS, False)
    monkeypatch.setattr(surroundings, "HAND_SHARE", 0.0)
    bare = engine.synthetic(seeds, PHOTOS, False)
    hidden_faces = 0
    for with_hand, without in zip(covered, bare, strict=True):
        hand = with_hand.flags & OCCLUDER > 0
        np.testing.assert_array_equal(with_hand.flags[~hand], without.flags[~hand])
        np.testing.assert_allclose(with_hand.depth[~hand], without.depth[~hand], atol=1e-6)
        behind = hand & foreground(without)
        assert (with_hand.depth[behind] < without.depth[behind]).all()
        assert not foreground(with_hand)[hand].any()
        skin = without.flags & SKIN > 0
        assert with_hand.occlusion >= without.occlusion
        hidden_faces += (behind & skin).sum() > 20
    assert hidden_faces >= 3


def test_an_open_mouth_shows_what_is_behind_the_lips(engine: Any) -> None:
    good = {key: good_photos(kit.photos, PHOTOS, GOOD_FIT) for key, kit in engine.kits.items()}
    wide = []
    for i in range(400):
        choice = engine._draw(np.random.default_rng((7, 0, 0, i)), good)
        moved = dict(
            zip(choice.kit.model.expressions, choice.coefficients[choice.kit.model.identities :], strict=True)
        )
        if moved["jawOpen"] > 0.5 and moved["mouthClose"] < 0.1:
            wide.append((7, 0, 0, i))
    assert len(wide) > 20, "open mouths are frequent"
    shown = 0
    for one in draw(engine, wide[:16]):
        sample = one.sample
        mouth = sample.flags & MOUTH > 0
        if abs(sample.yaw) > 30 or (sample.flags & OCCLUDER).any():
            continue
        shown += 1
        assert mouth.sum() >= 5
        lips = one.depth_of(one.landmarks)[INNER_LIPS]
        assert np.median(sample.depth[mouth]) > lips.mean()
    assert shown >= 6


def test_expressions_are_arkits(drawn: list[Drawn]) -> None:
    for one in drawn:
        names = one.kit.model.expressions
        own = one.coefficients[one.kit.model.identities :]
        found = dict(zip(ARKIT_NAMES, one.sample.expression, strict=True))
        for name, wanted in found.items():
            same = [value for other, value in zip(names, own, strict=True) if arkit_name(other) == name]
            assert wanted == pytest.approx(max(same, default=0), abs=1e-6), name
        np.testing.assert_array_equal(
            one.sample.identity[: one.kit.model.identities], one.coefficients[: one.kit.model.identities]
        )
        assert (one.sample.identity[one.kit.model.identities :] == 0).all()


def test_the_nose_is_nearer_than_the_eyes_and_the_neck_farther(samples: list[Sample]) -> None:
    for sample in samples:
        head = np.where(foreground(sample), sample.depth, 0)
        if abs(sample.yaw) < 25 and abs(sample.pitch) < 15:
            assert head.min() < -0.1
            assert head[-1].max() > 0


def test_the_mean_face_is_near_but_not_the_truth(samples: list[Sample], engine: Any) -> None:
    errors = []
    for sample in samples:
        both = np.isfinite(sample.mean_depth) & (sample.flags & SKIN > 0)
        errors.append(np.abs(sample.depth - sample.mean_depth)[both].mean())
    assert 0.01 < np.mean(errors) < 0.12
    assert np.isnan(engine.synthetic(SEEDS[:1], PHOTOS, False)[0].mean_depth).all()


def test_painted_heads_need_no_photo(engine: Any) -> None:
    """With everything painted, no colour of the head depends on the photos."""
    for sample in engine.synthetic(SEEDS[:4], PHOTOS, False, painted=1.0):
        skin = sample.image[inner_skin(sample)].astype(float)
        assert skin.std(axis=0).min() > 1, "shaded"
        assert 1 <= sample.tone <= 6


def test_photo_labels_reproject_onto_the_mesh(engine: Any) -> None:
    """Labels, taken back to camera millimetres, lie on the fitted mesh they were drawn from."""
    index, seed = 3, (1, 0, 1, 3)
    sample, kit = engine.photo(index, seed, False), engine.kits[ICT]
    fits, camera = kit.photos.fits, sample.camera
    head = kit.model.vertices(fits.coefficients[index : index + 1])[0]
    mesh = head @ fits.rotation[index].T + fits.translation[index]
    rows, columns = np.nonzero(sample.flags & DEPTH_KNOWN)
    unit = mm_per_crop_unit(sample.crop, camera, sample.distance)
    z = sample.distance + sample.depth[rows, columns] * unit
    pixels = np.stack([columns, rows], 1).astype(float)
    image = transform_points(image_from_crop(sample.crop, engine.size), pixels)
    rays = np.column_stack([(image - [camera.cx, camera.cy]) / camera.fx, np.ones(len(image))])
    points = rays * z[:, None]
    points = points[:: max(1, len(points) // 60)]
    corners, weights = closest_on_mesh(mesh, kit.model.triangles, points)
    off = np.linalg.norm(np.einsum("pk,pkc->pc", weights, mesh[corners]) - points, axis=1)
    assert len(off) > 50
    assert np.percentile(off, 95) < 0.1, "millimetres; a crop pixel is about 3.5 mm wide"


def test_photos_are_labelled_on_the_front_of_the_face_only(engine: Any) -> None:
    for index in range(6):
        sample = engine.photo(index, (1, 0, 1, index), True)
        known = sample.flags & DEPTH_KNOWN > 0
        assert (sample.kind, sample.topology) == (PHOTO, ICT)
        assert 0.08 < known.mean() < 0.6
        assert (sample.flags[known] & (MASK_KNOWN | FOREGROUND) == MASK_KNOWN | FOREGROUND).all()
        assert not (sample.flags & (MOUTH | HAIR | OCCLUDER)).any()
        assert (sample.normal[known][:, 2] < -0.4).mean() > 0.99
        edge = np.concatenate([known[0], known[:, 0], known[:, -1]])
        assert edge.mean() < 0.2
        assert (sample.light == 0).all()


def test_a_photo_tells_its_own_tone(engine: Any) -> None:
    """The tone is that of the cheeks in the photo as another measure finds it."""
    off = []
    for index in range(12):
        sample, photos = engine.photo(index, (1, 0, 1, index), False), engine.kits[ICT].photos
        landmarks = photos.labels.landmarks[index]
        cheeks = cheek_colours(photos.image(index), landmarks, eye_distance(landmarks), sample.yaw)
        off.append(sample.tone - fitzpatrick_type(typology_angle(cheeks)))
    assert np.abs(off).max() <= 2, "the other measure looks at other places"
    assert np.mean(np.abs(off)) < 0.75


def test_jitter_is_small_and_unbiased() -> None:
    rng = np.random.default_rng(0)
    crop = Crop(100.0, 80.0, 50.0, 0.2)
    moved = [jittered(crop, rng) for _ in range(2000)]
    assert abs(np.mean([c.x for c in moved]) - 100) < 0.2
    assert abs(np.mean([np.log(c.half / 50) for c in moved])) < 0.005
    assert 0.8 < np.std([c.x for c in moved]) < 2.7
    wide = [jittered(crop, rng, 1.5).half for _ in range(500)]
    assert np.median(wide) == pytest.approx(75, rel=0.02)
