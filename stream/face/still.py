"""The face in a single picture."""

from __future__ import annotations

from stream.errors import FaceError
from stream.face.camera import DEFAULT_CAMERA, Camera, CameraSettings
from stream.face.crop import crop_from_landmarks
from stream.face.pose import solve_pose
from stream.face.tracker import open_tracker
from stream.face.tracks import face_size
from stream.types import Array, Face, Frame

_CANDIDATES = 4


def find_face(
    image: Array,
    camera: CameraSettings = DEFAULT_CAMERA,
) -> Face:
    """The largest face in a picture, searched for more thoroughly than in video.

    :param image: (H, W, 3) uint8 RGB, any size.
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
    intrinsics = Camera(camera).intrinsics(width, height)
    pose = solve_pose(landmarks, intrinsics, ipd_mm=camera.ipd_mm)
    return Face(0, landmarks, pose, crop_from_landmarks(landmarks), intrinsics)
