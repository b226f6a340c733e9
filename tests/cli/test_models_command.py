"""`prosopon models`."""

from __future__ import annotations

import json

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from stream.cli import models as command
from stream.inference.manifest import ModelEntry
from stream.inference.store import ModelStatus

ENTRY = ModelEntry.model_validate(
    {
        "name": "tiny",
        "file": "tiny.onnx",
        "sha256": "0" * 64,
        "bytes": 1_250_000,
        "licence": "CC0-1.0",
        "inputs": [{"name": "image", "shape": [None, 3, 16, 16], "dtype": "float32"}],
        "outputs": [{"name": "depth", "shape": [None, 1, 16, 16], "dtype": "float32"}],
        "crop_size": 16,
        "data": "random numbers",
        "accuracy": {"L1": 0.0625},
        "card": "tiny.md",
    }
)


def run(monkeypatch: pytest.MonkeyPatch, states: list[ModelStatus], *arguments: str) -> str:
    monkeypatch.setattr(command, "list_models", lambda: states)
    monkeypatch.setattr(command, "console", Console(width=140))
    app = typer.Typer()
    app.command()(command.models)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_shows_state_and_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    output = run(monkeypatch, [ModelStatus(ENTRY, True, "")])
    for text in ("tiny", "ready", "1.2 MB", "image Nx3x16x16", "L1: 0.0625", "CC0-1.0"):
        assert text in output


def test_a_model_that_is_not_usable_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    output = run(monkeypatch, [ModelStatus(ENTRY, False, "The file is missing.")])
    assert "not usable" in output
    assert "The file is missing." in output


def test_json_holds_the_whole_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    (state,) = json.loads(run(monkeypatch, [ModelStatus(ENTRY, False, "gone")], "--json"))
    assert (state["ready"], state["why"]) == (False, "gone")
    assert ModelEntry.model_validate({key: state[key] for key in ENTRY.model_dump()}) == ENTRY


def test_no_models_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No models" in run(monkeypatch, [])
    assert json.loads(run(monkeypatch, [], "--json")) == []
