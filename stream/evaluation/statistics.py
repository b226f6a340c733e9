"""What faces look like in a dataset and in real clips: pose, distance, size, expression, skin tone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from stream.data.shards import Dataset, Samples
from stream.data.skin_tone import cheek_colours, fitzpatrick_type, typology_angle
from stream.errors import FaceError, InputError
from stream.expression.arkit import ARKIT_NAMES
from stream.face.crop import LEFT_EYE, RIGHT_EYE
from stream.face.pose import euler_angles
from stream.face.still import find_face
from stream.types import Array, Capture, Face

INNER_LIPS = (13, 14)
"""Landmarks in the middle of the upper and the lower lip's inner edge."""

LIDS = ((159, 145), (386, 374))
"""Landmarks in the middle of the upper and lower lid of the right and the left eye."""

LEAST_COSINE = 0.3
"""Faces turned further than 73 degrees show too little of the distance between the eyes to scale by."""

JAW_OPEN = ARKIT_NAMES.index("jawOpen")


@dataclass(frozen=True, slots=True)
class FaceStatistics:
    """One value for each of N faces, every array (N,) float32, NaN where it is not known.

    :ivar yaw, pitch: degrees (`stream.face.pose.euler_angles`).
    :ivar roll: degrees, how far the crop is turned.
    :ivar distance: mm from the camera along its axis to the eyes.
    :ivar crop_size: side of the crop in the picture, pixels.
    :ivar mouth_opening: gap between the inner lips over the distance between the eyes.
    :ivar eye_opening: gap between the lids, mean of both eyes, over the distance between the eyes.
    :ivar jaw_open: ARKit's coefficient, 0..1.
    :ivar typology: individual typology angle of the cheeks in the picture, degrees.
    :ivar tone: Fitzpatrick's type, 1 to 6: for synthetic samples the one drawn, else by ``typology``.
    """

    yaw: Array
    pitch: Array
    roll: Array
    distance: Array
    crop_size: Array
    mouth_opening: Array
    eye_opening: Array
    jaw_open: Array
    typology: Array
    tone: Array

    def __len__(self) -> int:
        return len(self.yaw)


QUANTITIES = tuple(field.name for field in fields(FaceStatistics))


def join(rows: Iterable[dict[str, float]]) -> FaceStatistics:
    """One object of many faces, each a dict with a value for each of `QUANTITIES`.

    :raises InputError: there is none.
    """
    table = np.array([[row[name] for name in QUANTITIES] for row in rows], np.float32)
    if not len(table):
        raise InputError("There is no face to make statistics of; give clips or pictures that show one.")
    return FaceStatistics(**dict(zip(QUANTITIES, table.T.copy(), strict=True)))


def openings(landmarks: Array, yaw: float) -> tuple[float, float]:
    """Opening of mouth and eyes over the distance between the eyes' centres, from landmarks (478, 2+).

    The distance between the eyes is shortened by the head's turn and is lengthened again by its cosine.
    """
    points = landmarks[:, :2]
    cosine = max(LEAST_COSINE, math.cos(math.radians(yaw)))
    between = eye_distance(points) / cosine
    mouth = _gap(points, INNER_LIPS) / between
    return mouth, (_gap(points, LIDS[0]) + _gap(points, LIDS[1])) / 2 / between


def eye_distance(landmarks: Array) -> float:
    """Distance between the eyes' centres as seen, in the units of landmarks (478, 2+)."""
    centres = [landmarks[list(eye), :2].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE)]
    return max(float(np.linalg.norm(centres[1] - centres[0])), 1e-6)


def face_row(image: Array, face: Face) -> dict[str, float]:
    """The values of one tracked face in its picture (H, W, 3) uint8 RGB; ``jaw_open`` is NaN."""
    yaw, pitch, _ = euler_angles(face.pose)
    mouth, eyes = openings(face.landmarks, yaw)
    angle = _typology(image, face.landmarks, yaw)
    return {
        "yaw": yaw,
        "pitch": pitch,
        "roll": math.degrees(face.crop.angle),
        "distance": float(face.pose[2, 3]),
        "crop_size": 2 * face.crop.half,
        "mouth_opening": mouth,
        "eye_opening": eyes,
        "jaw_open": math.nan,
        "typology": angle,
        "tone": fitzpatrick_type(angle) or math.nan,
    }


def clip_statistics(paths: Sequence[Path], step: int = 3) -> FaceStatistics:
    """Statistics of the largest face in real pictures and in every ``step``-th frame of clips.

    Frames and pictures in which no face is found are left out.

    :param paths: videos, images or folders of images.
    :param step: frames of a video from one measured to the next; all of them are tracked.
    :raises InputError: there is no face in any of them, or ``step`` is below 1.
    :raises SourceError: one cannot be read.
    """
    if step < 1:
        raise InputError(f"The step is {step} but must be 1 or more frames.")
    return join(face_row(image, face) for path in paths for image, face in _faces(path, step))


def dataset_statistics(data: Dataset | Samples, limit: int = 2000, seed: int = 0) -> FaceStatistics:
    """Statistics of a dataset, of ``limit`` random samples where it has more.

    :raises InputError: ``limit`` is below 1.
    """
    if limit < 1:
        raise InputError(f"The limit is {limit} but must be 1 or more samples.")
    dataset = data if isinstance(data, Dataset) else Dataset([data])
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:limit]
    # A few at a time: the pictures of all would be copied at once.
    batches = (dataset.take(chosen[i : i + 64]) for i in range(0, len(chosen), 64))
    return join(_sample_row(batch, i) for batch in batches for i in range(len(batch)))


def summary(statistics: FaceStatistics) -> dict[str, Any]:
    """Count, and mean, median, 5th and 95th percentile of each quantity, ready for JSON (no NaN)."""
    result: dict[str, Any] = {"faces": len(statistics)}
    for name in QUANTITIES:
        values = getattr(statistics, name)
        values = values[np.isfinite(values)]
        if len(values):
            low, middle, high = np.percentile(values, (5, 50, 95))
            figures = {"mean": values.mean(), "p5": low, "median": middle, "p95": high}
            result[name] = {key: round(float(value), 4) for key, value in figures.items()}
    tones = statistics.tone[np.isfinite(statistics.tone)].astype(int)
    result["tones"] = {str(kind): int((tones == kind).sum()) for kind in range(1, 7)}
    return result


def _sample_row(samples: Samples, i: int) -> dict[str, float]:
    yaw, size = float(samples.yaw[i]), samples.size
    landmarks = (samples.landmarks[i] + 1) * (size / 2) - 0.5
    mouth, eyes = openings(landmarks, yaw)
    angle = _typology(samples.image[i], landmarks, yaw)
    return {
        "yaw": yaw,
        "pitch": float(samples.pitch[i]),
        "roll": math.degrees(float(samples.crop[i, 3])),
        "distance": float(samples.distance[i]),
        "crop_size": 2 * float(samples.crop[i, 2]),
        "mouth_opening": mouth,
        "eye_opening": eyes,
        "jaw_open": float(samples.expression[i, JAW_OPEN]),
        "typology": angle,
        "tone": float(samples.tone[i] or fitzpatrick_type(angle) or math.nan),
    }


def _typology(image: Array, landmarks: Array, yaw: float) -> float:
    colours = cheek_colours(image, landmarks, eye_distance(landmarks), yaw)
    return typology_angle(colours) if len(colours) else math.nan


def _faces(path: Path, step: int) -> Iterator[tuple[Array, Face]]:
    """Picture and largest face, of each picture or of every ``step``-th frame that shows one."""
    from stream.sources.images import is_image, natural_order, read_image

    if path.is_dir() or is_image(path):
        pictures = sorted(filter(is_image, path.iterdir()), key=natural_order) if path.is_dir() else [path]
        for picture in pictures:
            image = read_image(picture)
            try:
                face = find_face(image)
            except FaceError:
                continue
            yield image, face
        return
    yield from _tracked(path, step)


def _tracked(path: Path, step: int) -> Iterator[tuple[Array, Face]]:
    from stream.face.stage import FaceStage
    from stream.sources.file import FileSource

    source, stage = FileSource(path, fast=True), FaceStage()
    try:
        source.open()
        stage.open()
        while (frame := source.read()) is not None:
            people = stage(Capture(frame)).people
            if people and frame.index % step == 0:
                yield frame.image, people[0].face
    finally:
        stage.close()
        source.close()


def _gap(points: Array, pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[pair[1]] - points[pair[0]]))
