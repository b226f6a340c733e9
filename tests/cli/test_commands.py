"""The commands as a person types them: exit codes, one plain sentence, and the files they promise."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from skimage.io import imsave

from stream.cli.main import main
from stream.cli.system_libraries import missing_library
from stream.errors import BackendError
from stream.render.context import probe_context

FIGURES = {"fps", "latency_ms", "stages", "drops", "rss_mb", "machine", "settings"}


def run(*arguments: str) -> int:
    """The exit code of ``prosopon ARGUMENTS``."""
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def has_egl() -> bool:
    try:
        probe_context("egl")
    except BackendError:
        return False
    return True


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "astronaut.png"
    imsave(path, skimage.data.astronaut())
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["live", "--source", "nowhere.mp4"], 1, "nowhere.mp4"),
        (["live", "--source", "sample", "--inference", "abacus"], 2, "abacus"),
        (["live", "--source", "sample", "--fov", "0.5"], 2, "fov"),
        (["live", "--size", "640"], 2, "1280x720"),
        (["bench", "--plot", "x.jpg"], 2, ".png"),
        (["bench", "--json", "x.png"], 2, ".png"),
        (["live", "--config", "none.yaml"], 2, "none.yaml"),
        (["bench", "--frames", "1"], 2, "frames"),
        (["reconstruct", "none.jpg", "-o", "x.glb"], 1, "none.jpg"),
        (["reconstruct", "none.jpg", "-o", "x.stl"], 2, ".glb"),
        (["reconstruct"], 2, "IMAGE"),
        (["fly"], 2, "fly"),
    ],
)
def test_wrong_usage_and_failures_have_their_codes_and_say_why(
    arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    complaint = capfd.readouterr().err
    assert words.lower() in complaint.lower()
    assert "Traceback" not in complaint


def test_a_traceback_only_with_debug() -> None:
    with pytest.raises(Exception, match=r"none\.yaml"):
        main(["live", "--config", "none.yaml", "--debug"])


def test_a_missing_system_library_names_its_package() -> None:
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    assert missing_library(error) == (
        "The system library libGL.so.1 is missing; install it with: apt-get install libgl1"
    )
    assert missing_library(ImportError("No module named 'x'")) is None


def test_doctor_says_of_each_thing_whether_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    checks = json.loads(capsys.readouterr().out)
    found = {(check["kind"], check["name"]): check for check in checks}
    assert {"source", "tracker", "inference", "compute", "render", "model"} == {kind for kind, _ in found}
    assert found["source", "sample"]["ready"]
    assert found["tracker", "mediapipe"]["ready"]
    assert found["model", "depth"]["ready"]
    assert found["compute", "numba"]["ready"]
    assert {name for kind, name in found if kind == "compute"} == {
        "cuda", "cuda by cuda-core", "cuda by pycuda", "cuda compiler", "numba"
    }  # fmt: skip
    assert all(check["how"] for check in checks if not check["ready"])


def test_reconstruct_gives_arrays_aligned_to_the_picture(portrait: Path, tmp_path: Path) -> None:
    assert run("reconstruct", str(portrait), "-o", str(tmp_path / "face.npz")) == 0
    with np.load(tmp_path / "face.npz", allow_pickle=False) as arrays:
        depth, mask, vertices = arrays["depth"], arrays["mask"], arrays["vertices"]
        assert depth.shape == mask.shape == (512, 512)
        assert arrays["landmarks"].shape == (478, 3)
        assert arrays["pose"].shape == (4, 4)
        assert arrays["intrinsics"].shape == (3, 3)
        assert arrays["faces"].min() == 0
        assert arrays["faces"].max() == len(vertices) - 1
        landmarks = arrays["landmarks"][:, :2]
    assert np.isfinite(depth).any()
    assert np.isnan(depth[0, 0])

    def at(index: int) -> float:
        x, y = np.rint(landmarks[index]).astype(int)
        return float(depth[y, x])

    tip, brow, ear_side = at(4), at(9), max(at(234), at(454))
    assert tip < brow < ear_side
    # A vertex carries the depth map's value at its own pixel (both sample the same crop map).
    x, y = np.rint(vertices[:, :2]).astype(int).T
    difference = depth[y, x] - vertices[:, 2]
    assert np.nanmedian(np.abs(difference)) < 1.0


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_reconstruct_writes_a_mesh_of_human_size(portrait: Path, tmp_path: Path, suffix: str) -> None:
    import trimesh

    path = tmp_path / f"face{suffix}"
    assert run("reconstruct", str(portrait), "-o", str(path)) == 0
    mesh = trimesh.load(path, force="mesh")
    width, height, _ = np.ptp(mesh.vertices, axis=0)
    assert len(mesh.vertices) > 3000
    assert 0.1 < width < 0.35
    assert 0.1 < height < 0.35


def test_a_mesh_beside_its_picture_leaves_the_picture_alone(portrait: Path) -> None:
    before = portrait.read_bytes()
    assert run("reconstruct", str(portrait), "-o", str(portrait.with_suffix(".obj"))) == 0
    assert portrait.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["reconstruct", "PORTRAIT", "-o", "TAKEN/x.glb"],
        ["live", "--source", "sample", "--show", "off", "--out", "TAKEN"],
        ["bench", "--json", "TAKEN/b.json"],
        ["eval", "jitter", "PORTRAIT", "--json", "TAKEN/j.json"],
        ["view", "http://127.0.0.1:9", "--json", "TAKEN/v.json"],
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(
    portrait: Path,
    tmp_path: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work(*args: object, **options: object) -> None:
        raise AssertionError("the place was not tried before")

    for place in (
        "stream.still.capture_image", "stream.session.Session.run", "stream.cli.bench._measure",
        "stream.evaluation.jitter.measure_photo",
    ):  # fmt: skip
        monkeypatch.setattr(place, work)
    taken = tmp_path / "taken"
    taken.write_text("in the way")
    words = {"PORTRAIT": str(portrait), "TAKEN": str(taken)}
    for name, word in words.items():
        arguments = [argument.replace(name, word) for argument in arguments]
    assert run(*arguments) == 1
    assert "Cannot write" in capfd.readouterr().err


def test_a_plot_nobody_asked_for_replaces_no_picture_of_others(
    portrait: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = portrait.read_bytes()
    assert run("bench", "--json", str(portrait.with_suffix(".json"))) == 2
    assert "--plot" in capfd.readouterr().err
    assert portrait.read_bytes() == before


def test_reconstruct_without_a_face_fails_with_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    imsave(tmp_path / "coffee.png", skimage.data.coffee())
    assert run("reconstruct", str(tmp_path / "coffee.png"), "-o", str(tmp_path / "x.glb")) == 1
    assert "no face" in capfd.readouterr().err
    assert not (tmp_path / "x.glb").exists()


def test_live_without_a_display_leaves_a_video_a_mesh_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av
    import trimesh

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert run("live", "--source", "sample", "--duration", "3", "--out", str(tmp_path)) == 0
    figures = json.loads((tmp_path / "live.json").read_text())
    assert {"fps", "latency_ms", "stages", "drops", "machine", "settings", "files"} <= set(figures)
    assert figures["ended"] == "duration"
    assert {"source", "face", "depth", "mesh"} <= set(figures["stages"])
    assert figures["stages"]["mesh"]["count"] > 5
    assert not any(stage["errors"] for stage in figures["stages"].values())
    assert len(trimesh.load(tmp_path / "face.glb", force="mesh").vertices) > 3000
    if not has_egl():
        pytest.skip("no EGL here: the preview video is not drawn")
    with av.open(str(tmp_path / "preview.mp4")) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(pictures) > 5
    middle = pictures[len(pictures) // 2].astype(float)
    panes = np.array_split(middle, 3, axis=1)
    assert all(pane.std() > 10 for pane in panes)


def test_fast_loses_no_frame_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(5):
        imsave(folder / f"{number}.png", np.roll(skimage.data.astronaut(), 3 * number, axis=1))
    out = tmp_path / "out"
    assert run("live", "--source", str(folder), "--fast", "--show", "off", "--out", str(out)) == 0
    figures = json.loads((out / "live.json").read_text())
    assert figures["stages"]["mesh"]["count"] == 5
    assert figures["drops"] == 0
    assert figures["ended"] == "ended"


def test_bench_writes_the_promised_keys_and_a_plot(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    assert run("bench", "--frames", "60", "--warmup", "5", "--no-render", "--json", str(path)) == 0
    result = json.loads(path.read_text())
    assert set(result) >= FIGURES
    assert list(result["runs"]) == ["unpaced", "30 fps", "60 fps"]
    for run_figures in result["runs"].values():
        latency = run_figures["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
        for name in ("face", "depth", "mesh"):
            assert run_figures["stages"][name].keys() >= {"p50", "p95", "p99", "rate", "drops"}
    assert result["drops"] == 0
    assert result["rss_mb"] > 50
    assert len(result["unit_looks_ms"]) == 4
    for name, units in result["units"].items():
        p95 = result["runs"][name]["latency_ms"]["p95"]
        assert units["latency_p95"] == pytest.approx(p95 / result["unit_ms"])
    assert path.with_suffix(".png").stat().st_size > 5000
