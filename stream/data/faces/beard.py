"""Beards, and where on a head beard, brows and lashes grow: regions between landmarks, kept by vertex."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from stream.data.faces.head import HeadModel, vertex_normals
from stream.data.faces.prop import HAIR_PART, Prop
from stream.data.faces.shapes import soft_step
from stream.face.lips import LIPS_OUTER
from stream.types import Array

UNDER_NOSE = (57, 92, 98, 97, 2, 326, 327, 322, 287)
"""Upper border of a moustache, right to left."""

BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))

UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))

MOUTH_CORNER, SIDEBURN, BEFORE_EAR, CHEEK, JAW_UP, JAW_ANGLE = 61, 127, 234, 93, 132, 58
JAW = (172, 136, 150, 149, 176, 148)
CHIN = 152
"""On the right side of the face; the left side's are their mirror images."""

UNROLL_RADIUS, UNROLL_Z = 75.0, 60.0
"""The face is unrolled from a cylinder of this radius about a vertical axis at this z, mm, head frame."""

NEAR = 9.0
"""Millimetres round a region that are kept with it."""

LEAST_MM = 0.7
"""How far under the skin a beard's border ends."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Where hair grows on a head model's skin, by vertex; distances are (K,) float32 mm.

    :ivar skin: (K,) int32, the vertices in or near such a region; ``count`` is how many the model has.
    :ivar faces: (F, 3) int32, the triangles of the regions of beard and moustache, as indices in ``skin``.
    :ivar beard, moustache, brow: distance inside the region's border, negative outside.
    :ivar upper_lash, lower_lash: distance to the border of the lids.
    :ivar unrolled: (K, 2) place on the unrolled face: along the circumference, and y.
    """

    skin: Array
    count: int
    faces: Array
    beard: Array
    moustache: Array
    brow: Array
    upper_lash: Array
    lower_lash: Array
    unrolled: Array


def regions_of(model: HeadModel, landmarks: Array) -> Regions:
    """Where beard, moustache, brows and lashes are on a head model; worked out once, on its mean.

    :param landmarks: (478, 3) mm, MediaPipe's points on ``model.mean``.
    """
    unrolled, flat = _unrolled(model.mean), _unrolled(landmarks)
    # Behind the ears the roll has its seam; hair there is not of the face.
    skin = np.flatnonzero(np.abs(unrolled[: model.outer_end, 0]) < UNROLL_RADIUS * 2.0)
    places = unrolled[skin]
    lips = flat[list(LIPS_OUTER)]
    off_lips = -_inside(lips, places) - 0.5
    corner_to_corner = [*LIPS_OUTER[LIPS_OUTER.index(291) :], MOUTH_CORNER][::-1]
    jaw = np.concatenate([flat[corner_to_corner], _cheek_and_jaw(flat)])
    upper = np.concatenate([flat[list(UNDER_NOSE)], lips[LIPS_OUTER.index(291) :: -1]])
    beard = np.minimum(_inside(jaw, places), off_lips)
    moustache = np.minimum(_inside(upper, places), off_lips)
    brow = np.maximum(*(_inside(flat[list(border)], places) for border in BROWS))
    lashes = [
        _to_lines([landmarks[list(lid)] for lid in lids], model.mean[skin])
        for lids in (UPPER_LIDS, LOWER_LIDS)
    ]
    used = (np.maximum(np.maximum(beard, moustache), brow) > -NEAR) | (np.minimum(*lashes) < NEAR)
    kept = skin[used].astype(np.int32)
    index = np.full(len(model.mean), -1, np.int32)
    index[kept] = np.arange(len(kept))
    faces = index[model.triangles]
    faces = faces[(faces >= 0).all(axis=1)]
    hairy = np.maximum(beard, moustache)[used]
    faces = np.ascontiguousarray(faces[(hairy[faces] > 0).any(axis=1)])
    fields = (field[used] for field in (beard, moustache, brow, *lashes, places))
    return Regions(kept, len(model.mean), faces, *fields)


def _unrolled(points: Array) -> Array:
    """(N, 2) float32: along the circumference (right is negative), and y, mm."""
    angle = np.arctan2(points[:, 0], UNROLL_Z - points[:, 2])
    return np.stack([angle * UNROLL_RADIUS, points[:, 1]], axis=1).astype(np.float32)


def _cheek_and_jaw(flat: Array) -> Array:
    """(P, 2) border of a full beard from the right corner of the mouth round the jaw to the left one."""
    corner, ear = flat[MOUTH_CORNER], flat[BEFORE_EAR]
    right = [
        corner + np.array([-4.0, -5.0]),
        0.55 * corner + 0.45 * flat[JAW_UP] + np.array([0.0, -2.0]),
        0.25 * corner + 0.75 * flat[CHEEK],
        ear + np.array([9.0, 0.0]),
        flat[SIDEBURN] + np.array([6.0, -16.0]),
        flat[SIDEBURN] + np.array([-7.0, -16.0]),
        ear + np.array([-9.0, 4.0]),
        flat[JAW_ANGLE] + np.array([-18.0, 4.0]),
        flat[JAW[0]] + np.array([-10.0, 16.0]),
        *(flat[i] + np.array([0.0, 22.0]) for i in JAW[1:]),
        flat[CHIN] + np.array([0.0, 24.0]),
    ]
    middle = flat[CHIN, 0]
    left = [(2 * middle - x, y) for x, y in right[-2::-1]]
    return np.array([*right, *left], np.float32)


def _inside(border: Array, places: Array) -> Array:
    """(K,) float32 distance of places (K, 2) inside a closed border (P, 2), negative outside."""
    contour = np.ascontiguousarray(border, np.float32).reshape(-1, 1, 2)
    distance = [cv2.pointPolygonTest(contour, (float(x), float(y)), True) for x, y in places]
    return np.array(distance, np.float32)


def _to_lines(lines: list[Array], places: Array) -> Array:
    """(K,) float32 distance of places (K, 3) to the nearest of some polylines."""
    distance = np.full(len(places), np.inf, np.float32)
    for line in lines:
        start, way = line[:-1], np.diff(line, axis=0)
        share = np.einsum("psi,si->ps", places[:, None] - start, way) / (way**2).sum(axis=1)
        foot = start + np.clip(share, 0, 1)[..., None] * way
        distance = np.minimum(distance, np.linalg.norm(places[:, None] - foot, axis=-1).min(axis=1))
    return distance.astype(np.float32)


def stubble_weight(rng: Generator, regions: Regions) -> Array:
    """(N,) float32 0..1: how much the skin is darkened towards the hair's colour by stubble.

    Multiply the skin's albedo by ``1 - weight * (1 - hair / skin)``, or mix towards the hair's colour.
    """
    edge = rng.uniform(5, 14)
    jaw = soft_step(regions.beard - rng.uniform(-2, 6), edge)
    lip = soft_step(regions.moustache + 1.0, edge * 0.4) * rng.uniform(0.6, 1.1)
    strength = rng.uniform(0.08, 0.6)
    patchy = 1 + 0.25 * np.sin(regions.unrolled @ rng.normal(0, 0.12, (2, 3)) + rng.uniform(0, 6, 3)).mean(
        axis=1
    )
    return _by_vertex(regions, np.clip(np.maximum(jaw, lip) * strength * patchy, 0, 1))


def brow_weight(rng: Generator, regions: Regions) -> Array:
    """(N,) float32 0..1: how much the skin shows the brows' hair; thin to bushy."""
    wider = rng.uniform(-1.0, 1.5)
    return _by_vertex(regions, soft_step(regions.brow + wider, rng.uniform(1.5, 3.5)) * rng.uniform(0.5, 1.0))


def lash_weight(rng: Generator, regions: Regions) -> Array:
    """(N,) float32 0..1: how much the borders of the lids are darkened by lashes; mostly the upper ones."""
    width = rng.uniform(0.7, 1.5)
    upper = np.exp(-((regions.upper_lash / width) ** 2)) * rng.uniform(0.5, 0.95)
    lower = np.exp(-((regions.lower_lash / width) ** 2)) * rng.uniform(0.0, 0.45)
    return _by_vertex(regions, np.maximum(upper, lower))


def _by_vertex(regions: Regions, weight: Array) -> Array:
    """(N,) float32 of all of the model's vertices, from those of the regions."""
    weights = np.zeros(regions.count, np.float32)
    weights[regions.skin] = weight
    return weights


def draw_beard(rng: Generator, regions: Regions, head: Array, normals: Array, colour: Array) -> list[Prop]:
    """A random beard: the skin under it, lifted along its normals and hanging a little; empty for a head
    without the region.

    :param head: (N, 3) float32 mm, the model's vertices in the head frame; ``normals`` (N, 3) outwards.
    :param colour: (3,) 0..1 RGB of the hair.
    """
    long = math.exp(rng.uniform(math.log(2.5), math.log(15)))
    cover = _cover(rng, regions, 4.0 + 0.5 * long)
    triangles = regions.faces[(cover[regions.faces] > 0).any(axis=1)]
    if len(triangles) == 0:
        return []
    used = np.zeros(len(cover), bool)
    used[triangles] = True
    index = np.cumsum(used, dtype=np.int32) - 1
    flat, cover, below = regions.unrolled[used], cover[used, None], regions.beard[used, None] > 0
    skin = regions.skin[used]
    waves = np.sin(flat @ rng.normal(0, 0.35, (2, 4)) + rng.uniform(0, 6, 4)).sum(axis=1, keepdims=True)
    lift = long * cover * (1 + 0.1 * waves + rng.normal(0, 0.06, (len(skin), 1))) - LEAST_MM * (1 - cover)
    hang = np.array([0.0, rng.uniform(0.0, 0.7), 0.0]) * cover * long
    # Moustaches do not hang over the mouth.
    vertices = np.ascontiguousarray(head[skin] + normals[skin] * lift + hang * below, np.float32)
    faces = np.ascontiguousarray(index[triangles])
    tint = np.clip(np.asarray(colour) * rng.uniform(0.75, 1.25), 0.01, 1).astype(np.float32)
    stretch = (float(rng.uniform(1.5, 5)), float(rng.uniform(0.3, 1.2)))
    return [
        Prop(
            vertices,
            vertex_normals(vertices, faces),
            np.ascontiguousarray(flat / 100, np.float32),
            faces,
            HAIR_PART,
            tint,
            gloss=float(rng.uniform(0.02, 0.12)),
            strands=float(rng.uniform(0.5, 1.4)),
            stretch=stretch,
        )
    ]


def _cover(rng: Generator, regions: Regions, edge: float) -> Array:
    """(K,) float32 0..1: how much of its length a full beard, goatee, chin beard or moustache has there."""
    kind = rng.choice(4, p=(0.45, 0.2, 0.1, 0.25))
    jaw = soft_step(regions.beard, edge)
    lip = soft_step(regions.moustache + 0.5, min(edge, 4.0)) * rng.uniform(0.5, 1.0)
    if kind == 3:
        return lip
    if kind in (1, 2):
        beside = rng.uniform(18, 34) - np.abs(regions.unrolled[:, 0])
        lowest = regions.unrolled[regions.beard > 0, 1].max(initial=0.0) - rng.uniform(10, 20)
        jaw = jaw * soft_step(beside, 8.0) * soft_step(lowest - regions.unrolled[:, 1], 6.0)
    return jaw if kind == 2 else np.maximum(jaw, lip)
