"""Irradiance by spherical harmonics against integrals done by hand, and lights that make sense."""

from __future__ import annotations

import numpy as np
import pytest

from stream.data.faces.lighting import (
    basis,
    draw_lighting,
    environment_harmonics,
    light_direction,
    light_numbers,
    project_harmonics,
    temperature,
)

HEAD = np.array([50.0, -20.0, 600.0])


def sphere(count):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_the_basis_is_orthonormal():
    functions = basis(sphere(400_000))
    products = functions.T @ functions * 4 * np.pi / len(functions)
    np.testing.assert_allclose(products, np.eye(9), atol=0.02)


def test_even_light_gives_its_radiance_everywhere():
    directions = sphere(200_000)
    harmonics = project_harmonics(directions, np.full((len(directions), 3), 0.7))
    found = basis(sphere(50)) @ harmonics
    np.testing.assert_allclose(found, 0.7, atol=0.01)


def test_light_of_low_order_agrees_with_the_integral_over_the_cosine_lobe():
    directions = sphere(400_000)
    radiance = 1 + 0.6 * directions[:, :1] - 0.3 * directions[:, 1:2] * directions[:, 2:]
    harmonics = project_harmonics(directions, radiance.repeat(3, axis=1))
    for normal in sphere(6):
        lobe = np.maximum(directions @ normal, 0)[:, None]
        integral = (radiance * lobe).mean() * 4 * np.pi / np.pi
        assert (basis(normal) @ harmonics)[0] == pytest.approx(integral, abs=0.01)


def test_a_picture_lights_from_its_bright_side():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    harmonics = environment_harmonics(picture)
    right, left = (basis(np.array([x, 0.0, 0.0])) @ harmonics for x in (1.0, -1.0))
    assert (right > 3 * np.maximum(left, 0.02)).all()


def test_lighting_is_drawn_the_same_for_a_seed_and_keeps_the_albedos_brightness():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    first, again = (draw_lighting(np.random.default_rng(4), picture, HEAD) for _ in range(2))
    np.testing.assert_array_equal(light_numbers(first), light_numbers(again))
    assert light_numbers(first).shape == (42,)
    for seed in range(40):
        light = draw_lighting(np.random.default_rng(seed), picture, HEAD)
        front = basis(np.array([0.0, 0.0, -1.0])) @ light.harmonics
        assert np.isfinite(light_numbers(light)).all()
        assert 0 <= front.mean() <= 1.01
        assert np.linalg.norm(light_direction(light, HEAD)) == pytest.approx(1)


def test_warm_light_is_redder_than_cold():
    warm, cold = temperature(2700), temperature(9000)
    assert warm[0] > warm[1] > warm[2]
    assert cold[2] > cold[0]
