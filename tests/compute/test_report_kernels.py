"""The table of what the kernels take: made, kept, and refused when something is wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from stream.compute.cuda.kernel_sources import Sources

TOOL = Path(__file__).parents[2] / "tools" / "report_kernels.py"

LOG = """ptxas info    : Compiling entry function '{kernel}' for 'sm_86'
    0 bytes stack frame, {spills} bytes spill stores, {spills} bytes spill loads
ptxas info    : Used {registers} registers, 512 bytes smem
"""


class Scripted:
    """A compiler that answers by family and target."""

    name, version, architectures = "NVRTC", "13.0", (75, 80, 86, 89, 90, 100, 120)

    def __init__(self) -> None:
        self.spills, self.extra = 0, ""

    def compile(self, sources: Sources, target: str) -> tuple[bytes | None, str]:
        if self.extra.startswith("error") and target == "sm_90":
            return None, f"{sources.family}.cu(3): error: no"
        number = int(target.removeprefix("sm_"))
        log = LOG.format(kernel=f"{sources.family}_one", registers=number // 2, spills=self.spills)
        return b"image", log + self.extra


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_kernels", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "kernel_families", lambda: ["first", "second"])
    monkeypatch.setattr(module, "read_sources", lambda family: Sources(family, "", {}))
    return module


@pytest.fixture
def page(tool: ModuleType, tmp_path: Path) -> Path:
    found = tmp_path / "kernels.md"
    found.write_text(f"# Before\n{tool.BEGIN}\nold\n{tool.END}\nafter\n")
    return found


def test_the_table_is_written_between_its_marks_and_then_found_fresh(tool: ModuleType, page: Path) -> None:
    compiler = Scripted()
    assert "stale" in tool.report(compiler, page, check=True)[0]
    assert "\nold\n" in page.read_text()
    assert tool.report(compiler, page, check=False) == []
    text = page.read_text()
    assert text.startswith(f"# Before\n{tool.BEGIN}\nMade by NVRTC 13.0;")
    assert text.endswith(f"{tool.END}\nafter\n")
    assert "| second | second_one | 37 | 40 | 43 | 44 | 45 | 50 | 60 | 512 | 0 |" in text
    assert tool.report(compiler, page, check=True) == []
    compiler.version = "13.1"
    assert "stale" in tool.report(compiler, page, check=True)[0]


@pytest.mark.parametrize(
    ("spills", "extra", "words"),
    [
        (4, "", "sm_75: first.cu: first_one spills 8 bytes"),
        (0, "first.cu(1): warning #177-D: never read\n", "sm_75: first.cu(1): warning #177-D"),
        (0, "error\n", "kernels/first.cu does not compile for sm_90"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_written(
    tool: ModuleType, page: Path, spills: int, extra: str, words: str
) -> None:
    compiler = Scripted()
    compiler.spills, compiler.extra = spills, extra
    complaints = tool.report(compiler, page, check=False)
    assert complaints[0].startswith(words)
    assert "\nold\n" in page.read_text()
    assert len(complaints) == (2 if extra.startswith("error") else 14)


def test_the_page_in_the_repository_has_the_marks(tool: ModuleType) -> None:
    text = tool.PAGE.read_text()
    assert text.index(tool.BEGIN) < text.index(tool.END)
