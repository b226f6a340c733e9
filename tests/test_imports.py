"""Importing the package is cheap: nothing heavy comes along."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "scipy", "mediapipe", "openvino", "onnxruntime", "moderngl", "cv2", "numba", "av", "skimage",
    "glfw",
)  # fmt: skip


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_itself_loads_nothing_heavy() -> None:
    assert not loaded_after("import stream") & {*HEAVY, "numpy"}


@pytest.mark.parametrize("module", ["stream.cli.main", "stream.recipes", "stream.session"])
def test_the_command_line_starts_without_models_or_graphics(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(HEAVY)


def test_the_live_chain_never_loads_what_only_training_and_evaluation_need() -> None:
    statement = (
        "from stream.recipes import *; from stream.memory import TrackMemory; s = CaptureSettings();"
        "[make_stage(t, s, TrackMemory()) for t in plan_capture({'mesh', 'expression'}, s).steps]"
    )
    assert not loaded_after(statement) & {"torch", "scipy", "matplotlib"}
