"""The pipeline's stages from depth maps to meshes, or to the surfaces that are sent instead of them."""

from __future__ import annotations

from dataclasses import replace

from stream.compute.backends import AUTO, load_twin
from stream.compute.depth_to_mesh import check_maps
from stream.depth.sight import line_of_sight, sight_tilt
from stream.errors import InputError
from stream.face.crop import crop_image
from stream.mesh.build import build_mesh, surface_of
from stream.mesh.smoothing import DepthSmoother
from stream.mesh.stillness import PICTURE_SIDE
from stream.types import Capture, Depth, Face, Frame


class MeshStage:
    """Adds one mesh for each face of a capture, from its depth (`stream.pipeline.stage.Stage`).

    Every mesh has arrays of its own: other threads may still read an older capture's.

    :param smooth: average each track's depth over time against jitter (`DepthSmoother`).
    :param compute: ``auto``, ``numba`` or ``cuda``.
    """

    name = "mesh"

    def __init__(self, smooth: bool = True, compute: str = AUTO) -> None:
        self._smooth = smooth
        self._compute = compute
        self._smoother = DepthSmoother()

    def open(self) -> None:
        """Load the kernels, which may compile them for some seconds the first time.

        :raises ConfigError, BackendError: the compute backend is unknown or cannot run here.
        """
        load_twin("depth_to_mesh", self._compute)
        self._smoother = DepthSmoother()

    def __call__(self, capture: Capture) -> Capture:
        """Make the meshes; with smoothing, ``depths`` become the smoothed ones that the meshes show.

        :raises InputError: there is not one depth for each face, or one of them is not usable.
        """
        _check_depths(capture)
        depths = _smoothed(capture, self._smoother) if self._smooth else capture.depths
        meshes = tuple(
            build_mesh(capture.frame, face, depth, self._compute)
            for face, depth in zip(capture.faces, depths, strict=True)
        )
        return replace(capture, depths=depths, meshes=meshes)

    def close(self) -> None:
        """Forget the tracks."""
        self._smoother = DepthSmoother()


class SurfaceStage:
    """Turns each face's depth into the surface that a viewer elsewhere makes a mesh of (`surface_of`).

    For those who send surfaces and need no vertices; the smoothing is that of `MeshStage`.

    :param smooth: average each track's depth over time against jitter (`DepthSmoother`).
    """

    name = "surface"

    def __init__(self, smooth: bool = True) -> None:
        self._smooth = smooth
        self._smoother = DepthSmoother()

    def open(self) -> None:
        """Begin without any past."""
        self._smoother = DepthSmoother()

    def __call__(self, capture: Capture) -> Capture:
        """The capture with surfaces as its ``depths``.

        :raises InputError: there is not one depth for each face, or one of them is not usable.
        """
        _check_depths(capture)
        depths = _smoothed(capture, self._smoother) if self._smooth else capture.depths
        return replace(capture, depths=tuple(map(surface_of, depths)))

    def close(self) -> None:
        """Forget the tracks."""
        self._smoother = DepthSmoother()


def _check_depths(capture: Capture) -> None:
    if len(capture.depths) != len(capture.faces):
        raise InputError("The mesh stage needs one depth map for each face; put a depth stage before it.")


def _smoothed(capture: Capture, smoother: DepthSmoother) -> tuple[Depth, ...]:
    """Smoothed along the line of sight: along the axis, depth tilts as the face crosses the image."""
    return tuple(
        _smooth_one(capture.frame, face, depth, smoother)
        for face, depth in zip(capture.faces, capture.depths, strict=True)
    )


def _smooth_one(frame: Frame, face: Face, depth: Depth, smoother: DepthSmoother) -> Depth:
    check_maps(depth.map, depth.mask)
    picture = crop_image(frame.image, face.crop, PICTURE_SIDE)
    tilt = sight_tilt(line_of_sight(face.crop, face.intrinsics), depth.map.shape[0])
    seen = replace(depth, map=depth.map + tilt)
    smooth = smoother(face.track_id, frame.captured, seen, picture)
    return replace(smooth, map=smooth.map - tilt)
