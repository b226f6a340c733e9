"""One face's depth map and picture become its textured mesh."""

from __future__ import annotations

from stream.compute.backends import AUTO
from stream.compute.depth_mesh import check_maps, depth_to_mesh
from stream.errors import InputError
from stream.face.crop import crop_image
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.mesh.edges import smooth_rims
from stream.mesh.silhouette import clean_mask, depth_jump
from stream.types import Crop, Depth, Face, Frame, Mesh

TEXTURE_SIZES = (256, 512, 1024, 2048)

ISOLATED = 1.3
"""A step between just two pixels, up to this many times `depth_jump`, is kept: a slit there looks worse.
Wider ones are cut, with a smooth outline, by `smooth_rims`."""


def texture_size(crop: Crop) -> int:
    """The smallest of `TEXTURE_SIZES` that is not smaller than the crop in the image, or the largest."""
    side = 2 * crop.half
    return next((size for size in TEXTURE_SIZES if size >= side), TEXTURE_SIZES[-1])


def build_mesh(frame: Frame, face: Face, depth: Depth, compute: str = AUTO) -> Mesh:
    """Mesh of one face, textured with its full-resolution crop.

    The face's distance is that of its pose, which fixes the scale: millimetres in the camera frame. The
    mask is cleaned first (`stream.mesh.silhouette`) and edges are made smooth (`stream.mesh.edges`). A mask
    without a face gives a mesh without triangles.

    :raises InputError: depth or pose have wrong shapes, dtypes or values.
    :raises ConfigError, BackendError: the compute backend is unknown or cannot run here.
    """
    size = check_maps(depth.map, depth.mask)
    if face.pose.shape != (4, 4):
        raise InputError(f"The face's pose is {face.pose.shape} but must be a (4, 4) matrix.")
    camera, distance = face.intrinsics, float(face.pose[2, 3])
    mask = clean_mask(depth.map, depth.mask, depth.confidence)
    jump = depth_jump(size)
    smooth, head = smooth_rims(depth.map, mask > 0, jump)
    grid = depth_to_mesh(
        smooth,
        mask * head,
        image_from_crop(face.crop, size),
        camera.fx,
        camera.fy,
        camera.cx,
        camera.cy,
        distance,
        mm_per_crop_unit(face.crop, camera, distance),
        depth_jump=ISOLATED * jump,
        compute=compute,
    )
    return Mesh(
        vertices=grid.vertices,
        normals=grid.normals,
        uv=grid.uv,
        triangles=grid.triangles,
        valid=grid.valid,
        texture=crop_image(frame.image, face.crop, texture_size(face.crop)),
    )
