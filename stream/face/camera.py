"""The camera that faces are posed for, and the scale of their millimetres."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from stream.config import Settings
from stream.face.calibration import load_calibration, scale_intrinsics
from stream.geometry import DEFAULT_FOV, INTER_PUPIL_MM, MAX_FOV, MIN_FOV, intrinsics_from_fov
from stream.types import Intrinsics


class CameraSettings(Settings):
    """What is known of the camera and of who is before it.

    :ivar fov: diagonal field of view, degrees; a calibration overrides it.
    :ivar calibration: camera calibration file (`stream.face.calibration`), scaled to the frames' size.
    :ivar ipd_mm: the person's inter-pupil distance, millimetres; sets the scale.
    """

    fov: float = Field(DEFAULT_FOV, ge=MIN_FOV, le=MAX_FOV)
    calibration: Path | None = None
    ipd_mm: float = Field(INTER_PUPIL_MM, ge=30.0, le=90.0)


DEFAULT_CAMERA = CameraSettings()


class Camera:
    """The camera of the settings, for frames of any size.

    :raises ConfigError: the calibration is not readable.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._fov = settings.fov
        self._calibrated = None if settings.calibration is None else load_calibration(settings.calibration)

    def intrinsics(self, width: int, height: int) -> Intrinsics:
        """For frames of that size, pixels.

        :raises ConfigError: they do not have the calibration's aspect ratio.
        """
        if self._calibrated is not None:
            return scale_intrinsics(self._calibrated, width, height)
        return intrinsics_from_fov(width, height, self._fov)
