"""`prosopon models`: which networks are shipped, whether they are intact, and how good they are."""

from __future__ import annotations

import json as json_format
from typing import Annotated, Any

import typer
from rich.table import Table

from stream.cli.tables import console
from stream.inference.store import ModelStatus, list_models


def models(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models that come with Prosopon: state, size, accuracy and licence."""
    states = list_models()
    if json:
        typer.echo(json_format.dumps([_as_json(state) for state in states], indent=2))
    elif states:
        console.print(_table(states))
        for state in states:
            if not state.ready:
                typer.echo(state.why)
    else:
        typer.echo("No models are shipped with this version.")


def _as_json(state: ModelStatus) -> dict[str, Any]:
    return {**state.entry.model_dump(mode="json"), "ready": state.ready, "why": state.why}


def _table(states: list[ModelStatus]) -> Table:
    table = Table(title="Models")
    for heading in ("model", "state", "size", "takes", "accuracy", "licence"):
        table.add_column(heading, overflow="fold")
    for state in states:
        entry = state.entry
        table.add_row(
            entry.name,
            "ready" if state.ready else "not usable",
            f"{entry.bytes / 1e6:.1f} MB",
            ", ".join(f"{tensor.name} {_shape(tensor.shape)}" for tensor in entry.inputs),
            "\n".join(f"{measure}: {value:g}" for measure, value in entry.accuracy.items()),
            entry.licence,
        )
    return table


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("N" if axis is None else str(axis) for axis in shape)
