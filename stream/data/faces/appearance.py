"""Colours of a head: a fitted photo as texture, mirrored where hidden, plausible tints elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial import cKDTree

from stream.data.faces.fit import PHOTO_SIDE, photo_intrinsics
from stream.data.faces.head import (
    EYE_SOCKET,
    EYES,
    GUMS,
    HEAD,
    MOUTH_SOCKET,
    TEETH,
    HeadModel,
    vertex_normals,
)
from stream.geometry import project
from stream.types import Array

GRAZING, FRONTAL = 0.2, 0.45
"""Cosine between normal and line of sight where the photo begins to count and where it counts fully."""

OCCLUDED_MM = 4.0
BUFFER_SIDE = 160
BORDER = 6.0
"""Pixels from the photo's border over which it fades out."""

HAIRLINE = -62.0
"""Height (mm, head frame, y down) above which the head's tint is that of hair."""


@dataclass(frozen=True, slots=True)
class HeadSurface:
    """What never changes between samples.

    :ivar mirror: (N,) int, each vertex's mate on the other side.
    :ivar eye_direction: (E, 3) float32 unit directions of the eyeball vertices from their eye's centre.
    :ivar eye_side: (E,) -1 right eye, 1 left eye.
    :ivar eye_centres: (2, 3) of the right and the left eye on the mean face, mm.
    :ivar depth_in_mouth: (N,) 0 at the lips' plane to 0.75 in the throat; 0 outside the mouth.
    :ivar hair_tint: (N,) 0..1, how much a vertex's fill colour is hair's.
    """

    mirror: Array
    eye_direction: Array
    eye_side: Array
    eye_centres: Array
    depth_in_mouth: Array
    hair_tint: Array


def head_surface(model: HeadModel) -> HeadSurface:
    """Work out the fixed facts of a head model."""
    mirror = cKDTree(model.mean * [-1, 1, 1]).query(model.mean)[1]
    eyes = model.mean[model.part == EYES]
    side = np.sign(eyes[:, 0])
    centres = np.array([(eyes[side == s].min(axis=0) + eyes[side == s].max(axis=0)) / 2 for s in (-1, 1)])
    radius = eyes[:, 0].max() - centres[1, 0]
    centres[:, 2] = [eyes[side == s][:, 2].max() - radius for s in (-1, 1)]
    direction = eyes - centres[(side > 0).astype(int)]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    inner = np.isin(model.part, (MOUTH_SOCKET, GUMS, TEETH))
    depth = np.clip((model.mean[:, 2] + 25.0) / 90.0, 0, 0.75) * inner
    above = 1 / (1 + np.exp((model.mean[:, 1] - HAIRLINE) / 4.0))
    behind = (model.part == HEAD) & (model.mean[:, 1] < 25.0)
    hair = np.where(behind, 1.0, above * (model.mean[:, 1] < 0))
    return HeadSurface(
        mirror, direction.astype(np.float32), side, centres, depth.astype(np.float32), hair.astype(np.float32)
    )


@numba.njit(cache=True)
def _depth_buffer(pixels: Array, depth: Array, triangles: Array, side: int) -> Array:
    """(side, side) smallest depth of the triangles at each pixel centre, inf where none."""
    buffer = np.full((side, side), np.inf, np.float32)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t]
        ax, ay, bx, by, cx, cy = (
            pixels[i, 0], pixels[i, 1], pixels[j, 0], pixels[j, 1], pixels[k, 0], pixels[k, 1]
        )  # fmt: skip
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left, right = max(0, int(np.ceil(min(ax, bx, cx)))), min(side - 1, int(np.floor(max(ax, bx, cx))))
        top, bottom = max(0, int(np.ceil(min(ay, by, cy)))), min(side - 1, int(np.floor(max(ay, by, cy))))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if v >= 0 and w >= 0 and v + w <= 1:
                    z = (1 - v - w) * depth[i] + v * depth[j] + w * depth[k]
                    buffer[y, x] = min(buffer[y, x], z)
    return buffer


def photo_weights(
    vertices: Array, rotation: Array, translation: Array, triangles: Array
) -> tuple[Array, Array]:
    """Where each vertex lies in its photo: uv (n, 2) in 0..1 and weight (n,) 0..1, 0 where hidden.

    :param vertices: (n, 3) float32 head frame, fitted to the photo; ``triangles`` only over those.
    """
    camera = vertices @ rotation.T + translation
    pixels = project(camera, photo_intrinsics())
    normals = vertex_normals(camera, triangles)
    cosine = -(normals * camera).sum(axis=1) / np.linalg.norm(camera, axis=1)
    weight = np.clip((cosine - GRAZING) / (FRONTAL - GRAZING), 0, 1)
    scale = BUFFER_SIDE / PHOTO_SIDE
    small = (pixels + 0.5) * scale - 0.5
    buffer = _depth_buffer(small, camera[:, 2], triangles, BUFFER_SIDE)
    cell = np.clip(np.rint(small).astype(int), 0, BUFFER_SIDE - 1)
    weight *= camera[:, 2] <= buffer[cell[:, 1], cell[:, 0]] + OCCLUDED_MM
    edge = np.minimum(pixels, PHOTO_SIDE - 1 - pixels).min(axis=1)
    weight *= np.clip(edge / BORDER, 0, 1)
    return ((pixels + 0.5) / PHOTO_SIDE).astype(np.float32), weight.astype(np.float32)


def sample_photo(photo: Array, uv: Array) -> Array:
    """Nearest colours (n, 3) float 0..1 of a photo at uv (n, 2)."""
    cell = np.clip((uv * PHOTO_SIDE).astype(int), 0, PHOTO_SIDE - 1)
    return photo[cell[:, 1], cell[:, 0]].astype(np.float32) / 255


def skin_and_hair_colour(model: HeadModel, colours: Array, weight: Array) -> tuple[Array, Array]:
    """Median display colours (3,) 0..1 of a photo's cheeks and of what covers the top of its head.

    :param colours: (n, 3) of the outer vertices in the photo; ``weight`` (n,) how well each is seen.
    """
    y, z = model.mean[: len(weight), 1], model.mean[: len(weight), 2]
    cheek = (weight > 0.6) & (y > 15) & (y < 45) & (z < 0)
    top = (weight > 0.4) & (y < -80)
    skin = np.median(colours[cheek], axis=0) if cheek.sum() > 20 else np.array([0.75, 0.58, 0.5])
    hair = np.median(colours[top], axis=0) if top.sum() > 20 else skin * 0.5
    return skin, hair


def fill_tints(model: HeadModel, surface: HeadSurface, skin: Array, hair: Array, teeth: float) -> Array:
    """(N, 3) float32 colours 0..1 for everything that the photo does not show.

    :param teeth: brightness of the teeth, 0..1.
    """
    blend = surface.hair_tint[:, None]
    tint = skin * (1 - blend) + hair * blend
    dark = (1 - surface.depth_in_mouth[:, None]) ** 0.7
    flesh = np.array([0.62, 0.30, 0.28]) * (0.4 + 0.6 * skin.mean())
    tint[model.part == MOUTH_SOCKET] = (flesh * 0.95 * dark)[model.part == MOUTH_SOCKET]
    tint[model.part == GUMS] = (flesh * 1.15 * dark)[model.part == GUMS]
    enamel = np.array([1.0, 0.96, 0.88]) * teeth
    tint[model.part == TEETH] = (enamel * (0.25 + 0.75 * dark))[model.part == TEETH]
    tint[model.part == EYE_SOCKET] = skin * 0.55
    tint[model.part == EYES] = 1.0
    return tint.astype(np.float32)
