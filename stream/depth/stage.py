"""The pipeline's depth stage: people with faces in, the same with a calm depth map each out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stream.compute.backends import load_twin
from stream.depth.estimator import DepthEstimator
from stream.depth.maps import resized_depth
from stream.depth.sight import line_of_sight, sight_tilt
from stream.depth.smoothing import DepthSmoother
from stream.errors import ModelError
from stream.inference.engine import Engine
from stream.memory import TrackMemory
from stream.types import Capture, Frame, Person


class DepthStage:
    """Adds the ``depth`` of each person (a `stream.pipeline.stage.Stage`).

    Depth is smoothed along the line of sight, as the network gives it: along the camera's axis it tilts as
    the face crosses the image.

    :param load: gives the network, on the stage's thread: one of its own, or a share of one
        (`stream.inference.shared.SharedEngine.front`).
    :param side: side of the maps handed on, pixels; ``None`` keeps the network's.
    :param smooth: average each track's depth over time against jitter (`DepthSmoother`).
    :param memory: where each track's past stays while it is followed.
    """

    name = "depth"

    def __init__(
        self,
        load: Callable[[], Engine],
        side: int | None = None,
        smooth: bool = True,
        memory: TrackMemory | None = None,
    ) -> None:
        self._load, self._side, self._smooth = load, side, smooth
        self._memory = TrackMemory() if memory is None else memory
        self._estimator: DepthEstimator | None = None

    def open(self) -> None:
        """Load the network and the smoothing's kernels.

        :raises ModelError, BackendError, ConfigError: as `DepthEstimator` and what loads the network.
        """
        load_twin("smooth_depth", "numba")
        load_twin("stillness", "numba")
        self._estimator = DepthEstimator(normals=False, engine=self._load())

    def __call__(self, capture: Capture) -> Capture:
        """Estimate everybody's depth.

        :raises InputError: the frame's image or a face's crop cannot be used.
        """
        return capture.adding("depth", [self._with_depth(capture.frame, one) for one in capture.people])

    def close(self) -> None:
        """Free the network."""
        if self._estimator is not None:
            self._estimator.close()
            self._estimator = None

    def _with_depth(self, frame: Frame, person: Person) -> Person:
        if self._estimator is None:
            raise ModelError("The depth stage is not open; open it before the first capture.")
        face = person.face
        depth, picture = self._estimator.estimate_along_sight(frame.image, face.crop)
        if self._side is not None and self._side != self._estimator.maps_size:
            depth = resized_depth(depth, self._side)
        if self._smooth:
            smoother = self._memory.recall(face.track_id, self.name, DepthSmoother)
            depth = smoother(frame.captured, depth, picture)
        tilt = sight_tilt(line_of_sight(face.crop, face.intrinsics), depth.map.shape[0])
        return replace(person, depth=replace(depth, map=depth.map - tilt))
