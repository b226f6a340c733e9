"""The capture chain: the stages that make a textured mesh of a frame, wired from settings.

`prosopon live`, the benchmark and `prosopon reconstruct` all use this module; programs may too::

    from stream.capture import CaptureSettings, capture_image

    capture = capture_image(image, CaptureSettings(fov=60.0))
    capture.meshes[0].vertices  # millimetres, camera frame
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stream.config import Settings
from stream.errors import BackendError, ModelError
from stream.geometry import DEFAULT_FOV, INTER_PUPIL_MM, MAX_FOV, MIN_FOV
from stream.types import Array, Capture, Frame

if TYPE_CHECKING:
    from stream.face.stage import FaceStage
    from stream.mesh.device_stage import DeviceStage
    from stream.pipeline.stage import Stage


log = logging.getLogger(__name__)

LIVE_SIDE = 128
"""Side of the maps that live meshes are made of, pixels. The network's own 192 make 2.25 times the vertices,
which two cores can mesh, but not also draw and record at 30 frames a second; stills keep them."""


class CaptureSettings(Settings):
    """How faces are tracked and turned into meshes.

    :ivar max_faces: how many faces are followed at once, the largest first.
    :ivar smooth: One-Euro smoothing of landmarks, temporal smoothing of depth.
    :ivar fov: diagonal field of view of the camera, degrees; a calibration file overrides it.
    :ivar calibration: camera calibration file (`stream.face.calibration`).
    :ivar ipd_mm: the person's inter-pupil distance, millimetres; sets the scale.
    :ivar expression: solve ARKit's coefficients of each face, too (`stream.expression.stage`).
    :ivar inference: backend of the networks, by name.
    :ivar compute: backend of the kernels, by name.
    :ivar threads: threads of the depth network; ``None`` lets the library choose.
    """

    max_faces: int = Field(1, ge=1, le=16)
    smooth: bool = True
    fov: float = Field(DEFAULT_FOV, ge=MIN_FOV, le=MAX_FOV)
    calibration: Path | None = None
    ipd_mm: float = Field(INTER_PUPIL_MM, ge=30.0, le=90.0)
    expression: bool = False
    inference: str = "auto"
    compute: str = "auto"
    threads: int | None = Field(None, ge=1, le=64)


def live_model(inference: str) -> str:
    """Name of the depth model of live capture: the int8 variant, where it is shipped and can run.

    It is faster than the float network on a CPU; torch knows only the latter, which TensorRT runs in float16.
    """
    from stream.inference.backends import DEVICE_BACKENDS
    from stream.inference.manifest import load_manifest

    shipped = {entry.name for entry in load_manifest().models}
    return "depth" if inference in DEVICE_BACKENDS or "depth-int8" not in shipped else "depth-int8"


def capture_stages(settings: CaptureSettings) -> list[Stage]:
    """The stages from face to mesh, to be opened: face, depth and mesh, or face and device (`DeviceStage`).

    Where expressions are wanted, their stage comes right after the faces', of which alone it works.

    :raises ConfigError: a setting is out of range.
    :raises BackendError: CUDA was asked for by name and cannot run here; the message says why.
    """
    from stream.compute.backends import why_not

    if settings.compute == "cuda" and (reason := why_not("cuda")) is not None:
        raise BackendError(reason)
    device = _device_stage_that_runs(settings) if _may_stay_on_device(settings) else None
    expression = _expression_stages(settings)
    return [face_stage(settings), *expression, *(_host_stages(settings) if device is None else [device])]


def face_stage(settings: CaptureSettings) -> FaceStage:
    """The stage that finds, follows and poses faces, not yet open.

    :raises ConfigError: a setting is out of range.
    """
    from stream.face.stage import FaceStage

    return FaceStage(
        max_faces=settings.max_faces,
        smooth=settings.smooth,
        fov=settings.fov,
        calibration=settings.calibration,
        ipd_mm=settings.ipd_mm,
    )


def _expression_stages(settings: CaptureSettings) -> list[Stage]:
    if not settings.expression:
        return []
    from stream.expression.stage import ExpressionStage

    return [ExpressionStage(settings.ipd_mm)]


def _may_stay_on_device(settings: CaptureSettings) -> bool:
    """Whether a GPU, its kernels and a network library for it are there, as far as can be told cheaply."""
    from stream.compute.backends import AUTO, why_not
    from stream.inference.backends import DEVICE_BACKENDS, backend_status

    if settings.compute not in (AUTO, "cuda") or why_not("cuda") is not None:
        return False
    if settings.inference != AUTO:
        return settings.inference in DEVICE_BACKENDS
    return any(state.ready for state in backend_status() if state.name == "tensorrt")


def _device_stage_that_runs(settings: CaptureSettings) -> DeviceStage | None:
    """The stage on the GPU; for ``auto`` it is opened, and ``None`` if it cannot run."""
    stage = device_stage(settings)
    if settings.inference != "auto":
        return stage
    try:
        stage.open()
    except (BackendError, ModelError) as error:
        stage.close()
        log.warning("Frames do not stay on the GPU. %s", error)
        return None
    return stage


def _host_stages(settings: CaptureSettings) -> list[Stage]:
    from stream.depth.stage import DepthStage
    from stream.mesh.stage import MeshStage

    model = live_model(settings.inference)
    return [
        DepthStage(settings.inference, model, settings.threads, "f16", side=LIVE_SIDE),
        MeshStage(smooth=settings.smooth, compute=settings.compute),
    ]


def device_stage(settings: CaptureSettings, graphs: bool = True) -> DeviceStage:
    """The stage that makes depth and meshes on the GPU, not yet open (see `DeviceStage`)."""
    from stream.inference.backends import load_engine
    from stream.inference.engine import Engine
    from stream.inference.store import open_model
    from stream.mesh.device_stage import DeviceStage

    backend = "tensorrt" if settings.inference == "auto" else settings.inference

    def load() -> Engine:
        return load_engine(open_model("depth"), backend, settings.threads, "f16", settings.max_faces)

    return DeviceStage(load, settings.max_faces, settings.smooth, graphs)


def capture_image(image: Array, settings: CaptureSettings | None = None) -> Capture:
    """The largest face of one picture, searched for and measured more thoroughly than in video.

    :param image: (H, W, 3) uint8 RGB, any size.
    :raises FaceError: there is no face.
    :raises InputError: the image is not (H, W, 3) uint8.
    """
    from stream.depth.estimator import DepthEstimator
    from stream.face.still import find_face
    from stream.mesh.build import build_mesh

    settings = settings or CaptureSettings()
    frame = Frame(image, captured=time.monotonic(), index=0, source="picture")
    face = find_face(image, settings.fov, settings.calibration, settings.ipd_mm)
    # Exact arithmetic: bfloat16, which OpenVINO would choose, costs about a degree in the normals.
    estimator = DepthEstimator(settings.inference, precision="f32")
    try:
        depth = estimator.estimate_flipped_mean(image, face.crop, face.intrinsics)
    finally:
        estimator.close()
    mesh = build_mesh(frame, face, depth, compute=settings.compute)
    return Capture(frame, (face,), (depth,), meshes=(mesh,))
