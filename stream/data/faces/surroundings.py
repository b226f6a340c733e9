"""What is drawn with a head: which props, how often, in what colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator

from stream.data.faces.beard import draw_beard
from stream.data.faces.clothes import draw_collar
from stream.data.faces.glasses import draw_glasses
from stream.data.faces.hair import draw_hair, load_hair
from stream.data.faces.hands import load_hands
from stream.data.faces.head import vertex_normals
from stream.data.faces.kit import HeadKit
from stream.data.faces.objects import draw_object
from stream.data.faces.paint import Paint
from stream.data.faces.prop import Prop
from stream.types import Array

PAINTED_HAIR_SHARE, PHOTO_HAIR_SHARE = 0.6, 0.85
"""How often a head has hair. A photo leaves its own on a bare skull, as if hair had no depth."""

BEARD_SHARE, GLASSES_SHARE = 0.12, 0.18
COLLAR_SHARE, HAND_SHARE, OBJECT_SHARE = 0.6, 0.10, 0.08
"""How often a head has each, on its own."""

HAIR_COLOURS = (
    (0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.36, 0.24, 0.14), (0.55, 0.40, 0.24),
    (0.72, 0.58, 0.38), (0.45, 0.20, 0.10), (0.55, 0.54, 0.52), (0.80, 0.79, 0.77),
)  # fmt: skip


class Surroundings:
    """The props of all topologies, loaded once.

    :param data: the folder with makehuman_hair/.
    :param kits: the head models by topology.
    :raises InputError: the hair meshes are missing or damaged.
    :raises MissingExtraError: the package that the hands come from is not installed.
    """

    def __init__(self, data: Path, kits: dict[int, HeadKit]) -> None:
        self._hands = load_hands()
        self._hair = {key: load_hair(data / "makehuman_hair", kit.model) for key, kit in kits.items()}

    def draw(
        self,
        rng: Generator,
        kit: HeadKit,
        head: Array,
        look: Paint,
        pictures: Sequence[Array],
        rotation: Array,
        translation: Array,
    ) -> list[Prop]:
        """Random props on and before a head, posed to the camera.

        :param head: (N, 3) mm, head frame; ``look`` its colours.
        :param pictures: (H, W, 3) uint8 RGB, patches of which are on objects.
        :param rotation, translation: head to camera.
        """
        model, landmarks = kit.model, kit.landmarks(head)
        outer = np.ascontiguousarray(head[: model.outer_end], np.float32)
        colour = draw_hair_colour(rng, look.hair)
        props: list[Prop] = []
        if rng.random() < (PAINTED_HAIR_SHARE if look.painted else PHOTO_HAIR_SHARE):
            styles = self._hair[model.topology]
            props += draw_hair(rng, styles, model, head, landmarks, colour)
        if rng.random() < BEARD_SHARE:
            normals = vertex_normals(np.ascontiguousarray(head, np.float32), model.triangles)
            props += draw_beard(rng, kit.regions, head, normals, colour)
        if rng.random() < GLASSES_SHARE:
            props += draw_glasses(rng, landmarks)
        if rng.random() < COLLAR_SHARE:
            collar = draw_collar(rng, model, head)
            props += [] if collar is None else [collar]
        if rng.random() < HAND_SHARE:
            props.append(self._hands.draw(rng, look.skin, outer))
        if rng.random() < OBJECT_SHARE:
            props.append(draw_object(rng, pictures, outer))
        return [_posed(prop, rotation, translation) for prop in props]


def draw_hair_colour(rng: Generator, photographed: Array) -> Array:
    """(3,) colour in 0..1: that of the photo's hair, or a natural one."""
    if rng.random() < 0.4:
        return np.clip(photographed * rng.uniform(0.8, 1.3), 0.02, 0.95)
    chosen = np.array(HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))])
    return np.clip(chosen * rng.uniform(0.7, 1.4), 0.02, 0.95)


def _posed(prop: Prop, rotation: Array, translation: Array) -> Prop:
    turn = rotation.T.astype(np.float32)
    return replace(
        prop,
        vertices=prop.vertices @ turn + translation.astype(np.float32),
        normals=prop.normals @ turn,
    )
