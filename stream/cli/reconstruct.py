"""`prosopon reconstruct`: one picture in, one 3D face out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.tables import console, try_outputs
from stream.config import parse_settings
from stream.errors import ConfigError
from stream.geometry import DEFAULT_FOV, INTER_PUPIL_MM
from stream.recipes import CaptureSettings

SUFFIXES = (".glb", ".npz", ".ply", ".obj")


def reconstruct(
    image: Annotated[Path, typer.Argument(help="A picture with a face (JPEG, PNG, ...).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="X.glb, X.ply, X.obj, or X.npz for arrays.")],
    fov: Annotated[float, typer.Option(help="The camera's diagonal field of view, degrees.")] = DEFAULT_FOV,
    calibration: Annotated[Path | None, typer.Option(help="Camera calibration file.")] = None,
    ipd: Annotated[float, typer.Option(help="The person's inter-pupil distance, mm.")] = INTER_PUPIL_MM,
    inference: Annotated[str, typer.Option(help="tensorrt, openvino, onnxruntime, torch or auto.")] = "auto",
) -> None:
    """Reconstruct the largest face of a picture as a textured mesh, or as arrays."""
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"Cannot write {output.name}: the name must end in {', '.join(SUFFIXES)}.")
    camera = {"fov": fov, "calibration": calibration, "ipd_mm": ipd}
    values = {"camera": camera, "inference": inference}
    settings = parse_settings(values, CaptureSettings, "the command line")

    from stream.mesh.export import write_mesh
    from stream.outputs.arrays import write_arrays
    from stream.sources.images import read_image
    from stream.still import capture_image

    try_outputs(output)
    capture = capture_image(read_image(image), settings)
    (mesh,) = capture.meshes
    if output.suffix.lower() == ".npz":
        write_arrays(capture, output)
    else:
        write_mesh(mesh, output)
    console.print(f"{output}: {int(mesh.valid.sum())} vertices, {len(mesh.triangles)} triangles")
