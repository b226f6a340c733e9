"""`prosopon eval depth`: how good the depth network is on samples it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Measure networks on held-out data.", no_args_is_help=True)

COLUMNS = {
    "l1": "L1 head",
    "l1_skin": "L1 skin",
    "l1_covered": "L1 covered",
    "normals": "normals head",
    "normals_skin": "normals skin",
    "iou": "mask IoU",
}


@app.callback()
def _group() -> None:
    """Keeps ``depth`` a subcommand while it is the only one."""


@app.command()
def depth(
    model: Annotated[str, typer.Option(help="Name in the manifest, or path of an ONNX file.")] = "depth",
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")] = Path("cache/faces"),
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    backend: Annotated[str, typer.Option(help="auto, openvino, onnxruntime or torch.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="f32 for exact arithmetic.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for errors.png and sheet.png.")] = None,
) -> None:
    """Compare the network with the best plane and with the mean face in the true pose."""
    from stream.cli.tables import console, write_json
    from stream.evaluation.depth import (
        best_plane,
        engine_predictor,
        evaluate_depth,
        mean_face,
        plane_predictor,
    )
    from stream.evaluation.shards import load_dataset
    from stream.inference.backends import load_engine
    from stream.inference.store import open_model

    path = Path(model) if model.endswith(".onnx") else open_model(model)
    engine = load_engine(path, backend, precision=precision)
    with console.status("Measuring"):
        dataset = load_dataset(data, split)
        constant = best_plane(load_dataset(data, "val"))
        network = engine_predictor(engine)
        predictors = {"network": network, "mean face": mean_face, "plane": plane_predictor(constant)}
        result = evaluate_depth(predictors, dataset)
    for kind, part in result.items():
        console.print(_table(kind, part))
    result |= {
        "model": path.name,
        "backend": engine.backend,
        "precision": precision or "library's choice",
        "split": split,
        "plane_depth": constant,
    }
    if json is not None:
        write_json(result, json)
    if out is not None:
        _pictures(result, dataset, network, out)
    engine.close()


def _table(kind: str, part: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(
        title=f"{part['samples']} {kind}: L1 in crop units, normals in degrees "
        f"(the true depth itself scores {part['normals_of_truth']:.1f})",
        title_justify="left",
    )
    table.add_column("method")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for name, values in part["methods"].items():
        cells = [values[key] for key in COLUMNS]
        table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in cells))
    return table


def _pictures(result: dict[str, Any], dataset: Any, network: Any, folder: Path) -> None:
    import numpy as np

    from stream.evaluation.depth_plot import draw_depth_errors
    from stream.training.pictures import prediction_sheet

    if "synthetic" in result:
        draw_depth_errors(result, folder / "errors.png")
    shown = dataset.take(np.linspace(0, len(dataset) - 1, min(12, len(dataset))).astype(int))
    depth_map, mask = network(shown)
    prediction_sheet(shown, depth_map, mask, folder / "sheet.png")
