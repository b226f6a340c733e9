"""MediaPipe's face mesh with irises (Kartynnik et al. 2019; Grishchenko et al. 2020) as a face tracker."""

from __future__ import annotations

import math
import os
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from stream.errors import BackendError
from stream.face.quiet import QuietStart, quiet_stderr
from stream.face.search import SearchPace
from stream.face.tracker import LANDMARKS, check_image, plausible
from stream.face.turns import QuarterTurns, turn_image, turn_landmarks
from stream.face.upright import TOLERANCE, turned_by
from stream.types import Array, Frame

MEDIAPIPE = "mediapipe==0.10.21"
"""The last release whose wheel holds the models of the legacy solutions."""

MAX_SIDE = 1280
"""Larger images are shrunk first: the networks see 128 to 192 pixels, so nothing is lost but time."""

REGION_SPAN, REGION_PIXELS = 1.5, 192
"""The landmark network sees a square of this many times the face's extent, in so many pixels."""

BIAS = 0.33
"""How far right of and below their place MediaPipe puts landmarks, in the network's pixels. Found from 100
faces and their mirror images at 320, 640 and 1280 pixels: 0.35, 0.33 and 0.31."""

FRAME_MICROSECONDS = 33333
"""By how much MediaPipe's own clock goes on from frame to frame."""

_NOTHING = np.zeros((8, 8, 3), dtype=np.uint8)

_LIST_TAG, _FIELD_TAGS = 0x0A, (0x0D, 0x15, 0x1D)
"""What comes before a landmark (then its length) and before each of its x, y and z."""

_TAG_PLACES, _FLOAT_PLACES = [0, 1, 2, 7, 12], [*range(3, 7), *range(8, 12), *range(13, 17)]


def load_solutions() -> ModuleType:
    """MediaPipe's legacy solutions, imported without their log noise.

    :raises BackendError: MediaPipe is missing, broken, or a release without them.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet_stderr():
            from mediapipe import solutions
    except (ImportError, AttributeError, RuntimeError, TypeError) as error:
        raise BackendError(
            f"MediaPipe's face mesh cannot be loaded ({error}); install it with: pip install {MEDIAPIPE}"
        ) from error
    if not (hasattr(solutions, "face_mesh") and hasattr(solutions, "face_detection")):
        raise BackendError(f"This MediaPipe has no face mesh; install one with: pip install {MEDIAPIPE}")
    module: ModuleType = solutions
    return module


def open_mesh(max_faces: int, static: bool) -> Any:
    """A running MediaPipe FaceMesh with irises.

    :raises BackendError: it cannot be loaded or started.
    """
    solutions = load_solutions()
    try:
        with quiet_stderr():
            mesh = solutions.face_mesh.FaceMesh(
                static_image_mode=static, max_num_faces=max_faces, refine_landmarks=True
            )
            # The first run loads the networks (70 ms) and logs; better here than on the first frame.
            mesh.process(np.zeros((8, 8, 3), dtype=np.uint8))
    except (RuntimeError, ValueError, OSError) as error:
        raise BackendError(
            f"MediaPipe's face mesh does not start ({error}); install it again with: pip install {MEDIAPIPE}"
        ) from error
    return mesh


def open_detector(full_range: bool) -> Any:
    """MediaPipe's running face detection, for near faces or for those across a room.

    :raises BackendError: it cannot be loaded or started.
    """
    solutions = load_solutions()
    try:
        with quiet_stderr():
            detector = solutions.face_detection.FaceDetection(model_selection=int(full_range))
            detector.process(np.zeros((8, 8, 3), dtype=np.uint8))  # Loads the network, and logs.
    except (RuntimeError, ValueError, OSError) as error:
        raise BackendError(
            f"MediaPipe's face detector does not start ({error}); install it again: pip install {MEDIAPIPE}"
        ) from error
    return detector


def shrink(image: Array) -> Array:
    """``image`` (H, W, 3), area-averaged to at most `MAX_SIDE` pixels on its longer side."""
    longest = max(image.shape[:2])
    if longest <= MAX_SIDE:
        return np.ascontiguousarray(image)
    height, width = (max(1, round(side * MAX_SIDE / longest)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def run_mesh(mesh: Any, image: Array) -> list[Array]:
    """Landmarks (478, 3) float32 in pixels of ``image`` of each plausible face.

    MediaPipe's x and y are fractions of the size; times the size they are pixel indices, plus `BIAS`. Its z
    has the scale of x.
    """
    small = shrink(image)
    size = np.array([small.shape[1], small.shape[0]], dtype=np.float32)
    grown = np.array([image.shape[1], image.shape[0]], dtype=np.float32) / size
    faces = []
    for message in _process(mesh, small):
        points = _read_landmarks(message)
        points[:, :2] *= size
        network_pixel = REGION_SPAN * np.ptp(points[:, :2], axis=0).max() / REGION_PIXELS
        points[:, :2] = (points[:, :2] - BIAS * network_pixel + 0.5) * grown - 0.5
        points[:, 2] *= image.shape[1]
        if plausible(points, image.shape[1], image.shape[0]):
            faces.append(points)
    return faces


def _process(mesh: Any, image: Array) -> list[bytes]:
    """What ``mesh.process`` does, without a class made anew for each answer and a copy of the picture.

    :return: for each face a serialized ``NormalizedLandmarkList``.
    """
    from mediapipe.python import packet_creator
    from mediapipe.python._framework_bindings import _packet_getter, image_frame

    lent = image.view()
    lent.flags.writeable = False  # which is how MediaPipe knows that it need not copy
    packet = packet_creator.create_image_frame(lent, image_format=image_frame.ImageFormat.SRGB)
    mesh._graph_outputs.clear()
    mesh._simulated_timestamp += FRAME_MICROSECONDS
    mesh._graph.add_packet_to_input_stream(stream="image", packet=packet.at(mesh._simulated_timestamp))
    mesh._graph.wait_until_idle()
    found = mesh._graph_outputs.get("multi_face_landmarks")
    if found is None or found.is_empty():
        return []
    messages: list[bytes] = _packet_getter._get_serialized_proto_list(found)
    return messages


def _read_landmarks(message: bytes) -> Array:
    """(N, 3) float32 x, y, z of a ``NormalizedLandmarkList``.

    Protocol buffers write the same tags and lengths for each landmark with the same fields, so that the
    message is a table; one that is not is read field by field.
    """
    table = np.frombuffer(message, np.uint8)
    if len(table) % LANDMARKS == 0 and len(table) >= 17 * LANDMARKS:
        table = table.reshape(LANDMARKS, -1)
        if (table[:, _TAG_PLACES] == [_LIST_TAG, table.shape[1] - 2, *_FIELD_TAGS]).all():
            return np.ascontiguousarray(table[:, _FLOAT_PLACES]).view("<f4").astype(np.float32)
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmarkList

    landmarks = NormalizedLandmarkList.FromString(message).landmark
    return np.array([(p.x, p.y, p.z) for p in landmarks], dtype=np.float32)


class MediaPipeTracker:
    """Video: follows each face from frame to frame and detects only while fewer than ``max_faces`` are known.

    Where nobody has been seen for a while, it looks now and then only (`SearchPace`). A new face that does
    not stand as its landmarks have it (`stream.face.upright`) is none; then, and now and then where there is
    nobody, it looks at the picture turned, and stays with the turn at which it finds somebody.

    :raises BackendError: MediaPipe cannot run here.
    """

    def __init__(self, max_faces: int = 1) -> None:
        self._mesh = open_mesh(max_faces, static=False)
        self._detector = open_detector(full_range=False)
        self._quiet = QuietStart()
        self._pace = SearchPace()
        self._turns = QuarterTurns()
        self._known = 0

    def detect(self, frame: Frame) -> list[Array]:
        """See `FaceTracker.detect`."""
        check_image(frame.image)
        if not self._pace.due(frame.captured):
            return []
        with self._quiet.next():
            faces = self._look(frame.image, self._turns.now, unseen=True)
            if not faces and not self._known and (turn := self._turns.next_try()) is not None:
                faces = self._look(frame.image, turn, unseen=False)
                if faces:
                    self._turns.now = turn
        self._known = len(faces)
        if faces:
            self._pace.found(frame.captured)
        return faces

    def close(self) -> None:
        """See `FaceTracker.close`."""
        self._mesh.close()
        self._detector.close()

    def _look(self, image: Array, turn: int, unseen: bool) -> list[Array]:
        """The faces in the picture turned ``turn`` quarters, in pixels of the picture as it is.

        :param unseen: take new ones, too, in which the detector sees no face.
        """
        turned = turn_image(image, turn)
        faces = run_mesh(self._mesh, turned)
        if len(faces) > self._known:
            found = [turned_by(self._detector, turned, face) for face in faces]
            off = [angle for angle in found if angle is not None]
            fits = any(abs(angle) < TOLERANCE for angle in off) or (unseen and None in found)
            if not fits:
                # MediaPipe would follow what it took for a face; in a picture of nothing it loses it.
                run_mesh(self._mesh, _NOTHING)
                if off:
                    self._turns.now = (turn + round(off[0] / (math.pi / 2))) % 4
                return []
        height, width = image.shape[:2]
        return [turn_landmarks(face, turn, width, height) for face in faces]
