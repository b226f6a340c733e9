"""Cameras that look at a mesh, as plain matrices.

A view turns camera millimetres (`stream.types`) into OpenGL clip space in two steps: ``view`` is rigid and
leads to the eye's frame (axes as OpenCV's: x right, y down, z forward, millimetres), ``projection`` leads
from there to clip space, whose w is the eye's z.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from stream.errors import InputError
from stream.types import Array, Intrinsics

NEAR, FAR = 10.0, 100_000.0
"""Clipping planes, mm: from closer than any camera focuses to a narrow lens across a hall."""

ORBIT_FOV = 24.0
"""Angle the orbit view sees across the picture's smaller side, degrees: a portrait lens."""

ORBIT_MARGIN = 1.18
"""Half the visible span at the face's centre, in radii of the face."""

MIN_ZOOM, MAX_ZOOM = 0.3, 8.0
ZOOM_PER_STEP = 1.12
DEGREES_PER_HEIGHT = 220.0
"""How far a drag over the window's whole height turns the face."""

FOLLOW_SECONDS = 0.25
"""Time constant with which the orbit's centre follows the face."""


class View(Protocol):
    """Where the picture is drawn from."""

    def matrices(self, size: tuple[int, int]) -> tuple[Array, Array]:
        """``view`` and ``projection``, each (4, 4) float64 for column vectors, for a picture of ``size``
        (width, height) pixels."""


def contain(width: int, height: int, size: tuple[int, int]) -> tuple[float, float]:
    """The share of a picture's width and height that an image takes when scaled to fit, centred.

    :param width, height: the image, pixels.
    :param size: width and height of the picture, pixels.
    """
    scale = min(size[0] / width, size[1] / height)
    return scale * width / size[0], scale * height / size[1]


class CameraView:
    """The source camera's own view: what is drawn lies over its image, pixel on pixel.

    A picture of another size shows the whole image, scaled to fit and centred.

    :param intrinsics: the source camera (pixel centres at whole coordinates, as in `stream.types`).
    :raises InputError: a focal length or a size is not positive, or a value is not finite.
    """

    def __init__(self, intrinsics: Intrinsics) -> None:
        k = intrinsics
        values = (k.fx, k.fy, k.cx, k.cy, k.width, k.height)
        if not all(math.isfinite(v) for v in values) or min(k.fx, k.fy, k.width, k.height) <= 0:
            raise InputError(f"These intrinsics cannot be rendered with: {k}; use finite, positive ones.")
        self.intrinsics = intrinsics

    def matrices(self, size: tuple[int, int]) -> tuple[Array, Array]:
        """See `View.matrices`; the view is the identity."""
        k = self.intrinsics
        # A pixel's centre p lies at (2 p + 1) / width - 1 in clip units; clip y points up.
        projection = perspective(2 * k.fx / k.width, 2 * k.fy / k.height)
        projection[0, 2] = (2 * k.cx + 1) / k.width - 1
        projection[1, 2] = 1 - (2 * k.cy + 1) / k.height
        projection[:2] *= np.array(contain(k.width, k.height, size))[:, None]
        return np.eye(4), projection


class OrbitView:
    """A view that circles the face: drag to turn, scroll to zoom, and it follows the face's centre.

    :param yaw: degrees; positive turns the face towards the picture's right.
    :param pitch: degrees; positive turns the face downwards (seen from above), within -85..85.
    """

    def __init__(self, yaw: float = 0.0, pitch: float = 0.0) -> None:
        self._start = (yaw, pitch)
        self._centre = np.array([0.0, 0.0, 600.0])
        self._radius = 120.0
        self._followed: float | None = None
        self.reset()

    def reset(self) -> None:
        """Back to the angles it began with, and no zoom."""
        self.yaw, self.pitch = self._start
        self.zoom = 1.0

    def drag(self, dx: float, dy: float) -> None:
        """Turn as if the face were pulled along, by a movement in picture heights (right, down)."""
        self.yaw = (self.yaw + dx * DEGREES_PER_HEIGHT + 180.0) % 360.0 - 180.0
        self.pitch = min(85.0, max(-85.0, self.pitch + dy * DEGREES_PER_HEIGHT))

    def scroll(self, steps: float) -> None:
        """Zoom in (positive) or out by wheel steps."""
        self.zoom = min(MAX_ZOOM, max(MIN_ZOOM, self.zoom * ZOOM_PER_STEP**steps))

    def follow(self, centre: Array, radius: float, now: float) -> None:
        """Move smoothly to look at a sphere around ``centre`` (3,), camera mm, as of ``now`` (seconds).

        Jumps where there is nothing to follow smoothly: at first, after a pause, to a face elsewhere.
        """
        elapsed = math.inf if self._followed is None else now - self._followed
        self._followed = now
        away = float(np.linalg.norm(centre - self._centre))
        if not 0 <= elapsed < 1 or away > 3 * self._radius:
            self._centre, self._radius = np.asarray(centre, dtype=np.float64), float(radius)
            return
        share = 1 - math.exp(-elapsed / FOLLOW_SECONDS)
        self._centre = self._centre + share * (centre - self._centre)
        self._radius += share * (radius - self._radius)

    def matrices(self, size: tuple[int, int]) -> tuple[Array, Array]:
        """See `View.matrices`."""
        half = math.tan(math.radians(ORBIT_FOV) / 2)
        rotation = turn(self.yaw, self.pitch)
        view = np.eye(4)
        view[:3, :3] = rotation
        view[:3, 3] = -rotation @ self._centre
        view[2, 3] += self._radius * ORBIT_MARGIN / half
        focal = self.zoom / half
        small = min(size)
        return view, perspective(focal * small / size[0], focal * small / size[1])


def turn(yaw: float, pitch: float) -> Array:
    """(3, 3) float64 rotation, OpenCV axes, that swings the side nearest to the viewer right by ``yaw``, then
    down by ``pitch`` degrees."""
    a, b = math.radians(yaw), math.radians(pitch)
    around_y = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    around_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return around_x @ around_y


def perspective(across: float, down: float) -> Array:
    """(4, 4) float64 from the eye's frame to clip space, centred; the parameters scale x/z and y/z."""
    matrix = np.zeros((4, 4))
    matrix[0, 0] = across
    matrix[1, 1] = -down
    matrix[2, 2] = (FAR + NEAR) / (FAR - NEAR)
    matrix[2, 3] = -2 * FAR * NEAR / (FAR - NEAR)
    matrix[3, 2] = 1.0
    return matrix
