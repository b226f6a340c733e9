"""`prosopon export`: trained networks to the models that are shipped, and those to TensorRT plans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Export networks: `depth` (train extra), `trt` (gpu extra).", no_args_is_help=True)


class TrtPrecision(StrEnum):
    """What float networks are computed in; quantised ones are int8."""

    FP16 = "fp16"
    FP32 = "fp32"


@app.command()
def depth(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.safetensors of a training run.")],
    data: Annotated[Path, typer.Option(help="Folder of the dataset it was trained on.")] = Path(
        "cache/faces"
    ),
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Write what a run trained into the package, with the manifest: depth, or depth-live."""
    from stream.cli.tables import console, try_outputs, write_json
    from stream.training.extra import require_train_extra

    require_train_extra()
    from stream.training.release import release_network

    try_outputs(json)
    with console.status("Exporting and measuring"):
        result = release_network(checkpoint, data)
    if json is not None:
        write_json(result, json)
    for name, figures in result.items():
        if name.startswith("depth"):
            measured = _listed(figures["accuracy"])
            console.print(
                f"{name}: {figures['bytes'] / 1e6:.2f} MB, {figures['milliseconds']:.2f} ms, {measured}"
            )
    for name, verdict in result["verdicts"].items():
        console.print(f"{name}: {verdict}")
    if "fp16" in result:
        console.print(f"in float16 arithmetic: {_listed(result['fp16'])}")


@app.command()
def trt(
    model: Annotated[str, typer.Argument(help="A model's name (`prosopon models`) or an ONNX file.")],
    out: Annotated[
        str, typer.Option(help="Folder for the plan, or `cache`: where this machine's inference finds it.")
    ] = "cache",
    precision: Annotated[
        TrtPrecision, typer.Option(help="fp32 is exact float32; quantised models are int8 in any case.")
    ] = TrtPrecision.FP16,
    arch: Annotated[
        str | None, typer.Option(help="Build for another GPU, such as sm_86, without one; needs --out.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Most faces in one run.")] = 1,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Build a TensorRT plan ahead of time and say what its precision loses."""
    from stream.cli.tables import console, try_outputs, write_json
    from stream.inference.tensorrt_export import export_plan
    from stream.models.store import open_model

    path = Path(model) if Path(model).suffix == ".onnx" else open_model(model)
    folder = None if out == "cache" else Path(out)
    try_outputs(json)
    result = export_plan(path, folder, precision is TrtPrecision.FP32, arch, max_batch)
    if json is not None:
        write_json(result, json)
    done = "was in the cache" if result["from_cache"] else f"built in {result['seconds']:.1f} s"
    console.print(
        f"{result['model']}: {result['precision']} for {result['gpu']} with {result['library']}, "
        f"batch 1 to {max_batch}, {result['bytes'] / 1e6:.1f} MB, {done}"
    )
    if result["loss"]:
        console.print(f"lost by {result['precision']} ({result['measured']}): {_listed(result['loss'])}")
    console.print(f"It lies in {result['file']}")


def _listed(accuracy: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in accuracy.items())
