"""Measure expression coefficients on synthetic faces, which are known, and beside MediaPipe's on real ones.

The settings of stream/expression were chosen on the seeds, clip and photos that this does not use.

Usage: python tools/measure_expressions.py --shared ../shared [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.fit import photo_intrinsics
from stream.data.faces.ict import load_head_model
from stream.data.faces.photos import load_labels
from stream.evaluation.expressions import Performance, correlations, mean_errors, perform
from stream.expression.arkit import ARKIT_NAMES
from stream.expression.stage import ExpressionStage
from stream.face.pose import solve_pose
from stream.face.quiet import quiet_stderr
from stream.face.stage import FaceStage
from stream.face.tracks import Tracks
from stream.sources.file import FileSource
from stream.types import Array, Capture, Crop, Face, Frame, Intrinsics, Person

SEEDS = range(100, 116)
"""Chosen on: 0 to 5."""

CLIPS = ("single_face.mp4", "carphone_pristine.mp4")
"""Chosen on: WolfgangLanger_Pexels.mp4. (noface_face.mov shows the same as single_face.mp4.)"""

PHOTOS = range(4500, 5000)
"""Chosen on: every 15th of 0 to 4499."""

NO_PICTURE = np.zeros((1, 1, 3), np.uint8)
NO_CROP = Crop(0.0, 0.0, 1.0, 0.0)


def solve(faces: list[Face], times: Array) -> tuple[Array, float]:
    """Coefficients (T, 52) of one face over time, and milliseconds a face (median)."""
    stage, found, took = ExpressionStage(), [], []
    stage.open()
    for index, (face, seconds) in enumerate(zip(faces, times.tolist(), strict=True)):
        capture = Capture(Frame(NO_PICTURE, seconds, index, "measure"), (Person(face),))
        begin = time.perf_counter()
        expression = stage(capture).people[0].expression
        took.append(time.perf_counter() - begin)
        assert expression is not None
        found.append(expression.coefficients)
    return np.stack(found), float(np.median(took)) * 1e3


def tracked(performance: Performance, number: int) -> list[Face]:
    """The faces that the tracker makes of a performance's landmarks."""
    tracks, pose, faces = Tracks(), None, []
    for landmarks, seconds in zip(performance.landmarks, performance.times.tolist(), strict=True):
        smooth = tracks.update([landmarks], 1.0 + seconds)[0].landmarks
        pose = solve_pose(smooth, performance.intrinsics, pose)
        faces.append(Face(number, smooth, pose, NO_CROP, performance.intrinsics))
    return faces


def measure_synthetic(data: Path) -> dict[str, Any]:
    """Mean absolute error and correlation over all of `SEEDS`, one after another."""
    model = load_head_model(data / "ict_facekit.npz")
    points = stored_correspondence(model)
    found, truth, took = [], [], []
    for seed in SEEDS:
        performance = perform(model, points, seed)
        coefficients, milliseconds = solve(tracked(performance, seed), performance.times)
        found.append(coefficients)
        truth.append(performance.coefficients)
        took.append(milliseconds)
    all_found, all_truth = np.concatenate(found), np.concatenate(truth)
    return {
        "correlation": correlations(all_found, all_truth),
        "error": mean_errors(all_found, all_truth),
        "milliseconds": float(np.median(took)),
        "frames": len(all_found),
    }


def teacher_courses(clip: Path, task: Path) -> Iterator[tuple[Face, float, Array]]:
    """Each frame's face, time and the teacher's coefficients (52,), of frames where both see a face."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(task)),
        running_mode=vision.RunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    source, stage = FileSource(clip, fast=True), FaceStage()
    with quiet_stderr():
        teacher = vision.FaceLandmarker.create_from_options(options)
    stage.open()
    source.open()
    try:
        while (frame := source.read()) is not None:
            people = stage(Capture(frame)).people
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame.image)
            seen = teacher.detect_for_video(image, int(frame.captured * 1000)).face_blendshapes
            if people and seen:
                scores = {shape.category_name: shape.score for shape in seen[0]}
                yield (
                    people[0].face,
                    frame.captured,
                    np.array([scores.get(name, 0.0) for name in ARKIT_NAMES]),
                )
    finally:
        source.close()
        stage.close()
        teacher.close()


def measure_clip(clip: Path, task: Path) -> dict[str, Any]:
    """Correlation over time with the teacher's courses."""
    faces, times, truth = zip(*teacher_courses(clip, task), strict=True)
    found, milliseconds = solve(list(faces), np.array(times))
    return {
        "correlation": correlations(found, np.stack(truth)),
        "milliseconds": milliseconds,
        "frames": len(found),
    }


def measure_photos(data: Path) -> dict[str, Any]:
    """Correlation over people with the teacher's coefficients, each photo a first and only picture."""
    labels = load_labels(data / "faces")
    with np.load(data / "faces" / "labels.npz", allow_pickle=False) as stored:
        names, scores = list(stored["names"]), stored["blendshapes"].astype(np.float32)
    camera, found, truth = photo_intrinsics(), [], []
    for index in PHOTOS:
        face = photo_face(index, labels.landmarks[index].astype(np.float32), camera)
        found.append(solve([face], np.zeros(1))[0][0])
        truth.append([scores[index, names.index(name)] if name in names else 0.0 for name in ARKIT_NAMES])
    return {"correlation": correlations(np.stack(found), np.array(truth)), "frames": len(found)}


def photo_face(number: int, landmarks: Array, camera: Intrinsics) -> Face:
    """A labelled photo's face."""
    return Face(number, landmarks, solve_pose(landmarks, camera), NO_CROP, camera)


def print_table(figures: dict[str, dict[str, Any]]) -> None:
    """Correlations side by side, and the synthetic faces' error."""
    print("coefficient".ljust(22) + "".join(name[:12].rjust(14) for name in figures) + "error".rjust(14))
    for name in ARKIT_NAMES:
        cells = [part["correlation"].get(name) for part in figures.values()]
        shown = "".join(("" if cell is None else f"{cell:.2f}").rjust(14) for cell in cells)
        print(name.ljust(22) + shown + f"{figures['synthetic']['error'][name]:.3f}".rjust(14))
    means = [float(np.mean(list(part["correlation"].values()))) for part in figures.values()]
    error = float(np.mean(list(figures["synthetic"]["error"].values())))
    print("mean".ljust(22) + "".join(f"{mean:.2f}".rjust(14) for mean in means) + f"{error:.3f}".rjust(14))


def main() -> None:
    """Measure all, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    data = given.shared / "data"
    figures = {"synthetic": measure_synthetic(data), "photos": measure_photos(data)}
    for name in CLIPS:
        figures[name] = measure_clip(data / "videos" / name, data / "models" / "face_landmarker.task")
    print_table(figures)
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
