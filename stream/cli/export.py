"""`prosopon export depth`: from a training checkpoint to the models that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Export trained networks (needs the train extra).", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps ``depth`` a subcommand while it is the only one."""


@app.command()
def depth(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.safetensors of a training run.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset it was trained on.")] = Path(
        "cache/faces"
    ),
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Write depth.onnx, and depth-int8.onnx where it is as good, into the package, with the manifest."""
    from stream.cli.tables import console, write_json
    from stream.training.extra import require_train_extra

    require_train_extra()
    from stream.training.release import release_depth

    with console.status("Exporting, quantising and measuring"):
        result = release_depth(checkpoint, data)
    for name, figures in result.items():
        if name.startswith("depth"):
            measured = _listed(figures["accuracy"])
            console.print(
                f"{name}: {figures['bytes'] / 1e6:.2f} MB, {figures['milliseconds']:.2f} ms, {measured}"
            )
    console.print(f"int8: {result['int8']}")
    console.print(f"in float16 arithmetic: {_listed(result['fp16'])}")
    if json is not None:
        write_json(result, json)


def _listed(accuracy: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in accuracy.items())
