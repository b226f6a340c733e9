"""The face in a single picture."""

from __future__ import annotations

from pathlib import Path

from stream.errors import FaceError
from stream.face.calibration import load_calibration, scale_intrinsics
from stream.face.crop import crop_from_landmarks
from stream.face.pose import solve_pose
from stream.face.tracker import open_tracker
from stream.face.tracks import face_size
from stream.geometry import DEFAULT_FOV, INTER_PUPIL_MM, intrinsics_from_fov
from stream.types import Array, Face, Frame

_CANDIDATES = 4


def find_face(
    image: Array,
    fov: float = DEFAULT_FOV,
    calibration: Path | None = None,
    ipd_mm: float = INTER_PUPIL_MM,
) -> Face:
    """The largest face in a picture, searched for more thoroughly than in video.

    :param image: (H, W, 3) uint8 RGB, any size.
    :param fov: the camera's diagonal field of view in degrees, where there is no calibration.
    :param calibration: a file that `load_calibration` reads; it is scaled to the picture's size.
    :raises FaceError: there is no face, or none that can be used.
    :raises InputError: the image is not (H, W, 3) uint8.
    :raises ConfigError: a setting is out of range.
    :raises BackendError: no tracker can run here.
    """
    search = open_tracker("auto", max_faces=_CANDIDATES, static=True)
    try:
        faces = search.detect(Frame(image, captured=0.0, index=0, source="picture"))
    finally:
        search.close()
    if not faces:
        raise FaceError("There is no face in this picture; use one where eyes, nose and mouth can be seen.")
    landmarks = max(faces, key=face_size)
    height, width = image.shape[:2]
    if calibration is not None:
        intrinsics = scale_intrinsics(load_calibration(calibration), width, height)
    else:
        intrinsics = intrinsics_from_fov(width, height, fov)
    pose = solve_pose(landmarks, intrinsics, ipd_mm=ipd_mm)
    return Face(0, landmarks, pose, crop_from_landmarks(landmarks), intrinsics)
