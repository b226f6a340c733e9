"""Makes the messages that clients in other languages are tested with, and what they must become.

python tools/make_protocol_vectors.py

Writes tests/data/protocol (docs/protocol.md): ``vectors.json``, which tells of each message its kind, lane,
sequence and what it holds; ``messages.bin``, the datagrams of all messages, each after its u16 length;
``levels.bin``, the u16 levels of all surfaces one after the other. Everything is little-endian.
"""

from __future__ import annotations

import argparse
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stream.expression.arkit import ARKIT_NAMES
from stream.protocol.clock import media_time
from stream.protocol.expression_codec import ExpressionFrame, decode_expression, encode_expression
from stream.protocol.fragments import Kind, Message
from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder
from stream.types import Array, Crop, Face, Intrinsics, Surface

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "protocol"

CAMERA = Intrinsics(620.0, 621.0, 319.5, 239.5, 640, 480)
START = 1_795_000_000_123_457
"""Microseconds since 1970 of the first picture; times 9 it is beyond what a double holds exactly."""


@dataclass(frozen=True, slots=True)
class Case:
    """A message and what a client must make of it.

    :ivar expected: its fields, for the JSON file.
    :ivar levels: (S, S) uint16, where it is a surface.
    """

    message: Message
    expected: dict[str, Any]
    levels: Array | None = None


def face_like(size: int, step: int) -> Surface:
    """A head-like relief that moves a little with each step, with a hole and a fold in it."""
    y, x = (np.mgrid[0:size, 0:size] * 2 + 1) / size - 1
    x = x - 0.01 * step
    depth = 0.6 * (x**2 + y**2) - 0.35 * np.exp(-((x / 0.13) ** 2 + ((y - 0.1) / 0.25) ** 2))
    depth = depth + 0.004 * np.sin(40 * x + 3 * step) * np.cos(33 * y)
    depth[y > 0.62] += 0.4
    mask = (x**2 * 1.3 + y**2 < 0.75) & ~((np.abs(x - 0.3) < 0.08) & (np.abs(y + 0.3) < 0.05))
    return Surface(depth.astype(np.float32), mask.astype(np.float32))


def face_at(step: int, track: int) -> Face:
    """A face whose pose and crop change with each step."""
    pose = np.eye(4, dtype=np.float32)
    angle = 0.02 * step
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = 12.5 + step, -7.25, 640.0
    crop = Crop(330.0 + step, 250.0, 100.0, 0.1 * step)
    return Face(track, np.zeros((478, 3), np.float32), pose, crop, CAMERA)


def mesh_cases() -> list[Case]:
    """Key and delta frames, of 10 to 14 bits, of even and odd sides, on two lanes."""
    cases, sequence = [], 0
    for lane, (bits, size) in enumerate(((11, 48), (14, 33), (10, 96))):
        encoder, decoder = MeshEncoder(bits), MeshDecoder()
        for step in (0, 0, 1, 1):  # a picture twice: the second one goes as a delta
            sequence += 1
            face, captured = face_at(step, 7 + lane), START + sequence * 33_333
            encoded = encoder.encode(sequence, face, face_like(size, step), sequence, captured)
            frame = decoder.decode(sequence, encoded.body)
            assert frame is not None, "what was encoded in order can be decoded"
            expected = {
                "key": encoded.key,
                "index": frame.index,
                "captured": frame.captured,
                "media_time": media_time(frame.captured),
                "track": frame.track,
                "size": size,
                "bits": bits,
                "jump": frame.jump,
                "crop": [frame.crop.x, frame.crop.y, frame.crop.half, frame.crop.angle],
                "pose": frame.pose[:3].ravel().tolist(),
                "surface": int(np.isfinite(frame.depth).sum()),
                "depth_sum": float(np.nansum(frame.depth, dtype=np.float64)),
            }
            levels = levels_of(frame.depth, bits)
            cases.append(Case(Message(Kind.MESH, lane, sequence, encoded.body), expected, levels))
    return cases


def levels_of(depth: Array, bits: int, low: float = -1.25, high: float = 1.25) -> Array:
    """The levels of decoded depths (S, S): 0 where they are NaN; they lie on steps exactly."""
    steps = np.rint((depth.astype(np.float64) - low) / (high - low) * (2**bits - 2)) + 1
    return np.where(np.isfinite(depth), steps, 0).astype("<u2")


def expression_case(sequence: int) -> Case:
    """Every coefficient another value."""
    coefficients = np.linspace(0, 1, len(ARKIT_NAMES), dtype=np.float32)
    frame = ExpressionFrame(sequence, START, 3, CAMERA, face_at(5, 3).pose, coefficients)
    body = encode_expression(frame)
    expected = {
        "index": sequence,
        "captured": START,
        "track": 3,
        "rotation": [0.0, 0.1, 0.0],
        "translation": frame.pose[:3, 3].tolist(),
        "coefficients": decode_expression(body).coefficients.tolist(),
    }
    return Case(Message(Kind.EXPRESSION, 1, sequence, body), expected)


def write_cases(folder: Path, cases: list[Case]) -> None:
    """Write the three files, see the module's text."""
    folder.mkdir(parents=True, exist_ok=True)
    described, datagrams, levels = [], bytearray(), bytearray()
    for case in cases:
        parts = case.message.datagrams
        for part in parts:
            datagrams += struct.pack("<H", len(part)) + part
        message = case.message
        head = {"kind": int(message.kind), "lane": message.lane, "sequence": message.sequence}
        described.append({**head, "datagrams": len(parts), **case.expected})
        levels += b"" if case.levels is None else case.levels.tobytes()
    text = json.dumps({"names": list(ARKIT_NAMES), "messages": described}, indent=1)
    (folder / "vectors.json").write_text(text + "\n", encoding="utf-8")
    (folder / "messages.bin").write_bytes(datagrams)
    (folder / "levels.bin").write_bytes(levels)


def main() -> None:
    """Write the files into ``--folder``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    cases = mesh_cases()
    cases.append(expression_case(len(cases) + 1))
    write_cases(parser.parse_args().folder, cases)


if __name__ == "__main__":
    main()
