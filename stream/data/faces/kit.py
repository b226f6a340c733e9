"""One topology with all that is worked out once for it: its fits to the photos, its surface, its openness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.data.faces import sampling
from stream.data.faces.appearance import HeadSurface, head_surface
from stream.data.faces.beard import Regions, regions_of
from stream.data.faces.fit import Correspondence
from stream.data.faces.head import EYES, HeadModel, vertex_normals
from stream.data.faces.photos import FittedPhotos
from stream.data.faces.render import HEAD_FLOATS, Renderer
from stream.face.crop import LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from stream.types import Array

FRONT_FACE_PART = 8
"""Drawn instead of SKIN for the part of the face that hair seldom covers."""

FRONT_FACE_TOP, FRONT_FACE_BOTTOM = -38.0, 113.0
"""Its ends (y in mm, head frame, y down): a little above the brows, and the chin."""

LOWEST_OPENNESS, LOWEST_IN_MOUTH = 0.16, 0.35
"""Some light is thrown back into every fold; wet flesh throws it about."""


@dataclass(frozen=True, slots=True)
class HeadKit:
    """What the engine needs of one head model.

    :ivar photos: the fits of this model to the photos.
    :ivar points: where MediaPipe's 478 landmarks lie on it.
    :ivar surface: fixed facts of its surface.
    :ivar outer: (M, 3) int32 triangles of the outside alone.
    :ivar parts: (N,) float32, parts as they are drawn.
    :ivar closed, opened: (N,) float32, how much of the sky each vertex sees with the jaw shut and open.
    :ivar layout: (N, 2) float32 0..1, a cylinder's coordinates round the mean head: the same place of any
        head of either topology has about the same.
    :ivar regions: where beards, brows and lashes grow.
    """

    model: HeadModel
    photos: FittedPhotos
    points: Correspondence
    surface: HeadSurface
    outer: Array
    parts: Array
    closed: Array
    opened: Array
    layout: Array
    regions: Regions

    def landmarks(self, head: Array) -> Array:
        """(478, 3) mm of a head (N, 3)."""
        return self.points.place(head)

    def anchors(self, head: Array) -> Array:
        """Right eye centre, left eye centre and mouth corners' midpoint on a head (N, 3): (3, 3) mm."""
        points = self.landmarks(head)
        return np.stack([points[list(g)].mean(axis=0) for g in (RIGHT_EYE, LEFT_EYE, MOUTH_CORNERS)])

    def eye_distance(self, head: Array, rotation: Array, translation: Array) -> float:
        """Camera depth (mm) of the midpoint of the eye centres."""
        middle = self.anchors(head)[:2].mean(axis=0)
        return float(rotation[2] @ middle + translation[2])

    def look(self, head: Array, gaze: tuple[float, float]) -> None:
        """Turn the eyeballs of ``head`` in place, each about its own centre; ``gaze`` as `draw_gaze`."""
        eyes = self.model.part == EYES
        vertices = head[eyes]
        turned = sampling.turn(*gaze)
        for side in (-1, 1):
            one = self.surface.eye_side == side
            middle = vertices[one].mean(axis=0)
            centre = (
                middle + self.surface.eye_centres[int(side > 0)] - self.model.mean[eyes][one].mean(axis=0)
            )
            vertices[one] = (vertices[one] - centre) @ turned.T + centre
        head[eyes] = vertices

    def posed(self, head: Array, rotation: Array, translation: Array, jaw: float) -> Array:
        """(N, HEAD_FLOATS) float32 for the renderer: place, normal, openness, part and uv; no colours yet.

        :param jaw: how far the jaw is open, 0..1.
        """
        vertices = np.zeros((len(head), HEAD_FLOATS), np.float32)
        camera = np.ascontiguousarray(head @ rotation.T + translation, np.float32)
        vertices[:, :3] = camera
        vertices[:, 3:6] = vertex_normals(camera, self.model.triangles)
        share = min(jaw / 0.5, 1.0)
        least = np.where(self.surface.depth_in_mouth > 0, LOWEST_IN_MOUTH, LOWEST_OPENNESS)
        vertices[:, 17] = np.maximum(self.closed * (1 - share) + self.opened * share, least)
        vertices[:, 18] = self.parts
        vertices[:, 19:21] = self.layout
        return vertices


def make_kit(model: HeadModel, points: Correspondence, photos: FittedPhotos, renderer: Renderer) -> HeadKit:
    """Work out what is fixed for a head model."""
    parts = model.part.astype(np.float32)
    height = model.mean[:, 1]
    parts[model.face & (height > FRONT_FACE_TOP) & (height < FRONT_FACE_BOTTOM)] = FRONT_FACE_PART
    jaw = np.zeros((1, len(model.basis)))
    jaw[0, model.identities + model.expressions.index("jawOpen")] = 0.6
    opened = model.vertices(jaw)[0]
    return HeadKit(
        model,
        photos,
        points,
        head_surface(model),
        model.triangles_of(np.arange(len(model.part)) < model.outer_end),
        parts,
        renderer.openness(model.mean, model.triangles),
        renderer.openness(opened, model.triangles),
        _cylinder(model.mean),
        regions_of(model, points.place(model.mean)),
    )


def _cylinder(mean: Array) -> Array:
    """Angle round the vertical axis through the head's middle, and height, both as 0..1."""
    low, high = mean.min(axis=0), mean.max(axis=0)
    angle = np.arctan2(mean[:, 0], (low[2] + high[2]) / 2 - mean[:, 2])
    height = (mean[:, 1] - low[1]) / (high[1] - low[1])
    return np.column_stack([0.5 + angle / (2 * np.pi), height]).astype(np.float32)
