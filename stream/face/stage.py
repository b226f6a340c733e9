"""The pipeline's face stage: frames in, tracked faces out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stream.errors import BackendError, FaceError
from stream.face.calibration import load_calibration, scale_intrinsics
from stream.face.crop import crop_from_landmarks
from stream.face.head_model import check_ipd
from stream.face.pose import solve_pose
from stream.face.tracker import FaceTracker, check_tracker, open_tracker
from stream.face.tracks import Track, Tracks
from stream.geometry import DEFAULT_FOV, INTER_PUPIL_MM, intrinsics_from_fov
from stream.types import Capture, Face, Intrinsics


class FaceStage:
    """Finds, follows, smooths and poses the faces of each frame (a `stream.pipeline.stage.Stage`).

    A capture without a usable face passes with ``faces`` empty. Pose and crop come from the smoothed
    landmarks, so that they are as calm.

    :param max_faces: at most this many, the largest first.
    :param smooth: filter the landmarks in capture time.
    :param fov: the camera's diagonal field of view in degrees, where there is no calibration.
    :param calibration: a file that `load_calibration` reads; it is scaled to the frames' size.
    :param ipd_mm: the person's inter-pupil distance, which sets the scale of everything in mm.
    :param tracker: one of `stream.face.tracker.TRACKER_NAMES`.
    :raises ConfigError: a setting is out of range or the calibration is not readable.
    """

    name = "face"

    def __init__(
        self,
        max_faces: int = 1,
        smooth: bool = True,
        fov: float = DEFAULT_FOV,
        calibration: Path | None = None,
        ipd_mm: float = INTER_PUPIL_MM,
        tracker: str = "auto",
    ) -> None:
        check_tracker(tracker, max_faces)
        check_ipd(ipd_mm)
        self._calibrated = load_calibration(calibration) if calibration is not None else None
        self._fov = fov
        self._intrinsics = self._camera(1, 1) if self._calibrated is None else self._calibrated
        self._max_faces = max_faces
        self._ipd_mm = ipd_mm
        self._tracker_name = tracker
        self._tracker: FaceTracker | None = None
        self._tracks = Tracks(max_faces, smooth)

    def open(self) -> None:
        """:raises BackendError: the tracker cannot run here."""
        self._tracker = open_tracker(self._tracker_name, self._max_faces)

    def __call__(self, capture: Capture) -> Capture:
        """The capture with its ``faces``.

        :raises InputError: the frame is not (H, W, 3) uint8.
        :raises ConfigError: the frame does not have the calibration's aspect ratio.
        """
        if self._tracker is None:
            raise BackendError("The face stage is not open; call open() before the first frame.")
        frame = capture.frame
        detections = self._tracker.detect(frame)
        self._fit_camera(frame.image.shape[1], frame.image.shape[0])
        tracks = self._tracks.update(detections, frame.captured)
        faces = (self._face(track) for track in tracks)
        return replace(capture, faces=tuple(face for face in faces if face is not None))

    def close(self) -> None:
        """Close the tracker and forget all faces."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
        self._tracks.reset()

    def _fit_camera(self, width: int, height: int) -> None:
        """Take on a new frame size; faces are found afresh, for their pixels mean another thing now."""
        if (width, height) != (self._intrinsics.width, self._intrinsics.height):
            self._intrinsics = self._camera(width, height)
            self._tracks.reset()

    def _camera(self, width: int, height: int) -> Intrinsics:
        if self._calibrated is not None:
            return scale_intrinsics(self._calibrated, width, height)
        return intrinsics_from_fov(width, height, self._fov)

    def _face(self, track: Track) -> Face | None:
        """The track as a `Face`, or None in a frame where its landmarks fit no head."""
        try:
            crop = crop_from_landmarks(track.landmarks)
            pose = solve_pose(track.landmarks, self._intrinsics, track.pose, self._ipd_mm)
        except FaceError:
            track.pose = None
            return None
        track.pose = pose
        return Face(track.track_id, track.landmarks, pose, crop, self._intrinsics)
