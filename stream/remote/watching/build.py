"""From what a viewer receives back to what the renderer draws: faces, depths and textured meshes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stream.face.crop import crop_image
from stream.mesh.build import surface_grid, texture_size, textured
from stream.mesh.codec import SurfaceFrame
from stream.remote.watching.frame import RemoteFrame
from stream.types import Array, Crop, Depth, Face, Intrinsics, Mesh

GREY = 150
"""Level of a texture where there is no picture."""

MAX_STRETCH = 1.05
"""A picture whose proportions differ more from the surface's own is another one: the camera was turned."""

BLANK_SIDE = 640


def blank_picture(camera: Intrinsics) -> Array:
    """(H, W, 3) uint8 grey, in the proportions of a camera's pictures; of bounded size."""
    scale = min(1.0, BLANK_SIDE / max(camera.width, camera.height))
    size = max(1, round(camera.height * scale)), max(1, round(camera.width * scale))
    return np.full((*size, 3), GREY, np.uint8)


def remote_mesh(received: RemoteFrame, image: Array, compute: str = "auto") -> tuple[Face, Depth, Mesh]:
    """The face, its depth and its mesh; millimetres and crop units are the sender's.

    :param image: (H, W, 3) uint8 RGB, what is shown as the picture; the face's crop and camera are given in
        its pixels. It is the texture, too, where it is the surface's picture.
    :raises InputError, BackendError: the mesh cannot be built.
    """
    surface = received.surface
    solid = np.isfinite(surface.depth)
    depth = Depth(np.where(solid, surface.depth, np.float32(0)), solid.astype(np.float32))
    grid = surface_grid(surface.crop, surface.intrinsics, surface.pose, depth, compute, surface.jump)
    crop, camera = _in_picture(surface, image)
    if received.picture is None or not _same_shape(surface.intrinsics, image):
        texture = np.full((8, 8, 3), GREY, np.uint8)
    else:
        texture = crop_image(image, crop, texture_size(crop))
    face = Face(surface.track, np.empty((0, 3), np.float32), surface.pose, crop, camera)
    return face, depth, textured(grid, texture)


def _same_shape(camera: Intrinsics, image: Array) -> bool:
    ratio = image.shape[1] / camera.width * camera.height / image.shape[0]
    return 1 / MAX_STRETCH <= ratio <= MAX_STRETCH


def _in_picture(surface: SurfaceFrame, image: Array) -> tuple[Crop, Intrinsics]:
    """Crop and camera in the pixels of a picture that may have been scaled on its way."""
    crop, camera = surface.crop, surface.intrinsics
    height, width = image.shape[:2]
    across, down = width / camera.width, height / camera.height
    return (
        replace(
            crop,
            x=_scaled(crop.x, across),
            y=_scaled(crop.y, down),
            half=crop.half * math.sqrt(across * down),
        ),
        Intrinsics(
            camera.fx * across,
            camera.fy * down,
            _scaled(camera.cx, across),
            _scaled(camera.cy, down),
            width,
            height,
        ),
    )


def _scaled(place: float, scale: float) -> float:
    """A coordinate whose origin is the first pixel's centre, in pixels of another size."""
    return (place + 0.5) * scale - 0.5
