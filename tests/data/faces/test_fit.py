"""Fitting: known parameters come back, bounds hold, real photos fit, landmarks lie where they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.correspond import (
    head_model_arrays,
    mean_offsets,
    stored_correspondence,
)
from stream.data.faces.fit import Fits, fit_points, photo_intrinsics
from stream.data.faces.head import HeadModel
from stream.data.faces.ict import EXPRESSIONS, IDENTITY_MODES
from stream.data.faces.photos import fit_photos, load_labels
from stream.data.shards import ICT
from stream.errors import InputError, ModelError
from stream.face.crop import crop_from_anchors, crop_from_landmarks
from stream.geometry import project
from stream.types import Array

POINTS = 200
SIZE = IDENTITY_MODES + EXPRESSIONS


def _problem(seed: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Mean, basis, true rotation, translation, coefficients and image points of two made-up faces."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 40, (POINTS, 3))
    basis = rng.normal(0, 1.5, (POINTS, 3, SIZE))
    coefficients = np.concatenate(
        [rng.normal(0, 0.5, (2, IDENTITY_MODES)), rng.uniform(0, 0.6, (2, EXPRESSIONS))], axis=1
    )
    turn = np.radians([12.0, -20.0])
    rotation = np.stack([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in turn])
    translation = np.array([[10.0, -5, 1000], [-20, 8, 1100]])
    shape = mean + np.einsum("pck,nk->npc", basis, coefficients)
    camera = shape @ rotation.transpose(0, 2, 1) + translation[:, None]
    targets = np.stack([project(points, photo_intrinsics()) for points in camera])
    return mean, basis, rotation, translation, coefficients, targets


def test_known_parameters_come_back() -> None:
    mean, basis, rotation, translation, coefficients, targets = _problem(1)
    guess = (np.stack([np.eye(3)] * 2), translation + np.array([5.0, 5.0, 40.0]))
    fits = fit_points(mean, basis, np.ones(POINTS), targets, guess, sigma=1e-4, identities=IDENTITY_MODES)
    assert fits.error.max() < 2e-3
    assert np.abs(fits.rotation - rotation).max() < 0.03
    assert np.corrcoef(fits.coefficients.ravel(), coefficients.ravel())[0, 1] > 0.95


def test_coefficients_stay_within_their_bounds() -> None:
    mean, basis, _, translation, _, targets = _problem(2)
    wild = targets + np.random.default_rng(0).normal(0, 30, targets.shape)
    guess = (np.stack([np.eye(3)] * 2), translation)
    fits = fit_points(mean, basis, np.ones(POINTS), wild, guess, sigma=0.01, identities=IDENTITY_MODES)
    assert np.isfinite(fits.coefficients).all()
    assert fits.coefficients[:, IDENTITY_MODES:].min() >= 0
    assert fits.coefficients[:, IDENTITY_MODES:].max() <= 1
    assert np.abs(fits.coefficients).max() <= 3


def test_an_outlier_hardly_moves_the_fit() -> None:
    mean, basis, rotation, translation, _, targets = _problem(3)
    targets[:, 0] += 150
    guess = (rotation, translation)
    fits = fit_points(mean, basis, np.ones(POINTS), targets, guess, sigma=0.005, identities=IDENTITY_MODES)
    assert np.abs(fits.rotation - rotation).max() < 0.05


def test_mean_offsets_find_a_displaced_point() -> None:
    rng = np.random.default_rng(4)
    mean = rng.normal(0, 40, (12, 3))
    basis = np.zeros((12, 3, SIZE))
    yaw = rng.uniform(-0.6, 0.6, 300)
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.stack([c, zero, s, zero, one, zero, -s, zero, c], 1).reshape(-1, 3, 3)
    translation = np.tile([0, 0, 1000.0], (300, 1))
    moved = mean.copy()
    moved[5] += [6, -4, 0]
    camera = moved @ rotation.transpose(0, 2, 1) + translation[:, None]
    targets = np.stack([project(points, photo_intrinsics()) for points in camera])
    fits = Fits(rotation, translation, np.zeros((300, SIZE)), np.zeros(300))
    offsets = mean_offsets(mean, basis, fits, targets)
    np.testing.assert_allclose(offsets[5], [6, -4, 0], atol=1.0)
    assert np.abs(np.delete(offsets, 5, axis=0)).max() < 1e-6


def test_real_photos_fit_their_landmarks(face_data: Any) -> None:
    fits: Fits = face_data[3]
    assert np.median(fits.error) < 0.016
    assert fits.error.max() < 0.04


def test_the_model_crop_agrees_with_the_live_crop(engine: Any) -> None:
    kit = engine.kits[ICT]
    fits, labels = kit.photos.fits, kit.photos.labels
    off = []
    for i in range(24):
        head = kit.model.vertices(fits.coefficients[i : i + 1])[0]
        camera = kit.anchors(head) @ fits.rotation[i].T + fits.translation[i]
        made = crop_from_anchors(*project(camera, photo_intrinsics()))
        live = crop_from_landmarks(labels.landmarks[i])
        off.append([(made.x - live.x) / live.half, (made.y - live.y) / live.half, made.half / live.half - 1])
    mean = np.abs(np.mean(off, axis=0))
    assert mean.max() < 0.01, "no bias between training and live crops"
    assert np.abs(off).max() < 0.08


def test_the_stored_correspondence_reproduces_the_head_model(face_data: Any) -> None:
    model: HeadModel = face_data[2]
    points = stored_correspondence(model)
    with np.load(Path("stream/face/head_model.npz"), allow_pickle=False) as data:
        stored = data["points"]
    again = head_model_arrays(model, points)["points"]
    np.testing.assert_allclose(again, stored, atol=0.05)
    assert np.linalg.norm(again[468] - again[473]) == pytest.approx(63, abs=0.05)
    np.testing.assert_allclose(points.weights.sum(axis=1), 1, atol=1e-5)


def test_damaged_inputs_are_named(tmp_path: Path, face_data: Any) -> None:
    model = face_data[2]
    with pytest.raises(ModelError, match="head model"):
        stored_correspondence(model, tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"labels\.npz"):
        load_labels(tmp_path)
    np.savez(tmp_path / "labels.npz", landmarks=np.zeros((2, 3, 3)), matrix=np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="shapes"):
        load_labels(tmp_path)
    bad = np.full((2, 478, 3), np.nan)
    np.savez(tmp_path / "labels.npz", landmarks=bad, matrix=np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="finite"):
        load_labels(tmp_path)


def test_a_missing_photo_is_named(face_data: Any) -> None:
    data, cache, model, _ = face_data
    photos = fit_photos(model, data / "faces", cache / "fits_ict.npz", stored_correspondence(model))
    assert photos.image(3).shape == (320, 320, 3)
    with pytest.raises(InputError, match="05000"):
        photos.image(5000)
