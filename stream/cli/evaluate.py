"""`prosopon eval`: how good depth is on samples that no network saw, method beside method; and its jitter."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli import jitter

if TYPE_CHECKING:
    from stream.data.shards import Samples
    from stream.evaluation.comparison import Comparison
    from stream.evaluation.judge import Method

INDEX = "worst.png"
"""The sheet of all pictures of worst samples."""

app = typer.Typer(
    help="Measure depth: on held-out data, and over time in the live chain.", no_args_is_help=True
)
app.command("jitter")(jitter.jitter)


@app.command()
def depth(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Name in the manifest or path of an ONNX file, once each; by default what is shipped."
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")] = Path("cache/faces"),
    other: Annotated[
        list[Path] | None, typer.Option("--set", help="Folder of one more dataset; may be repeated.")
    ] = None,
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    samples: Annotated[int, typer.Option(min=1, max=100_000, help="Of each set, at most.")] = 200,
    worst: Annotated[int, typer.Option(min=0, max=50, help="Pictures of the worst samples of each set.")] = 4,
    backend: Annotated[str, typer.Option(help="tensorrt, openvino, onnxruntime, torch or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of a network.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for plots and pictures.")] = None,
) -> None:
    """Compare networks with a plane, the mean face in the true pose, and the tracker's own mesh."""
    from stream.cli.depth_tables import LEGEND, accuracy_table, feature_table
    from stream.cli.tables import console, try_outputs, write_json
    from stream.evaluation.machine import describe_machine
    from stream.evaluation.sets import load_sets

    try_outputs(json, out / INDEX if out is not None else None)
    sets: dict[str, Samples] = load_sets(data, split, samples)
    for folder in other or ():
        # Two folders may share a name; their paths differ.
        taken = any(name.startswith(f"{folder.name}: ") for name in sets)
        prefix = str(folder) if taken else folder.name
        sets |= {f"{prefix}: {name}": some for name, some in load_sets(folder, split, samples).items()}
    result: dict[str, Any] = {
        "settings": {
            "data": [str(folder) for folder in (data, *(other or ()))],
            "split": split,
            "samples": samples,
            "backend": backend,
        },
        "machine": describe_machine(),
        "sets": {},
    }
    with ExitStack() as stack:
        methods = _methods(model or _shipped(), backend, threads, stack)
        done = _compare(methods, sets)
        for name, comparison in done.items():
            result["sets"][name] = comparison.summary()
        if out is not None:
            _draw(methods, sets, done, worst, out)
    if json is not None:
        write_json(result, json)
    for name, part in result["sets"].items():
        console.print(accuracy_table(name, part), "", feature_table(name, part), "")
    console.print(LEGEND)
    for what, place in (("Plots and pictures", out), ("Figures", json)):
        if place is not None:
            console.print(f"{what}: {place}")


def _shipped() -> list[str]:
    """The model of still pictures, and that of live capture on a CPU."""
    return ["depth", "depth-live"]


def _methods(models: list[str], backend: str, threads: int | None, stack: ExitStack) -> dict[str, Method]:
    """Every method by its name in the tables; plots and pictures are about the first."""
    from stream.depth.estimator import DepthEstimator
    from stream.evaluation.methods import best_plane, mean_face, network_method

    methods: dict[str, Method] = {}
    for model in models:
        place = Path(model) if model.endswith(".onnx") else model
        estimator = DepthEstimator(backend, place, threads, precision="f32")
        stack.callback(estimator.close)
        name = place.stem if isinstance(place, Path) else place
        if name in methods:
            name = str(place)
        methods[name] = network_method(estimator)
        if len(methods) == 1:
            methods[f"{name}, flipped too"] = network_method(estimator, flipped=True)
    methods |= {"mean face, posed": mean_face, "best plane": best_plane}
    mesh = _landmark_mesh(stack)
    return methods if mesh is None else {**methods, "MediaPipe mesh": mesh}


def _landmark_mesh(stack: ExitStack) -> Method | None:
    from stream.cli.tables import console
    from stream.errors import BackendError
    from stream.evaluation.landmark_mesh import LandmarkMesh

    try:
        return stack.enter_context(LandmarkMesh())
    except BackendError as error:
        console.print(f"Without the tracker's mesh: {error}")
        return None


def _compare(methods: dict[str, Method], sets: dict[str, Samples]) -> dict[str, Comparison]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stream.cli.tables import console
    from stream.evaluation.comparison import compare

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    done = {}
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("measuring", total=sum(map(len, sets.values())))
        for name, samples in sets.items():
            bar.update(task, description=name)
            done[name] = compare(methods, samples, lambda count: bar.advance(task, count))
    return done


def _draw(
    methods: dict[str, Method],
    sets: dict[str, Samples],
    done: dict[str, Comparison],
    worst: int,
    folder: Path,
) -> None:
    """Plots of every set, pictures of the first method's worst samples, and all of those on one sheet."""
    import numpy as np

    from stream.evaluation.comparison_plot import draw_details, draw_strata
    from stream.evaluation.pictures import draw_case, draw_index
    from stream.evaluation.sets import take

    method, predict = next(iter(methods.items()))
    cases = []
    for name, comparison in done.items():
        stem = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
        draw_strata(comparison, name, folder / f"{stem}-strata.png")
        draw_details(comparison, name, folder / f"{stem}-details.png")
        errors = comparison.values[method]["mm_tilt"]
        for place, row in enumerate(comparison.worst(method, worst), start=1):
            one = take(sets[name], np.array([row]))
            title = f"{name}, worst {place} of {method}: {errors[row]:.2f} mm, yaw {one.yaw[0]:.0f} degrees"
            cases.append(folder / f"{stem}-worst-{place:02d}.png")
            draw_case(one, predict(one), title, cases[-1])
    if cases:
        draw_index(cases, folder / INDEX)
