"""Colours on a posed head: a photo with its light taken away and its tone changed, or painted skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.data.faces.appearance import fill_tints, photo_weights, sample_photo, skin_and_hair_colour
from stream.data.faces.beard import brow_weight, lash_weight, stubble_weight
from stream.data.faces.head import EYES, vertex_normals
from stream.data.faces.kit import HeadKit
from stream.data.faces.skin import draw_tone, fitzpatrick, painted_skin, photo_gain
from stream.types import Array

MOST_CHANGE = 3.0
"""Largest factor by which a photo's skin is made darker or lighter."""

STUBBLE_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Paint:
    """What was painted on a head.

    :ivar skin, hair: (3,) display colours in 0..1 of the cheeks and of what is on top of the head.
    :ivar kind: Fitzpatrick's type of that skin, 1 to 6.
    :ivar tone: (3,) linear factor on the photo's colours.
    :ivar painted: no photo is used.
    """

    skin: Array
    hair: Array
    kind: int
    tone: Array
    painted: bool


def paint(
    rng: Generator, kit: HeadKit, own: Array, photo: int, picture: Array, vertices: Array, painted: bool
) -> Paint:
    """Fill in the colours of ``vertices`` (N, HEAD_FLOATS) and tell what they are.

    Every type of Fitzpatrick's scale is drawn equally often; a photo of that type or the next keeps its own
    colours, others are multiplied by what takes their cheeks to the type's colour.

    :param own: (N, 3) mm, the head as fitted to ``photo``, whose ``picture`` is (320, 320, 3) uint8.
    """
    model = kit.model
    end = model.outer_end
    wanted = int(rng.integers(1, 7))
    if painted:
        skin = draw_tone(rng, wanted)
        hair = skin * rng.uniform(0.1, 0.7)
        paint = Paint(skin, hair, fitzpatrick(skin), np.ones(3), True)
    else:
        paint = _project(rng, kit, own, photo, picture, vertices, wanted)
    vertices[model.part == EYES, 10:13] = kit.surface.eye_direction
    teeth = float(rng.uniform(0.55, 0.95))
    vertices[:, 14:17] = fill_tints(model, kit.surface, paint.skin, paint.hair, teeth)
    if painted:
        _paint_face(rng, kit, vertices, paint)
    if rng.random() < STUBBLE_SHARE:
        share = stubble_weight(rng, kit.regions)[:end, None]
        grown = 1 - share * (1 - np.clip(paint.hair / np.maximum(paint.skin, 0.03), 0.1, 1))
        vertices[:end, 14:17] *= grown
        vertices[:end, [9, 13]] *= grown.mean(axis=1, keepdims=True) ** 2.2
    return paint


def photo_colours(kit: HeadKit, own: Array, photo: int, picture: Array) -> tuple[Array, Array, Array]:
    """Where the outer vertices lie in their photo (n, 2), how well each is seen (n,), and its colour (n, 3).

    :param own: (N, 3) mm, the head as fitted to ``photo``, whose ``picture`` is (320, 320, 3) uint8.
    """
    fits = kit.photos.fits
    outer = np.ascontiguousarray(own[: kit.model.outer_end])
    uv, weight = photo_weights(outer, fits.rotation[photo], fits.translation[photo], kit.outer)
    return uv, weight, sample_photo(picture, uv)


def _paint_face(rng: Generator, kit: HeadKit, vertices: Array, paint: Paint) -> None:
    """Skin, lips, brows and lashes by vertex; hair's colour above the hairline."""
    model, surface = kit.model, kit.surface
    end = model.outer_end
    brows = np.maximum(brow_weight(rng, kit.regions), lash_weight(rng, kit.regions))[:end]
    bare = 1 - surface.hair_tint[:end, None]
    face = painted_skin(rng, model.mean[:end], kit.landmarks(model.mean), paint.skin, brows)
    vertices[:end, 14:17] = face * bare + paint.hair * (1 - bare)


def _project(
    rng: Generator, kit: HeadKit, own: Array, photo: int, picture: Array, vertices: Array, wanted: int
) -> Paint:
    """Take the photo's colours: places, weights and gains of every outer vertex and of its mirror image."""
    model = kit.model
    end = model.outer_end
    uv, weight, display = photo_colours(kit, own, photo, picture)
    outer, rotation = np.ascontiguousarray(own[:end]), kit.photos.fits.rotation[photo]
    normals = vertex_normals(np.ascontiguousarray(outer @ rotation.T, np.float32), kit.outer)
    gain = photo_gain(display**2.2, normals, weight, model.face[:end])
    skin, hair = skin_and_hair_colour(model, display, weight)
    tone = np.ones(3)
    if abs(fitzpatrick(skin) - wanted) > 1:
        tone = np.clip((draw_tone(rng, wanted) / np.maximum(skin, 0.03)) ** 2.2, 1 / MOST_CHANGE, MOST_CHANGE)
        skin = np.clip(skin * tone ** (1 / 2.2), 0.03, 0.97)
    mates = kit.surface.mirror[:end]
    # A mate may be no outer vertex where the mesh is not quite symmetric.
    mates = np.where(mates < end, mates, np.arange(end))
    for first, rows in ((6, np.arange(end)), (10, mates)):
        vertices[:end, first : first + 2] = uv[rows]
        vertices[:end, first + 2], vertices[:end, first + 3] = weight[rows], gain[rows]
    return Paint(skin, hair, fitzpatrick(skin), tone, False)
