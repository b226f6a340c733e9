"""`prosopon models`."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from stream.cli import models as command
from stream.models.manifest import ModelEntry
from stream.models.store import ModelStatus

ENTRY = ModelEntry.model_validate(
    {
        "name": "tiny",
        "task": "depth",
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
    result = CliRunner().invoke(command.app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_shows_state_and_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    output = run(monkeypatch, [ModelStatus(ENTRY, True, "")])
    for text in ("tiny", "shipped", "ready", "1.2 MB", "image Nx3x16x16", "L1: 0.0625", "CC0-1.0"):
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


def test_dpt_is_imported_into_the_users_store(monkeypatch, tmp_path) -> None:
    pytest.importorskip("torch")
    from stream.models.store import list_models
    from stream.networks.network import build_network
    from stream.training import imports
    from stream.training.tasks.depth import trained_network

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    # The published network takes a minute to build; what is checked of its file is tested in tests/depth.
    small = build_network("dpt", variant="small")
    monkeypatch.setattr(imports, "import_dpt", lambda file: small)
    result = CliRunner().invoke(command.app, ["import", "dpt", "weights.safetensors", "--name", "mine"])
    assert result.exit_code == 0, result.output
    (state,) = (state for state in list_models() if state.entry.name == "mine")
    assert (state.kind, state.ready) == ("imported", True)
    assert (state.entry.task, state.entry.crop_size, state.entry.accuracy) == ("depth", None, {})
    path = tmp_path / "prosopon" / "models" / "imported" / "files" / "mine.safetensors"
    network, _ = trained_network(path)
    assert network.options() == small.options()
    assert all((value == small.state_dict()[name]).all() for name, value in network.state_dict().items())
    path.write_bytes(path.read_bytes()[:-1])
    (state,) = (state for state in list_models() if state.entry.name == "mine")
    assert "import it again" in state.why


def test_an_imported_model_takes_no_shipped_ones_name(monkeypatch, tmp_path) -> None:
    from stream.errors import ModelError
    from stream.models.store import add_file

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="already \\(shipped\\)"):
        add_file("imported", tmp_path / "file", {"name": "depth", "file": "depth.onnx"})
