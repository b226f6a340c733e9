"""Makes the pictures of the README: a frame of a preview video, and one portrait from several sides.

prosopon live --source sample --show preview
python tools/make_pictures.py --preview out/preview.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage.data import astronaut

from stream import capture_image
from stream.face.crop import crop_image
from stream.render.context import open_context
from stream.render.scene import MeshScene, mesh_bounds
from stream.render.view import OrbitView
from stream.types import Array, Capture

DOCS = Path(__file__).parents[1] / "docs"
SIDE = 360
VIEWS = (("textured", 0.0), ("textured", -35.0), ("lit", 0.0), ("lit", 40.0), ("lit", 80.0))
QUALITY = 90


def preview_frame(video: Path, seconds: float) -> Array:
    """The video's first picture at or after ``seconds``, (H, W, 3) uint8."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= seconds:
                return np.asarray(frame.to_ndarray(format="rgb24"))
    raise SystemExit(f"{video} is shorter than {seconds} s; make a longer one.")


def portrait_strip(capture: Capture) -> Array:
    """The face's crop and its mesh in `VIEWS`, side by side, (SIDE, n * SIDE, 3) uint8."""
    cells = [crop_image(capture.frame.image, capture.people[0].face.crop, SIDE)]
    context = open_context("egl")
    try:
        scene = MeshScene(context, samples=4)
        bounds = mesh_bounds(capture.meshes)
        assert bounds is not None, "the portrait has a face"
        for mode, yaw in VIEWS:
            view = OrbitView(yaw)
            view.follow(*bounds, 0.0)
            scene.draw(capture.meshes, view, mode, (SIDE, SIDE))
            cells.append(scene.read())
    finally:
        context.close()
    return np.hstack(cells)


def main() -> None:
    """Write docs/preview.jpg and docs/portrait.jpg."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--preview", type=Path, default=Path("out/preview.mp4"))
    parser.add_argument("--at", type=float, default=5.0, help="seconds into the preview")
    options = parser.parse_args()
    Image.fromarray(preview_frame(options.preview, options.at)).save(DOCS / "preview.jpg", quality=QUALITY)
    strip = portrait_strip(capture_image(astronaut()))
    Image.fromarray(strip).save(DOCS / "portrait.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
