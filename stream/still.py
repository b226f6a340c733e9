"""A single picture, searched and measured more thoroughly than a frame of video."""

from __future__ import annotations

import time

from stream.recipes import CaptureSettings
from stream.types import Array, Capture, Frame, Person


def capture_image(image: Array, settings: CaptureSettings | None = None) -> Capture:
    """The largest face of one picture, with its depth, surface and mesh.

    :param image: (H, W, 3) uint8 RGB, any size.
    :raises FaceError: there is no face.
    :raises InputError: the image is not (H, W, 3) uint8.
    :raises ConfigError, BackendError, ModelError: a setting is out of range, or cannot run here.
    """
    from stream.depth.estimator import DepthEstimator
    from stream.face.still import find_face
    from stream.mesh.build import mesh_of, surface_of

    settings = settings or CaptureSettings()
    frame = Frame(image, captured=time.monotonic(), index=0, source="picture")
    face = find_face(image, settings.camera)
    # Exact arithmetic: bfloat16, which OpenVINO would choose, costs about a degree in the normals.
    estimator = DepthEstimator(settings.inference, precision="f32")
    try:
        depth = estimator.estimate_flipped_mean(image, face.crop, face.intrinsics)
    finally:
        estimator.close()
    surface = surface_of(depth)
    mesh = mesh_of(frame, face, surface, settings.compute)
    known = frozenset({"face", "depth", "surface", "mesh"})
    return Capture(frame, (Person(face, depth, surface, mesh),), known)
