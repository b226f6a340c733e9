"""The head model: units, axes, linearity, normals, and files that are not it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.data.faces.head import EYES, vertex_normals
from stream.data.faces.ict import EXPRESSIONS, IDENTITY_MODES, MULTI_PIE_68, load_head_model
from stream.errors import ModelError


def test_head_frame_has_opencv_axes_and_millimetres(face_data: Any) -> None:
    model = face_data[2]
    points = model.mean[list(MULTI_PIE_68)]
    eyes = points[36:48].mean(axis=0)
    np.testing.assert_allclose(eyes, 0, atol=1.0)
    assert points[8, 1] > 90, "the chin lies below the eyes: y is down"
    assert points[30, 2] < -25, "the nose's tip is nearer than the eyes: z is forward"
    balls = model.mean[model.part == EYES]
    distance = balls[balls[:, 0] > 0].mean(axis=0) - balls[balls[:, 0] < 0].mean(axis=0)
    assert 58 < np.linalg.norm(distance) < 68, "inter-pupil distance of an adult in mm"


def test_vertices_are_linear_in_the_coefficients(face_data: Any) -> None:
    model = face_data[2]
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, IDENTITY_MODES + EXPRESSIONS)).astype(np.float32)
    va, vb, both = model.vertices(np.stack([a, b, a + b]))
    np.testing.assert_allclose(both, va + vb - model.mean, atol=2e-2)


def test_jaw_opens_downwards(face_data: Any) -> None:
    model = face_data[2]
    coefficients = np.zeros((1, IDENTITY_MODES + EXPRESSIONS))
    coefficients[0, IDENTITY_MODES + model.expressions.index("jawOpen")] = 1
    moved = model.vertices(coefficients)[0] - model.mean
    assert moved[MULTI_PIE_68[8], 1] > 15
    assert abs(moved[MULTI_PIE_68[30], 1]) < 3


def test_normals_of_a_face_point_out(face_data: Any) -> None:
    model = face_data[2]
    normals = vertex_normals(model.mean, model.triangles)
    tip, chin = normals[MULTI_PIE_68[30]], normals[MULTI_PIE_68[8]]
    assert tip[2] < -0.9
    assert chin[1] > 0.5
    np.testing.assert_allclose(np.linalg.norm(normals[:9000], axis=1), 1, atol=1e-4)


def test_normals_of_a_sphere_are_radial() -> None:
    turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, 40), np.linspace(0.2, np.pi - 0.2, 30))
    sphere = np.stack([np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)], -1)
    vertices = np.ascontiguousarray(sphere.reshape(-1, 3), np.float32)
    index = np.arange(len(vertices), dtype=np.int32).reshape(turn.shape)
    a, b, c, d = (q.ravel() for q in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    inner = index[2:-2, 2:-2].ravel()
    cosine = (vertex_normals(vertices, np.ascontiguousarray(triangles)) * vertices).sum(axis=1)[inner]
    np.testing.assert_allclose(np.abs(cosine), 1, atol=2e-3)
    assert (np.sign(cosine) == np.sign(cosine[0])).all()


def test_a_missing_or_wrong_file_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_head_model(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    with pytest.raises(ModelError):
        load_head_model(tmp_path / "text.npz")
    np.savez(tmp_path / "small.npz", neutral=np.zeros((4, 3)))
    with pytest.raises(ModelError):
        load_head_model(tmp_path / "small.npz")
    arrays = {"identity": np.zeros((3, 4, 3)), "expression": np.zeros((57, 4, 3))}
    names = np.array(["a"] * 57)
    path = tmp_path / "short.npz"
    np.savez(path, neutral=np.zeros((4, 3)), expression_names=names, quads=np.zeros((1, 4)), **arrays)
    with pytest.raises(ModelError, match="unexpected sizes"):
        load_head_model(path)
