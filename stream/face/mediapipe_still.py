"""MediaPipe's face mesh for single pictures: searches until it has found a face or tried everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stream.face.mediapipe_mesh import MAX_SIDE, open_detector, open_mesh, run_mesh, shrink
from stream.face.quiet import QuietStart
from stream.face.tracker import check_image, plausible
from stream.face.upright import TOLERANCE, back, cut, roll_of, turned_by, upright_view
from stream.types import Array, Frame

WINDOW_PIXELS = 480
"""Side to which a window around a small face is enlarged."""

WINDOW_SPAN = 3.0
"""Side of that window over the detected box."""

TILE_FRACTIONS = (0.5, 0.25, 0.125)
"""Tiles searched last, as fractions of the picture's shorter side, half overlapping."""

MIN_TILE = 64
"""Smaller tiles, in pixels, hold no face worth having."""

TILE_CONFIDENCE = 0.75
"""Detection score needed in a tile: among hundreds of tries, textures and cats reach 0.7; faces reach 0.9."""

BORDER = 0.5
"""Border added around a picture that a face fills, over the picture's side."""

TURNS = tuple(math.radians(degrees) for degrees in (180, 90, 270, 135, 225, 45, 315))
"""By which a picture is turned back where no face is found in it as it is; the landmark network stands 45
degrees and more."""

SURE = math.radians(15)
"""Landmarks that the detector sees turned less than this are taken as they are."""

_MAX_TILES = 1000


@dataclass(frozen=True)
class _Window:
    """A square of the image, in pixel edges; parts outside the image are filled with its border pixels."""

    left: float
    top: float
    side: float

    def cut(self, image: Array, pixels: int) -> Array:
        scale = self.side / pixels
        offset = 0.5 * scale - 0.5
        matrix = np.array([[scale, 0, self.left + offset], [0, scale, self.top + offset]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, (pixels, pixels), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def back(self, landmarks: Array, pixels: int) -> Array:
        """Landmarks in pixels of the cut to pixels of the image."""
        scale = self.side / pixels
        points = landmarks * np.float32(scale)
        points[:, :2] += np.array([self.left, self.top], dtype=np.float32) + np.float32(0.5 * scale - 0.5)
        return points


class MediaPipeStillTracker:
    """Single pictures; nothing is carried from one to the next.

    Tries, until something is found: the picture; the picture with a border (a face that fills it); windows
    around what the full-range detector sees (faces across a room); the picture turned (people who lie, or
    stand on their heads); overlapping tiles (crowds). Landmarks that the detector does not confirm
    (`stream.face.upright`) are found anew where it sees the face upright, or are none.

    :raises BackendError: MediaPipe cannot run here.
    """

    def __init__(self, max_faces: int = 1) -> None:
        self._max_faces = max_faces
        self._mesh = open_mesh(max_faces, static=True)
        self._near = open_detector(full_range=False)
        self._far = open_detector(full_range=True)
        self._quiet = QuietStart()

    def detect(self, frame: Frame) -> list[Array]:
        """See `FaceTracker.detect`."""
        check_image(frame.image)
        with self._quiet.next():
            return self._search(frame.image)

    def close(self) -> None:
        """See `FaceTracker.close`."""
        for solution in (self._mesh, self._near, self._far):
            solution.close()

    def _search(self, image: Array) -> list[Array]:
        faces = self._confirmed(image, run_mesh(self._mesh, image))
        if not faces:
            faces = self._in_windows(image, [_bordered(image)], single=False)
        if not faces:
            faces = self._in_windows(image, _detected(self._far, image), single=True)
        if not faces:
            faces = self._turned(image)
        if not faces:
            faces = self._in_windows(image, self._tiles(image), single=True)
        return faces[: self._max_faces]

    def _turned(self, image: Array) -> list[Array]:
        """Faces of the picture turned by each of `TURNS`, until there are some."""
        height, width = image.shape[:2]
        side = min(math.hypot(height, width), MAX_SIDE)
        scale = side / math.hypot(height, width)
        for turn in TURNS:
            c, s = math.cos(turn) * scale, math.sin(turn) * scale
            linear = np.array([[c, s], [-s, c]])
            middle = np.array([width - 1, height - 1]) / 2
            matrix = np.column_stack([linear, (round(side) - 1) / 2 - linear @ middle])
            found = run_mesh(self._mesh, cut(image, matrix, round(side)))
            placed = [back(face, matrix) for face in found]
            placed = [face for face in placed if plausible(face, width, height)]
            faces = self._confirmed(image, placed, unseen=False)
            if faces:
                return faces
        return []

    def _confirmed(self, image: Array, faces: list[Array], unseen: bool = True) -> list[Array]:
        """The faces that stand as their landmarks have it; others as they are found when turned upright.

        :param unseen: keep those, too, in which the detector sees no face.
        """
        confirmed: list[Array] = []
        for face in faces:
            turn = turned_by(self._near, image, face)
            if turn is None:
                kept = face if unseen else None
            else:
                kept = face if abs(turn) < SURE else self._again(image, face, turn)
            if kept is not None and _new(kept, confirmed):
                confirmed.append(kept)
        return confirmed

    def _again(self, image: Array, face: Array, turn: float) -> Array | None:
        """The landmarks of a face found anew where it is upright; None where there is none."""
        roll = roll_of(face) + turn
        matrix = upright_view(face, roll, WINDOW_SPAN, WINDOW_PIXELS)
        for found in run_mesh(self._mesh, cut(image, matrix, WINDOW_PIXELS))[:1]:
            placed = back(found, matrix)
            left = turned_by(self._near, image, placed)
            if (
                left is not None
                and abs(left) < TOLERANCE
                and plausible(placed, image.shape[1], image.shape[0])
            ):
                return placed
        return face if abs(turn) < TOLERANCE else None

    def _tiles(self, image: Array) -> Iterator[_Window]:
        """Windows around what the short-range detector sees in each tile, found as they are asked for."""
        for tile in _tiles(image.shape[1], image.shape[0]):
            view = tile.cut(image, WINDOW_PIXELS)
            for found in _detected(self._near, view, TILE_CONFIDENCE):
                scale = tile.side / WINDOW_PIXELS
                yield _Window(
                    tile.left + found.left * scale, tile.top + found.top * scale, found.side * scale
                )

    def _in_windows(self, image: Array, windows: Any, single: bool) -> list[Array]:
        """Faces of up to ``max_faces`` windows; one window holds one face where ``single``."""
        height, width = image.shape[:2]
        faces: list[Array] = []
        for window in windows:
            pixels = max(WINDOW_PIXELS, min(round(window.side), 2 * WINDOW_PIXELS))
            found = run_mesh(self._mesh, window.cut(image, pixels))
            placed = [window.back(face, pixels) for face in (found[:1] if single else found)]
            placed = self._confirmed(image, [face for face in placed if plausible(face, width, height)])
            faces += [face for face in placed if _new(face, faces)]
            if len(faces) >= self._max_faces:
                break
        return faces


def _detected(detector: Any, image: Array, confidence: float = 0.5) -> list[_Window]:
    """Windows around the faces a detector finds, the largest first.

    The confidence is compared here because MediaPipe's own option of that name changes nothing.
    """
    height, width = image.shape[:2]
    windows = []
    for face in detector.process(shrink(image)).detections or ():
        if face.score[0] < confidence:
            continue
        box = face.location_data.relative_bounding_box
        span = max(box.width * width, box.height * height) * WINDOW_SPAN
        x, y = (box.xmin + box.width / 2) * width, (box.ymin + box.height / 2) * height
        windows.append(_Window(x - span / 2, y - span / 2, span))
    return sorted(windows, key=lambda window: -window.side)


def _bordered(image: Array) -> _Window:
    """The whole picture with a border."""
    height, width = image.shape[:2]
    side = max(height, width) * (1 + 2 * BORDER)
    return _Window((width - side) / 2, (height - side) / 2, side)


def _tiles(width: int, height: int) -> list[_Window]:
    """Half-overlapping squares over the image, the largest first."""
    tiles = []
    for fraction in TILE_FRACTIONS:
        side = min(width, height) * fraction
        if side < MIN_TILE:
            break
        columns, rows = (max(1, round(2 * length / side) - 1) for length in (width, height))
        lefts = np.linspace(0, width - side, columns)
        tops = np.linspace(0, height - side, rows)
        tiles += [_Window(float(left), float(top), side) for top in tops for left in lefts]
    return tiles[:_MAX_TILES]


def _new(landmarks: Array, faces: list[Array]) -> bool:
    """Whether no face already found has its middle inside this one's bounds."""
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    middles = [face[:, :2].mean(axis=0) for face in faces]
    return not any(((middle > low) & (middle < high)).all() for middle in middles)
