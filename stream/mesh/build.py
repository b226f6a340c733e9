"""One face's depth map and picture become its textured mesh, here or at the other end of a wire."""

from __future__ import annotations

from stream.compute.backends import AUTO
from stream.compute.depth_to_mesh import GridMesh, check_maps, depth_to_mesh
from stream.compute.mend_surface import mend_surface
from stream.errors import InputError
from stream.face.crop import crop_image
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.mesh.silhouette import depth_jump
from stream.types import Array, Crop, Depth, Face, Frame, Intrinsics, Mesh, Surface

TEXTURE_SIZES = (256, 384, 512, 768, 1024, 1536, 2048)
"""Sides of textures, pixels. Steps of 1.5 at most: of a face 283 pixels wide, 384 show all, in half the time
that 512 would take to cut and to draw."""

ISOLATED = 1.3
"""A step between just two pixels, up to this many times `depth_jump`, is kept: a slit there looks worse.
Wider ones are cut, with a smooth outline, by `mend_surface`."""


def texture_size(crop: Crop) -> int:
    """The smallest of `TEXTURE_SIZES` that is not smaller than the crop in the image, or the largest."""
    side = 2 * crop.half
    return next((size for size in TEXTURE_SIZES if size >= side), TEXTURE_SIZES[-1])


def build_mesh(frame: Frame, face: Face, depth: Depth, compute: str = AUTO) -> Mesh:
    """Mesh of one face, textured with its full-resolution crop.

    The face's distance is that of its pose, which fixes the scale: millimetres in the camera frame. The
    mask is cleaned first and edges are made smooth (`mend_surface`). A mask without a face gives a mesh
    without triangles.

    :raises InputError: depth or pose have wrong shapes, dtypes or values.
    :raises ConfigError, BackendError: the compute backend is unknown or cannot run here.
    """
    return mesh_of(frame, face, surface_of(depth), compute)


def mesh_of(frame: Frame, face: Face, surface: Surface, compute: str = AUTO) -> Mesh:
    """As `build_mesh`, of the surface that was made of the depth."""
    grid = surface_grid(face.crop, face.intrinsics, face.pose, surface, compute)
    return textured(grid, crop_image(frame.image, face.crop, texture_size(face.crop)))


def surface_of(depth: Depth) -> Surface:
    """The part of a depth map that becomes a mesh: smooth at its edges, alpha 0 wherever there is none.

    :raises InputError: the maps have wrong shapes or dtypes.
    """
    size = check_maps(depth.map, depth.mask)
    sure = None if depth.confidence is None else depth.confidence[None]
    made = mend_surface(depth.map[None], depth.mask[None], depth_jump(size), sure, compute="numba")
    return Surface(made.depth[0], made.alpha[0])


def connect_jump(size: int) -> float:
    """From which step, crop units, neighbouring pixels of a surface of that size are not connected."""
    return ISOLATED * depth_jump(size)


def surface_grid(
    crop: Crop,
    camera: Intrinsics,
    pose: Array,
    surface: Surface,
    compute: str = AUTO,
) -> GridMesh:
    """The triangles of a surface (`surface_of`) at the distance of its head's pose.

    :raises InputError, ConfigError, BackendError: as `build_mesh`.
    """
    size = check_maps(surface.depth, surface.alpha)
    if pose.shape != (4, 4):
        raise InputError(f"The face's pose is {pose.shape} but must be a (4, 4) matrix.")
    distance = float(pose[2, 3])
    return depth_to_mesh(
        surface.depth,
        surface.alpha,
        image_from_crop(crop, size),
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy,
        distance,
        mm_per_crop_unit(crop, camera, distance),
        depth_jump=connect_jump(size) if surface.jump is None else surface.jump,
        compute=compute,
    )


def textured(grid: GridMesh, texture: Array) -> Mesh:
    """A grid's triangles with the crop's picture (T, T, 3) uint8 RGB."""
    return Mesh(grid.vertices, grid.normals, grid.uv, grid.triangles, grid.valid, texture)
