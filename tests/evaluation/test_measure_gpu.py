"""The GPU results' page: what stands between its marks, and what happens where there is no GPU."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import measure_gpu

from stream.compute.cuda.current import why_no_driver
from stream.device.frame import STEPS

FRAME = {
    "wall_ms": {"p50": 1.5, "p95": 2.25, "p99": 3.0},
    "replayed": 1.0,
    "steps_ms": {
        name: {"p50": 0.1, "p95": 0.2, "share": share}
        for name, share in zip(STEPS, (0.1, 0.1, 0.4, 0.1, 0.1, 0.2), strict=True)
    },
}
KERNEL = {"name": "depth_to_mesh", "work": "2 maps", "p50": 0.5, "p95": 0.6, "gbytes": 0.1, "share": 0.625}
RESULT = {
    "date": "2026-01-02",
    "gpu": "Some GPU",
    "arch": "sm_90",
    "driver": "13.0",
    "library": "cuda-core",
    "copy_gb_s": 3210.4,
    "kernels": [KERNEL, KERNEL | {"name": "expression_solve", "gbytes": None, "share": None}],
    "frames": {"tensorrt": {"error": "Not here."}, "torch": FRAME},
}


def test_the_page_names_card_and_figures_and_is_replaced_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{measure_gpu.BEGIN}\nold\n{measure_gpu.END}\nafter\n")
    for _ in range(2):
        measure_gpu.write_page(page, RESULT)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "Some GPU (sm_90), CUDA 13.0 by cuda-core, 2026-01-02. Its memory copies 3210 GB/s" in text
    assert "| `depth_to_mesh` | 2 maps | 0.500 | 0.600 | 62% |" in text
    assert "| `expression_solve` | 2 maps | 0.500 | 0.600 | - |" in text
    assert "| torch | 1.50 | 2.25 | 10% | 10% | 40% | 10% | 10% | 20% |" in text
    assert "| tensorrt | not run: Not here. |" in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith(("| a frame", "| t"))}
    assert columns == {10}


def test_the_repositorys_page_has_the_marks() -> None:
    text = measure_gpu.PAGE.read_text()
    assert text.count(measure_gpu.BEGIN) == text.count(measure_gpu.END) == 1


def test_without_a_gpu_it_says_so_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if why_no_driver() is None:
        pytest.skip("there is a GPU here")
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["measure_gpu.py", "--json", str(out)])
    with pytest.raises(SystemExit) as ended:
        measure_gpu.main()
    assert ended.value.code == 1
    assert str(why_no_driver()) in capsys.readouterr().err
    assert not out.exists()
