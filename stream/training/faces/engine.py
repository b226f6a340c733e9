"""The synthetic face engine: from a seed to a picture with exact depth, normals and mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from stream.depth.sight import line_of_sight
from stream.evaluation.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, PHOTO, SKIN, SYNTHETIC
from stream.face.crop import (
    LEFT_EYE,
    MOUTH_CORNERS,
    RIGHT_EYE,
    crop_from_anchors,
    crop_from_landmarks,
    crop_image,
)
from stream.face.pose import euler_angles
from stream.geometry import mm_per_crop_unit, project
from stream.training.faces import sampling
from stream.training.faces.appearance import (
    fill_tints,
    photo_weights,
    skin_and_hair_colour,
    surface_of,
)
from stream.training.faces.fit import Correspondence, photo_intrinsics
from stream.training.faces.hair import Hair, load_hair
from stream.training.faces.head import EYES, HeadModel, vertex_normals
from stream.training.faces.ict import HEAD_END, IDENTITY_MODES, NARROW_FACE_END, load_head_model
from stream.training.faces.photos import FittedPhotos, fit_photos
from stream.training.faces.render import (
    BACKGROUND_PART,
    HEAD_FLOATS,
    HairLook,
    Labels,
    Renderer,
    view_matrix,
)
from stream.types import Array, Crop, Intrinsics

FRONT_FACE_PART = 8
"""Drawn instead of SKIN for the part of the face that hair seldom covers."""

FRONT_FACE_TOP, FRONT_FACE_BOTTOM = -38.0, 113.0
"""Its ends (y in mm, head frame, y down): a little above the brows, and the chin."""

PHOTO_FACING = 0.45
"""Smallest cosine to the line of sight at which a photo's fitted surface is believed."""

GOOD_FIT = 0.03
"""Largest fit error (over the outer eye distance) of a photo that serves as a texture."""

JITTER_SHIFT, JITTER_SCALE, JITTER_ANGLE = 0.035, 0.04, 0.05
"""Standard deviations of the crop's jitter: of half its side, of its scale (log), radians."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample, S = label side; see `stream.training.faces.dataset` for the arrays.

    :ivar yaw, pitch: degrees, signs as in `stream.face.pose.euler_angles`; a synthetic head's are relative
        to its line of sight, a photo's (seen from afar, in the middle) to the camera's axis.
    :ivar sight: (2,) see `stream.depth.sight.line_of_sight`.
    """

    image: Array
    depth: Array
    normal: Array
    flags: Array
    mean_depth: Array
    kind: int
    yaw: float
    pitch: float
    sight: Array
    identity: Array
    expression: Array


@dataclass(frozen=True, slots=True)
class _Draw:
    """A synthetic sample's random choices that decide its geometry."""

    rng: Generator
    photo: int
    coefficients: Array
    gaze: tuple[float, float]


class FaceEngine:
    """Makes samples; one per process, used from one thread.

    :param data: the folder with ict_facekit.npz, faces/ and makehuman_hair/.
    :param fits: the cache file of fits (`stream.training.faces.photos.fit_photos`).
    :param size: side of the samples in pixels.
    :raises InputError, ModelError: some of the data is missing or damaged.
    :raises BackendError: nothing can be drawn here.
    """

    def __init__(self, data: Path, fits: Path, size: int) -> None:
        self.size = size
        self.model: HeadModel = load_head_model(data / "ict_facekit.npz")
        self.photos: FittedPhotos = fit_photos(self.model, data / "faces", fits)
        self.hair: list[Hair] = load_hair(data / "makehuman_hair", self.model)
        self.surface = surface_of(self.model)
        self.renderer = Renderer(size, self.model.triangles)
        self.parts = self.model.part.astype(np.float32)
        front = np.arange(len(self.parts)) < NARROW_FACE_END
        height = self.model.mean[:, 1]
        front &= (height > FRONT_FACE_TOP) & (height < FRONT_FACE_BOTTOM)
        self.parts[front] = FRONT_FACE_PART
        self._outer = np.ascontiguousarray(
            self.model.triangles[(self.model.triangles < HEAD_END).all(axis=1)]
        )

    def close(self) -> None:
        """Free the renderer."""
        self.renderer.close()

    def synthetic(self, seeds: Sequence[tuple[int, ...]], photos: range, with_mean: bool) -> list[Sample]:
        """One sample per seed, textured and varied from ``photos`` only.

        :param with_mean: also rasterise the posed mean face.
        """
        good = np.array([i for i in photos if self.photos.fits.error[i] < GOOD_FIT])
        draws = [self._draw(np.random.default_rng(seed), good) for seed in seeds]
        fitted = self.photos.fits.coefficients[[draw.photo for draw in draws]]
        wanted = np.stack([draw.coefficients for draw in draws])
        heads = self.model.vertices(np.concatenate([fitted, wanted]))
        pairs = zip(draws, heads[: len(draws)], heads[len(draws) :], strict=True)
        return [self._render(draw, own, head, good, with_mean) for draw, own, head in pairs]

    def photo(self, index: int, seed: tuple[int, ...], with_mean: bool) -> Sample:
        """A photo itself, labelled by the mesh fitted to it where that can be believed."""
        rng = np.random.default_rng(seed)
        fits, camera = self.photos.fits, photo_intrinsics()
        coefficients = fits.coefficients[index]
        head = self.model.vertices(coefficients[None])[0]
        rotation, translation = fits.rotation[index], fits.translation[index]
        crop = jittered(crop_from_landmarks(self.photos.labels.landmarks[index]), rng)
        distance = self.eye_distance(head, rotation, translation)
        view = view_matrix(crop, camera, distance * 0.5, distance * 2)
        labels = self.renderer.labels(self._vertices(head, rotation, translation), None, view)
        depth, known = self._depth(labels, crop, camera, distance)
        facing = np.abs(labels.normal[..., 2]) > PHOTO_FACING
        known &= np.isin(labels.part, (FRONT_FACE_PART, EYES)) & facing
        flags = known * np.uint8(DEPTH_KNOWN | MASK_KNOWN | FOREGROUND)
        flags |= (known & (labels.part == FRONT_FACE_PART)) * np.uint8(SKIN)
        image = crop_image(self.photos.image(index), crop, self.size)
        yaw, pitch, _ = euler_angles(rotation)
        mean = self._mean_depth(rotation, translation, view, crop, camera) if with_mean else self._no_mean()
        return Sample(
            image,
            np.where(known, depth, 0),
            labels.normal * known[..., None],
            flags,
            mean,
            PHOTO,
            yaw,
            pitch,
            line_of_sight(crop, camera),
            coefficients[:IDENTITY_MODES],
            coefficients[IDENTITY_MODES:],
        )

    def anchors(self, head: Array) -> Array:
        """Right eye centre, left eye centre and mouth corners' midpoint on a head (N, 3): (3, 3) mm."""
        return np.stack(
            [self._points(head, group).mean(axis=0) for group in (RIGHT_EYE, LEFT_EYE, MOUTH_CORNERS)]
        )

    def eye_distance(self, head: Array, rotation: Array, translation: Array) -> float:
        """Camera depth (mm) of the midpoint of the eye centres."""
        middle = self.anchors(head)[:2].mean(axis=0)
        return float(rotation[2] @ middle + translation[2])

    def _points(self, head: Array, landmarks: tuple[int, ...]) -> Array:
        points, chosen = self.photos.points, list(landmarks)
        return Correspondence(points.vertices[chosen], points.weights[chosen], points.use[chosen]).place(head)

    def _draw(self, rng: Generator, good: Array) -> _Draw:
        photo, *others = (int(i) for i in rng.choice(good, 4))
        fitted = self.photos.fits.coefficients
        identity = sampling.draw_identity(
            rng, fitted[photo, :IDENTITY_MODES], fitted[others[:2], :IDENTITY_MODES]
        )
        expression = sampling.draw_expression(rng, self.model, fitted[others[2], IDENTITY_MODES:])
        gaze = sampling.draw_gaze(rng)
        looks = [i for i, name in enumerate(self.model.expressions) if name.startswith("eyeLook")]
        expression[looks] = sampling.gaze_expressions(self.model, gaze)[looks]
        return _Draw(rng, photo, np.concatenate([identity, expression]).astype(np.float32), gaze)

    def _render(self, draw: _Draw, own: Array, head: Array, good: Array, with_mean: bool) -> Sample:
        rng = draw.rng
        camera = sampling.draw_camera(rng)
        pose = sampling.draw_pose(rng, camera)
        rotation, translation = pose.rotation, pose.translation
        anchors = project(self.anchors(head) @ rotation.T + translation, camera)
        crop = jittered(crop_from_anchors(*anchors), rng)
        distance = self.eye_distance(head, rotation, translation)
        view = view_matrix(crop, camera, distance * 0.4, distance * 2.5)
        self._look(head, draw.gaze)
        picture = self.photos.image(draw.photo)
        vertices = self._vertices(head, rotation, translation)
        hair_colour = self._paint(vertices, own, draw, picture)
        hair = None
        if rng.random() < sampling.HAIR_SHARE:
            hair = self._hair(rng, head, rotation, translation, hair_colour)
        light, eyes = sampling.draw_lighting(rng), sampling.draw_eyes(rng)
        colour, covered = self.renderer.colour(vertices, hair, picture, view, light, eyes)
        background = sampling.draw_background(rng, self.photos.image(int(rng.choice(good))), len(colour))
        colour = np.where(covered[..., None], colour, background)
        side = (len(colour) - 1) / 2
        image = crop_image(colour, Crop(side, side, len(colour) / 2, 0.0), self.size)
        labels = self.renderer.labels(vertices, hair, view)
        depth, known = self._depth(labels, crop, camera, distance)
        flags = np.full(depth.shape, MASK_KNOWN, np.uint8)
        flags |= known * np.uint8(DEPTH_KNOWN | FOREGROUND)
        flags |= np.isin(labels.part, (0, FRONT_FACE_PART)) * np.uint8(SKIN)
        mean = self._mean_depth(rotation, translation, view, crop, camera) if with_mean else self._no_mean()
        return Sample(
            image,
            depth,
            labels.normal * known[..., None],
            flags,
            mean,
            SYNTHETIC,
            pose.yaw,
            pose.pitch,
            line_of_sight(crop, camera),
            draw.coefficients[:IDENTITY_MODES],
            draw.coefficients[IDENTITY_MODES:],
        )

    def _look(self, head: Array, gaze: tuple[float, float]) -> None:
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

    def _vertices(self, head: Array, rotation: Array, translation: Array) -> Array:
        """(N, HEAD_FLOATS) float32 for the renderer: place, normal and part; colours still zero."""
        vertices = np.zeros((len(head), HEAD_FLOATS), np.float32)
        camera = np.ascontiguousarray(head @ rotation.T + translation, np.float32)
        vertices[:, :3] = camera
        vertices[:, 3:6] = vertex_normals(camera, self.model.triangles)
        vertices[:, 16] = self.parts
        return vertices

    def _paint(self, vertices: Array, own: Array, draw: _Draw, picture: Array) -> Array:
        """Fill in texture places and tints; gives the photo's hair colour (3,)."""
        fits = self.photos.fits
        outer = np.ascontiguousarray(own[:HEAD_END])
        uv, weight = photo_weights(
            outer, fits.rotation[draw.photo], fits.translation[draw.photo], self._outer
        )
        mates = self.surface.mirror[:HEAD_END]
        vertices[:HEAD_END, 6:8], vertices[:HEAD_END, 8] = uv, weight
        vertices[:HEAD_END, 9:11], vertices[:HEAD_END, 11] = uv[mates], weight[mates]
        vertices[self.model.part == EYES, 9:12] = self.surface.eye_direction
        skin, hair = skin_and_hair_colour(self.model, picture, uv, weight)
        teeth = float(draw.rng.uniform(0.55, 0.95))
        vertices[:, 13:16] = fill_tints(self.model, self.surface, skin, hair, teeth)
        return hair

    def _hair(
        self, rng: Generator, head: Array, rotation: Array, translation: Array, photographed: Array
    ) -> HairLook:
        hair = self.hair[rng.integers(len(self.hair))]
        vertices, normals = hair.on(self.model, head)
        if rng.random() < 0.5:
            vertices, normals = vertices * [-1, 1, 1], normals * [-1, 1, 1]
        vertices = vertices * (1 + rng.normal(0, 0.01, 3)) + [0, rng.normal(-1, 2), rng.normal(0, 2)]
        packed = np.concatenate(
            [vertices @ rotation.T + translation, normals @ rotation.T, hair.uv], axis=1
        ).astype(np.float32)
        stretch = (float(rng.uniform(1, 6)), float(rng.uniform(0.3, 1.0)))
        if rng.random() < 0.5:
            packed[:, [6, 7]] = packed[:, [7, 6]]
        tint = sampling.draw_hair_colour(rng, photographed)
        return HairLook(packed, hair.triangles, tint, float(rng.uniform(0.3, 1.2)), stretch)

    def _depth(self, labels: Labels, crop: Crop, camera: Intrinsics, distance: float) -> tuple[Array, Array]:
        """Depth (S, S) float32 in crop units, 0 where nothing was drawn, and where something was."""
        known = labels.part != BACKGROUND_PART
        unit = mm_per_crop_unit(crop, camera, distance)
        return np.where(known, (np.where(known, labels.z, distance) - distance) / unit, 0), known

    def _mean_depth(
        self, rotation: Array, translation: Array, view: Array, crop: Crop, camera: Intrinsics
    ) -> Array:
        vertices = self._vertices(self.model.mean, rotation, translation)
        labels = self.renderer.labels(vertices, None, view)
        distance = self.eye_distance(self.model.mean, rotation, translation)
        depth, known = self._depth(labels, crop, camera, distance)
        return np.where(known, depth, np.nan)

    def _no_mean(self) -> Array:
        return np.full((self.size, self.size), np.nan, np.float32)


def jittered(crop: Crop, rng: Generator) -> Crop:
    """The crop as noisy landmarks might have placed it."""
    dx, dy = rng.normal(0, JITTER_SHIFT, 2) * crop.half
    scale = math.exp(rng.normal(0, JITTER_SCALE))
    return Crop(crop.x + dx, crop.y + dy, crop.half * scale, crop.angle + rng.normal(0, JITTER_ANGLE))
