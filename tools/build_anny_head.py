"""Write stream/training/faces/anny_landmarks.npz: the place of each MediaPipe landmark on the mean Anny head.

MediaPipe is shown drawings of random Anny heads whose every point is known; that gives a first guess, which
fits to photos then make better, as for ICT-FaceKit.

Usage: python tools/build_anny_head.py --shared ../shared --cache cache/anny.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from stream.errors import FaceError
from stream.face.mediapipe_still import MediaPipeStillTracker
from stream.geometry import project
from stream.training.faces.anny import LANDMARKS_FILE, load_anny_head
from stream.training.faces.appearance import _depth_buffer
from stream.training.faces.correspond import (
    DENSE_SIGMA,
    FACE_LANDMARKS,
    LANDMARKS,
    OFTEN,
    ROUNDS,
    cast_landmarks,
    dense_correspondence,
    head_model_arrays,
)
from stream.training.faces.fit import (
    PHOTO_SIDE,
    Correspondence,
    Fits,
    fit_chunks,
    initial_pose,
    photo_intrinsics,
    point_basis,
)
from stream.training.faces.head import EYES, HeadModel
from stream.training.faces.photos import load_labels
from stream.training.faces.sampling import turn
from stream.types import Array, Frame

DRAWINGS = 150
DISTANCE = 1650.0
SKIN_COLOUR, WHITE, IRIS = np.array([205.0, 155, 130]), np.array([235.0, 230, 225]), np.array([70.0, 45, 30])
IRIS_MM = 5.85
PHOTOS = range(0, 4000, 10)
"""Every tenth photo for training is enough."""


def draw_head(model: HeadModel, head: Array, rotation: Array, translation: Array) -> Array:
    """(320, 320, 3) uint8 picture of a plain shaded head (N, 3) mm with eyes, by the photos' camera."""
    camera = (head @ rotation.T + translation).astype(np.float32)
    pixels = project(camera, photo_intrinsics()).astype(np.float32)
    eyes = model.part == EYES
    everything = _depth_buffer(pixels, camera[:, 2], model.triangles, PHOTO_SIDE)
    balls = _depth_buffer(pixels, camera[:, 2], model.triangles_of(eyes), PHOTO_SIDE)
    seen = np.isfinite(everything)
    depth = np.where(seen, everything, DISTANCE + 200)
    slope_y, slope_x = np.gradient(depth * photo_intrinsics().fx / DISTANCE)
    light = np.array([-0.3, -0.45, -0.85])
    facing = (slope_x * light[0] + slope_y * light[1] - light[2]) / np.sqrt(1 + slope_x**2 + slope_y**2)
    colour = np.tile(SKIN_COLOUR, (PHOTO_SIDE, PHOTO_SIDE, 1))
    eye_pixel = seen & (balls <= everything + 1e-3)
    colour[eye_pixel] = WHITE
    rows, columns = np.mgrid[:PHOTO_SIDE, :PHOTO_SIDE]
    for side in (-1, 1):
        ball = camera[eyes & (model.mean[:, 0] * side > 0)]
        centre = ball.mean(axis=0) + rotation @ [0, 0, -13.0]
        u, v = project(centre[None], photo_intrinsics())[0]
        radius = IRIS_MM * photo_intrinsics().fx / centre[2]
        colour[eye_pixel & (np.hypot(columns - u, rows - v) < radius)] = IRIS
    shade = np.where(eye_pixel, 0.9, 0.3 + 0.7 * np.clip(facing, 0, 1))
    picture = np.where(seen[..., None], colour * shade[..., None], 110.0)
    return np.clip(picture, 0, 255).astype(np.uint8)


def landmarks_on_drawings(model: HeadModel) -> tuple[Fits, Array]:
    """What was drawn and the landmarks (n, 478, 3) that MediaPipe found.

    :raises FaceError: it found hardly any face.
    """
    rng = np.random.default_rng(0)
    tracker = MediaPipeStillTracker()
    rotations, translations, coefficients, found = [], [], [], []
    for index in range(DRAWINGS):
        identity = np.zeros((1, len(model.basis)), np.float32)
        identity[0, : model.identities] = rng.normal(0, 0.8, model.identities)
        rotation = turn(*np.radians(rng.uniform([-18, -12, -5], [18, 12, 5]))).astype(np.float32)
        translation = np.array([0, 0, DISTANCE], np.float32) - rotation @ np.array([0, 30, 0], np.float32)
        picture = draw_head(model, model.vertices(identity)[0], rotation, translation)
        faces = tracker.detect(Frame(picture, 0.0, index, "drawing"))
        if faces:
            rotations.append(rotation)
            translations.append(translation)
            coefficients.append(identity[0])
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
    """The correspondence after rounds of fits to photos, as `find_correspondence` does for ICT-FaceKit."""
    pose = initial_pose(matrices, landmarks)
    points = dense_correspondence(model, guess)
    for _ in range(ROUNDS):
        mean, basis = point_basis(model, points)
        fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, model.identities)
        print(f"median error over the outer eye distance: {np.median(fits.error):.4f}")
        points = dense_correspondence(model, guess, cast_landmarks(model, fits, landmarks))
    return points


def main() -> None:
    """Find the places, write them, and say how well photos are fitted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--cache", type=Path, required=True, help="where the built head is kept (.npz)")
    options = parser.parse_args()
    model = load_anny_head(options.cache)
    labels = load_labels(options.shared / "data" / "faces")
    chosen = np.array(PHOTOS)
    found = refined(model, first_guess(model), labels.landmarks[chosen], labels.matrices[chosen])
    arrays = head_model_arrays(model, found)
    np.savez(LANDMARKS_FILE, **arrays)
    print(f"wrote {LANDMARKS_FILE.name}: {len(arrays['points'])} points from {len(chosen)} photos")


if __name__ == "__main__":
    main()
