"""Measure the GPU path on this machine's card and write the results table of docs/gpu.md.

Usage: python tools/measure_gpu.py [--json out/gpu.json] [--no-docs]

The memory's copy bandwidth, every kernel beside it, and the whole frame (640 x 480 picture to mesh) with each
network library that can run on the card: TensorRT, PyTorch. Needs the gpu extra, and the train extra for
PyTorch; no camera, no MediaPipe: the face stands where we say. On a machine without a GPU it says so.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import default_rng

from stream.cli.tables import console, device_tables, write_json
from stream.compute.cuda.current import current_driver
from stream.device.frame import STEPS
from stream.device.stage import DeviceStage
from stream.errors import ProsoponError
from stream.evaluation.device_frames import frame_times
from stream.evaluation.device_kernels import copy_bandwidth, kernel_times
from stream.files import atomic_path
from stream.geometry import intrinsics_from_fov
from stream.inference.backends import DEVICE_BACKENDS, load_engine
from stream.models.store import open_model
from stream.recipes import LIVE_SIDE
from stream.types import Capture, Crop, Face, Frame, Person

PAGE = Path(__file__).parents[1] / "docs" / "gpu.md"
BEGIN, END = "<!-- measure_gpu: begin -->", "<!-- measure_gpu: end -->"

WIDTH, HEIGHT = 640, 480


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=Path("out/gpu.json"), help="write the figures here")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/gpu.md as it is")
    arguments = parser.parse_args()
    try:
        result = measure()
        write_json(result, arguments.json)
        if not arguments.no_docs:
            write_page(PAGE, result)
    except ProsoponError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def measure() -> dict[str, Any]:
    """All figures; a network library that cannot run is told with its reason.

    :raises BackendError: there is no GPU here.
    """
    driver = current_driver()
    bandwidth = copy_bandwidth(driver)
    kernels = [asdict(kernel) for kernel in kernel_times(driver, bandwidth)]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "gpu": driver.info.name,
        "arch": driver.info.arch,
        "driver": driver.info.driver,
        "library": driver.name,
        "copy_gb_s": bandwidth / 1e9,
        "kernels": kernels,
        "frames": {},
    }
    for backend in DEVICE_BACKENDS:
        try:
            result["frames"][backend] = frame_times(_maker(backend), captures())
        except ProsoponError as error:
            result["frames"][backend] = {"error": str(error)}
            console.print(f"{backend}: {error}")
            continue
        for table in device_tables(result | {"frame": result["frames"][backend]}):
            console.print(f"With {backend}:", table)
    return result


def _maker(backend: str) -> Any:
    def make(graphs: bool) -> DeviceStage:
        model = open_model("depth")
        load = partial(load_engine, model, backend, precision="f16")
        return DeviceStage(load, LIVE_SIDE, graphs=graphs)

    return make


def captures(count: int = 30) -> list[Capture]:
    """Noise of `WIDTH` x `HEIGHT` with a face that moves through it."""
    rng, camera = default_rng(0), intrinsics_from_fov(WIDTH, HEIGHT)
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 600
    marks = np.zeros((478, 3), np.float32)
    return [
        Capture(
            Frame(image, 0.0, number, "noise"),
            (Person(Face(0, marks, pose, Crop(280.0 + 2 * number, 240.0, 110.0, 0.0), camera)),),
        )
        for number in range(count)
    ]


def write_page(page: Path, result: dict[str, Any]) -> None:
    """Put the results between the marks of ``page``.

    :raises OutputError: it cannot be written.
    """
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    with atomic_path(page) as part:
        part.write_text(f"{head}{BEGIN}\n{results(result)}\n{END}{tail}", encoding="utf-8")


def results(result: dict[str, Any]) -> str:
    """The tables as Markdown."""
    lines = [
        f"{result['gpu']} ({result['arch']}), CUDA {result['driver']} by {result['library']}, "
        f"{result['date']}. Its memory copies {result['copy_gb_s']:.0f} GB/s, read and written.",
        "",
        "| kernel | work | p50 ms | p95 ms | of the copy bandwidth |",
        "|---|---|---|---|---|",
    ]
    for kernel in result["kernels"]:
        share = "-" if kernel["share"] is None else f"{kernel['share']:.0%}"
        times = f"{kernel['p50']:.3f} | {kernel['p95']:.3f}"
        lines.append(f"| `{kernel['name']}` | {kernel['work']} | {times} | {share} |")
    lines += [
        "",
        f"| a frame with | p50 ms | p95 ms | {' | '.join(STEPS)} |",
        "|" + "---|" * (3 + len(STEPS)),
    ]
    for backend, frame in result["frames"].items():
        if "error" in frame:
            lines.append(f"| {backend} | not run: {frame['error']} |" + " |" * (1 + len(STEPS)))
            continue
        wall = frame["wall_ms"]
        shares = " | ".join(f"{step['share']:.0%}" for step in frame["steps_ms"].values())
        lines.append(f"| {backend} | {wall['p50']:.2f} | {wall['p95']:.2f} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
