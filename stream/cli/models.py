"""`prosopon models`: which networks there are, whether they are intact, how good they are; and importing."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from stream.cli.tables import console
from stream.models.store import ModelStatus, list_models

app = typer.Typer(help="List models; `import` adds others' to your own.", invoke_without_command=True)
imports = typer.Typer(help="Add somebody else's weights to your own models.", no_args_is_help=True)
app.add_typer(imports, name="import")


@app.callback()
def models(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models that are shipped, were trained here or imported: state, size, accuracy and licence."""
    if context.invoked_subcommand is not None:
        return
    states = list_models()
    if json:
        typer.echo(json_format.dumps([_as_json(state) for state in states], indent=2))
    elif states:
        console.print(_table(states))
        for state in states:
            if not state.ready:
                console.print(state.why)
    else:
        console.print("No models are shipped with this version.")


@imports.command()
def dpt(
    file: Annotated[
        Path, typer.Argument(help="safetensors file of DPT-Large (transformers or MiDaS names).")
    ],
    name: Annotated[str, typer.Option(help="What to call it.")] = "dpt-large",
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, as their publisher states it.")
    ] = "MIT",
) -> None:
    """Import DPT-Large's published weights, to start training from (needs the train extra)."""
    from stream.training.extra import require_train_extra

    require_train_extra()
    from stream.training.imports import store_dpt

    with console.status("Reading and checking the weights"):
        path = store_dpt(file, name, licence)
    console.print(f"{name}: {path}; begin a training with it by `start: {path}`, `architecture: dpt`")


def _as_json(state: ModelStatus) -> dict[str, Any]:
    return {**state.entry.model_dump(mode="json"), "kind": state.kind, "ready": state.ready, "why": state.why}


def _table(states: list[ModelStatus]) -> Table:
    table = Table(title="Models")
    for heading in ("model", "kind", "state", "size", "takes", "accuracy", "licence"):
        table.add_column(heading, overflow="fold")
    for state in states:
        entry = state.entry
        table.add_row(
            entry.name,
            state.kind,
            "ready" if state.ready else "not usable",
            f"{entry.bytes / 1e6:.1f} MB",
            ", ".join(f"{tensor.name} {_shape(tensor.shape)}" for tensor in entry.inputs),
            "\n".join(f"{measure}: {value:g}" for measure, value in entry.accuracy.items()),
            entry.licence,
        )
    return table


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("N" if axis is None else str(axis) for axis in shape)
