"""The synthetic face engine: from a seed to a picture with exact depth, normals and mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from stream.data.faces import sampling
from stream.data.faces.appearance import skin_and_hair_colour
from stream.data.faces.backgrounds import draw_background
from stream.data.faces.fit import photo_intrinsics
from stream.data.faces.head import EYES
from stream.data.faces.kit import FRONT_FACE_PART, HeadKit, make_kit
from stream.data.faces.lighting import draw_lighting, light_direction, light_numbers
from stream.data.faces.paint import Paint, paint, photo_colours
from stream.data.faces.person import PersonSegmenter, person_flags
from stream.data.faces.render import (
    BACKGROUND_PART,
    PixelLabels,
    Renderer,
    Scene,
    shadow_matrix,
    view_matrix,
)
from stream.data.faces.sample import (
    Sample,
    hidden_skin,
    in_crop,
    jittered,
    padded,
    part_flags,
    pose_matrix,
)
from stream.data.faces.skin import fitzpatrick
from stream.data.faces.surroundings import Surroundings
from stream.data.faces.topologies import good_photos, load_fits, load_topology
from stream.data.shards import (
    ANNY,
    DEPTH_KNOWN,
    FOREGROUND,
    ICT,
    MASK_KNOWN,
    PHOTO,
    SKIN,
    SYNTHETIC,
)
from stream.expression.arkit import to_arkit
from stream.face.crop import crop_from_anchors, crop_from_landmarks, crop_image
from stream.face.pose import euler_angles
from stream.geometry import mm_per_crop_unit, project
from stream.types import Array, Crop, Intrinsics

PHOTO_FACING = 0.45
"""Smallest cosine to the line of sight at which a photo's fitted surface is believed."""

GOOD_FIT = 0.03
"""Largest fit error (over the outer eye distance) of a photo that serves as a texture."""

ANNY_SHARE = 0.42
"""Synthetic samples whose head is Anny's, where both topologies are drawn."""

CHIN = 152
"""MediaPipe's landmark at the lowest place of the face's outline."""

FACE_CENTRE = np.array([0.0, 30.0, -10.0])
"""About the middle of the face, mm, head frame."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """A synthetic sample's random choices that decide its geometry."""

    rng: Generator
    kit: HeadKit
    photo: int
    coefficients: Array
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a head is and what the camera cuts out of its picture."""

    rotation: Array
    translation: Array
    camera: Intrinsics
    crop: Crop
    distance: float

    @property
    def view(self) -> Array:
        return view_matrix(self.crop, self.camera, self.distance * 0.4, self.distance * 2.5)


class FaceEngine:
    """Makes samples; one per process, used from one thread.

    :param data: the folder with ict_facekit.npz, faces/ and makehuman_hair/.
    :param cache: folder that keeps what is worked out once: fits to the photos and Anny's head.
    :param size: side of the samples in pixels.
    :param topologies: which head models to draw, `ICT`, `ANNY` or both.
    :raises InputError, ModelError: some of the data is missing or damaged.
    :raises MissingExtraError: Anny is wanted and not installed.
    :raises BackendError: nothing can be drawn here, or MediaPipe does not start.
    """

    def __init__(self, data: Path, cache: Path, size: int, topologies: tuple[int, ...] = (ICT, ANNY)) -> None:
        self.size = size
        self.renderer = Renderer(size)
        self.kits: dict[int, HeadKit] = {}
        for topology in topologies:
            known = load_topology(topology, data, cache)
            fits = load_fits(topology, known, data, cache)
            self.kits[topology] = make_kit(*known, fits, self.renderer)
        self.surroundings = Surroundings(data, self.kits)
        self._people = PersonSegmenter()

    def close(self) -> None:
        """Free renderer and networks."""
        self._people.close()
        self.renderer.close()

    def synthetic(
        self, seeds: Sequence[tuple[int, ...]], photos: range, with_mean: bool, painted: float = 0.25
    ) -> list[Sample]:
        """One sample per seed, textured and varied from ``photos`` only.

        :param with_mean: also rasterise the posed mean face.
        :param painted: share of the samples whose skin is painted and not taken from a photo.
        """
        good = {key: good_photos(kit.photos, photos, GOOD_FIT) for key, kit in self.kits.items()}
        draws = [self._draw(np.random.default_rng(seed), good) for seed in seeds]
        heads: dict[int, tuple[Array, Array]] = {}
        for kit in self.kits.values():
            rows = [i for i, draw in enumerate(draws) if draw.kit is kit]
            if not rows:
                continue
            fitted = kit.photos.fits.coefficients[[draws[i].photo for i in rows]]
            wanted = np.array([draws[i].coefficients for i in rows]).reshape(fitted.shape)
            moved = kit.model.vertices(np.concatenate([fitted, wanted]))
            heads |= {i: (moved[n], moved[len(rows) + n]) for n, i in enumerate(rows)}
        return [
            self._render(draw, *heads[i], good[draw.kit.model.topology], with_mean, painted)
            for i, draw in enumerate(draws)
        ]

    def photo(self, index: int, seed: tuple[int, ...], with_mean: bool) -> Sample:
        """A photo itself, labelled where that is believed by the mesh fitted to it (ICT's, if drawn).

        Its mask knows more: the hair and the background (`stream.data.faces.person`).
        """
        rng = np.random.default_rng(seed)
        kit = self.kits[min(self.kits)]
        fits, camera = kit.photos.fits, photo_intrinsics()
        coefficients = fits.coefficients[index]
        head = kit.model.vertices(coefficients[None])[0]
        rotation, translation = fits.rotation[index], fits.translation[index]
        crop = jittered(crop_from_landmarks(kit.photos.labels.landmarks[index]), rng)
        stand = _Stand(rotation, translation, camera, crop, kit.eye_distance(head, rotation, translation))
        picture = kit.photos.image(index)
        vertices = kit.posed(head, rotation, translation, 0.0)
        scene = Scene(vertices, kit.model.triangles, (), picture, np.ones(3), sampling.draw_eyes(rng))
        labels = self.renderer.labels(scene, stand.view)
        depth, known = self._depth(labels, stand)
        known &= np.isin(labels.part, (FRONT_FACE_PART, EYES)) & (
            np.abs(labels.normal[..., 2]) > PHOTO_FACING
        )
        flags = known * np.uint8(DEPTH_KNOWN | MASK_KNOWN | FOREGROUND)
        flags |= (known & (labels.part == FRONT_FACE_PART)) * np.uint8(SKIN)
        landmarks = in_crop(kit.photos.labels.landmarks[index, :, :2], crop)
        flags |= person_flags(self._people(picture), crop, self.size, known, float(landmarks[CHIN, 1]))
        yaw, pitch, _ = euler_angles(rotation)
        _, seen, colours = photo_colours(kit, head, index, picture)
        skin = skin_and_hair_colour(kit.model, colours, seen)[0]
        return Sample(
            crop_image(picture, crop, self.size),
            np.where(known, depth, 0),
            labels.normal * known[..., None],
            flags,
            np.where(known[..., None], labels.uv, 0),
            self._mean_depth(kit, stand) if with_mean else self._no_mean(),
            PHOTO,
            kit.model.topology,
            fitzpatrick(skin),
            yaw,
            pitch,
            pose_matrix(rotation, translation),
            camera,
            crop,
            stand.distance,
            0.0,
            landmarks,
            padded(coefficients[: kit.model.identities]),
            to_arkit(kit.model.expressions, coefficients[kit.model.identities :]),
            np.zeros(42, np.float32),
        )

    def _draw(self, rng: Generator, good: dict[int, Array]) -> _Draw:
        kit = self.kits[ANNY if ANNY in self.kits and rng.random() < ANNY_SHARE else min(self.kits)]
        model = kit.model
        photo, *others = (int(i) for i in rng.choice(good[model.topology], 4))
        fitted = kit.photos.fits.coefficients
        identity = sampling.draw_identity(
            rng, fitted[photo, : model.identities], fitted[others[:2], : model.identities]
        )
        expression = sampling.draw_expression(rng, model, fitted[others[2], model.identities :])
        gaze = sampling.draw_gaze(rng)
        looks = [i for i, name in enumerate(model.expressions) if name.startswith("eyeLook")]
        expression[looks] = sampling.gaze_expressions(model, gaze)[looks]
        return _Draw(rng, kit, photo, np.concatenate([identity, expression]).astype(np.float32), gaze)

    def _stand(self, rng: Generator, kit: HeadKit, head: Array) -> tuple[_Stand, sampling.Pose]:
        camera, view = sampling.draw_camera(rng), sampling.draw_view(rng)
        pose = sampling.draw_pose(rng, camera, view)
        anchors = project(kit.anchors(head) @ pose.rotation.T + pose.translation, camera)
        crop = jittered(crop_from_anchors(*anchors), rng, float(rng.uniform(*view.widen)))
        distance = kit.eye_distance(head, pose.rotation, pose.translation)
        return _Stand(pose.rotation, pose.translation, camera, crop, distance), pose

    def _render(
        self, draw: _Draw, own: Array, head: Array, good: Array, with_mean: bool, painted: float
    ) -> Sample:
        rng, kit = draw.rng, draw.kit
        stand, pose = self._stand(rng, kit, head)
        kit.look(head, draw.gaze)
        expression = to_arkit(kit.model.expressions, draw.coefficients[kit.model.identities :])
        jaw = float(draw.coefficients[kit.model.identities + kit.model.expressions.index("jawOpen")])
        vertices = kit.posed(head, stand.rotation, stand.translation, jaw)
        picture = kit.photos.image(draw.photo)
        look = paint(rng, kit, own, draw.photo, picture, vertices, rng.random() < painted)
        other = kit.photos.image(int(rng.choice(good)))
        props = self.surroundings.draw(
            rng, kit, head, look, (picture, other), stand.rotation, stand.translation
        )
        scene = Scene(vertices, kit.model.triangles, props, picture, look.tone, sampling.draw_eyes(rng))
        labels = self.renderer.labels(scene, stand.view)
        depth, known = self._depth(labels, stand)
        flags = part_flags(labels.part)
        landmarks = project(kit.landmarks(head) @ stand.rotation.T + stand.translation, stand.camera)
        image, light = self._picture(rng, scene, stand, look, other)
        return Sample(
            image,
            depth,
            labels.normal * known[..., None],
            flags,
            np.where(known[..., None], labels.uv, 0),
            self._mean_depth(kit, stand) if with_mean else self._no_mean(),
            SYNTHETIC,
            kit.model.topology,
            look.kind,
            pose.yaw,
            pose.pitch,
            pose_matrix(stand.rotation, stand.translation),
            stand.camera,
            stand.crop,
            stand.distance,
            hidden_skin(labels, flags),
            in_crop(landmarks, stand.crop),
            padded(draw.coefficients[: kit.model.identities]),
            expression,
            light,
        )

    def _picture(
        self, rng: Generator, scene: Scene, stand: _Stand, look: Paint, other: Array
    ) -> tuple[Array, Array]:
        """The lit head before a background, (S, S, 3) uint8, and the light's numbers (42,)."""
        centre = stand.rotation @ FACE_CENTRE + stand.translation
        light = draw_lighting(rng, other, centre)
        if look.painted:
            light = light.without_own()
        towards = shadow_matrix(light_direction(light, centre), centre)
        colour, covered = self.renderer.colour(scene, stand.view, light, towards)
        background = draw_background(rng, other, len(colour))
        colour = np.where(covered[..., None], colour, background)
        side = (len(colour) - 1) / 2
        return crop_image(colour, Crop(side, side, len(colour) / 2, 0.0), self.size), light_numbers(light)

    def _depth(self, labels: PixelLabels, stand: _Stand) -> tuple[Array, Array]:
        """Depth (S, S) float32 in crop units, 0 where nothing was drawn, and where something was."""
        known = labels.part != BACKGROUND_PART
        unit = mm_per_crop_unit(stand.crop, stand.camera, stand.distance)
        distance = stand.distance
        return np.where(known, (np.where(known, labels.z, distance) - distance) / unit, 0), known

    def _mean_depth(self, kit: HeadKit, stand: _Stand) -> Array:
        mean = kit.model.mean
        vertices = kit.posed(mean, stand.rotation, stand.translation, 0.0)
        blank = np.zeros((1, 1, 3), np.uint8)
        eyes = sampling.draw_eyes(np.random.default_rng(0))
        labels = self.renderer.labels(
            Scene(vertices, kit.model.triangles, (), blank, np.ones(3), eyes), stand.view
        )
        depth, known = self._depth(labels, stand)
        shift = (kit.eye_distance(mean, stand.rotation, stand.translation) - stand.distance) / (
            mm_per_crop_unit(stand.crop, stand.camera, stand.distance)
        )
        return np.where(known, depth - shift, np.nan)

    def _no_mean(self) -> Array:
        return np.full((self.size, self.size), np.nan, np.float32)
