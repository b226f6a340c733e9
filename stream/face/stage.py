"""The pipeline's face stage: frames in, tracked faces out."""

from __future__ import annotations

from stream.errors import BackendError, FaceError
from stream.face.camera import DEFAULT_CAMERA, Camera, CameraSettings
from stream.face.crop import crop_from_landmarks
from stream.face.pose import solve_pose
from stream.face.tracker import FaceTracker, check_tracker, open_tracker
from stream.face.tracks import Track, Tracks
from stream.memory import TrackMemory
from stream.types import Capture, Face, Intrinsics, Person


class FaceStage:
    """Finds, follows, smooths and poses the faces of each frame (a `stream.pipeline.stage.Stage`).

    A capture without a usable face passes with ``people`` empty. Pose and crop come from the smoothed
    landmarks, so that they are as calm.

    :param max_faces: at most this many, the largest first.
    :param smooth: filter the landmarks in capture time.
    :param camera: the camera, and the scale of everything in mm.
    :param tracker: one of `stream.face.tracker.TRACKER_NAMES`.
    :param memory: what other stages remember of each track; it is told which are still followed.
    :raises ConfigError: a setting is out of range or the calibration is not readable.
    """

    name = "face"

    def __init__(
        self,
        max_faces: int = 1,
        smooth: bool = True,
        camera: CameraSettings = DEFAULT_CAMERA,
        tracker: str = "auto",
        memory: TrackMemory | None = None,
    ) -> None:
        check_tracker(tracker, max_faces)
        self._camera = Camera(camera)
        self._intrinsics: Intrinsics | None = None
        self._max_faces = max_faces
        self._ipd_mm = camera.ipd_mm
        self._tracker_name = tracker
        self._tracker: FaceTracker | None = None
        self._tracks = Tracks(max_faces, smooth)
        self._memory = TrackMemory() if memory is None else memory

    def open(self) -> None:
        """:raises BackendError: the tracker cannot run here."""
        self._tracker = open_tracker(self._tracker_name, self._max_faces)

    def __call__(self, capture: Capture) -> Capture:
        """The capture with its ``people``, each with a face.

        :raises InputError: the frame is not (H, W, 3) uint8.
        :raises ConfigError: the frame does not have the calibration's aspect ratio.
        """
        if self._tracker is None:
            raise BackendError("The face stage is not open; call open() before the first frame.")
        frame = capture.frame
        detections = self._tracker.detect(frame)
        intrinsics = self._fitted(frame.image.shape[1], frame.image.shape[0])
        tracks = self._tracks.update(detections, frame.captured)
        self._memory.keep(self._tracks.followed)
        faces = (self._face(track, intrinsics) for track in tracks)
        return capture.adding("face", (Person(face) for face in faces if face is not None))

    def close(self) -> None:
        """Close the tracker and forget all faces."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
        self._tracks.reset()
        self._memory.keep(())

    def _fitted(self, width: int, height: int) -> Intrinsics:
        """The camera for frames of this size; faces are found afresh when it changes, for their pixels mean
        another thing then."""
        known = self._intrinsics
        if known is None or (width, height) != (known.width, known.height):
            known = self._intrinsics = self._camera.intrinsics(width, height)
            self._tracks.reset()
        return known

    def _face(self, track: Track, intrinsics: Intrinsics) -> Face | None:
        """The track as a `Face`, or None in a frame where its landmarks fit no head."""
        try:
            crop = crop_from_landmarks(track.landmarks)
            pose = solve_pose(track.landmarks, intrinsics, track.pose, self._ipd_mm)
        except FaceError:
            track.pose = None
            return None
        track.pose = pose
        return Face(track.track_id, track.landmarks, pose, crop, intrinsics)
